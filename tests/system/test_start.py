"""``tsdb start`` as a process: its line, its refusals, its end."""

from __future__ import annotations

import re
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fixtures.environment import ROOT, clean_environment
from tests.fixtures.server import READY, Start
from tests.fixtures.waiting import until
from tsdb.storage.keys import state_key
from tsdb.storage.rocks import FORMAT_VERSION, Rocks

# Two seconds on a machine that does nothing else (nightly); less than any client or statement is waited for.
SOON_S = 10


def refused(data: Path, *arguments: str) -> tuple[int, str]:
    """Start a server that cannot start; its exit code and its one line."""
    done = subprocess.run(
        [sys.executable, "-m", "tsdb", "start", "--data", str(data), *arguments],
        cwd=ROOT,
        env={"TSDB_PG_PORT": "0", "TSDB_HTTP_PORT": "0", **clean_environment()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert [line.startswith("tsdb: ") for line in lines] == [True], done.stderr
    assert "Traceback" not in done.stderr
    return done.returncode, lines[-1]


def test_it_prints_one_line_when_it_serves(start: Start) -> None:
    process = start()
    assert READY.fullmatch(process.ready_line)
    with process.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert process.write("m f=1 1")[0] == 204
    assert process.stop()[0] == 0
    assert process.popen.stdout is not None
    assert process.popen.stdout.read() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_soon_and_the_data_is_there_after(start: Start, number: signal.Signals) -> None:
    process = start()
    for batch in range(20):
        lines = "".join(f"m,host=h{host} f={batch} {batch * 1_000_000_000}\n" for host in range(500))
        assert process.write(lines)[0] == 204
    code, seconds = process.stop(number)
    assert code == 0
    assert seconds < SOON_S
    with start().connect() as connection:
        assert connection.execute("SELECT count(*), sum(f) FROM m").fetchone() == (10_000, 500.0 * 190)


def test_it_stops_soon_with_clients_connected(start: Start) -> None:
    process = start()
    idle = process.connect()
    half_open = socket.create_connection(("127.0.0.1", process.pg_port))
    kept_alive = socket.create_connection(("127.0.0.1", process.http_port))
    kept_alive.sendall(b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert kept_alive.recv(1000).startswith(b"HTTP/1.1 204")
    unsent = socket.create_connection(("127.0.0.1", process.http_port))
    unsent.sendall(b"POST /write?db=tsdb HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nm f=1")
    code, seconds = process.stop()
    assert code == 0
    assert seconds < SOON_S
    for client in (idle, half_open, kept_alive, unsent):
        client.close()


def test_a_taken_port_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for flag in ("--pg-port", "--http-port"):
            code, line = refused(tmp_path / "data", flag, str(port))
            assert code == 1
            assert str(port) in line
            assert "in use" in line


def test_a_locked_directory_is_one_line_and_exit_code_1(start: Start) -> None:
    process = start()
    code, line = refused(process.data)
    assert code == 1
    assert str(process.data) in line
    assert process.write("m f=1 1")[0] == 204


def test_a_directory_that_cannot_be_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for data in (file, file / "below", Path("/proc/tsdb")):
        code, line = refused(data)
        assert code == 1
        assert str(data) in line


def test_a_directory_of_a_newer_format_is_one_line_and_exit_code_1(start: Start) -> None:
    process = start()
    assert process.stop()[0] == 0
    with Rocks.open(process.data) as rocks:
        batch = rocks.batch()
        batch.put("state", state_key("format"), struct.pack(">I", FORMAT_VERSION + 1))
        rocks.write(batch, sync=True)
    code, line = refused(process.data)
    assert code == 1
    assert str(process.data) in line
    assert "format" in line
    assert str(FORMAT_VERSION + 1) in line


def test_too_little_space_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    code, line = refused(tmp_path / "data", "--disk-reserve", "1024GiB")
    assert code == 1
    assert "free" in line


def test_a_second_signal_stops_it_at_once(start: Start) -> None:
    process = start("--shutdown-timeout", "60s")
    slow = "SELECT count(*) FROM generate_series(1, 200000) AS a(i), generate_series(1, 2000000) AS b(j)"
    connection = process.connect()
    connection.pgconn.send_query(slow.encode())
    with process.connect() as other:
        active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
        until(lambda: other.execute(active).fetchone() == (2,))
    process.popen.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.popen.poll() is None, "it waits for the statement"
    code, seconds = process.stop()
    connection.close()
    assert code == 1
    assert seconds < SOON_S


def test_serving_other_machines_takes_the_word_insecure_and_is_logged(start: Start) -> None:
    process = start("--host", "127.0.0.1", "--insecure")
    assert process.stop()[0] == 0
    with pytest.raises(AssertionError, match="insecure"):
        start("--host", "0.0.0.0", data=process.data.with_name("other"))


def test_ports_that_were_left_to_the_system_are_in_the_log(start: Start) -> None:
    process = start("--line-tcp-port", "0", "--line-udp-port", "0")
    (tcp,) = re.findall(r"line_tcp='127\.0\.0\.1:(\d+)'", process.log.read_text())
    (udp,) = re.findall(r"line_udp='127\.0\.0\.1:(\d+)'", process.log.read_text())
    assert int(udp)
    with socket.create_connection(("127.0.0.1", int(tcp))) as sender:
        sender.sendall(b"m f=1 1\n")
    with process.connect() as connection:
        until(lambda: connection.execute("SELECT to_regclass('m') IS NOT NULL").fetchone() == (True,))
    assert process.stop()[0] == 0


@pytest.mark.nightly
def test_a_series_of_thousands_of_columns_stops_in_two_seconds_and_is_there_after(start: Start) -> None:
    process = start()
    for batch in range(8):
        rows = range(batch * 1000, batch * 1000 + 1000)
        assert process.write("".join(f"w,host=a f{i}={i}.5 {i}000000000\n" for i in rows))[0] == 204
    code, seconds = process.stop()
    assert code == 0
    assert seconds < 2
    with start().connect() as connection:
        assert connection.execute("SELECT count(*), sum(f1), sum(f7999) FROM w").fetchone() == (8000, 1.5, 7999.5)
