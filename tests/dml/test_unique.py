"""Unique columns of reference tables: a real PostgreSQL refuses the same rows, with the same words and fields."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import LiteralString

import psycopg
import pytest
from psycopg import errors

from tests.dml.side_by_side import check_random_transactions, held, outcome, said
from tests.fixtures.postgres import Both, Connection, prepared
from tests.session.conftest import Server

TABLES: list[LiteralString] = ["u", "v", "w"]
SETUP: list[LiteralString] = [
    "CREATE TABLE u (id int PRIMARY KEY, email text UNIQUE, a int, b text, n numeric(6,2), UNIQUE (a, b))",
    "CREATE TABLE v (x text, y date, CONSTRAINT v_once UNIQUE (y), ok bool)",
    "CREATE TABLE w (k text, l int, note text, PRIMARY KEY (k, l))",
    "CREATE UNIQUE INDEX w_note ON w (note)",
    "INSERT INTO u VALUES (1, 'a@x', 1, 'p', 1.5), (2, 'b@x', 1, 'q', NULL), (3, NULL, NULL, 'q', 3)",
    "INSERT INTO v VALUES ('one', '2026-01-01', true), ('two', NULL, false), ('three', NULL, NULL)",
    "INSERT INTO w VALUES ('a', 1, 'first'), ('a', 2, NULL), ('b', 1, NULL)",
]
STATEMENTS: list[LiteralString] = [
    "INSERT INTO u VALUES (1, 'c@x')",
    "INSERT INTO u VALUES (4, 'a@x')",
    "INSERT INTO u VALUES (4, 'c@x', 1, 'q')",
    "INSERT INTO u VALUES (4, 'c@x', 1, NULL), (5, NULL, 1, NULL)",
    "INSERT INTO u (id, email) VALUES (4, 'c@x'), (5, 'c@x')",
    "INSERT INTO u (id) VALUES (4), (4)",
    "INSERT INTO u (id, email) VALUES (4, 'd@x'), (1, 'e@x'), (5, 'b@x')",
    "INSERT INTO u SELECT i % 3 + 10, 'x' || i FROM generate_series(1, 9) AS g(i)",
    "INSERT INTO u (id, email) VALUES (1, 'z@x') RETURNING id",
    "INSERT INTO v VALUES ('four', '2026-01-01')",
    "INSERT INTO v VALUES ('four', NULL), ('five', NULL)",
    "INSERT INTO w VALUES ('a', 2)",
    "INSERT INTO w VALUES ('a', 3, 'first')",
    "UPDATE u SET email = 'a@x' WHERE id = 2",
    "UPDATE u SET email = 'a@x' WHERE id = 1",
    "UPDATE u SET email = upper(email) RETURNING email",
    "UPDATE u SET email = 'same@x'",
    "UPDATE u SET b = 'p' WHERE id = 2",
    "UPDATE u SET a = 7, b = 'p' RETURNING id",
    "UPDATE u SET id = 2 WHERE id = 1",
    "UPDATE u SET n = n + 1",
    "UPDATE v SET y = '2026-01-01' WHERE x = 'two'",
    "UPDATE v SET y = '2026-01-01'",
    "UPDATE w SET note = 'first'",
    "INSERT INTO u VALUES (1, 'c@x') ON CONFLICT DO NOTHING",
    "INSERT INTO u VALUES (1, 'c@x'), (4, 'a@x'), (5, 'e@x', 1, 'q'), (6, 'f@x') ON CONFLICT DO NOTHING RETURNING id",
    "INSERT INTO u VALUES (4, 'a@x') ON CONFLICT (id) DO NOTHING",
    "INSERT INTO u VALUES (4, 'a@x'), (5, 'e@x') ON CONFLICT (email) DO NOTHING RETURNING id",
    "INSERT INTO u VALUES (1, 'e@x') ON CONFLICT (email) DO NOTHING",
    "INSERT INTO u VALUES (4, 'a@x', 9) ON CONFLICT (email) DO UPDATE SET a = excluded.a + 1 RETURNING id, a",
    "INSERT INTO u VALUES (4, 'a@x', 9), (9, 'g@x', 9) ON CONFLICT (email) DO UPDATE SET a = excluded.a",
    "INSERT INTO u VALUES (4, 'a@x', 9), (5, 'a@x') ON CONFLICT (email) DO UPDATE SET a = excluded.a",
    "INSERT INTO u VALUES (1, 'b@x') ON CONFLICT (id) DO UPDATE SET email = excluded.email",
    "INSERT INTO u VALUES (1, 'new@x') ON CONFLICT (id) DO UPDATE SET email = excluded.email RETURNING email",
    "INSERT INTO u VALUES (7, 'b@x', 0) ON CONFLICT ON CONSTRAINT u_email_key DO UPDATE SET id = excluded.id",
    "INSERT INTO u VALUES (8, 'h@x', 1, 'q') ON CONFLICT (a, b) DO UPDATE SET n = 5 RETURNING *",
    "INSERT INTO u VALUES (8, 'h@x', 1, 'q') ON CONFLICT (a) DO NOTHING",
    "INSERT INTO v VALUES ('four', '2026-01-01') ON CONFLICT (y) DO UPDATE SET x = excluded.x || v.x RETURNING *",
    "INSERT INTO v VALUES ('four', '2026-01-01'), ('five', NULL) ON CONFLICT DO NOTHING",
    "INSERT INTO w VALUES ('a', 1, 'other') ON CONFLICT (k, l) DO UPDATE SET note = excluded.note",
    "INSERT INTO w VALUES ('c', 1, 'first') ON CONFLICT (note) DO UPDATE SET note = w.note || '!'",
]


@pytest.fixture
def both(connection: psycopg.Connection, postgres: Connection) -> Iterator[Both]:
    yield from prepared(connection, postgres, SETUP, TABLES)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_rows_are_refused_as_in_postgresql(both: Both, statement: LiteralString) -> None:
    ours, theirs = both
    assert said(ours, statement) == said(theirs, statement)
    assert held(ours, TABLES) == held(theirs, TABLES)


def test_equal_values_are_equal_however_they_are_written(connection: psycopg.Connection, postgres: Connection) -> None:
    tables: list[LiteralString] = ["scales", "keyed"]
    setup: list[LiteralString] = [
        "CREATE TABLE scales (n numeric UNIQUE, f float8 UNIQUE, b int)",
        "CREATE TABLE keyed (n numeric, t text, b int, PRIMARY KEY (n, t))",
    ]
    statements: list[LiteralString] = [
        "INSERT INTO scales VALUES (1.0, 0), (100, 5), (0.10, 6), (0, 7)",
        "INSERT INTO scales VALUES (1.00, 1)",
        "INSERT INTO scales VALUES (0.1, 1)",
        "INSERT INTO scales VALUES (0.000, 1)",
        "INSERT INTO scales VALUES (100.0, 1) ON CONFLICT DO NOTHING",
        "INSERT INTO scales VALUES (10, '-0'::float8)",
        "INSERT INTO scales VALUES (1.000, 1) ON CONFLICT (n) DO UPDATE SET b = 9",
        "INSERT INTO scales VALUES (5.0, 11), (5.00, 12)",
        "INSERT INTO scales VALUES (6.0, 11), (6.00, 12) ON CONFLICT DO NOTHING",
        "UPDATE scales SET n = 100.00 WHERE f = 0",
        "UPDATE scales SET n = 1.0000 WHERE f = 0",
        "INSERT INTO keyed VALUES (1.0, 'a', 1), (1, 'b', 1)",
        "INSERT INTO keyed VALUES (1.00, 'a', 2)",
        "INSERT INTO keyed VALUES (1.00, 'a', 2), (2, 'a', 2) ON CONFLICT DO NOTHING",
        "INSERT INTO keyed VALUES (2.0, 'a', 3) ON CONFLICT (n, t) DO UPDATE SET b = excluded.b",
        "UPDATE keyed SET n = 1.000 WHERE n = 2",
        "UPDATE keyed SET n = 2.000 WHERE n = 2",
        "DELETE FROM keyed WHERE n = 1",
        "INSERT INTO keyed VALUES (1, 'a', 4)",
    ]
    for both in prepared(connection, postgres, setup, tables):
        for statement in statements:
            assert said(both[0], statement) == said(both[1], statement), statement
            assert held(both[0], tables) == held(both[1], tables), statement


@pytest.mark.parametrize("seed", range(4))
def test_random_transactions_leave_the_same_rows(both: Both, seed: int) -> None:
    """Blocks with savepoints: what is pending counts, what is deleted or rolled back does not."""
    check_random_transactions(both, TABLES, statement_of, seed)


def statement_of(chance: random.Random) -> str:
    one, other = chance.randint(1, 5), chance.randint(1, 5)
    letter = chance.choice("abcd")
    return chance.choice((
        f"INSERT INTO u (id, email) VALUES ({one}, '{letter}@x')",
        f"INSERT INTO u (id, a, b) VALUES ({one}, 1, '{letter}'), ({other + 5}, 2, '{letter}')",
        f"INSERT INTO u (id, email) VALUES ({one}, '{letter}@x') ON CONFLICT DO NOTHING",
        f"INSERT INTO u (id, email) VALUES ({one}, '{letter}@x') ON CONFLICT (email) DO UPDATE SET a = {other}",
        f"UPDATE u SET email = '{letter}@x' WHERE id = {one}",
        f"UPDATE u SET id = {one} WHERE id = {other}",
        f"UPDATE u SET n = {one} WHERE id = {other}",
        f"DELETE FROM u WHERE id = {one}",
        "DELETE FROM u",
        f"INSERT INTO v VALUES ('{letter}', '2026-01-0{one}')",
        f"DELETE FROM v WHERE y = '2026-01-0{one}'",
        f"INSERT INTO w VALUES ('{letter}', {one}, 'n{other}')",
        f"DELETE FROM w WHERE k = '{letter}'",
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        ("4\tc@x\n1\td@x\n", ""),
        ("4\tc@x\n5\td@x\n5\te@x\n", ""),
        ("id,email\n4,c@x\n5,c@x\n", " WITH (FORMAT csv, HEADER)"),
        ("4\tc@x\n5\td@x\n", ""),
    ],
)
def test_copy_names_the_line(both: Both, rows: str, options: LiteralString) -> None:
    found: list[object] = []
    for each in both:
        try:
            with each.cursor() as cursor, cursor.copy("COPY u (id, email) FROM STDIN" + options) as copy:
                copy.write(rows)
            found.append((cursor.statusmessage, None, None, None))
        except errors.UniqueViolation as error:
            diagnostic = error.diag
            context = str(diagnostic.context)
            found.append((diagnostic.message_primary, diagnostic.message_detail, context, diagnostic.constraint_name))
    assert found[0] == found[1]
    assert held(both[0], TABLES) == held(both[1], TABLES)


def test_the_error_comes_at_the_statement_inside_a_block(both: Both) -> None:
    for each in both:
        with suppress(psycopg.Rollback), each.transaction():
            each.execute("INSERT INTO u (id) VALUES (10)")
            with pytest.raises(errors.UniqueViolation), each.transaction():
                each.execute("INSERT INTO u (id) VALUES (10)")
            each.execute("DELETE FROM u WHERE id IN (1, 10)")
            each.execute("INSERT INTO u (id, email) VALUES (10, 'a@x'), (1, 'b2@x')")
            raise psycopg.Rollback
    assert held(both[0], TABLES) == held(both[1], TABLES)


def test_a_pipeline_of_inserts_is_one_transaction(both: Both) -> None:
    for each in both:
        with pytest.raises(errors.UniqueViolation), each.cursor() as cursor:
            cursor.executemany("INSERT INTO u (id) VALUES (%s)", [(i,) for i in (20, 21, 22, 21)])
        assert outcome(each, "SELECT count(*) FROM u")[2] == ["(3,)"]
        with each.cursor() as cursor:
            cursor.executemany("INSERT INTO u (id) VALUES (%s)", [(i,) for i in range(20, 40)])
    assert held(both[0], TABLES) == held(both[1], TABLES)


@pytest.mark.parametrize(
    "statement", ["INSERT INTO u (id, email) VALUES (%s, %s)", "UPDATE u SET email = %s WHERE id = %s"]
)
def test_of_two_transactions_that_do_not_see_each_other_one_wins(
    server: Server, both: Both, statement: LiteralString
) -> None:
    """PostgreSQL lets the later one wait; here it is told at COMMIT."""
    ours, _ = both
    inserts = statement.startswith("INSERT")
    with server.connect() as other, pytest.raises(errors.UniqueViolation) as caught, ours.transaction():
        ours.execute(statement, (50, "r@x") if inserts else ("r@x", 1))
        other.execute(statement, (51, "r@x") if inserts else ("r@x", 2))
    assert caught.value.diag.constraint_name == "u_email_key"
    assert ours.execute("SELECT count(*) FROM u WHERE email = 'r@x'").fetchone() == (1,)


def test_what_was_deleted_meanwhile_is_no_conflict(server: Server, both: Both) -> None:
    ours, _ = both
    with server.connect() as other:
        with ours.transaction():
            ours.execute("INSERT INTO u (id) VALUES (60)")
            other.execute("INSERT INTO u (id) VALUES (60)")
            other.execute("DELETE FROM u WHERE id = 60")
        with ours.transaction():
            other.execute("INSERT INTO u (id) VALUES (61)")
            ours.execute("DELETE FROM u WHERE id = 61")
            ours.execute("INSERT INTO u (id, email) VALUES (61, 'mine')")
    assert ours.execute("SELECT id, email FROM u WHERE id > 59 ORDER BY id").fetchall() == [(60, None), (61, "mine")]


@pytest.mark.parametrize("conflict", ["", " ON CONFLICT DO NOTHING", " ON CONFLICT (id) DO UPDATE SET a = u.a + 1"])
def test_many_sessions_that_insert_the_same_keys_make_each_row_once(
    server: Server, both: Both, conflict: LiteralString
) -> None:
    """Each key is written by one of four sessions; the others are refused, do nothing, or count."""
    ours, _ = both
    keys, sessions = 40, 4
    wins = [0] * sessions
    start = threading.Barrier(sessions)

    def insert(number: int) -> None:
        with server.connect() as connection:
            start.wait()
            for key in range(100, 100 + keys):
                try:
                    done = connection.execute("INSERT INTO u (id, a) VALUES (%s, 0)" + conflict, (key,))
                    wins[number] += done.rowcount
                except errors.UniqueViolation:
                    assert not conflict

    threads = [threading.Thread(target=insert, args=(i,)) for i in range(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    updates = "UPDATE" in conflict
    assert sum(wins) == (keys * sessions if updates else keys)
    found = ours.execute("SELECT count(*), count(DISTINCT id), sum(a) FROM u WHERE id >= 100").fetchone()
    assert found == (keys, keys, keys * (sessions - 1) if updates else 0)


def test_a_numbered_transaction_that_is_sent_again_is_no_conflict(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE numbered (id int PRIMARY KEY, name text UNIQUE)")
    connection.execute("SET tsdb.producer = 'loader'")
    for _ in range(2):
        connection.execute("SET tsdb.batch = 1")
        assert connection.execute("INSERT INTO numbered VALUES (1, 'a'), (2, 'b')").rowcount == 2
    connection.execute("SET tsdb.batch = 2")
    with pytest.raises(errors.UniqueViolation):
        connection.execute("INSERT INTO numbered VALUES (3, 'b')")
    connection.execute("SET tsdb.batch = 3")
    with pytest.raises(errors.UniqueViolation), connection.transaction():
        connection.execute("INSERT INTO numbered VALUES (4, 'd')")
        connection.execute("INSERT INTO numbered VALUES (4, 'e')")
    assert connection.execute("SELECT id FROM numbered ORDER BY id").fetchall() == [(1,), (2,)]
    connection.execute("DROP TABLE numbered")
