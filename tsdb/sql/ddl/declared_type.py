"""The type of a declared column, read from tokens: name, type modifier, array.

Source: PostgreSQL 15 manual, chapter 8; gram.y (Typename).
"""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.errors import FeatureNotSupported, InvalidParameterValue, UndefinedObject
from tsdb.sql.lexer import Token
from tsdb.sql.reader import Reader
from tsdb.sql.storage_form import NUMERIC_PRECISION_MAX, length_typmod, numeric_typmod
from tsdb.types import BPCHAR, BY_NAME, FLOAT4, FLOAT8, INT2, INT4, INT8, NUMERIC, VARCHAR, SqlType, array_of, storable

_SERIAL = {"serial": INT4, "serial4": INT4, "bigserial": INT8, "serial8": INT8, "smallserial": INT2, "serial2": INT2}
_TIMES = {"time": "time", "timestamp": "timestamp", "timestamptz": "timestamptz"}
_LENGTHS = {"varchar": VARCHAR, "char": BPCHAR, "character": BPCHAR, "bpchar": BPCHAR}
_INTERVAL_FIELDS = ("year", "month", "day", "hour", "minute", "second", "to")
LENGTH_MAX = 10_485_760


@dataclass(frozen=True, slots=True)
class DeclaredType:
    type: SqlType
    typmod: int = -1
    serial: bool = False


def read(reader: Reader) -> DeclaredType:
    """Raises UndefinedObject for a type that is not known, InvalidParameterValue for a modifier out of range."""
    declared = _scalar(reader)
    array = reader.accept("array")
    while reader.accept_sign("["):
        array = True
        token = reader.peek()
        if token is not None and token.kind == "number":
            reader.integer()
        reader.expect_sign("]")
    if not array or declared.type.element is not None:
        return declared
    if not declared.type.array_oid or declared.serial:
        raise FeatureNotSupported(f"arrays of {declared.type.name} are not supported")
    return DeclaredType(array_of(declared.type), declared.typmod)


def _scalar(reader: Reader) -> DeclaredType:
    start = reader.peek()
    quoted = start is not None and start.kind == "quoted"
    name = reader.name()
    if reader.accept_sign("."):
        schema, name = name, reader.name()
        if schema != "pg_catalog":
            return DeclaredType(_own(reader, start, schema, name))
    if quoted and name == "char":
        raise FeatureNotSupported('type "char" is not supported', hint="Use text.")
    if name in _SERIAL:
        return DeclaredType(_SERIAL[name], serial=True)
    if name in _TIMES:
        return _time(reader, name)
    if name in _LENGTHS or (name == "national" and reader.accept("character")):
        return _text_with_length(reader, _LENGTHS.get(name, BPCHAR))
    if name in ("numeric", "decimal", "dec"):
        return _numeric(reader)
    if name == "float":
        return _float(reader)
    if name == "double":
        reader.expect("precision")
        return DeclaredType(FLOAT8)
    if name == "interval":
        _modifiers(reader)
        while reader.accept_any(*_INTERVAL_FIELDS):
            _modifiers(reader)
        return DeclaredType(BY_NAME["interval"])
    found = BY_NAME.get(name)
    if found is None or found.element is not None or name in ("unknown", "double precision"):
        return DeclaredType(_own(reader, start, "", name))
    if not storable(found):
        raise FeatureNotSupported(f"a column cannot have type {found.name} here", hint="Use text or bigint.")
    return DeclaredType(found)


def _own(reader: Reader, start: Token | None, schema: str, name: str) -> SqlType:
    found = reader.own_type(schema, name)
    if found is None:
        position = reader.position(start) if start is not None else None
        raise UndefinedObject(
            f'type "{schema}.{name}" does not exist' if schema else f'type "{name}" does not exist', position=position
        )
    return found


def _modifiers(reader: Reader) -> list[int]:
    if not reader.accept_sign("("):
        return []
    found = [_signed(reader)]
    while reader.accept_sign(","):
        found.append(_signed(reader))
    reader.expect_sign(")")
    return found


def _signed(reader: Reader) -> int:
    return -reader.integer() if reader.accept_sign("-") else reader.integer()


def _time(reader: Reader, name: str) -> DeclaredType:
    digits = _modifiers(reader)
    if reader.accept("with", "time", "zone"):
        name = {"timestamp": "timestamptz", "time": "timetz"}[name]
    else:
        reader.accept("without", "time", "zone")
    if name == "timetz" and digits:
        raise FeatureNotSupported("type time with time zone has no precision here", hint="Leave it out.")
    return DeclaredType(BY_NAME[name], min(digits[0], 6) if digits else -1)


def _text_with_length(reader: Reader, sql_type: SqlType) -> DeclaredType:
    if reader.accept("varying"):
        sql_type = VARCHAR
    lengths = _modifiers(reader)
    if not lengths:
        return DeclaredType(sql_type, -1 if sql_type == VARCHAR else length_typmod(1))
    if not 1 <= lengths[0] <= LENGTH_MAX:
        raise InvalidParameterValue(f"length for type {sql_type.typname} must be between 1 and {LENGTH_MAX}")
    return DeclaredType(sql_type, length_typmod(lengths[0]))


def _numeric(reader: Reader) -> DeclaredType:
    modifiers = _modifiers(reader)
    if not modifiers:
        return DeclaredType(NUMERIC)
    precision, scale = modifiers[0], modifiers[1] if len(modifiers) > 1 else 0
    if not 1 <= precision <= 1000:
        raise InvalidParameterValue(f"NUMERIC precision {precision} must be between 1 and 1000")
    if precision > NUMERIC_PRECISION_MAX or not 0 <= scale <= precision:
        raise FeatureNotSupported(
            f"numeric({precision},{scale}) is not supported",
            hint=f"Up to {NUMERIC_PRECISION_MAX} digits, with a scale from 0 to the precision, are.",
        )
    return DeclaredType(NUMERIC, numeric_typmod(precision, scale))


def _float(reader: Reader) -> DeclaredType:
    modifiers = _modifiers(reader)
    bits = modifiers[0] if modifiers else 53
    if not 1 <= bits <= 53:
        raise InvalidParameterValue("precision for type float must be between 1 and 53 bits")
    return DeclaredType(FLOAT4 if bits <= 24 else FLOAT8)
