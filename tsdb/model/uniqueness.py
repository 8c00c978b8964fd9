"""What is unique in a reference table: its primary key, its UNIQUE constraints, its unique indexes of plain columns.

A time series has no such thing: points of one key merge. NULL equals nothing, so rows with a NULL in a unique column
are free of the others, unless NULLS NOT DISTINCT is said (PostgreSQL 15 manual, 5.4.3).

Values are compared in the form they are stored in, once that is the same for equal ones (``comparable``). Everything
here is a function of columns; who holds rows against what is stored does it twice: a statement for its error's sake
(``tsdb.sql.dml``), the log before it takes them (``tsdb.storage``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.errors import UniqueViolation
from tsdb.intervals import parse_interval
from tsdb.types import BOOL, DATE, INTERVAL, NUMERIC, TIME, TIMESTAMP, TIMESTAMPTZ

if TYPE_CHECKING:
    from tsdb.model.catalog import Column, Series

Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_US_PER_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Unique:
    """``columns`` are numbers. ``key``: they are what names a point, all of the series' tags. ``nulls_equal``: NULL
    equals NULL."""

    name: str
    columns: tuple[int, ...]
    key: bool = False
    nulls_equal: bool = False


def uniques_of(series: Series) -> tuple[Unique, ...]:
    """The primary key first, then the others as they were declared."""
    if not series.reference:
        return ()
    found: list[Unique] = []
    tags = tuple(column.number for column in series.tags)
    if series.keyed:
        key = series.key or tags
        # Tags with equal values are one tag set, but for values that are written in two ways.
        named = set(key) == set(tags) and not any(has_spellings(column) for column in series.tags)
        found.append(Unique(series.key_name or f"{series.name}_pkey", key, key=named))
    found += [
        Unique(each.name, each.columns, nulls_equal=each.nulls_equal)
        for each in series.constraints
        if each.kind in "pu"
    ]
    for index in series.indexes:
        columns = tuple(key.column for key in index.keys)
        if index.unique and not index.where and all(columns):
            found.append(Unique(index.name, columns, nulls_equal=index.nulls_equal))
    return tuple(found)


def violation(series: Series, unique: Unique, values: Iterable[object]) -> UniqueViolation:
    """The error of a row that has what another has; ``values`` as they are stored, one for each column."""
    columns = [series.by_number[number] for number in unique.columns]
    shown = ", ".join(shown_value(column, value) for column, value in zip(columns, values, strict=True))
    error = UniqueViolation(
        f'duplicate key value violates unique constraint "{unique.name}"',
        detail=f"Key ({', '.join(column.name for column in columns)})=({shown}) already exists.",
    )
    error.constraint = (series.schema, series.name, unique.name)
    return error


def shown_value(column: Column, value: object) -> str:
    """A stored value as PostgreSQL prints it."""
    if value is None:
        return "null"
    if column.type in (TIMESTAMP, TIMESTAMPTZ) and isinstance(value, int):
        text = np.datetime_as_string(np.datetime64(value, "us")).replace("T", " ")
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return text + "+00" if column.type == TIMESTAMPTZ else text
    if column.type == DATE and isinstance(value, int):
        return np.datetime_as_string(np.datetime64(value, "D"))
    if column.type == TIME and isinstance(value, int):
        return np.datetime_as_string(np.datetime64(value, "us")).split("T")[1].rstrip("0").rstrip(".")
    if column.type == BOOL:
        return {True: "t", False: "f"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    text = str(value)
    return text.removesuffix(".0") if isinstance(value, float) else text


def comparable(series: Series, numbers: Iterable[int | str], arrays: Iterable[pa.Array]) -> list[pa.Array]:
    """Columns of stored values, of which equal ones are now alike: 1.0 and 1.00 of a numeric, 0 and −0, a day and 24
    hours."""
    numbers = tuple(numbers)
    made = [
        _alike(series.by_number[number], array) if isinstance(number, int) else array
        for number, array in zip(numbers, arrays, strict=True)
    ]
    # Of two that are unique by the same columns, the stricter holds.
    nulls_equal = any(each.nulls_equal and each.columns == numbers for each in series.uniques)
    return [_with_nulls(array) for array in made] if nulls_equal else made


def has_spellings(column: Column) -> bool:
    """Whether equal values may be stored as different texts: numerics without a scale, and intervals, of which a day
    is 24 hours and a month 30 days (interval_cmp_value)."""
    return column.type == INTERVAL or (column.type == NUMERIC and column.typmod < 0)


def _alike(column: Column, values: pa.Array) -> pa.Array:
    if pa.types.is_floating(values.type):
        return pc.add(values, pa.scalar(0.0, values.type))
    if not has_spellings(column):
        return values
    if isinstance(values, pa.DictionaryArray):
        return pa.DictionaryArray.from_arrays(values.indices, _alike(column, values.dictionary))
    if column.type == INTERVAL:
        return pa.array([None if text is None else _microseconds(text) for text in values.to_pylist()], pa.string())
    return pc.replace_substring_regex(values, r"\.0*$|(\.\d*[1-9])0+$", r"\1")


def _with_nulls(values: pa.Array) -> pa.Array:
    """Texts of values, of which NULL is one like any other."""
    if isinstance(values, pa.DictionaryArray):
        values = values.dictionary_decode()
    marked = pc.binary_join_element_wise("=", values.cast(pa.string()), "")
    return marked.fill_null("")


def _microseconds(text: str) -> str:
    found = parse_interval(text)
    return str((found.months * 30 + found.days) * _US_PER_DAY + found.us)


def matched(ours: Sequence[pa.Array], theirs: Sequence[pa.Array]) -> Int64s:
    """For each of our rows the place of one of theirs with the same values, −1 where there is none.

    Both are one ``comparable`` array for each unique column; theirs may be dictionaries.
    """
    found = np.full(len(ours[0]), -1, np.int64)
    candidates = np.ones(len(theirs[0]), np.bool_)
    for mine, other in zip(ours, theirs, strict=True):
        candidates &= _is_in(other, mine)
    places = np.flatnonzero(candidates)
    if not len(places):
        return found
    chosen = pa.array(places)
    codes, valid = _codes([pa.concat_arrays([m, _plain(o.take(chosen), m)]) for m, o in zip(ours, theirs, strict=True)])
    own, others = codes[: len(found)], codes[len(found) :]
    order = np.argsort(others, kind="stable")
    at = np.minimum(np.searchsorted(others[order], own), len(order) - 1)
    same = (others[order][at] == own) & valid[: len(found)]
    found[same] = places[order[at[same]]]
    return found


def repeated(columns: Sequence[pa.Array]) -> Mask:
    """Which rows have the values of an earlier one; ``columns`` are ``comparable``."""
    codes, valid = _codes(columns)
    later = np.ones(len(codes), np.bool_)
    later[np.unique(codes, return_index=True)[1]] = False
    return later & valid


def _is_in(values: pa.Array, among: pa.Array) -> Mask:
    if isinstance(values, pa.DictionaryArray):
        known = pc.is_in(_plain(values.dictionary, among), value_set=among, skip_nulls=True)
        return np.asarray(known.take(values.indices).fill_null(False).to_numpy(zero_copy_only=False), np.bool_)
    return np.asarray(
        pc.is_in(_plain(values, among), value_set=among, skip_nulls=True).to_numpy(zero_copy_only=False), np.bool_
    )


def _plain(values: pa.Array, like: pa.Array) -> pa.Array:
    return values if values.type == like.type else values.cast(like.type)


def _codes(columns: Sequence[pa.Array]) -> tuple[Int64s, Mask]:
    """(equal numbers for rows with equal values, the rows without a NULL)."""
    codes = np.zeros(len(columns[0]), np.int64)
    valid = np.ones(len(codes), np.bool_)
    for column in columns:
        encoded = pc.dictionary_encode(column)
        indices = encoded.indices
        valid &= indices.is_valid().to_numpy(zero_copy_only=False)
        own = indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False).astype(np.int64)
        # Dense again after each column, so that the product of their sizes cannot overflow.
        codes = np.unique(codes * (len(encoded.dictionary) + 1) + own, return_inverse=True)[1].astype(np.int64)
    return codes, valid
