"""The values of a Bind message, text or binary, as Python values, by PostgreSQL's input rules and SQLSTATEs.

    bool → bool            int2, int4, int8, oid → int       float4, float8 → float
    numeric → Decimal      text, varchar, json, uuid … → str bytea → bytes
    timestamptz, timestamp, date, time → the dataclasses of tsdb.datetimes       interval → tsdb.intervals.Interval
    arrays → list, nested for several dimensions             NULL → None

Values stay exact: years beyond ``datetime``'s, infinity, all digits of numeric. What is not a value of its type
raises ``DataError`` and names the parameter; what is not even the type's binary form, ``ProtocolViolation`` (08P01,
too short) or ``InvalidBinaryRepresentation`` (22P03, too long, or wrong inside).

Source: PostgreSQL 15, src/backend/utils/adt (the types' _in and _recv functions), tcop/postgres.c
(exec_bind_message).
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Context as DecimalContext
from decimal import Decimal
from typing import Any, NoReturn

from tsdb.datetimes import (
    DAYS_INFINITY,
    DAYS_MAX,
    DAYS_MIN,
    DAYS_MINUS_INFINITY,
    US_INFINITY,
    US_MAX,
    US_MIN,
    US_MINUS_INFINITY,
    US_PER_DAY,
    Context,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    parse_date,
    parse_time,
    parse_timestamp,
    parse_timestamptz,
)
from tsdb.encodings import UTF8, decoded
from tsdb.errors import (
    CharacterNotInRepertoire,
    DatetimeFieldOverflow,
    InvalidBinaryRepresentation,
    InvalidParameterValue,
    InvalidTextRepresentation,
    NumericValueOutOfRange,
    ProgramLimitExceeded,
    ProtocolViolation,
    StatementTooComplex,
)
from tsdb.intervals import Interval, parse_interval
from tsdb.types import BY_NAME, REFERENCES, TEXT_FORMS, SqlType
from tsdb.wire import text_binary
from tsdb.wire.array_text import DIMENSIONS_MAX, parse_array
from tsdb.wire.messages import BINARY_FORMAT, Bind, format_codes

Value = bool | int | float | Decimal | str | bytes | Timestamptz | Timestamp | Date | Time | Interval | list[Any] | None

_PG_EPOCH_US = 946_684_800_000_000
_PG_EPOCH_DAYS = 10_957
_SHOWN_CHARACTERS = 100

_NUMERIC_WEIGHT_MAX = 131_072
_NUMERIC_SCALE_MAX = 16_383
_EXACT = DecimalContext(prec=_NUMERIC_WEIGHT_MAX + _NUMERIC_SCALE_MAX, Emin=-999_999, Emax=999_999)


def decode_parameters(bind: Bind, types: Sequence[SqlType], context: Context) -> list[Value]:
    """All parameters of ``bind``, for a statement whose parameters have ``types``."""
    if len(bind.parameters) != len(types):
        raise ProtocolViolation(
            f'bind message supplies {len(bind.parameters)} parameters, but prepared statement "{bind.statement}" '
            f"requires {len(types)}"
        )
    codes = format_codes(bind.parameter_formats, len(types))
    return [
        decode(data, sql_type, code, context)
        for data, sql_type, code in zip(bind.parameters, types, codes, strict=True)
    ]


def decode(data: bytes | None, sql_type: SqlType, format_code: int, context: Context) -> Value:
    """One value. ``context`` says which zone a local time is in, and what ``now`` is."""
    if data is None:
        return None
    if format_code == BINARY_FORMAT:
        return _decode_binary(data, sql_type, context.codec)
    return decode_text(_text(data, context.codec), sql_type, context)


def decode_text(text: str, sql_type: SqlType, context: Context) -> Value:
    """One value from its text form, which COPY and string literals have too."""
    if sql_type.element is not None and sql_type.vector:
        return [decode_text(item, sql_type.element, context) for item in text.split()]
    if sql_type.element is not None:
        return _elements(parse_array(text), sql_type.element, context)
    reader = _TEXT.get(sql_type.typname)
    if reader is not None:
        return reader(text, sql_type)
    dated = _DATED.get(sql_type.typname)
    return text if dated is None else dated(text, context)


def _elements(items: list[Any], element: SqlType, context: Context) -> list[Any]:
    return [
        _elements(item, element, context)
        if isinstance(item, list)
        else None
        if item is None
        else decode_text(item, element, context)
        for item in items
    ]


def _text(data: bytes, codec: str = UTF8) -> str:
    if 0 in data:
        raise CharacterNotInRepertoire('invalid byte sequence for encoding "UTF8": 0x00')
    return decoded(data, codec)


def _invalid(text: str, sql_type: SqlType, detail: str | None = None) -> NoReturn:
    shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
    raise InvalidTextRepresentation(f'invalid input syntax for type {sql_type.name}: "{shown}"', detail=detail)


# --- text ---

_WHITE = " \t\n\r\v\f"
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_HEX_NUMBER = re.compile(r"[+-]?0x(?:[0-9a-f]+(?:\.[0-9a-f]*)?|\.[0-9a-f]+)(?:p[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_SPECIAL_FLOAT = re.compile(r"([+-]?inf(?:inity)?|nan)", re.IGNORECASE)

_TRUE = frozenset({"t", "tr", "tru", "true", "y", "ye", "yes", "on", "1"})
_FALSE = frozenset({"f", "fa", "fal", "fals", "false", "n", "no", "of", "off", "0"})

_INTEGER_RANGE = {"int2": (-(2**15), 2**15 - 1), "int4": (-(2**31), 2**31 - 1), "int8": (-(2**63), 2**63 - 1)}
# Far more digits than any integer type has, and few enough for int() to be quick.
_INTEGER_DIGITS_MAX = 100


def _bool(text: str, sql_type: SqlType) -> bool:
    word = text.strip(_WHITE).lower()
    if word in _TRUE:
        return True
    if word not in _FALSE:
        _invalid(text, sql_type)
    return False


def _integer(text: str, sql_type: SqlType) -> int:
    body = text.strip(_WHITE)
    if not _INTEGER.fullmatch(body):
        _invalid(text, sql_type)
    low, high = _INTEGER_RANGE[sql_type.typname]
    if len(body.lstrip("+-0")) > _INTEGER_DIGITS_MAX or not low <= int(body.lstrip("+")) <= high:
        raise NumericValueOutOfRange(f'value "{_short(text)}" is out of range for type {sql_type.name}')
    return int(body)


def _oid(text: str, sql_type: SqlType) -> int:
    """oid takes negative numbers too, as the unsigned ones with the same bits (oidin)."""
    body = text.strip(_WHITE)
    if not _INTEGER.fullmatch(body):
        _invalid(text, sql_type)
    if len(body.lstrip("+-0")) > _INTEGER_DIGITS_MAX or not -(2**31) <= int(body) < 2**32:
        raise NumericValueOutOfRange(f'value "{_short(text)}" is out of range for type oid')
    return int(body) % 2**32


def _reference(text: str, sql_type: SqlType) -> int | str:
    """A reg* value by its number; a name is looked up when the statement runs, and "-" is 0 (regclassin)."""
    body = text.strip(_WHITE)
    if body == "-":
        return 0
    return _oid(text, sql_type) if body.isascii() and body.isdigit() else text


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def _float(text: str, sql_type: SqlType) -> float:
    body = text.strip(_WHITE)
    if _SPECIAL_FLOAT.fullmatch(body):
        return float(body)
    if _HEX_NUMBER.fullmatch(body):
        return _hexadecimal(body, sql_type)
    if not _NUMBER.fullmatch(body):
        _invalid(text, sql_type)
    value = float(body)
    if sql_type.typname == "float4":
        value = _to_float4(value)
    digits = re.split("[eE]", body)[0]
    if math.isinf(value) or (value == 0.0 and digits.strip("+-.0")):
        raise NumericValueOutOfRange(f'"{_short(text)}" is out of range for type {sql_type.name}')
    return value


def _hexadecimal(body: str, sql_type: SqlType) -> float:
    """C's hexadecimal floats, which strtod reads."""
    try:
        return float.fromhex(body)
    except OverflowError:
        raise NumericValueOutOfRange(f'"{_short(body)}" is out of range for type {sql_type.name}') from None


