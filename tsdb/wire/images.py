"""An Arrow column as PostgreSQL values: one byte string per row, in text or binary format.

``ColumnImages(type, format_code, zone).image(array)`` chooses, by the SQL type, the kernel that writes the values and
the form in which it wants them. The result is an ``Image``: where in a buffer each row's value lies. Text columns are
not copied, their image points into Arrow's own buffer; the values of a dictionary are written once each.

An image lives until the next call: its buffers are used again.

What the executor must deliver: columns of the Arrow type that ``SqlType.arrow`` names; any decimal, int64 or uint64
for numeric, or strings of numbers that have a scale each; any string or binary layout; a dictionary of
any of them; lists for arrays (of lists, for text format);
``types.NAMED_OID`` for the reg* types.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from tsdb.encodings import UTF8
from tsdb.errors import (
    FeatureNotSupported,
    InternalError,
    InvalidTextRepresentation,
    NumericValueOutOfRange,
    ProgramLimitExceeded,
)
from tsdb.kernels import readonly
from tsdb.types import INT8, REFERENCES, TEXT_FORMS, TEXT_ONLY, SqlType
from tsdb.wire import civil, decimals, digits, floats, octets, records, text_binary
from tsdb.wire.arrow_values import decimal_words, fixed_width, intervals, list_parts
from tsdb.wire.decimal_text import numeric_octets
from tsdb.wire.digits import Bytes, Lengths
from tsdb.wire.known_images import BYTES_MAX, VALUES_MAX, KnownImages
from tsdb.wire.messages import BINARY_FORMAT, TEXT_FORMAT
from tsdb.wire.transcoding import transcoded
from tsdb.zones import Zone

Int64s = npt.NDArray[np.int64]

# PostgreSQL's own limit of a value (MaxAllocSize); lengths are int32 on the wire.
VALUE_BYTES_MAX = (1 << 30) - 1

PG_EPOCH_US = 946_684_800_000_000
PG_EPOCH_DAYS = 10_957
_INT64_MAX = 2**63 - 1
_INT32_MAX = 2**31 - 1

_NO_BYTES = readonly(np.zeros(1, np.uint8))
_NO_TRANSITIONS = np.empty(0, np.int64)
_NO_OFFSET = np.zeros(1, np.int64)
# Layouts whose offsets have 32 bits.
_SHORT_TEXTS = (pa.string(), pa.binary())


@dataclass(frozen=True, slots=True)
class Image:
    """Row i's value is the ``lengths[i]`` bytes of ``octets`` from ``starts[i]``; a length of -1 is NULL.

    ``prefix`` is one more byte before every value (jsonb's version), or -1. ``addresses``, if they are known already,
    are those of the three arrays.
    """

    octets: Bytes
    starts: Int64s
    lengths: Lengths
    prefix: int = -1
    addresses: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Coded:
    """Row i's value is entry ``codes[i]`` of an image; ``codes`` is an Arrow array of int32."""

    values: Image
    codes: Any


@dataclass(frozen=True, slots=True)
class Texts:
    """Row i's value is the octets of a string array with offsets of 32 bits; ``prefix`` as an image's."""

    array: Any
    prefix: int = -1


@dataclass(frozen=True, slots=True)
class Numbers:
    """Row i's value is that of an int64 array, in decimal."""

    array: Any


Values = Image | Coded | Texts | Numbers


_KNOWN: KnownImages[Image] = KnownImages()


class ColumnImages:
    """Writes the columns of one SQL type in one format. Not for two threads at a time: it keeps its buffers."""

    def __init__(self, sql_type: SqlType, format_code: int, zone: Zone, codec: str = UTF8) -> None:
        self._type = sql_type
        self._zone = zone
        self._codec = codec
        self._binary = format_code == BINARY_FORMAT
        self._octets = _NO_BYTES
        self._lengths = np.empty(0, np.int32)
        self._writer: Callable[[ColumnImages, Any], Image]
        self._elements: ColumnImages | None = None
        self._fields: list[ColumnImages] = []
        # The last dictionary: what it is, itself, its image.
        self._known: tuple[tuple[Any, ...], Any, Image] | None = None
        if sql_type.element is not None:
            self._elements = ColumnImages(sql_type.element, format_code, zone, codec)
            as_text = ColumnImages._vector_text if sql_type.vector else ColumnImages._array_text
            self._writer = ColumnImages._array_binary if self._binary else as_text
        elif sql_type.fields is not None:
            self._fields = [ColumnImages(each.type, format_code, zone, codec) for each in sql_type.fields]
            self._writer = ColumnImages._record
        else:
            self._writer = (_BINARY if self._binary else _TEXT).get(sql_type.typname, ColumnImages._string)

    def image(self, array: Any) -> Image:
        """The image of a ``pa.Array`` with at least one row. A dictionary's values are written once each."""
        if pa.types.is_null(array.type) or array.null_count == len(array):
            nothing = np.full(len(array), octets.NULL_LENGTH, np.int32)
            return Image(_NO_BYTES, np.zeros(len(array), np.int64), nothing)
        if pa.types.is_dictionary(array.type):
            return gather(self.image(array.dictionary), array.indices)
        self._known = None  # its buffers are used again
        image = self._writer(self, array)
        _mark_nulls(array, image.lengths)
        return image

    def values(self, array: Any) -> Values:
        """As ``image``, but integers, texts and the codes of dictionaries as they lie in Arrow's buffers."""
        if array.null_count == len(array):
            return self.image(array)
        if isinstance(array, pa.DictionaryArray):
            return self._coded(array)
        if self._writer is ColumnImages._integer_text:
            if array.type != self._type.arrow:
                array = _cast(array, self._type, self._type.arrow)
            return Numbers(array if array.type == pa.int64() else array.cast(pa.int64()))
        if array.type in _SHORT_TEXTS and (
            self._writer is ColumnImages._numeric_text or (self._writer is ColumnImages._string and self._codec == UTF8)
        ):
            return Texts(array)
        return self.image(array)

    def _coded(self, array: Any) -> Coded:
        """Batches of one result mostly have one dictionary, whose values are written once."""
        codes, dictionary = array.indices, array.dictionary
        buffers = [None if buffer is None else buffer.address for buffer in dictionary.buffers()]
        identity = (dictionary.type, dictionary.offset, len(dictionary), *buffers)
        if self._known is None or self._known[0] != identity:
            # The dictionary is kept: another one could come to lie where it was.
            self._known = identity, dictionary, self._of_dictionary(identity, dictionary)
        return Coded(self._known[2], codes if codes.type == pa.int32() else codes.cast(pa.int32()))

    def _of_dictionary(self, identity: tuple[Any, ...], dictionary: Any) -> Image:
        """A series' tags have the same dictionary in each result: how its texts lie is found out once."""
        plain = self._writer is ColumnImages._string and self._codec == UTF8
        shared = plain and 0 < len(dictionary) <= VALUES_MAX and dictionary.null_count < len(dictionary)
        found = _KNOWN.get(identity) if shared else None
        if found is None:
            image = self.image(dictionary)
            found = replace(image, addresses=addresses_of(image))
            # Of a slice the whole buffers would be kept.
            if shared and dictionary.get_total_buffer_size() <= BYTES_MAX:
                _KNOWN.put(identity, dictionary, found)
        return found

    # --- buffers ---

    def _scratch(self, rows: int, width: int) -> tuple[Bytes, Lengths]:
        """Buffers for a kernel's output, kept for the next call: fresh memory costs more than writing to it."""
        self._octets = _at_least(self._octets, rows * width)
        if len(self._lengths) < rows:
            self._lengths = np.empty(rows, np.int32)
        return self._octets, self._lengths[:rows]

    def _strided(self, rows: int, width: int, run: Callable[[Bytes, Lengths], None]) -> Image:
        out, lengths = self._scratch(rows, width)
        run(out, lengths)
        return Image(out, _starts(rows, width), lengths)

    # --- text ---

    def _bool_text(self, array: Any) -> Image:
        letters = np.where(_bools(array), np.uint8(ord("t")), np.uint8(ord("f")))
        return _fixed(letters, 1)

    def _integer_text(self, array: Any) -> Image:
        values = readonly(self._numbers(array, self._type.arrow).astype(np.int64, copy=False))
        return self._strided(
            len(values), digits.INTEGER_WIDTH, lambda out, lengths: digits.format_integers(values, out, lengths)
        )

    def _reference_text(self, array: Any) -> Image:
        """A reg* value's name; a value without one comes as its number."""
        return self._string(pa.compute.struct_field(array, 1)) if _is_named(array) else self._integer_text(array)

    def _float8_text(self, array: Any) -> Image:
        values = self._numbers(array, pa.float64())
        bits = values.view(np.uint64)
        return self._strided(
            len(values), floats.FLOAT_WIDTH, lambda out, lengths: floats.format_float8(values, bits, out, lengths)
        )

    def _float4_text(self, array: Any) -> Image:
        bits = self._numbers(array, pa.float32()).view(np.uint32)
        return self._strided(
            len(bits), floats.FLOAT_WIDTH, lambda out, lengths: floats.format_float4(bits, out, lengths)
        )

    def _numeric_text(self, array: Any) -> Image:
        rows = len(array)
        if _is_string(array.type):
            return self._string(array)
        if pa.types.is_uint64(array.type):
            unsigned = fixed_width(array, np.uint64)
            return self._strided(
                rows, digits.INTEGER_WIDTH, lambda out, lengths: digits.format_unsigned(unsigned, out, lengths)
            )
        if pa.types.is_integer(array.type):
            return ColumnImages(INT8, TEXT_FORMAT, self._zone)._integer_text(array)
        words, count, scale = decimal_words(array)
        width = decimals.text_width(scale)
        return self._strided(
            rows, width, lambda out, lengths: decimals.format_decimals(words, count, scale, width, out, lengths)
        )

    def _date_text(self, array: Any) -> Image:
        days = self._numbers(array, pa.date32())
        return self._strided(len(days), civil.DATE_WIDTH, lambda out, lengths: civil.format_dates(days, out, lengths))

    def _time_text(self, array: Any) -> Image:
        us = self._numbers(array, pa.time64("us"))
        return self._strided(len(us), civil.TIME_WIDTH, lambda out, lengths: civil.format_times(us, out, lengths))

    def _timestamp_text(self, array: Any) -> Image:
        us = self._numbers(array, pa.timestamp("us"))
        return self._strided(
            len(us),
            civil.TIMESTAMP_WIDTH,
            lambda out, lengths: civil.format_timestamps(
                us, _NO_TRANSITIONS, _NO_OFFSET, _INT64_MAX, False, out, lengths
            ),
        )

    def _timestamptz_text(self, array: Any) -> Image:
        us = self._numbers(array, pa.timestamp("us", "UTC"))
        zone = self._zone
        return self._strided(
            len(us),
            civil.TIMESTAMP_WIDTH,
            lambda out, lengths: civil.format_timestamps(
                us, zone.transitions_us, zone.offsets_s, zone.end_us, True, out, lengths
            ),
        )

    def _interval_text(self, array: Any) -> Image:
        months, days, us = intervals(array)
        return self._strided(
            len(array),
            civil.INTERVAL_WIDTH,
            lambda out, lengths: civil.format_intervals(months, days, us, out, lengths),
        )

    def _bytea_text(self, array: Any) -> Image:
        source = self._string(array)
        lengths = (source.lengths * 2 + 2).astype(np.int32)
        ends = np.cumsum(lengths, dtype=np.int64)
        starts = ends - lengths
        self._octets = _at_least(self._octets, int(ends[-1]))
        octets.format_hex(source.octets, source.starts, source.lengths, self._octets, starts)
        return Image(self._octets, starts, lengths)

    def _string(self, array: Any) -> Image:
        """Strings of any layout, as they lie in Arrow's buffers."""
        if not _is_string(array.type):
            array = _cast(array, self._type, pa.large_string())
        elif not _has_offsets(array.type):
            array = array.cast(pa.large_binary())
        if self._codec != UTF8:
            array = transcoded(array if pa.types.is_string(array.type) else array.cast(pa.large_string()), self._codec)
        wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
        _, offset_buffer, value_buffer = array.buffers()
        dtype: Any = np.int64 if wide else np.int32
        bounds = np.frombuffer(offset_buffer, dtype, len(array) + 1, array.offset * (8 if wide else 4))
        lengths = np.diff(bounds)
        if wide and int(lengths.max()) > VALUE_BYTES_MAX:
            raise ProgramLimitExceeded(f"a value of type {self._type.name} is longer than {VALUE_BYTES_MAX} bytes")
        data = _NO_BYTES if not value_buffer else readonly(np.frombuffer(value_buffer, np.uint8))
        return Image(data, bounds[:-1].astype(np.int64), lengths.astype(np.int32, copy=False))

    # --- binary ---

    def _bool_binary(self, array: Any) -> Image:
        return _fixed(_bools(array).astype(np.uint8), 1)

    def _number_binary(self, array: Any) -> Image:
        values = self._numbers(array, self._type.arrow)
        return _fixed(values.astype(values.dtype.newbyteorder(">")), values.dtype.itemsize)

    def _oid_binary(self, array: Any) -> Image:
        if _is_named(array):
            array = pa.compute.struct_field(array, 0)
        return _fixed(self._numbers(array, self._type.arrow).astype(">u4"), 4)

    def _date_binary(self, array: Any) -> Image:
        days = self._numbers(array, pa.date32()).astype(np.int64)
        shifted = np.where(days >= _INT32_MAX, _INT32_MAX, days - PG_EPOCH_DAYS)
        return _fixed(np.where(days <= -_INT32_MAX, -_INT32_MAX - 1, shifted).astype(">i4"), 4)

    def _timestamp_binary(self, array: Any) -> Image:
        us = self._numbers(array, self._type.arrow)
        finite = (us != _INT64_MAX) & (us > -_INT64_MAX)
        edge = np.where(us > 0, _INT64_MAX, -_INT64_MAX - 1)
        return _fixed(np.where(finite, us - PG_EPOCH_US * finite, edge).astype(">i8"), 8)

    def _interval_binary(self, array: Any) -> Image:
        months, days, us = intervals(array)
        out = np.empty(len(array), [("us", ">i8"), ("days", ">i4"), ("months", ">i4")])
        out["us"], out["days"], out["months"] = us, days, months
        return _fixed(out, 16)

    def _numeric_binary(self, array: Any) -> Image:
        if _is_string(array.type):
            return _joined([b"" if t is None else numeric_octets(t) for t in array.to_pylist()])
        words, count, scale = decimal_words(array)
        width = decimals.binary_width(scale)
        return self._strided(
            len(array), width, lambda out, lengths: decimals.encode_decimals(words, count, scale, width, out, lengths)
        )

    def _uuid_binary(self, array: Any) -> Image:
        source = self._string(array)
        _mark_nulls(array, source.lengths)
        out = np.zeros(len(array) * 16, np.uint8)
        bad = octets.encode_uuids(source.octets, source.starts, source.lengths, out)
        if bad >= 0:
            raise InvalidTextRepresentation(f'invalid input syntax for type uuid: "{array[bad].as_py()}"')
        return _fixed(out, 16)

    def _jsonb_binary(self, array: Any) -> Image:
        return replace(self._string(array), prefix=1)

    def _zoned_range_text(self, array: Any) -> Image:
        """tstzrange: its bounds are in UTC inside."""
        distinct = array.cast(pa.string()).dictionary_encode()
        texts = [text_binary.range_in_zone(t, self._zone).encode() for t in distinct.dictionary.to_pylist()]
        return gather(_joined(texts), distinct.indices)

    def _text_form_binary(self, array: Any) -> Image:
        """Types that are texts inside: each distinct one is read once."""
        distinct = array.cast(pa.string()).dictionary_encode()
        values = _joined([text_binary.octets_of(self._type.typname, t) for t in distinct.dictionary.to_pylist()])
        return gather(values, distinct.indices)

    def _void_binary(self, array: Any) -> Image:
        return Image(_NO_BYTES, np.zeros(len(array), np.int64), np.zeros(len(array), np.int32))

    def _no_binary(self, array: Any) -> Image:
        raise FeatureNotSupported(f"values of type {self._type.name} are sent in text format only")

    def _record(self, array: Any) -> Image:
        """Rows of several values; a row without any is a struct still."""
        images = [field.image(pa.compute.struct_field(array, i)) for i, field in enumerate(self._fields)]
        kinds = [field._type.oid for field in self._fields]
        values = [(readonly(i.octets), i.starts, i.lengths, i.prefix) for i in images]
        bounds, size = records.bounds_of(values, len(array), binary=self._binary)
        self._octets = _at_least(self._octets, size)
        lengths = records.write(values, kinds, bounds, self._octets, binary=self._binary)
        if size and int(lengths.max()) > VALUE_BYTES_MAX:
            raise ProgramLimitExceeded(f"a value of type {self._type.name} is longer than {VALUE_BYTES_MAX} bytes")
        return Image(self._octets, bounds, lengths)

    # --- arrays ---

    def _array_text(self, array: Any) -> Image:
        offsets, children = list_parts(array)
        nested = pa.types.is_list(children.type) or pa.types.is_large_list(children.type)
        if nested:
            inner = ColumnImages(self._type, TEXT_FORMAT, self._zone, self._codec)
            image = inner.image(children)
        else:
            image = self._element_image(children)
        size = 2 * len(array) + 2 * int(np.maximum(image.lengths, 0).sum(dtype=np.int64)) + 5 * len(children)
        self._octets = _at_least(self._octets, size)
        bounds = np.empty(len(array) + 1, np.int64)
        octets.format_arrays(readonly(image.octets), image.starts, image.lengths, offsets, nested, self._octets, bounds)
        return self._bounded(bounds)

    def _vector_text(self, array: Any) -> Image:
        """int2vectorout, oidvectorout: elements with blanks between them."""
        offsets, children = list_parts(array)
        texts = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), children.cast(pa.string()))
        return self._string(pa.compute.binary_join(texts, " "))

    def _array_binary(self, array: Any) -> Image:
        offsets, children = list_parts(array)
        if pa.types.is_list(children.type) or pa.types.is_large_list(children.type):
            raise FeatureNotSupported("arrays of several dimensions are sent in text format only")
        image = self._element_image(children)
        assert self._type.element is not None
        size = 20 * len(array) + int(np.maximum(image.lengths, 0).sum(dtype=np.int64)) + 5 * len(children)
        self._octets = _at_least(self._octets, size)
        bounds = np.empty(len(array) + 1, np.int64)
        octets.encode_arrays(
            readonly(image.octets),
            image.starts,
            image.lengths,
            image.prefix,
            offsets,
            self._type.element.oid,
            0 if self._type.vector else 1,
            self._octets,
            bounds,
        )
        return self._bounded(bounds)

    def _element_image(self, children: Any) -> Image:
        assert self._elements is not None
        if len(children) == 0:
            return Image(_NO_BYTES, np.empty(0, np.int64), np.empty(0, np.int32))
        return self._elements.image(children)

    def _bounded(self, bounds: Int64s) -> Image:
        lengths = np.diff(bounds)
        if int(lengths.max()) > VALUE_BYTES_MAX:
            raise ProgramLimitExceeded(f"a value of type {self._type.name} is longer than {VALUE_BYTES_MAX} bytes")
        return Image(self._octets, bounds[:-1], lengths.astype(np.int32))

    def _numbers(self, array: Any, arrow: Any) -> Any:
        """The values as a numpy array of the type's own width, NULLs with whatever lies there."""
        if array.type != arrow and not (pa.types.is_timestamp(arrow) and _is_us_timestamp(array.type)):
            array = _cast(array, self._type, arrow)
        return fixed_width(array, _NUMPY[arrow.bit_width, pa.types.is_floating(arrow)])


