"""A bounded cache of summaries' checked payloads, least recently used blocks first out."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from tsdb.storage.summaries.encode import LAYOUT

# The dictionary's entry and the object.
_OVERHEAD_BYTES = 150
# A block's own dictionary and its key.
_BLOCK_BYTES = 400

BlockKey = tuple[int, int]


class SummaryCache:
    """(series, block id) → payloads by column, at most ``limit_bytes`` of them. Safe for many threads."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._entries: OrderedDict[BlockKey, dict[int, bytes]] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0

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
                    self.bytes += _BLOCK_BYTES
                if column not in entry:
                    entry[column] = payload
                    self.bytes += len(payload) + _OVERHEAD_BYTES
            while self.bytes > self._limit_bytes and self._entries:
                _, entry = self._entries.popitem(last=False)
                self.bytes -= _BLOCK_BYTES + sum(len(payload) + _OVERHEAD_BYTES for payload in entry.values())
