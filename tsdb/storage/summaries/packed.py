"""Packed statistics: a table of int64, each row of it as offsets from its least number in 0 to 8 bytes each.

A value of ``summaries`` is one such table in a frame (magic ``TS``): all that is unpacked was checked as it was read.
Float64 statistics are packed by their bits. Diagram: docs/format/summary.md.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.errors import DataCorrupted
from tsdb.kernels import borrowing, inlined, kernel, load_word
from tsdb.storage.frame import seal, unseal

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]

MAGIC = b"TS"
VERSION = 1
# statistics, cells
_HEAD = struct.Struct("<BI")
HEAD_BYTES = _HEAD.size
# Of each statistic: its least number, the bytes of an offset.
STATISTIC_BYTES = 9
_BEYOND = bytes(7)
_ONES = np.uint64(2**64 - 1)


def pack(table: Int64s) -> bytes:
    """The value of a table int64[statistics, cells]; at least one cell."""
    statistics, cells = table.shape
    out = np.empty(statistics * (STATISTIC_BYTES + 8 * cells), np.uint8)
    size = _pack(table, out)
    return seal(MAGIC, VERSION, _HEAD.pack(statistics, cells), out[:size].tobytes())


def opened(data: bytes, statistics: int, cells: int | None, what: str) -> bytes:
    """The checked payload of a value, for ``unpack``. ``cells`` None: any number. Raises DataCorrupted."""
    payload = bytes(unseal(data, MAGIC, VERSION, what))
    if len(payload) < HEAD_BYTES + statistics * STATISTIC_BYTES:
        raise DataCorrupted(f"{what} is cut off")
    found, count = _HEAD.unpack_from(payload)
    widths = payload[HEAD_BYTES + 8 : HEAD_BYTES + statistics * STATISTIC_BYTES : STATISTIC_BYTES]
    size = HEAD_BYTES + statistics * STATISTIC_BYTES + sum(widths) * count
    if found != statistics or cells not in (None, count) or max(widths) > 8 or size != len(payload):
        raise DataCorrupted(f"{what}: {found} statistics of {count} cells in {len(payload)} bytes")
    return payload


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Checked payloads one behind the other, the ``lengths`` of each and how many ``cells`` each has."""

    data: Bytes
    lengths: Int64s
    cells: Int64s

    @classmethod
    def of(cls, payloads: Sequence[bytes]) -> Joined:
        # Numbers are read as words, which reach up to seven bytes beyond the last one.
        data = np.frombuffer(b"".join((*payloads, _BEYOND)), np.uint8)
        lengths = np.fromiter(map(len, payloads), np.int64, len(payloads))
        cells = np.fromiter((_HEAD.unpack_from(payload)[1] for payload in payloads), np.int64, len(payloads))
        return cls(data, lengths, cells)

    @property
    def nbytes(self) -> int:
        return self.data.nbytes + self.lengths.nbytes + self.cells.nbytes

    def unpack(self, wanted: Sequence[int]) -> Int64s:
        """int64[wanted, cells]: the wanted statistics of all of them."""
        out = np.empty((len(wanted), int(self.cells.sum())), np.int64)
        _unpack(self.data, self.lengths, np.array(wanted, np.int64), out)
        return out


@kernel
def _pack(table: Int64s, out: Bytes) -> int:
    statistics, cells = table.shape
    at = 9 * int(statistics)
    for s in range(statistics):
        row = table[s]
        least = row[0]
        most = row[0]
        for i in range(cells):
            least = min(least, row[i])
            most = max(most, row[i])
        spread = np.uint64(most) - np.uint64(least)
        width = 0
        while width < 8 and spread >> np.uint64(8 * width) != 0:
            width += 1
        for byte in range(8):
            out[s * 9 + byte] = np.uint8(np.uint64(least) >> np.uint64(8 * byte) & np.uint64(255))
        out[s * 9 + 8] = width
        for i in range(cells):
            offset = np.uint64(row[i]) - np.uint64(least)
            for byte in range(width):
                out[at] = np.uint8(offset >> np.uint64(8 * byte) & np.uint64(255))
                at += 1
    return at


@inlined
def _number(data: Bytes, at: int, width: int) -> np.int64:
    """``width`` bytes, the lowest first."""
    if width == 0:
        return np.int64(0)
    return np.int64(load_word(data, at) & (_ONES >> np.uint64(64 - 8 * width)))


@borrowing
def _unpack(data: Bytes, lengths: Int64s, wanted: Int64s, out: Int64s) -> None:
    begin = 0
    filled = 0
    for value in range(len(lengths)):
        statistics = int(data[begin])
        cells = int(_number(data, begin + 1, 4))
        head = begin + 5
        first = head + 9 * statistics
        s, at = 0, first
        for w in range(len(wanted)):
            if wanted[w] < s:
                s, at = 0, first
            while s < wanted[w]:
                at += cells * int(data[head + 9 * s + 8])
                s += 1
            least = _number(data, head + 9 * s, 8)
            width = int(data[head + 9 * s + 8])
            if width == 0:
                for i in range(cells):
                    out[w, filled + i] = least
            else:
                ones = _ONES >> np.uint64(64 - 8 * width)
                for i in range(cells):
                    out[w, filled + i] = least + np.int64(load_word(data, at + i * width) & ones)
        filled += cells
        begin += lengths[value]
