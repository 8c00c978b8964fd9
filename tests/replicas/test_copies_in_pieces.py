"""A copy of much comes in pieces, some locations at a time: what was installed stays, whoever stops in the middle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.cluster.setting import START
from tests.fixtures.waiting import until
from tests.group.together import OPTIONS, Together
from tests.replicas.replicated import HOUR, replicated
from tests.replicas.replicated_views import LEVELS
from tests.replicas.test_moving_together import Moved, fill
from tsdb.cluster.group.control import Check, Checked, Done, Replicate
from tsdb.cluster.metadata.records import REPLICA_BITS, LocationRecord
from tsdb.cluster.node import Node
from tsdb.cluster.replicas import copying
from tsdb.cluster.replicas.copying import Copying, at_once
from tsdb.cluster.routing.exchange import Outgoing
from tsdb.errors import CannotConnectNow, TsdbError
from tsdb.model.freshness import Freshness, Level
from tsdb.model.store import RangeDeletion, TimeRange


def test_little_comes_at_once_and_much_in_a_few_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "PIECE_POINTS", 1000)
    assert at_once(0, 32, 32) >= 32
    assert at_once(1000, 32, 32) == 32
    assert at_once(2000, 32, 32) == 16
    assert at_once(1_000_000, 32, 32) == 4
    # Of an arc as of all: what a location has decides.
    assert at_once(1000, 8, 32) == 8
    assert at_once(2000, 8, 32) == 4
    assert at_once(1_000_000, 3, 3) == 1


def test_what_cannot_be_had_holds_up_no_other_copy() -> None:
    records = {each: LocationRecord(each, each // 10) for each in (11, 12, 21, 31)}
    state = SimpleNamespace(get=lambda kind, location: records.get(location))
    wishes = {31: 2 << REPLICA_BITS, 12: 3 << REPLICA_BITS, 21: 5 << REPLICA_BITS, 11: 4 << REPLICA_BITS, 99: 1}
    around: Any = SimpleNamespace(host=SimpleNamespace(wishes=wishes), state=lambda: state)
    engine: Any = SimpleNamespace(node=7)
    at: Any = SimpleNamespace(_around=around, _engine=engine)

    def after(*failed: int) -> tuple[int, int]:
        found = Copying._wanted(at, (failed[0], failed[1]))
        assert found is not None
        return found[:2]

    # By (database, node), each after the one that failed, and from the start again.
    assert [after(0, 0), after(1, 3), after(1, 4), after(2, 5), after(3, 2)] == [(1, 3), (1, 4), (2, 5), (3, 2), (1, 3)]


class Sent:
    """The copies that nodes have sent: ``may`` are to end, and what comes after them is interrupted."""

    def __init__(self, patch: pytest.MonkeyPatch, may: int) -> None:
        self.may = may
        self.locations: list[frozenset[int]] = []
        self.interrupted = 0
        stream = Copying._stream

        async def counted(at: Copying, to: Outgoing, view: Any, database: Any, states: Mapping[int, Any]) -> Any:
            if len(self.locations) >= self.may:
                self.interrupted += 1
                raise CannotConnectNow("the line is cut")
            tally = await stream(at, to, view, database, states)
            self.locations.append(frozenset(states))
            return tally

        patch.setattr(Copying, "_stream", counted)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Moved]:
    with replicated(Together(tmp_path, replace(OPTIONS, replica_log_bytes=0)), Moved) as cluster:
        yield cluster


def locations_with(node: Node, database: int, voter: int) -> set[int]:
    found = node.metadata.all(LocationRecord)
    return {each.location for each in found if each.database == database and voter in each.active_voters}


def read(cluster: Moved, node: int, fresh: Freshness) -> list[int] | None:
    """None: not now."""
    try:
        return sorted(cluster.values(cluster.together.nodes[node].view(fresh)))
    except TsdbError:
        return None


def check_read(cluster: Moved, node: int, expected: list[int]) -> None:
    """At once or never, where what is read has to be new."""
    for fresh in LEVELS:
        if fresh.level is Level.LINEARIZABLE:
            assert until(lambda: read(cluster, node, fresh)) == expected  # noqa: B023
        until(lambda: read(cluster, node, fresh) == expected)  # noqa: B023


def test_a_copy_goes_on_where_it_was_when_either_node_was_started_anew(
    cluster: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fill(cluster)
    together = cluster.together
    monkeypatch.setattr(copying, "PIECE_POINTS", 1)
    monkeypatch.setattr(copying, "AGAIN_S", 0.1)
    monkeypatch.setattr(copying, "AGAIN_MAX_S", 0.5)
    sent = Sent(monkeypatch, 2)
    together.start(4, join=1)
    until(lambda: together.roles(1).get(4) is not None)
    assert isinstance(together.ask(1, Replicate(4, "shared")), Done)

    def received() -> float:
        return together.nodes[4].agreement.gauges()["replica_copies_received_total"]

    until(lambda: received() == 2 and sent.interrupted)
    # What is there follows meanwhile.
    cluster.write([5000], START + 100 * HOUR)
    leader = cluster.leader()
    gone = TimeRange(START + 5 * HOUR, START + 6 * HOUR)
    leader.delete(cluster.database(leader), RangeDeletion(cluster.series(leader), gone)).result(30)
    expected = [*(each for each in expected if not 300 <= each < 360), 5000]
    until(lambda: {*cluster.at(4)} < {*expected})
    # It asks others for all of it, and has no vote before all has come.
    number = cluster.database(leader).number
    assert not locations_with(together.nodes[4], number, 4)
    check_read(cluster, 4, expected)

    together.stop(4)
    together.start(4, join=1)
    sent.may = 4
    until(lambda: received() == 2 and sent.interrupted)

    sender = cluster.leader().engine.node
    together.stop(sender)
    together.start(sender)
    sent.may = 100
    until(lambda: cluster.holders() == {1, 2, 3, 4})
    until(lambda: cluster.at(4) == expected)
    # Fewer in one when not all wishes were known yet.
    assert max(map(len, sent.locations)) == 4
    assert len(frozenset().union(*sent.locations)) == sum(map(len, sent.locations)) == 32, "nothing was sent twice"
    assert sorted(cluster.read()) == expected
    checked = together.ask(cluster.leader().engine.node, Check("shared", 30.0))
    assert isinstance(checked, Checked)
    assert (len(checked.compared), len(checked.different)) == (32, 0)
