"""From a scan for an aggregate to its groups, if few rows of hot columns are all that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.model.schema import Column, Role
from tsdb.model.store import ScanRequest, ScanStatistics
from tsdb.model.summaries import CellRequest, Groups
from tsdb.storage.hot_groups import kernels
from tsdb.storage.hot_groups.lines import LinesTables
from tsdb.storage.hot_groups.operations import operations_of
from tsdb.storage.hot_groups.survey import HotInput, Surveyed, survey
from tsdb.storage.tagsets import ABSENT
from tsdb.types import Kind

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

# About as many values take as long as a look at summaries.
VALUES_MAX = 1 << 19
# Where not all buckets are wanted few cells can be used, and what is left is to read the rows.
VALUES_MAX_OF_SOME = 1 << 26
GROUPS_MAX = 1 << 16
TAGSETS_MAX = 1 << 16
# Times within these are so far apart at most that the difference of two fits into 64 bits.
_SAFE_NS = 1 << 62
_NO_IDS: Int32s = np.empty(0, np.int32)


def hot_groups(
    request: ScanRequest, source: HotInput, tables: LinesTables, statistics: ScanStatistics
) -> Groups | None:  # fmt: skip
    """None where the scan has to go on as any other."""
    wish = request.cells
    assert wish is not None
    numbers = tuple(wish.statistics)
    if not source.blocks.headers:
        return None
    ids = source.ids
    lines = tables.of(source.blocks, numbers, source.cache)
    operations = lines.operations.get(wish)
    if operations is None:
        operations = operations_of([request.series.by_number[number] for number in numbers], wish)
        lines.keep(wish, operations)
    if not operations.places and numbers:
        return None
    most = VALUES_MAX if source.buckets is None else VALUES_MAX_OF_SOME
    found = survey(source, lines, ids, most // max(1, len(numbers)))
    if found is None:
        return None
    span = _span(wish, found)
    grouped = None if span is None else _grouped(request, source, ids)
    if span is None or grouped is None or span.buckets * grouped.room > GROUPS_MAX:
        return None
    times = found.spans(source)
    if times is None:
        return None
    found.begin()
    out = np.empty((len(operations.start), span.buckets * grouped.room), np.int64)
    out[:] = operations.start[:, None]
    floats = out.view(np.float64)
    rows = 0
    for low, high, seconds in times:
        rows += kernels.gather(
            found.table, found.bounds, found.places, low, high, seconds, ids, grouped.group, source.tagsets.count,
            source.wanted is None, span.width, span.begin, grouped.room, operations.table, np.zeros(3, np.int64), out,
            floats,
        )  # fmt: skip
    found.tell(statistics, rows)
    fields = {
        number: {name: _values(out, place, request.series.by_number[number]) for name, place in own.items()}
        for number, own in operations.places.items()
    }
    return Groups(
        span.first, grouped.room, grouped.combinations, out[kernels.GROUP_ROWS], out[kernels.FIRST_TIME],
        out[kernels.LAST_TIME], fields,
    )  # fmt: skip


# --- buckets ---


@dataclass(frozen=True, slots=True)
class _Span:
    """``buckets`` of ``width`` ns from the ``first`` on, which begins at ``begin``; 0 where all is one bucket."""

    width: int
    first: int
    buckets: int
    begin: int


def _span(wish: CellRequest, found: Surveyed) -> _Span | None:
    """None where times are too far apart for the kernel."""
    low, high, width = found.first, found.last, wish.width_ns
    if not len(found.places):
        low = high = 0
    if width is None:
        return _Span(0, 0, 1, 0) if -_SAFE_NS < low <= high < _SAFE_NS else None
    first, last = (low - wish.origin_ns) // width, (high - wish.origin_ns) // width
    begin, end = wish.origin_ns + first * width, wish.origin_ns + (last + 1) * width
    if not -_SAFE_NS < begin <= end < _SAFE_NS:
        return None
    return _Span(width, first, last - first + 1, begin)


# --- combinations ---


@dataclass(frozen=True, slots=True)
class _Grouped:
    """``group`` of each wanted tag set, by its place or its id; empty where there is but one combination."""

    group: Int32s
    combinations: Sequence[tuple[str | None, ...]]

    @property
    def room(self) -> int:
        return max(1, len(self.combinations))


_ALL = _Grouped(_NO_IDS, [()])


def _grouped(request: ScanRequest, source: HotInput, ids: Int32s) -> _Grouped | None:
    """None where there are too many."""
    by_number = request.series.by_number
    tags = [c for c in request.columns if isinstance(c, int) and by_number[c].role is Role.TAG]
    if not tags:
        return _ALL
    tagsets = source.tagsets
    if (tagsets.count if source.wanted is None else len(ids)) > TAGSETS_MAX:
        return None
    columns = [tagsets.column(number) for number in tags]
    own = [codes if source.wanted is None else codes[ids] for codes, _ in columns]
    if len(own) == 1:
        distinct, group = np.unique(own[0], return_inverse=True)
        chosen = [distinct]
    else:
        rows, group = np.unique(np.column_stack(own), axis=0, return_inverse=True)
        chosen = list(rows.T)
    texts = [
        [None if code == ABSENT else values[code] for code in codes.tolist()]
        for codes, (_, values) in zip(chosen, columns, strict=True)
    ]
    return _Grouped(group.reshape(-1).astype(np.int32), list(zip(*texts, strict=True)))


def _values(out: Int64s, place: int, column: Column) -> npt.NDArray[np.generic]:
    own: Int64s = out[place]
    return own.view(np.float64) if column.kind is Kind.FLOAT8 else own