_NUMPY: dict[tuple[int, bool], Any] = {
    (16, False): np.int16,
    (32, False): np.int32,
    (64, False): np.int64,
    (32, True): np.float32,
    (64, True): np.float64,
}

_TEXT: dict[str, Callable[[ColumnImages, Any], Image]] = {
    "bool": ColumnImages._bool_text,
    "int2": ColumnImages._integer_text,
    "int4": ColumnImages._integer_text,
    "int8": ColumnImages._integer_text,
    "oid": ColumnImages._integer_text,
    "xid": ColumnImages._integer_text,
    "cid": ColumnImages._integer_text,
    "xid8": ColumnImages._integer_text,
    **{t.typname: ColumnImages._reference_text for t in REFERENCES},
    "float4": ColumnImages._float4_text,
    "float8": ColumnImages._float8_text,
    "numeric": ColumnImages._numeric_text,
    "bytea": ColumnImages._bytea_text,
    "date": ColumnImages._date_text,
    "time": ColumnImages._time_text,
    "timestamp": ColumnImages._timestamp_text,
    "timestamptz": ColumnImages._timestamptz_text,
    "interval": ColumnImages._interval_text,
    "tstzrange": ColumnImages._zoned_range_text,
}

_BINARY: dict[str, Callable[[ColumnImages, Any], Image]] = {
    "bool": ColumnImages._bool_binary,
    "int2": ColumnImages._number_binary,
    "int4": ColumnImages._number_binary,
    "int8": ColumnImages._number_binary,
    "oid": ColumnImages._oid_binary,
    "xid": ColumnImages._oid_binary,
    "cid": ColumnImages._oid_binary,
    "xid8": ColumnImages._number_binary,
    **{t.typname: ColumnImages._oid_binary for t in REFERENCES},
    **dict.fromkeys((*TEXT_ONLY, "record", "aclitem", "anyarray", "pg_node_tree"), ColumnImages._no_binary),
    **dict.fromkeys(TEXT_FORMS, ColumnImages._text_form_binary),
    "void": ColumnImages._void_binary,
    "float4": ColumnImages._number_binary,
    "float8": ColumnImages._number_binary,
    "numeric": ColumnImages._numeric_binary,
    "date": ColumnImages._date_binary,
    "time": ColumnImages._number_binary,
    "timestamp": ColumnImages._timestamp_binary,
    "timestamptz": ColumnImages._timestamp_binary,
    "interval": ColumnImages._interval_binary,
    "uuid": ColumnImages._uuid_binary,
    "jsonb": ColumnImages._jsonb_binary,
}


