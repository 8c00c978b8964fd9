"""A bounded cache of decoded row runs, least recently used first out."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
import numpy.typing as npt

Runs = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]

# The dictionary's entry, the key and two array objects.
_OVERHEAD_BYTES = 512


class RunsCache:
    """Key in ``runs`` → (tag set ids, offsets), at most ``limit_bytes`` of them. Safe for many threads."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._entries: OrderedDict[bytes, Runs] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Runs | None:
        with self._lock:
            runs = self._entries.get(key)
            if runs is None:
                self.misses += 1
                return None
            self.hits += 1
            self._entries.move_to_end(key)
            return runs

    def put(self, key: bytes, runs: Runs) -> None:
        """Keep ``runs``, and forget what was not used for the longest time when it gets too much."""
        with self._lock:
            self._forget(key)
            self._entries[key] = runs
            self.bytes += _size(runs)
            while self.bytes > self._limit_bytes and self._entries:
                self._forget(next(iter(self._entries)))

    def remove(self, key: bytes) -> None:
        """Forget the runs of a block that is gone."""
        with self._lock:
            self._forget(key)

    def _forget(self, key: bytes) -> None:
        runs = self._entries.pop(key, None)
        if runs is not None:
            self.bytes -= _size(runs)


def _size(runs: Runs) -> int:
    return runs[0].nbytes + runs[1].nbytes + _OVERHEAD_BYTES
