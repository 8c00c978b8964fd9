"""Forgetting tag sets of which no row is left: hosts that were deleted, containers that retention has outlived.

The compactor's thread looks where tag sets are used: in the layouts of all blocks and in heads. It makes an index of
those that are, which is what takes long, and the committer's thread puts it in the place of the old one, unless a write
or a flush has brought one of the others back meanwhile. Their records go durably before anybody can be given the same
tag set under a new id: two ids never stand for one. Views that are open keep the tag sets they have.

Ids that were forgotten are not given again by this process; after a start some may be, when nothing refers to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial

import numpy as np
import numpy.typing as npt

from tsdb.storage import keys
from tsdb.storage.block import BlockReader
from tsdb.storage.rocks import Batch
from tsdb.storage.shard import Shard
from tsdb.storage.tagsets import TagSetIndex
from tsdb.storage.version import SeriesBlocks, Version

Mask = npt.NDArray[np.bool_]

# Their records are deleted by one batch, while writers wait.
RANGES_MAX = 50_000
# A look at a series in the background comes so many seconds after the last at the earliest; and as long as tombstones
# wait to be carried out, for what others have hidden, so many.
PAUSE_SECONDS = 60.0
PENDING_SECONDS = 600.0
# So often is tried again what a write has crossed.
TRIES = 3

# What changes when rows of a series go: retention's floor, its last DELETE, whether one is still to be carried out.
_Gone = tuple[int | None, int, bool]


class Forgetting:
    """Belongs to the compactor's thread; ``call`` runs a function in the committer's, ``check`` is asked to go on."""

    def __init__(
        self, shard: Shard, call: Callable[[Callable[[], bool]], Future[bool]], check: Callable[[], None]
    ) -> None:
        self._shard = shard
        self._call = call
        self._check = check
        # By series: what rows had gone when it was looked at last, and when that was.
        self._looked: dict[int, tuple[_Gone, float]] = {}
        self._started: float | None = None

    def due(self, now: float) -> list[int]:
        """Series of which rows have gone since they were looked at, or since the start, as far as that may show in tag
        sets; ``now`` is of a monotonic clock."""
        version = self._shard.version
        self._started = now if self._started is None else self._started
        self._looked = {number: each for number, each in self._looked.items() if number in version.tagsets}
        return [
            number
            for number, tagsets in version.tagsets.items()
            if tagsets.size > 1 and self._is_due(version, number, now, self._started)
        ]

    def _is_due(self, version: Version, series: int, now: float, started: float) -> bool:
        gone, at = self._looked.get(series, (None, None))
        if gone == _gone(self._shard, version, series):
            return False
        if version.tombstones.get(series):
            return now >= (started if at is None else at) + PENDING_SECONDS
        return at is None or now >= at + PAUSE_SECONDS

    def forget(self, series: int, now: float) -> int:
        """Forget the tag sets of a series that no row has. Returns how many. Raises what ``check`` raises."""
        self._looked[series] = _gone(self._shard, self._shard.version, series), now
        forgotten = tries = 0
        while tries < TRIES:
            version = self._shard.version
            gone = self._unused(version, series)
            batch = self._shard.rocks.batch()
            is_last = _delete_records(batch, series, gone)
            count = int(np.count_nonzero(gone))
            if not count:
                return forgotten
            index = TagSetIndex.without(version.tagsets[series], gone)
            self._check()
            if self._call(partial(_replace, self._shard, version, series, gone, index, batch)).result():
                forgotten += count
                if is_last:
                    return forgotten
            else:
                tries += 1
        return forgotten

    def _unused(self, version: Version, series: int) -> Mask:
        """Which durable tag sets of a version no block and no head has; bool[count]."""
        shard, tagsets, index = self._shard, version.tagsets.get(series), self._shard.indexes.get(series)
        if tagsets is None or index is None:
            return np.empty(0, np.bool_)
        unused = tagsets.present()
        # Those that are not on disk yet are in the hands of the flusher.
        unused[index.durable :] = False
        _use_heads(version, series, unused)
        for header in reversed(version.blocks.get(series, SeriesBlocks()).headers):
            if unused[header.min_tagset : header.max_tagset + 1].any():
                self._check()
                unused[BlockReader(shard.rocks, header, shard.cache).runs()[0]] = False
        return unused


def _gone(shard: Shard, version: Version, series: int) -> _Gone:
    found = version.catalog.series_by_number.get(series)
    return None if found is None else found[1].floor_ns, shard.deleted(series), bool(version.tombstones.get(series))


def _use_heads(version: Version, series: int, unused: Mask) -> None:
    for run in version.runs(series):
        ids = run.layout.ids
        unused[ids[: np.searchsorted(ids, len(unused))]] = False


def _replace(shard: Shard, looked: Version, series: int, gone: Mask, index: TagSetIndex, batch: Batch) -> bool:
    """In the committer's thread: forget what is ``gone``, unless that is in use again."""
    version, known = shard.version, shard.indexes.get(series)
    # Another index: the series was dropped, and perhaps made again.
    if known is None or version.tagsets.get(series) is None or series not in version.catalog.series_by_number:
        return False
    unused = gone.copy()
    _use_heads(version, series, unused)
    before = looked.blocks.get(series, SeriesBlocks()).ids
    for header in version.blocks.get(series, SeriesBlocks()).headers:
        if header.block_id not in before:
            unused[header.min_tagset : header.max_tagset + 1] = False
    if not np.array_equal(unused, gone):
        return False
    shard.write_durably(batch)
    index.follow(known)
    shard.indexes[series] = index
    shard.publish(tagsets={**version.tagsets, series: index.snapshot()})
    return True


def _delete_records(batch: Batch, series: int, gone: Mask) -> bool:
    """Delete the records of ids that are gone, ``RANGES_MAX`` ranges of them; the others are gone no more. All?"""
    edges = np.flatnonzero(np.diff(gone, prepend=False, append=False))
    ranges = list(_pairs(edges.tolist()))
    for low, high in ranges[:RANGES_MAX]:
        if high == low + 1:
            batch.delete("tagsets", keys.tagset_key(series, low))
        else:
            batch.delete_range("tagsets", keys.tagset_key(series, low), keys.tagset_key(series, high))
    if len(ranges) > RANGES_MAX:
        gone[ranges[RANGES_MAX][0] :] = False
        return False
    return True


def _pairs(edges: list[int]) -> Iterable[tuple[int, int]]:
    return zip(edges[::2], edges[1::2], strict=True)
