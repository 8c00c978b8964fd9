"""VACUUM and the system views of what is on disk, as psql's users meet them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.session.conftest import Server
from tsdb.storage.compaction.merge import Merge


@pytest.fixture
def table(connection: psycopg.Connection) -> Iterator[str]:
    """Three blocks on top of each other, in one window."""
    connection.execute("CREATE TABLE vac (time timestamptz, host text TAG, v int8, PRIMARY KEY (host, time))")
    for i in range(3):
        connection.execute(
            "INSERT INTO vac SELECT timestamptz '2020-01-01' + g * interval '1 second', 'h' || g %% 5, g + %s * 1000 "
            "FROM generate_series(1, 100) AS g", (i,)
        )  # fmt: skip
        connection.execute("CHECKPOINT")
    yield "vac"
    connection.execute("DROP TABLE vac")


def blocks(connection: psycopg.Connection) -> list[Any]:
    return connection.execute("SELECT rows, versions FROM tsdb.blocks WHERE relname = 'vac' ORDER BY block").fetchall()


def heard(connection: psycopg.Connection, statement: str) -> list[str]:
    found: list[str] = []
    connection.add_notice_handler(lambda notice: found.append(f"{notice.severity}: {notice.message_primary}"))
    assert connection.execute(statement).statusmessage == "VACUUM"
    return found


def test_vacuum_merges_the_blocks_of_a_table_and_says_so(connection: psycopg.Connection, table: str) -> None:
    assert blocks(connection) == [(100, False)] * 3
    (said,) = heard(connection, "VACUUM vac")
    assert said.startswith('NOTICE: "vac": 3 blocks of 300 rows and ')
    assert "became 1 blocks of 100 rows" in said
    assert blocks(connection) == [(100, False)]
    assert connection.execute("SELECT count(*), min(v), max(v) FROM vac").fetchone() == (100, 2001, 2100)
    done = connection.execute(
        "SELECT reason, state, blocks_before, blocks_after, rows_before, rows_after, bytes_before > bytes_after, "
        "finished_at >= started_at, min_time FROM tsdb.compactions WHERE relid = 'vac'::regclass"
    ).fetchall()
    assert [row[:8] for row in done] == [("overlap", "done", 3, 1, 300, 100, True, True)]
    assert done[0][8].isoformat() == "2020-01-01T00:00:01+00:00"
    assert heard(connection, "VACUUM vac") == []
    assert heard(connection, "VACUUM (VERBOSE, FREEZE off) vac")[0] == 'NOTICE: "vac": nothing to compact'


def test_vacuum_full_writes_every_block_again(connection: psycopg.Connection, table: str) -> None:
    connection.execute("VACUUM vac")
    (said,) = heard(connection, "VACUUM FULL vac")
    assert "1 blocks of 100 rows" in said
    assert connection.execute("SELECT count(*) FROM vac").fetchone() == (100,)


def test_deleted_rows_are_gone_from_the_blocks_after_a_vacuum(connection: psycopg.Connection, table: str) -> None:
    connection.execute("DELETE FROM vac WHERE host = 'h1'")
    connection.execute("UPDATE vac SET v = 7 WHERE host = 'h2'")
    connection.execute("VACUUM vac")
    assert blocks(connection) == [(80, False)]
    assert connection.execute("SELECT host, count(*), max(v) FROM vac GROUP BY host ORDER BY host").fetchall() == [
        ("h0", 20, 2100), ("h2", 20, 7), ("h3", 20, 2098), ("h4", 20, 2099)
    ]  # fmt: skip


def test_what_vacuum_skips_and_refuses(connection: psycopg.Connection, table: str) -> None:
    connection.execute("CREATE VIEW vac_view AS SELECT * FROM vac")
    said = heard(connection, "VACUUM vac_view")
    assert said == ['WARNING: skipping "vac_view" --- cannot vacuum non-tables or special system tables']
    connection.execute("DROP VIEW vac_view")
    assert heard(connection, "VACUUM pg_class") == []
    with pytest.raises(errors.UndefinedTable, match='relation "nowhere" does not exist'):
        connection.execute("VACUUM vac, nowhere")
    with pytest.raises(errors.SyntaxError, match='unrecognized VACUUM option "fast"'):
        connection.execute("VACUUM (fast) vac")
    with pytest.raises(errors.ActiveSqlTransaction), connection.transaction():
        connection.execute("VACUUM vac")


def test_who_does_not_own_a_table_does_not_vacuum_it(
    server: Server, connection: psycopg.Connection, table: str
) -> None:
    connection.execute("CREATE ROLE sweeper LOGIN")
    try:
        connection.execute("SET ROLE sweeper")
        said = heard(connection, "VACUUM vac")
        assert said == ['WARNING: skipping "vac" --- only table or database owner can vacuum it']
        connection.execute("VACUUM")
        assert blocks(connection) == [(100, False)] * 3
    finally:
        connection.execute("RESET ROLE")
        connection.execute("DROP ROLE sweeper")


def test_a_vacuum_shows_how_far_it_is(
    connection: psycopg.Connection, table: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, seen = threading.Event(), threading.Event()
    blocks_of = Merge.blocks

    def slow(merge: Merge, next_block: Callable[[], int]) -> Any:
        for each in blocks_of(merge, next_block):
            yield each
            reached.set()
            assert seen.wait(60)

    monkeypatch.setattr(Merge, "blocks", slow)
    text = "SELECT relid::regclass::text, datname, phase, heap_blks_total, heap_blks_scanned, heap_blks_vacuumed, pid "
    with server.connect() as other:
        waiting = threading.Thread(target=lambda: other.execute("VACUUM vac"))
        waiting.start()
        assert reached.wait(60)
        found = connection.execute(f"{text} FROM pg_stat_progress_vacuum").fetchall()
        running = connection.execute("SELECT blocks_before, rows_after FROM tsdb.compactions WHERE state = 'running'")
        assert running.fetchall() == [(3, 100)]
        seen.set()
        waiting.join(20)
        assert found == [("vac", "tsdb", "scanning heap", 3, 0, 0, other.info.backend_pid)]
        assert connection.execute(f"{text} FROM pg_stat_progress_vacuum").fetchall() == []
