"""A version of a node's data: what a query reads from its first scan to its last.

Immutable; the committer publishes the next one by one assignment, after its batch is durable. Readers hold a
reference: nothing that an open version names is deleted.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tsdb.model.continuous import Progress
from tsdb.model.schema import Catalog
from tsdb.storage.block import BlockHeader
from tsdb.storage.head import Runs
from tsdb.storage.log import LogPosition
from tsdb.storage.tagsets import TagSets
from tsdb.storage.tombstone import AnyTombstone, Erasure

# The version of tombstones that were loaded at the start is 0.
NOT_JUDGED = -1


@dataclass(frozen=True)
class SeriesBlocks:
    """The index of one series' blocks: their headers, and what pruning asks of all of them as arrays.

    ``judged`` says of each block in which version of the data it was written or looked through: no row of it is hidden
    by a tombstone that was there. It is NOT_JUDGED after a start.
    """

    headers: tuple[BlockHeader, ...] = ()
    judged: tuple[int, ...] = ()

    @cached_property
    def min_time(self) -> npt.NDArray[np.int64]:
        return np.array([header.min_time for header in self.headers], np.int64)

    @cached_property
    def max_time(self) -> npt.NDArray[np.int64]:
        return np.array([header.max_time for header in self.headers], np.int64)

    @cached_property
    def min_tagset(self) -> npt.NDArray[np.int64]:
        return np.array([header.min_tagset for header in self.headers], np.int64)

    @cached_property
    def max_tagset(self) -> npt.NDArray[np.int64]:
        return np.array([header.max_tagset for header in self.headers], np.int64)

    @cached_property
    def low_counter(self) -> npt.NDArray[np.int64]:
        return np.array([header.low_counter for header in self.headers], np.int64)

    @cached_property
    def judged_in(self) -> npt.NDArray[np.int64]:
        return np.array(self.judged, np.int64)

    @cached_property
    def ids(self) -> frozenset[int]:
        return frozenset(header.block_id for header in self.headers)

    def with_added(self, headers: Iterable[BlockHeader], judged: int = NOT_JUDGED) -> SeriesBlocks:
        """With blocks that were written in version ``judged``."""
        return _in_order([*zip(self.headers, self.judged, strict=True), *((header, judged) for header in headers)])

    def without(self, ids: Container[int]) -> SeriesBlocks:
        return _in_order([each for each in zip(self.headers, self.judged, strict=True) if each[0].block_id not in ids])

    def with_judged(self, ids: Container[int], judged: int) -> SeriesBlocks:
        """As it is; the blocks ``ids`` were looked through in version ``judged``."""
        looked = zip(self.headers, self.judged, strict=True)
        return SeriesBlocks(self.headers, tuple(judged if h.block_id in ids else before for h, before in looked))


def _in_order(blocks: Iterable[tuple[BlockHeader, int]]) -> SeriesBlocks:
    ordered = sorted(blocks, key=lambda each: (each[0].window, each[0].block_id))
    return SeriesBlocks(tuple(header for header, _ in ordered), tuple(judged for _, judged in ordered))


@dataclass(frozen=True, slots=True)
class FrozenHead:
    """A head that takes no more points, on its way to blocks, with everything as it was at the moment of freezing.

    ``applied``: the positions of the logs whose ops it ends with; ``producers``: the encoded producers that changed
    since the head before; ``tombstones``: all there were; ``moments``: the counters of the moments that were held,
    across which its versions are not merged.
    """

    number: int
    series: Mapping[int, Runs]
    applied: Mapping[int, LogPosition]
    producers: Mapping[str, bytes]
    tombstones: Mapping[int, tuple[AnyTombstone, ...]]
    moments: tuple[int, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class Version:
    """All of a node's data at one moment, by series number. It has all versions of points up to ``counter``."""

    number: int = 0
    counter: int = 0
    catalog: Catalog = field(default_factory=Catalog)
    blocks: Mapping[int, SeriesBlocks] = field(default_factory=dict)
    live: Mapping[int, Runs] = field(default_factory=dict)
    frozen: tuple[FrozenHead, ...] = ()
    tombstones: Mapping[int, tuple[AnyTombstone, ...]] = field(default_factory=dict)
    tagsets: Mapping[int, TagSets] = field(default_factory=dict)
    progress: Mapping[int, Progress] = field(default_factory=dict)
    erased: Mapping[int, tuple[Erasure, ...]] = field(default_factory=dict)

    def runs(self, series: int) -> Runs:
        """The runs of all heads, oldest first."""
        runs = [run for head in self.frozen for run in head.series.get(series, ())]
        return (*runs, *self.live.get(series, ()))
