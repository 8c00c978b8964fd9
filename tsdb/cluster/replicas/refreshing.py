"""Continuous views of databases that several nodes have: what a refresh rests on, and how far each node shows them.

A refresh is done where all locations of the database are led. It reads the points as they are applied here, and all
that comes later, from this leader or from one in a later epoch, has higher counters (``metadata.continuous``). How far
it has come is agreed on, and a node shows that when its replicas have applied what belongs to it; until then it shows
what it has shown before, by which more is dirty. All of it runs in the committer's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from tsdb.cluster.metadata.agreement import Basis
from tsdb.cluster.metadata.records import NAMES, ContinuousRecord
from tsdb.cluster.metadata.state import Change, State
from tsdb.cluster.replicas.mine import Mine
from tsdb.model.continuous import Progress
from tsdb.storage.view import StorageView

Find = Callable[[int], Mine | None]


class Data(Protocol):
    """What of ``tsdb.storage.engine.Engine`` is needed."""

    @property
    def last_counter(self) -> int: ...

    def raise_counter(self, counter: int) -> None: ...

    def view(self) -> StorageView: ...

    def progress_shown(self, series: int) -> Progress | None: ...

    def show_progress(self, series: int, progress: Progress) -> None: ...


def ends(find: Find, locations: Collection[int]) -> dict[int, int]:
    """Where the logs end, by location."""
    return {at: mine.replica.log_end[1] for at in locations if (mine := find(at)) is not None}


def basis(data: Data, find: Find, reached: Mapping[int, int], locations: Collection[int]) -> Basis | None:
    """None while this node does not lead all of them, or has not applied them so far."""
    counter, epochs = data.last_counter, []
    for location in sorted(locations):
        mine = find(location)
        lead = None if mine is None else mine.replica.lead
        if mine is None or lead is None or mine.replica.log_end[3] < reached.get(location, 0):
            return None
        epochs.append((location, lead[0]))
        coming = mine.replica.counter_on_its_way
        if coming is not None:
            counter = min(counter, coming - 1)
    return Basis(data.view(), counter, tuple(epochs))


def stored(data: Data, find: Find, locations: Collection[int]) -> tuple[int, tuple[tuple[int, int], ...]]:
    """(the counter of the last version of all, what is applied of these locations)"""
    applied = {at: mine.replica.log_end[3] for at in sorted(locations) if (mine := find(at)) is not None}
    return data.last_counter, tuple(applied.items())


class Shown:
    """What of the progress of continuous views a node shows. ``waiting``: records that it has not caught up with."""

    def __init__(self, data: Data, find: Find) -> None:
        self._data = data
        self._find = find
        self.waiting: dict[int, ContinuousRecord] = {}

    def told(self, state: State, changes: Sequence[Change]) -> None:
        """What was applied of the metadata; with nothing: all of it."""
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
            if all((mine := self._find(at)) is not None and mine.replica.log_end[3] >= applied
                   for at, applied in record.applied):  # fmt: skip
                del self.waiting[series]
                watermark = record.watermark_ns
                self._data.show_progress(series, Progress(record.counter, watermark, record.stored, watermark))
