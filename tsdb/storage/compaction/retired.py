"""Retired blocks: the newest version has them no more, an older one that somebody reads may.

Their values are deleted when the last moment from before goes; a record in ``state`` says what to delete after a crash.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tsdb.storage import keys, state
from tsdb.storage.block import BlockHeader, delete_values
from tsdb.storage.cache import RunsCache
from tsdb.storage.moments import Moments
from tsdb.storage.rocks import Batch, Rocks

FAMILIES = ("columns", "runs", "summaries", "blocks")
# RocksDB learns of deletions, and gives their space back, when they are in files.
FLUSH_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class _Entry:
    number: int
    version: int
    headers: Sequence[BlockHeader]


class RetiredBlocks:
    """``put`` and ``add`` are called by the committer's thread, all else by the compactor's."""

    def __init__(self, rocks: Rocks, cache: RunsCache, moments: Moments) -> None:
        self._rocks = rocks
        self._cache = cache
        self._moments = moments
        self._waiting: deque[_Entry] = deque()
        self._count = 0
        self._unflushed = 0

    @property
    def bytes(self) -> int:
        """What still waits."""
        return sum(header.value_bytes for entry in list(self._waiting) for header in entry.headers)

    def put(self, batch: Batch, headers: Sequence[BlockHeader]) -> None:
        """Delete the headers; the values wait. ``add`` follows when the batch is durable."""
        for header in headers:
            batch.delete("blocks", header.key)
        self._count += 1
        state.put_retired(batch, self._count, headers)

    def add(self, version: int, headers: Sequence[BlockHeader]) -> None:
        """``version`` is the first one without them."""
        self._waiting.append(_Entry(self._count, version, headers))

    def delete(self) -> int:
        """Delete the values that nobody can read any more; returns how many bytes. Raises FatalStorageError."""
        deleted = 0
        while self._waiting:
            oldest = self._moments.oldest()
            entry = self._waiting[0]
            if oldest is not None and oldest < entry.version:
                break
            batch = self._rocks.batch()
            for header in entry.headers:
                delete_values(batch, header)
                self._cache.remove(keys.runs_key(header.series, header.block_id))
                deleted += header.value_bytes
            state.delete_retired(batch, entry.number)
            self._rocks.write(batch, sync=False)
            self._waiting.popleft()
        self._unflushed += deleted
        if self._unflushed >= FLUSH_BYTES:
            self.flush()
        return deleted

    def flush(self, least: int = 1, families: Iterable[str] = FAMILIES) -> None:
        """Tell RocksDB's own compaction what was deleted, if that is ``least`` bytes."""
        if self._unflushed >= least:
            self._unflushed = 0
            self._rocks.flush(families)
