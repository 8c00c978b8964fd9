"""Results whose end is known with their rows: sent in one step, the same rows and tags as of any other."""

from __future__ import annotations

import psycopg
import pytest

from tsdb.session.rowset import LAST_ROWS_MAX

COUNTS = (0, 1, LAST_ROWS_MAX, LAST_ROWS_MAX + 1, 17_000)


@pytest.fixture
def connection(connection: psycopg.Connection) -> psycopg.Connection:
    connection.execute("CREATE TABLE IF NOT EXISTS ends (time timestamptz, host text TAG, v int8)")
    connection.execute("DELETE FROM ends")
    connection.execute("INSERT INTO ends SELECT now(), 'h' || i, i FROM generate_series(1, 17000) AS i")
    return connection


@pytest.mark.parametrize("rows", COUNTS)
@pytest.mark.parametrize("prepare", [False, True])
def test_all_rows_come_once_and_the_tag_counts_them(connection: psycopg.Connection, rows: int, prepare: bool) -> None:
    text = f"SELECT host, max(v) FROM ends GROUP BY host ORDER BY 2 LIMIT {rows}"
    assert connection.execute(f"EXPLAIN {text}").fetchall()[0][0].startswith("Query in kernels")
    for _ in range(2):
        cursor = connection.execute(text, prepare=prepare)
        assert cursor.statusmessage == f"SELECT {rows}"
        assert [value for _, value in cursor.fetchall()] == list(range(1, rows + 1))


def test_several_statements_of_one_message_each_have_their_rows(connection: psycopg.Connection) -> None:
    cursor = connection.execute("; ".join(f"SELECT max(v) + {i - i}, {i} FROM ends" for i in range(3)))
    found = [cursor.fetchall()]
    while cursor.nextset():
        found.append(cursor.fetchall())
    assert found == [[(17_000, i)] for i in range(3)]


def test_many_small_results_of_one_message_arrive(connection: psycopg.Connection) -> None:
    one = f"SELECT host, max(v) FROM ends GROUP BY host ORDER BY 2 LIMIT {LAST_ROWS_MAX}"
    cursor = connection.execute("; ".join([one] * 20))
    sizes = [len(cursor.fetchall())]
    while cursor.nextset():
        sizes.append(len(cursor.fetchall()))
    assert sizes == [LAST_ROWS_MAX] * 20


def test_a_cursor_over_a_small_result_is_read_piece_by_piece(connection: psycopg.Connection) -> None:
    with connection.transaction():
        connection.execute("DECLARE c CURSOR FOR SELECT host, max(v) FROM ends GROUP BY host ORDER BY 2 LIMIT 5")
        assert [len(connection.execute(f"FETCH {n} FROM c").fetchall()) for n in (2, 2, 2, 2)] == [2, 2, 1, 0]


def test_copy_of_a_small_result_has_all_its_rows(connection: psycopg.Connection) -> None:
    query = "SELECT host, max(v) FROM ends GROUP BY host ORDER BY 2 LIMIT 3"
    with connection.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT") as copy:
        assert list(copy.rows()) == [("h1", "1"), ("h2", "2"), ("h3", "3")]
