"""Our server and a real PostgreSQL (``tests.fixtures.postgres``), side by side."""

from __future__ import annotations

from tests.session.conftest import connection, raw, server

__all__ = ["connection", "raw", "server"]
