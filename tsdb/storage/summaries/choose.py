"""Which cells may stand for their points: pure kernels over the layouts of many blocks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsdb.kernels import kernel

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

NOT_WANTED, USABLE, READ, CUT = 0, 1, 2, 3


def judge(
    layout: Int64s, low: int, high: int, wanted: Mask | None, width: int | None, origin: int, *, cuts: bool = False
) -> npt.NDArray[np.int8]:
    """For each cell of int64[4, cells] layouts: NOT_WANTED if none of its rows is in [low, high) or its tag set is not
    wanted, USABLE if all rows are wanted and lie in one bucket, else READ. With ``cuts`` CUT if that holds for its part
    in [low, high), and most of its time is there: then it may be used less the rows outside."""
    found = np.empty(layout.shape[1], np.int8)
    mask = np.ones(1, np.bool_) if wanted is None else wanted
    step = 0 if width is None else width
    _judge(layout, low, high, mask, wanted is None, step, origin % step if step else 0, cuts, found)
    return found


@kernel
def _bucket(time: int, width: int, origin: int) -> int:
    """0 <= origin < width: nothing overflows, whatever the time."""
    number = time // width
    return number - 1 if time - number * width < origin else number


@kernel
def _judge(
    layout: Int64s, low: int, high: int, wanted: Mask, all_wanted: bool, width: int, origin: int, cuts: bool,
    found: npt.NDArray[np.int8],
) -> None:  # fmt: skip
    tagset, first, last = layout[0], layout[2], layout[3]
    for i in range(len(found)):
        # An id beyond the mask is newer than the view.
        if first[i] >= high or last[i] < low or not (all_wanted or (tagset[i] < len(wanted) and wanted[tagset[i]])):
            found[i] = 0
            continue
        begin, end = max(first[i], low), min(last[i], high - 1)
        outside = begin - first[i] + last[i] - end
        if width != 0 and _bucket(begin, width, origin) != _bucket(end, width, origin):
            found[i] = 2
        elif outside == 0:
            found[i] = 1
        else:
            found[i] = 3 if cuts and outside <= (last[i] - first[i]) // 2 else 2


def clashes(tagset: Int64s, first: Int64s, last: Int64s) -> Mask:
    """Which stretches of time share a moment with another of the same tag set."""
    order = np.lexsort((first, tagset))
    out = np.zeros(len(tagset), np.bool_)
    _clash(tagset[order], first[order], last[order], order, out)
    return out


@kernel
def _clash(tagset: Int64s, first: Int64s, last: Int64s, order: Int64s, out: Mask) -> None:
    count = len(tagset)
    latest = np.int64(0)
    for i in range(count):
        if i == 0 or tagset[i] != tagset[i - 1]:
            latest = last[i]
            continue
        if first[i] <= latest:
            out[order[i]] = True
        latest = max(latest, last[i])
    # A stretch that others begin in: the next one of its tag set is the first that may.
    for i in range(count - 1):
        if tagset[i + 1] == tagset[i] and first[i + 1] <= last[i]:
            out[order[i]] = True
