"""Hot columns: what is read again and again of blocks, decoded, in as few bytes as its numbers need.

A page costs 5 µs to decode, whatever few rows of it are wanted, and a query for the last minutes of all hosts wants few
rows of every page. A column that was read before is decoded as a whole, once, and kept: 1 byte for a value of 0 to 100,
2 for a time among those of two hours at whole seconds. Reading rows of it is one pass of a kernel, and reading rows of
many columns of many blocks is one call: each column has a *line* for a table of them (``read_columns``).

Columns with absent values, texts and booleans are not kept so.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tsdb.kernels import borrowing, inlined, int64_at, kernel, octet_at, uint16_at, uint32_at
from tsdb.storage import decimals
from tsdb.storage.codec import StoredColumn
from tsdb.storage.pages import Spans

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

# The exponent of what is not a decimal.
BITS = -1
_WIDTHS = (np.uint8, np.uint16, np.uint32)
_EVERYTHING: Mask = np.empty(0, np.bool_)
# A line: the address of the numbers, how many, octets of each, base, step, exponent.
_LINE = struct.Struct("=6q")
LINE_NUMBERS = 6


@dataclass(frozen=True, slots=True, eq=False)
class HotColumn:
    """``numbers`` are uint8, uint16, uint32 or int64; value i is ``base + step * numbers[i]``.

    ``exponent`` as ``StoredColumn.bits`` has it: these are the bits of values, or float8s that are n / 10**exponent.
    """

    numbers: npt.NDArray[np.generic]
    base: int
    step: int
    exponent: int
    line: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        numbers = self.numbers
        decimals.check_exponent(self.exponent)
        line = _LINE.pack(
            numbers.ctypes.data, len(numbers), numbers.itemsize, self.base, self.step, self.exponent
        )  # fmt: skip
        object.__setattr__(self, "line", line)

    @property
    def nbytes(self) -> int:
        return self.numbers.nbytes

    def read(self, starts: Int64s, stops: Int64s, out: Int64s) -> None:
        """The values of the row ranges, one behind the other, as 64 bits each; ``out`` has room for just those."""
        _read(self.numbers, self.base, self.step, starts, stops, out)
        if self.exponent >= 0:
            decimals.unscale(out, self.exponent, out.view(np.float64))

    def values(self, spans: Spans) -> Int64s:
        """As ``read`` fills them."""
        out = np.empty(spans.rows, np.int64)
        self.read(spans.starts, spans.stops, out)
        return out

    def place(self, value: int) -> int:
        """The first number that stands for at least ``value``, which is not far from the column's values."""
        return -((self.base - value) // self.step)


def hot_of(stored: StoredColumn) -> HotColumn | None:
    """A column decoded; None for one that is not kept so. Raises DataCorrupted."""
    found = stored.bits()
    if found is None:
        return None
    values, exponent = found
    least, most = int(values.min()), int(values.max())
    if least >= 0 and most < 1 << 8:
        return HotColumn(values.astype(np.uint8), 0, 1, exponent)
    step = 1
    if most - least >= 1 << 8:
        # Times are many steps of a second, or of as many as lie between two measurements, apart.
        step = max(1, int(_common_step(values, least))) if most - least < 1 << 63 else 1
    apart = (most - least) // step
    for width in _WIDTHS:
        if apart <= np.iinfo(width).max:
            return HotColumn(((values - least) // step).astype(width), least, step, exponent)
    return HotColumn(values, 0, 1, exponent)


def read_columns(columns: Sequence[Sequence[HotColumn]], counts: Int64s, starts: Int64s, stops: Int64s) -> Int64s:
    """int64[columns, rows]: of several blocks' columns the values in row ranges, one block behind the other.

    ``columns[c][b]`` is column c of block b, to which the next ``counts[b]`` of the ranges belong.
    """
    out = np.empty((len(columns), int((stops - starts).sum())), np.int64)
    table = np.frombuffer(b"".join([each.line for column in columns for each in column]), np.int64)
    _read_columns(table.reshape(len(columns), len(counts), -1), counts, starts, stops, out, out.view(np.float64))
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """Row ranges of blocks, block by block: ``counts[b]`` of them, with ``rows[b]`` rows, are of block b."""

    starts: Int64s
    stops: Int64s
    tagsets: Int32s
    counts: Int64s
    rows: Int64s


# Of a block of which all times are in the range.
_NO_LINE = bytes(_LINE.size)


def locate(
    runs: Sequence[tuple[Int32s, Int64s]],
    times: Sequence[HotColumn | None],
    ranges: Sequence[tuple[int, int]],
    wanted: Mask | None,
) -> Located:
    """The rows of blocks that are of a wanted tag set and whose time is in the block's range [low, high).

    ``runs`` are the blocks' ids and offsets; ``times`` None says that all of a block is in its range. A range is not
    far from the block's times.
    """
    ids, offsets = np.concatenate([each[0] for each in runs]), np.concatenate([each[1] for each in runs])
    sizes = np.fromiter((len(each[0]) for each in runs), np.int64, len(runs))
    lines = b"".join([_NO_LINE if each is None else each.line for each in times])
    table = np.frombuffer(lines, np.int64).reshape(len(runs), -1)
    room, blocks = len(ids), len(runs)
    found = Located(
        np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int32),
        np.empty(blocks, np.int64), np.empty(blocks, np.int64),
    )  # fmt: skip
    _locate(
        ids, offsets, sizes, table, np.array(ranges, np.int64), _EVERYTHING if wanted is None else wanted,
        wanted is None, found.starts, found.stops, found.tagsets, found.counts, found.rows,
    )  # fmt: skip
    return found


@kernel
def _common_step(values: Int64s, least: int) -> int:
    """The greatest number of which all distances from the least are multiples; 1 as soon as that is sure."""
    step = 0
    for i in range(len(values)):
        a, b = step, values[i] - least
        while b:
            a, b = b, a % b
        step = a
        if step == 1:
            return 1
    return step


@kernel
def _read(
    numbers: npt.NDArray[np.generic], base: int, step: int, starts: Int64s, stops: Int64s, out: Int64s
) -> None:  # fmt: skip
    at = 0
    for i in range(len(starts)):
        for row in range(starts[i], stops[i]):
            out[at] = base + step * np.int64(numbers[row])
            at += 1


@inlined
def _fill(line: npt.NDArray[np.int64], start: int, stop: int, out: Int64s, at: int) -> None:
    """The values of the rows [start, stop) of a column, to ``out`` from ``at``."""
    address, count, width, base, step = line[0], line[1], line[2], line[3], line[4]
    if width == 1:
        for row in range(start, stop):
            out[at + row - start] = base + step * octet_at(address, row, count)
    elif width == 2:
        for row in range(start, stop):
            out[at + row - start] = base + step * uint16_at(address, row, count)
    elif width == 4:
        for row in range(start, stop):
            out[at + row - start] = base + step * uint32_at(address, row, count)
    else:
        for row in range(start, stop):
            out[at + row - start] = base + step * int64_at(address, row, count)


@kernel
def _read_columns(
    table: npt.NDArray[np.int64], counts: Int64s, starts: Int64s, stops: Int64s, out: Int64s,
    floats: npt.NDArray[np.float64],
) -> None:  # fmt: skip
    for c in range(len(out)):
        at = 0
        piece = 0
        for b in range(len(counts)):
            begin = at
            for i in range(piece, piece + counts[b]):
                _fill(table[c, b], starts[i], stops[i], out[c], at)
                at += stops[i] - starts[i]
            piece += counts[b]
            exponent = table[c, b, 5]
            if exponent >= 0:
                for k in range(begin, at):
                    floats[c, k] = out[c, k] / decimals.POWERS[exponent]


@kernel
def _locate(
    ids: Int32s, offsets: Int64s, sizes: Int64s, table: npt.NDArray[np.int64], ranges: Int64s, wanted: Mask,
    everything: bool, starts: Int64s, stops: Int64s, tagsets: Int32s, counts: Int64s, rows: Int64s,
) -> None:  # fmt: skip
    run = 0
    count = 0
    for b in range(len(sizes)):
        line = table[b]
        timed, base, step = line[2] > 0, line[3], max(np.int64(1), line[4])
        # The first numbers that stand for at least the range's ends.
        first, last = -((base - ranges[b, 0]) // step), -((base - ranges[b, 1]) // step)
        begin = count
        total = 0
        for r in range(run, run + sizes[b]):
            # An id beyond the mask is newer than the view.
            if everything or (ids[r] < len(wanted) and wanted[ids[r]]):
                # Offsets are one more than ids, of each block.
                start, stop = offsets[r + b], offsets[r + b + 1]
                if timed:
                    start = at_least(line, start, stop, first)
                    stop = at_least(line, start, stop, last)
                if start < stop:
                    starts[count], stops[count], tagsets[count] = start, stop, ids[r]
                    count += 1
                    total += stop - start
        run += sizes[b]
        counts[b], rows[b] = count - begin, total


@inlined
def number_at(line: npt.NDArray[np.int64], row: int) -> int:
    width = line[2]
    if width == 1:
        return octet_at(line[0], row, line[1])
    if width == 2:
        return uint16_at(line[0], row, line[1])
    if width == 4:
        return uint32_at(line[0], row, line[1])
    return int64_at(line[0], row, line[1])


@borrowing
def at_least(line: npt.NDArray[np.int64], start: int, stop: int, bound: int) -> int:
    while start < stop:
        middle = (start + stop) // 2
        if number_at(line, middle) < bound:
            start = middle + 1
        else:
            stop = middle
    return start
