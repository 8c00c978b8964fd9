"""UPDATE … SET (a, b) = …, OVERRIDING and ON CONFLICT ON CONSTRAINT: a real PostgreSQL writes and returns the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest

from tests.dml.side_by_side import held, outcome
from tests.fixtures.postgres import Both, Connection, prepared

TABLES: list[LiteralString] = ["assigned", "others", "counted"]
SETUP: list[LiteralString] = [
    "CREATE TABLE assigned (id int PRIMARY KEY, a int, b text DEFAULT 'none')",
    "CREATE TABLE others (id int PRIMARY KEY, x int, y text, CONSTRAINT small CHECK (x < 1000))",
    "CREATE TABLE counted (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int)",
    "INSERT INTO assigned VALUES (1, 10, 'one'), (2, 20, 'two'), (3, NULL, NULL)",
    "INSERT INTO others VALUES (1, 100, 'uno'), (2, 200, 'dos')",
    "INSERT INTO counted (v) VALUES (1), (2)",
]
STATEMENTS: list[LiteralString] = [
    "UPDATE assigned SET (a, b) = (1, 'x') WHERE id = 1 RETURNING *",
    "UPDATE assigned SET (a, b) = ROW (a + 1, b || '!') RETURNING id, a, b",
    "UPDATE assigned SET (a, b) = (DEFAULT, DEFAULT) WHERE id = 2 RETURNING *",
    "UPDATE assigned SET (a, b) = (SELECT x, y FROM others o WHERE o.id = assigned.id) RETURNING *",
    "UPDATE assigned SET (a, b) = (SELECT sum(x), min(y) FROM others WHERE id >= assigned.id) RETURNING *",
    "UPDATE assigned SET (b, a) = (SELECT y, x FROM others ORDER BY id DESC LIMIT 1), id = id + 10 RETURNING *",
    "UPDATE assigned SET (a, b) = (SELECT * FROM (VALUES (5, 'five')) v) WHERE id = 3 RETURNING *",
    "UPDATE assigned SET (a) = ROW (7) WHERE id = 3 RETURNING a",
    "UPDATE assigned SET (a) = (SELECT x FROM others WHERE id = 1) WHERE id = 3 RETURNING a",
    "UPDATE assigned SET (a, b) = (o.x, o.y) FROM others o WHERE o.id = assigned.id RETURNING assigned.*, o.x",
    "UPDATE assigned SET (a, b) = (SELECT x, y FROM others)",
    "UPDATE assigned SET (a, b) = (SELECT x FROM others WHERE id = 1)",
    "UPDATE assigned SET (a, b) = (1, 'x', 2)",
    "UPDATE assigned SET (a, b) = 1",
    "UPDATE assigned SET (a, nope) = (1, 2)",
    "INSERT INTO assigned VALUES (1, 11, 'z') ON CONFLICT ON CONSTRAINT assigned_pkey DO UPDATE SET a = excluded.a"
    " RETURNING *",
    "INSERT INTO assigned VALUES (1, 11, 'z') ON CONFLICT ON CONSTRAINT assigned_pkey DO NOTHING",
    "INSERT INTO assigned VALUES (1, 11, 'z') ON CONFLICT ON CONSTRAINT nope DO NOTHING",
    "INSERT INTO others VALUES (1, 11, 'z') ON CONFLICT ON CONSTRAINT small DO NOTHING",
    "INSERT INTO counted OVERRIDING SYSTEM VALUE VALUES (9, 9) RETURNING *",
    "INSERT INTO counted (id, v) OVERRIDING USER VALUE VALUES (9, 9) RETURNING *",
    "INSERT INTO counted OVERRIDING USER VALUE SELECT 70 + id, v FROM counted ORDER BY id RETURNING *",
    "INSERT INTO counted (id, v) VALUES (DEFAULT, 9) RETURNING *",
    "INSERT INTO counted VALUES (9, 9)",
    "UPDATE counted SET id = 5 WHERE v = 1",
    "UPDATE counted SET (id, v) = (DEFAULT, 77) WHERE v = 1 RETURNING *",
    "WITH w AS (SELECT 50 AS id) INSERT INTO counted OVERRIDING SYSTEM VALUE SELECT id, 3 FROM w RETURNING id",
]


@pytest.fixture
def both(connection: psycopg.Connection, postgres: Connection) -> Iterator[Both]:
    yield from prepared(connection, postgres, SETUP, ["assigned", "others", "counted"])


@pytest.mark.parametrize("statement", STATEMENTS)
def test_several_columns_and_whose_values_win(both: Both, statement: LiteralString) -> None:
    ours, theirs = both
    assert outcome(ours, statement) == outcome(theirs, statement)
    assert held(ours, TABLES) == held(theirs, TABLES)
