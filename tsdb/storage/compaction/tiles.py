"""Tiles: what a merge holds in memory at once. A pure function of where the rows of its blocks lie.

A tile is a range of tag sets, or of one tag set's times where that alone is too much. However large the blocks of a
task are together, they pass through memory tile by tile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tsdb.model.time import NS_MAX, NS_MIN


@dataclass(frozen=True, slots=True)
class Lying:
    """Where a block's rows lie: ``counts[i]`` rows of the tag set ``ids[i]``. A row takes ``weight`` of a new block."""

    ids: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]
    min_time: int
    weight: float


@dataclass(frozen=True, slots=True)
class Tile:
    """The rows of tag sets [low, high) with times in [low_time, high_time) ns."""

    low: int
    high: int
    low_time: int = NS_MIN
    high_time: int = NS_MAX


def tiles(blocks: Sequence[Lying], together: int) -> Iterator[Tile]:
    """Tiles in the order of rows, of what makes ``together`` new blocks; each row of the blocks is in exactly one.

    Rows of one tag set are cut where a block begins: a tile may be too large by the blocks that overlap there.
    """
    low = high = count = 0
    for first, last, load in _new_blocks(blocks):
        if count and (count == together or load > 1):
            yield Tile(low, high)
            count = 0
        if load > 1:
            yield from _cut_by_time(blocks, first, together)
            continue
        low, high, count = (low if count else first), last, count + 1
    if count:
        yield Tile(low, high)


def _new_blocks(blocks: Sequence[Lying]) -> Iterator[tuple[int, int, float]]:
    """(low, high, load): tag sets [low, high) that make about one block, or one that makes more."""
    ids = np.concatenate([block.ids for block in blocks])
    loads = np.concatenate([block.counts * block.weight for block in blocks])
    distinct, inverse = np.unique(ids, return_inverse=True)
    load = np.bincount(inverse, loads)
    ends = np.cumsum(load)
    at, done = 0, 0.0
    while at < len(distinct):
        # A hair more: a block's worth of rows has to be found though parts of it do not add up to 1 exactly.
        stop = max(at + 1, int(np.searchsorted(ends, done + 1 + 1e-9, side="right")))
        yield int(distinct[at]), int(distinct[stop - 1]) + 1, float(load[at]) if stop == at + 1 else 1.0
        done, at = float(ends[stop - 1]), stop


def _cut_by_time(blocks: Sequence[Lying], tagset: int, together: int) -> Iterator[Tile]:
    found: list[tuple[int, float]] = []
    for block in blocks:
        place = int(np.searchsorted(block.ids, tagset))
        if place < len(block.ids) and int(block.ids[place]) == tagset:
            found.append((block.min_time, float(block.counts[place]) * block.weight))
    cuts = [NS_MIN]
    load = 0.0
    for begin, more in sorted(found):
        if load >= together and begin > cuts[-1]:
            cuts.append(begin)
            load = 0.0
        load += more
    for low, high in pairwise([*cuts, NS_MAX]):
        yield Tile(tagset, tagset + 1, low, high)
