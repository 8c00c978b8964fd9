"""SQL types: PostgreSQL's names and OIDs, how a value is stored, and which Arrow type carries it between the parts.

A type has a *kind*, the form its values have in ops, head and blocks (design section 2): ``float8``, ``int8``,
``uint8`` (line protocol's ``u``; SQL sees ``numeric(20,0)``), ``bool`` and ``text``. Types beyond these are stored
in PostgreSQL's integer form (int2, int4, date, timestamps as int8) or its text form (numeric, interval, uuid, json …).

``arrow`` is the form in which query results reach the wire encoders.

Source of OIDs: PostgreSQL 15, src/include/catalog/pg_type.dat.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    An array type has ``element`` set; its values are lists of the element's Arrow type. ``vector`` are int2vector and
    oidvector: arrays whose first index is 0 and whose text form is space separated. An enumerated type has its
    ``labels`` in their order (``tsdb.model.enums``), a row type its ``fields``.
    """

    name: str
    typname: str
    oid: int
    array_oid: int
    size: int
    kind: Kind
    arrow: pa.DataType
    element: SqlType | None = None
    vector: bool = False
    labels: tuple[str, ...] | None = None
    fields: tuple[Field, ...] | None = None

    # Types are compared for every value and expression: their OID and stored form say it all.
    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, SqlType) and self.oid == other.oid and self.kind is other.kind

    def __hash__(self) -> int:
        return self.oid


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a row type. ``digits`` are a numeric's (precision, scale) while a statement computes with it."""

    name: str
    type: SqlType
    digits: tuple[int, int] | None = None


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

# One byte, "char" with the quotes: the catalog's kinds and flags. Not character(1), which is bpchar.
CHAR = SqlType('"char"', "char", 18, 1002, 1, Kind.TEXT, pa.string())

# Numbers that print as numbers.
XID = SqlType("xid", "xid", 28, 1011, 4, Kind.INT8, pa.int64())
CID = SqlType("cid", "cid", 29, 1012, 4, Kind.INT8, pa.int64())
XID8 = SqlType("xid8", "xid8", 5069, 271, 8, Kind.INT8, pa.int64())


def _reference(name: str, oid: int, array_oid: int) -> SqlType:
    return SqlType(name, name, oid, array_oid, 4, Kind.INT8, pa.int64())


# OIDs of catalog rows that print as names. The wire takes them as struct<oid: int64, name: string>, since their
# text form is the name and their binary form the OID.
REGPROC = _reference("regproc", 24, 1008)
REGPROCEDURE = _reference("regprocedure", 2202, 2207)
REGOPER = _reference("regoper", 2203, 2208)
REGOPERATOR = _reference("regoperator", 2204, 2209)
REGCLASS = _reference("regclass", 2205, 2210)
REGTYPE = _reference("regtype", 2206, 2211)
REGCONFIG = _reference("regconfig", 3734, 3735)
REGDICTIONARY = _reference("regdictionary", 3769, 3770)
REGNAMESPACE = _reference("regnamespace", 4089, 4090)
REGROLE = _reference("regrole", 4096, 4097)
REGCOLLATION = _reference("regcollation", 4191, 4192)

REFERENCES = (
    REGPROC, REGPROCEDURE, REGOPER, REGOPERATOR, REGCLASS, REGTYPE, REGCONFIG, REGDICTIONARY, REGNAMESPACE, REGROLE,
    REGCOLLATION,
)  # fmt: skip
NAMED_OID = pa.struct([("oid", pa.int64()), ("name", pa.string())])

INT2VECTOR = SqlType("int2vector", "int2vector", 22, 1006, -1, Kind.TEXT, pa.list_(pa.int16()), INT2, vector=True)
OIDVECTOR = SqlType("oidvector", "oidvector", 30, 1013, -1, Kind.TEXT, pa.list_(pa.int64()), OID, vector=True)


def _as_text(name: str, typname: str, oid: int, array_oid: int, size: int = -1) -> SqlType:
    return SqlType(name, typname, oid, array_oid, size, Kind.TEXT, pa.string())


VOID = _as_text("void", "void", 2278, 0, 4)
RECORD = _as_text("record", "record", 2249, 2287)
ACLITEM = _as_text("aclitem", "aclitem", 1033, 1034, 12)
ANYARRAY = _as_text("anyarray", "anyarray", 2277, 0)
CSTRING = _as_text("cstring", "cstring", 2275, 1263, -2)
PG_NODE_TREE = _as_text("pg_node_tree", "pg_node_tree", 194, 0)
REFCURSOR = _as_text("refcursor", "refcursor", 1790, 2201)

