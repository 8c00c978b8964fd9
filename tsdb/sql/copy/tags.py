"""Tags of COPY's records to tag sets by value: each distinct set once, straight from the fields."""

from __future__ import annotations

from itertools import groupby

import numpy as np

from tsdb.kernels import readonly
from tsdb.model.byte_strings import VARINT_BYTES_MAX, ByteStrings
from tsdb.model.points import Int32s
from tsdb.sql.copy import tag_kernels as kernels
from tsdb.sql.copy.cut import SEED, Fields
from tsdb.sql.copy.cut_kernels import Int64s

# Of the length in front of a field in the binary format.
_LENGTH_BYTES = 4

_Tagged = tuple[ByteStrings, Int32s]


class TagSets:
    """``columns`` are the places of the tags among the fields, ``numbers`` their column numbers."""

    def __init__(self, columns: list[int], numbers: list[int], *, binary: bool) -> None:
        self._columns = np.array(columns, np.int64)
        order = np.argsort(np.array(numbers, np.int64))
        self._ordered = self._columns[order]
        self._numbers = np.array(numbers, np.int64)[order]
        self._binary = binary
        # First and last of those that are neighbours.
        runs = [list(run) for _, run in groupby(enumerate(sorted(columns)), lambda pair: pair[1] - pair[0])]
        self._runs = [(run[0][1], run[-1][1]) for run in runs]
        # The first and the last, where all are.
        self.side_by_side = self._runs[0] if len(self._runs) == 1 else None

    def of(self, fields: Fields) -> tuple[_Tagged, dict[int, Int64s]]:
        """The tag sets and each row's; and, by field, the rows whose tag is no text."""
        rows = fields.rows
        octets = readonly(fields.octets)
        number, first = fields.tags if fields.tags is not None else self._numbered(fields)
        wrong = np.empty(len(first), np.int32)
        any_wrong = kernels.find_wrong(octets, fields.starts, fields.ends, self._columns, first, wrong)
        lengths = np.maximum(
            fields.ends[:, :rows][self._ordered][:, first] - fields.starts[:, :rows][self._ordered][:, first], 0
        )
        out = np.empty(int(lengths.sum()) + VARINT_BYTES_MAX * lengths.size, np.uint8)
        borders = np.empty(len(first) + 1, np.int64)
        kernels.encode_tagsets(
            octets, fields.starts, fields.ends, self._ordered, self._numbers, first, wrong, out, borders
        )
        # The same tags may be written in several ways: with quotes and without.
        again, tagsets = ByteStrings(out[: borders[-1]], borders).distinct(SEED)
        bad: dict[int, Int64s] = {}
        if any_wrong:
            wrong_of_row = wrong[number]
            bad = {
                int(self._columns[k]): np.flatnonzero(wrong_of_row == k) for k in np.unique(wrong[wrong >= 0]).tolist()
            }
        # A copy: who cut the fields puts the next ones there.
        return (tagsets, number.copy() if len(tagsets) == len(first) else again[number]), bad

    def _numbered(self, fields: Fields) -> tuple[Int32s, Int32s]:
        """(a number for each row, the first row of each number): rows with the same text of all tags have the same."""
        rows = fields.rows
        begins, stops = (np.empty((len(self._runs), rows), np.int32) for _ in range(2))
        for at, (low, high) in enumerate(self._runs):
            begins[at] = fields.starts[low, :rows]
            if self._binary:
                begins[at] -= _LENGTH_BYTES
                np.maximum(fields.ends[high, :rows], fields.starts[high, :rows], out=stops[at])
            elif high + 1 < len(fields.starts):
                np.subtract(fields.starts[high + 1, :rows], 1, out=stops[at])
            else:
                stops[at] = fields.line_ends[:rows]
        slots = np.full(2 << max(rows - 1, 1).bit_length(), -1, np.int32)
        number, first = np.empty(rows, np.int32), np.empty(rows, np.int32)
        raw = readonly(np.frombuffer(fields.raw, np.uint8))
        count = kernels.number_rows(raw, begins, stops, SEED, slots, number, first)
        return number, first[:count]
