"""DML is tested through the whole: a listener, sessions, a node (``tests.session.conftest``)."""

from __future__ import annotations

from tests.session.conftest import connection, raw, server

__all__ = ["connection", "raw", "server"]
