"""INSERT … ON CONFLICT DO UPDATE with expressions: a real PostgreSQL writes and returns the same."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import LiteralString

import psycopg
import pytest

from tests.dml.side_by_side import check_random_transactions, held, outcome
from tests.fixtures.postgres import Both, Connection, prepared

TABLES: list[LiteralString] = ["d", "s"]
SETUP: list[LiteralString] = [
    "CREATE TABLE d (time timestamptz NOT NULL, host text, v float8, note text, n numeric, PRIMARY KEY (time, host))",
    "CREATE TABLE s (id int PRIMARY KEY, label text, hits int DEFAULT 1, n numeric)",
    "INSERT INTO d SELECT '2026-01-01'::timestamptz + i * interval '1 min', 'h' || i % 4, i, 'n' || i, i + 0.50"
    " FROM generate_series(0, 19) AS g(i)",
    "INSERT INTO s VALUES (1, 'one', 5, 1.50), (2, 'two', NULL, NULL), (3, NULL, 7, 3.0)",
]
ROWS: LiteralString = "INSERT INTO s (id, label, n) VALUES (1, 'uno', 2.250), (3, 'tres', NULL), (9, 'nueve', 9)"
STATEMENTS: list[tuple[LiteralString, Sequence[object]]] = [
    (ROWS + " ON CONFLICT (id) DO UPDATE SET hits = s.hits + excluded.hits", ()),
    (ROWS + " ON CONFLICT (id) DO UPDATE SET hits = s.hits + 1, label = s.label || excluded.label RETURNING *", ()),
    (ROWS + " ON CONFLICT (id) DO UPDATE SET n = excluded.n, label = upper(excluded.label)"
     " RETURNING id, n, hits * 2", ()),
    (ROWS + " ON CONFLICT (id) DO UPDATE SET label = excluded.label WHERE s.hits > 5 RETURNING id, label", ()),
    (ROWS + " ON CONFLICT (id) DO UPDATE SET label = excluded.label WHERE s.label IS DISTINCT FROM excluded.label", ()),
    (ROWS + " ON CONFLICT (id) DO UPDATE SET label = NULL, hits = DEFAULT", ()),
    (ROWS + " ON CONFLICT (id) DO UPDATE SET (label, hits) = (excluded.label, 0)", ()),
    (ROWS + " ON CONFLICT (id) DO UPDATE SET hits = (SELECT max(hits) FROM s) RETURNING hits", ()),
    (ROWS + " ON CONFLICT ON CONSTRAINT s_pkey DO UPDATE SET hits = 100", ()),
    (ROWS + " ON CONFLICT (id) DO UPDATE SET id = excluded.id + 100 RETURNING *", ()),
    ("INSERT INTO s AS x VALUES (1, 'u', 2) ON CONFLICT (id) DO UPDATE SET hits = x.hits * excluded.hits"
     " RETURNING x.*", ()),
    ("INSERT INTO s (id, hits) VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET hits = s.hits + %s"
     " RETURNING hits + %s::int",
     (1, 2, 3, 4)),
    ("INSERT INTO s SELECT id, 'q', 1 FROM s ON CONFLICT (id)"
     " DO UPDATE SET hits = coalesce(s.hits, 0) + excluded.hits", ()),
    ("INSERT INTO d (time, host, v) VALUES ('2026-01-01 00:01+00', 'h1', 5), ('2026-01-01 00:01+00', 'h2', 5)"
     " ON CONFLICT (time, host) DO UPDATE SET v = greatest(d.v, excluded.v), note = d.note || '!' RETURNING *", ()),
    ("INSERT INTO d SELECT time, 'h1', v + 1 FROM d ON CONFLICT (time, host) DO UPDATE SET v = d.v + excluded.v", ()),
    ("INSERT INTO s (id) VALUES (1), (1) ON CONFLICT (id) DO UPDATE SET hits = 0", ()),
    ("INSERT INTO s (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET hits = hits + 1", ()),
    ("INSERT INTO s (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET nope = 1", ()),
    ("INSERT INTO s (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET hits = d.v", ()),
    ("INSERT INTO s (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET hits = 1 RETURNING excluded.id", ()),
    ("INSERT INTO s (id) VALUES (1) ON CONFLICT (label) DO UPDATE SET hits = 1", ()),
    ("INSERT INTO s (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 2", ()),
]  # fmt: skip


@pytest.fixture
def both(connection: psycopg.Connection, postgres: Connection) -> Iterator[Both]:
    yield from prepared(connection, postgres, SETUP, TABLES)


@pytest.mark.parametrize(("statement", "values"), STATEMENTS)
def test_existing_rows_are_updated_as_in_postgresql(
    both: Both, statement: LiteralString, values: Sequence[object]
) -> None:
    ours, theirs = both
    assert outcome(ours, statement, values) == outcome(theirs, statement, values)
    assert held(ours, TABLES) == held(theirs, TABLES)


@pytest.mark.parametrize("seed", range(3))
def test_random_transactions_leave_the_same_rows(both: Both, seed: int) -> None:
    check_random_transactions(both, TABLES, statement_of, seed)


def statement_of(chance: random.Random) -> str:
    # A key that is there twice is 21000 here, in PostgreSQL only if its row was written.
    one, other = chance.sample(range(1, 7), 2)
    rows = f"INSERT INTO s VALUES ({one}, 'new', {other}), ({other}, NULL, NULL) ON CONFLICT (id) DO UPDATE SET"
    return chance.choice((
        f"{rows} hits = s.hits + excluded.hits",
        f"{rows} hits = excluded.hits, label = coalesce(s.label, '') || {one}",
        f"{rows} label = excluded.label WHERE s.hits > {other}",
        f"UPDATE s SET hits = NULL WHERE id = {other}",
        f"DELETE FROM s WHERE id = {one}",
    ))  # fmt: skip
