"""Notices of DDL: their SQLSTATE, words and detail are a real PostgreSQL's."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.fixtures.postgres import Connection

SETUP = [
    "CREATE SCHEMA ns",
    "CREATE TYPE ns.mood AS ENUM ('low', 'high')",
    "CREATE SEQUENCE ns.counter",
    "CREATE TABLE ns.a (id int PRIMARY KEY, b int, feels ns.mood, n int DEFAULT nextval('ns.counter'))",
    "CREATE TABLE ns.f (id int PRIMARY KEY, a int REFERENCES ns.a)",
    "CREATE VIEW ns.v AS SELECT b FROM ns.a",
    "CREATE VIEW ns.w AS SELECT * FROM ns.v",
    "CREATE MATERIALIZED VIEW ns.m AS SELECT 1 AS one",
]
STATEMENTS = [
    "CREATE TABLE IF NOT EXISTS ns.a (x int)",
    "CREATE SCHEMA IF NOT EXISTS ns",
    "CREATE SEQUENCE IF NOT EXISTS ns.counter",
    "CREATE MATERIALIZED VIEW IF NOT EXISTS ns.m AS SELECT 1",
    "ALTER TYPE ns.mood ADD VALUE IF NOT EXISTS 'low'",
    "ALTER TABLE ns.a ADD COLUMN IF NOT EXISTS b int",
    "ALTER TABLE ns.a DROP COLUMN IF EXISTS nope",
    "ALTER TABLE ns.a DROP CONSTRAINT IF EXISTS nope",
    "DROP TABLE IF EXISTS nope",
    "DROP VIEW ns.v CASCADE",
    "DROP VIEW ns.v, ns.w",
    "DROP VIEW ns.w CASCADE",
    "DROP TABLE ns.a CASCADE",
    "DROP TABLE ns.f CASCADE",
    "DROP TYPE ns.mood CASCADE",
    "DROP SEQUENCE ns.counter CASCADE",
    "ALTER TABLE ns.a DROP COLUMN b CASCADE",
    "ALTER TABLE ns.a RENAME TO renamed",
]


@pytest.fixture
def both(connection: psycopg.Connection, postgres: Connection) -> Iterator[tuple[Connection, Connection]]:
    for each in (connection, postgres):
        for statement in SETUP:
            each.execute(statement.encode(), prepare=False)
    yield connection, postgres
    for each in (connection, postgres):
        each.execute("DROP SCHEMA ns CASCADE")


@pytest.mark.parametrize("statement", STATEMENTS)
def test_notices_are_those_of_postgresql(both: tuple[Connection, Connection], statement: str) -> None:
    found = []
    for each in both:
        told: list[object] = []

        def tell(diagnostic: psycopg.errors.Diagnostic, told: list[object] = told) -> None:
            detail = diagnostic.message_detail
            lines = sorted(detail.split("\n")) if detail else None
            told.append((diagnostic.severity, diagnostic.sqlstate, diagnostic.message_primary, lines))

        each.add_notice_handler(tell)
        each.execute(statement.encode(), prepare=False)
        each.remove_notice_handler(tell)
        found.append(told)
    assert found[0] == found[1]


def test_a_key_keeps_its_name_when_its_table_gets_another(both: tuple[Connection, Connection]) -> None:
    found = []
    for each in both:
        each.execute("ALTER TABLE ns.a RENAME TO renamed")
        each.execute("INSERT INTO ns.renamed (id) VALUES (1)")
        with pytest.raises(psycopg.errors.UniqueViolation) as caught:
            each.execute("INSERT INTO ns.renamed (id) VALUES (1)")
        found.append((caught.value.diag.constraint_name, caught.value.diag.table_name))
    assert found[0] == found[1] == ("a_pkey", "renamed")
