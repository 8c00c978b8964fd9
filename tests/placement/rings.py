"""Rings with a past: maps of splits and merges, made as the metadata make them."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tsdb.cluster.metadata.commands import AddMember, ChangeRing, ChangeSchema, Command, Found, NewMember, encode
from tsdb.cluster.metadata.machine import Machine
from tsdb.cluster.metadata.records import FROM_THE_START, Interval, Ring, RingMap
from tsdb.cluster.placement.division import merge, split
from tsdb.model.ring import RING_SIZE, equal_locations
from tsdb.model.schema import CreateDatabase

DATABASE = 1


def first_ring(count: int = 32) -> Ring:
    intervals = tuple(Interval(each.number, each.low, each.high - 1) for each in equal_locations(1, count))
    return Ring(DATABASE, 1, (RingMap(1, FROM_THE_START, intervals),))


class Rings:
    """The metadata of three nodes with one database; ``change`` gives its ring's next map."""

    def __init__(self) -> None:
        self._machine = Machine()
        self._index = 0
        self._do(Command(Found(b"cluster-id-bytes", NewMember(b"1" * 16))))
        for n in (b"2", b"3"):
            self._do(Command(AddMember(NewMember(n * 16))))
        self._do(Command(ChangeSchema.of([CreateDatabase("d")])))

    def _do(self, command: Command) -> tuple[int, ...]:
        self._index += 1
        outcome = self._machine.apply(self._index, encode(command))
        assert outcome is not None
        assert outcome.error is None, outcome.error
        return outcome.answer.values

    @property
    def ring(self) -> Ring:
        found = self._machine.state.get(Ring, DATABASE)
        assert found is not None
        return found

    def change(self, action: ChangeRing) -> tuple[int, ...]:
        """The new locations."""
        return self._do(Command(action))


def lives(seed: int, changes: int) -> Iterator[tuple[Ring, int]]:
    """A ring, and the first bucket that its last map has for itself: as it began, and after each random change."""
    chance = random.Random(seed)
    rings = Rings()
    bucket = chance.randint(-5, 5)
    yield rings.ring, bucket
    for _ in range(changes):
        last = rings.ring.maps[-1]
        each = chance.choice(last.intervals[:-1])
        if chance.random() < 0.6 and each.last > each.low:
            intervals = split(last.intervals, each.location, chance.randint(each.low + 1, each.last))
        else:
            intervals = merge(last.intervals, each.location)
        bucket += chance.randint(1, 20)
        rings.change(ChangeRing(DATABASE, last.version + 1, bucket, intervals))
        yield rings.ring, bucket


def covers(intervals: tuple[Interval, ...]) -> bool:
    """The whole ring, in order, without a gap."""
    lows = [each.low for each in intervals]
    nexts = [each.last + 1 for each in intervals]
    return lows == [0, *nexts[:-1]] and nexts[-1] == RING_SIZE
