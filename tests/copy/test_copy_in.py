"""COPY FROM as a client sees it: all or nothing, streaming, cancelled, failed in the middle, in transactions."""

from __future__ import annotations

import datetime as dt
import select
import threading
import time

import psycopg
import pytest

from tests.copy.outcome import Connection, copy_in, outcome
from tests.session.conftest import Server
from tests.session.raw import SYNC, RawClient, bind, describe, execute, message, parse, query

UTC = dt.UTC


@pytest.fixture
def cpu(connection: Connection) -> Connection:
    connection.execute("DROP TABLE IF EXISTS cpu")
    connection.execute(
        "CREATE TABLE cpu (time timestamptz, host text, usage float8, n int DEFAULT 7, PRIMARY KEY (host, time))"
    )
    return connection


def line(second: int, host: str = "a", usage: object = 1.5, n: object = 3) -> bytes:
    return f"2026-01-01 00:00:{second:02d}+00\t{host}\t{usage}\t{n}\n".encode()


def count(connection: Connection) -> int:
    row = connection.execute("SELECT count(*) FROM cpu").fetchone()
    assert row is not None
    return int(row[0])


def big(rows: int, bad: int = -1) -> bytes:
    """So many rows, 100 hosts; row ``bad`` has no number."""
    start = 1_767_225_600
    lines = []
    for i in range(rows):
        at = dt.datetime.fromtimestamp(start + i // 100, UTC).isoformat(" ")
        lines.append(f"{at}\thost{i % 100}\t{'x' if i == bad else i / 4}\t{i}\n")
    return "".join(lines).encode()


def test_rows_cut_anywhere_by_messages_are_the_same_rows(cpu: Connection) -> None:
    data = b"".join(line(i, f"h{i % 3}") for i in range(20)) + b"\\.\n"
    assert copy_in(cpu, "COPY cpu FROM STDIN", *[data[i : i + 1] for i in range(len(data))]) == "COPY 20"
    assert count(cpu) == 20


def test_an_error_in_the_last_row_leaves_nothing(cpu: Connection) -> None:
    found = outcome(cpu, "COPY cpu FROM STDIN", line(1) + line(2) + line(3, usage="x"))
    assert found == (
        "22P02",
        'invalid input syntax for type double precision: "x"',
        'COPY cpu, line 3, column usage: "x"',
    )
    assert count(cpu) == 0


def test_an_error_after_many_chunks_leaves_nothing_and_the_connection_goes_on(cpu: Connection) -> None:
    data = big(200_000, bad=199_990)
    parts = [data[i : i + 100_000] for i in range(0, len(data), 100_000)]
    assert outcome(cpu, "COPY cpu FROM STDIN", *parts)[2] == 'COPY cpu, line 199991, column usage: "x"'
    assert count(cpu) == 0


def test_an_early_error_is_told_while_the_client_still_sends(cpu: Connection) -> None:
    data = big(200_000, bad=3)
    parts = [data[i : i + 100_000] for i in range(0, len(data), 100_000)]
    assert outcome(cpu, "COPY cpu FROM STDIN", *parts)[2] == 'COPY cpu, line 4, column usage: "x"'
    assert count(cpu) == 0


def test_many_rows_are_all_there(cpu: Connection) -> None:
    data = big(200_000)
    parts = [data[i : i + 77_777] for i in range(0, len(data), 77_777)]
    assert copy_in(cpu, "COPY cpu FROM STDIN", *parts) == "COPY 200000"
    found = cpu.execute("SELECT count(*), sum(n), sum(usage), count(DISTINCT host), max(time) FROM cpu").fetchone()
    total = 200_000 * 199_999 // 2
    assert found == (200_000, total, total / 4, 100, dt.datetime(2026, 1, 1, 0, 33, 19, tzinfo=UTC))


def test_a_missing_column_has_its_default_and_a_missing_time_is_now(cpu: Connection) -> None:
    assert copy_in(cpu, "COPY cpu (host) FROM STDIN", b"a\nb\n") == "COPY 2"
    rows = cpu.execute("SELECT host, usage, n, now() - time < interval '1 minute' FROM cpu ORDER BY host").fetchall()
    assert rows == [("a", None, 7, True), ("b", None, 7, True)]


def test_null_in_a_key_column_is_refused(cpu: Connection) -> None:
    found = outcome(cpu, "COPY cpu FROM STDIN", line(1) + line(2, "\\N"))
    assert found[0] == "23502"
    assert found[2] == 'COPY cpu, line 2: "2026-01-01 00:00:02+00\t\\N\t1.5\t3"'


def test_the_first_bad_row_is_told_whatever_its_column(cpu: Connection) -> None:
    data = line(1) + line(2, n="y") + line(3, usage="x")
    assert outcome(cpu, "COPY cpu FROM STDIN", data)[2] == 'COPY cpu, line 2, column n: "y"'
    data = line(1) + line(2, "\\N") + line(3, usage="x")
    assert outcome(cpu, "COPY cpu FROM STDIN", data)[0] == "23502"
    data = line(1, usage="x") + b"short\n"
    assert outcome(cpu, "COPY cpu FROM STDIN", data)[2] == 'COPY cpu, line 1, column usage: "x"'


def test_on_error_ignore_skips_and_counts_bad_rows(cpu: Connection) -> None:
    notices: list[str | None] = []
    cpu.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary))
    data = line(1) + line(2, usage="x") + line(3, n="y") + line(4)
    assert copy_in(cpu, "COPY cpu FROM STDIN (ON_ERROR ignore)", data) == "COPY 2"
    assert notices == ["2 rows were skipped due to data type incompatibility"]
    assert count(cpu) == 2
    verbose = "COPY cpu FROM STDIN (ON_ERROR ignore, LOG_VERBOSITY verbose)"
    copy_in(cpu, verbose, data)
    assert notices[1] == 'skipping row due to data type incompatibility at line 2 for column "usage": "x"'
    with pytest.raises(psycopg.Error, match="skipped more than REJECT_LIMIT"):
        copy_in(cpu, "COPY cpu FROM STDIN (ON_ERROR ignore, REJECT_LIMIT 1)", data)


