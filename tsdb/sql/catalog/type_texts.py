"""Types as format_type() names them, with their modifiers."""

from __future__ import annotations

from tsdb.sql.catalog.live import Glance
from tsdb.sql.catalog.names import type_name
from tsdb.sql.storage_form import numeric_precision
from tsdb.types import BY_OID

_LENGTHS = ("varchar", "bpchar")
_PRECISIONS = {
    "timestamp": ("timestamp", " without time zone"),
    "timestamptz": ("timestamp", " with time zone"),
    "time": ("time", " without time zone"),
    "timetz": ("time", " with time zone"),
}
_HEADER_BYTES = 4
_WITHOUT_MODIFIER = ("bool", "int2", "int4", "int8", "float4", "float8")


def format_type(glance: Glance, oid: int | None, typmod: int | None) -> str | None:
    """format_type(type, typmod); a type that is not there is ``???``."""
    if oid is None:
        return None
    if oid == 0:
        return "-"
    found = BY_OID.get(oid)
    if found is None:
        return type_name(glance.outline, oid) or "???"
    element = found.element if found.element is not None and not found.vector else None
    suffix = "[]" if element is not None else ""
    plain = element or found
    if typmod is None and plain.typname == "bpchar":
        return f"character{suffix}"
    if plain.typname == "bpchar" and (typmod is None or typmod < 0):
        return f"bpchar{suffix}"
    name = plain.name
    if typmod is not None and typmod >= 0:
        name = _modified(plain.typname, name, typmod)
    return name + suffix


def _modified(typname: str, name: str, typmod: int) -> str:
    """What the type's typmodout function adds; a type without one shows the number (printTypmod)."""
    if typname == "numeric":
        if typmod < _HEADER_BYTES:
            return name
        precision, scale = numeric_precision(typmod)
        return f"numeric({precision},{scale})"
    if typname in _LENGTHS:
        return f"{name}({typmod - _HEADER_BYTES})" if typmod > _HEADER_BYTES else name
    if typname in _PRECISIONS:
        before, after = _PRECISIONS[typname]
        return f"{before}({typmod}){after}"
    return name if typname in _WITHOUT_MODIFIER else f"{name}({typmod})"
