"""The queries in MetricsQL (VictoriaMetrics), as far as it can say them, and its answers.

VictoriaMetrics keeps a series for each field and host (`cpu_usage_user{hostname="host_1", …}`), not rows. A range
query evaluates at every step over the samples in (t - width, t]. With t one millisecond before a bucket's end these
are the bucket's samples (times have milliseconds). Known differences from the SQL queries:

- A bucket is always whole: the window's ragged first and last bucket hold samples from outside the window. They are
  fetched (and timed) but not compared.
- groupby-orderby-limit asks for the last five minutes before the end; it knows that the data have no gaps and
  where they end.
- lastpoint gives each host's last values without their times and looks back over the last minute of the data only;
  the times are not compared.
- high-cpu asks for whole rows where one field is above 90. MetricsQL has no rows: not comparable.

Source: VictoriaMetrics 1.79, "MetricsQL", "Prometheus querying API", "How to export time series".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.answers import Answer, from_columns, rows_of
from benchmarks.queries import LIMIT, MILLISECOND_NS, Kind, Query
from benchmarks.workload import INTERVAL_NS, SERIES, TAGS

Request = tuple[str, dict[str, str]]


def not_comparable(query: Query) -> str | None:
    """Why the query has no counterpart, or None."""
    if query.kind is Kind.HIGH_CPU:
        return "MetricsQL has no rows: it cannot give all fields of a point where one is above 90"
    return None


def request(query: Query, data_end_ns: int) -> Request:
    """The path and the parameters that ask for the query's answer."""
    selector = _selector(query)
    width = f"{query.bucket_ns // MILLISECOND_NS}ms"
    match query.kind:
        case Kind.MAX_BY_BUCKET | Kind.LAST_BUCKETS:
            return _range(query, f"max(max_over_time({selector}[{width}])) by (__name__)", data_end_ns)
        case Kind.MEAN_BY_BUCKET_AND_HOST:
            return _range(query, f"avg(avg_over_time({selector}[{width}])) by (__name__, hostname)", data_end_ns)
        case Kind.LAST_POINT:
            time = _seconds(data_end_ns - INTERVAL_NS)
            return "/api/v1/query", {"query": f"last_over_time({selector}[1m])", "time": time, "nocache": "1"}
        case Kind.FETCH:
            # Both ends of an export are inclusive.
            end = _seconds(query.end_ns - MILLISECOND_NS)
            return "/api/v1/export", {"match[]": selector, "start": _seconds(query.start_ns), "end": end}
        case Kind.HIGH_CPU:
            raise ValueError(not_comparable(query))


def _selector(query: Query) -> str:
    conditions = [f'__name__=~"{SERIES}_({"|".join(query.fields)})"']
    if query.hosts:
        conditions.append(f'hostname=~"{"|".join(query.hosts)}"')
    return "{" + ",".join(conditions) + "}"


def _range(query: Query, expression: str, data_end_ns: int) -> Request:
    first = query.start_ns // query.bucket_ns * query.bucket_ns + query.bucket_ns - MILLISECOND_NS
    last = -(-min(query.end_ns, data_end_ns) // query.bucket_ns) * query.bucket_ns - MILLISECOND_NS
    if query.kind is Kind.LAST_BUCKETS:
        first = last - (LIMIT - 1) * query.bucket_ns
    # Without nocache=1 it moves start and end to multiples of the step.
    times = {"start": _seconds(first), "end": _seconds(last), "step": f"{query.bucket_ns // MILLISECOND_NS}ms"}
    return "/api/v1/query_range", {"query": expression, **times, "nocache": "1"}


def _seconds(time_ns: int) -> str:
    return f"{time_ns // 10**9}.{time_ns // MILLISECOND_NS % 1000:03}"


def answer(query: Query, result: list[Any]) -> Answer:
    """The answer in a query's ``data.result`` or in an export's objects, one a series."""
    match query.kind:
        case Kind.FETCH:
            return _exported(query, result)
        case Kind.LAST_POINT:
            return _last_points(query, result)
        case _:
            return _bucketed(query, result)


def _field(series: Any) -> str:
    return str(series["metric"]["__name__"]).removeprefix(f"{SERIES}_")


def _bucketed(query: Query, result: list[Any]) -> Answer:
    prefix = "mean" if query.kind is Kind.MEAN_BY_BUCKET_AND_HOST else "max"
    cells: dict[tuple[int, str], dict[str, float]] = {}
    for series in result:
        host = series["metric"].get("hostname", "")
        for time, value in series["values"]:
            bucket = round(time * 1000) * MILLISECOND_NS // query.bucket_ns * query.bucket_ns
            cells.setdefault((bucket, host), {})[f"{prefix}_{_field(series)}"] = float(value)
    keys = sorted(cells)
    if query.kind is Kind.LAST_BUCKETS:
        keys.reverse()
    columns: dict[str, Any] = {query.bucket: [bucket for bucket, _ in keys]}
    if "hostname" in query.columns:
        columns["hostname"] = [host for _, host in keys]
    for name in query.columns[len(columns) :]:
        columns[name] = [cells[key].get(name) for key in keys]
    return from_columns(columns, query)


def _last_points(query: Query, result: list[Any]) -> Answer:
    rows: dict[str, dict[str, Any]] = {}
    for series in result:
        labels = series["metric"]
        row = rows.setdefault(labels["hostname"], {"time": 0, **{tag: labels[tag] for tag in TAGS}})
        row[_field(series)] = float(series["value"][1])
    return from_columns({name: [row.get(name) for row in rows.values()] for name in query.columns}, query)


def _exported(query: Query, result: list[Any]) -> Answer:
    by_field: dict[str, dict[str, Any]] = {field: {} for field in query.fields}
    for series in result:
        by_field[_field(series)][series["metric"]["hostname"]] = series
    first, *others = (by_field[field] for field in query.fields)
    hosts = list(first)
    times = [np.array(first[host]["timestamps"], dtype=np.int64) for host in hosts]
    for other in others:
        if any(not np.array_equal(times[i], other[host]["timestamps"]) for i, host in enumerate(hosts)):
            raise ValueError("the exported fields of a host have different times")
    columns: dict[str, Any] = {
        "time": np.concatenate(times) * MILLISECOND_NS,
        "hostname": np.repeat(np.array(hosts, dtype=object), [len(part) for part in times]),
    }
    for field in query.fields:
        columns[field] = np.concatenate([by_field[field][host]["values"] for host in hosts])
    return from_columns(columns, query)


def comparable(query: Query, answer: Answer) -> Answer:
    """The part of an answer, ours or the expected one, that the two have in common."""
    if query.kind is Kind.LAST_POINT:
        return {name: column for name, column in answer.items() if name != "time"}
    if not query.bucket_ns or not rows_of(answer):
        return answer
    starts = answer[query.bucket]
    whole = (starts >= query.start_ns) & (starts + query.bucket_ns <= query.end_ns)
    return {name: column[whole] for name, column in answer.items()}
