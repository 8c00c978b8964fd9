"""One thread that interrupts statements past their deadline."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Deadlines:
    """``add`` calls a function when its time has come, unless ``remove`` was first. Times are ``time.monotonic()``."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._removed: set[int] = set()
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, when: float, expire: Callable[[], None]) -> int:
        with self._changed:
            number = next(self._numbers)
            heapq.heappush(self._heap, (when, number, expire))
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="tsdb-deadlines", daemon=True)
                self._thread.start()
            self._changed.notify()
            return number

    def remove(self, number: int) -> None:
        with self._changed:
            self._removed.add(number)
            # Far deadlines would pile up behind short statements.
            if len(self._removed) > 1000 and len(self._removed) * 2 > len(self._heap):
                self._heap = [entry for entry in self._heap if entry[1] not in self._removed]
                heapq.heapify(self._heap)
                self._removed.clear()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _watch(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                if not self._heap:
                    self._changed.wait()
                    continue
                when, number, expire = self._heap[0]
                wait = when - time.monotonic()
                if wait > 0 and number not in self._removed:
                    self._changed.wait(wait)
                    continue
                heapq.heappop(self._heap)
                if number in self._removed:
                    self._removed.discard(number)
                    continue
            expire()
