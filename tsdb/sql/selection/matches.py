"""Comparisons of a numeric field with a constant, as closed ranges of its values.

PostgreSQL compares integers with a numeric exactly, a float8 with anything as float8s, and an integer with a float8 as
float8s. Below 2^53 the last is exact, too; beyond, nothing is decided here. NaN equals NaN and lies above all numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.kernels import kernel, readonly

Mask = npt.NDArray[np.bool_]

_INT8 = np.iinfo(np.int64)
# Every integer below is a float8.
_EXACT_BELOW = 2.0**53


@dataclass(frozen=True, slots=True)
class FieldMatch:
    """The values of a field from ``low`` to ``high`` pass, both inclusive (None: open), or, ``negated``, the others.

    NULL does not pass. NaN is within what is open above.
    """

    column: int
    low: int | float | None
    high: int | float | None
    negated: bool = False

    def mark(self, values: pa.Array, keep: Mask) -> None:
        """Take away the rows whose value does not pass."""
        if values.null_count == len(values):
            keep[:] = False
            return
        if values.null_count:
            keep &= np.asarray(values.is_valid())
        numbers = np.frombuffer(values.buffers()[1], values.type.to_pandas_dtype())[values.offset :][: len(values)]
        numbers = readonly(numbers)
        if values.type == pa.float64():
            low = -math.inf if self.low is None else float(self.low)
            high = math.inf if self.high is None else float(self.high)
            _mark_floats(numbers, low, high, self.high is None, self.negated, keep)
        else:
            least = _INT8.min if self.low is None else max(int(self.low), _INT8.min)
            most = _INT8.max if self.high is None else min(int(self.high), _INT8.max)
            _mark_integers(numbers, least, most, self.negated, keep)


def of_integers(column: int, operator: str, value: object) -> FieldMatch | None:
    """An integer field compared with a constant; None where that is not decided here."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not math.isfinite(value):
        return None
    if isinstance(value, float) and abs(value) >= _EXACT_BELOW:
        return None
    floor, ceil = math.floor(value), math.ceil(value)
    if not _INT8.min < floor <= ceil < _INT8.max:
        return None
    match operator:
        case ">":
            return FieldMatch(column, floor + 1, None)
        case ">=":
            return FieldMatch(column, ceil, None)
        case "<":
            return FieldMatch(column, None, ceil - 1)
        case "<=":
            return FieldMatch(column, None, floor)
        case _:
            # No integer equals a fraction: the range is empty.
            return FieldMatch(column, ceil, floor, operator == "<>")


def of_floats(column: int, operator: str, value: object) -> FieldMatch | None:
    """A float8 field compared with a constant; None where that is not decided here."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    if not math.isfinite(number):
        return None
    match operator:
        case ">":
            return FieldMatch(column, math.nextafter(number, math.inf), None)
        case ">=":
            return FieldMatch(column, number, None)
        case "<":
            return FieldMatch(column, None, math.nextafter(number, -math.inf))
        case "<=":
            return FieldMatch(column, None, number)
        case _:
            return FieldMatch(column, number, number, operator == "<>")


@kernel
def _mark_integers(values: npt.NDArray[np.int64], low: int, high: int, negated: bool, keep: Mask) -> None:
    for i in range(len(values)):
        keep[i] &= ((values[i] >= low) & (values[i] <= high)) != negated


@kernel
def _mark_floats(
    values: npt.NDArray[np.float64], low: float, high: float, above: bool, negated: bool, keep: Mask
) -> None:
    """``above``: there is no upper limit, not even for NaN."""
    for i in range(len(values)):
        inside = (above & (values[i] != values[i])) | ((values[i] >= low) & (values[i] <= high))
        keep[i] &= inside != negated
