"""A node that hears nothing of the metadata any more, and so does not know that a table got slots: what it asks others
for is all that is there, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.model import scan
from tests.cluster.setting import START
from tests.fixtures.waiting import until
from tests.group.together import Together
from tests.replicas.replicated import Replicated, replicated
from tsdb.cluster.group.group import Group
from tsdb.cluster.node import Node
from tsdb.cluster.raft.messages import Message
from tsdb.cluster.routing import router
from tsdb.errors import CannotConnectNow
from tsdb.model.freshness import LINEARIZABLE, Freshness, Level
from tsdb.model.schema import SetSlots
from tsdb.model.store import RangeDeletion, TimeRange, View
from tsdb.model.time import BUCKET_NS
from tsdb.session import slots

BEGIN = START // BUCKET_NS + 600
SPAN = TimeRange(BEGIN * BUCKET_NS, (BEGIN + 1) * BUCKET_NS)
VALUES = [1, 2, 3, 4, 5]


class Parted(Replicated):
    """One of the nodes leads nothing, and neither hears of the metadata nor is asked for them."""

    def part(self, monkeypatch: pytest.MonkeyPatch) -> Node:
        leader = self.leader()
        node = next(each for each in self.nodes.values() if each is not leader and not each.agreement.standing.leads)
        group = node.agreement
        assert isinstance(group, Group)

        async def nothing(message: Message) -> None:
            """It is lost."""

        monkeypatch.setattr(group.driver, "raft", nothing)
        return node

    def shown(self, node: Node, fresh: Freshness = LINEARIZABLE) -> list[int]:
        return self.seen(node, node.view(fresh))

    def seen(self, node: Node, view: View) -> list[int]:
        try:
            return sorted(seen.fields[0] for seen in scan(view, self.series(node), range=SPAN))
        finally:
            view.close()

    def delete(self, node: Node) -> None:
        node.delete(self.database(node), RangeDeletion(self.series(node), SPAN)).result(30)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Parted]:
    with replicated(Together(tmp_path), Parted) as cluster:
        yield cluster


def test_a_node_that_does_not_know_of_slots_reads_and_deletes_what_is_in_all_of_them(
    cluster: Parted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router, "WAIT_S", 0.5)
    leader = cluster.leader()
    cluster.write([0])
    with monkeypatch.context() as parting:
        parted, early = cluster.part(parting), leader.view()
        wish = SetSlots("shared", "cpu", 8, BEGIN)
        third = next(each for each in cluster.nodes.values() if each not in (leader, parted))
        third.change(wish)
        before = leader.engine.last_counter
        slots.settle(third, wish)
        until(lambda: cluster.series(leader).slots and cluster.series(leader).slots[0].settled)
        assert before < cluster.series(leader).slots[0].counter <= leader.engine.last_counter
        leader.write(cluster.database(leader), [cluster.points(leader, VALUES, SPAN.low)]).result(30)
        assert cluster.shown(leader) == VALUES
        # Of a statement that began before it is not known of all that it reads now whether that is new enough.
        with pytest.raises(CannotConnectNow, match="was changed while a statement began"):
            cluster.seen(leader, early)
        assert cluster.series(parted).slots == ()
        for level in (Level.LINEARIZABLE, Level.BOUNDED):
            with pytest.raises(CannotConnectNow) as refused:
                cluster.shown(parted, Freshness(level, 1))
            assert refused.value.passes
        with pytest.raises(CannotConnectNow):
            cluster.delete(parted)
        # Nor is a bucket of a continuous view clean for it since nothing has changed where it asks.
        view = parted.view()
        with pytest.raises(CannotConnectNow, match='slots of "cpu" were changed'):
            view.changes(cluster.series(parted), 0, SPAN, 10**9)
        view.close()
        # However old.
        assert cluster.shown(parted, Freshness(Level.ANY)) == []
    until(lambda: cluster.series(parted).slots == cluster.series(leader).slots)
    assert cluster.shown(parted) == VALUES
    cluster.delete(parted)
    assert cluster.shown(leader) == []
