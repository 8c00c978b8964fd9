"""What an aggregate over one scan computes, in terms of the scan's columns."""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.sql.expressions.grouping import Ordering
from tsdb.types import SqlType


@dataclass(frozen=True, slots=True)
class TimeKey:
    """Buckets of ``width_us`` from ``origin_us`` on, both in µs since 1970. ``form``: whether a bucket is shown by its
    first instant ("time") or by the seconds until then ("seconds")."""

    width_us: int
    origin_us: int
    form: str = "time"


@dataclass(frozen=True, slots=True)
class TagKey:
    """A tag, by its column number."""

    column: int


@dataclass(frozen=True, slots=True)
class Aggregate:
    """``function`` of a field, by its column number; None for count(*). ``floating``: the field is stored as float8."""

    function: str
    column: int | None
    floating: bool = False


@dataclass(frozen=True, slots=True)
class Having:
    """Only groups in which an aggregate, by its index, compares so with a number; NULL does not."""

    aggregate: int
    operator: str
    value: int | float
    type: SqlType


@dataclass(frozen=True, slots=True)
class ScanAggregate:
    """``outputs`` are the select list: ("time", 0), ("tag", index into ``tags``) or ("aggregate", index into
    ``aggregates``), with the type of each result column in ``types``. ``shown``: averages of integers
    are texts, as PostgreSQL prints them."""

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

    @property
    def needs_times(self) -> bool:
        """Whether the points' times matter, beyond the scan's range."""
        return self.time is not None or any(each.function in ("first", "last") for each in self.aggregates)
