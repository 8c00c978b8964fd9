"""Servers are started, watched and stopped for certain; batches are sent once each."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.load import Send, in_parallel
from benchmarks.processes import (
    MemoryWatch,
    ServerFailed,
    ServerProcess,
    Used,
    directory_bytes,
    has_children,
    used,
    wait_until_settled,
)
from benchmarks.render import render
from benchmarks.workload import generate
from tests.fixtures.waiting import until


def python(code: str, log: Path) -> ServerProcess:
    return ServerProcess([sys.executable, "-c", code], log)


def test_a_server_that_ends_at_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    server = python("import sys; sys.exit('no such thing')", tmp_path / "log")
    with pytest.raises(ServerFailed, match="ended with 1 at start: no such thing"):
        server.wait_until(lambda: False)
    server.stop()


def test_what_a_process_and_its_children_use_is_counted(tmp_path: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])\n"
    code += "print('done', flush=True)\nsys.stdin.read()"
    server = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"done\n"
    found = used(server.pid)
    # In ticks, of user and of system time, each rounded down.
    assert found.cpu_s >= 0.27
    assert found.written >= 0
    assert found.since(found) == Used(0, 0)
    assert not has_children(server.pid)
    server.communicate()


def test_stop_ends_the_whole_group(tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).wait()"
    log = tmp_path / "log"
    server = python(code, log)
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    server.wait_until(lambda: bool(children.read_text()))
    child = int(children.read_text())
    server.stop()

    def ended() -> bool:
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(child)], capture_output=True, text=True).stdout
        return state[:1] in ("", "Z")  # gone, or dead and waiting for its new parent

    until(ended)


def test_the_watch_sees_the_memory_that_a_server_had(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "b = b'x' * 200_000_000; del b; print('done', flush=True); import time; time.sleep(60)"
    server = python(code, log)
    try:
        with MemoryWatch(server.pid, since_start=True) as watch:
            server.wait_until(lambda: "done" in log.read_text())
        assert watch.peak_bytes > 200_000_000
        with MemoryWatch(server.pid, since_start=False) as watch:
            pass
        assert 1_000_000 < watch.peak_bytes < 100_000_000
    finally:
        server.stop()


def test_the_space_on_disk_is_that_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").write_bytes(b"x" * 100_000)
    (tmp_path / "b").write_bytes(b"x" * 50_000)
    assert 150_000 <= directory_bytes(tmp_path) <= 170_000


def test_what_never_stops_changing_is_not_settled() -> None:
    sizes = iter(range(10**9))
    assert not wait_until_settled(lambda: next(sizes), quiet_seconds=1.0, seconds_max=0.6)
    assert wait_until_settled(lambda: 7, quiet_seconds=0.1)


@pytest.mark.parametrize("workers", [1, 3])
def test_every_batch_is_sent_once(tmp_path: Path, workers: int) -> None:
    batches = render(generate(5, 0.2, 1), tmp_path, 10).line_protocol
    sent: list[bytes] = []
    finished: list[int] = []

    def connect() -> tuple[Send, Callable[[], None]]:
        return (lambda batch: sent.append(bytes(batch))), (lambda: finished.append(threading.get_ident()))

    assert in_parallel(batches, workers, connect) > 0
    assert sorted(sent) == sorted(bytes(batches[i]) for i in range(len(batches)))
    assert len(finished) == workers


def test_the_first_error_ends_the_load(tmp_path: Path) -> None:
    batches = render(generate(5, 0.2, 1), tmp_path, 10).line_protocol

    def connect() -> tuple[Send, Callable[[], None]]:
        def send(_: memoryview) -> None:
            raise ServerFailed("was answered 400")

        return send, lambda: None

    with pytest.raises(ServerFailed, match="400"):
        in_parallel(batches, 2, connect)
