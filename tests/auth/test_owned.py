"""DROP OWNED and REASSIGN OWNED here and on a PostgreSQL: the same objects are left, with the same owners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

import psycopg
import pytest

from tests.auth.conftest import Running
from tests.fixtures.postgres import Connection

SETUP: list[LiteralString] = [
    "CREATE ROLE own_a", "CREATE ROLE own_b", "CREATE SCHEMA own_s AUTHORIZATION own_a",
    "CREATE SCHEMA own_t AUTHORIZATION own_b", "GRANT USAGE ON SCHEMA own_s TO own_b",
    "CREATE TABLE own_kept (id int PRIMARY KEY, n int)", "GRANT SELECT, INSERT ON own_kept TO own_a, own_b",
    "SET ROLE own_a", "CREATE TABLE own_s.one (id serial PRIMARY KEY, n int)", "CREATE TABLE own_s.two (id int)",
    "CREATE VIEW own_s.seen AS SELECT n FROM own_s.one", "CREATE SEQUENCE own_s.counter",
    "CREATE TYPE own_s.mood AS ENUM ('good', 'bad')", "CREATE TABLE own_s.felt (m own_s.mood)",
    "GRANT SELECT ON ALL TABLES IN SCHEMA own_s TO own_b",
    "RESET ROLE", "SET ROLE own_b", "CREATE TABLE own_t.three (id int)", "RESET ROLE",
]  # fmt: skip
DEPENDING: list[LiteralString] = ["SET ROLE own_b", "CREATE VIEW own_t.of_one AS SELECT n FROM own_s.one", "RESET ROLE"]
SCRIPTS: dict[str, list[LiteralString]] = {
    "drop": ["DROP OWNED BY own_a", "DROP ROLE own_a", "DROP OWNED BY own_b", "DROP ROLE own_b"],
    "drop both": ["DROP OWNED BY own_a, own_b", "DROP ROLE own_a, own_b"],
    "others depend": [*DEPENDING, "DROP OWNED BY own_a", "DROP OWNED BY own_a CASCADE", "DROP ROLE own_a"],
    "reassign": ["REASSIGN OWNED BY own_a TO own_b", "DROP ROLE own_a", "DROP OWNED BY own_a", "DROP ROLE own_a"],
    "who may": [
        "SET ROLE own_a", "DROP OWNED BY own_b", "REASSIGN OWNED BY own_b TO own_a", "DROP OWNED BY own_a",
        "RESET ROLE",
    ],
    "from the start": [
        "DROP OWNED BY tsdb CASCADE", "REASSIGN OWNED BY tsdb TO own_a", "DROP OWNED BY own_a, tsdb CASCADE",
        "DROP OWNED BY pg_read_all_data", "REASSIGN OWNED BY pg_read_all_data TO own_a", "SET ROLE own_a",
        "DROP OWNED BY tsdb CASCADE", "RESET ROLE",
    ],
    "nobody": ["DROP OWNED BY nobody", "REASSIGN OWNED BY own_a TO nobody"],
}  # fmt: skip
LEFT = """
SELECT nspname::text, relname::text, relkind::text, rolname::text
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace JOIN pg_roles r ON r.oid = relowner
WHERE (nspname LIKE 'own%' OR relname LIKE 'own%') AND relkind IN ('r', 'v', 'S')
UNION ALL SELECT nspname, typname, 'e', rolname FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
JOIN pg_roles r ON r.oid = typowner WHERE typtype = 'e' AND nspname LIKE 'own%'
UNION ALL SELECT '', nspname, 'n', rolname FROM pg_namespace JOIN pg_roles r ON r.oid = nspowner
WHERE nspname LIKE 'own%'
ORDER BY 1, 2, 3
"""


def _said(connection: Connection, statement: LiteralString) -> object:
    try:
        return connection.execute(statement).statusmessage
    except psycopg.Error as error:
        return error.sqlstate


def _history(connection: Connection, script: Sequence[LiteralString]) -> list[object]:
    try:
        found: list[object] = [_said(connection, statement) for statement in SETUP]
        for statement in script:
            found += [statement, _said(connection, statement), connection.execute(LEFT).fetchall()]
        return found
    finally:
        connection.execute("RESET ROLE")
        for role in ("own_a", "own_b"):
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                connection.execute(f"DROP OWNED BY {role} CASCADE".encode())
                connection.execute(f"DROP ROLE {role}".encode())
        connection.execute("DROP TABLE own_kept")
        connection.execute("DROP SCHEMA IF EXISTS own_s, own_t CASCADE")


@pytest.mark.postgres
@pytest.mark.parametrize("name", SCRIPTS)
def test_what_roles_own_goes_as_in_postgresql(open_server: Running, postgres: Connection, name: str) -> None:
    with open_server.connect(password=None) as ours:
        assert _history(ours, SCRIPTS[name]) == _history(postgres, SCRIPTS[name])