def test_in_a_block_the_rows_are_there_for_the_block_and_gone_after_rollback(cpu: Connection) -> None:
    with cpu.transaction(force_rollback=True):
        copy_in(cpu, "COPY cpu FROM STDIN", line(1) + line(2))
        assert count(cpu) == 2
    assert count(cpu) == 0
    with cpu.transaction():
        copy_in(cpu, "COPY cpu FROM STDIN", line(1) + line(2))
    assert count(cpu) == 2


def test_a_large_copy_in_a_block_is_spooled_and_committed(cpu: Connection) -> None:
    data = big(800_000)
    parts = [data[i : i + 1_000_000] for i in range(0, len(data), 1_000_000)]
    with cpu.transaction():
        assert copy_in(cpu, "COPY cpu FROM STDIN", *parts) == "COPY 800000"
    assert cpu.execute("SELECT count(*), max(n) FROM cpu").fetchone() == (800_000, 799_999)


def test_an_error_fails_the_block(cpu: Connection) -> None:
    with pytest.raises(psycopg.errors.InvalidTextRepresentation), cpu.transaction():
        copy_in(cpu, "COPY cpu FROM STDIN", line(1, usage="x"))
    assert cpu.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_statements_after_a_copy_in_the_same_message_go_on(raw: RawClient, cpu: Connection) -> None:
    raw.send(query("COPY cpu FROM STDIN; SELECT count(*) FROM cpu"))
    assert raw.read(1) == ["CopyInResponse"]
    found = raw.ask(message(b"d", line(1) + line(2)), message(b"c"))
    assert [each.split(" ")[0] for each in found] == [
        "CommandComplete",
        "RowDescription",
        "DataRow",
        "CommandComplete",
        "ReadyForQuery",
    ]
    assert found[0] == "CommandComplete COPY 2"
    assert found[2].startswith("DataRow")
    assert "2" in found[2]


