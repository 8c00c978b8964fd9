"""Four nodes, four arcs, and slots that a table gets while all nodes write to it and leads move: every point that was
acknowledged is read once at every node, and lies at the nodes of its slot's arc."""

from __future__ import annotations

import contextlib
import threading
from typing import cast

import numpy as np
import pytest

from tests.cluster.model import scan
from tests.cluster.setting import START
from tests.fixtures.waiting import until
from tests.replicas.test_arcs_together import Spreading, cluster, spread
from tsdb.cluster.metadata.commands import SetGoals
from tsdb.cluster.metadata.records import goal_number
from tsdb.cluster.node import Node
from tsdb.cluster.routing import router
from tsdb.errors import ObjectNotInPrerequisiteState, TsdbError
from tsdb.model.places import places_in
from tsdb.model.schema import Catalog, SchemaChange, SetSlots
from tsdb.model.store import Store
from tsdb.model.time import BUCKET_NS, NS_PER_SECOND
from tsdb.session import slots

__all__ = ["cluster"]

SLOTS = 32


class Writer(threading.Thread):
    """Writes at one node, about the time at which slots are to begin; ``done`` are the values that are acknowledged,
    of the next one nobody knows."""

    def __init__(self, cluster: Spreading, node: int) -> None:
        super().__init__()
        self._cluster = cluster
        self._node = node
        self.begin = START // BUCKET_NS + 800
        self.done: list[int] = []
        self.tries = 0
        self.stopping = threading.Event()

    def run(self) -> None:
        at = 0
        while not self.stopping.is_set():
            value = 100_000 * self._node + at
            # Any second from two buckets before the slots to two after them; no two points have the same time.
            time = (self.begin - 2) * BUCKET_NS + at * 7919 % 1200 * NS_PER_SECOND + 4 * at + self._node
            self.tries += 1
            try:
                node = self._cluster.together.nodes[self._node]
                node.write(self._cluster.database(node), [self._cluster.points(node, [value], time)]).result(30)
            except TsdbError:
                # The same again: it may be there.
                continue
            self.done.append(value)
            at += 1


class Late:
    """A node that takes its time to settle slots when all leaders have said that they may be: writers go on."""

    def __init__(self, node: Node, writers: list[Writer]) -> None:
        self._node = node
        self._writers = writers
        self.catalog, self.commit, self.view = node.catalog, node.commit, node.view

    def change(self, *changes: SchemaChange) -> Catalog:
        marks = [each.tries for each in self._writers]
        until(lambda: all(each.tries > mark + 1 for each, mark in zip(self._writers, marks, strict=True)))
        return self._node.change(*changes)


def settled(cluster: Spreading, writers: list[Writer]) -> int:
    """Ask for slots again and again, until no point is in their way; the bucket at which they begin."""
    node = cluster.together.nodes[2]
    for _ in range(100):
        wish = SetSlots("shared", "cpu", SLOTS, writers[0].begin + 10)
        node.change(wish)
        # Who leads may not know of it yet, and then the wish is refused.
        for each in writers:
            each.begin = wish.from_bucket
        with contextlib.suppress(TsdbError):
            slots.settle(cast(Store, Late(node, writers)), wish)
            return wish.from_bucket
    raise AssertionError("slots were never settled")


def turn(cluster: Spreading) -> None:
    """Other nodes are to lead the arcs."""
    number = cluster.database(cluster.any()).number
    goals = {goal_number(number, arc): tuple((arc + each) % 4 + 1 for each in (1, 2, 0)) for arc in range(4)}
    cluster.together.nodes[3].agreement.propose(SetGoals(tuple(goals.items())))


def refused(cluster: Spreading, leader: int, begin: int) -> int:
    """A point that this node leads is in the way of slots that another one asks for; its bucket, ``begin`` or later."""
    node = cluster.together.nodes[2]
    database = cluster.database(node)
    places = places_in(database, cluster.series(node).number)
    led = {each.location for each in cluster.own() if each.leader == leader}
    while places.locations(database.locations, begin, begin)[0].number not in led:
        begin += 1
    cluster.told(leader, [leader], begin * BUCKET_NS)
    wish = SetSlots("shared", "cpu", SLOTS, begin)
    node.change(wish)
    with pytest.raises(ObjectNotInPrerequisiteState, match="has points from"):
        slots.settle(node, wish)
    assert cluster.series(node).slots == ()
    return begin


def test_slots_are_settled_while_all_nodes_write_and_leads_move(
    cluster: Spreading, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is refused is tried again by the node that was asked; here by its client.
    monkeypatch.setattr(router, "WAIT_S", 0.5)
    expected, begin = spread(cluster), START // BUCKET_NS + 600
    for leader in (1, 2, 3, 4):
        begin = refused(cluster, leader, begin) + 1
        expected.append(leader)
    writers = [Writer(cluster, node) for node in (1, 2, 3, 4)]
    for each in writers:
        each.start()
    try:
        until(lambda: all(len(each.done) > 20 for each in writers))
        turn(cluster)
        begin = settled(cluster, writers)
        marks = [len(each.done) for each in writers]
        until(lambda: all(len(each.done) > mark + 60 for each, mark in zip(writers, marks, strict=True)))
    finally:
        for each in writers:
            each.stopping.set()
        for each in writers:
            each.join()
    expected = sorted([*expected, *(value for each in writers for value in each.done)])
    unknown = {100_000 * each + len(writers[each - 1].done) for each in (1, 2, 3, 4)}
    for number in (1, 2, 3, 4):
        assert [value for value in cluster.asked(number) if value not in unknown] == expected
    for number, node in cluster.together.nodes.items():
        view, database = node.engine.view(), cluster.database(node)
        try:
            times = np.array([seen.time for seen in scan(view, cluster.series(node))], np.int64)
        finally:
            view.close()
        at = places_in(database, cluster.series(node).number).cut(database.locations, times)
        assert {location.number for location, _ in at} <= cluster.held(number)
        late = times[times >= begin * BUCKET_NS]
        assert len(places_in(database, cluster.series(node).number).cut(database.locations, late)) > 8
