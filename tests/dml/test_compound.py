"""Modifications in WITH, and MERGE: a real PostgreSQL gives the same rows, tags and errors."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import LiteralString

import psycopg
import pytest
from psycopg import errors

from tests.dml.side_by_side import held, outcome
from tests.fixtures.postgres import Both, Connection, prepared

TABLES: list[LiteralString] = ["a", "b", "d"]
SETUP: list[LiteralString] = [
    "CREATE TABLE a (id int PRIMARY KEY, name text, n numeric(8,2) DEFAULT 7, at timestamptz)",
    "CREATE TABLE b (id int PRIMARY KEY, name text, v int, tags text[])",
    "CREATE TABLE d (time timestamptz NOT NULL, host text, v float8, PRIMARY KEY (time, host))",
    "INSERT INTO a VALUES (1, 'one', 1.50, '2026-01-01'), (2, 'two', NULL, NULL), (3, NULL, 3, '2026-01-03')",
    "INSERT INTO b VALUES (2, 'zwei', 20, '{x,y}'), (3, 'drei', 30, NULL), (4, 'vier', 40, '{}')",
    "INSERT INTO d SELECT '2026-01-01'::timestamptz + i * interval '1 h', 'h' || i % 2, i"
    " FROM generate_series(0, 9) AS g(i)",
]
WITH: list[tuple[LiteralString, Sequence[object]]] = [
    ("WITH x AS (INSERT INTO a VALUES (9, 'new') RETURNING id, name, n, at) SELECT * FROM x", ()),
    ("WITH x AS (INSERT INTO a VALUES (9, 'new') RETURNING *) SELECT count(*), (SELECT count(*) FROM a) FROM x", ()),
    ("WITH x AS (DELETE FROM a WHERE id < 3 RETURNING *) SELECT id, upper(name), n + 1, at FROM x ORDER BY id", ()),
    ("WITH x AS (DELETE FROM a RETURNING id, name) INSERT INTO b (id, name) SELECT id + 10, name FROM x", ()),
    ("WITH x AS (DELETE FROM a WHERE id = 1 RETURNING *) INSERT INTO a SELECT * FROM x RETURNING id", ()),
    ("WITH x AS (UPDATE a SET name = 'u' RETURNING id) DELETE FROM b USING x WHERE b.id = x.id RETURNING b.*", ()),
    ("WITH x AS (UPDATE a SET n = n + 1 WHERE id = 1 RETURNING id, n), y AS (SELECT n * 2 AS m FROM x)"
     " UPDATE b SET v = (SELECT m FROM y) WHERE v = 20 RETURNING v", ()),
    ("WITH x AS (INSERT INTO a (id) VALUES (8)) SELECT id FROM a ORDER BY id", ()),
    ("WITH x AS (INSERT INTO a (id) VALUES (8)) SELECT * FROM x", ()),
    ("WITH x AS (INSERT INTO a (id) VALUES (8) RETURNING id) SELECT 5 AS five", ()),
    ("WITH x AS (INSERT INTO a (id) VALUES (1) RETURNING id) SELECT * FROM x", ()),
    ("WITH x AS (INSERT INTO a (id) VALUES (8)), y AS (INSERT INTO a (id) VALUES (8)) SELECT 1", ()),
    ("WITH x (k, l) AS (INSERT INTO b VALUES (7, 'q', 1, '{p,q}') RETURNING id, tags) SELECT k, l[1] FROM x", ()),
    ("WITH p AS (SELECT 2 AS k), x AS (DELETE FROM b WHERE id = (SELECT k FROM p) RETURNING *)"
     " SELECT p.k, x.tags FROM p, x", ()),
    ("WITH x AS (DELETE FROM b WHERE v > %s RETURNING id), y AS (INSERT INTO a (id, name) SELECT id + 100, %s FROM x"
     " RETURNING id, name) SELECT id + %s AS id, name FROM y ORDER BY 1", (25, "moved", 1000)),
    ("WITH moved AS (DELETE FROM d WHERE host = 'h1' RETURNING time, host, v)"
     " INSERT INTO d SELECT time, 'h9', v * 2 FROM moved RETURNING host, v", ()),
    ("WITH x AS (INSERT INTO a (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = 'again' RETURNING id, name)"
     " SELECT name || id AS both FROM x", ()),
    ("WITH x AS (INSERT INTO a (id) VALUES (1) ON CONFLICT DO NOTHING RETURNING id)"
     " SELECT id FROM x UNION ALL SELECT id FROM a WHERE id = 1", ()),
    ("WITH x AS (DELETE FROM b RETURNING id, v, name) SELECT * FROM x WHERE v > 25 AND name <> 'drei' AND id = 4", ()),
    ("WITH x AS (DELETE FROM d RETURNING *) SELECT v FROM x WHERE time > '2026-01-01 03:00+00' AND host = 'h1'", ()),
    ("WITH x AS (DELETE FROM d RETURNING *) SELECT host, max(v), last_value(max(v)) OVER () IS NOT NULL FROM x"
     " WHERE v BETWEEN 2 AND 7 GROUP BY host ORDER BY host", ()),
    ("WITH x AS (DELETE FROM d RETURNING *) SELECT * FROM x ORDER BY v DESC LIMIT 2", ()),
    ("SELECT * FROM (WITH x AS (DELETE FROM a RETURNING id) SELECT * FROM x) AS q", ()),
    ("WITH x AS (DELETE FROM nothing RETURNING id) SELECT * FROM x", ()),
    ("WITH x AS (DELETE FROM a RETURNING id) SELECT nope FROM x", ()),
]  # fmt: skip
MERGES: list[tuple[LiteralString, Sequence[object]]] = [
    ("MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN UPDATE SET name = b.name, n = b.v"
     " WHEN NOT MATCHED THEN INSERT (id, name) VALUES (b.id, b.name)", ()),
    ("MERGE INTO a AS t USING (SELECT id, v FROM b WHERE v > 20) AS s ON t.id = s.id"
     " WHEN MATCHED AND s.v > 30 THEN DELETE WHEN MATCHED THEN UPDATE SET n = t.n + s.v, at = DEFAULT"
     " WHEN NOT MATCHED AND s.v > 50 THEN INSERT VALUES (s.id, 'big')"
     " WHEN NOT MATCHED THEN INSERT (id, n) VALUES (s.id, DEFAULT)", ()),
    ("MERGE INTO a USING b ON a.id = b.id WHEN MATCHED AND a.n IS NULL THEN DO NOTHING WHEN MATCHED THEN DELETE", ()),
    ("MERGE INTO a USING b ON a.id = b.id WHEN MATCHED AND a.n > 1 THEN DELETE WHEN MATCHED THEN UPDATE SET n = 0"
     " WHEN NOT MATCHED THEN DO NOTHING", ()),
    ("MERGE INTO a USING (VALUES (1, 'x'), (1, 'y')) AS s (id, name) ON a.id = s.id"
     " WHEN MATCHED THEN UPDATE SET name = s.name", ()),
    ("MERGE INTO a USING (VALUES (1, 'x'), (1, 'y')) AS s (id, name) ON a.id = s.id"
     " WHEN MATCHED AND s.name = 'y' THEN UPDATE SET name = s.name", ()),
    ("MERGE INTO a USING (VALUES (6, 'x'), (6, 'y')) AS s (id, name) ON a.id = s.id"
     " WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)", ()),
    ("MERGE INTO a USING (VALUES (%s::int, %s::text)) AS s (id, name) ON a.id = s.id"
     " WHEN MATCHED THEN UPDATE SET name = s.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)",
     (5, "given")),
    ("WITH s AS (SELECT id, v * 2 AS w FROM b) MERGE INTO a USING s ON s.id = a.id"
     " WHEN MATCHED THEN UPDATE SET n = s.w", ()),
    ("MERGE INTO d USING (SELECT time, host, v + 1 AS v FROM d WHERE v > 7 UNION ALL"
     " SELECT '2026-02-01'::timestamptz, 'h0', 5) AS s ON d.time = s.time AND d.host = s.host"
     " WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.time, s.host, s.v)", ()),
    ("MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN UPDATE SET nope = 1", ()),
    ("MERGE INTO nothing USING b ON true WHEN MATCHED THEN DELETE", ()),
    ("MERGE INTO a USING b ON a.id = b.id WHEN NOT MATCHED THEN INSERT (id, name) VALUES (b.id)", ()),
]  # fmt: skip


@pytest.fixture
def both(connection: psycopg.Connection, postgres: Connection) -> Iterator[Both]:
    yield from prepared(connection, postgres, SETUP, TABLES)


@pytest.mark.parametrize(("statement", "values"), [*WITH, *MERGES])
def test_a_statement_does_what_it_does_in_postgresql(
    both: Both, statement: LiteralString, values: Sequence[object]
) -> None:
    ours, theirs = both
    assert outcome(ours, statement, values) == outcome(theirs, statement, values)
    assert held(ours, TABLES) == held(theirs, TABLES)


@pytest.mark.parametrize("commits", [True, False])
def test_inside_a_transaction_parts_see_what_came_before_it(both: Both, commits: bool) -> None:
    found = []
    for each in both:
        seen: list[object] = []
        each.execute("BEGIN")
        each.execute("INSERT INTO a VALUES (50, 'early')")
        seen.append(
            outcome(each, "WITH x AS (DELETE FROM a WHERE id > 2 RETURNING *) INSERT INTO a SELECT id + 1, name FROM x")
        )
        seen.append(outcome(each, MERGES[0][0]))
        seen.append(held(each, TABLES))
        each.execute("COMMIT" if commits else "ROLLBACK")
        seen.append(held(each, TABLES))
        found.append(seen)
    assert found[0] == found[1]


@pytest.mark.parametrize("seed", range(3))
def test_random_merges_leave_the_same_rows(both: Both, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(12):
        statement = merge_of(chance).encode()
        found = []
        for each in both:
            try:
                said = each.execute(statement).statusmessage
            except psycopg.Error as error:
                said = error.diag.sqlstate
            found.append((said, held(each, TABLES)))
        assert found[0] == found[1], statement


def merge_of(chance: random.Random) -> str:
    rows = ", ".join(f"({chance.randint(1, 8)}, 's{chance.randint(1, 4)}', {chance.randint(1, 9)})" for _ in range(3))
    clauses = [
        f"WHEN MATCHED AND s.v > {chance.randint(1, 9)} THEN UPDATE SET n = coalesce(a.n, 0) + s.v",
        f"WHEN MATCHED AND a.id < {chance.randint(1, 8)} THEN DELETE",
        "WHEN MATCHED AND a.name = s.name THEN DO NOTHING",
        "WHEN MATCHED THEN UPDATE SET name = s.name",
        f"WHEN NOT MATCHED AND s.v < {chance.randint(1, 9)} THEN INSERT (id, name) VALUES (s.id, s.name)",
        f"WHEN NOT MATCHED AND s.v > {chance.randint(1, 9)} THEN INSERT (id, n) VALUES (s.id, s.v)",
    ]
    chosen = " ".join(each for each in clauses if chance.random() < 0.6) or clauses[3]
    return f"MERGE INTO a USING (VALUES {rows}) AS s (id, name, v) ON a.id = s.id {chosen}"


def test_rights_are_asked_of_each_part(both: Both) -> None:
    found: list[object] = []
    for each in both:
        each.execute("CREATE ROLE compound_clerk")
        each.execute("GRANT SELECT, INSERT ON b TO compound_clerk")
        each.execute("GRANT SELECT, UPDATE ON a TO compound_clerk")
        each.execute("SET ROLE compound_clerk")
        seen = [
            outcome(each, "WITH x AS (DELETE FROM a RETURNING id) INSERT INTO b (id) SELECT id + 10 FROM x"),
            outcome(each, "WITH x AS (UPDATE a SET n = 1 RETURNING id) INSERT INTO b (id) SELECT id + 10 FROM x"),
            outcome(each, "MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN UPDATE SET n = b.v"),
            outcome(each, "MERGE INTO a USING b ON a.id = b.id WHEN NOT MATCHED THEN INSERT (id) VALUES (b.id)"),
        ]
        each.execute("RESET ROLE")
        each.execute("REVOKE ALL ON a, b FROM compound_clerk")
        each.execute("DROP ROLE compound_clerk")
        found.append((seen, held(each, TABLES)))
    assert found[0] == found[1]


@pytest.mark.parametrize("statement", [
    "WITH k AS (SELECT (random() * 1e9)::int AS id), x AS (INSERT INTO a (id) SELECT id FROM k)"
    " INSERT INTO b (id) SELECT id FROM k",
    "WITH k AS (SELECT gen_random_uuid()::text AS t), l AS (SELECT t FROM k),"
    " x AS (INSERT INTO a (id, name) SELECT 77, t FROM l) SELECT t FROM k",
    "MERGE INTO a USING (SELECT (random() * 5)::int AS id) AS s ON a.id = s.id"
    " WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)",
    "MERGE INTO a USING b ON a.id = b.id WHEN MATCHED AND random() < 0.5 THEN DELETE"
    " WHEN MATCHED THEN UPDATE SET n = 1",
])  # fmt: skip
def test_what_is_new_each_time_is_not_asked_twice(both: Both, statement: LiteralString) -> None:
    before = held(both[0], TABLES)
    assert outcome(both[0], statement) == ("0A000",)
    assert held(both[0], TABLES) == before


def test_what_is_new_each_time_may_be_asked_once(both: Both) -> None:
    ours, _ = both
    ours.execute(
        "WITH k AS (SELECT (random() * 1e9)::int + 100 AS id), x AS (INSERT INTO a (id) SELECT id FROM k RETURNING id)"
        " INSERT INTO b (id) SELECT id FROM x"
    )
    assert ours.execute("SELECT count(*) FROM a JOIN b USING (id) WHERE id >= 100").fetchall() == [(1,)]
    ours.execute("MERGE INTO a USING b ON a.id = b.id WHEN NOT MATCHED THEN INSERT (id, n) VALUES (b.id, random())")


def test_a_read_only_transaction_refuses_them(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE ro (id int PRIMARY KEY)")
    try:
        connection.execute("SET default_transaction_read_only = on")
        with pytest.raises(errors.ReadOnlySqlTransaction):
            connection.execute("WITH x AS (INSERT INTO ro VALUES (1) RETURNING id) SELECT * FROM x")
    finally:
        connection.execute("RESET default_transaction_read_only")
        connection.execute("DROP TABLE ro")
