"""What changed in a series since a counter: the times of versions that came since, and of what was deleted since.

A continuous view knows up to which counter of its source its buckets are right; everything after it shows here, as it
is in heads and blocks, in tombstones, and, for tombstones that were carried out and forgotten, in *erasures*. So there
is no record of dirty buckets that a crash could leave behind the data.

Erasures are kept, durably and bounded, for sources of continuous views alone, and only while one of them has not seen
them.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from threading import Lock

import numpy as np
import numpy.typing as npt

from tsdb.model.ring import Intervals
from tsdb.model.store import TimeRange
from tsdb.model.time import NS_MAX, NS_MIN, clamp_ns
from tsdb.storage.block import SEQUENCE_COLUMN, TIME_COLUMN, BlockHeader, BlockReader
from tsdb.storage.cache import RunsCache
from tsdb.storage.head import Run
from tsdb.storage.rocks import Rocks
from tsdb.storage.rows import COUNTER_MASK
from tsdb.storage.tombstone import AnyTombstone, Erasure, KeyTombstone
from tsdb.storage.version import Version

Int64s = npt.NDArray[np.int64]

ERASURES_MAX = 256
KNOWN_BLOCKS = 65_536
# Keys of a tombstone are kept as ranges of so many ns.
_ERASURE_QUANTUM_NS = 300 * 10**9


class KnownChanges:
    """What was found in blocks, which never change: (block, counter, quantum) → quanta. Safe for many threads."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[int, int, int], Int64s] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[int, int, int]) -> Int64s | None:
        with self._lock:
            found = self._found.get(key)
            if found is not None:
                self._found.move_to_end(key)
            return found

    def put(self, key: tuple[int, int, int], quanta: Int64s) -> None:
        with self._lock:
            self._found[key] = quanta
            while len(self._found) > KNOWN_BLOCKS:
                self._found.popitem(last=False)


