"""Of row ranges in the order of time, the ends that hold the newest or the oldest rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsdb.kernels import kernel
from tsdb.storage.selection import Selection

Int64s = npt.NDArray[np.int64]

_NS_PER_US = 1_000


@kernel
def _cut_starts(starts: Int64s, stops: Int64s, times: Int64s, rows: int, keyed: bool) -> None:
    for i in range(len(starts)):
        at, kept = stops[i], 0
        while at > starts[i]:
            if kept >= rows and times[at - 1] // _NS_PER_US != times[at] // _NS_PER_US:
                break
            if not keyed or at == stops[i] or times[at - 1] != times[at]:
                kept += 1
            at -= 1
        starts[i] = at


@kernel
def _cut_stops(starts: Int64s, stops: Int64s, times: Int64s, rows: int, keyed: bool) -> None:
    for i in range(len(starts)):
        at, kept = starts[i], 0
        while at < stops[i]:
            if kept >= rows and times[at] // _NS_PER_US != times[at - 1] // _NS_PER_US:
                break
            if not keyed or at == starts[i] or times[at] != times[at - 1]:
                kept += 1
            at += 1
        stops[i] = at


def ends(selection: Selection, times: Int64s, rows: int, *, oldest: bool, keyed: bool) -> Selection:
    """The end of each range with its ``rows`` newest (oldest) rows and all as new as the last of them, by µs.

    ``keyed``: rows of a range with one time are versions of one row.
    """
    starts, stops = selection.starts.copy(), selection.stops.copy()
    (_cut_stops if oldest else _cut_starts)(starts, stops, times, rows, keyed)
    return Selection(starts, stops, selection.tagsets, int((stops - starts).sum()))


@kernel
def choose_first(
    group: Int64s, rank: Int64s, tagset: npt.NDArray[np.int32], times: Int64s, keyed: bool, ties: bool, best: Int64s,
    worst: Int64s, kept: npt.NDArray[np.bool_],
) -> None:  # fmt: skip
    """``choose`` for one row of each group, of rows in any order. ``best`` is −1 for each group and becomes the place
    of its first row."""
    for i in range(len(group)):
        b = best[group[i]]
        if (
            b < 0
            or rank[i] < rank[b]
            or (rank[i] == rank[b] and (tagset[i] < tagset[b] or (tagset[i] == tagset[b] and times[i] < times[b])))
        ):
            best[group[i]] = i
    for i in range(len(group)):
        b = best[group[i]]
        is_version = keyed and tagset[i] == tagset[b] and times[i] == times[b]
        kept[i] = i == b or is_version or (ties and rank[i] == rank[b])
        worst[group[i]] = rank[b]


@kernel
def choose(
    group: Int64s, rank: Int64s, tagset: npt.NDArray[np.int32], times: Int64s, rows: int, keyed: bool, ties: bool,
    worst: Int64s, kept: npt.NDArray[np.bool_],
) -> None:  # fmt: skip
    """Of rows sorted by (group, rank, tag set, time) keep each group's first ``rows``, with ties if wanted.

    ``worst`` becomes the rank of each group's last row that counts, where it has so many. Versions of one key count as
    one row and are kept together.
    """
    count = 0
    for i in range(len(group)):
        if i == 0 or group[i] != group[i - 1]:
            count = 0
        elif keyed and tagset[i] == tagset[i - 1] and times[i] == times[i - 1]:
            kept[i] = kept[i - 1]
            continue
        if count < rows or (ties and rank[i] == worst[group[i]]):
            kept[i] = True
        count += 1
        if count == rows:
            worst[group[i]] = rank[i]
