"""Writers and readers that do as docs/operating.md says, what they were told and when, and whether that can be.

A point has a number, and a time of its own. A writer sends it until somebody acknowledges it, at another node each
time; a reader reads all points linearizably. Checked is, of every read, that it had all that was acknowledged before it
began and nothing that nobody had sent; and of what is there at the end, that it is each acknowledged point, once.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import psycopg

START_NS = 1_767_225_600_000_000_000
HOUR_NS = 3_600_000_000_000
ASK_S = 8.0
AGAIN_S = 0.1


@dataclass(slots=True)
class History:
    """Times are of this process' monotonic clock."""

    sent: dict[int, float] = field(default_factory=dict)
    acknowledged: dict[int, float] = field(default_factory=dict)
    reads: list[tuple[float, float, frozenset[int]]] = field(default_factory=list)
    refused: int = 0
    tries: int = 0
    failed_reads: int = 0
    faults: list[str] = field(default_factory=list)

    def longest_pause(self, begin: float, end: float) -> float:
        """The longest time within which nothing was acknowledged."""
        times = [begin, *sorted(at for at in self.acknowledged.values() if begin <= at <= end), end]
        return max(later - earlier for earlier, later in pairwise(times))

    def check(self) -> None:
        in_order = sorted((at, number) for number, at in self.acknowledged.items())
        for begun, _, seen in self.reads:
            missing = [number for at, number in in_order if at < begun and number not in seen]
            if missing:
                self.faults.append(f"a read lacks {len(missing)} points acknowledged before it began: {missing[:5]}")
            invented = seen - self.sent.keys()
            if invented:
                self.faults.append(f"a read has points that nobody sent: {sorted(invented)[:5]}")
        assert not self.faults, self.faults[:10]

    def check_end(self, values: list[int], who: str) -> None:
        assert len(values) == len({*values}), f"{who}: points are there twice"
        missing = self.acknowledged.keys() - {*values}
        assert not missing, f"{who}: {len(missing)} of {len(self.acknowledged)} acknowledged points are missing"
        assert {*values} <= self.sent.keys(), f"{who}: points that nobody sent"


class Clients:
    """``post(place, line)`` gives a status and ``select(place, sql)`` rows, or they raise OSError, psycopg.Error."""

    def __init__(
        self,
        history: History,
        places: Callable[[], list[int]],
        post: Callable[[int, str], int],
        select: Callable[[int, str], list[tuple[object, ...]]],
        writers: int = 2,
    ) -> None:
        self.history = history
        self._places, self._post, self._select = places, post, select
        self._stop = threading.Event()
        self._number = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._write, args=(each,)) for each in range(writers)]
        self._threads.append(threading.Thread(target=self._read))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _next(self) -> int:
        with self._lock:
            self._number += 1
            return self._number

    def _write(self, turn: int) -> None:
        history = self.history
        while not self._stop.is_set():
            number = self._next()
            history.sent[number] = time.monotonic()
            while not self._stop.is_set():
                places = self._places()
                place = places[turn % len(places)]
                history.tries += 1
                try:
                    status = self._post(place, f"n v={number}i {START_NS + number * HOUR_NS}")
                except (OSError, KeyError, http.client.HTTPException):
                    status = 0
                if status == 204:
                    history.acknowledged[number] = time.monotonic()
                    break
                if 400 <= status < 500 and status != 429:
                    history.faults.append(f"point {number} was refused for good: {status}")
                    break
                history.refused += 1
                turn += 1
                self._stop.wait(AGAIN_S)

    def _read(self) -> None:
        turn = 0
        while not self._stop.is_set():
            places = self._places()
            begun = time.monotonic()
            try:
                rows = self._select(places[turn % len(places)], "SELECT v FROM n")
            except (OSError, KeyError, TimeoutError, psycopg.Error):
                self.history.failed_reads += 1
                turn += 1
            else:
                values = [int(str(value)) for (value,) in rows]
                if len(values) != len({*values}):
                    self.history.faults.append("a read has a point twice")
                self.history.reads.append((begun, time.monotonic(), frozenset(values)))
            self._stop.wait(0.05)
