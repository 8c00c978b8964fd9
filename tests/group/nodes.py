"""Clusters of real ``tsdb start`` processes on loopback."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg

from tests.fixtures.environment import ROOT, clean_environment
from tests.fixtures.server import Process, get
from tests.fixtures.waiting import PATIENCE_S, until
from tests.group.places import Places


class Nodes(Places):
    """Processes by their place."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.running: dict[int, Process] = {}

    def variables(self, place: int) -> dict[str, str]:
        name = self.certified(place)
        return {
            "TSDB_CLUSTER_LISTEN": self.address(place),
            "TSDB_CLUSTER_CA": str(self.folder / "ca.crt"),
            "TSDB_CLUSTER_CERT": str(self.folder / f"{name}.crt"),
            "TSDB_CLUSTER_KEY": str(self.folder / f"{name}.key"),
            "TSDB_LOST_VOTER_TIMEOUT": "3s",
            "TSDB_DISK_RESERVE": "1MiB",
        }

    # Commands

    def command(self, *words: str, at: int | None = None) -> subprocess.CompletedProcess[str]:
        """``tsdb WORDS``, with the certificate and the address of a node."""
        return subprocess.run(
            [sys.executable, "-m", "tsdb", *words],
            env={**clean_environment(), **(self.variables(at) if at is not None else {})},
            cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip

    def done(self, *words: str, at: int | None = None) -> str:
        result = self.command(*words, at=at)
        assert result.returncode == 0, (words, result.stdout, result.stderr)
        return result.stdout

    def found(self) -> None:
        self.done("cluster", "init", "--data", str(self.data(1)))

    def start(self, place: int, *, join: int | None = None) -> Process:
        arguments = [] if join is None else ["--join", self.address(join)]
        process = Process(self.data(place), *arguments, **self.variables(place))
        self.running[place] = process
        return process

    def begin(self) -> None:
        """Three nodes, of which each has a vote."""
        self.found()
        self.start(1)
        self.start(2, join=1)
        self.start(3, join=2)
        until(lambda: self.roles(1) == {1: "voter", 2: "voter", 3: "voter"})

    def start_all(self, places: list[int]) -> None:
        with ThreadPoolExecutor(len(places)) as pool:
            for each in [pool.submit(self.start, place) for place in places]:
                each.result(PATIENCE_S)

    def kill(self, place: int) -> None:
        self.running.pop(place).kill()

    def stop(self, place: int) -> None:
        process = self.running.pop(place)
        code, _ = process.stop(timeout_s=PATIENCE_S)
        process.kill()
        assert code == 0

    def pause(self, place: int) -> None:
        """Until it is resumed; it stands still when this returns."""
        pause(self.running[place].popen)

    def resume(self, place: int) -> None:
        self.running[place].popen.send_signal(signal.SIGCONT)

    def end(self) -> None:
        for place in list(self.running):
            self.kill(place)

    # Asking

    @contextlib.contextmanager
    def connect(self, place: int) -> Iterator[psycopg.Connection]:
        with contextlib.closing(self.running[place].connect()) as connection:
            yield connection

    def sql(self, place: int, text: str) -> list[Any]:
        with self.connect(place) as connection:
            cursor = connection.execute(text)
            return [] if cursor.description is None else cursor.fetchall()

    def tables(self, place: int) -> set[str]:
        return {name for (name,) in self.sql(place, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}

    def leader(self, at: int) -> int:
        """The number of the node that leads, when somebody does."""
        return until(lambda: self.report(at).leader)

    def metric(self, place: int, name: str) -> float:
        line = next(x for x in get(self.running[place].http_port, "/metrics").splitlines() if x.startswith(f"{name} "))
        return float(line.split()[1])


def pause(process: subprocess.Popen[str]) -> None:
    """SIGSTOP; it stands still when this returns."""
    process.send_signal(signal.SIGSTOP)
    until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
