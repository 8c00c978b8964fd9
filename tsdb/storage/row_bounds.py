"""Rows that no bound on a field lets pass are left out before their other columns are decoded.

Only where a block's or run's rows are the visible ones: a version that another merges with, or that a tombstone hides,
says nothing yet. What is left may still fail the statement's condition; whoever asks judges it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.kernels import kernel, readonly
from tsdb.model.schema import Series
from tsdb.model.store import FieldBound
from tsdb.storage.field_bounds import is_usable
from tsdb.storage.hot import BITS, HotColumn
from tsdb.storage.pages import Spans
from tsdb.storage.part import Part
from tsdb.storage.selection import Selection, narrow, selected
from tsdb.types import Kind

Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_INT8 = np.iinfo(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Narrowed:
    """What is left of a selection; ``inside`` says which of its rows that is. ``columns`` are decoded already."""

    selection: Selection
    inside: Spans
    columns: Mapping[int, pa.Array]


class RowBounds:
    """The bounds of a request that rows can be judged by. ``columns`` are theirs."""

    def __init__(self, series: Series, bounds: Iterable[FieldBound]) -> None:
        self._kinds = {column.number: column.kind for column in series.fields}
        self._bounds = [
            bound for bound in bounds if is_usable(series, bound) and fits(self._kinds[bound.column], bound)
        ]
        self.columns = tuple(dict.fromkeys(bound.column for bound in self._bounds))

    def __bool__(self) -> bool:
        return bool(self._bounds)

    def narrowed(self, part: Part, selection: Selection) -> Narrowed | None:
        """What is left of a selection of a part that has fetched ``columns``; None when nothing is."""
        spans = selection.spans
        keep = np.ones(selection.rows, np.bool_)
        columns: dict[int, pa.Array] = {}
        for bound in self._bounds:
            hot = part.hot(bound.column)
            if hot is not None and hot.exponent == BITS and self._kinds[bound.column] is Kind.INT8:
                _mark_hot(hot, bound, spans, keep)
                continue
            values = columns.get(bound.column)
            if values is None:
                values = part.column(bound.column, spans)
                if values is None:
                    return None
                columns[bound.column] = values
            _mark(values, bound, keep)
        return _left(selection, keep, columns)


def _left(selection: Selection, keep: Mask, columns: Mapping[int, pa.Array]) -> Narrowed | None:
    left, inside = narrow(selection, keep)
    if not left.rows:
        return None
    return Narrowed(left, inside, {number: selected(values, inside) for number, values in columns.items()})


def fits(kind: Kind, bound: FieldBound) -> bool:
    """Whether values can be compared with a bound as 64 bits."""
    if kind is Kind.INT8:
        limits = [limit for limit in (bound.low, bound.high) if limit is not None]
        return all(isinstance(limit, int) and _INT8.min <= limit <= _INT8.max for limit in limits)
    return kind is Kind.FLOAT8


def _mark_hot(hot: HotColumn, bound: FieldBound, spans: Spans, keep: Mask) -> None:
    """As ``_mark``, of integers as they are kept: a byte each, mostly."""
    signed = hot.numbers.dtype == np.int64
    least, most = (_INT8.min, _INT8.max) if signed else (0, (1 << 8 * hot.numbers.dtype.itemsize) - 1)
    low = least if bound.low is None else max(hot.place(int(bound.low)), least)
    # One below the first number that stands for more than what is wanted.
    high = most if bound.high is None else min(hot.place(int(bound.high) + 1) - 1, most)
    if low > high:
        keep[:] = False
    else:
        _mark_numbers(hot.numbers, spans.starts, spans.stops, low, high, keep)


def _mark(values: pa.Array, bound: FieldBound, keep: Mask) -> None:
    """Take away the rows without a value within the bound."""
    numbers = np.frombuffer(values.buffers()[1], values.type.to_pandas_dtype())[values.offset :][: len(values)]
    numbers = readonly(numbers)
    if values.null_count:
        keep &= np.asarray(values.is_valid())
    if numbers.dtype == np.float64:
        least = -np.inf if bound.low is None else float(bound.low)
        most = np.inf if bound.high is None else float(bound.high)
        _mark_floats(numbers, least, most, bound.high is None, keep)
    else:
        low = _INT8.min if bound.low is None else int(bound.low)
        _mark_integers(numbers, low, _INT8.max if bound.high is None else int(bound.high), keep)


@kernel
def _mark_integers(values: Int64s, low: int, high: int, keep: Mask) -> None:
    for i in range(len(values)):
        keep[i] &= (values[i] >= low) & (values[i] <= high)


@kernel
def _mark_numbers(
    numbers: npt.NDArray[np.generic], starts: Int64s, stops: Int64s, low: int, high: int, keep: Mask
) -> None:
    at = 0
    for i in range(len(starts)):
        shift = at - starts[i]
        for row in range(starts[i], stops[i]):
            number = np.int64(numbers[row])
            keep[row + shift] &= (number >= low) & (number <= high)
        at += stops[i] - starts[i]


@kernel
def _mark_floats(values: npt.NDArray[np.float64], low: float, high: float, above: bool, keep: Mask) -> None:
    """``above``: there is no upper bound, and NaN is above all numbers."""
    for i in range(len(values)):
        keep[i] &= (above & (values[i] != values[i])) | ((values[i] >= low) & (values[i] <= high))
