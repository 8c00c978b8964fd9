"""What an aggregate over one scan computes, in terms of the scan's columns."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from tsdb import zones
from tsdb.model.store import TimeRange
from tsdb.model.time import NS_MAX, NS_MIN, NS_PER_US
from tsdb.sql.expressions.grouping import Ordering
from tsdb.types import SqlType

# Zones by the name of a place; others are written in ways that not everybody reads alike.
_PLACE = re.compile(r"[A-Za-z_]+(/[A-Za-z_-]+)*")
_US_PER_SECOND = 1_000_000
_DAY_US = 86_400 * _US_PER_SECOND
# As many plans as are kept at all, about (``tsdb.sql.query``).
PLANS_KEPT = 512


@dataclass(frozen=True, slots=True)
class TimeKey:
    """Buckets of ``width_us`` from ``origin_us`` on, both in µs since 1970. ``form``: whether a bucket is shown by its
    first instant ("time") or by the seconds until then ("seconds"). ``zone``: the time zone whose clocks are meant,
    "" is the session's, None UTC."""

    width_us: int
    origin_us: int
    form: str = "time"
    zone: str | None = None

    def in_utc(self, range_ns: TimeRange, session_zone: str) -> TimeKey | None:
        """The same buckets in UTC; None where the zone's clocks may be changed near the range, or it has no bounds."""
        if self.zone is None:
            return self
        name = self.zone or session_zone
        if not _PLACE.fullmatch(name):
            return None
        zone = zones.zone(name)
        if not len(zone.transitions_us) and zone.offset_s(0) == 0:
            return TimeKey(self.width_us, self.origin_us, self.form)
        if range_ns.low == NS_MIN or range_ns.high == NS_MAX:
            return None
        # A bucket begins at most a width before the range; what a local time means depends on the days around it.
        around = self.width_us + 2 * _DAY_US
        low, high = range_ns.low // NS_PER_US - around, range_ns.high // NS_PER_US + around
        first, last = np.searchsorted(zone.transitions_us, (low, high), side="right")
        if first != last or high >= zone.end_us:
            return None
        return TimeKey(self.width_us, self.origin_us - zone.offset_s(low) * _US_PER_SECOND, self.form)


@dataclass(frozen=True, slots=True)
class TagKey:
    """A tag, by its column number."""

    column: int


@dataclass(frozen=True, slots=True)
class Aggregate:
    """``function`` of a field, by its column number; None for count(*), and for min and max of the time itself.
    ``floating``: the field is stored as float8."""

    function: str
    column: int | None
    floating: bool = False

    @property
    def reads_times(self) -> bool:
        return self.function in ("first", "last") or (self.column is None and self.function != "count")


@dataclass(frozen=True, slots=True)
class Having:
    """Only groups in which an aggregate, by its index, compares so with a number; NULL does not."""

    aggregate: int
    operator: str
    value: int | float
    type: SqlType


@dataclass(frozen=True, slots=True, eq=False)
class ScanAggregate:
    """``outputs`` are the select list: ("time", 0), ("tag", index into ``tags``) or ("aggregate", index into
    ``aggregates``), with the type of each result column in ``types``. ``shown``: averages of integers are texts, as
    PostgreSQL prints them. Each plan is one by itself: what is made of it once is found by it again."""

    time: TimeKey | None
    tags: tuple[TagKey, ...]
    aggregates: tuple[Aggregate, ...]
    outputs: tuple[tuple[str, int], ...]
    types: tuple[SqlType, ...]
    order: tuple[Ordering, ...]
    limit: int | None
    grouped: bool
    shown: bool
    having: tuple[Having, ...] = ()

    def in_utc(self, range_ns: TimeRange, session_zone: str) -> ScanAggregate | None:
        """With buckets that are right in UTC, for a scan of a range; None where there are none."""
        if self.time is None or self.time.zone is None:
            return self
        if (self.time.zone or session_zone) == "UTC":
            return _in_plain_utc(self)
        time = self.time.in_utc(range_ns, session_zone)
        return None if time is None else replace(self, time=time)

    @property
    def needs_times(self) -> bool:
        """Whether the points' times matter, beyond the scan's range."""
        return self.time is not None or any(each.reads_times for each in self.aggregates)


@lru_cache(maxsize=PLANS_KEPT)
def _in_plain_utc(plan: ScanAggregate) -> ScanAggregate:
    assert plan.time is not None
    return replace(plan, time=replace(plan.time, zone=None))


@dataclass(frozen=True, slots=True)
class Partial:
    """``aggregate`` gives rows that DuckDB reads in place of the points, under the scan's ``name`` with columns
    ``names``; ``sql`` is the statement over them."""

    aggregate: ScanAggregate
    sql: str
    name: str
    names: tuple[str, ...]
