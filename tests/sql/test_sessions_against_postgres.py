"""Scripts of ``fixtures/sessions``, one statement a line, said in one session here and in one of a real PostgreSQL: the
same columns, types, modifiers, rows as text and SQLSTATEs. A line that begins with a blank goes on the one before.
"""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest
from psycopg import pq

from tests.fixtures.postgres import Connection

pytestmark = pytest.mark.postgres

SCRIPTS = sorted((Path(__file__).parent / "fixtures" / "sessions").glob("*.sql"))


def statements(path: Path) -> list[str]:
    lines = re.split(r"\n(?! )", path.read_text().strip())
    return [" ".join(line.split("\n ")) for line in lines if line and not line.startswith("--")]


def _answer(connection: Connection | psycopg.Connection, sql: str) -> object:
    result = connection.pgconn.exec_(sql.encode())
    if result.status == pq.ExecStatus.FATAL_ERROR:
        return (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    columns = [(result.fname(i), result.ftype(i), result.fmod(i)) for i in range(result.nfields)]
    return columns, [[result.get_value(r, c) for c in range(result.nfields)] for r in range(result.ntuples)]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_session_is_answered_as_postgres_does(path: Path, ours: psycopg.Connection, theirs: Connection) -> None:
    for connection in (ours, theirs):
        connection.execute("SET timezone = 'UTC'")
    for statement in statements(path):
        assert _answer(ours, statement) == _answer(theirs, statement), statement
