"""Lines over UDP: stored together, dropped and counted when they are too many."""

from __future__ import annotations

import socket
import threading

import pytest

from tests.fixtures.server import get
from tests.fixtures.waiting import until
from tests.lines.conftest import rows
from tsdb.ingest.outcome import Outcome
from tsdb.ingest.write import WriteRequest
from tsdb.lines import udp
from tsdb.lines.writer import LineWriter
from tsdb.server import Server
from tsdb.storage.room import DiskRoom


def _sender(server: Server) -> socket.socket:
    assert server.line_udp_port is not None
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect(("127.0.0.1", server.line_udp_port))
    return sender


def _count(server: Server, name: str) -> float:
    lines = get(server.http_port, "/metrics").splitlines()
    return float(next(line for line in lines if line.startswith(name)).split()[1])


def test_datagrams_are_stored_within_a_second_and_strings_do_not_reach_into_others(lines_server: Server) -> None:
    with _sender(lines_server) as sender:
        for i in range(500):
            sender.send(b"u,h=h%d f=%d %d" % (i % 3, i, i))
        sender.send(b'u s="open,f=1 600')
        sender.send(b'u f=1 601\nu s="x",f=2 602\nbad\n')
    until(lambda: _count(lines_server, "tsdb_udp_points_written_total") == 502)
    assert rows(lines_server, "SELECT count(*), count(s) FROM u") == [(502, 1)]
    assert _count(lines_server, "tsdb_udp_datagrams_total") == 502
    assert _count(lines_server, "tsdb_udp_lines_rejected_total") == 2
    assert _count(lines_server, "tsdb_udp_datagrams_dropped_total") == 0


def test_what_comes_while_too_much_waits_is_dropped_and_counted(
    lines_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp, "WAITING_BYTES_MAX", 20_000)
    monkeypatch.setattr(udp, "BATCH_BYTES", 10_000)
    full = threading.Event()
    full.set()
    monkeypatch.setattr(DiskRoom, "takes_writes", lambda self, heads: not full.is_set())
    with _sender(lines_server) as sender:
        for i in range(3000):
            sender.send(b"u f=%d %d" % (i, i))
        until(lambda: _count(lines_server, "tsdb_udp_datagrams_total") == 3000)
        dropped = _count(lines_server, "tsdb_udp_datagrams_dropped_total")
        assert 0 < dropped < 3000
        full.clear()
        until(lambda: _count(lines_server, "tsdb_udp_points_written_total") == 3000 - dropped)
    assert rows(lines_server, "SELECT count(*) FROM u") == [(3000 - dropped,)]


def test_what_breaks_a_body_is_counted_and_the_others_are_stored(
    lines_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = LineWriter.write

    async def breaks(self: LineWriter, body: bytes | bytearray, request: WriteRequest, role: int) -> Outcome:
        if b"first" in body:
            raise RuntimeError("broken")
        return await write(self, body, request, role)

    monkeypatch.setattr(LineWriter, "write", breaks)
    with _sender(lines_server) as sender:
        # Both wait by themselves: a string is open in them.
        sender.send(b'u f=1 1\nfirst s="open')
        sender.send(b'u f=2 2\nsecond s="open')
    until(lambda: _count(lines_server, "tsdb_udp_points_written_total") == 1)
    assert rows(lines_server, "SELECT f FROM u") == [(2,)]
    assert _count(lines_server, "tsdb_udp_lines_rejected_total") == 3


def test_influxdbs_client_writes_over_udp(lines_server: Server) -> None:
    influxdb = pytest.importorskip("influxdb")
    client = influxdb.InfluxDBClient("127.0.0.1", 1, use_udp=True, udp_port=lines_server.line_udp_port)
    points = [{"measurement": "cpu", "tags": {"host": "a"}, "time": i, "fields": {"f": 1.5}} for i in range(10)]
    client.write_points(points)
    client.close()
    client.udp_socket.close()
    until(lambda: _count(lines_server, "tsdb_udp_points_written_total") == 10)
    assert rows(lines_server, "SELECT count(*) FROM cpu WHERE host = 'a'") == [(10,)]
