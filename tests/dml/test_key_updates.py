"""UPDATE of tags and the time: the rows move as in a real PostgreSQL, and none takes the key of another."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest
from psycopg import errors

from tests.dml.side_by_side import check_random_transactions, held, outcome
from tests.fixtures.postgres import Both, Connection, prepared

TABLES: list[LiteralString] = ["d", "s", "e"]
SETUP: list[LiteralString] = [
    "CREATE TABLE d (time timestamptz NOT NULL, host text, v float8, note text, n numeric, PRIMARY KEY (time, host))",
    "CREATE TABLE s (id int PRIMARY KEY, label text, n numeric)",
    "CREATE TABLE e (time timestamptz NOT NULL, host text, v int)",
    "INSERT INTO d SELECT '2026-01-01'::timestamptz + i * interval '1 min', 'h' || i % 4, i, 'n' || i, i + 0.50"
    " FROM generate_series(0, 19) AS g(i)",
    "INSERT INTO s VALUES (1, 'one', 1.50), (2, 'two', NULL), (3, NULL, 3.0)",
    "INSERT INTO e VALUES ('2026-01-01', 'a', 1), ('2026-01-01', 'a', 1), ('2026-01-02', 'b', NULL)",
]
STATEMENTS: list[LiteralString] = [
    "UPDATE d SET host = 'x'",
    "UPDATE d SET host = host",
    "UPDATE d SET host = 'z' || host, v = NULL WHERE v > 3 RETURNING *",
    "UPDATE d SET time = time + interval '1 day' WHERE host = 'h1' RETURNING time, host, n",
    "UPDATE d SET time = '2026-01-01 00:01+00', host = 'h0' WHERE note = 'n5'",
    "UPDATE d SET time = '2026-01-01 00:01+00', host = 'h1' WHERE note = 'n5'",
    "UPDATE d SET time = '2026-02-01', host = 'same' WHERE v < 2",
    "UPDATE d SET time = NULL WHERE v = 1",
    "UPDATE d SET host = NULL WHERE v = 1",
    "UPDATE d SET (host, v) = (upper(host), v + 1), note = DEFAULT WHERE v BETWEEN 2 AND 7 RETURNING host, note, v",
    "UPDATE d AS x SET host = s.label FROM s WHERE s.id = x.v RETURNING x.host, s.*",
    "UPDATE d SET host = s.label FROM s WHERE s.id = d.v AND label IS NOT NULL RETURNING d.*, s.id",
    "UPDATE s SET id = id + 10 RETURNING *",
    "UPDATE s SET id = 2 WHERE id = 1",
    "UPDATE s SET id = 4, label = 'four', n = n * 2 WHERE id = 3 RETURNING id, n",
    "UPDATE s SET id = 7",
    "UPDATE s SET id = NULL WHERE id = 1",
    "UPDATE s SET id = 'x' WHERE id = 1",
    "UPDATE e SET time = time + interval '1 hour', host = 'c', v = 5 WHERE host = 'a' RETURNING *",
    "UPDATE e SET time = '2026-01-01'",
    "UPDATE e SET host = NULL",
    "UPDATE e SET time = NULL",
]


@pytest.fixture
def both(connection: psycopg.Connection, postgres: Connection) -> Iterator[Both]:
    yield from prepared(connection, postgres, SETUP, TABLES)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_keys_change_as_in_postgresql(both: Both, statement: LiteralString) -> None:
    ours, theirs = both
    assert outcome(ours, statement) == outcome(theirs, statement)
    assert held(ours, TABLES) == held(theirs, TABLES)


@pytest.mark.parametrize("seed", range(4))
def test_random_histories_leave_the_same_rows(both: Both, seed: int) -> None:
    """One row at a time, so that the order in which PostgreSQL checks its rows has no say."""
    check_random_transactions(both, TABLES, statement_of, seed)


def statement_of(chance: random.Random) -> str:
    one, other = chance.randint(1, 6), chance.randint(1, 6)
    return chance.choice((
        f"UPDATE s SET id = {one} WHERE id = {other}",
        f"UPDATE s SET id = {one}, label = NULL WHERE id = {other}",
        f"UPDATE s SET label = 'l{one}' WHERE id = {other}",
        f"DELETE FROM s WHERE id = {one}",
        f"INSERT INTO s VALUES ({one}, 'new', {other}) ON CONFLICT (id) DO NOTHING",
        f"UPDATE d SET host = 'h{one}' WHERE note = 'n{other}'",
        f"UPDATE d SET time = '2026-01-01 00:0{one}+00', host = 'h{one % 4}' WHERE note = 'n{other}'",
        f"UPDATE d SET v = NULL WHERE note = 'n{other}'",
        f"DELETE FROM d WHERE note = 'n{other}'",
    ))  # fmt: skip


def test_keys_can_be_shifted_and_swapped(both: Both) -> None:
    ours, _ = both
    assert outcome(ours, "UPDATE s SET id = id + 1")[0] == "UPDATE 3"
    assert ours.execute("SELECT id, label FROM s ORDER BY id").fetchall() == [(2, "one"), (3, "two"), (4, None)]
    assert outcome(ours, "UPDATE s SET id = 6 - id WHERE id <> 3")[0] == "UPDATE 2"
    assert ours.execute("SELECT id, label FROM s ORDER BY id").fetchall() == [(2, None), (3, "two"), (4, "one")]


def test_the_error_names_the_key(both: Both) -> None:
    details = []
    for each in both:
        with pytest.raises(errors.UniqueViolation) as caught:
            each.execute("UPDATE d SET time = '2026-01-01 00:01+00', host = 'h1' WHERE note = 'n5'")
        details.append((caught.value.diag.message_primary, str(caught.value.diag.message_detail).replace('"', "")))
    assert details[0] == details[1]


def test_the_exact_time_is_returned_and_stays_unless_it_changes(both: Both) -> None:
    ours, _ = both
    ours.execute("INSERT INTO e (time_ns, host) VALUES (1800000000123456789, 'ns')")
    moved: LiteralString = "UPDATE e SET host = 'sn' WHERE host = 'ns' RETURNING time_ns"
    assert ours.execute(moved).fetchall() == [(1800000000123456789,)]
    later: LiteralString = "UPDATE e SET time = time + interval '1 s' WHERE host = 'sn' RETURNING time_ns"
    assert ours.execute(later).fetchall() == [(1800000001123456000,)]
    assert ours.execute("SELECT time_ns FROM e WHERE host = 'sn'").fetchall() == [(1800000001123456000,)]


def test_too_many_rows_at_once_are_refused(both: Both) -> None:
    ours, _ = both
    ours.execute("INSERT INTO s SELECT i FROM generate_series(100, 66000) AS g(i)")
    with pytest.raises(errors.ProgramLimitExceeded):
        ours.execute("UPDATE s SET id = id + 1")
    assert ours.execute("SELECT count(*), min(id) FROM s").fetchall() == [(65904, 1)]
