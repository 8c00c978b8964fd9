"""COPY's fields to columns of values in their query form, a column at a time.

What a kernel reads for sure it reads; all else, and all other types, by the type's own rules, each distinct text once.
A row whose field is no value of its type is NULL in the array and listed as bad; ``explain`` says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tsdb import zones
from tsdb.errors import CharacterNotInRepertoire, DatetimeFieldOverflow, TsdbError
from tsdb.model.schema import Column, Role
from tsdb.model.store import TIME_NS
from tsdb.model.time import NS_PER_US, POINT_NS_MAX, POINT_NS_MIN
from tsdb.sql import storage_form
from tsdb.sql.context import Context
from tsdb.sql.copy import value_kernels as kernels
from tsdb.sql.copy.cut import Fields
from tsdb.sql.copy.cut_kernels import Bytes, Int32s, Int64s
from tsdb.sql.dml import constant_rows
from tsdb.sql.literal import INTEGER_RANGES
from tsdb.types import DATE, FLOAT4, FLOAT8, NUMERIC, TEXT, TIMESTAMP, TIMESTAMPTZ, VARCHAR

Mask = npt.NDArray[np.bool_]

_DAY_US = 86_400_000_000
_NO_ROWS = np.empty(0, np.int64)
PLAIN_TEXTS = (TEXT, VARCHAR)


@dataclass(frozen=True, slots=True)
class Values:
    """A column in its query form; ``bad`` are the rows whose fields are no values of it, ascending."""

    array: pa.Array
    bad: Int64s = field(default_factory=lambda: _NO_ROWS)


class TextValues:
    """Reads the fields of the text and csv formats."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def read(self, column: Column, fields: Fields, at: int) -> Values:
        """Column ``at`` of the fields as values of ``column``."""
        rows = fields.rows
        starts, ends = fields.starts[at, :rows], fields.ends[at, :rows]
        known = fields.integers.get(at)
        if known is not None:
            return storable(column, self._known_integers(column, fields, at, known[:rows].copy()))
        return storable(column, self._read(column, fields.octets, starts, ends))

    def explain(self, column: Column, octets: bytes) -> TsdbError | None:
        """What is wrong with a field; None for nothing."""
        try:
            check_storable(column, self._array_of_one(column, octets))
        except TsdbError as error:
            return error
        return None

    def _array_of_one(self, column: Column, octets: bytes) -> pa.Array:
        return constant_rows.array_of(column, [constant_rows.read_value(column, decoded(octets), self._context)])

    def _read(self, column: Column, octets: Bytes, starts: Int32s, ends: Int32s) -> Values:
        kind = column.type
        if kind in INTEGER_RANGES:
            return self._integers(column, octets, starts, ends)
        if kind in (FLOAT4, FLOAT8):
            return self._floats(column, octets, starts, ends)
        if kind in (TIMESTAMP, TIMESTAMPTZ):
            return self._timestamps(column, octets, starts, ends)
        if kind == DATE:
            days = np.zeros(len(starts), np.int32)
            odd = np.empty(len(starts), np.int32)
            count = kernels.read_dates(octets, starts, ends, days, odd)
            return self._finished(column, days, octets, starts, ends, odd[:count])
        texts, bad = strings(octets, starts, ends)
        if kind in PLAIN_TEXTS:
            return Values(texts, bad)
        return self._by_distinct(column, texts, bad)

    def _integers(self, column: Column, octets: Bytes, starts: Int32s, ends: Int32s) -> Values:
        out = np.zeros(len(starts), np.int64)
        odd = np.empty(len(starts), np.int32)
        low, high = INTEGER_RANGES[column.type]
        count = kernels.read_integers(octets, starts, ends, low, high, out, odd)
        return self._finished(column, out, octets, starts, ends, odd[:count])

    def _known_integers(self, column: Column, fields: Fields, at: int, out: Int64s) -> Values:
        """Those that were read while they were cut; of slow rows they are read now."""
        if at in fields.whole:
            return Values(array_of_numbers(out, None, column.type.arrow))
        starts, ends, slow = fields.starts[at, : fields.rows], fields.ends[at, : fields.rows], fields.slow
        odd = slow
        if len(slow):
            read, odd = np.zeros(len(slow), np.int64), np.empty(len(slow), np.int32)
            low, high = INTEGER_RANGES[column.type]
            odd = slow[odd[: kernels.read_integers(fields.octets, starts[slow], ends[slow], low, high, read, odd)]]
            out[slow] = read
        return self._finished(column, out, fields.octets, starts, ends, odd)

    def _floats(self, column: Column, octets: Bytes, starts: Int32s, ends: Int32s) -> Values:
        out = np.zeros(len(starts), np.float64)
        odd = np.empty(len(starts), np.int32)
        rest = odd[: kernels.read_floats(octets, starts, ends, out, odd)]
        if len(rest):
            rest = _many_digits(octets, starts, ends, out, rest)
        with np.errstate(over="ignore"):
            # What is too large or too small for float4 is left to the type's own rules.
            narrow = out.astype(np.float32).astype(np.float64)
        if column.type == FLOAT4:
            odd_mask = np.zeros(len(out), np.bool_)
            odd_mask[rest] = True
            odd_mask |= (np.isinf(narrow) != np.isinf(out)) | ((narrow == 0) & (out != 0))
            rest = np.flatnonzero(odd_mask).astype(np.int32)
        return self._finished(column, out, octets, starts, ends, rest)

    def _timestamps(self, column: Column, octets: Bytes, starts: Int32s, ends: Int32s) -> Values:
        out = np.zeros(len(starts), np.int64)
        local = np.zeros(len(starts), np.bool_)
        odd = np.empty(len(starts), np.int32)
        zoned = column.type == TIMESTAMPTZ
        count = kernels.read_timestamps(octets, starts, ends, zoned, out, local, odd)
        if zoned and local.any():
            out[local] = utc_of_local(out[local], zones.zone(self._context.time_zone))
        return self._finished(column, out, octets, starts, ends, odd[:count])

    def _finished(self, column: Column, out: Any, octets: Bytes, starts: Int32s, ends: Int32s, odd: Int32s) -> Values:
        """The kernel's numbers as the column's Arrow type, the odd rows read one distinct text after the other."""
        valid = ends >= 0
        if not len(odd):
            return Values(array_of_numbers(out, valid, column.type.arrow))
        texts, undecoded = strings(octets, starts[odd], ends[odd])
        read = self._by_distinct(column, texts, undecoded)
        bad = odd[read.bad].astype(np.int64)
        valid[bad] = False
        numbers = array_of_numbers(out, valid, column.type.arrow)
        mask = np.zeros(len(out), np.bool_)
        mask[odd] = True
        return Values(pc.replace_with_mask(numbers, mask, read.array), bad)

    def _by_distinct(self, column: Column, texts: pa.Array, undecoded: Int64s) -> Values:
        encoded = texts.dictionary_encode()
        values: list[Any] = []
        wrong: list[bool] = []
        for text in encoded.dictionary.to_pylist():
            try:
                value = constant_rows.read_value(column, text, self._context)
                if column.type == NUMERIC or column.type.element == NUMERIC:
                    constant_rows.array_of(column, [value])
                values.append(value)
                wrong.append(False)
            except TsdbError:
                values.append(None)
                wrong.append(True)
        array = constant_rows.array_of(column, values).take(encoded.indices)
        if not any(wrong):
            return Values(array, undecoded)
        codes = encoded.indices.fill_null(len(wrong)).to_numpy(zero_copy_only=False)
        bad = np.flatnonzero(np.array([*wrong, False])[codes])
        return Values(array, np.union1d(bad, undecoded).astype(np.int64))


