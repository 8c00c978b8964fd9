"""Rows of several parts as one, sorted and merged, whose columns are made only when they are asked for.

A flush needs one column at a time, and parts of a wide series have few columns in common: all of them at once, filled
up with nulls, would be many times what the head holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.storage.merge import concat_column, key_rows, merge_column, sort_order
from tsdb.storage.rows import Rows
from tsdb.storage.taking import take_values

Int64s = npt.NDArray[np.int64]


class GatheredColumns(Mapping[int, pa.Array]):
    """``columns[number]`` of the parts' rows, in ``order`` (None: as they are), those of one key merged.

    ``keys`` are the first and the last row of each key, None where nothing is to be merged. Nothing is kept.
    """

    def __init__(
        self,
        parts: Sequence[Rows],
        types: Mapping[int, pa.DataType],
        order: Int64s | None,
        keys: tuple[Int64s, Int64s] | None,
    ) -> None:
        self._parts = parts
        self._types = types
        self._order = order
        self._keys = keys

    def __getitem__(self, number: int) -> pa.Array:
        values = concat_column(self._parts, number, self._types[number])
        if self._order is not None:
            values = take_values(values, self._order)
        return values if self._keys is None else merge_column(values, *self._keys)

    def __iter__(self) -> Iterator[int]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)


def gather(
    parts: Sequence[Rows], *, merges: bool, moments: Sequence[int], types: Mapping[int, pa.DataType] | None = None
) -> Rows:
    """The rows of all parts, sorted by (tag set, time, version) and, if ``merges``, versions of equal keys merged.

    ``moments``: see ``merge.key_rows``. ``types`` are those of the columns, where to ask the parts would read them.
    """
    tagset = np.concatenate([part.tagset for part in parts])
    times = np.concatenate([part.times for part in parts])
    sequences = np.concatenate([part.sequences for part in parts])
    order, unique = sort_order(tagset, times, sequences)
    if order is not None:
        tagset, times, sequences = tagset[order], times[order], sequences[order]
    keys = None
    if merges and not unique:
        keys = starts, last = key_rows(tagset, times, sequences, moments)
        if len(starts) == len(tagset):
            keys = None
        else:
            tagset, times, sequences = tagset[last], times[last], sequences[last]
    if types is None:
        types = {number: values.type for part in parts for number, values in part.columns.items()}
    return Rows(tagset, times, sequences, GatheredColumns(parts, types, order, keys))
