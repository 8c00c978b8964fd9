"""Continuous views: materialized views over buckets of time that are kept up to date piece by piece.

``Continuous`` says what a bucket is and how the view is kept; it is part of the view's definition. ``Buckets`` turns
it into ranges of time. An *edge* is an instant that no bucket reaches across: rows before and after it are never in
one bucket. Where a time zone's clocks change, local buckets may be torn into pieces that lie one in another, so edges
keep a day's distance from there, and the buckets between two edges are one unit.

``Progress`` says how far the stored buckets go: all before ``watermark_ns`` are stored, as the source was up to the
counter. What changed in the source since is *dirty* and is computed again, by a refresh or by a reader.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from tsdb import zones
from tsdb.model.time import NS_MAX, NS_MIN, NS_PER_SECOND, clamp_ns

_DAY_US = 86_400_000_000
_EPOCH = date(1970, 1, 1).toordinal()
# Months beyond these are beyond int64 nanoseconds.
_YEARS = (1600, 2400)


@dataclass(frozen=True, slots=True)
class Continuous:
    """How a continuous view is cut and kept.

    A bucket is ``months`` or ``width_us`` wide; one begins at ``origin_us``, all are moved by ``offset_us``. With a
    ``zone`` these are local times. Buckets that ended ``lag_ns`` ago are stored, which is looked at every ``every_ns``;
    ``stored_only``: readers get what is stored and no more.
    """

    months: int
    width_us: int
    origin_us: int
    offset_us: int = 0
    zone: str = ""
    lag_ns: int = 0
    every_ns: int = 60 * NS_PER_SECOND
    stored_only: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a continuous view's stored buckets go; see the module.

    Of a database that several nodes have: a bucket is dirty, too, if its stored rows changed since the counter
    ``stored``, as those of a refresh that has not said so yet. ``final_ns``: the watermark that all have agreed on,
    which this node may still be behind of: buckets before it that are history are stored, or on their way.
    """

    counter: int
    watermark_ns: int
    stored: int = -1
    final_ns: int = NS_MIN


class Buckets:
    """The edges between a continuous view's buckets, in ns."""

    def __init__(self, continuous: Continuous) -> None:
        self._bucket = continuous
        self._zone = zones.zone(continuous.zone) if continuous.zone else None

    @property
    def quantum_ns(self) -> int:
        """Times that are told apart no finer than this lie in the same bucket, or in neighbours."""
        return _DAY_US * 1000 if self._bucket.months else min(self._bucket.width_us, _DAY_US) * 1000

    def low(self, ns: int) -> int:
        """The last edge at or before an instant."""
        if ns in (NS_MIN, NS_MAX):
            return ns
        us = ns // 1000
        if self._zone is None:
            return clamp_ns(self._start(us) * 1000)
        while True:
            local = self._start(us + self._zone.offset_s(us) * zones.US_PER_SECOND)
            edge = self._edge(local)
            if edge is not None and edge <= us:
                return clamp_ns(edge * 1000)
            us = local - self._zone.offset_s(us) * zones.US_PER_SECOND - 1

    def high(self, ns: int) -> int:
        """The first edge at or after an instant."""
        if ns in (NS_MIN, NS_MAX) or self.low(ns) == ns:
            return ns
        us = ns // 1000
        if self._zone is None:
            return clamp_ns(self._next(self._start(us)) * 1000)
        local = self._start(us + self._zone.offset_s(us) * zones.US_PER_SECOND)
        while True:
            local = self._next(local)
            edge = self._edge(local)
            if edge is not None and edge * 1000 >= ns:
                return clamp_ns(edge * 1000)

    def _edge(self, local_us: int) -> int | None:
        """The instant when a local bucket starts; None near a change of the clocks."""
        assert self._zone is not None
        us = local_us - self._zone.offset_s(local_us) * zones.US_PER_SECOND
        changes = self._zone.transitions_us
        if bisect_right(changes, us - _DAY_US) != bisect_right(changes, us + _DAY_US):
            return None
        if self._zone.offset_s(us - _DAY_US) != self._zone.offset_s(us + _DAY_US):
            return None
        return local_us - self._zone.offset_s(us) * zones.US_PER_SECOND

    def _start(self, us: int) -> int:
        """Where the bucket of a time (local, with a zone) starts, as ``time_bucket`` computes it."""
        b = self._bucket
        moved = us - b.offset_us
        if not b.months:
            return moved - (moved - b.origin_us) % b.width_us + b.offset_us
        month = _month_of(moved)
        return _us_of(month - (month - _month_of(b.origin_us)) % b.months) + b.offset_us

    def _next(self, start_us: int) -> int:
        b = self._bucket
        if not b.months:
            return start_us + b.width_us
        return _us_of(_month_of(start_us - b.offset_us) + b.months) + b.offset_us


def _month_of(us: int) -> int:
    day = date.fromordinal(_EPOCH + us // _DAY_US)
    return day.year * 12 + day.month - 1


def _us_of(month: int) -> int:
    year = min(max(month // 12, _YEARS[0]), _YEARS[1])
    return (date(year, month % 12 + 1, 1).toordinal() - _EPOCH) * _DAY_US


Spans = tuple[tuple[int, int], ...]
"""Disjoint, ascending [low, high) in ns."""


def whole(ranges: Iterable[tuple[int, int]], buckets: Buckets, low: int, high: int) -> Spans:
    """The ranges widened to edges, joined where they touch, within [low, high), which are edges."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted((max(first, low), min(last, high)) for first, last in ranges):
        if first >= last or (joined and last <= joined[-1][1]):
            continue
        begin = first if first == low else max(low, buckets.low(first))
        end = last if last == high else min(high, buckets.high(last))
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return tuple(joined)


def without(low: int, high: int, spans: Spans) -> Spans:
    """[low, high) without the spans, which lie in it."""
    kept, at = [], low
    for first, last in spans:
        if at < first:
            kept.append((at, first))
        at = max(at, last)
    return (*kept, (at, high)) if at < high else tuple(kept)