def decoded(field: bytes) -> str:
    """A field as text. Raises CharacterNotInRepertoire."""
    try:
        text = field.decode()
    except UnicodeDecodeError as error:
        shown = " ".join(f"0x{octet:02x}" for octet in field[error.start : max(error.end, error.start + 1)])
        raise CharacterNotInRepertoire(f'invalid byte sequence for encoding "UTF8": {shown}') from None
    if "\0" in text:
        raise CharacterNotInRepertoire('invalid byte sequence for encoding "UTF8": 0x00')
    return text


def strings(octets: Bytes, starts: Int32s, ends: Int32s) -> tuple[pa.Array, Int64s]:
    """Fields as an Arrow string array, and the rows that are no text of UTF-8 (NULL in the array)."""
    array = _gathered(octets, starts, ends, pa.string())
    data = array.buffers()[2]
    plain = data.to_pybytes() if data is not None else b""
    if plain.isascii() and 0 not in plain:
        return array, _NO_ROWS
    try:
        if 0 not in plain:
            plain.decode()
            array.validate(full=True)
            return array, _NO_ROWS
    except (UnicodeDecodeError, pa.ArrowInvalid):
        pass
    bad = [row for row in range(len(starts)) if ends[row] >= 0 and not _is_text(octets[starts[row] : ends[row]])]
    ends = ends.copy()
    ends[bad] = -1
    return _gathered(octets, starts, ends, pa.string()), np.array(bad, np.int64)


def _is_text(octets: Bytes) -> bool:
    try:
        decoded(octets.tobytes())
    except TsdbError:
        return False
    return True


def binaries(octets: Bytes, starts: Int32s, ends: Int32s) -> pa.Array:
    return _gathered(octets, starts, ends, pa.binary())


