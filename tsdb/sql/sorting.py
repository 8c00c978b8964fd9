"""The order of rows by ORDER BY, for what is answered without DuckDB."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
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

    def rises(self, item: Ordering) -> bool:
        """Whether the rows lie in this order as they are, no two of them equal."""
        rank, absent = self.of(item.output)
        if item.descending or absent.any():
            return False
        return bool((rank[1:] > rank[:-1]).all())

    def order(self, order: Sequence[Ordering], rows: Int64s | None = None) -> Int64s | None:
        """The order of ``rows`` (None: of all); None when it is as they lie."""
        if not order or (rows is None and self.rises(order[0])):
            return None
        keys: list[npt.NDArray[Any]] = []
        for item in reversed(order):
            rank, absent = self.of(item.output)
            if rows is not None:
                rank, absent = rank[rows], absent[rows]
            keys.append(-rank if item.descending else rank)
            if absent.any():
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
    is_shared = isinstance(column, pa.DictionaryArray)
    encoded = column if is_shared else column.dictionary_encode()
    ranks = _known_ranks(encoded.dictionary) if is_shared else _ranks(encoded.dictionary)
    codes = np.asarray(pc.fill_null(encoded.indices, 0) if encoded.null_count else encoded.indices)
    return ranks[codes] if len(ranks) else np.zeros(len(codes), np.int64)


def _ranks(values: pa.Array) -> Int64s:
    order = pc.array_sort_indices(values)
    ranks = np.empty(len(order), np.int64)
    ranks[np.asarray(order)] = np.arange(len(order))
    return ranks


# A series' tags have the same dictionary in each result. It is kept with its ranks: another one could come to lie where
# it was. Any thread may call: who misses what another is about to put back makes it again.
_KNOWN: OrderedDict[Hashable, tuple[pa.Array, Int64s]] = OrderedDict()
_KNOWN_MAX, _VALUES_MAX, _BYTES_MAX = 64, 4096, 1 << 18


def _known_ranks(values: pa.Array) -> Int64s:
    if len(values) > _VALUES_MAX:
        return _ranks(values)
    buffers = [None if buffer is None else buffer.address for buffer in values.buffers()]
    identity = (values.type, values.offset, len(values), *buffers)
    found = _KNOWN.pop(identity, None)
    if found is None:
        found = values, _ranks(values)
        if values.get_total_buffer_size() > _BYTES_MAX:
            return found[1]
    _KNOWN[identity] = found
    while len(_KNOWN) > _KNOWN_MAX:
        _KNOWN.popitem(last=False)
    return found[1]