def test_the_extended_protocol_copies_and_discards_the_sync_that_came_before_the_data(
    raw: RawClient, cpu: Connection
) -> None:
    raw.send(parse("COPY cpu FROM STDIN"), bind(), describe("P"), execute(), SYNC)
    assert raw.read(4) == ["ParseComplete", "BindComplete", "NoData", "CopyInResponse"]
    assert raw.ask(message(b"d", line(1)), message(b"c"), SYNC) == ["CommandComplete COPY 1", "ReadyForQuery I"]
    raw.send(parse("COPY cpu FROM STDIN"), bind(), execute(), SYNC)
    assert raw.read(3)[-1] == "CopyInResponse"
    failed = raw.ask(message(b"d", b"wrong\n"), message(b"d", line(2)), message(b"c"), SYNC)
    assert failed == [
        'ErrorResponse ERROR 22007 invalid input syntax for type timestamp with time zone: "wrong"',
        "ReadyForQuery I",
    ]
    found = raw.ask(parse("COPY cpu TO STDOUT (FORMAT binary)"), bind(), execute(), SYNC)
    assert found == [
        "ParseComplete",
        "BindComplete",
        "CopyOutResponse",
        "CopyData",
        "CopyData",
        "CopyDone",
        "CommandComplete COPY 1",
        "ReadyForQuery I",
    ]


def test_copyfail_is_57014_with_its_reason(raw: RawClient, cpu: Connection) -> None:
    raw.send(query("COPY cpu FROM STDIN; SELECT 1"))
    raw.read(1)
    failed = raw.ask(message(b"d", line(1)), message(b"f", b"changed my mind\0"))
    assert failed == ["ErrorResponse ERROR 57014 COPY from stdin failed: changed my mind", "ReadyForQuery I"]
    assert count(cpu) == 0


def test_data_after_the_error_is_discarded_and_the_session_goes_on(raw: RawClient, cpu: Connection) -> None:
    raw.send(query("BEGIN; COPY cpu FROM STDIN"))
    raw.read(2)
    wrong = big(60_000, bad=0)
    failed = raw.ask(*[message(b"d", wrong[i : i + 65_536]) for i in range(0, len(wrong), 65_536)], message(b"c"))
    assert failed[0].startswith("ErrorResponse ERROR 22P02")
    assert failed[1] == "ReadyForQuery E"
    assert raw.ask(message(b"d", line(1)), message(b"c"), query("ROLLBACK"))[-1] == "ReadyForQuery I"


def test_a_cancel_between_messages_ends_the_copy(server: Server, cpu: Connection) -> None:
    with (
        server.connect() as other,
        pytest.raises(psycopg.errors.QueryCanceled),
        other.cursor() as cursor,
        cursor.copy("COPY cpu FROM STDIN") as copy,
    ):
        copy.write(line(1))
        other.cancel_safe()
        # libpq looks for an error at the end only; the server says it at once.
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not select.select([other.fileno()], [], [], 0)[0]:
            copy.write(line(2) * 1000)
    assert count(cpu) == 0


def test_statement_timeout_ends_a_copy(cpu: Connection) -> None:
    cpu.execute("SET statement_timeout = '200ms'")
    try:
        with (
            pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"),
            cpu.cursor() as cursor,
            cursor.copy("COPY cpu FROM STDIN") as copy,
        ):
            for _ in range(100):
                copy.write(line(1))
                time.sleep(0.05)
    finally:
        cpu.execute("RESET statement_timeout")
    assert count(cpu) == 0


def test_a_client_that_leaves_in_the_middle_leaves_nothing(server: Server, cpu: Connection) -> None:
    with server.raw() as leaving:
        leaving.send(query("COPY cpu FROM STDIN"))
        leaving.read(1)
        leaving.send(message(b"d", big(50_000)))
    time.sleep(0.3)
    assert count(cpu) == 0


def test_a_read_only_transaction_refuses_copy_from_and_allows_copy_to(cpu: Connection) -> None:
    with cpu.transaction():
        cpu.execute("SET TRANSACTION READ ONLY")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), cpu.transaction():
            copy_in(cpu, "COPY cpu FROM STDIN", b"")


@pytest.mark.parametrize("what", ["'/etc/passwd'", "PROGRAM 'cat /etc/passwd'"])
def test_files_and_programs_are_refused(cpu: Connection, what: str) -> None:
    for direction in ("FROM", "TO"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not allowed"):
            cpu.execute(f"COPY cpu {direction} {what}".encode())


def test_several_clients_copy_at_once(server: Server, cpu: Connection) -> None:
    def load(client: int) -> None:
        with server.connect() as own:
            copy_in(own, "COPY cpu FROM STDIN", b"".join(line(i, f"c{client}") for i in range(60)) * 500)

    threads = [threading.Thread(target=load, args=(client,)) for client in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(cpu) == 360
