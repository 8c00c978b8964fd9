"""A planned scan and its run's values become what storage is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from tsdb.model.store import ScanRequest, TimeRange
from tsdb.sql.plan import PlannedScan, Undecided, Values
from tsdb.sql.rules.prune_by_time import intersection

T = TypeVar("T")


def of_scan(scan: PlannedScan, values: Values, *, prune: bool) -> ScanRequest:
    """``prune=False`` reads everything: the answers must be the same."""
    assert scan.source.series is not None
    series, columns = scan.source.series, scan.columns
    if not prune:
        return ScanRequest(series, columns, prune=False)
    if scan.newest is not None:
        try:
            return replace(exactly(scan, values, columns), newest=scan.newest(values))
        except Undecided:
            pass
    ranges = _decided(scan.ranges, values)
    return ScanRequest(
        series,
        columns,
        intersection(ranges) if ranges else TimeRange(),
        tuple(_decided(scan.tags, values)),
        tuple(_decided(scan.bounds, values)),
    )


def exactly(scan: PlannedScan, values: Values, columns: tuple[int | str, ...]) -> ScanRequest:
    """A scan whose range and tags are all that it decides. Raises Undecided when a constant is not known yet."""
    assert scan.source.series is not None
    ranges = [make(values) for make in scan.ranges]
    return ScanRequest(
        scan.source.series,
        columns,
        intersection(ranges) if ranges else TimeRange(),
        tuple(make(values) for make in scan.tags),
        tuple(_decided(scan.bounds, values)),
    )


def _decided(makers: Sequence[Callable[[Values], T]], values: Values) -> list[T]:
    made = []
    for maker in makers:
        try:
            made.append(maker(values))
        except Undecided:
            continue
    return made
