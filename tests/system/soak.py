"""A soak: writers that remember what was accepted, and what befalls the server meanwhile.

Writers send bodies of mixed sizes with some bad lines and send again what was not answered, half of them numbered
batches of keyless series, where a double would stay. What befalls: kill -9, a full disk, slow fsync. In the end what
was accepted is what is stored, exactly.
"""

from __future__ import annotations

import http.client
import os
import random
import re
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.fixtures.ports import free_port
from tests.fixtures.server import WARM, Process

SIZES = (1, 1, 5, 20, 100, 500, 2_000, 10_000)
BAD = ("nonsense", "m,t= v=1i 1", "m v=", "m v=1x 1", "m v=1i notatime", "m,a=1,a=2 v=1i 1", "m v=1i 1 2")
BAD_SHARE = 0.05
MIB = 2**20
FLAGS = ("--disk-reserve", "64MiB", "--head-bytes", "24MiB")
_DROPPED = re.compile(r"dropped=(\d+)")


@dataclass
class Soak:
    """``folder`` holds the data; ``size_bytes`` is the room of its file system if it is small, else 0; ``slow`` is the
    library that makes fsync slow, if there is one."""

    folder: Path
    seed: int
    size_bytes: int = 0
    slow: Path | None = None
    restarts: int = 0
    full: int = 0
    slowed: int = 0
    refused: int = 0
    memory: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def run(self, *, seconds: float = 0.0, points: int = 0, writers: int = 4, pause_s: float = 2.0) -> str:
        """Until ``seconds`` are over or ``points`` are accepted. Returns what it has to say."""
        rng = random.Random(self.seed)
        self._control = self.folder / "fsync-ms"
        self._control.write_text("0")
        # The same after each restart: the writers know nothing of those.
        self._ports = {"TSDB_HTTP_PORT": str(free_port()), "TSDB_PG_PORT": str(free_port())}
        self._start()
        try:
            self._make_tables(writers)
            busy = [Writer(self, i, self.seed) for i in range(writers)]
            started = time.monotonic()
            events: list[Callable[[], None]] = []
            for each in busy:
                each.start()
            try:
                while time.monotonic() - started < seconds or sum(w.accepted for w in busy) < points:
                    assert all(w.is_alive() for w in busy), [w.failed for w in busy]
                    self._watch(pause_s * rng.uniform(0.3, 1.5))
                    if not events:
                        events = rng.sample([self._kill, self._fill, self._slow], 3)
                    events.pop()()
            finally:
                self._control.write_text("0")
                for each in busy:
                    each.ended.set()
                for each in busy:
                    each.join(120)
            assert [w.failed for w in busy] == [None] * writers
            elapsed = time.monotonic() - started
            self._check(busy)
            return self._said(busy, elapsed)
        finally:
            self.process.kill()

    def _start(self) -> None:
        variables = {**self._ports, **WARM}
        if self.slow is not None:
            variables |= {"LD_PRELOAD": str(self.slow), "SLOW_FSYNC": str(self._control)}
        self.process = Process(self.folder / "data", *FLAGS, **variables)

    def _make_tables(self, writers: int) -> None:
        with self.process.connect() as connection:
            for i in range(1, writers, 2):
                connection.execute(f"CREATE TABLE w{i} (time timestamptz, host text TAG, v bigint)".encode())

    def _watch(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.2)
            self.memory.append(self.process.memory_bytes())
            self.files.append(len(os.listdir(f"/proc/{self.process.pid}/fd")))

    # --- what befalls ---

    def _kill(self) -> None:
        self.process.kill()
        self.restarts += 1
        self._start()

    def _fill(self) -> None:
        if not self.size_bytes:
            return
        filler = self.folder / "filler"
        room = os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_frsize
        with open(filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(room - 40 * MIB, 1))
        self.full += 1
        before, until = self.refused, time.monotonic() + 180
        while self.refused == before:
            assert time.monotonic() < until, "nobody was refused while the disk was full"
            self._watch(0.5)
        with self.process.connect() as connection:
            assert connection.execute("SELECT count(*) FROM w1").fetchone() is not None
        filler.unlink()

    def _slow(self) -> None:
        if self.slow is None:
            return
        self._control.write_text("150")
        self.slowed += 1
        self._watch(2.0)
        self._control.write_text("0")

    # --- what must hold ---

    def _check(self, busy: list[Writer]) -> None:
        with self.process.connect() as connection:
            for writer in busy:
                row = connection.execute(f"SELECT count(*), sum(v) FROM w{writer.number}".encode()).fetchone()
                assert row == (writer.accepted, writer.total), f"w{writer.number}: {row}"
        self._check_flat(self.memory, 1.4, 64 * MIB, "memory")
        self._check_flat(self.files, 1.2, 40, "open files")

    @staticmethod
    def _check_flat(samples: list[int], factor: float, slack: int, what: str) -> None:
        """The last quarter is no more than the second one, but for noise."""
        quarter = len(samples) // 4
        if quarter < 10:
            return
        second, last = statistics.median(samples[quarter : 2 * quarter]), statistics.median(samples[-quarter:])
        assert last <= second * factor + slack, f"{what} grew from {second} to {last}"

    def _said(self, busy: list[Writer], elapsed: float) -> str:
        accepted = sum(w.accepted for w in busy)
        return (
            f"{accepted:,} points accepted and stored, {sum(w.bad for w in busy):,} bad lines refused, "
            f"{sum(w.retries for w in busy):,} bodies sent again, in {elapsed:.0f} s; {self.restarts} kills, "
            f"{self.full} times a full disk, {self.slowed} times slow fsync; at most {max(self.memory) // MIB} MiB of "
            f"memory and {max(self.files)} open files"
        )