# Types that the catalog describes and whose values no expression makes: they pass through in their text form.
_TEXT_ONLY = (
    _as_text("tid", "tid", 27, 1010, 6), _as_text("xml", "xml", 142, 143), _as_text("point", "point", 600, 1017, 16),
    _as_text("lseg", "lseg", 601, 1018, 32), _as_text("path", "path", 602, 1019), _as_text("box", "box", 603, 1020, 32),
    _as_text("polygon", "polygon", 604, 1027), _as_text("line", "line", 628, 629, 24),
    _as_text("circle", "circle", 718, 719, 24), _as_text("money", "money", 790, 791, 8),
    _as_text("macaddr", "macaddr", 829, 1040, 6), _as_text("macaddr8", "macaddr8", 774, 775, 8),
    _as_text("inet", "inet", 869, 1041), _as_text("cidr", "cidr", 650, 651), _as_text("bit", "bit", 1560, 1561),
    _as_text("bit varying", "varbit", 1562, 1563), _as_text("time with time zone", "timetz", 1266, 1270, 12),
    _as_text("pg_lsn", "pg_lsn", 3220, 3221, 8), _as_text("tsvector", "tsvector", 3614, 3643),
    _as_text("tsquery", "tsquery", 3615, 3645), _as_text("jsonpath", "jsonpath", 4072, 4073),
    _as_text("int4range", "int4range", 3904, 3905), _as_text("numrange", "numrange", 3906, 3907),
    _as_text("tsrange", "tsrange", 3908, 3909), _as_text("tstzrange", "tstzrange", 3910, 3911),
    _as_text("daterange", "daterange", 3912, 3913), _as_text("int8range", "int8range", 3926, 3927),
    _as_text("pg_snapshot", "pg_snapshot", 5038, 5039), _as_text("txid_snapshot", "txid_snapshot", 2970, 2949),
    _as_text("pg_ndistinct", "pg_ndistinct", 3361, 0), _as_text("pg_dependencies", "pg_dependencies", 3402, 0),
    _as_text("pg_mcv_list", "pg_mcv_list", 5017, 0),
)  # fmt: skip

# Those among them whose values are made, stored and sent, all in their text form.
TEXT_FORMS = frozenset(
    {
        "point",
        "int4range",
        "int8range",
        "numrange",
        "daterange",
        "tsrange",
        "tstzrange",
        "timetz",
        "inet",
        "cidr",
        "macaddr",
        "money",
    }
)
# Of these a text does not stand in its value's order.
UNSORTED_TEXTS = TEXT_FORMS - {"point", "macaddr"}

# What a column of a table may have; the rest belongs to the catalog or to functions.
_STORABLE = (
    BOOL, BYTEA, NAME, INT8, INT2, INT4, TEXT, OID, JSON, FLOAT4, FLOAT8, UNKNOWN, BPCHAR, VARCHAR, DATE, TIME,
    TIMESTAMP, TIMESTAMPTZ, INTERVAL, NUMERIC, UUID, JSONB, *(t for t in _TEXT_ONLY if t.typname in TEXT_FORMS),
)  # fmt: skip
_SCALARS = (
    *_STORABLE, CHAR, XID, CID, XID8, *REFERENCES, VOID, RECORD, ACLITEM, ANYARRAY, CSTRING, PG_NODE_TREE, REFCURSOR,
    *_TEXT_ONLY,
)  # fmt: skip
TEXT_ONLY = frozenset(t.typname for t in _TEXT_ONLY) - TEXT_FORMS


def array_of(element: SqlType) -> SqlType:
    """The array type over ``element``."""
    return SqlType(
        f"{element.name}[]",
        "_" + element.typname,
        element.array_oid,
        0,
        -1,
        Kind.TEXT,
        pa.list_(element.arrow),
        element,
    )


def record_of(fields: tuple[Field, ...]) -> SqlType:
    """The type of rows that nobody has named: ``record``. Its values are structs of the fields' Arrow types."""
    return replace(RECORD, fields=fields)


def storable(sql_type: SqlType) -> bool:
    """Whether a table's column may have the type."""
    plain = sql_type.element or sql_type
    return (plain in _STORABLE or plain.labels is not None) and not sql_type.vector


_ALL = (*_SCALARS, INT2VECTOR, OIDVECTOR)
BY_OID: dict[int, SqlType] = {t.oid: t for t in _ALL}
BY_OID.update({t.array_oid: array_of(t) for t in _ALL if t.array_oid})

BY_NAME: dict[str, SqlType] = {t.typname: t for t in BY_OID.values()}
BY_NAME.update({t.name: t for t in BY_OID.values()})
# SQL's char is character(1); the catalog's "char" is known by its quoted name, as format_type() prints it.
BY_NAME.update({
    "int": INT4, "decimal": NUMERIC, "float": FLOAT8, "double": FLOAT8, "char": BPCHAR, "string": TEXT,
    "timestamp with time zone": TIMESTAMPTZ, "timestamp": TIMESTAMP, "time": TIME,
})  # fmt: skip
