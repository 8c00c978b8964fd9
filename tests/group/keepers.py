"""A cluster of ``keeper`` processes that are killed, stopped and cut off from each other."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from tests.cluster.transport.nodes import HOST, write_pair
from tests.fixtures.environment import ROOT, clean_environment
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import PATIENCE_S, until
from tests.group.cables import Cables
from tests.group.nodes import pause
from tests.group.together import OPTIONS
from tsdb.cluster.node import Node

PLACES = (1, 2, 3)


class Gone(Exception):
    """The process ended before it answered: what was asked may be done, or be yet, or not."""


class Keeper:
    """One process. ``ask`` may be called from several threads."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        with open(log, "ab") as errors:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "tests.group.keeper", *arguments],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT,
                env=clean_environment(),
            )  # fmt: skip
        self._lock = threading.Lock()
        self._count = 0
        self._over = False
        self.ready: Future[list[Any]] = Future()
        self._waiting: dict[int, Future[list[Any]]] = {0: self.ready}
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def ask(self, *words: Any) -> Future[list[Any]]:
        """The answer; ``["away"]`` of a process that had ended before, Gone of one that ends before it answers."""
        future: Future[list[Any]] = Future()
        with self._lock:
            if self._over:
                future.set_result(["away"])
                return future
            self._count += 1
            self._waiting[self._count] = future
            assert self.popen.stdin is not None
            with contextlib.suppress(OSError):
                self.popen.stdin.write(json.dumps([self._count, *words]) + "\n")
                self.popen.stdin.flush()
        return future

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            # Of a process that is killed the last line may be a part of one.
            with contextlib.suppress(json.JSONDecodeError):
                number, *words = json.loads(line)
                self._waiting.pop(number).set_result(words)
        with self._lock:
            self._over = True
            for future in self._waiting.values():
                future.set_exception(Gone())

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(PATIENCE_S)
        self._reader.join()
        for each in (self.popen.stdin, self.popen.stdout):
            if each is not None:
                with contextlib.suppress(OSError):
                    each.close()

    def pause(self) -> None:
        """Until it is resumed; it stands still when this returns."""
        pause(self.popen)

    def resume(self) -> None:
        self.popen.send_signal(signal.SIGCONT)


class Keepers:
    """Three, by their place, which is their number; what they send to each other goes through ``cables``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[int, Keeper] = {}
        self.cables = Cables(lambda: {place: keeper.popen.pid for place, keeper in self.running.items()})
        self.fronts = {place: free_port() for place in PLACES}
        self.backs = {place: free_port() for place in PLACES}
        for place in PLACES:
            write_pair(folder, f"n{place}")
            self.cables.plug(place, self.fronts[place], self.backs[place])

    def begin(self) -> None:
        """All three run, vote, and have said where they are."""
        Node.open(self.folder / "data1", OPTIONS).close()
        self.start(1)
        for place in PLACES[1:]:
            self.start(place, f"{HOST}:{self.fronts[1]}")
        until(lambda: self.standing(1)[2] == [*PLACES])

    def start(self, place: int, *join: str) -> None:
        self.launch(place, *join)
        self.wait_ready(place)

    def launch(self, place: int, *join: str) -> None:
        """Without waiting for it: alone it may not be ready before others are."""
        self.running[place] = Keeper(
            [str(self.folder / f"data{place}"), str(self.folder), f"n{place}", str(self.backs[place]),
             f"{HOST}:{self.fronts[place]}", *join],
            self.folder / f"n{place}.log",
        )  # fmt: skip

    def wait_ready(self, place: int) -> None:
        assert self.running[place].ready.result(PATIENCE_S) == ["ready"]

    def kill(self, place: int) -> None:
        self.running[place].kill()

    def answer(self, place: int, *words: Any) -> list[Any]:
        return self.running[place].ask(*words).result(PATIENCE_S)

    def standing(self, place: int) -> tuple[int, int, list[int]]:
        """(leader, term, voters), as a node knows them."""
        _, leader, term, voters = self.answer(place, "standing")
        return leader, term, voters

    def leader(self) -> int:
        """Who leads the latest term that anybody knows of, when somebody does."""
        return until(lambda: max((self.standing(place)[1::-1] for place in PLACES), default=(0, 0))[1])

    def end(self) -> None:
        for keeper in self.running.values():
            keeper.kill()
        self.cables.end()
