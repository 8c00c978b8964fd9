"""Answers in one form, so that those of different systems can be compared.

An `Answer` holds the query's columns as numpy arrays of equal length: times as int64 nanoseconds, texts as objects,
numbers as float64 (NaN is NULL). Values are equal when they differ by at most 1e-9 of the larger: means are computed in
different orders.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.queries import Query
from benchmarks.workload import TAGS

Column = npt.NDArray[Any]
Answer = dict[str, Column]

TOLERANCE = 1e-9
TIME_COLUMNS = frozenset({"time", "minute", "hour"})
TEXT_COLUMNS = frozenset(TAGS)


def from_rows(names: Sequence[str], rows: Sequence[Sequence[Any]], query: Query) -> Answer:
    """The answer that a DB-API cursor's rows hold; times may be datetimes or int nanoseconds."""
    columns: Iterable[Sequence[Any]] = zip(*rows, strict=True) if rows else [()] * len(names)
    return from_columns(dict(zip(names, columns, strict=True)), query)


def from_columns(columns: dict[str, Sequence[Any]], query: Query) -> Answer:
    """The answer's columns in the query's order; ValueError names what is missing or too much."""
    if set(columns) != set(query.columns):
        raise ValueError(f"columns are {sorted(columns)}, expected {sorted(query.columns)}")
    return {name: _column(name, columns[name]) for name in query.columns}


def _column(name: str, values: Sequence[Any]) -> Column:
    if name in TIME_COLUMNS:
        return _times(values)
    if name in TEXT_COLUMNS:
        return np.array(values, dtype=object)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _times(values: Sequence[Any]) -> npt.NDArray[np.int64]:
    if len(values) and isinstance(values[0], dt.datetime):
        array = pa.array(values, pa.timestamp("us", tz="UTC" if values[0].tzinfo else None))
        micros: npt.NDArray[np.int64] = array.cast(pa.int64()).to_numpy()
        return micros * 1000
    return np.array(values, dtype=np.int64)


def from_arrow(table: Any, query: Query) -> Answer:
    """The answer that an Arrow table holds."""
    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("ns", tz=column.type.tz)).cast(pa.int64())
            columns[name] = column.to_numpy()
        elif name in TEXT_COLUMNS:
            columns[name] = column.cast(pa.string()).to_numpy(zero_copy_only=False)
        else:
            columns[name] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return from_columns(columns, query)


def rows_of(answer: Answer) -> int:
    """How many rows an answer has."""
    return len(next(iter(answer.values())))


def difference(expected: Answer, actual: Answer, *, ordered: bool) -> str | None:
    """What differs, in a line, or None. The rows' order counts when ``ordered``."""
    if list(expected) != list(actual):
        return f"columns {list(actual)}, expected {list(expected)}"
    if rows_of(expected) != rows_of(actual):
        return f"{rows_of(actual)} rows, expected {rows_of(expected)}"
    if not ordered:
        expected, actual = _sorted(expected), _sorted(actual)
    for name, column in expected.items():
        wrong = ~_equal(column, actual[name])
        if wrong.any():
            row = int(np.argmax(wrong))
            return (
                f"column {name}: {int(wrong.sum())} of {len(wrong)} values differ, "
                f"first in row {row}: {actual[name][row]!r}, expected {column[row]!r}"
            )
    return None


def _equal(a: Column, b: Column) -> npt.NDArray[np.bool_]:
    if a.dtype == np.float64:
        close: npt.NDArray[np.bool_] = np.isclose(a, b, rtol=TOLERANCE, atol=0.0, equal_nan=True)
        return close
    return np.asarray(a == b, dtype=np.bool_)


def _sorted(answer: Answer) -> Answer:
    # The time and the host tell rows apart; numbers, which may differ in their last bits, must not order them.
    keys = [answer[name] for name in ("hostname", "time", "minute", "hour") if name in answer]
    if not keys:
        return answer
    order = np.lexsort([key.astype(str) if key.dtype == object else key for key in keys])
    return {name: column[order] for name, column in answer.items()}
