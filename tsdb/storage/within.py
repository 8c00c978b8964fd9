"""Scans of several spans of time: what is read of a continuous view and of its source.

Each span is a scan of its own; where there are too many, neighbours become one whose rows are filtered.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace

import numpy as np
import pyarrow as pa

from tsdb.model.continuous import Spans
from tsdb.model.store import TIME_NS, Scan, ScanRequest, ScanStatistics, TimeRange

SCANS_MAX = 16


def scan_within(start: Callable[[ScanRequest], Scan], request: ScanRequest) -> Scan:
    """The rows of a request in its spans, of which ``start`` scans one at a time."""
    assert request.within is not None
    low, high = request.range.low, request.range.high
    every = [(max(first, low), min(last, high)) for first, last in request.within]
    spans = [span for span in every if span[0] < span[1]]
    if len(spans) < 2:
        span = TimeRange(*spans[0]) if spans else TimeRange(0, 0)
        return start(replace(request, within=None, range=span))
    groups = grouped(spans, SCANS_MAX)
    # What is newest in a span may not be so in all of them; cells come before all batches.
    plain = replace(request, within=None, newest=None, cells=None)
    schema = start(replace(plain, range=TimeRange(0, 0))).schema
    total = ScanStatistics()
    return Scan(schema, _batches(start, plain, groups, total), total)


def grouped(spans: Sequence[tuple[int, int]], limit: int) -> list[Spans]:
    """At most ``limit`` groups of neighbours: those with the widest gaps between them are told apart."""
    if not spans:
        return []
    gaps = [after[0] - before[1] for before, after in itertools.pairwise(spans)]
    borders = sorted(sorted(range(len(gaps)), key=gaps.__getitem__, reverse=True)[: limit - 1])
    ends = [*(at + 1 for at in borders), len(spans)]
    return [tuple(spans[begin:end]) for begin, end in zip([0, *ends], ends, strict=False)]


def _batches(
    start: Callable[[ScanRequest], Scan], request: ScanRequest, groups: Sequence[Spans], total: ScanStatistics
) -> Iterator[pa.RecordBatch]:
    for group in groups:
        asked = replace(request, range=TimeRange(group[0][0], group[-1][1]))
        extra = len(group) > 1 and TIME_NS not in request.columns
        if extra:
            asked = replace(asked, columns=(*request.columns, TIME_NS))
        scan = start(asked)
        try:
            for batch in scan.batches:
                kept = batch if len(group) == 1 else _filtered(batch, asked.columns.index(TIME_NS), group)
                yield kept.select(range(len(request.columns))) if extra else kept
        finally:
            _add(total, scan.statistics)
            close = getattr(scan.batches, "close", None)
            if close is not None:
                close()


def _filtered(batch: pa.RecordBatch, at: int, spans: Spans) -> pa.RecordBatch:
    times = batch.column(at).to_numpy(zero_copy_only=False)
    edges = np.array(spans, np.int64).ravel()
    # Inside a span an odd number of edges lies at or below.
    inside = np.searchsorted(edges, times, side="right") % 2 == 1
    return batch if inside.all() else batch.filter(pa.array(inside))


def _add(total: ScanStatistics, one: ScanStatistics) -> None:
    for field in fields(ScanStatistics):
        setattr(total, field.name, getattr(total, field.name) + getattr(one, field.name))
