"""What a node has and others have not is found, reported and made anew, whoever has it: a follower, or the leader."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.setting import START
from tests.fixtures.waiting import until
from tests.group.together import OPTIONS, Together
from tests.replicas.replicated import HOUR, Replicated, replicated
from tsdb.cluster.group.control import Check, Checked, Done, Replicate
from tsdb.cluster.group.group import Group
from tsdb.cluster.metadata.commands import Assign
from tsdb.cluster.metadata.records import LocationRecord
from tsdb.cluster.node import Node
from tsdb.cluster.replicas import comparing
from tsdb.cluster.replicas.comparing import Comparing
from tsdb.cluster.replicas.moving import next_epoch
from tsdb.errors import ObjectNotInPrerequisiteState, TsdbError
from tsdb.model.cluster import ReplicaDifference
from tsdb.model.schema import CreateDatabase
from tsdb.storage.engine import Engine


class Compared(Replicated):
    def check(self) -> tuple[int, int, int]:
        """(locations, compared, different) over all nodes."""
        found = [self.together.ask(place, Check("shared", 20)) for place in self.nodes]
        said = [each for each in found if isinstance(each, Checked)]
        return said[0].locations, sum(len(e.compared) for e in said), sum(len(e.different) for e in said)

    def differences(self) -> list[ReplicaDifference]:
        return [each for node in self.nodes.values() for each in node.replica_differences()]

    def damage(self, place: int, spoil: Callable[[Engine], None]) -> None:
        """What ``spoil`` does to a directory while its node is stopped."""
        self.nodes[place].flush()
        self.together.stop(place)
        with Engine.open(self.together.data(place), OPTIONS) as engine:
            spoil(engine)
        self.together.start(place)

    def records(self) -> list[LocationRecord]:
        node = self.any()
        number = self.database(node).number
        return [each for each in node.metadata.all(LocationRecord) if each.database == number]

    def epochs(self) -> dict[int, int]:
        return {each.location: each.epoch for each in self.records()}

    def came_again(self, before: dict[int, int]) -> bool:
        """Somebody has left all locations since, and all three vote in them."""
        return all(
            each.active_epoch == each.epoch >= before[each.location] + 2 and each.voters == (1, 2, 3)
            for each in self.records()
        )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Compared]:
    with replicated(Together(tmp_path), Compared) as cluster:
        yield cluster


def lose_a_block(engine: Engine) -> None:
    """A key is gone from its store: nothing of it can be seen there any more."""
    blocks = [header for each in engine.view().version.blocks.values() for header in each.headers]
    batch = engine.records.batch()
    batch.delete("blocks", blocks[len(blocks) // 2].key)
    engine.records.write(batch, sync=True)


def garble_a_column(engine: Engine) -> None:
    rocks = engine._shard.rocks
    keys = [key for key, _ in rocks.scan("columns", b"", b"\xff" * 16)]
    batch = engine.records.batch()
    batch.put("columns", keys[len(keys) // 2], b"garbage")
    engine.records.write(batch, sync=True)


def fill(cluster: Compared) -> list[int]:
    for hour in range(0, 40, 10):
        cluster.write([*range(hour * 60, hour * 60 + 300)], START + hour * HOUR)
    expected = [value for hour in range(0, 40, 10) for value in range(hour * 60, hour * 60 + 300)]
    cluster.everywhere(expected)
    return expected


def mended(cluster: Compared, before: dict[int, int], expected: list[int]) -> None:
    until(lambda: cluster.came_again(before))
    cluster.everywhere(expected)
    assert until(lambda: found if (found := cluster.check())[1] == 32 else None) == (32, 32, 0)


@pytest.mark.parametrize(
    ("whose", "spoil"),
    [
        ("a follower's", lose_a_block),
        ("the leader's", garble_a_column),
        pytest.param("the leader's", lose_a_block, marks=pytest.mark.nightly),
        pytest.param("a follower's", garble_a_column, marks=pytest.mark.nightly),
    ],
)
def test_a_damaged_replica_is_found_reported_and_made_anew(
    cluster: Compared, whose: str, spoil: Callable[[Engine], None]
) -> None:
    expected = fill(cluster)
    assert cluster.check() == (32, 32, 0)
    assert cluster.differences() == []
    leader = cluster.leader().engine.node
    place = leader if whose == "the leader's" else next(each for each in (1, 2, 3) if each != leader)
    cluster.damage(place, spoil)
    if whose == "the leader's":
        lead(cluster, cluster.nodes[place])
    before = cluster.epochs()
    until(lambda: cluster.check()[2])
    found = cluster.differences()
    assert {each.node for each in found} == {place}
    assert all(place not in each.agreed and len(each.agreed) == 2 for each in found)
    if spoil is lose_a_block:
        assert {each.what for each in found} == {"points"}
        # A few hours of some locations: what was lost is all that is named.
        assert all(each.points < each.agreed_points for each in found if each.points is not None and each.agreed_points)
    else:
        assert {each.what for each in found} == {"unreadable"}
    mended(cluster, before, expected)
    cluster.write([1_000_000], START + 1000 * HOUR)
    cluster.everywhere([*expected, 1_000_000])


def lead(cluster: Compared, node: Node) -> None:
    number = cluster.database(node).number

    def assigned() -> bool:
        own = [each for each in node.metadata.all(LocationRecord) if each.database == number]
        wrong = [each for each in own if each.leader != node.engine.node]
        if wrong:
            with contextlib.suppress(TsdbError):
                node.agreement.propose(Assign(tuple(next_epoch(each, node.engine.node) for each in wrong)))
        return not wrong and all(each.active_epoch == each.epoch for each in own)

    until(assigned)


def test_what_nobody_answers_for_is_not_taken_for_compared(cluster: Compared) -> None:
    """Each node says what there is: leads that have moved while all are asked are missed, not forgotten."""
    leader = cluster.leader().engine.node
    for place in {1, 2, 3} - {leader}:
        assert cluster.together.ask(place, Check("shared", 1)) == Checked(place, 32, (), ())
    found = cluster.together.ask(leader, Check("shared", 20))
    assert isinstance(found, Checked)
    assert (len(found.compared), found.different) == (32, ())


def test_a_database_of_one_replica_is_not_compared(cluster: Compared) -> None:
    assert isinstance(cluster.together.ask(1, Replicate(1)), Done)
    cluster.any().change(CreateDatabase("alone"))
    with pytest.raises(ObjectNotInPrerequisiteState, match="there is nothing to compare"):
        cluster.together.ask(1, Check("alone", 1))


def test_who_asks_does_not_wait_for_rounds(cluster: Compared, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round works for a part of the time only, and so may take for ever."""
    fill(cluster)
    pause, paused = Comparing._pause, set[int]()

    def noted(who: Comparing) -> None:
        paused.add(id(who))
        pause(who)

    monkeypatch.setattr(comparing, "SHARE", 1e-9)
    monkeypatch.setattr(Comparing, "_pause", noted)
    for node in cluster.nodes.values():
        assert isinstance(node.agreement, Group)
        each = node.agreement.replicas.comparing
        each._threads.submit(each._next_rounds)
    until(lambda: len(paused) == 3)
    assert cluster.check() == (32, 32, 0)
