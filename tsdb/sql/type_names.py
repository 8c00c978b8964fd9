"""Type names of statements: sqlglot's type nodes to our types and type modifiers."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from tsdb.errors import FeatureNotSupported, InvalidParameterValue, UndefinedObject
from tsdb.sql import storage_form, trees
from tsdb.types import BY_NAME, TEXT_ONLY, SqlType, array_of

_NAMES = {
    "BIGINT": "int8", "INT": "int4", "SMALLINT": "int2", "DOUBLE": "float8", "FLOAT": "float4", "DECIMAL": "numeric",
    "TEXT": "text", "VARCHAR": "varchar", "CHAR": "bpchar", "BPCHAR": "bpchar", "NAME": "name", "VARBINARY": "bytea",
    "JSON": "json", "JSONB": "jsonb", "UUID": "uuid", "DATE": "date", "TIME": "time", "TIMESTAMP": "timestamp",
    "TIMESTAMPTZ": "timestamptz", "BOOLEAN": "bool", "INTERVAL": "interval",
}  # fmt: skip


# The domains that information_schema's columns are of stand for their base types (manual, 37.2).
_DOMAINS = {
    "sql_identifier": "name", "character_data": "varchar", "cardinal_number": "int4", "yes_or_no": "varchar",
    "time_stamp": "timestamptz",
}  # fmt: skip


Own = Callable[[str, str], SqlType | None]
"""The database's own type of a (schema or nothing, name), None where there is none."""


def of_node(node: exp.Expr, own: Own | None = None) -> tuple[SqlType, int]:
    """(type, type modifier) of a type node. Raises UndefinedObject."""
    if isinstance(node, exp.ObjectIdentifier):
        name = str(node.this).lower()
        if name not in BY_NAME:
            raise FeatureNotSupported(f"type {name} is not supported")
        return BY_NAME[name], -1
    if not isinstance(node, exp.DataType):
        raise UndefinedObject(f'type "{node.sql()}" does not exist')
    if isinstance(node.this, exp.Interval):
        return BY_NAME["interval"], -1
    kind = node.this.name
    if kind == "ARRAY":
        element, typmod = of_node(node.expressions[0], own)
        return (element, typmod) if element.element is not None else (array_of(element), typmod)
    if kind == "USERDEFINED":
        return _by_name(node, own), -1
    if kind not in _NAMES:
        if node.expressions:
            raise FeatureNotSupported(f"type {kind.lower()} has no modifier here", hint="Leave it out.")
        return _named("", kind.lower(), own), -1
    found = BY_NAME[_NAMES[kind]]
    numbers = [int(p.this.name) for p in node.expressions]
    return found, _typmod(found, numbers or ([1] if kind == "CHAR" else []))


def _by_name(node: exp.DataType, own: Own | None) -> SqlType:
    given = node.args.get("kind")
    schema, named = (trees.name_of(given.this), given.expression) if isinstance(given, exp.Dot) else ("", given)
    name = trees.name_of(named) if isinstance(named, exp.Identifier) else str(named).lower()
    # oid[] comes as one name (``dialect``); char without quotes is character(1), which sqlglot knows.
    plain = name.removesuffix("[]")
    found = _named(schema, '"char"' if plain == "char" else plain, own)
    return array_of(found) if plain != name and found.element is None else found


def _named(schema: str, name: str, own: Own | None) -> SqlType:
    """A type by its name. Raises FeatureNotSupported for those that only the catalog describes."""
    found = BY_NAME.get(name) if schema in ("", "pg_catalog") else None
    if schema == "information_schema":
        found = BY_NAME.get(_DOMAINS.get(name, ""))
    if found is None and own is not None:
        found = own(schema, name)
    if found is None:
        shown = f"{schema}.{name}" if schema else name
        raise UndefinedObject(f'type "{shown}" does not exist')
    if (found.element or found).typname in TEXT_ONLY:
        raise FeatureNotSupported(f"values of type {found.name} are not supported", hint="Use text.")
    return found


def _typmod(sql_type: SqlType, numbers: list[int]) -> int:
    name = sql_type.typname
    if not numbers:
        return -1
    if name == "numeric":
        precision, scale = numbers[0], numbers[1] if len(numbers) > 1 else 0
        if not 1 <= precision <= storage_form.NUMERIC_PRECISION_MAX:
            raise InvalidParameterValue(f"NUMERIC precision {precision} must be between 1 and 38")
        if not 0 <= scale <= precision:
            raise InvalidParameterValue(f"NUMERIC scale {scale} must be between 0 and precision {precision}")
        return storage_form.numeric_typmod(precision, scale)
    if name in ("varchar", "bpchar"):
        if not 1 <= numbers[0] <= 10_485_760:
            raise InvalidParameterValue(f"length for type {sql_type.name} must be between 1 and 10485760")
        return storage_form.length_typmod(numbers[0])
    if name in ("timestamp", "timestamptz", "time", "interval"):
        return min(numbers[0], 6)
    return -1
