"""Continuous views of databases that several nodes have: what a refresh rests on, and when a node shows how far it is.

A refresh holds its view at all who lead locations of the database (``holding``): what they had logged is applied then,
and what comes later, from them or from leaders of later epochs, has higher counters (``metadata.continuous``). How far
it has come is agreed on, and a node shows that when its replicas have applied what belongs to it; until then it shows
what it has shown before, by which more is dirty. All of it runs in the committer's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from tsdb.cluster.metadata.records import NAMES, ContinuousRecord, LocationRecord
from tsdb.cluster.metadata.state import Change, State
from tsdb.cluster.replicas.mine import Mine
from tsdb.model.continuous import Progress
from tsdb.model.refreshing import Holding

Find = Callable[[int], Mine | None]


class Data(Protocol):
    """What of ``tsdb.storage.engine.Engine`` is needed."""

    @property
    def node(self) -> int: ...

    @property
    def last_counter(self) -> int: ...

    def raise_counter(self, counter: int) -> None: ...

    def progress_shown(self, series: int) -> Progress | None: ...

    def show_progress(self, series: int, progress: Progress) -> None: ...


def ends(find: Find, locations: Collection[int]) -> dict[int, int]:
    """Where the logs end, by location."""
    return {at: mine.replica.log_end[1] for at in locations if (mine := find(at)) is not None}


def holding(data: Data, find: Find, reached: Mapping[int, int], locations: Collection[int]) -> Holding | None:
    """None while this node does not lead all of them, or has not applied them so far."""
    epochs, applied = [], []
    for location in sorted(locations):
        mine = find(location)
        lead = None if mine is None else mine.replica.lead
        if mine is None or lead is None or mine.replica.log_end[3] < reached.get(location, 0):
            return None
        epochs.append((location, lead[0]))
        applied.append((location, mine.replica.log_end[3]))
    return Holding(data.last_counter, tuple(epochs), tuple(applied))


class Shown:
    """What of the progress of continuous views a node shows. ``waiting``: records that it has not caught up with."""

    def __init__(self, data: Data, find: Find) -> None:
        self._data = data
        self._find = find
        self.waiting: dict[int, ContinuousRecord] = {}
        self._state = State()

    def told(self, state: State, changes: Sequence[Change]) -> None:
        """What was applied of the metadata; with nothing: all of it."""
        self._state = state
        if not changes:
            self.waiting = {}
            records = {each.series: each for each in state.all(ContinuousRecord)}
        else:
            name = NAMES[ContinuousRecord]
            records = {change.number: change.value for change in changes if change.name == name}
        for series, record in records.items():
            self.waiting.pop(series, None)
            if record is not None:
                # Before this node leads anything in a later epoch.
                self._data.raise_counter(max(record.counter, record.stored))
                self.waiting[series] = record
                shown = self._data.progress_shown(series) or Progress(0, record.watermark_ns, 0)
                self._data.show_progress(series, replace(shown, final_ns=record.watermark_ns))
        self.look()

    def look(self) -> None:
        """Show what can be shown by now."""
        for series, record in list(self.waiting.items()):
            if all(self._has_applied(at, applied) for at, applied in record.applied):
                del self.waiting[series]
                watermark = record.watermark_ns
                self._data.show_progress(series, Progress(record.counter, watermark, record.stored, watermark))

    def _has_applied(self, location: int, sequence: int) -> bool:
        """Or has no replica of it, and none on its way: others answer for it."""
        mine = self._find(location)
        if mine is not None:
            return mine.replica.log_end[3] >= sequence
        record = self._state.get(LocationRecord, location)
        return record is not None and self._data.node not in (*record.voters, *record.learners)
