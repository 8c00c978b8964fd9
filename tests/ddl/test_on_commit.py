"""ON COMMIT of temporary tables: what a transaction's end does with them."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.ddl.conftest import Run
from tests.session.conftest import Server

Refused = Callable[[str], str]


def test_on_commit_drop_takes_the_table_away_with_the_transaction(run: Run, refused: Refused) -> None:
    run("BEGIN", "CREATE TEMP TABLE t (id int) ON COMMIT DROP", "INSERT INTO t VALUES (1)")
    assert run("SELECT * FROM t") == [(1,)]
    run("COMMIT")
    assert refused("SELECT * FROM t") == "42P01"
    run("BEGIN", "CREATE TEMP TABLE t ON COMMIT DROP AS SELECT g FROM generate_series(1, 3) g")
    assert run("SELECT count(*) FROM t") == [(3,)]
    run("ROLLBACK")
    assert refused("SELECT * FROM t") == "42P01"
    run("CREATE TEMP TABLE t (id int) ON COMMIT DROP")
    assert refused("SELECT * FROM t") == "42P01"


def test_on_commit_delete_rows_empties_the_table(run: Run) -> None:
    run("CREATE TEMP TABLE t (id int) ON COMMIT DELETE ROWS", "INSERT INTO t VALUES (1)")
    assert run("SELECT count(*) FROM t") == [(0,)]
    run("BEGIN", "INSERT INTO t VALUES (1), (2)", "UPDATE t SET id = 3 WHERE id = 1")
    assert run("SELECT id FROM t ORDER BY id") == [(2,), (3,)]
    run("COMMIT")
    assert run("SELECT count(*) FROM t") == [(0,)]


def test_other_tables_of_the_transaction_are_written(run: Run) -> None:
    run("CREATE TABLE kept (id int)", "CREATE TEMP TABLE t (id int) ON COMMIT DELETE ROWS")
    run("BEGIN", "INSERT INTO t VALUES (1)", "INSERT INTO kept SELECT * FROM t", "COMMIT")
    assert run("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM kept)") == [(0, 1)]


def test_rows_are_there_for_the_statements_of_one_message(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TEMP TABLE t (id int) ON COMMIT DELETE ROWS")
    cursor = connection.execute("INSERT INTO t VALUES (1), (2); SELECT count(*) FROM t")
    cursor.nextset()
    assert cursor.fetchall() == [(2,)]
    assert connection.execute("SELECT count(*) FROM t").fetchall() == [(0,)]


def test_on_commit_preserve_rows_keeps_them(run: Run, refused: Refused) -> None:
    run("CREATE TEMP TABLE t (id int) ON COMMIT PRESERVE ROWS", "INSERT INTO t VALUES (1)")
    assert run("SELECT count(*) FROM t") == [(1,)]
    run("DISCARD TEMP")
    assert refused("SELECT * FROM t") == "42P01"


def test_on_commit_is_for_temporary_tables(refused: Refused) -> None:
    assert refused("CREATE TABLE t (id int) ON COMMIT DROP") == "42P16"
    assert refused("CREATE TABLE t (id int) ON COMMIT DELETE ROWS") == "42P16"
    assert refused("CREATE TEMP TABLE t (id int) ON COMMIT DELETE") == "42601"


def test_others_see_in_the_catalog_what_goes_and_cannot_name_it(run: Run, server: Server, database: str) -> None:
    listed = "SELECT pg_table_is_visible(oid) FROM pg_class WHERE relname = 't'"
    run("BEGIN", "CREATE TEMP TABLE t (id int) ON COMMIT DROP")
    with server.connect(database=database) as other:
        assert other.execute(listed).fetchall() == [(False,)]
        with pytest.raises(psycopg.errors.UndefinedTable):
            other.execute("SELECT * FROM t")
        run("COMMIT")
        assert other.execute(listed).fetchall() == []