def _gathered(octets: Bytes, starts: Int32s, ends: Int32s, arrow: pa.DataType) -> pa.Array:
    valid = ends >= 0
    lengths = np.where(valid, ends - starts, 0)
    offsets = np.zeros(len(starts) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    data = np.empty(max(int(offsets[-1]), 1), np.uint8)
    kernels.gather(octets, np.ascontiguousarray(starts), np.ascontiguousarray(ends), offsets, data)
    buffers = [bitmap(valid), pa.py_buffer(offsets), pa.py_buffer(data[: int(offsets[-1])])]
    return pa.Array.from_buffers(arrow, len(starts), buffers)


def bitmap(valid: Mask) -> pa.Buffer | None:
    """Arrow's validity of a mask; None where all is valid."""
    return None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))


def array_of_numbers(numbers: Any, valid: Mask | None, arrow: pa.DataType) -> pa.Array:
    """Numbers as an array of a type of fixed width: the width is the type's, the values are its own form. ``valid``
    None: all are."""
    if valid is None and numbers.dtype == np.int64 and arrow == pa.int64():
        return pa.Array.from_buffers(arrow, len(numbers), [None, pa.py_buffer(numbers)], 0)
    dtype: Any = np.dtype(f"f{arrow.bit_width // 8}" if pa.types.is_floating(arrow) else f"i{arrow.bit_width // 8}")
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(numbers.astype(dtype, copy=False))
    return pa.Array.from_buffers(arrow, len(narrow), [None if valid is None else bitmap(valid), pa.py_buffer(narrow)])


def _many_digits(octets: Bytes, starts: Int32s, ends: Int32s, out: Any, odd: Int32s) -> Int32s:
    """Floats of many digits by Arrow's reader, which rounds to the nearest; what is left is odd still."""
    texts, bad = strings(octets, starts[odd], ends[odd])
    if len(bad):
        return odd
    shaped = pc.match_substring_regex(texts, r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?$").to_numpy(
        zero_copy_only=False
    )
    known = np.flatnonzero(shaped.astype(np.bool_))
    numbers = texts.take(pa.array(known)).cast(pa.float64()).to_numpy(zero_copy_only=False)
    sure = np.isfinite(numbers) & (np.abs(numbers) > 1e-300)
    out[odd[known[sure]]] = numbers[sure]
    return np.delete(odd, known[sure])


def utc_of_local(local_us: Int64s, zone: zones.Zone) -> Int64s:
    """UTC times of local ones in a zone: between two changes of the clocks all at once, near one each by itself."""
    before, after = _offsets_us(local_us - _DAY_US, zone), _offsets_us(local_us + _DAY_US, zone)
    utc = local_us - before
    for row in np.flatnonzero((before != after) | (local_us + _DAY_US >= zone.end_us)).tolist():
        utc[row] = zone.utc_us(int(local_us[row]))
    return utc


def _offsets_us(us: Int64s, zone: zones.Zone) -> Int64s:
    offsets: Int64s = zone.offsets_s[np.searchsorted(zone.transitions_us, us, side="right")] * 1_000_000
    return offsets


# --- what can be stored ---


def check_storable(column: Column, array: pa.Array) -> None:
    if column.role is not Role.TIME:
        storage_form.to_stored(array, column)
    bad = _out_of_range(column, array)
    if len(bad):
        raise DatetimeFieldOverflow(
            "time is out of range", detail="Points lie between the years 1677 and 2262.", hint="Check the time's unit."
        )


def storable(column: Column, values: Values) -> Values:
    """Also the rows that are too long or too large for the column's type modifier are bad, and times out of range."""
    array = values.array
    bad = _out_of_range(column, array)
    if column.typmod >= 0 and column.role is not Role.TIME:
        bad = np.union1d(bad, _refused(array, column, 0))
    if not len(bad):
        return values
    mask = np.zeros(len(array), np.bool_)
    mask[bad] = True
    emptied = pc.if_else(pa.array(mask), pa.scalar(None, array.type), array)
    return Values(emptied, np.union1d(values.bad, bad).astype(np.int64))


def _out_of_range(column: Column, array: pa.Array) -> Int64s:
    if column.role is Role.TIME:
        unit = NS_PER_US
    elif column.name == TIME_NS and column.number == 0:
        unit = 1
    else:
        return _NO_ROWS
    times = array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return np.flatnonzero((times < -(-POINT_NS_MIN // unit)) | (times > POINT_NS_MAX // unit))


def _refused(array: pa.Array, column: Column, first: int) -> Int64s:
    """The rows that cannot be stored, found by halves: they are few."""
    try:
        storage_form.to_stored(array, column)
    except TsdbError:
        if len(array) == 1:
            return np.array([first], np.int64)
        half = len(array) // 2
        return np.concatenate(
            [_refused(array.slice(0, half), column, first), _refused(array.slice(half), column, first + half)]
        )
    return _NO_ROWS
