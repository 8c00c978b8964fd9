"""SQL types: PostgreSQL's names and OIDs, how a value is stored, and which Arrow type carries it between the parts.

A type has a *kind*, the form its values have in ops, head and blocks (design section 2): ``float8``, ``int8``,
``uint8`` (line protocol's ``u``; SQL sees ``numeric(20,0)``), ``bool`` and ``text``. Types beyond these are stored
in PostgreSQL's integer form (int2, int4, date, timestamps as int8) or its text form (numeric, interval, uuid, json …).

``arrow`` is the form in which query results reach the wire encoders.

Source of OIDs: PostgreSQL 15, src/include/catalog/pg_type.dat.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import pyarrow as pa


class Kind(IntEnum):
    """How a field's values are stored. The numbers are on disk: never change one."""

    FLOAT8 = 1
    INT8 = 2
    UINT8 = 3
    BOOL = 4
    TEXT = 5

    @property
    def arrow(self) -> pa.DataType:
        return _KIND_ARROW[self]


_KIND_ARROW = {
    Kind.FLOAT8: pa.float64(),
    Kind.INT8: pa.int64(),
    Kind.UINT8: pa.uint64(),
    Kind.BOOL: pa.bool_(),
    Kind.TEXT: pa.string(),
}


@dataclass(frozen=True, slots=True, eq=False)
class SqlType:
    """One PostgreSQL type.

    ``name`` is what format_type() prints, ``typname`` pg_type's name, ``size`` pg_type.typlen in bytes (-1: variable).
    An array type has ``element`` set; its values are lists of the element's Arrow type.
    """

    name: str
    typname: str
    oid: int
    array_oid: int
    size: int
    kind: Kind
    arrow: pa.DataType
    element: SqlType | None = None

    # Types are compared for every value and expression: their OID and stored form say it all.
    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, SqlType) and self.oid == other.oid and self.kind is other.kind

    def __hash__(self) -> int:
        return self.oid


BOOL = SqlType("boolean", "bool", 16, 1000, 1, Kind.BOOL, pa.bool_())
BYTEA = SqlType("bytea", "bytea", 17, 1001, -1, Kind.TEXT, pa.binary())
NAME = SqlType("name", "name", 19, 1003, 64, Kind.TEXT, pa.string())
INT8 = SqlType("bigint", "int8", 20, 1016, 8, Kind.INT8, pa.int64())
INT2 = SqlType("smallint", "int2", 21, 1005, 2, Kind.INT8, pa.int16())
INT4 = SqlType("integer", "int4", 23, 1007, 4, Kind.INT8, pa.int32())
TEXT = SqlType("text", "text", 25, 1009, -1, Kind.TEXT, pa.string())
OID = SqlType("oid", "oid", 26, 1028, 4, Kind.INT8, pa.int64())
JSON = SqlType("json", "json", 114, 199, -1, Kind.TEXT, pa.string())
FLOAT4 = SqlType("real", "float4", 700, 1021, 4, Kind.FLOAT8, pa.float32())
FLOAT8 = SqlType("double precision", "float8", 701, 1022, 8, Kind.FLOAT8, pa.float64())
UNKNOWN = SqlType("unknown", "unknown", 705, 0, -2, Kind.TEXT, pa.string())
BPCHAR = SqlType("character", "bpchar", 1042, 1014, -1, Kind.TEXT, pa.string())
VARCHAR = SqlType("character varying", "varchar", 1043, 1015, -1, Kind.TEXT, pa.string())
DATE = SqlType("date", "date", 1082, 1182, 4, Kind.INT8, pa.date32())
TIME = SqlType("time without time zone", "time", 1083, 1183, 8, Kind.INT8, pa.time64("us"))
TIMESTAMP = SqlType("timestamp without time zone", "timestamp", 1114, 1115, 8, Kind.INT8, pa.timestamp("us"))
TIMESTAMPTZ = SqlType("timestamp with time zone", "timestamptz", 1184, 1185, 8, Kind.INT8, pa.timestamp("us", "UTC"))
INTERVAL = SqlType("interval", "interval", 1186, 1187, 16, Kind.TEXT, pa.month_day_nano_interval())
NUMERIC = SqlType("numeric", "numeric", 1700, 1231, -1, Kind.TEXT, pa.decimal128(38, 6))
UUID = SqlType("uuid", "uuid", 2950, 2951, 16, Kind.TEXT, pa.string())
JSONB = SqlType("jsonb", "jsonb", 3802, 3807, -1, Kind.TEXT, pa.string())

# Line protocol's `u`: uint64 inside, numeric(20,0) to SQL clients.
UINT8 = SqlType("numeric", "numeric", 1700, 1231, -1, Kind.UINT8, pa.uint64())

_SCALARS = (
    BOOL, BYTEA, NAME, INT8, INT2, INT4, TEXT, OID, JSON, FLOAT4, FLOAT8, UNKNOWN, BPCHAR, VARCHAR, DATE, TIME,
    TIMESTAMP, TIMESTAMPTZ, INTERVAL, NUMERIC, UUID, JSONB,
)  # fmt: skip


def array_of(element: SqlType) -> SqlType:
    """The array type over ``element``."""
    return SqlType(
        f"{element.name}[]",
        f"_{element.typname}",
        element.array_oid,
        0,
        -1,
        Kind.TEXT,
        pa.list_(element.arrow),
        element,
    )


BY_OID: dict[int, SqlType] = {t.oid: t for t in _SCALARS}
BY_OID.update({t.array_oid: array_of(t) for t in _SCALARS if t.array_oid})

BY_NAME: dict[str, SqlType] = {t.typname: t for t in BY_OID.values()}
BY_NAME.update({t.name: t for t in BY_OID.values()})
BY_NAME.update({
    "int": INT4, "decimal": NUMERIC, "float": FLOAT8, "double": FLOAT8, "char": BPCHAR, "string": TEXT,
    "timestamp with time zone": TIMESTAMPTZ, "timestamp": TIMESTAMP, "time": TIME,
})  # fmt: skip
