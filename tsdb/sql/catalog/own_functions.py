"""Our own functions as rows of pg_proc, in the schema public, where TimescaleDB's would be: \\df lists them.

A line is ``kind name(argument type = default, …) result``, in pg_type's names; its OID follows from its place, so new
lines come last.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from tsdb.sql.catalog import oids
from tsdb.sql.catalog.live import Glance, live
from tsdb.sql.catalog.outline import quote_ident
from tsdb.types import BY_NAME

FIRST_OID = 16_000
_OWNER = 10
_LANGUAGE = 12  # internal
_PSEUDO = {"any": (2276, '"any"'), "anyelement": (2283, "anyelement")}
_LINE = re.compile(r"(?P<kind>[fa]) (?P<name>\w+)\((?P<arguments>[^)]*)\) (?P<result>\w+)")

_LINES = """
f time_bucket(bucket_width interval, ts timestamptz) timestamptz
f time_bucket(bucket_width interval, ts timestamptz, origin timestamptz) timestamptz
f time_bucket(bucket_width interval, ts timestamptz, offset interval) timestamptz
f time_bucket(bucket_width interval, ts timestamptz, timezone text, origin timestamptz = NULL,
    offset interval = NULL) timestamptz
f time_bucket(bucket_width interval, ts timestamp) timestamp
f time_bucket(bucket_width interval, ts timestamp, origin timestamp) timestamp
f time_bucket(bucket_width interval, ts timestamp, offset interval) timestamp
f time_bucket(bucket_width interval, ts date) date
f time_bucket(bucket_width interval, ts date, origin date) date
f time_bucket(bucket_width interval, ts date, offset interval) date
f time_bucket(bucket_width int8, ts int8, offset int8 = NULL) int8
f time_bucket_gapfill(bucket_width interval, ts timestamptz, start timestamptz = NULL,
    finish timestamptz = NULL) timestamptz
f time_bucket_gapfill(bucket_width interval, ts timestamptz, timezone text, start timestamptz = NULL,
    finish timestamptz = NULL) timestamptz
f time_bucket_gapfill(bucket_width interval, ts timestamp, start timestamp = NULL, finish timestamp = NULL) timestamp
f time_bucket_gapfill(bucket_width interval, ts date, start date = NULL, finish date = NULL) date
f locf(value anyelement, prev anyelement = NULL, treat_null_as_missing bool = NULL) anyelement
f interpolate(value int8, prev record = NULL, next record = NULL) int8
f interpolate(value float8, prev record = NULL, next record = NULL) float8
a first(value anyelement, time any) anyelement
a last(value anyelement, time any) anyelement
a delta(value float8, time timestamptz) float8
a increase(value float8, time timestamptz) float8
a rate(value float8, time timestamptz) float8
a gauge_rate(value float8, time timestamptz) float8
a resets(value float8, time timestamptz) int8
a time_weighted_average(value float8, time timestamptz, method text = NULL) float8
a time_weighted_integral(value float8, time timestamptz, method text = NULL, unit text = NULL) float8
a histogram(value float8, min float8, max float8, nbuckets int4) _int4
a approx_percentile(value float8, fraction float8) float8
a approx_quantile(value float8, fraction float8) float8
a approx_count_distinct(value any) int8
f create_hypertable(relation regclass, time_column_name name, chunk_time_interval any = NULL,
    if_not_exists bool = NULL) record
f lttb(points record, time name, value name, n int8) record
f confirm_write(token text) text
"""


@dataclass(frozen=True, slots=True)
class OwnFunction:
    """A row of pg_proc; types are OIDs, ``arguments`` and ``result`` the texts that \\df shows."""

    oid: int
    kind: str
    name: str
    names: tuple[str, ...]
    types: tuple[int, ...]
    defaults: int
    result_type: int
    arguments: str
    identity_arguments: str
    result: str


def _type(name: str) -> tuple[int, str]:
    return _PSEUDO[name] if name in _PSEUDO else (BY_NAME[name].oid, BY_NAME[name].name)


def _function(number: int, line: str) -> OwnFunction:
    found = _LINE.fullmatch(line)
    assert found is not None, line
    names, types, texts, plain, defaults = [], [], [], [], 0
    for argument in found["arguments"].split(", "):
        declared, _, default = argument.partition(" = ")
        name, _, type_name = declared.partition(" ")
        oid, shown = _type(type_name)
        names.append(name)
        types.append(oid)
        plain.append(f"{quote_ident(name)} {shown}")
        texts.append(f"{plain[-1]} DEFAULT {default}" if default else plain[-1])
        defaults += bool(default)
    result_type, result = _type(found["result"])
    return OwnFunction(
        FIRST_OID + number, found["kind"], found["name"], tuple(names), tuple(types), defaults, result_type,
        ", ".join(texts), ", ".join(plain), result,
    )  # fmt: skip


@cache
def own_functions() -> Sequence[OwnFunction]:
    lines = re.sub(r"\n\s+", " ", _LINES.strip()).splitlines()
    return tuple(_function(number, line) for number, line in enumerate(lines))


@live("pg_catalog", "pg_proc", {
    "oid": lambda f, m: f.oid, "proname": lambda f, m: f.name, "pronamespace": oids.PUBLIC, "proowner": _OWNER,
    "prolang": _LANGUAGE, "procost": 1.0, "prorows": lambda f, m: 1000.0 if f.name == "lttb" else 0.0,
    "prokind": lambda f, m: f.kind, "proretset": lambda f, m: f.name == "lttb", "provolatile": "i",
    "proparallel": "s", "pronargs": lambda f, m: len(f.types), "pronargdefaults": lambda f, m: f.defaults,
    "prorettype": lambda f, m: f.result_type, "proargtypes": lambda f, m: list(f.types),
    "proargnames": lambda f, m: list(f.names), "prosrc": lambda f, m: f.name, "proallargtypes": None,
    "proargmodes": None, "proargdefaults": None, "protrftypes": None, "probin": None, "prosqlbody": None,
    "proconfig": None, "proacl": None,
})  # fmt: skip
def functions(glance: Glance) -> Sequence[OwnFunction]:
    return own_functions()