class Writer(threading.Thread):
    """One client; the odd ones number their batches and write to keyless series."""

    def __init__(self, soak: Soak, number: int, seed: int) -> None:
        super().__init__(name=f"writer-{number}", daemon=True)
        self.number = number
        self.ended = threading.Event()
        self.accepted = self.total = self.bad = self.retries = 0
        self.failed: BaseException | None = None
        self._soak = soak
        self._rng = random.Random(seed * 1000 + number)
        self._connection: http.client.HTTPConnection | None = None
        self._time = 1_767_225_600_000_000_000
        self._batch = 0

    def run(self) -> None:
        try:
            while not self.ended.is_set():
                self._one()
        except BaseException as error:
            self.failed = error
        finally:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _one(self) -> None:
        body, good, bad, total = self._body()
        headers = {}
        if self.number % 2:
            self._batch += 1
            headers = {"X-Tsdb-Producer": f"w{self.number}", "X-Tsdb-Batch": str(self._batch)}
        status, text = self._patiently(body, headers)
        if bad:
            assert status == 400, (status, text[:300])
            found = _DROPPED.search(text)
            # A body without a good line is no partial write and says no count.
            assert found is None or int(found[1]) == bad, text[-200:]
            assert found is not None or not good, text[-200:]
        else:
            assert status == 204, (status, text[:300])
        self.accepted += good
        self.total += total
        self.bad += bad

    def _body(self) -> tuple[bytes, int, int, int]:
        rng, lines, bad, total = self._rng, [], 0, 0
        for _ in range(rng.choice(SIZES)):
            if rng.random() < BAD_SHARE:
                lines.append(rng.choice(BAD))
                bad += 1
                continue
            self._time += 1_000_000
            value = self._time // 1_000_000 % 1_000_003
            total += value
            lines.append(f"w{self.number},host=h{value % 97} v={value}i {self._time}")
        return "\n".join(lines).encode(), len(lines) - bad, bad, total

    def _patiently(self, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        """The answer, however often that takes."""
        while True:
            try:
                status, text = self._post(body, headers)
            except (OSError, http.client.HTTPException):
                self._close()
                time.sleep(0.1)
            else:
                if status != 503:
                    return status, text
                self._soak.refused += 1
                time.sleep(0.2)
            self.retries += 1

    def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._soak.process.http_port, timeout=60)
        self._connection.request("POST", "/write?db=tsdb", body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read().decode()
