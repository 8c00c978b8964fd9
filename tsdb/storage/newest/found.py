"""Rows that were found, by place: which part they lie in and where. Only chosen ones have their fields fetched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.model.schema import Column
from tsdb.storage.merge import take_values
from tsdb.storage.newest.tails import TailsOf, spans_of
from tsdb.storage.part import Part, read_field, stored_numbers

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Source = Part | TailsOf


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Visible versions in one part: ``rows`` are their places in it, or in its tails."""

    source: Source
    tagset: Int32s
    times: Int64s
    rows: Int64s

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True, eq=False)
class Fetched:
    """Fields by number (missing: no row has one) and point sequences of chosen rows, in their order."""

    columns: dict[int, pa.Array]
    sequences: Int64s | None


def fetch(
    sources: Sequence[Source], source: Int64s, row: Int64s, columns: Sequence[Column], *, sequences: bool
) -> Fetched:
    """The fields of the rows ``row`` of ``sources[source]``, sorted by both."""
    starts = np.searchsorted(source, np.arange(len(sources) + 1))
    values: dict[int, list[pa.Array | int]] = {column.number: [] for column in columns}
    numbered: list[Int64s] = []
    for at, each in enumerate(sources):
        rows = row[starts[at] : starts[at + 1]]
        if len(rows):
            got, own = _of_source(each, rows, columns, sequences=sequences)
            for number, array in got.items():
                values[number].append(len(rows) if array is None else array)
            if own is not None:
                numbered.append(own)
    joined = {number: _joined(parts) for number, parts in values.items()}
    made = {number: array for number, array in joined.items() if array is not None}
    if not sequences:
        return Fetched(made, None)
    return Fetched(made, np.concatenate(numbered) if numbered else np.empty(0, np.int64))


def _of_source(
    source: Source, rows: Int64s, columns: Iterable[Column], *, sequences: bool
) -> tuple[dict[int, pa.Array | None], Int64s | None]:
    if isinstance(source, TailsOf):
        tails = source.with_columns(columns, sequences=sequences)
        whole = len(rows) == len(tails.rows)
        got = {
            column.number: values if values is None or whole else take_values(values, rows)
            for column in columns
            for values in (tails.columns[column.number],)
        }
        return got, None if tails.sequences is None or not sequences else tails.sequences[rows]
    source.fetch([number for column in columns for number in stored_numbers(column)], times=False, sequences=sequences)
    spans = spans_of(rows)
    got = {column.number: read_field(source, column, spans) for column in columns}
    own = source.sequences(spans) if sequences else None
    source.release()
    return got, own


def _joined(parts: Sequence[pa.Array | int]) -> pa.Array | None:
    """Arrays one after the other; a number stands for so many nulls."""
    kind = next((part.type for part in parts if not isinstance(part, int)), None)
    if kind is None:
        return None
    arrays = [pa.nulls(part, kind) if isinstance(part, int) else part for part in parts]
    return arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays)
