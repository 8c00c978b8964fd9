"""How far a continuous view is stored, as the metadata agree on it."""

from __future__ import annotations

from tests.metadata.test_rules import Cluster
from tsdb.cluster.metadata.commands import Advance, Assign, Assignment, ChangeSchema, RemoveMember, SpreadDatabase
from tsdb.cluster.metadata.records import ContinuousRecord, LocationRecord
from tsdb.model.continuous import Continuous
from tsdb.model.relations import Definition
from tsdb.model.schema import LINE_PROTOCOL_TIME, CreateSeries, DropSeries

BUCKET = Continuous(0, 3_600_000_000, 0)


class Views(Cluster):
    """A database ``d`` on three nodes with the continuous view ``v``."""

    def __init__(self) -> None:
        super().__init__(3, 3)
        definition = Definition("SELECT", continuous=BUCKET)
        made = CreateSeries("d", "v", (LINE_PROTOCOL_TIME,), keyed=False, definition=definition)
        assert isinstance(self.do(ChangeSchema.of([made])), tuple)
        self.database = self.machine.state.catalog.databases["d"]
        self.view = self.database.series["v"].number
        self.records = [each for each in self.machine.state.all(LocationRecord) if each.database == 1]
        self.leader = self.records[0].leader

    def advance(self, watermark: int = 100, leader: int = 0) -> object:
        epochs = tuple((each.location, each.epoch) for each in self.records)
        applied = tuple((each.location, 7) for each in self.records)
        return self.do(Advance(1, self.view, 10, 20, watermark, applied, leader or self.leader, epochs))

    @property
    def record(self) -> ContinuousRecord | None:
        return self.machine.state.get(ContinuousRecord, self.view)


def test_who_led_all_of_it_and_still_does_says_how_far_a_view_is_stored() -> None:
    cluster = Views()
    assert cluster.advance() == (cluster.index,)
    found = cluster.record
    assert found is not None
    assert (found.counter, found.stored, found.watermark_ns, found.changed) == (10, 20, 100, cluster.index)
    heir = cluster.leader % 3 + 1
    assert cluster.advance(leader=heir) == "SerializationFailure"
    last = cluster.records[-1]
    assert cluster.do(Assign((Assignment(last.location, last.epoch + 1, heir, last.voters),))) == (last.location,)
    assert cluster.advance(200) == "SerializationFailure"
    assert cluster.record == found
    # And in the next epoch of the same leader what it saw in the one before does not count.
    cluster.do(Assign((Assignment(last.location, last.epoch + 2, cluster.leader, last.voters),)))
    assert cluster.advance(200) == "SerializationFailure"


def test_of_several_arcs_many_may_lead() -> None:
    cluster = Views()
    assert cluster.do(SpreadDatabase(1, 4)) == (4,)
    assert cluster.advance(leader=cluster.leader % 3 + 1) == (cluster.index,)
    last = cluster.records[-1]
    heir = cluster.leader % 3 + 1
    cluster.do(Assign((Assignment(last.location, last.epoch + 1, heir, last.voters),)))
    assert cluster.advance(200) == "SerializationFailure", "an epoch in which the source was looked at is over"
    cluster.records = [each for each in cluster.machine.state.all(LocationRecord) if each.database == 1]
    assert cluster.advance(200) == (cluster.index,)


def test_it_goes_with_its_view() -> None:
    cluster = Views()
    cluster.advance()
    cluster.do(ChangeSchema.of([DropSeries("d", "v")]))
    assert cluster.record is None
    assert cluster.advance() == "UndefinedTable"


def test_nobody_knows_what_is_stored_when_points_may_be_lost() -> None:
    cluster = Views()
    cluster.advance()
    cluster.do(RemoveMember(cluster.leader, accept_loss=True))
    found = cluster.record
    assert found is not None
    assert (found.counter, found.stored, found.watermark_ns, found.applied) == (0, 0, 100, ())
