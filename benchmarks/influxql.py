"""The queries in InfluxQL (InfluxDB 1.x), and its JSON answers as rows.

TSBS's own text of groupby-orderby-limit has no DESC and answers another question; ours has it. `GROUP BY time` over a
window writes a row for every bucket, so `fill(none)` leaves out empty ones, as SQL does.

Source: InfluxDB 1.6 documentation, "Data exploration using InfluxQL"; "/query HTTP endpoint".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.answers import Answer, from_columns
from benchmarks.queries import LIMIT, MINUTE_NS, THRESHOLD, Kind, Query
from benchmarks.workload import SERIES


def statement(query: Query) -> str:
    """The query's text."""
    width = "1m" if query.bucket_ns == MINUTE_NS else "1h"
    match query.kind:
        case Kind.MAX_BY_BUCKET:
            return f"SELECT {_aggregates('max', query)} FROM {SERIES} {_where(query)} GROUP BY time({width}) fill(none)"
        case Kind.LAST_BUCKETS:
            where = f"WHERE time < {query.end_ns}"
            groups = f"GROUP BY time({width}) fill(none) ORDER BY time DESC LIMIT {LIMIT}"
            return f"SELECT {_aggregates('max', query)} FROM {SERIES} {where} {groups}"
        case Kind.MEAN_BY_BUCKET_AND_HOST:
            groups = f"GROUP BY time({width}), hostname fill(none)"
            return f"SELECT {_aggregates('mean', query)} FROM {SERIES} {_where(query)} {groups}"
        case Kind.HIGH_CPU:
            return f"SELECT * FROM {SERIES} {_where(query)} AND usage_user > {THRESHOLD}.0"
        case Kind.LAST_POINT:
            return f"SELECT * FROM {SERIES} GROUP BY hostname ORDER BY time DESC LIMIT 1"
        case Kind.FETCH:
            return f"SELECT {', '.join(query.columns[1:])} FROM {SERIES} {_where(query)}"


def _aggregates(function: str, query: Query) -> str:
    return ", ".join(f"{function}({name}) AS {function}_{name}" for name in query.fields)


def _where(query: Query) -> str:
    conditions = [f"time >= {query.start_ns} AND time < {query.end_ns}"]
    if query.hosts:
        conditions.append("(" + " OR ".join(f"hostname = '{host}'" for host in query.hosts) + ")")
    return f"WHERE {' AND '.join(conditions)}"


def answer(query: Query, document: Any) -> Answer:
    """The answer in a decoded JSON document of ``/query`` with ``epoch=ns``; ValueError with the server's error."""
    names: list[str] = []
    rows: list[tuple[Any, ...]] = []
    for series in _series(document):
        tags = series.get("tags", {})
        names = [*series["columns"], *tags]
        rows.extend((*row, *tags.values()) for row in series["values"])
    if query.bucket_ns:
        names = [query.bucket if name == "time" else name for name in names]
    if not rows:
        return from_columns({name: [] for name in query.columns}, query)
    return from_columns(dict(zip(names, zip(*rows, strict=True), strict=True)), query)


def _series(document: Any) -> Iterator[Any]:
    for result in document.get("results", [document]):
        if "error" in result:
            raise ValueError(f"InfluxDB: {result['error']}")
        yield from result.get("series", [])