def gather(values: Image, indices: Any) -> Image:
    """The image of rows that refer to ``values`` by a ``pa.Array`` of indices."""
    positions = indices.fill_null(0).to_numpy(zero_copy_only=False) if indices.null_count else indices.to_numpy()
    lengths = values.lengths[positions]
    _mark_nulls(indices, lengths)
    return replace(values, starts=values.starts[positions], lengths=lengths)


def addresses_of(image: Image) -> tuple[int, int, int]:
    """Where an image's arrays begin, for kernels that take any number of images."""
    assert image.starts.flags.c_contiguous
    assert image.lengths.flags.c_contiguous
    return _address(image.octets), _address(image.starts), _address(image.lengths)


def _address(array: npt.NDArray[np.generic]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _mark_nulls(array: Any, lengths: Lengths) -> None:
    if array.null_count:
        octets.mark_nulls(readonly(np.frombuffer(array.buffers()[0], np.uint8)), array.offset, lengths)


def _at_least(buffer: Bytes, size: int) -> Bytes:
    return buffer if len(buffer) >= size else np.empty(size + size // 4, np.uint8)


def _starts(rows: int, width: int) -> Int64s:
    return np.arange(0, rows * width, width, dtype=np.int64)


def _joined(values: list[bytes]) -> Image:
    lengths = np.array([len(v) for v in values], np.int32)
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    return Image(np.frombuffer(b"".join(values) or b"\0", np.uint8), starts, lengths)


def _fixed(values: npt.NDArray[Any], width: int) -> Image:
    rows = values.nbytes // width
    return Image(values.view(np.uint8), _starts(rows, width), np.full(rows, width, np.int32))


def _bools(array: Any) -> npt.NDArray[np.uint8]:
    if not pa.types.is_boolean(array.type):
        raise InternalError(f"a boolean column came as {array.type}")
    bits = np.unpackbits(np.frombuffer(array.buffers()[1], np.uint8), bitorder="little")
    return bits[array.offset : array.offset + len(array)]


def _is_named(array: Any) -> bool:
    return bool(pa.types.is_struct(array.type))


def _is_us_timestamp(arrow: Any) -> bool:
    return bool(pa.types.is_timestamp(arrow)) and arrow.unit == "us"


def _is_string(arrow: Any) -> bool:
    kinds = pa.types
    return bool(_has_offsets(arrow) or kinds.is_string_view(arrow) or kinds.is_binary_view(arrow))


def _has_offsets(arrow: Any) -> bool:
    kinds = pa.types
    return bool(
        kinds.is_string(arrow) or kinds.is_binary(arrow) or kinds.is_large_string(arrow) or kinds.is_large_binary(arrow)
    )


def _cast(array: Any, sql_type: SqlType, arrow: Any) -> Any:
    try:
        return array.cast(arrow)
    except pa.ArrowNotImplementedError:
        raise InternalError(f"a column of type {sql_type.name} came as Arrow's {array.type}") from None
    except pa.ArrowInvalid:
        raise NumericValueOutOfRange(f"{sql_type.name} out of range") from None
