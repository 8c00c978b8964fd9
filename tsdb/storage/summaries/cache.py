"""Bounded caches of summaries' checked payloads, what was not used for the longest time first out: of single blocks,
and of many that are read together again and again, joined.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from tsdb.storage.cache import BoundedCache
from tsdb.storage.summaries.encode import LAYOUT
from tsdb.storage.summaries.packed import Joined

# The dictionary's entry and the object.
_OVERHEAD_BYTES = 150
# A block's own dictionary and its key.
_BLOCK_BYTES = 400
# A block's id in a key.
_ID_BYTES = 8

BlockKey = tuple[int, int]
Together = tuple[Joined, npt.NDArray[np.bool_] | None]


def _size(together: Together) -> int:
    joined, have = together
    return joined.nbytes + _BLOCK_BYTES + _ID_BYTES * (len(joined.cells) if have is None else len(have))


class SummaryCache:
    """(series, block id) → payloads by column; beside them ``together``: (series, column, block ids) → those payloads
    joined, and which of the blocks have one (None: all). At most ``limit_bytes``, half for each. Safe for many threads.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes // 2
        self.together: BoundedCache[Together] = BoundedCache(limit_bytes // 2, _size)
        self._entries: OrderedDict[BlockKey, dict[int, bytes]] = OrderedDict()
        self._lock = threading.Lock()
        self._bytes = 0

    @property
    def nbytes(self) -> int:
        return self._bytes + self.together.bytes

    def __len__(self) -> int:
        return len(self._entries)

    def get_many(self, blocks: Sequence[BlockKey], column: int) -> list[bytes | None]:
        entries = self._entries
        with self._lock:
            found = [None if (entry := entries.get(block)) is None else entry.get(column) for block in blocks]
            if column == LAYOUT:
                # Whoever reads anything of a block reads its layout first.
                for block, payload in zip(blocks, found, strict=True):
                    if payload is not None:
                        entries.move_to_end(block)
        return found

    def put_many(self, column: int, payloads: Iterable[tuple[BlockKey, bytes]]) -> None:
        """Keep payloads, and forget the blocks that were not used for the longest time when it gets too much."""
        with self._lock:
            for block, payload in payloads:
                entry = self._entries.get(block)
                if entry is None:
                    entry = self._entries[block] = {}
                    self._bytes += _BLOCK_BYTES
                if column not in entry:
                    entry[column] = payload
                    self._bytes += len(payload) + _OVERHEAD_BYTES
            while self._bytes > self._limit_bytes and self._entries:
                _, entry = self._entries.popitem(last=False)
                self._bytes -= _BLOCK_BYTES + sum(len(payload) + _OVERHEAD_BYTES for payload in entry.values())
