"""Writers and readers that do as docs/operating.md says, at any node, and note in a history what they were told."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import psycopg

from tests.namespaces.history import ANY, BOUNDED, LINEARIZABLE, SESSION, History, Read

START_NS = 1_767_225_600_000_000_000
HOUR_NS = 3_600_000_000_000
ASK_S = 8.0
AGAIN_S = 0.1
WRITERS = 2
PAUSES_S = {LINEARIZABLE: 0.05, SESSION: 0.2, BOUNDED: 0.2, ANY: 0.2}


class Cluster(Protocol):
    """Nodes by their place. A failure is an OSError, psycopg.Error, HTTPException, KeyError or TimeoutError."""

    @property
    def running(self) -> Mapping[int, object]: ...
    def post(self, place: int, line: str) -> tuple[int, str]:
        """The status and the token of a write."""
        ...

    def select(self, place: int, text: str, level: str, tokens: Sequence[str]) -> tuple[list[tuple[object, ...]], str]:
        """Rows, and a token of what the session has seen."""
        ...


FAILED = (OSError, KeyError, TimeoutError, http.client.HTTPException, psycopg.Error)


class Clients:
    """They begin at once, and go on until they are stopped."""

    def __init__(self, history: History, cluster: Cluster) -> None:
        self.history = history
        self._cluster = cluster
        self._stop = threading.Event()
        self._number = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._write, args=(turn,)) for turn in range(WRITERS)]
        self._threads += [threading.Thread(target=self._read, args=(level,)) for level in (LINEARIZABLE, BOUNDED, ANY)]
        self._threads.append(threading.Thread(target=self._session))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _place(self, turn: int) -> int | None:
        """None while no node runs at all."""
        places = sorted(self._cluster.running)
        return places[turn % len(places)] if places else None

    def _next(self) -> int:
        with self._lock:
            self._number += 1
            number = self._number
        self.history.sent[number] = time.monotonic()
        return number

    def _post(self, number: int, turn: int) -> str | None:
        """One try; the token of an acknowledged write."""
        history, place = self.history, self._place(turn)
        if place is None:
            return None
        history.tries += 1
        try:
            status, token = self._cluster.post(place, f"n v={number}i {START_NS + number * HOUR_NS}")
        except FAILED:
            status, token = 0, ""
        if status == 204:
            history.acknowledged[number] = time.monotonic()
            return token
        if 400 <= status < 500 and status != 429:
            history.faults.append(f"point {number} was refused for good: {status}")
        history.refused += 1
        return None

    def _write(self, turn: int) -> None:
        while not self._stop.is_set():
            number = self._next()
            while self._post(number, turn) is None:
                turn += 1
                if self._stop.wait(AGAIN_S):
                    return

    def _look(self, level: str, turn: int, before: frozenset[int], tokens: Sequence[str]) -> tuple[frozenset[int], str]:
        """What was read, and its token; raises FAILED."""
        place = self._place(turn)
        if place is None:
            raise OSError("no node runs")
        begun = time.monotonic()
        rows, token = self._cluster.select(place, "SELECT v FROM n", level, tokens)
        values = [int(str(value)) for (value,) in rows]
        seen = frozenset(values)
        if len(values) != len(seen):
            self.history.faults.append(f"a {level} read has a point twice")
        self.history.reads.append(Read(begun, time.monotonic(), seen, level, before))
        return seen, token

    def _read(self, level: str) -> None:
        turn = 0
        while not self._stop.wait(PAUSES_S[level]):
            try:
                self._look(level, turn, frozenset(), ())
            except FAILED:
                self.history.failed_reads += 1
                turn += 1
            # Those that may be old are asked of all nodes in turn.
            turn += level != LINEARIZABLE

    def _session(self) -> None:
        """One that takes another node each time, and hands itself its tokens."""
        turn, before, tokens = 0, frozenset[int](), [""]
        while not self._stop.wait(PAUSES_S[SESSION]):
            turn += 1
            number = self._next()
            written = self._post(number, turn)
            if written is not None:
                before |= {number}
                tokens.append(written)
            try:
                seen, token = self._look(SESSION, turn + 1, before, tokens)
            except FAILED:
                self.history.failed_reads += 1
            else:
                before, tokens = before | seen, [token]
