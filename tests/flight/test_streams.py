"""Streams: large ones in bounded memory, cancelled ones, too many, broken ones; what a crash leaves."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.flight as flight
import pytest

from tests.auth.conftest import Running
from tests.fixtures.environment import ROOT, clean_environment
from tests.fixtures.server import WARM, Start, get
from tests.fixtures.waiting import PATIENCE_S
from tests.flight.conftest import port_of
from tsdb import errors
from tsdb.client import Client, connect
from tsdb.config import load
from tsdb.errors import StartupError
from tsdb.server import EmbeddedServer

MIB = 2**20
ENDLESS = "SELECT i, 'host' || i AS host, i * 0.5 AS v FROM generate_series(1, 2000000000) AS g(i)"


def batches(rows: int, per_batch: int = 65_536) -> Iterator[pa.RecordBatch]:
    hosts = pa.DictionaryArray.from_arrays(
        pa.array(np.arange(per_batch) % 100, pa.int32()), [f"h{i}" for i in range(100)]
    )
    for first in range(0, rows, per_batch):
        count = min(per_batch, rows - first)
        numbers = np.arange(first, first + count)
        yield pa.RecordBatch.from_arrays(
            [pa.array(numbers * 1_000_000), hosts.slice(0, count), pa.array(numbers), *[pa.array(numbers * 0.5)] * 4],
            ["time", "host", "n", "a", "b", "c", "d"],
        )


def reader(rows: int, per_batch: int = 65_536) -> pa.RecordBatchReader:
    made = batches(rows, per_batch)
    first = next(made)

    def both() -> Iterator[pa.RecordBatch]:
        yield first
        yield from made

    return pa.RecordBatchReader.from_batches(first.schema, both())


def test_a_million_rows_go_in_and_out_in_bounded_memory(start: Start) -> None:
    process = start("--flight-port", "0", "--head-bytes", "32MiB", **WARM)
    process.wait_warm()
    with connect(port=process.flight_port) as db:
        db.write(reader(100_000), "warm", tags=["host"])
        db.query("SELECT count(*), sum(n) FROM warm")
        before = most = process.memory_bytes()
        ended = threading.Event()

        def watch() -> None:
            nonlocal most
            while not ended.wait(0.02):
                most = max(most, process.memory_bytes())

        watching = threading.Thread(target=watch)
        watching.start()
        assert db.write(reader(1_000_000), "large", tags=["host"]) == 1_000_000
        rows = total = 0
        with db.stream("SELECT * FROM large") as result:
            for batch in result:
                rows += batch.num_rows
                total += int(batch["n"].to_numpy().sum())
        ended.set()
        watching.join()
    assert (rows, total) == (1_000_000, 999_999 * 500_000)
    # 56 MB of values came in and 72 went out; the head has 48 at most.
    assert most - before < 300 * MIB, f"{(most - before) / MIB:.0f} MiB"


def test_a_client_that_leaves_its_result_cancels_the_statement(db: Client, sql: psycopg.Connection) -> None:
    with db.stream(ENDLESS) as result:
        assert next(iter(result)).num_rows > 0
        assert running(sql) == [("active", ENDLESS)]
    assert eventually(lambda: running(sql) == [])


def test_a_client_that_gives_up_while_nothing_has_come_cancels_too(flying: Running, sql: psycopg.Connection) -> None:
    client = flight.FlightClient(f"grpc://127.0.0.1:{port_of(flying)}")
    with pytest.raises(flight.FlightTimedOutError):
        client.do_get(flight.Ticket(b"SELECT pg_sleep(600)"), flight.FlightCallOptions(timeout=0.5)).read_chunk()
    assert eventually(lambda: running(sql) == [])
    client.close()


def test_a_stream_is_cancelled_as_a_session_is(db: Client, sql: psycopg.Connection) -> None:
    for how in ("cancel", "terminate"):
        with db.stream(ENDLESS) as result, pytest.raises(errors.QueryCanceled):
            for batch in result:
                assert batch.num_rows
                sql.execute(f"SELECT pg_{how}_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT i%'".encode())
    assert eventually(lambda: running(sql) == [])


def test_a_statement_has_its_time(db: Client) -> None:
    started = time.monotonic()
    with pytest.raises(errors.QueryCanceled, match="statement timeout"):
        db.query("SELECT pg_sleep(60)", timeout_s=0.2)
    with pytest.raises(errors.QueryCanceled, match="statement timeout"):
        for _ in db.stream(ENDLESS, timeout_s=0.5):
            pass
    assert time.monotonic() - started < 20


def test_a_write_shows_among_the_activities_and_can_be_cancelled(db: Client, sql: psycopg.Connection) -> None:
    def slow() -> Iterator[pa.RecordBatch]:
        for batch in batches(10**9, 1000):
            time.sleep(0.01)
            yield batch

    made = pa.RecordBatchReader.from_batches(next(batches(1)).schema, slow())
    failed: list[BaseException] = []

    def write() -> None:
        try:
            db.write(made, "slow", tags=["host"])
        except errors.TsdbError as error:
            failed.append(error)

    writing = threading.Thread(target=write)
    writing.start()
    assert eventually(lambda: running(sql) == [("active", 'DoPut "slow"')])
    sql.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DoPut%'")
    writing.join(20)
    assert isinstance(failed[0], errors.QueryCanceled)
    stored = int((failed[0].detail or "0 rows").split()[0])
    assert db.query("SELECT count(*) AS n FROM slow").to_pylist() == [{"n": stored}]


def test_too_many_streams_are_refused_and_counted(start: Start) -> None:
    process = start("--flight-port", "0", "--flight-streams-max", "2")
    with connect(port=process.flight_port) as db:
        with db.stream(ENDLESS) as one, db.stream(ENDLESS) as two:
            next(iter(one))
            next(iter(two))
            with pytest.raises(errors.TooManyConnections, match="2 Flight streams are open"):
                db.query("SELECT 1")
        assert eventually(lambda: answers(db))
    metrics = get(process.http_port, "/metrics")
    assert "tsdb_flight_streams_refused_total" in metrics
    assert "tsdb_flight_streams_refused_total 0.0" not in metrics
    assert "tsdb_flight_calls_total" in metrics


def answers(db: Client) -> bool:
    try:
        return bool(db.query("SELECT 1").num_rows == 1)
    except errors.TooManyConnections:
        return False


def test_a_batch_that_is_too_long_is_refused(start: Start) -> None:
    process = start("--flight-port", "0", "--message-bytes-max", "64KiB")
    with connect(port=process.flight_port) as db:
        with pytest.raises(errors.ProgramLimitExceeded, match="longer than 65536"):
            db.write(reader(50_000), "long", tags=["host"])
        assert db.write(reader(50_000), "long", tags=["host"], rows_per_batch=500) == 50_000


@pytest.mark.parametrize(
    "command",
    [b"{", b'{"sql": 1}', b"{}", b'{"sql": "SELECT 1", "more": 1}', b"\xff", b'{"sql": "\xff"}',
     b'{"sql": "SELECT 1", "numeric": "x"}', b'{"sql": "SELECT 1", "settings": {"nothing": "1"}}'],
)  # fmt: skip
def test_a_ticket_that_cannot_be_read_is_refused(flying: Running, command: bytes) -> None:
    client = flight.FlightClient(f"grpc://127.0.0.1:{port_of(flying)}")
    with pytest.raises(flight.FlightServerError):
        client.do_get(flight.Ticket(command)).read_chunk()
    with pytest.raises(flight.FlightServerError):
        writer, _ = client.do_put(flight.FlightDescriptor.for_command(command), pa.schema([("time", pa.int64())]))
        writer.close()
    client.close()


def test_paths_and_plain_statements_serve_clients_that_know_nothing_of_us(flying: Running, db: Client) -> None:
    client = flight.FlightClient(f"grpc://127.0.0.1:{port_of(flying)}")
    descriptor = flight.FlightDescriptor.for_path("plain series")
    table = pa.table({"time": pa.array([1, 2], pa.timestamp("ns")), "v": [1.0, 2.0]})
    writer, acknowledged = client.do_put(descriptor, table.schema)
    writer.write_table(table)
    writer.done_writing()
    assert acknowledged.read().to_pybytes() == b'{"rows":2,"duplicate":false,"fell_short":false}'
    writer.close()
    found = client.get_flight_info(descriptor)
    assert found.schema.names == ["time", "v"]
    assert client.get_schema(descriptor).schema == found.schema
    assert client.do_get(found.endpoints[0].ticket).read_all().column("v").to_pylist() == [1.0, 2.0]
    statement = flight.FlightDescriptor.for_command(b"SELECT 1 AS one")
    assert client.get_flight_info(statement).schema.field("one").metadata == {b"tsdb:type": b"integer"}
    assert [each.type for each in client.list_actions()] == ["version"]
    client.close()


def test_a_batch_that_is_not_valid_arrow_is_refused(flying: Running) -> None:
    """Text that is no UTF-8 does not reach any kernel."""
    client = flight.FlightClient(f"grpc://127.0.0.1:{port_of(flying)}")
    wrong = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 1], np.int32)), pa.py_buffer(b"\xff"))
    batch = pa.RecordBatch.from_arrays([pa.array([1]), wrong], ["time", "text"])
    writer, _ = client.do_put(flight.FlightDescriptor.for_path("invalid"), batch.schema)
    writer.write_batch(batch)
    with pytest.raises(flight.FlightServerError, match="not valid"):
        writer.close()
    client.close()


def test_a_numbered_batch_is_stored_once(db: Client) -> None:
    first = pa.table({"time": [1, 2], "v": [1, 2]})
    assert db.write(first, "once", producer="loader", batch=1) == 2
    db.query("DELETE FROM once")
    assert db.write(first, "once", producer="loader", batch=1) == 2
    assert db.query("SELECT count(*) AS n FROM once").to_pylist() == [{"n": 0}]
    assert db.write(first, "once", producer="loader", batch=2) == 2
    assert db.query("SELECT count(*) AS n FROM once").to_pylist() == [{"n": 2}]


def test_a_number_belongs_to_one_batch(db: Client) -> None:
    texts = ["a", None, "b", "a"]
    first = pa.table({"time": [1, 2, 3, 4], "s": texts, "b": [True, None, False, True], "l": [[1], None, [], [2, 3]]})
    assert db.write(first, "belongs", producer="owner", batch=1) == 4
    encoded = first.set_column(1, "s", first["s"].dictionary_encode())
    padded = pa.concat_tables([first.slice(3), first])
    for again in (first, encoded, padded.slice(1), pa.concat_tables([first.slice(0, 1), first.slice(1)])):
        for rows in (1, 3, 100):
            assert db.write(again, "belongs", producer="owner", batch=1, rows_per_batch=rows) == 4
    for other in (
        first.set_column(0, "time", pa.array([1, 2, 3, 5])),
        first.set_column(1, "s", pa.array(["a", "", "b", "a"])),
        first.set_column(2, "b", pa.array([True, False, None, True])),
        first.rename_columns(["time", "s", "c", "l"]),
        first.slice(1),
    ):
        with pytest.raises(errors.ObjectNotInPrerequisiteState, match="applied before with other content"):
            db.write(other, "belongs", producer="owner", batch=1)
    assert db.query("SELECT count(*) AS n FROM belongs").to_pylist() == [{"n": 4}]


def test_a_numbered_batch_whose_stream_breaks_off_is_none(flying: Running, db: Client) -> None:
    client = flight.FlightClient(f"grpc://127.0.0.1:{port_of(flying)}")
    command = b'{"series": "broken", "producer": "p", "batch": 1, "rows": 10}'
    table = pa.table({"time": [1], "v": [1]})
    writer, _ = client.do_put(flight.FlightDescriptor.for_command(command), table.schema)
    writer.write_table(table)
    with pytest.raises(flight.FlightServerError, match="has 1 rows and was to have 10"):
        writer.close()
    client.close()
    assert db.query("SELECT count(*) AS n FROM broken").to_pylist() == [{"n": 0}]


WRITER = """
import sys
from tests.flight.test_streams import batches
import json, pyarrow.flight as flight
client = flight.FlightClient(f"grpc://127.0.0.1:{sys.argv[1]}")
made = batches(10**9, 70_000)
first = next(made)
command = json.dumps({"series": "crash", "tags": ["host"]}).encode()
writer, acknowledged = client.do_put(flight.FlightDescriptor.for_command(command), first.schema)
writer.write_batch(first)
for batch in made:
    writer.write_batch(batch)
    print(json.loads(acknowledged.read().to_pybytes())["rows"], flush=True)
