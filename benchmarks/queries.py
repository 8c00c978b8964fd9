"""The fifteen queries of TSBS's cpu-only, and the fetch of a large result, with parameters drawn from a seed.

A query is described by what it asks, not by a text: `sql`, `influxql` and `promql` write the texts, `truth` computes
the answer from the generated points.

Two things differ from TSBS. Window borders are drawn in whole milliseconds, not nanoseconds, so that VictoriaMetrics'
clock, the coarsest of the five, can say them. A window longer than the data is cut to the data's length.

Source: timescale/tsbs, `cmd/tsbs_generate_queries/uses/devops`; its README is wrong where they differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from benchmarks.workload import FIELDS, TAGS, Workload

SECOND_NS = 10**9
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
MILLISECOND_NS = 10**6

THRESHOLD = 90  # of high-cpu
LIMIT = 5  # of groupby-orderby-limit
FETCH_ROWS = 1_000_000
VARIANTS = 30  # sets of parameters of a query type, as far as its budget of time goes


class Kind(Enum):
    """What a query computes."""

    MAX_BY_BUCKET = auto()
    MEAN_BY_BUCKET_AND_HOST = auto()
    LAST_BUCKETS = auto()
    HIGH_CPU = auto()
    LAST_POINT = auto()
    FETCH = auto()


@dataclass(frozen=True, slots=True)
class Query:
    """One query with its parameters.

    The window is [start_ns, end_ns). ``hosts`` empty means every host. ``bucket_ns`` is 0 where nothing is grouped.
    """

    type: str
    kind: Kind
    fields: tuple[str, ...]
    hosts: tuple[str, ...]
    start_ns: int
    end_ns: int
    bucket_ns: int = 0

    @property
    def bucket(self) -> str:
        """The bucket column's name: its width's unit."""
        return "minute" if self.bucket_ns == MINUTE_NS else "hour"

    @property
    def columns(self) -> tuple[str, ...]:
        """The answer's columns."""
        match self.kind:
            case Kind.MAX_BY_BUCKET | Kind.LAST_BUCKETS:
                return (self.bucket, *(f"max_{field}" for field in self.fields))
            case Kind.MEAN_BY_BUCKET_AND_HOST:
                return (self.bucket, "hostname", *(f"mean_{field}" for field in self.fields))
            case Kind.HIGH_CPU | Kind.LAST_POINT:
                return ("time", *TAGS, *self.fields)
            case Kind.FETCH:
                return ("time", "hostname", *self.fields)

    @property
    def is_ordered(self) -> bool:
        """Whether the query says in which order its rows come."""
        return self.bucket_ns > 0


@dataclass(frozen=True, slots=True)
class QueryType:
    """How the queries of one name are drawn. ``hosts`` 0 means every host, ``fields`` counts from the first."""

    name: str
    kind: Kind
    hosts: int
    fields: int
    window_ns: int
    bucket_ns: int = 0

    @property
    def variants(self) -> int:
        """How many sets of parameters are drawn."""
        return 1 if self.kind is Kind.FETCH else VARIANTS


def _single_groupby(fields: int, hosts: int, hours: int) -> QueryType:
    name = f"single-groupby-{fields}-{hosts}-{hours}"
    return QueryType(name, Kind.MAX_BY_BUCKET, hosts, fields, hours * HOUR_NS, MINUTE_NS)


def _cpu_max_all(hosts: int) -> QueryType:
    return QueryType(f"cpu-max-all-{hosts}", Kind.MAX_BY_BUCKET, hosts, len(FIELDS), 8 * HOUR_NS, HOUR_NS)


def _double_groupby(name: str, fields: int) -> QueryType:
    return QueryType(f"double-groupby-{name}", Kind.MEAN_BY_BUCKET_AND_HOST, 0, fields, 12 * HOUR_NS, HOUR_NS)


TYPES = (
    _single_groupby(1, 1, 1),
    _single_groupby(1, 1, 12),
    _single_groupby(1, 8, 1),
    _single_groupby(5, 1, 1),
    _single_groupby(5, 1, 12),
    _single_groupby(5, 8, 1),
    _cpu_max_all(1),
    _cpu_max_all(8),
    _double_groupby("1", 1),
    _double_groupby("5", 5),
    _double_groupby("all", len(FIELDS)),
    QueryType("groupby-orderby-limit", Kind.LAST_BUCKETS, 0, 1, HOUR_NS, MINUTE_NS),
    QueryType("high-cpu-1", Kind.HIGH_CPU, 1, len(FIELDS), 12 * HOUR_NS),
    QueryType("high-cpu-all", Kind.HIGH_CPU, 0, len(FIELDS), 12 * HOUR_NS),
    QueryType("lastpoint", Kind.LAST_POINT, 0, len(FIELDS), 0),
)
FETCH = QueryType("fetch", Kind.FETCH, 0, 2, 0)
BY_NAME = {query_type.name: query_type for query_type in (*TYPES, FETCH)}


def draw(query_type: QueryType, workload: Workload) -> list[Query]:
    """The type's queries: the same for the same workload, whichever other types are drawn."""
    rng = np.random.default_rng([workload.seed, list(BY_NAME).index(query_type.name)])
    return [_draw_one(query_type, workload, rng) for _ in range(query_type.variants)]


def _draw_one(query_type: QueryType, workload: Workload, rng: np.random.Generator) -> Query:
    start_ns, end_ns = _window(query_type, workload, rng)
    count = min(query_type.hosts, workload.hosts)
    hosts = tuple(f"host_{host}" for host in rng.permutation(workload.hosts)[:count])
    fields = FIELDS[: query_type.fields]
    return Query(query_type.name, query_type.kind, fields, hosts, start_ns, end_ns, query_type.bucket_ns)


def _window(query_type: QueryType, workload: Workload, rng: np.random.Generator) -> tuple[int, int]:
    # TSBS's scripts end the queries' time one second after the data, so that a window may be as long as the data.
    first, last = workload.start_ns, workload.end_ns + SECOND_NS
    if query_type.kind is Kind.FETCH:
        ticks = max(1, FETCH_ROWS // workload.hosts)
        return first, min(workload.end_ns, first + ticks * workload.interval_ns)
    if query_type.kind is Kind.LAST_POINT:
        return first, last
    length = min(query_type.window_ns, workload.end_ns - workload.start_ns)
    start = first + int(rng.integers((last - length - first) // MILLISECOND_NS)) * MILLISECOND_NS
    if query_type.kind is Kind.LAST_BUCKETS:
        return first, start + length  # all that lies before a random end
    return start, start + length
