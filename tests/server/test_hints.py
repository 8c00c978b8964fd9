"""A server delivers the batches that wait in its directory, shows them, and says which it had to refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.server import get, write
from tests.fixtures.waiting import until
from tsdb.config import load
from tsdb.ingest.hints.disk import Folder
from tsdb.ingest.hints.queue import HintQueue
from tsdb.model.hints import Hint
from tsdb.model.roles import FIRST
from tsdb.server import EmbeddedServer, Server

FOR_EVER_NS = 2**62
"""When they were taken in: by the clock of the server they never have waited for too long."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Of a server that was stopped while two batches waited: the lines of one, and of what database the other was."""
    with EmbeddedServer(load(_settings(tmp_path))) as server:
        assert write(server.http_port, "m f=1 1")[0] == 204
        number = server.node.catalog.databases["tsdb"].number
        queue = HintQueue(Folder(tmp_path / "hints"), 1 << 20)
        queue.take(Hint(0, number, "tsdb", "p", 7, role=FIRST, queued_ns=FOR_EVER_NS), b"m f=2 2\n")
        queue.take(Hint(0, 99, "gone", "p", 8, role=FIRST, queued_ns=FOR_EVER_NS), b"m f=3 3\n")
    return tmp_path


def _settings(data: Path) -> dict[str, object]:
    return {
        "data": data,
        "pg_port": 0,
        "http_port": 0,
        "warm_start": False,
        "flight_port": "",
        "hints_bytes_max": "1MiB",
    }


@pytest.fixture
def server(data: Path) -> Iterator[Server]:
    with EmbeddedServer(load(_settings(data))) as server:
        yield server


def test_what_waits_is_stored_after_a_start_and_what_is_refused_is_shown(
    server: Server, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def metric(name: str) -> float:
        lines = get(server.http_port, "/metrics").splitlines()
        return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])

    with psycopg.connect(server.pg_url, autocommit=True) as connection:
        until(lambda: metric("tsdb_hints") == 0)
        assert connection.execute("SELECT f FROM m ORDER BY time").fetchall() == [(1.0,), (2.0,)]
        names = "file, state, datname, producer, batch, username, bytes, reason, refused_at > now() - interval '1 min'"
        (row,) = connection.execute(f"SELECT {names} FROM tsdb.hints").fetchall()
        assert row[1:] == ("refused", "gone", "p", 8, "tsdb", 8, 'database "gone" was dropped', True)
        # Who has no rights of the role that sent it does not see what may quote its lines.
        connection.execute("CREATE ROLE nobody; SET ROLE nobody")
        assert connection.execute("SELECT state, reason FROM tsdb.hints").fetchall() == [
            ("refused", "<insufficient privilege>")
        ]
        connection.execute("RESET ROLE")
        assert (metric("tsdb_hints_delivered_total"), metric("tsdb_hints_refused_total")) == (1, 1)
        assert (metric("tsdb_hints_kept"), metric("tsdb_hints_bytes")) == (1, 4096)
        (data / "hints" / row[0]).unlink()
        assert connection.execute("SELECT * FROM tsdb.hints").fetchall() == []
    refused = [record.getMessage() for record in caplog.records if "was refused" in record.getMessage()]
    assert len(refused) == 1
    assert 'batch 8 of producer "p" for database "gone" waited at this node and was refused' in refused[0]
