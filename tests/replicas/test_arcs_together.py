"""Four nodes and a database of three replicas in four arcs: each node has three of them, and leads one."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.model import scan
from tests.cluster.setting import START
from tests.fixtures.waiting import until
from tests.group.together import OPTIONS, Together
from tests.replicas.replicated import HOUR, replicated
from tests.replicas.test_moving_together import Moved, fill
from tsdb.cluster.group import waiting as group_waiting
from tsdb.cluster.group.control import Check, Checked, Done, Merge, Rebalance, Split, Spread
from tsdb.cluster.group.group import Group
from tsdb.cluster.metadata.commands import SetGoals
from tsdb.cluster.metadata.records import Goal, LocationRecord, Ring, goal_number
from tsdb.cluster.node import Node
from tsdb.cluster.replicas.moving import Waiting
from tsdb.errors import CannotConnectNow, TsdbError
from tsdb.model.freshness import Freshness
from tsdb.model.ring import bucket_hash, location_of
from tsdb.model.store import RangeDeletion, TimeRange, View
from tsdb.model.time import BUCKET_NS
from tsdb.storage.engine import Engine


class Spreading(Moved):
    def own(self) -> list[LocationRecord]:
        state = self.any().metadata
        number = self.database(self.any()).number
        return [each for each in state.all(LocationRecord) if each.database == number]

    def ring(self) -> Ring:
        found = self.any().metadata.get(Ring, self.database(self.any()).number)
        assert found is not None
        return found

    def asked(self, node: int) -> list[int]:
        """What a client of a node reads, who tries again."""

        def try_it() -> list[int] | None:
            try:
                return sorted(self.values(self.together.nodes[node].view()))
            except TsdbError:
                return None

        found = until(lambda: None if (values := try_it()) is None else (values,))
        assert found is not None
        return found[0]

    def shown(self, node: int, view: View) -> list[int]:
        return sorted(seen.fields[0] for seen in scan(view, self.series(self.together.nodes[node])))

    def told(self, node: int, values: list[int], start: int = START) -> None:
        """A client of a node writes, who tries again."""

        def try_it() -> bool:
            at = self.together.nodes[node]
            try:
                at.write(self.database(at), [self.points(at, values, start)]).result(30)
            except TsdbError:
                return False
            return True

        assert until(try_it)

    def held(self, node: int) -> set[int]:
        return {each.location for each in self.own() if node in each.voters}

    def visible(self, node: Node) -> list[tuple[int, int]]:
        """(location, value) of all that a node has, whoever leads."""
        database, series = self.database(node), self.series(node)
        view = node.engine.view()
        try:
            rows = [(s.time // BUCKET_NS, s.fields[0]) for s in scan(view, series)]
            found = [(bucket_hash(database.number, series.number, bucket), value) for bucket, value in rows]
            return sorted((location_of(database.locations, place).number, value) for place, value in found)
        finally:
            view.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Spreading]:
    # What left is cleaned when it is to come again, and not before.
    together = Together(tmp_path, replace(OPTIONS, replica_log_bytes=0, compaction_quiet=3600.0))
    together.lost_node_s = 60.0
    with replicated(together, Spreading) as cluster:
        yield cluster


def spread(cluster: Spreading) -> list[int]:
    """The points; four nodes have them."""
    expected = fill(cluster)
    together = cluster.together
    together.start(4, join=1)
    until(lambda: together.roles(1).get(4) is not None)
    asked = together.ask(1, Spread("shared", 4))
    assert isinstance(asked, Done)
    assert "has 4 arcs; each goes" in asked.text
    number = cluster.database(cluster.any()).number
    wanted = {goal_number(number, arc): tuple((arc + each) % 4 + 1 for each in range(3)) for arc in range(4)}
    asked_at = together.nodes[3]
    asked_at.agreement.propose(SetGoals(tuple(wanted.items())))
    until(lambda: not [*asked_at.metadata.all(Goal)])
    reached = asked_at.metadata.group.applied
    until(lambda: all(node.metadata.group.applied >= reached for node in together.nodes.values()))
    return expected


def test_each_node_has_its_arcs_and_nothing_else_and_all_of_it_is_read_and_written_everywhere(
    cluster: Spreading,
) -> None:
    expected = spread(cluster)
    assert {len(each.voters) for each in cluster.own()} == {3}
    assert Counter(each.leader for each in cluster.own()) == dict.fromkeys((1, 2, 3, 4), 8)
    assert [len(cluster.held(node)) for node in (1, 2, 3, 4)] == [24] * 4
    for node in (1, 2, 3, 4):
        assert cluster.asked(node) == expected
        cluster.told(node, [5000 + node], START + (100 + node) * HOUR)
        expected = [*expected, 5000 + node]
    for node in (1, 2, 3, 4):
        assert cluster.asked(node) == expected
    for number, held in cluster.together.nodes.items():
        until(lambda: {at for at, _ in cluster.visible(held)} <= cluster.held(number))  # noqa: B023
    nodes = cluster.together.nodes.values()
    until(lambda: sum(len(cluster.visible(node)) for node in nodes) == 3 * len(expected))

    # A DELETE is of all arcs, wherever it is asked for.
    fourth = cluster.together.nodes[4]
    gone = RangeDeletion(cluster.series(fourth), TimeRange(START, START + 10 * HOUR))
    fourth.delete(cluster.database(fourth), gone).result(30)
    expected = [each for each in expected if each >= 600]
    for number in (1, 2, 3, 4):
        assert cluster.asked(number) == expected

    # All replicas of all arcs are alike.
    answers = [cluster.together.ask(number, Check("shared", 30.0)) for number in (1, 2, 3, 4)]
    assert all(isinstance(each, Checked) and not each.different for each in answers)
    assert sum(len(each.compared) for each in answers if isinstance(each, Checked)) == 32

    # And with a node away.
    cluster.together.stop(3)
    cluster.told(2, [*range(6000, 6100)], START + 200 * HOUR)
    expected = [*expected, *range(6000, 6100)]
    for number in (1, 2, 4):
        assert cluster.asked(number) == expected
    cluster.together.start(3)
    assert cluster.asked(3) == expected


def check_one_state(cluster: Spreading, expected: list[int]) -> list[int]:
    """A view shows one state of an arc, also when another node leads that meanwhile. The points afterwards."""
    nodes = cluster.together.nodes
    views = {number: node.view(Freshness(anywhere=True)) for number, node in nodes.items()}
    try:
        for place, view in views.items():
            assert cluster.shown(place, view) == expected
        number = cluster.database(cluster.any()).number
        wanted = {goal_number(number, arc): tuple((arc + each) % 4 + 1 for each in (1, 2, 0)) for arc in range(4)}
        nodes[3].agreement.propose(SetGoals(tuple(wanted.items())))
        for node in nodes.values():
            until(lambda: not [*node.metadata.all(Goal)])  # noqa: B023
        cluster.told(1, [*range(4000, 4100)], START + 200 * HOUR)
        for place, view in views.items():
            # Or who was asked before says that it does not lead that any more.
            with contextlib.suppress(CannotConnectNow):
                assert cluster.shown(place, view) == expected
    finally:
        for view in views.values():
            view.close()
    return [*expected, *range(4000, 4100)]


def waiting(group: Group) -> Waiting:
    """As the nodes say of themselves."""
    return asyncio.run_coroutine_threadsafe(group_waiting.waiting(group), group._loop).result(30)


def test_views_stay_as_they_are_while_leads_move_and_arcs_come_together_again(
    cluster: Spreading, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = check_one_state(cluster, spread(cluster))
    together = cluster.together
    monkeypatch.setattr(Engine, "hurry_masks", lambda *_: None)
    monkeypatch.setattr(group_waiting, "coming_back", lambda _: frozenset((1, 2, 3, 4)))
    asked = together.ask(3, Spread("shared", 1))
    assert isinstance(asked, Done)
    assert "will have one arc when the parts of each are at the same nodes; until then it has 4:" in asked.text
    cluster.told(1, [5000], START + 100 * HOUR)
    expected = [*expected, 5000]
    with pytest.raises(TsdbError, match="is being gathered from 4 arcs to 1"):
        together.ask(1, Rebalance(True))
    # What left must be cleaned first; that is not waited for in vain.
    group = together.nodes[4].agreement
    assert isinstance(group, Group)
    until(lambda: any(waiting(group).values()))
    for node, locations in waiting(group).items():
        assert locations <= {each.location for each in cluster.own() if node in each.learners}
    monkeypatch.undo()
    until(lambda: cluster.ring().arcs == 1 and len(cluster.holders()) == 3)
    for node in cluster.holders():
        until(lambda: cluster.at(node) == expected)  # noqa: B023
    for node in {1, 2, 3, 4} - cluster.holders():
        until(lambda: cluster.at(node) == [])  # noqa: B023
    assert sorted(cluster.read()) == expected


def test_a_ring_gets_another_number_of_arcs_while_it_is_written_and_read(cluster: Spreading) -> None:
    expected = spread(cluster)
    together, number = cluster.together, 0
    asked = together.ask(2, Spread("shared", 3))
    assert isinstance(asked, Done)
    assert "will have 3 arcs when the parts of each are at the same nodes; until then it has 6:" in asked.text
    # Another node may hear of it later.
    until(lambda: (cluster.ring().arcs, cluster.ring().arcs_wanted) == (6, 3))
    while cluster.ring().arcs_wanted or not number:
        node, number = number % 4 + 1, number + 1
        cluster.told(node, [7000 + number], START + (100 + number) * HOUR)
        expected = [*expected, 7000 + number]
        assert cluster.asked(5 - node) == expected
    assert cluster.ring().arcs == 3
    places = {(each.voters, each.leader) for each in cluster.own()}
    assert len(places) <= 3
    for node in (1, 2, 3, 4):
        assert cluster.asked(node) == expected
    answers = [together.ask(node, Check("shared", 30.0)) for node in (1, 2, 3, 4)]
    assert all(isinstance(each, Checked) and not each.different for each in answers)
    assert sum(len(each.compared) for each in answers if isinstance(each, Checked)) == 32
    # Each cut in two at once.
    asked = together.ask(1, Spread("shared", 6))
    assert isinstance(asked, Done)
    assert "has 6 arcs; each goes" in asked.text


def test_the_arc_that_most_is_written_to_is_split_at_its_median_and_two_become_one_while_it_is_written_and_read(
    cluster: Spreading,
) -> None:
    expected = spread(cluster)
    together = cluster.together
    database, series = cluster.database(cluster.any()), cluster.series(cluster.any())

    def location(start: int) -> int:
        return location_of(database.locations, bucket_hash(database.number, series.number, start // BUCKET_NS)).number

    def written(arcs: int) -> dict[int, int]:
        """Rows by arc, as the locations' numbers and nothing else say it."""
        rows = [most.get(each.number, 0) for each in database.locations]
        return dict(enumerate(sum(rows[at : at + 32 // arcs]) for at in range(0, 32, 32 // arcs)))

    def ask(request: Split | Merge, node: int = 1) -> str:
        asked = together.ask(node, request)
        assert isinstance(asked, Done)
        return asked.text

    # Into two locations of the third arc, by a node that leads another one; five points a bucket.
    third = [each.number for each in database.locations[16:24]]
    far = (START + 4_000 * HOUR) // BUCKET_NS * BUCKET_NS
    times = [*range(far, far + 8_000 * BUCKET_NS, BUCKET_NS)]
    for at in [at for at in times if location(at) == third[1]][:60] + [at for at in times if location(at) == third[5]][
        :15
    ]:
        values = [*range(9000 + len(expected), 9005 + len(expected))]
        cluster.told(4, values, at)
        expected = [*expected, *values]
    most: dict[int, int] = {}
    for each in together.nodes.values():
        for at, count in each.written(database.number).items():
            most[at] = max(most.get(at, 0), count)
    assert sum(most.values()) >= len(expected), "some of them twice"
    assert max(written(4), key=written(4).__getitem__) == 2
    said = ask(Split("shared", 0, True))
    assert "arc 3 of the 4 of database" in said
    assert "would be cut into arcs 3 and 4 of 5:" in said
    assert cluster.ring().arcs == 4
    said = ask(Split("shared", 0, False), 2)
    assert "the ring of database" in said
    assert "has 5 arcs; each goes" in said
    until(lambda: cluster.ring().arcs == 5)
    begins = cluster.ring().begins
    place = [each.low for each in cluster.ring().maps[-1].intervals]
    (middle,) = {*begins} - {place[8], place[16], place[24]}
    rows = [most.get(each.number, 0) for each in database.locations]
    sides = {at: abs(sum(rows[16:at]) - sum(rows[at:24])) for at in range(17, 24)}
    assert sides[place.index(middle)] == min(sides.values())
    assert place.index(middle) < 20, "where it is not the middle"
    together.ask(1, Rebalance(False))
    number = 0
    while [*together.nodes[1].metadata.all(Goal)] or not number:
        number += 1
        cluster.told(number % 4 + 1, [7000 + number], START + (100 + number) * HOUR)
        expected = sorted([*expected, 7000 + number])
        assert cluster.asked(4 - number % 4) == expected
    said = ask(Merge("shared", 1, False), 4)
    assert "arcs 1 and 2 of the 5 of database" in said
    until(lambda: cluster.ring().arcs == 4 and not cluster.ring().arcs_wanted)
    assert cluster.ring().begins == (place[16], middle, place[24])
    assert len({(each.voters, each.leader) for each in sorted(cluster.own(), key=lambda at: at.location)[:16]}) == 1
    for node in (1, 2, 3, 4):
        assert cluster.asked(node) == expected
    answers = [together.ask(node, Check("shared", 30.0)) for node in (1, 2, 3, 4)]
    assert all(isinstance(each, Checked) and not each.different for each in answers)
    assert sum(len(each.compared) for each in answers if isinstance(each, Checked)) == 32
    with pytest.raises(TsdbError, match='database "shared": there is no arc 9: the ring has 4'):
        ask(Split("shared", 9, False))
    with pytest.raises(TsdbError, match='database "shared": arc 4 is the last one'):
        ask(Merge("shared", 4, True))
