"""Bounded caches of what was decoded of blocks, least recently used first out."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from tsdb.storage.codec import StoredColumn
from tsdb.storage.hot import HotColumn

Runs = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]
V = TypeVar("V")

# The dictionary's entry, the key and two array objects.
_OVERHEAD_BYTES = 512
# How often an encoded column was found again before it is decoded for good: while there is room, and when others
# would have to go for it.
FOUND_MIN = 1
FOUND_MIN_FULL = 4


class BoundedCache(Generic[V]):
    """Values by key, at most ``limit_bytes`` of them by what ``size`` says. Safe for many threads."""

    def __init__(self, limit_bytes: int, size: Callable[[V], int]) -> None:
        self._limit_bytes = limit_bytes
        self._size = size
        self._entries: OrderedDict[Hashable, V] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        # How often it has let go of something.
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> V | None:
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                self.misses += 1
                return None
            self.hits += 1
            self._entries.move_to_end(key)
            return found

    def get_many(self, keys: Sequence[Hashable]) -> list[V | None]:
        """As ``get``, in one step."""
        entries = self._entries
        with self._lock:
            found = [entries.get(key) for key in keys]
            for key, value in zip(keys, found, strict=True):
                if value is not None:
                    entries.move_to_end(key)
        return found

    def put(self, key: Hashable, value: V) -> None:
        """Keep ``value``, and forget what was not used for the longest time when it gets too much."""
        with self._lock:
            self._forget(key)
            self._entries[key] = value
            self.bytes += self._size(value)
            while self.bytes > self._limit_bytes and self._entries:
                self._forget(next(iter(self._entries)))

    def remove(self, key: Hashable) -> None:
        """Forget what belongs to a block that is gone."""
        with self._lock:
            self._forget(key)

    def _forget(self, key: Hashable) -> None:
        value = self._entries.pop(key, None)
        if value is not None:
            self.bytes -= self._size(value)
            self.forgotten += 1


class HotColumns(BoundedCache[HotColumn]):
    """(series, block id, column) → the column, decoded: what is read again and again."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes, lambda column: column.nbytes + _OVERHEAD_BYTES)

    @property
    def has_room(self) -> bool:
        """Whether nothing has to go for one more."""
        return self.bytes < self._limit_bytes * 7 // 8

    def admits(self, found: int) -> bool:
        """Is a column that was found again so often worth a place?"""
        return self._limit_bytes > 0 and found >= (FOUND_MIN if self.has_room else FOUND_MIN_FULL)


class ColumnsCache(BoundedCache[StoredColumn]):
    """(series, block id, column) → the column, read and checked, as it is encoded: what dashboards ask for again."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes, lambda column: column.nbytes + _OVERHEAD_BYTES)


class RunsCache(BoundedCache[Runs]):
    """Key in ``runs`` → (tag set ids, offsets). ``columns`` and ``hot`` are the caches beside it."""

    def __init__(self, limit_bytes: int, columns_bytes: int = 0, hot_bytes: int = 0) -> None:
        self.columns = ColumnsCache(columns_bytes)
        self.hot = HotColumns(hot_bytes)
        super().__init__(limit_bytes, lambda runs: runs[0].nbytes + runs[1].nbytes + _OVERHEAD_BYTES)
