"""What a node knows of who leads what: ``tsdb.cluster.led``."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import cast

import pytest

from tests.metadata.test_rules import Cluster
from tsdb.cluster import led
from tsdb.cluster.led import Leaders, locations_in_range
from tsdb.cluster.metadata.agreement import Agreement
from tsdb.cluster.metadata.commands import Assign, Assignment, SetReplication, Share
from tsdb.cluster.metadata.records import LocationRecord
from tsdb.cluster.metadata.state import State
from tsdb.model.places import places_in
from tsdb.model.ring import Slots, equal_locations
from tsdb.model.schema import Database, Series
from tsdb.model.store import TimeRange
from tsdb.model.time import BUCKET_NS


class Agreed:
    """As much of an ``Agreement`` as is asked for."""

    def __init__(self, state: State) -> None:
        self.state = state

    def watch(self, told: object) -> None:
        pass


def test_a_node_may_have_points_that_it_does_not_lead_also_of_a_database_with_one_voter_each() -> None:
    """What has left it may be there still: its own share has to be cut out of what it has, or it would count twice."""
    cluster = Cluster(2)

    def leaders() -> Leaders:
        return Leaders(cast(Agreement, Agreed(cluster.machine.state)), 1)

    database = cluster.machine.state.catalog.databases_by_number[1]
    assert not leaders().replicated(database)
    cluster.do(SetReplication(1, 1))
    cluster.do(Share(1))
    for each in [each for each in cluster.machine.state.all(LocationRecord) if each.database == 1][:16]:
        other = 3 - each.leader
        cluster.do(Assign((Assignment(each.location, each.epoch + 1, other, (other,), ()),)))
    assert {leaders().replica_count(each.number) for each in database.locations} == {1}
    assert leaders().replicated(database)


def test_locations_of_a_range_are_those_of_its_database_series_and_slots_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was asked before, of other states of the same database and series."""
    monkeypatch.setattr(led, "FOUND_MAX", 5)
    chance = Random(7)
    cuts: list[tuple[Slots, ...]] = [(), (Slots(3, 2),), (Slots(0, 1),)]
    series = {cut: tuple(Series(number, f"s{number}", (), True, slots=cut) for number in (1, 2)) for cut in cuts}
    databases = [
        Database(number, "d", {each.name: each for each in series[cut]}, locations)
        for number in (1, 2) for locations in (equal_locations(1, 32), equal_locations(101, 32)) for cut in cuts
    ]  # fmt: skip
    for _ in range(500):
        database, number, first = chance.choice(databases), chance.choice((1, 2)), chance.randrange(6)
        last = first + chance.randrange(3)
        span = TimeRange(first * BUCKET_NS, last * BUCKET_NS + 1)
        expected = places_in(database, number).locations(database.locations, first, last)
        # Also asked with a series as it was.
        known = chance.choice(series[chance.choice(cuts)])
        assert list(locations_in_range(database, replace(known, number=number), span)) == expected