"""


def test_what_was_acknowledged_is_there_after_kill_9_and_whole_batches_alone(start: Start) -> None:
    process = start("--flight-port", "0")
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(process.flight_port)],
        cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as writer:  # fmt: skip
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(4)]
        process.kill()
        told += [int(line) for line in writer.stdout.read().split()]
    acknowledged = max(told)
    again = start("--flight-port", "0")
    with again.connect() as sql:
        row = sql.execute("SELECT count(*), max(n) FROM crash").fetchone()
    assert row is not None
    assert row[0] >= acknowledged
    assert row[0] % 70_000 == 0
    assert row[1] == row[0] - 1


def test_a_server_stops_though_a_client_reads_nothing(start: Start) -> None:
    process = start("--flight-port", "0")
    with connect(port=process.flight_port) as db:
        result = db.stream(ENDLESS)
        next(iter(result))
        time.sleep(0.5)
        code, seconds = process.stop()
        assert code == 0
        assert seconds < 15
        result.close()


def test_a_taken_port_is_an_error_only_if_it_was_asked_for(start: Start) -> None:
    process = start("--flight-port", "0")
    with pytest.raises(AssertionError, match="for Arrow Flight"):
        start("--flight-port", str(process.flight_port), data=process.data.with_name("other"))


@pytest.mark.parametrize("asked", [False, True])
def test_a_port_that_another_server_takes_at_that_moment_is_like_one_that_was_taken(
    asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Two servers that are started at once see the port free, and one of them gets it.
    monkeypatch.setattr("tsdb.server.arrow.why_taken", lambda host, port: None)
    host = "127.77.0.1"
    settings = {"data": tmp_path / "data", "host": host, "pg_port": 0, "http_port": 0, "disk_reserve": 0}
    with socket.create_server((host, 5481)):
        server = EmbeddedServer(load(settings | {"flight_port": 5481} if asked else settings))
        if asked:
            with pytest.raises(StartupError, match=r"cannot listen on 127\.77\.0\.1:5481 for Arrow Flight"), server:
                pass
            return
        with server as running:
            assert running.flight_port is None
    assert "Arrow Flight is off: cannot listen on 127.77.0.1:5481" in caplog.text


def running(sql: psycopg.Connection) -> list[tuple[object, ...]]:
    """What runs besides this."""
    return sql.execute("SELECT state, query FROM pg_stat_activity WHERE pid <> pg_backend_pid()").fetchall()


def eventually(holds: Callable[[], bool], seconds: float = PATIENCE_S) -> bool:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
