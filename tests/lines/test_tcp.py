"""Lines over TCP: stored in order, with back-pressure; numbered batches are answered and stored once."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.fixtures.server import get
from tests.fixtures.waiting import until
from tests.lines.conftest import rows, send
from tsdb.config import load
from tsdb.errors import ConfigurationError, DiskFull
from tsdb.lines import command
from tsdb.lines.writer import LineOptions
from tsdb.model.acks import ALL
from tsdb.server import EmbeddedServer, Server
from tsdb.storage.room import DiskRoom


def test_lines_are_stored_however_they_are_cut_and_bad_ones_counted(lines_server: Server) -> None:
    text = b"".join(b'm,h=h%d f=%d,s="a\nb" %d\n' % (i % 7, i, i) for i in range(20_000)) + b"bad\nm f=1 99999\n"
    assert send(lines_server, text[:10], text[10:11], text[11:70_000], text[70_000:]) == b""
    assert rows(lines_server, "SELECT count(*), sum(f), min(s) FROM m") == [(20_001, 199990001.0, "a\nb")]
    metrics = get(lines_server.http_port, "/metrics")
    assert "tsdb_tcp_points_written_total 20001.0" in metrics
    assert "tsdb_tcp_lines_rejected_total 1.0" in metrics


def test_lines_are_stored_while_the_stream_goes_on(lines_server: Server) -> None:
    assert lines_server.line_tcp_port is not None
    with closing(socket.create_connection(("127.0.0.1", lines_server.line_tcp_port))) as connection:
        for i in range(3):
            connection.sendall(b"live f=%d %d\nlive f=" % (i, i) if i == 0 else b"9 77%d\nlive f=" % i)
            until(lambda: bool(rows(lines_server, "SELECT 1 FROM pg_class WHERE relname = 'live'")))
            until(lambda i=i: rows(lines_server, "SELECT count(*) FROM live") == [(i + 1,)])  # type: ignore[misc]


def test_a_line_without_its_newline_is_not_stored(lines_server: Server) -> None:
    # Who was cut off in the middle of a time would have stored another one.
    send(lines_server, b"m f=1 1000\nm f=2 20")
    assert rows(lines_server, "SELECT f FROM m") == [(1.0,)]


def test_lines_behind_an_open_string_are_stored_when_the_stream_ends(lines_server: Server) -> None:
    send(lines_server, b'm s="open 1\nm f=1 1000\nm f=2 2000\nm f=3 30')
    assert rows(lines_server, "SELECT f FROM m ORDER BY time") == [(1.0,), (2.0,)]


def test_a_first_comment_line_chooses_database_and_precision(lines_server: Server) -> None:
    assert send(lines_server, b"# tsdb: db=other precision=s\nm f=1 1700000000\n") == b""
    assert rows(lines_server, "SELECT time::text FROM m", "other") == [("2023-11-14 22:13:20+00",)]
    assert send(lines_server, b"# tsdb: base=other\nm f=1 1\n").startswith(b"400 'base=other' is none of producer=")
    assert send(lines_server, b"# tsdb: precision=y\nm f=1 1\n").startswith(b"400 invalid precision")
    assert send(lines_server, b"# tsdb: acks=most\nm f=1 1\n").startswith(b"400 acks 'most' is none of quorum, all")


def test_the_setting_of_acks_is_for_lines_that_say_nothing_of_it(tmp_path: Path) -> None:
    settings = {"data": tmp_path / "data", "pg_port": 0, "http_port": 0, "line_tcp_port": 0, "line_udp_port": 0}
    with pytest.raises(ConfigurationError, match="must be quorum, all or a number from 0 to 99"):
        load({**settings, "line_acks": "most"})
    default = LineOptions("d", acks=1).request
    assert command.read(b"# tsdb: precision=s", default).acks == 1
    assert command.read(b"# tsdb: acks=ALL", default).acks == ALL
    with EmbeddedServer(load({**settings, "line_acks": 1})) as server:
        for found in (server._streams._tcp, server._streams._udp):
            assert found is not None
            assert found[1].options.request.acks == 1


EVENTS = b"events a=1i 1\nevents a=2i 900000000000\nbad\n"


def test_a_numbered_batch_is_answered_and_stored_once(lines_server: Server) -> None:
    rows_before = "CREATE TABLE events (time timestamptz, a int8)"
    url = lines_server.pg_url
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(rows_before)
    text = b"# tsdb: producer=p%201 batch=7\n" + EVENTS + b"# tsdb: end\n"
    first = send(lines_server, text)
    assert first.startswith(b"400 partial write: unable to parse 'bad': missing fields")
    assert first.endswith(b"dropped=1\n")
    assert send(lines_server, text) == first
    assert rows(lines_server, "SELECT a FROM events ORDER BY a") == [(1,), (2,)]
    # Several in one stream, and over HTTP the same numbers are the same batches.
    both = text.replace(b"batch=7", b"batch=8") + text + text.replace(b"batch=7", b"batch=9").replace(b"bad\n", b"")
    answers = send(lines_server, both).splitlines()
    assert [answer[:3] for answer in answers] == [b"400", b"400", b"204"]
    assert answers[2] == b"204 batch 9: 2 points"
    assert rows(lines_server, "SELECT count(*) FROM events") == [(6,)]


def test_a_numbered_batch_without_its_end_is_not_stored(lines_server: Server) -> None:
    assert send(lines_server, b"# tsdb: producer=p batch=1\nm f=1 1\n") == b""
    assert rows(lines_server, "SELECT 1 FROM pg_class WHERE relname = 'm'") == []
    text = b'# tsdb: producer=p batch=1\nm s="x\n# tsdb: end\n",f=2 1\n# tsdb: end \n'
    assert send(lines_server, text) == b"204 batch 1: 1 points\n"
    assert rows(lines_server, "SELECT s, f FROM m") == [("x\n# tsdb: end\n", 2.0)]


def test_numbered_batches_need_times_and_numbers(lines_server: Server) -> None:
    answer = send(lines_server, b"# tsdb: producer=p batch=1\nm f=1\n# tsdb: end\n")
    assert answer.startswith(b"400 unable to parse 'm f=1': missing timestamp")
    for words in (b"producer=p", b"batch=1", b"producer=p batch=0", b"producer=p batch=x", b"batch=1 batch=2"):
        assert send(lines_server, b"# tsdb: " + words + b"\nm f=1 1\n# tsdb: end\n").startswith(b"400 ")
    late = b"# tsdb: producer=q batch=5000\nm f=1 1\n# tsdb: end\n"
    assert send(lines_server, late).startswith(b"204")
    assert send(lines_server, late.replace(b"5000", b"4000")).startswith(b'409 batch 4000 of producer "q" is too old')


def test_a_client_waits_while_the_disk_is_full_and_nothing_is_lost(
    lines_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = threading.Event()
    full.set()
    monkeypatch.setattr(DiskRoom, "takes_writes", lambda self, heads: not full.is_set())
    line = b"m f=1 %d\n"
    sent = 0

    def fill() -> None:
        nonlocal sent
        assert lines_server.line_tcp_port is not None
        with closing(socket.create_connection(("127.0.0.1", lines_server.line_tcp_port), timeout=60)) as connection:
            while sent < 3_000_000 and (full.is_set() or sent < 400_000):
                connection.sendall(b"".join(line % (sent + i) for i in range(10_000)))
                sent += 10_000
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""

    thread = threading.Thread(target=fill)
    thread.start()
    until(lambda: "tsdb_tcp_waits_total 0.0" not in get(lines_server.http_port, "/metrics"))
    stalled = -1
    while stalled < sent < 3_000_000:  # what the sockets take, however long that takes
        stalled = sent
        time.sleep(1)
    assert sent < 3_000_000, "the client should wait"
    full.clear()
    thread.join(60)
    assert rows(lines_server, "SELECT count(*) FROM m") == [(sent,)]
    assert DiskFull.sqlstate == "53100"


def test_a_stop_stores_the_lines_that_have_come(tmp_path: Path) -> None:
    settings = load({"data": tmp_path / "data", "pg_port": 0, "http_port": 0, "line_tcp_port": 0})
    with EmbeddedServer(settings) as server:
        assert server.line_tcp_port is not None
        connection = socket.create_connection(("127.0.0.1", server.line_tcp_port))
        connection.sendall(b"m f=1 1\nm f=2 2\nm f=")
        until(lambda: server._streams.gauges()["tcp_points"] == 2)
    connection.close()
    with EmbeddedServer(settings) as server:
        assert rows(server, "SELECT count(*) FROM m") == [(2,)]


def test_without_a_role_only_clients_that_need_no_password_are_served(tmp_path: Path) -> None:
    settings = {"data": tmp_path / "data", "pg_port": 0, "http_port": 0, "line_tcp_port": 0, "line_udp_port": 0}
    with EmbeddedServer(load(settings)) as server:
        import psycopg

        with psycopg.connect(server.pg_url, autocommit=True) as connection:
            connection.execute("CREATE USER sensors")
            connection.execute("CREATE TABLE open (time timestamptz, f float8, PRIMARY KEY (time))")
            connection.execute("CREATE TABLE closed (time timestamptz, f float8, PRIMARY KEY (time))")
            connection.execute("GRANT INSERT ON open TO sensors")
            connection.execute("CREATE USER ann PASSWORD 'secret' SUPERUSER")
    url = "postgresql://ann:secret@127.0.0.1:{}/tsdb"
    for role, count in (("", 0), ("sensors", 1)):
        with EmbeddedServer(load({**settings, "loopback_password": True, "line_role": role})) as server:
            send(server, b"open f=1 1\n")
            send(server, b"closed f=1 1\n")
            with psycopg.connect(url.format(server.pg_port), autocommit=True) as connection:
                assert connection.execute("SELECT count(*) FROM open").fetchall() == [(count,)]
                assert connection.execute("SELECT count(*) FROM closed").fetchall() == [(0,)]
