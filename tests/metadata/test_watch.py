"""Watching: what a watcher was told, in order, is the state; who has missed something is told that he has."""

from __future__ import annotations

import gc
import random
import weakref
from dataclasses import replace
from typing import Any

import pytest

from tests.metadata.draws import commands
from tsdb.cluster.metadata.commands import ChangeSchema, Command, encode
from tsdb.cluster.metadata.machine import Machine
from tsdb.cluster.metadata.records import NAMES, Group
from tsdb.cluster.metadata.state import Change, State
from tsdb.cluster.metadata.watch import History, TooFarBehind, Watch
from tsdb.model.schema import LINE_PROTOCOL_TIME, CreateDatabase, CreateSeries

Records = dict[tuple[str, int], Any]


def records_of(state: State) -> Records:
    """Everything that a watcher hears of."""
    found: Records = {("catalog", 0): state.catalog.version} if state.catalog.version else {}
    for number, database in state.catalog.databases_by_number.items():
        found["database", number] = replace(database, series={}, views={}, sequences={})
        found.update({("series", s.number): (number, s) for s in database.series.values()})
    for kind, records in state.tables.items():
        if kind is not Group:
            found.update({(NAMES[kind], number): record for number, record in records.items()})
    return found


class Seen:
    """A watcher and what it knows."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.snapshots = 0
        self.begin()

    def begin(self) -> None:
        self.records = records_of(self.machine.state)
        self.watch = Watch(self.machine.history, self.machine.state.group.applied)
        self.indexes: list[int] = []
        self.snapshots += 1

    def look(self, changes_max: int) -> None:
        try:
            events = self.watch.take(changes_max)
        except TooFarBehind:
            self.begin()
            return
        self.indexes += [event.index for event in events]
        for event in events:
            for change in event.changes:
                key = change.name, change.number
                if change.value is None:
                    self.records.pop(key, None)
                elif change.name in ("catalog", "database", "series", *NAMES.values()):
                    self.records[key] = change.value


@pytest.mark.parametrize("seed", range(16))
def test_what_a_watcher_was_told_is_the_log(seed: int) -> None:
    chance = random.Random(seed)
    machine = Machine()
    machine.history = History(0, chance.choice((1, 40, 100_000)))
    watchers = [Seen(machine) for _ in range(3)]
    changed: list[int] = []
    for index, each in enumerate(commands(seed, 100), 1):
        outcome = machine.apply(index, encode(each))
        assert outcome is not None
        if outcome.changes:
            changed.append(index)
        for watcher, often in zip(watchers, (1.0, 0.3, 0.02), strict=True):
            if chance.random() < often:
                watcher.look(chance.choice((1, 5, 10_000)))
    for watcher in watchers:
        while watcher.watch.seen < machine.state.group.applied:
            watcher.look(10_000)
        assert watcher.records == records_of(machine.state)
        # No gap and no repetition since it began last.
        assert watcher.indexes == sorted(set(watcher.indexes))
        if watcher.indexes:
            assert watcher.indexes == [i for i in changed if watcher.indexes[0] <= i]
    assert watchers[0].snapshots == 1


def test_a_watcher_goes_on_at_another_node() -> None:
    one, two = Machine(), Machine()
    log = commands(7, 60)
    watch = Watch(one.history, 0)
    taken: list[int] = []
    for index, each in enumerate(log, 1):
        one.apply(index, encode(each))
        if index <= 30:
            taken += [event.index for event in watch.take()]
    for index, each in enumerate(log, 1):
        two.apply(index, encode(each))
    other = Watch(two.history, watch.seen)
    taken += [event.index for event in other.take(100_000)]
    assert taken == [event.index for event in Watch(one.history, 0).take(100_000)]


def test_a_watcher_ahead_of_a_node_waits_and_hears_nothing_twice() -> None:
    history = History(0)
    watch = Watch(history, 3)
    for index in range(1, 6):
        history.add(index, [Change("member", index, None)])
        assert [event.index for event in watch.take()] == ([index] if index > 3 else [])


def test_after_a_snapshot_nothing_is_known_of_what_was_before() -> None:
    machine = Machine()
    other = Machine()
    for index, each in enumerate(commands(1, 20), 1):
        machine.apply(index, encode(each))
    watch = Watch(other.history, 0)
    other.restore(machine.snapshot())
    with pytest.raises(TooFarBehind, match="take a snapshot"):
        watch.take()
    assert Watch(other.history, 20).take() == []


def test_memory_is_bounded_by_changes() -> None:
    history = History(0, changes_max=10)
    for index in range(1, 200):
        history.add(index, [Change("member", n, None) for n in range(3)])
    assert len(history.after(history.begins_after, 1_000)) == 3
    history.add(200, [Change("member", n, None) for n in range(50)])
    assert [len(event.changes) for event in history.after(history.begins_after, 1_000)] == [50]


def test_the_history_keeps_what_changed_and_not_the_whole_schema_as_it_was_then() -> None:
    """5,000 series that were made one by one took 800 MB: each change held all those before it."""
    machine = Machine()
    machine.apply(1, encode(Command(ChangeSchema.of([CreateDatabase("d")]))))
    before: list[weakref.ref[Any]] = []
    for index in range(2, 8):
        before += [weakref.ref(machine.state.catalog), weakref.ref(machine.state.catalog.find("d"))]
        made = CreateSeries("d", f"s{index}", (LINE_PROTOCOL_TIME,), keyed=True)
        machine.apply(index, encode(Command(ChangeSchema.of([made]))))
    assert len(Watch(machine.history, 0).take()) == 7
    gc.collect()
    assert [each() for each in before] == [None] * 12


def test_an_idle_watcher_does_not_fall_behind_for_commands_that_change_nothing() -> None:
    history = History(0, changes_max=1)
    watch = Watch(history, 0)
    history.add(1, [])
    assert watch.take() == []
    for index in range(2, 5):
        history.add(index, [Change("member", 1, None)])
    with pytest.raises(TooFarBehind):
        watch.take()
    assert watch.seen == 1
