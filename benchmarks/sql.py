"""The queries in SQL: one text for all dialects but for the function that rounds a time down to its bucket.

A statement is written with literals, or with `%s` for psycopg's prepared statements and the values beside it. All
hold the same table: `time`, the tags as text columns, the fields as integers.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.queries import LIMIT, MINUTE_NS, THRESHOLD, Kind, Query
from benchmarks.workload import FIELDS, SERIES, TAGS


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one system spells what SQL does not say in one way."""

    bucket: Callable[[str], str]  # unit ("minute", "hour") -> an expression over the column time
    lastpoint: str = f"SELECT DISTINCT ON (hostname) * FROM {SERIES} ORDER BY hostname, time DESC"


TSDB = Dialect(lambda unit: f"time_bucket('1 {unit}', time)")
# Peers get the fastest of the texts tried for lastpoint. PostgreSQL: DISTINCT ON reads the whole index (seconds); this
# steps from host to host ("Loose indexscan" in PostgreSQL's wiki).
POSTGRESQL = Dialect(
    lambda unit: f"date_trunc('{unit}', time)",
    f"""WITH RECURSIVE hosts AS (
        (SELECT hostname FROM {SERIES} ORDER BY hostname LIMIT 1)
        UNION ALL
        SELECT (SELECT hostname FROM {SERIES} WHERE hostname > hosts.hostname ORDER BY hostname LIMIT 1)
        FROM hosts WHERE hosts.hostname IS NOT NULL
    )
    SELECT last.* FROM hosts CROSS JOIN LATERAL (
        SELECT * FROM {SERIES} WHERE {SERIES}.hostname = hosts.hostname ORDER BY time DESC LIMIT 1
    ) AS last""",
)
# DuckDB (full size): DISTINCT ON 1,460 ms, arg_max() of all columns 210 ms, this 34 ms.
DUCKDB = Dialect(
    lambda unit: f"date_trunc('{unit}', time)",
    f"SELECT * FROM {SERIES} QUALIFY row_number() OVER (PARTITION BY hostname ORDER BY time DESC) = 1",
)


def create_table(text: str, time: str, integer: str) -> str:
    """The table's CREATE statement with a system's type names."""
    columns = [f"time {time} NOT NULL", *(f"{tag} {text}" for tag in TAGS), *(f"{name} {integer}" for name in FIELDS)]
    return f"CREATE TABLE {SERIES} ({', '.join(columns)})"


@dataclass(slots=True)
class _Writer:
    """Writes values as literals, or as placeholders with the values kept."""

    as_parameters: bool
    parameters: list[object] = field(default_factory=list)

    def text(self, value: str) -> str:
        return self._value(value, f"'{value}'")

    def time(self, time_ns: int) -> str:
        value = dt.datetime.fromtimestamp(time_ns // 10**9, dt.UTC).replace(microsecond=time_ns // 1000 % 10**6)
        return self._value(value, f"'{value.isoformat(' ')}'")

    def _value(self, value: object, literal: str) -> str:
        if not self.as_parameters:
            return literal
        self.parameters.append(value)
        return "%s"


def with_literals(query: Query, dialect: Dialect) -> str:
    """The statement as one text."""
    return _statement(query, dialect, _Writer(as_parameters=False))


def with_parameters(query: Query, dialect: Dialect) -> tuple[str, list[object]]:
    """The statement with ``%s`` and its values: the same text for all queries of a type."""
    writer = _Writer(as_parameters=True)
    return _statement(query, dialect, writer), writer.parameters


def _statement(query: Query, dialect: Dialect, writer: _Writer) -> str:
    unit = "minute" if query.bucket_ns == MINUTE_NS else "hour"
    match query.kind:
        case Kind.MAX_BY_BUCKET:
            selected = f"{dialect.bucket(unit)} AS {unit}, {_aggregates('max', query)}"
            return f"SELECT {selected} FROM {SERIES} {_where(query, writer)} GROUP BY {unit} ORDER BY {unit}"
        case Kind.LAST_BUCKETS:
            selected = f"{dialect.bucket(unit)} AS {unit}, {_aggregates('max', query)}"
            where = f"WHERE time < {writer.time(query.end_ns)}"
            return f"SELECT {selected} FROM {SERIES} {where} GROUP BY {unit} ORDER BY {unit} DESC LIMIT {LIMIT}"
        case Kind.MEAN_BY_BUCKET_AND_HOST:
            selected = f"{dialect.bucket(unit)} AS {unit}, hostname, {_aggregates('avg', query)}"
            groups = f"{unit}, hostname"
            return f"SELECT {selected} FROM {SERIES} {_where(query, writer)} GROUP BY {groups} ORDER BY {groups}"
        case Kind.HIGH_CPU:
            return f"SELECT * FROM {SERIES} {_where(query, writer)} AND usage_user > {THRESHOLD}.0"
        case Kind.LAST_POINT:
            return dialect.lastpoint
        case Kind.FETCH:
            return f"SELECT {', '.join(query.columns)} FROM {SERIES} {_where(query, writer)}"


def _aggregates(function: str, query: Query) -> str:
    prefix = "mean" if function == "avg" else function
    return ", ".join(f"{function}({name}) AS {prefix}_{name}" for name in query.fields)


def _where(query: Query, writer: _Writer) -> str:
    conditions = []
    if len(query.hosts) == 1:
        conditions.append(f"hostname = {writer.text(query.hosts[0])}")
    elif query.hosts:
        conditions.append(f"hostname IN ({', '.join(writer.text(host) for host in query.hosts)})")
    conditions.append(f"time >= {writer.time(query.start_ns)} AND time < {writer.time(query.end_ns)}")
    return f"WHERE {' AND '.join(conditions)}"
