"""COPY … FROM … WHERE: a real PostgreSQL lets the same rows in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest

from tests.fixtures.postgres import Both, Connection, prepared

SETUP: list[LiteralString] = [
    "CREATE TABLE chosen (id int PRIMARY KEY, name text, n numeric, k int DEFAULT 3)",
    "CREATE TABLE chosen_points (time timestamptz NOT NULL, host text, v float8, PRIMARY KEY (time, host))",
]
ROWS = "1\ta\t1.50\n2\tb\t\\N\n3\t\\N\t7\n4\tab\t-1\n"
POINTS = "2026-01-01\tx\t1\n2026-01-02\ty\t\\N\n2026-01-03\tx\t3\n"
COPIES: list[tuple[LiteralString, str]] = [
    ("COPY chosen (id, name, n) FROM STDIN WHERE n > 0", ROWS),
    ("COPY chosen (id, name, n) FROM STDIN WHERE name LIKE 'a%' AND k = 3", ROWS),
    ("COPY chosen (id, name, n) FROM STDIN (FORMAT text) WHERE id % 2 = 0 OR name IS NULL", ROWS),
    ("COPY chosen (id, name, n) FROM STDIN WHERE false", ROWS),
    ("COPY chosen (id, name, n) FROM STDIN WHERE n", ROWS),
    ("COPY chosen (id, name, n) FROM STDIN WHERE nope > 1", ROWS),
    ("COPY chosen (id, name, n) FROM STDIN WHERE id IN (SELECT 1)", ROWS),
    ("COPY chosen (id, name, n) FROM STDIN WHERE count(*) > 1", ROWS),
    ("COPY chosen (id, name, n) FROM STDIN WHERE id > 1 ORDER BY id", ROWS),
    ("COPY chosen (id, name, n) FROM STDIN WHERE", ROWS),
    ("COPY chosen (id, name, n) FROM STDIN WHERE id < 3", ROWS + "4\tagain\t1\n"),
    ("COPY chosen (id, name, n) FROM STDIN WHERE id > 2", ROWS + "4\tagain\t1\n"),
    ("COPY chosen_points FROM STDIN WHERE time > '2026-01-01' AND host = 'x'", POINTS),
    ("COPY chosen_points FROM STDIN WHERE v IS NULL", POINTS),
]


@pytest.fixture
def both(connection: psycopg.Connection, postgres: Connection) -> Iterator[Both]:
    yield from prepared(connection, postgres, SETUP, ["chosen", "chosen_points"])


@pytest.mark.parametrize(("statement", "data"), COPIES)
def test_the_same_rows_come_in(both: Both, statement: LiteralString, data: str) -> None:
    found = []
    for each in both:
        try:
            with each.cursor() as cursor, cursor.copy(statement) as copy:
                copy.write(data)
            said: tuple[object, ...] = (cursor.statusmessage,)
        except psycopg.Error as error:
            said = (error.diag.sqlstate, error.diag.context)
        rows = [sorted(map(repr, each.execute(f"SELECT * FROM {t}").fetchall())) for t in ("chosen", "chosen_points")]
        found.append((said, rows))
    assert found[0] == found[1]
