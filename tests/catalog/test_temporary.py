"""Temporary relations are in the catalog as PostgreSQL shows them: to their own session, and to another one."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.catalog.conftest import database_of
from tests.fixtures.postgres import Connection

MADE = (
    "CREATE TEMP TABLE passing (time timestamptz, host text, v float8, PRIMARY KEY (host, time))",
    "CREATE TEMP VIEW passing_view AS SELECT host FROM passing",
)
OWN = [
    "SELECT relname, relpersistence, relkind, relnamespace = pg_my_temp_schema() FROM pg_class WHERE"
    " relname ~ '^passing' ORDER BY 1",
    "SELECT 'passing'::regclass::text, to_regclass('pg_temp.passing')::text, pg_table_is_visible('passing'::regclass),"
    " pg_my_temp_schema()::regnamespace::text ~ '^pg_temp_', pg_is_other_temp_schema(pg_my_temp_schema())",
    "SELECT table_type, table_name, table_schema ~ '^pg_temp_' FROM information_schema.tables WHERE table_name ~"
    " '^passing' ORDER BY 2",
    "SELECT column_name, is_nullable FROM information_schema.columns WHERE table_name = 'passing' ORDER BY 1",
    "SELECT constraint_name, constraint_type FROM information_schema.table_constraints WHERE table_name = 'passing' AND"
    " constraint_type = 'PRIMARY KEY'",
    "SELECT schemaname ~ '^pg_temp_', tablename, hasindexes FROM pg_tables WHERE tablename = 'passing'",
    "SELECT pg_get_viewdef('passing_view'::regclass), pg_get_indexdef('passing_pkey'::regclass)",
    "SELECT (current_schemas(true))[1] = pg_my_temp_schema()::regnamespace::text, current_schemas(false)",
    "SELECT count(*) FROM pg_namespace WHERE nspname ~ '^pg_temp_'",
]
OTHERS = [
    "SELECT relname, relpersistence, pg_table_is_visible(oid), pg_is_other_temp_schema(relnamespace),"
    " oid::regclass::text ~ '^pg_temp_[0-9]+[.]passing$' FROM pg_class WHERE relname = 'passing'",
    "SELECT table_name FROM information_schema.tables WHERE table_name ~ '^passing'",
    "SELECT column_name FROM information_schema.columns WHERE table_name = 'passing'",
    "SELECT pg_my_temp_schema(), to_regclass('passing'), to_regclass('pg_temp.passing')",
]


@pytest.fixture(scope="module")
def theirs(postgres_15: Connection) -> Iterator[Connection]:
    with database_of(postgres_15, "passing") as connection:
        for statement in MADE:
            connection.execute(statement.encode())
        yield connection


@pytest.fixture(scope="module")
def mine(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in MADE:
            connection.execute(statement.encode())
        yield connection


@pytest.mark.postgres
@pytest.mark.parametrize("text", OWN)
def test_a_session_sees_its_own(text: str, mine: psycopg.Connection, theirs: Connection) -> None:
    assert mine.execute(text.encode()).fetchall() == theirs.execute(text.encode()).fetchall()


@pytest.mark.postgres
@pytest.mark.parametrize("text", OTHERS)
def test_another_session_sees_what_postgres_shows_it(
    text: str, mine: psycopg.Connection, ours: psycopg.Connection, theirs: Connection
) -> None:
    with psycopg.connect(theirs.info.dsn, autocommit=True) as other:
        assert ours.execute(text.encode()).fetchall() == other.execute(text.encode()).fetchall()


def test_they_leave_the_catalog_with_their_session(dsn: str, ours: psycopg.Connection) -> None:
    with psycopg.connect(dsn, autocommit=True) as passing:
        passing.execute("CREATE TEMP TABLE gone (id int PRIMARY KEY)")
        assert ours.execute("SELECT count(*) FROM pg_class WHERE relname = 'gone'").fetchone() == (1,)
        passing.execute("DISCARD TEMP")
        assert ours.execute("SELECT count(*) FROM pg_class WHERE relname = 'gone'").fetchone() == (0,)
