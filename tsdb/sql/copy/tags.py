"""Tags of COPY's records to tag sets by value: each distinct set once, straight from the fields."""

from __future__ import annotations

import numpy as np

from tsdb.errors import TsdbError
from tsdb.kernels import readonly
from tsdb.model.points import Int32s, encode_tagset
from tsdb.sql.copy import value_kernels as kernels
from tsdb.sql.copy.cut import Fields
from tsdb.sql.copy.cut_kernels import Int64s
from tsdb.sql.copy.values import decoded

# Tag sets that are remembered from one batch to the next.
KNOWN_MAX = 200_000

_Tagged = tuple[list[bytes], Int32s]


class TagSets:
    """``columns`` are the places of the tags among the fields, ``numbers`` their column numbers."""

    def __init__(self, columns: list[int], numbers: list[int]) -> None:
        self._columns = np.array(columns, np.int64)
        self._numbers = numbers
        self._known: dict[tuple[bytes | None, ...], bytes] = {}

    def of(self, fields: Fields) -> tuple[_Tagged, dict[int, Int64s]]:
        """The tag sets and each row's; and, by field, the rows whose tag is no text."""
        rows = fields.rows
        slots = np.full(2 << max(rows - 1, 1).bit_length(), -1, np.int32)
        tagset, first = np.empty(rows, np.int32), np.empty(rows, np.int32)
        data = readonly(fields.octets)
        count = kernels.number_tagsets(data, fields.starts, fields.ends, self._columns, slots, tagset, first)
        if len(self._known) > KNOWN_MAX:
            self._known.clear()
        octets = fields.octets.tobytes()
        starts = fields.starts[self._columns[:, None], first[:count]].T.tolist()
        ends = fields.ends[self._columns[:, None], first[:count]].T.tolist()
        tagsets: list[bytes] = []
        bad: dict[int, Int64s] = {}
        for number, (begins, stops) in enumerate(zip(starts, ends, strict=True)):
            values = tuple([None if e < 0 else octets[s:e] for s, e in zip(begins, stops, strict=True)])
            encoded = self._known.get(values)
            if encoded is None:
                wrong = self._wrong(values)
                if wrong >= 0:
                    at = int(self._columns[wrong])
                    found = np.flatnonzero(tagset == number)
                    bad[at] = np.union1d(bad[at], found).astype(np.int64) if at in bad else found
                    tagsets.append(b"")
                    continue
                pairs = zip(self._numbers, values, strict=True)
                encoded = encode_tagset((n, value.decode()) for n, value in pairs if value is not None)
                self._known[values] = encoded
            tagsets.append(encoded)
        return (tagsets, tagset), bad

    def _wrong(self, values: tuple[bytes | None, ...]) -> int:
        """The first value that is no text; -1 for none."""
        for i, value in enumerate(values):
            try:
                if value is not None:
                    decoded(value)
            except TsdbError:
                return i
        return -1
