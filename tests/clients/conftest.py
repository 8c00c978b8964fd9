"""What the clients connect to: the same server as the sessions' tests."""

from __future__ import annotations

from tests.session.conftest import connection as connection
from tests.session.conftest import server as server
