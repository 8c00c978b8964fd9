"""INSERT … RETURNING with any expression: what a real PostgreSQL returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import LiteralString

import psycopg
import pytest

from tests.dml.side_by_side import held, outcome
from tests.fixtures.postgres import Both, Connection, prepared

TABLES: list[LiteralString] = ["d", "s"]
SETUP: list[LiteralString] = [
    "CREATE TABLE d (time timestamptz NOT NULL, host text, v float8, n numeric, day date, tags text[], j jsonb,"
    " PRIMARY KEY (time, host))",
    "CREATE TABLE s (id serial PRIMARY KEY, name text NOT NULL DEFAULT 'none', size int, weight numeric(6,2))",
    "INSERT INTO s (name, size) VALUES ('a', 1), ('b', 2)",
]
STATEMENTS: list[tuple[LiteralString, Sequence[object]]] = [
    ("INSERT INTO s (name, size) VALUES ('c', 5), ('d', NULL) RETURNING id + 100, upper(name) AS big, size * 2", ()),
    ("INSERT INTO s (name) VALUES ('c') RETURNING *, length(name), s.*, weight IS NULL", ()),
    ("INSERT INTO s AS x (name, weight) VALUES ('c', 1.5) RETURNING x.id, weight, weight * 2 AS twice, x.*", ()),
    ("INSERT INTO s (name, size) SELECT name || '2', size + 10 FROM s RETURNING id, name || size AS both", ()),
    ("INSERT INTO d (time, host, n) VALUES ('2026-01-01', 'a', 1.50), ('2026-01-01', 'b', 2) RETURNING n", ()),
    ("INSERT INTO s DEFAULT VALUES RETURNING name || id", ()),
    ("INSERT INTO s (name, size) VALUES ('c', 3) RETURNING (SELECT count(*) FROM s), (SELECT max(q.size) FROM s AS q"
     " WHERE q.size < s.size)", ()),
    ("INSERT INTO s (name, size) VALUES (%s, %s) RETURNING size + %s::int, name = %s", ("p", 4, 5, "p")),
    ("INSERT INTO s (name, size) VALUES ('c', 3) RETURNING 1, 'x' AS y, now() > '2020-01-01'", ()),
    ("INSERT INTO s (name, size) SELECT 'c', 3 WHERE false RETURNING id + 1", ()),
    ("INSERT INTO d VALUES ('2026-01-01 10:00', 'h', 1.5, 2.50, '2026-02-03', '{a,b}', '{\"k\": [1]}')"
     " RETURNING time + interval '1 hour', host || '!', v / 2, n, n * 2, day + 1, tags[2], j -> 'k',"
     " to_char(time, 'HH24')",
     ()),
    ("INSERT INTO d (time, host) VALUES ('2026-01-01 10:00', 'h') RETURNING coalesce(v, -1), n, n + 1, tags, j", ()),
    ("INSERT INTO d (time, host, v) SELECT '2026-01-01'::timestamptz + i * interval '1 s', 'h' || i %% 3, i"
     " FROM generate_series(1, 50) AS g(i) RETURNING extract(second FROM time)::int, host, CASE WHEN v > 5 THEN v END",
     ()),
    ("WITH w AS (SELECT 9 AS z) INSERT INTO s (name, size) SELECT 'w', z FROM w"
     " RETURNING size + (SELECT z FROM w)", ()),
    ("INSERT INTO s (id, name) VALUES (1, 'again') ON CONFLICT (id) DO NOTHING RETURNING name || 'x'", ()),
    ("INSERT INTO s (id, name) VALUES (1, 'x'), (70, 'y') ON CONFLICT (id) DO NOTHING RETURNING name || 'x'", ()),
    ("INSERT INTO s (name) VALUES ('c') RETURNING count(*)", ()),
    ("INSERT INTO s (name) VALUES ('c') RETURNING nope", ()),
    ("INSERT INTO s (name) VALUES ('c') RETURNING d.v", ()),
    ("INSERT INTO s AS x (name) VALUES ('c') RETURNING s.id", ()),
    ("INSERT INTO s (name) VALUES ('c') RETURNING name + 1", ()),
    ("INSERT INTO s (name, size) VALUES ('c', 0) RETURNING 1 / size", ()),
]  # fmt: skip


@pytest.fixture
def both(connection: psycopg.Connection, postgres: Connection) -> Iterator[Both]:
    yield from prepared(connection, postgres, SETUP, TABLES)


@pytest.mark.parametrize(("statement", "values"), STATEMENTS)
def test_returning_gives_what_postgresql_gives(both: Both, statement: LiteralString, values: Sequence[object]) -> None:
    ours, theirs = both
    if not values:
        statement = statement.replace("%%", "%")
    assert outcome(ours, statement, values) == outcome(theirs, statement, values)
    assert held(ours, TABLES) == held(theirs, TABLES)


def test_inside_a_transaction_subqueries_see_what_was_written_before(both: Both) -> None:
    found = []
    for each in both:
        with suppress(psycopg.Rollback), each.transaction():
            each.execute("INSERT INTO s (name, size) VALUES ('early', 50)")
            rows = outcome(
                each,
                "INSERT INTO s (name, size) VALUES ('late', 60) RETURNING id, (SELECT max(size) FROM s) AS m, size + 1",
            )
            found.append((rows, held(each, TABLES)))
            raise psycopg.Rollback
    assert found[0] == found[1]


def test_many_rows_come_back_in_their_order(both: Both) -> None:
    ours, _ = both
    query: LiteralString = (
        "INSERT INTO d (time, host, v) SELECT '2026-01-01'::timestamptz + i * interval '1 s', 'h', i"
        " FROM generate_series(1, 30000) AS g(i) ORDER BY i RETURNING v + 1"
    )
    assert [row[0] for row in ours.execute(query)] == [float(i + 1) for i in range(1, 30001)]


@pytest.mark.parametrize("granted", ["INSERT", "INSERT, SELECT"])
def test_reading_what_was_inserted_needs_select(both: Both, granted: LiteralString) -> None:
    found: list[object] = []
    for each in both:
        each.execute("CREATE ROLE dml_clerk")
        each.execute(f"GRANT {granted} ON d TO dml_clerk")
        each.execute("SET ROLE dml_clerk")
        plain = outcome(each, "INSERT INTO d (time, host, v) VALUES ('2026-01-01', 'a', 1)")
        read = outcome(each, "INSERT INTO d (time, host, v) VALUES ('2026-01-01', 'b', 1) RETURNING v + 1")
        other = outcome(each, "INSERT INTO d (time, host) VALUES ('2026-01-01', 'c') RETURNING (SELECT max(id) FROM s)")
        each.execute("RESET ROLE")
        each.execute("REVOKE ALL ON d FROM dml_clerk")
        each.execute("DROP ROLE dml_clerk")
        found.append((plain, read, other, held(each, TABLES)))
    assert found[0] == found[1]
