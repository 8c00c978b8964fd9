"""The order of rows by ORDER BY, for what is answered without DuckDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.sql.expressions.grouping import Ordering

Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Ranks:
    """The ranks of columns, by their place: each is found once, however often it is asked for."""

    def __init__(self, columns: Mapping[int, pa.Array]) -> None:
        self._columns = columns
        self._found: dict[int, tuple[Int64s, Mask]] = {}

    def of(self, place: int) -> tuple[Int64s, Mask]:
        """(``rank_of`` a column, which of its values are absent)."""
        if place not in self._found:
            column = self._columns[place]
            absent = np.asarray(column.is_null()) if column.null_count else np.zeros(len(column), np.bool_)
            self._found[place] = rank_of(column), absent
        return self._found[place]

    def order(self, order: Sequence[Ordering], rows: Int64s | None = None) -> Int64s | None:
        """The order of ``rows`` (None: of all); None when it is as they lie."""
        if not order:
            return None
        keys: list[npt.NDArray[Any]] = []
        for item in reversed(order):
            rank, absent = self.of(item.output)
            if rows is not None:
                rank, absent = rank[rows], absent[rows]
            keys.append(-rank if item.descending else rank)
            keys.append(~absent if item.nulls_first else absent)
        return np.lexsort(keys)


def rank_of(column: pa.Array) -> Int64s:
    """Numbers in the order of the values: text by its bytes, NaN last."""
    if pa.types.is_timestamp(column.type):
        column = column.view(pa.int64())
    if pa.types.is_int64(column.type) and not column.null_count:
        values: Int64s = np.asarray(column)
        if len(values) == 0 or int(values.min()) > np.iinfo(np.int64).min:
            return values
    if pa.types.is_string(column.type):
        column = column.cast(pa.binary())
    if pa.types.is_floating(column.type):
        # −0.0 is 0.0.
        column = pc.add(column, 0.0)
    encoded = column.dictionary_encode() if not pa.types.is_dictionary(column.type) else column
    order = pc.array_sort_indices(encoded.dictionary)
    ranks = np.empty(len(order), np.int64)
    ranks[np.asarray(order)] = np.arange(len(order))
    codes = np.asarray(pc.fill_null(encoded.indices, 0))
    return ranks[codes] if len(ranks) else np.zeros(len(codes), np.int64)
