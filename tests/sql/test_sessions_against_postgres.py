"""Scripts of ``fixtures/sessions``, one statement a line, said in one session here and in one of a real PostgreSQL: the
same columns, types, modifiers, rows as text and SQLSTATEs. A line that begins with a blank goes on the one before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import pq

from tests.fixtures.postgres import Connection
from tsdb.config import load
from tsdb.server import EmbeddedServer

pytestmark = pytest.mark.postgres

SCRIPTS = sorted((Path(__file__).parent / "fixtures" / "sessions").glob("*.sql"))


def statements(path: Path) -> list[str]:
    lines = re.split(r"\n(?! )", path.read_text().strip())
    return [" ".join(line.split("\n ")) for line in lines if line and not line.startswith("--")]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[psycopg.Connection]:
    settings = load({"data": tmp_path_factory.mktemp("sessions") / "data", "pg_port": 0, "http_port": 0})
    with EmbeddedServer(settings) as server:
        dsn = f"host=127.0.0.1 port={server.pg_port} user=tsdb dbname=tsdb"
        with psycopg.connect(dsn, autocommit=True) as connection:
            yield connection


@pytest.fixture(scope="module")
def theirs(postgres: Connection) -> Iterator[Connection]:
    postgres.execute("CREATE DATABASE sessions")
    connection: Connection
    with psycopg.connect(postgres.info.dsn, dbname="sessions", autocommit=True) as connection:
        yield connection


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
