"""Writing blocks: what flush and compaction have in common, and the one place where rows become blocks on disk.

Sorted rows of one series are cut into *new blocks*, which have a number and no bytes yet; they are encoded, a few at a
time in parallel threads; their values (all but the header) go to disk in unsynced batches of bounded size. The headers
are the caller's to keep, until a synced batch of the committer makes them visible.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace

import numpy as np

from tsdb.storage.block import EncodedBlock, cut_rows, encode_block
from tsdb.storage.merge import cut
from tsdb.storage.rocks import Batch, Rocks
from tsdb.storage.rows import Rows
from tsdb.storage.selection import Selection

INLINE_ROWS = 16
TASK_ROWS = 8192
# Of one column of a block.
TEXT_BYTES_MAX = 8 << 20


class Values:
    """Unsynced writes of bounded size."""

    def __init__(self, rocks: Rocks, limit: int) -> None:
        self._rocks = rocks
        self._limit = limit
        self._batch = rocks.batch()

    @property
    def batch(self) -> Batch:
        """Where to put the next value."""
        if self._batch.size >= self._limit:
            self.write()
        return self._batch

    def write(self) -> None:
        if len(self._batch):
            self._rocks.write(self._batch, sync=False)
            self._batch = self._rocks.batch()


@dataclass(frozen=True, slots=True)
class NewBlock:
    """A block that is not encoded yet. ``rows`` are sorted by (tag set, time, version)."""

    series: int
    window: int
    number: int
    rows: Rows

    def encode(self, check: Callable[[], None]) -> EncodedBlock:
        return encode_block(self.series, self.window, self.number, self.rows, check)


def new_blocks(series: int, window: int, rows: Rows, limit: int, next_block: Callable[[], int]) -> Iterator[NewBlock]:
    """The blocks of sorted rows of one window, each of at most ``limit`` rows."""
    pieces = cut_rows(rows, limit)
    if len(pieces) > 1:
        # Each column is made once and not once for each piece.
        rows = replace(rows, columns=dict(rows.columns))
    for piece in pieces:
        part = rows if len(pieces) == 1 else cut(rows, piece.start, piece.stop)
        yield NewBlock(series, window, next_block(), part)


def rows_of_block(rows: int, text_bytes: int, limit: int) -> int:
    """How many rows a block has: fewer where a text is long, since a query decodes a block's column at once.

    ``text_bytes`` is what the longest text column takes in ``rows`` rows.
    """
    return max(1, min(limit, TEXT_BYTES_MAX * rows // max(1, text_bytes)))


def tagset_ranges(selections: Sequence[Selection], limit: int) -> list[tuple[int, int]]:
    """Ranges [low, high) of tag set ids with at most ``limit`` rows each, or of one tag set: a block's worth of rows.

    So a window is never copied as a whole, however many points fall into it.
    """
    ids = np.concatenate([selection.tagsets for selection in selections])
    rows = np.concatenate([selection.stops - selection.starts for selection in selections])
    distinct, inverse = np.unique(ids, return_inverse=True)
    ends = np.cumsum(np.bincount(inverse, rows).astype(np.int64))
    ranges: list[tuple[int, int]] = []
    at = done = 0
    while at < len(distinct):
        stop = max(at + 1, int(np.searchsorted(ends, done + limit, side="right")))
        ranges.append((int(distinct[at]), int(distinct[stop - 1]) + 1))
        done, at = int(ends[stop - 1]), stop
    return ranges


def encode_blocks(
    blocks: Iterator[NewBlock], pool: Executor, threads: int, check: Callable[[], None]
) -> Iterator[EncodedBlock]:
    """Encode with a few tasks in flight: memory is bounded by them. Blocks may leave in another order.

    A task takes some milliseconds: several blocks where they are small. The smallest are encoded here, since what they
    take is the interpreter's time, which threads share. ``check`` is called again and again; what it raises ends it.
    """
    flying: deque[Future[list[EncodedBlock]]] = deque()
    task: list[NewBlock] = []
    rows = 0
    for block in blocks:
        if len(block.rows) <= INLINE_ROWS:
            yield block.encode(check)
            continue
        task.append(block)
        rows += len(block.rows)
        if rows >= TASK_ROWS:
            flying.append(pool.submit(_encode_all, task, check))
            task, rows = [], 0
        if len(flying) > threads:
            yield from flying.popleft().result()
    yield from _encode_all(task, check)
    while flying:
        yield from flying.popleft().result()


def _encode_all(blocks: Sequence[NewBlock], check: Callable[[], None]) -> list[EncodedBlock]:
    return [block.encode(check) for block in blocks]
