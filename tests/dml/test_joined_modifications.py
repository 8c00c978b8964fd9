"""UPDATE … FROM and DELETE … USING: the same statements here and in a real PostgreSQL leave the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import LiteralString

import psycopg
import pytest

from tests.dml.side_by_side import held, ordered, outcome
from tests.fixtures.postgres import Both, Connection, prepared

TABLES: list[LiteralString] = ["d", "s", "u"]
SETUP: list[LiteralString] = [
    "CREATE TABLE d (time timestamptz NOT NULL, host text, v float8, note text, n numeric, PRIMARY KEY (time, host))",
    "CREATE TABLE s (id int PRIMARY KEY, host text, factor float8, label text, n numeric)",
    "CREATE TABLE r (id int PRIMARY KEY, place text)",
    "CREATE TABLE u (k numeric PRIMARY KEY, v int)",
    "INSERT INTO u VALUES (1.50, 1), (2.5, 2), (3, 3)",
    "INSERT INTO d SELECT '2026-01-01'::timestamptz + i * interval '1 min', 'h' || i % 4, i, 'n' || i, i + 0.50"
    " FROM generate_series(0, 19) AS g(i)",
    "INSERT INTO s VALUES (1, 'h0', 2, 'zero', 1.50), (2, 'h1', 3, NULL, 2.500), (3, 'h1', 3, NULL, 2.500),"
    " (4, 'x', 9, 'none', 4)",
    "INSERT INTO r VALUES (1, 'here'), (2, 'there'), (9, 'nowhere')",
]
STATEMENTS: list[LiteralString] = [
    "UPDATE d SET v = d.v * s.factor, note = s.label, n = s.n FROM s WHERE s.host = d.host",
    "UPDATE d SET v = s.factor FROM s WHERE s.host = d.host AND s.id <> 3 RETURNING *",
    "UPDATE d AS x SET v = x.v + s.factor, n = x.n + s.n FROM s WHERE s.host = x.host AND s.id < 3"
    " RETURNING x.v, s.factor, x.*, label",
    "UPDATE d SET note = place, v = NULL FROM s JOIN r USING (id) WHERE s.host = d.host RETURNING *",
    "UPDATE d SET note = place FROM s LEFT JOIN r ON r.id = s.id WHERE s.host = d.host AND s.id <> 3"
    " RETURNING d.time, note, place IS NULL AS gone, r.*",
    "UPDATE d SET v = q.c FROM (SELECT host, count(*) AS c FROM d GROUP BY host) AS q WHERE q.host = d.host",
    "UPDATE d SET v = w.x FROM (VALUES ('h1', 7), ('h2', 8)) AS w(h, x) WHERE h = host RETURNING host, v, x",
    "UPDATE d SET v = s.factor FROM s, r WHERE s.id = r.id AND s.host = d.host RETURNING d.host, d.v, r.place, s.n",
    "UPDATE d SET v = s.factor FROM s, LATERAL (SELECT s.id + 1 AS y) AS l WHERE y = 2 AND s.host = d.host RETURNING y",
    "UPDATE d SET v = b.v + 100 FROM d AS b WHERE b.time = d.time + interval '1 min' RETURNING d.v, b.v",
    "WITH w AS (SELECT host, max(factor) AS f FROM s GROUP BY host) UPDATE d SET v = w.f FROM w WHERE w.host = d.host",
    "UPDATE d SET v = 1 FROM s WHERE false",
    "UPDATE s SET factor = d.v FROM d WHERE d.host = s.host AND d.note IN ('n0', 'n1') RETURNING s.*, d.note",
    "DELETE FROM d USING s WHERE s.host = d.host",
    "DELETE FROM d USING s WHERE s.host = d.host AND s.id <> 3 RETURNING *",
    "DELETE FROM d AS x USING s, r WHERE s.id = r.id AND s.host = x.host RETURNING x.host, x.v, r.place, s.*",
    "DELETE FROM d USING s JOIN r USING (id) WHERE s.host = d.host AND place = 'there' RETURNING d.*, place",
    "DELETE FROM d USING d AS b WHERE b.time > d.time AND b.host = d.host",
    "DELETE FROM d USING (SELECT max(v) AS m FROM d) AS q WHERE v = m RETURNING note, m",
    "WITH w AS (SELECT 'h3' AS host) DELETE FROM d USING w WHERE w.host = d.host",
    "DELETE FROM s USING r WHERE r.id = s.id RETURNING s.id, place, s.n",
    "UPDATE u SET v = NULL FROM s WHERE s.n = k RETURNING k, s.n",
    "DELETE FROM u USING s, r WHERE s.n = k AND r.id < 3 RETURNING *",
    "UPDATE d SET v = 1 FROM d WHERE true",
    "UPDATE d SET v = 1 FROM s WHERE host = 'h1'",
    "UPDATE d SET note = 'x' FROM s WHERE s.host = d.host RETURNING n",
    "UPDATE d AS x SET v = 1 FROM s WHERE d.host = s.host",
    "UPDATE d SET v = 1 FROM nope WHERE true",
    "DELETE FROM d USING s WHERE s.nope = d.host",
    "DELETE FROM d USING d WHERE true",
]


@pytest.fixture
def both(connection: psycopg.Connection, postgres: Connection) -> Iterator[Both]:
    yield from prepared(connection, postgres, SETUP, ["d", "s", "r", "u"])


@pytest.mark.parametrize("statement", STATEMENTS)
def test_joined_modifications_do_what_postgresql_does(both: Both, statement: LiteralString) -> None:
    ours, theirs = both
    assert outcome(ours, statement) == outcome(theirs, statement)
    assert held(ours, TABLES) == held(theirs, TABLES)


def test_inside_a_transaction_they_see_what_it_wrote(both: Both) -> None:
    found: list[object] = []
    for each in both:
        with suppress(psycopg.Rollback), each.transaction():
            each.execute("INSERT INTO d VALUES ('2027-01-01', 'h0', 1, 'new', 1), ('2027-01-01', 'h9', 1, 'new', 1)")
            each.execute("INSERT INTO s VALUES (7, 'h9', 5, 'nine', 1)")
            each.execute("UPDATE s SET factor = 20 WHERE id = 1")
            update = outcome(
                each, "UPDATE d SET v = v * factor, note = label FROM s WHERE s.host = d.host AND s.id <> 3 RETURNING *"
            )
            delete = outcome(each, "DELETE FROM d USING s WHERE s.host = d.host AND d.v > 250 RETURNING d.*")
            found.append((update, delete, held(each, TABLES)))
            raise psycopg.Rollback
        found.append(held(each, TABLES))
    assert found[:2] == found[2:]


def test_a_row_that_is_matched_several_times_is_changed_once(both: Both) -> None:
    ours, _ = both
    cursor = ours.execute(
        "UPDATE d SET v = v + s.id FROM s WHERE s.host = d.host AND d.host = 'h1' RETURNING d.v, s.id"
    )
    rows = cursor.fetchall()
    assert cursor.statusmessage == "UPDATE 5"
    assert sorted(v - number for v, number in rows) == [1, 5, 9, 13, 17]  # type: ignore[operator]


GRANTS: list[tuple[LiteralString, LiteralString]] = [
    ("UPDATE, SELECT", ""),
    ("UPDATE, SELECT", "SELECT"),
    ("UPDATE", "SELECT"),
    ("DELETE, SELECT", "SELECT"),
    ("DELETE, SELECT", ""),
    ("DELETE", "SELECT"),
]


@pytest.mark.parametrize(("on_target", "on_other"), GRANTS)
def test_the_target_and_the_others_need_their_privileges(
    both: Both, on_target: LiteralString, on_other: LiteralString
) -> None:
    found = []
    for each in both:
        each.execute("CREATE ROLE dml_clerk")
        each.execute(f"GRANT {on_target} ON d TO dml_clerk")
        if on_other:
            each.execute(f"GRANT {on_other} ON s TO dml_clerk")
        each.execute("SET ROLE dml_clerk")
        update = outcome(each, "UPDATE d SET v = factor FROM s WHERE s.host = d.host AND s.id < 3 RETURNING d.v")
        delete = outcome(each, "DELETE FROM d USING s WHERE s.host = d.host")
        each.execute("RESET ROLE")
        each.execute("REVOKE ALL ON d, s FROM dml_clerk")
        each.execute("DROP ROLE dml_clerk")
        found.append((update, delete, held(each, TABLES)))
    assert found[0] == found[1]
    assert ("42501",) in found[0]


@pytest.mark.parametrize("columns", ["host, n", "host, n + 1", "n, host", "host, v, n"])
def test_distinct_on_shows_numerics_with_their_scale(both: Both, columns: LiteralString) -> None:
    ours, theirs = both
    query: LiteralString = f"SELECT DISTINCT ON (host) {columns} FROM d WHERE v < 4 ORDER BY host"
    assert ours.execute(query).fetchall() == theirs.execute(query).fetchall()
    nested: LiteralString = f"SELECT * FROM (SELECT DISTINCT ON (host) {columns} FROM d WHERE v < 4) AS q"
    assert ordered(ours.execute(nested).fetchall())
