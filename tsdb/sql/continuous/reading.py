"""Which spans of time a statement reads from a continuous view's stored rows, and which it computes from the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from tsdb.model.continuous import Buckets, Continuous, Progress, Spans, whole, without
from tsdb.model.schema import Series
from tsdb.model.store import ScanRequest, TimeRange, View
from tsdb.model.time import NS_MAX, NS_MIN
from tsdb.sql.expressions.relation import Part


@lru_cache(maxsize=256)
def buckets_of(continuous: Continuous) -> Buckets:
    return Buckets(continuous)


@dataclass(frozen=True, slots=True)
class Cut:
    """A continuous view at one moment, in ns; all of it are edges of its buckets.

    It has no buckets before ``low`` (its own retention). Those before ``history`` are never computed again (the
    source's retention); those from ``watermark`` on are not stored (and ``low`` is not above it). ``dirty`` are spans
    of the stored ones that are not as the source is.
    """

    low: int
    history: int
    watermark: int
    dirty: Spans

    @property
    def stored(self) -> Spans:
        """What is read from the stored rows."""
        return without(self.low, self.watermark, self.dirty)

    @property
    def computed(self) -> Spans:
        """What is computed from the source."""
        if self.dirty and self.dirty[-1][1] == self.watermark:
            return (*self.dirty[:-1], (self.dirty[-1][0], NS_MAX))
        return (*self.dirty, (self.watermark, NS_MAX))

    @property
    def stored_at_all(self) -> Spans:
        return ((self.low, self.watermark),) if self.low < self.watermark else ()


def cut(view: View, series: Series, source: Series) -> Cut:
    """How a continuous view stands to its source in a view of the data."""
    assert series.continuous is not None
    buckets = buckets_of(series.continuous)
    low = _edge(buckets, series.floor_ns)
    history = _edge(buckets, source.floor_ns)
    progress = view.progress(series)
    if progress is None or progress.watermark_ns <= low:
        return Cut(low, history, low, ())
    watermark = max(progress.watermark_ns, min(history, progress.final_ns))
    return Cut(low, history, watermark, _dirty(view, series, source, buckets, progress, max(low, history), watermark))


def _dirty(
    view: View, series: Series, source: Series, buckets: Buckets, progress: Progress, first: int, watermark: int
) -> Spans:
    if first >= watermark:
        return ()
    span = TimeRange(first, watermark)
    changes = [*view.changes(source, progress.counter, span, buckets.quantum_ns)]
    if progress.stored >= 0:
        changes += view.changes(series, progress.stored, span, buckets.quantum_ns)
    return whole(changes, buckets, first, watermark)


def _edge(buckets: Buckets, floor_ns: int | None) -> int:
    return NS_MIN if floor_ns is None else buckets.high(floor_ns)


def within(
    requests: Sequence[tuple[str, ScanRequest]], parts: Mapping[str, Part | None], view: View
) -> list[tuple[str, ScanRequest]]:
    """The requests with the spans of those that read a part of a continuous view."""
    cuts: dict[int, Cut] = {}
    made = []
    for name, request in requests:
        part = parts[name]
        if part is not None:
            found = cuts.get(part.view.number)
            if found is None:
                database, series = view.catalog.series_by_number[part.view.number]
                source = database.source_of(series)
                assert source is not None, "a continuous view has a source: it cannot be dropped without the view"
                found = cuts[part.view.number] = cut(view, series, source)
            request = replace(request, within=_spans(found, part.kind))
        made.append((name, request))
    return made


def _spans(found: Cut, kind: str) -> Spans:
    return {"stored": found.stored, "computed": found.computed, "stored only": found.stored_at_all}[kind]
