"""A server as a process of ours: started on free ports, its memory watched in /proc, stopped for certain."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 60
SAMPLE_SECONDS = 0.1


class ServerFailed(Exception):
    """A server that does not start, or answers something it should not; the text ends with its last lines of log."""


def free_port() -> int:
    """A TCP port on loopback that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class ServerProcess:
    """One running server. Its output goes to ``log``; it leads a process group of its own."""

    def __init__(self, command: Sequence[str], log: Path, *, user: str | None = None) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=None if user is None else "/",
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def wait_until(self, is_ready: Callable[[], bool], seconds: float = START_SECONDS_MAX) -> None:
        """Return when ``is_ready()``; ServerFailed when the process ends first or time is up."""
        deadline = time.monotonic() + seconds
        while not is_ready():
            if self._process.poll() is not None:
                raise ServerFailed(f"ended with {self._process.returncode} at start: {self.last_lines()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"not ready after {seconds} s: {self.last_lines()}")
            time.sleep(0.02)

    def last_lines(self) -> str:
        """The end of the log."""
        return " | ".join(self.log.read_text(errors="replace").splitlines()[-5:])

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to stop, wait, and kill its whole group if it does not."""
        if self._process.poll() is None:
            self._process.send_signal(how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS_MAX)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class MemoryWatch:
    """The most memory that a process and its children had at once, sampled while the context is open.

    With ``since_start`` a single process's VmHWM is taken where it is larger: exact, but from the process's start on.
    """

    def __init__(self, pid: int, *, since_start: bool) -> None:
        self.peak_bytes = 0
        self._pid = pid
        self._since_start = since_start
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, memory_bytes(self._pid))
            if self._stop.wait(SAMPLE_SECONDS):
                break
        if self._since_start and not _descendants(self._pid):
            self.peak_bytes = max(self.peak_bytes, _status(self._pid).get("VmHWM", 0))


def memory_bytes(pid: int) -> int:
    """The memory that a process and its children have in use now; 0 when it is gone.

    Pages that they share are counted once: the sum of their private pages, and of shared and of file pages the largest
    share of any one. For a single process that is its VmRSS.
    """
    statuses = [_status(one) for one in (pid, *_descendants(pid))]
    private = sum(status.get("RssAnon", 0) for status in statuses)
    shared = max(status.get("RssShmem", 0) for status in statuses)
    files = max(status.get("RssFile", 0) for status in statuses)
    return private + shared + files


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *_descendants(child)]
    return found


def _status(pid: int) -> dict[str, int]:
    """The sizes in /proc/PID/status, in bytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if line.endswith(" kB"))
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}


@dataclass(frozen=True, slots=True)
class Used:
    """What a process and its children have used: seconds of CPU, and bytes that it alone had written to disk (of
    children that ended nobody knows)."""

    cpu_s: float
    written: int

    def since(self, before: Used) -> Used:
        return Used(self.cpu_s - before.cpu_s, self.written - before.written)


def used(pid: int) -> Used:
    """Until now. proc(5): ``stat`` has the CPU of children that ended in their parent's cutime and cstime; ``io``
    counts pages when they become dirty, and those that were dropped before they were written."""
    ticks = 0
    for one in (pid, *_descendants(pid)):
        with contextlib.suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:15]))
    io = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return Used(ticks / os.sysconf("SC_CLK_TCK"), int(io["write_bytes"]) - int(io["cancelled_write_bytes"]))


def has_children(pid: int) -> bool:
    return bool(_descendants(pid))


def directory_bytes(*directories: Path) -> int:
    """The space that the files below the directories take on disk."""
    total = 0
    for directory in directories:
        for path in directory.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # servers delete files while we look
                if path.is_file():
                    total += path.stat().st_blocks * 512
    return total


def wait_until_settled(size: Callable[[], int], *, quiet_seconds: float = 5.0, seconds_max: float = 120.0) -> bool:
    """Wait until a size has not changed for a while; False when it still changes at the end."""
    deadline = time.monotonic() + seconds_max
    last, since = size(), time.monotonic()
    while time.monotonic() - since < quiet_seconds:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.25)
        now = size()
        if now != last:
            last, since = now, time.monotonic()
    return True
