"""Points: a columnar batch of one series, and tag sets by value.

A *tag set by value* is one canonical ``bytes``: for every present tag, in the order of column numbers, the column
number and the value's length as LEB128 varints, then the value in UTF-8. Equal tag sets have equal bytes on every node,
whatever the order in which they were written; an absent tag (NULL) is not there at all, and an empty text differs from
an absent one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.errors import DataCorrupted
from tsdb.model.byte_strings import ByteStrings
from tsdb.model.schema import Role, Series

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]


def encode_tagset(values: Iterable[tuple[int, str]]) -> bytes:
    """The tag set by value of (column number, value) pairs; the pairs may come in any order."""
    parts = bytearray()
    for number, value in sorted(values):
        text = value.encode()
        _put_varint(parts, number)
        _put_varint(parts, len(text))
        parts += text
    return bytes(parts)


def decode_tagset(tagset: bytes) -> dict[int, str]:
    """Column number → value, in the order of column numbers. Raises DataCorrupted."""
    values: dict[int, str] = {}
    position = 0
    while position < len(tagset):
        number, position = _varint(tagset, position)
        length, position = _varint(tagset, position)
        if position + length > len(tagset):
            raise DataCorrupted(f"tag set ends inside the value of column {number}")
        values[number] = tagset[position : position + length].decode()
        position += length
    return values


def _put_varint(out: bytearray, value: int) -> None:
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _varint(source: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(source):
        byte = source[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise DataCorrupted("tag set ends inside a number")


@dataclass(frozen=True, slots=True)
class Points:
    """A batch of points of one series, n rows in the order they were written.

    ``times`` int64[n] in ns; ``tagsets`` the distinct tag sets by value; ``tagset`` int32[n], each row's index into
    ``tagsets``; ``fields`` column number → Arrow array of n values in the column's kind's Arrow type
    (``Kind.arrow``: float64, int64, uint64, bool, string), null where the point has no such field.
    """

    series: Series
    times: Int64s
    tagsets: Sequence[bytes]
    tagset: Int32s
    fields: dict[int, pa.Array]

    def __len__(self) -> int:
        return len(self.times)

    def column(self, number: int) -> pa.Array:
        """The values of a tag or field as they are stored."""
        column = self.series.by_number[number]
        if column.role is Role.TAG:
            values = pa.array([decode_tagset(each).get(number) for each in self.tagsets], pa.string())
            return values.take(pa.array(self.tagset))
        found = self.fields.get(number)
        return found if found is not None else pa.nulls(len(self), column.kind.arrow)

    def take(self, rows: npt.NDArray[np.intp]) -> Points:
        """The points at ``rows``, with only the tag sets they use."""
        chosen = self.tagset[rows]
        is_used = np.zeros(len(self.tagsets), np.bool_)
        is_used[chosen] = True
        used = np.flatnonzero(is_used)
        renumbered = np.cumsum(is_used, dtype=np.int32) - np.int32(1)
        index = pa.array(rows)
        return Points(
            self.series,
            self.times[rows],
            ByteStrings.of(self.tagsets).take(used),
            renumbered[chosen],
            {number: values.take(index) for number, values in self.fields.items()},
        )