class ChangesReader:
    """Looks for changes in a version of the data."""

    def __init__(self, version: Version, rocks: Rocks, cache: RunsCache, known: KnownChanges) -> None:
        self._version = version
        self._rocks = rocks
        self._cache = cache
        self._known = known

    def changes(
        self, series: int, since: int, span: TimeRange, quantum_ns: int, ring: Intervals | None = None
    ) -> list[tuple[int, int]]:
        """See ``tsdb.model.store.View.changes``; the bounds may lie outside of ``span``. What took everything, as masks
        do, counts in the intervals of the ``ring``; else all that is here, whatever slots gave it its place."""
        if span.empty:
            return []
        quanta = [*self._in_blocks(series, since, span, quantum_ns), *self._in_runs(series, since, span, quantum_ns)]
        ranges = _ranges(quanta, quantum_ns)
        for stone in self._version.tombstones.get(series, ()):
            if stone.counter & COUNTER_MASK > since:
                ranges += (
                    found for found in _of_stone(stone, quantum_ns) if _counts(ring, *found, stone.low, stone.high)
                )
        erasures = self._version.erased.get(series, ())
        ranges += [
            (each.low, each.high)
            for each in erasures
            if each.counter > since and _counts(ring, each.low, each.high, each.ring_low, each.ring_high)
        ]
        return [(low, high) for low, high in ranges if low < span.high and high > span.low]

    def _in_blocks(self, series: int, since: int, span: TimeRange, quantum_ns: int) -> Iterable[Int64s]:
        blocks = self._version.blocks.get(series)
        for header in blocks.headers if blocks is not None else ():
            if header.high_counter > since and header.min_time < span.high and header.max_time >= span.low:
                yield self._in_block(header, since, quantum_ns)

    def _in_block(self, header: BlockHeader, since: int, quantum_ns: int) -> Int64s:
        if header.low_counter > since and header.min_time // quantum_ns == header.max_time // quantum_ns:
            return np.array([header.min_time // quantum_ns], np.int64)
        key = (header.block_id, since, quantum_ns)
        found = self._known.get(key)
        if found is None:
            stored = BlockReader(self._rocks, header, self._cache).stored((TIME_COLUMN, SEQUENCE_COLUMN))
            times, sequences = stored[TIME_COLUMN].integers(), stored[SEQUENCE_COLUMN].integers()
            found = _newer(times, sequences, since, quantum_ns)
            self._known.put(key, found)
        return found

    def _in_runs(self, series: int, since: int, span: TimeRange, quantum_ns: int) -> Iterable[Int64s]:
        for run in self._version.runs(series):
            if run.max_counter > since and run.min_time < span.high and run.max_time >= span.low:
                yield _of_run(run, since, span, quantum_ns)


def _counts(ring: Intervals | None, begin: int, end: int, low: int, high: int) -> bool:
    """Whether what was deleted in times [begin, end) and the interval [low, high) is asked for."""
    if ring is None or (begin, end) != (NS_MIN, NS_MAX):
        return True
    return any(low < last and first < high for first, last in ring)


def _of_run(run: Run, since: int, span: TimeRange, quantum_ns: int) -> Int64s:
    times, sequences = run.rows.times, run.rows.sequences
    if run.max_time >= span.high or run.min_time < span.low:
        # Most points of a head lie beyond what is stored.
        inside = np.flatnonzero((times < span.high) & (times >= span.low))
        times, sequences = times[inside], sequences[inside]
    return _newer(times, sequences, since, quantum_ns)


def _newer(times: Int64s, sequences: Int64s, since: int, quantum_ns: int) -> Int64s:
    newer = times[(sequences & COUNTER_MASK) > since]
    return np.unique(np.floor_divide(newer, quantum_ns))


def _ranges(quanta: Sequence[Int64s], quantum_ns: int) -> list[tuple[int, int]]:
    """Quanta as ranges of ns, neighbours joined."""
    if not quanta:
        return []
    every = np.unique(np.concatenate(quanta))
    if not len(every):
        return []
    breaks = np.flatnonzero(np.diff(every) > 1)
    firsts, lasts = every[np.concatenate(([0], breaks + 1))], every[np.concatenate((breaks, [len(every) - 1]))]
    return [
        (clamp_ns(first * quantum_ns), clamp_ns((last + 1) * quantum_ns))
        for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)
    ]


def _of_stone(stone: AnyTombstone, quantum_ns: int) -> list[tuple[int, int]]:
    if isinstance(stone, KeyTombstone):
        return _ranges([np.floor_divide(stone.times, quantum_ns)], quantum_ns)
    return [(stone.range_low, stone.range_high)]


def with_erased(kept: Sequence[Erasure], stones: Iterable[AnyTombstone], seen: int) -> tuple[Erasure, ...]:
    """Erasures after tombstones were forgotten, without those that all views have ``seen``: at most ERASURES_MAX."""
    every = [each for each in kept if each.counter > seen]
    for stone in stones:
        counter = stone.counter & COUNTER_MASK
        if counter > seen:
            every += _erasures(stone, counter)
    return _bounded(_joined(every))


def _erasures(stone: AnyTombstone, counter: int) -> Iterator[Erasure]:
    """Where in the ring is kept of what took everything there: a mask, most of all, is of a few locations that left."""
    for low, high in _of_stone(stone, _ERASURE_QUANTUM_NS):
        if (low, high) == (NS_MIN, NS_MAX):
            yield Erasure(low, high, counter, stone.low, stone.high)
        else:
            yield Erasure(low, high, counter)


def _joined(every: Iterable[Erasure]) -> list[Erasure]:
    """Those of equal range are one: a DELETE has a tombstone in each location."""
    newest: dict[tuple[int, int, int, int], int] = {}
    for low, high, counter, *ring in every:
        key = (low, high, ring[0], ring[1])
        newest[key] = max(counter, newest.get(key, 0))
    return [Erasure(low, high, counter, *ring) for (low, high, *ring), counter in sorted(newest.items())]


def _bounded(every: list[Erasure]) -> tuple[Erasure, ...]:
    """The nearest neighbours become one, and with it too much, until there are few enough."""
    if len(every) <= ERASURES_MAX:
        return tuple(every)
    gaps = np.array([after.low - before.high for before, after in itertools.pairwise(every)], np.float64)
    joins = set(np.argsort(gaps, kind="stable")[: len(every) - ERASURES_MAX].tolist())
    made = [every[0]]
    for at, each in enumerate(every[1:]):
        if at in joins:
            last = made[-1]
            made[-1] = Erasure(
                last.low, max(last.high, each.high), max(last.counter, each.counter),
                min(last.ring_low, each.ring_low), max(last.ring_high, each.ring_high),
            )  # fmt: skip
        else:
            made.append(each)
    return tuple(made)
