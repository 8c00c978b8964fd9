"""The right answer of a query, computed from the generated points by numpy alone, without any database."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.answers import Answer
from benchmarks.queries import LIMIT, THRESHOLD, Kind, Query
from benchmarks.workload import FIELDS, TAGS, Workload

Integers = npt.NDArray[np.int64]


def answer(query: Query, workload: Workload) -> Answer:
    """What ``query`` must give over ``workload``, in its order where it has one, else by time and host number."""
    first, last = _tick(workload, query.start_ns), _tick(workload, query.end_ns)
    hosts = _host_numbers(query, workload)
    times = workload.times_ns[first:last]
    values = workload.values[first:last][:, hosts, : len(query.fields)]
    match query.kind:
        case Kind.MAX_BY_BUCKET:
            return _maxima(query, times, values)
        case Kind.LAST_BUCKETS:
            return {name: column[::-1][:LIMIT] for name, column in _maxima(query, times, values).items()}
        case Kind.MEAN_BY_BUCKET_AND_HOST:
            return _means(query, times, values)
        case Kind.HIGH_CPU:
            return _points(workload, values, first, hosts, values[:, :, 0] > THRESHOLD)
        case Kind.LAST_POINT:
            return _points(workload, values[-1:], workload.ticks - 1, hosts, np.ones((1, len(hosts)), dtype=np.bool_))
        case Kind.FETCH:
            points = _points(workload, values, first, hosts, np.ones(values.shape[:2], dtype=np.bool_))
            return {name: points[name] for name in query.columns}


def _tick(workload: Workload, time_ns: int) -> int:
    """The first tick at or after the time."""
    tick = -((workload.start_ns - time_ns) // workload.interval_ns)
    return min(max(tick, 0), workload.ticks)


def _host_numbers(query: Query, workload: Workload) -> Integers:
    if not query.hosts:
        return np.arange(workload.hosts)
    return np.array([int(host.removeprefix("host_")) for host in query.hosts])


def _buckets(query: Query, times: Integers) -> tuple[Integers, Integers]:
    """The buckets' starts and the position of each bucket's first tick."""
    starts, positions = np.unique(times // query.bucket_ns * query.bucket_ns, return_index=True)
    return starts, positions


def _maxima(query: Query, times: Integers, values: npt.NDArray[np.uint8]) -> Answer:
    starts, positions = _buckets(query, times)
    maxima = np.maximum.reduceat(values.max(axis=1), positions, axis=0)
    columns: list[npt.NDArray[Any]] = [starts, *maxima.T.astype(np.float64)]
    return dict(zip(query.columns, columns, strict=True))


def _means(query: Query, times: Integers, values: npt.NDArray[np.uint8]) -> Answer:
    starts, positions = _buckets(query, times)
    counts = np.diff([*positions, len(times)])
    sums = np.add.reduceat(values, positions, axis=0, dtype=np.int64)
    means = sums / counts[:, None, None]
    names = np.array([f"host_{host}" for host in range(values.shape[1])], dtype=object)
    by_name = np.argsort(names.astype(str))  # the queries order by the host's name, as bytes
    hours = np.repeat(starts, len(names))
    columns = [hours, np.tile(names[by_name], len(starts)), *means[:, by_name].reshape(len(hours), -1).T]
    return dict(zip(query.columns, columns, strict=True))


def _points(
    workload: Workload,
    values: npt.NDArray[np.uint8],
    first: int,
    hosts: Integers,
    chosen: npt.NDArray[np.bool_],
) -> Answer:
    """The points of ``values`` (ticks from ``first``, the given hosts, fields) where ``chosen`` (ticks, hosts)."""
    ticks, positions = np.nonzero(chosen)
    columns: Answer = {"time": workload.times_ns[first + ticks]}
    numbers = hosts[positions]
    for i, tag in enumerate(TAGS):
        columns[tag] = np.array([tags[i] for tags in workload.tags], dtype=object)[numbers]
    for i, field in enumerate(FIELDS[: values.shape[2]]):
        columns[field] = values[:, :, i][ticks, positions].astype(np.float64)
    return columns
