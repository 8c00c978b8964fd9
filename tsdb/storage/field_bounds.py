"""Pruning by the fields' least and greatest values, which the headers of blocks know.

A block none of whose values lies within a bound has no row that is wanted. In a keyed series that is not enough: a
row's value may come from a version in another block or in the head, and a newer version in this one may hide it. So
blocks that overlap are left out together or not at all, and with a run of the head none is.

Values of a type from before an ALTER TYPE are in other columns: a column that has some prunes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from tsdb.model.schema import Role, Series
from tsdb.model.store import FieldBound
from tsdb.model.time import WINDOW_NS
from tsdb.storage.block import BlockHeader
from tsdb.storage.overlap import Rectangle, overlaps
from tsdb.storage.windows import Spans
from tsdb.types import Kind

_KINDS = (Kind.FLOAT8, Kind.INT8, Kind.UINT8)


def within_bounds(
    series: Series, bounds: Iterable[FieldBound], blocks: Sequence[BlockHeader], head: Sequence[Rectangle]
) -> npt.NDArray[np.bool_]:
    """Which blocks may matter to rows within all ``bounds``. ``head``: where its runs lie."""
    gone: set[int] = set()
    for bound in bounds:
        if is_usable(series, bound):
            # Bound by bound: a row may take one field's value from one of two blocks, and another's from the other.
            outside = {header.block_id for header in blocks if _is_outside(header, bound)}
            gone |= _whole_groups(blocks, outside, head) if series.keyed and outside else outside
    return np.array([header.block_id not in gone for header in blocks], np.bool_)


def is_usable(series: Series, bound: FieldBound) -> bool:
    """Whether the column's values can be compared with a bound as they are stored."""
    column = series.by_number.get(bound.column)
    return column is not None and column.role is Role.FIELD and column.kind in _KINDS and not column.former


def _is_outside(header: BlockHeader, bound: FieldBound) -> bool:
    """Has no row of the block a value within the bound? NULL is within none; NaN, as a maximum, above every number."""
    stats = header.columns.get(bound.column)
    if stats is None:
        return True
    if stats.min is None or stats.max is None:
        return False
    # A comparison with NaN is false: a block with one is outside of an upper bound alone.
    return (bound.low is not None and stats.max < bound.low) or (bound.high is not None and stats.min > bound.high)


def _whole_groups(blocks: Sequence[BlockHeader], outside: set[int], head: Sequence[Rectangle]) -> set[int]:
    """Of the blocks ``outside`` those that overlap others of them alone. Blocks of different windows do not overlap."""
    spans = Spans((header.min_time // WINDOW_NS, header.max_time // WINDOW_NS) for header in blocks)
    windows: dict[int, list[BlockHeader]] = {}
    for header in blocks:
        windows.setdefault(spans.first(header.min_time // WINDOW_NS), []).append(header)
    kept: set[int] = set()
    for window, headers in windows.items():
        if any(header.block_id in outside for header in headers):
            low, high = window * WINDOW_NS, (spans.last(window) + 1) * WINDOW_NS
            runs = [run for run in head if run.min_time < high and run.max_time >= low]
            kept |= _needed(headers, outside, runs)
    return outside - kept


def _needed(headers: Sequence[BlockHeader], outside: set[int], runs: Sequence[Rectangle]) -> set[int]:
    """The blocks of one window that hang together with something that is not outside."""
    rectangles = [Rectangle(h.min_time, h.max_time, h.min_tagset, h.max_tagset) for h in headers]
    group = overlaps([*rectangles, *runs]).group
    inside = {group[at] for at, header in enumerate(headers) if header.block_id not in outside}
    inside |= set(group[len(headers) :])
    inside.discard(-1)
    return {header.block_id for at, header in enumerate(headers) if group[at] in inside}