def _to_float4(value: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return math.inf


def _numeric(text: str, sql_type: SqlType) -> Decimal:
    body = text.strip(_WHITE)
    if _SPECIAL_FLOAT.fullmatch(body):
        return Decimal(body)
    if not _NUMBER.fullmatch(body):
        _invalid(text, sql_type)
    mantissa, _, exponent = body.lower().partition("e")
    if not mantissa.strip("+-.0") and not exponent.startswith("-"):
        exponent = "0"  # zero stays zero, however large the exponent
    if len(exponent.lstrip("+-0")) > 6:
        raise NumericValueOutOfRange("value overflows numeric format")
    value = _EXACT.create_decimal(mantissa).scaleb(int(exponent or 0), _EXACT)
    return _in_numeric_format(value)


def _in_numeric_format(value: Decimal) -> Decimal:
    """``value`` if PostgreSQL can hold it (131072 digits before and 16383 after the point), without an exponent."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    if exponent < -_NUMERIC_SCALE_MAX or (not value.is_zero() and value.adjusted() >= _NUMERIC_WEIGHT_MAX):
        raise NumericValueOutOfRange("value overflows numeric format")
    if value.is_zero():
        return Decimal((0, (0,), min(exponent, 0)))
    return value.quantize(Decimal(1), context=_EXACT) if exponent > 0 else value


_HEX = re.compile(r"(?:[0-9a-fA-F]{2}|[ \t\n\r])*", re.ASCII)
_ESCAPE = re.compile(r"\\(\\|[0-3][0-7]{2})", re.ASCII)


def _bytea(text: str, sql_type: SqlType) -> bytes:
    if text.startswith("\\x"):
        if not _HEX.fullmatch(text, 2):
            raise InvalidParameterValue("invalid hexadecimal data: a digit is wrong, or their number odd")
        return bytes.fromhex(text[2:])
    if "\\" in _ESCAPE.sub("", text):
        _invalid(text, sql_type)
    pieces = _ESCAPE.split(text)
    octets = [piece.encode() if k % 2 == 0 else _escaped(piece) for k, piece in enumerate(pieces)]
    return b"".join(octets)


def _escaped(piece: str) -> bytes:
    return b"\\" if piece == "\\" else bytes([int(piece, 8)])


_UUID = re.compile(r"(?:[0-9a-fA-F]{4}-?){7}[0-9a-fA-F]{4}", re.ASCII)


def _uuid(text: str, sql_type: SqlType) -> str:
    body = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    if not _UUID.fullmatch(body):
        _invalid(text, sql_type)
    return _dashed(body.replace("-", "").lower())


def _dashed(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _json(text: str, sql_type: SqlType) -> str:
    """Checked, and left as it is written."""
    try:
        json.loads(text, parse_constant=_refuse_constant, parse_int=str, parse_float=str)
    except RecursionError:
        raise StatementTooComplex("a json value is nested too deeply") from None
    except ValueError as error:
        _invalid(text, sql_type, str(error))
    return text


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f'Token "{name}" is invalid.')


_TEXT: dict[str, Callable[[str, SqlType], Value]] = {
    "bool": _bool,
    "int2": _integer,
    "int4": _integer,
    "int8": _integer,
    "oid": _oid,
    "xid": _oid,
    "cid": _oid,
    **{t.typname: _reference for t in REFERENCES},
    "float4": _float,
    "float8": _float,
    "numeric": _numeric,
    "bytea": _bytea,
    "uuid": _uuid,
    "json": _json,
    "jsonb": _json,
    "interval": lambda text, _: parse_interval(text),
}

_DATED: dict[str, Callable[[str, Context], Value]] = {
    "timestamptz": parse_timestamptz,
    "timestamp": parse_timestamp,
    "date": parse_date,
    "time": parse_time,
}


# --- binary ---


def _decode_binary(data: bytes, sql_type: SqlType, codec: str = UTF8) -> Value:
    if sql_type.element is not None:
        return _array_binary(data, sql_type.element, codec)
    reader = _BINARY.get(sql_type.typname)
    if codec != UTF8 and (reader is None or sql_type.typname in ("json", "jsonb")):
        data = decoded(data, codec).encode()
    if reader is None:
        return _text(data)
    return reader(data, sql_type)


def _unpack(form: struct.Struct, data: bytes, sql_type: SqlType) -> tuple[Any, ...]:
    if len(data) < form.size:
        raise ProtocolViolation(
            f"insufficient data left in message: {sql_type.name} takes {form.size} bytes, not {len(data)}"
        )
    if len(data) > form.size:
        _incorrect(sql_type, f"It takes {form.size} bytes, not {len(data)}.")
    return form.unpack(data)


def _incorrect(sql_type: SqlType, detail: str) -> NoReturn:
    raise InvalidBinaryRepresentation(
        f"incorrect binary data format in bind parameter of type {sql_type.name}", detail=detail
    )


_INT32 = struct.Struct("!i")
_INT64 = struct.Struct("!q")
_UINT32 = struct.Struct("!I")
_FIXED = {
    "bool": struct.Struct("!?"),
    "int2": struct.Struct("!h"),
    "int4": _INT32,
    "int8": _INT64,
    "oid": _UINT32,
    "xid": _UINT32,
    "cid": _UINT32,
    **{t.typname: _UINT32 for t in REFERENCES},
    "xid8": struct.Struct("!Q"),
    "float4": struct.Struct("!f"),
    "float8": struct.Struct("!d"),
}


def _fixed(data: bytes, sql_type: SqlType) -> Value:
    value: Value = _unpack(_FIXED[sql_type.typname], data, sql_type)[0]
    return value


def _shifted_us(data: bytes, sql_type: SqlType) -> int:
    us = int(_unpack(_INT64, data, sql_type)[0])
    if us in (US_INFINITY, US_MINUS_INFINITY):
        return us
    us += _PG_EPOCH_US
    if not US_MIN <= us <= US_MAX:
        raise DatetimeFieldOverflow("timestamp out of range")
    return us


def _date_binary(data: bytes, sql_type: SqlType) -> Date:
    days = int(_unpack(_INT32, data, sql_type)[0])
    if days not in (DAYS_INFINITY, DAYS_MINUS_INFINITY):
        days += _PG_EPOCH_DAYS
        if not DAYS_MIN <= days <= DAYS_MAX:
            raise DatetimeFieldOverflow("date out of range")
    return Date(days)


def _time_binary(data: bytes, sql_type: SqlType) -> Time:
    us = int(_unpack(_INT64, data, sql_type)[0])
    if not 0 <= us <= US_PER_DAY:
        raise DatetimeFieldOverflow("time out of range")
    return Time(us)


_INTERVAL = struct.Struct("!qii")


def _interval_binary(data: bytes, sql_type: SqlType) -> Interval:
    us, days, months = _unpack(_INTERVAL, data, sql_type)
    return Interval(months, days, us)


_NUMERIC_HEAD = struct.Struct("!HhHH")
_NUMERIC_SPECIAL = {0xC000: Decimal("NaN"), 0xD000: Decimal("Infinity"), 0xF000: Decimal("-Infinity")}


def _numeric_binary(data: bytes, sql_type: SqlType) -> Decimal:
    if len(data) < _NUMERIC_HEAD.size:
        raise ProtocolViolation("insufficient data left in message")
    count, weight, sign, scale = _NUMERIC_HEAD.unpack_from(data)
    groups = _unpack(struct.Struct(f"!{count}h"), data[_NUMERIC_HEAD.size :], sql_type)
    if sign in _NUMERIC_SPECIAL:
        return _NUMERIC_SPECIAL[sign]
    if sign not in (0, 0x4000) or scale > _NUMERIC_SCALE_MAX:
        _incorrect(sql_type, 'The sign or scale of the external "numeric" value is invalid.')
    if any(not 0 <= group <= 9999 for group in groups):
        _incorrect(sql_type, 'A digit of the external "numeric" value is invalid.')
    digits = "".join(f"{group:04}" for group in groups) or "0"
    value = _EXACT.create_decimal(("-" if sign else "") + digits).scaleb((weight - max(count, 1) + 1) * 4, _EXACT)
    # The display scale says how many decimals there are; digits beyond it are cut off (numeric_recv).
    return _in_numeric_format(value.quantize(Decimal(1).scaleb(-scale, _EXACT), "ROUND_DOWN", _EXACT))


def _uuid_binary(data: bytes, sql_type: SqlType) -> str:
    return _dashed(_unpack(struct.Struct("16s"), data, sql_type)[0].hex())


def _jsonb_binary(data: bytes, sql_type: SqlType) -> str:
    if data[:1] != b"\x01":
        _incorrect(sql_type, f"Version {data[0] if data else 'missing'} is not known.")
    return _json(_text(data[1:]), sql_type)


_ARRAY_HEAD = struct.Struct("!iiI")
_DIMENSION = struct.Struct("!ii")


def _array_binary(data: bytes, element: SqlType, codec: str) -> list[Any]:
    try:
        dimensions, _, oid = _ARRAY_HEAD.unpack_from(data)
        if not 0 <= dimensions <= DIMENSIONS_MAX:
            raise ProgramLimitExceeded(f"invalid number of array dimensions: {dimensions}")
        if oid != element.oid:
            _incorrect(element, f"The array has elements of type {oid}, not {element.oid}.")
        sizes = [_DIMENSION.unpack_from(data, 12 + 8 * k)[0] for k in range(dimensions)]
        items = _array_items(data, 12 + 8 * dimensions, sizes, element, codec)
    except struct.error:
        raise ProtocolViolation("insufficient data left in message") from None
    for size in reversed(sizes[1:]) if items else ():
        items = [items[k : k + size] for k in range(0, len(items), size)]
    return items


def _array_items(data: bytes, at: int, sizes: list[int], element: SqlType, codec: str) -> list[Any]:
    """The elements in their order. Each takes four bytes at least, which bounds their number."""
    count = math.prod(sizes) if sizes else 0
    if any(size < 0 for size in sizes) or count * 4 > len(data) - at:
        raise ProtocolViolation("insufficient data left in message")
    items: list[Any] = []
    for _ in range(count):
        length = _INT32.unpack_from(data, at)[0]
        at += 4
        if length < -1 or at + length > len(data):
            raise ProtocolViolation("insufficient data left in message")
        items.append(None if length == -1 else _decode_binary(data[at : at + length], element, codec))
        at += max(length, 0)
    if at != len(data):
        _incorrect(element, "There is data after the last element of the array.")
    return items


def _text_form_binary(data: bytes, sql_type: SqlType) -> str:
    return text_binary.text_of(sql_type.typname, data, _bound_text)


def _bound_text(typname: str, data: bytes) -> str:
    """The text of a range's bound."""
    value = _decode_binary(data, BY_NAME[typname])
    if not isinstance(value, Date | Timestamp | Timestamptz):
        return str(value)
    us = value.us if isinstance(value, Timestamp | Timestamptz) else value.days * US_PER_DAY
    try:
        shown = datetime(1970, 1, 1) + timedelta(microseconds=us)
    except OverflowError:
        raise DatetimeFieldOverflow("a bound of a range is a date from the year 1 to 9999 here") from None
    suffix = "+00" if isinstance(value, Timestamptz) else ""
    return str(shown.date() if isinstance(value, Date) else shown) + suffix


_BINARY: dict[str, Callable[[bytes, SqlType], Value]] = {
    **dict.fromkeys(_FIXED, _fixed),
    **dict.fromkeys(TEXT_FORMS, _text_form_binary),
    "bytea": lambda data, _: data,
    "timestamptz": lambda data, sql_type: Timestamptz(_shifted_us(data, sql_type)),
    "timestamp": lambda data, sql_type: Timestamp(_shifted_us(data, sql_type)),
    "date": _date_binary,
    "time": _time_binary,
    "interval": _interval_binary,
    "numeric": _numeric_binary,
    "uuid": _uuid_binary,
    "json": lambda data, sql_type: _json(_text(data), sql_type),
    "jsonb": _jsonb_binary,
}
