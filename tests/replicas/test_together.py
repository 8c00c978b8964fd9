"""Three nodes, all but ports for clients: what one takes all have; leaders go and come back."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest

from tests.cluster.model import scan
from tests.cluster.setting import SECOND, START
from tests.fixtures.waiting import until
from tests.replicas.replicated import HOUR, Replicated
from tsdb.cluster.group.control import Done, Drain, Replicate
from tsdb.cluster.group.group import Group
from tsdb.cluster.metadata.records import LocationRecord, Member
from tsdb.cluster.node import Node
from tsdb.cluster.replicas.host import Host
from tsdb.cluster.replication.replica import Replica
from tsdb.errors import ObjectNotInPrerequisiteState, SerializationFailure
from tsdb.model.schema import DropDatabase
from tsdb.model.store import KeyDeletion, RangeDeletion, TimeRange, Write


def test_what_the_leader_takes_all_nodes_have_and_the_next_leader_goes_on(cluster: Replicated) -> None:
    cluster.write(list(range(500)))
    assert cluster.read() == list(range(500))
    cluster.everywhere(list(range(500)))
    first = cluster.leader().engine.node
    cluster.together.stop(first)
    cluster.write([1000, 1001], START + 100 * HOUR)
    assert cluster.leader().engine.node != first
    expected = [*range(500), 1000, 1001]
    assert sorted(cluster.read()) == expected
    # The one that was away comes back with what it had, and gets the rest.
    cluster.together.start(first)
    cluster.everywhere(expected)
    cluster.leader().delete(
        cluster.database(cluster.leader()),
        RangeDeletion(cluster.series(cluster.leader()), TimeRange(START + 100 * HOUR, START + 101 * HOUR)),
    ).result(30)
    cluster.everywhere(list(range(500)))
    assert cluster.read() == list(range(500))


def test_the_log_says_once_for_a_database_who_leads_it(cluster: Replicated, caplog: pytest.LogCaptureFixture) -> None:
    cluster.write([1])
    first = cluster.leader().engine.node
    caplog.set_level(logging.INFO)
    cluster.together.stop(first)
    cluster.write([2])
    second = cluster.leader().engine.node
    said = f'node {second} leads database "shared", after node {first} (32 locations)'
    # Both that are left have learned it, each by one line; it is said a moment later, with all that changed meanwhile.
    until(lambda: caplog.messages.count(said) >= 2)
    assert sum(f"after node {first}" in each for each in caplog.messages) == 2, caplog.messages


def test_a_cluster_that_was_stopped_as_a_whole_has_everything_from_blocks_and_from_logs(cluster: Replicated) -> None:
    cluster.write(list(range(100)))
    cluster.everywhere(list(range(100)))
    for node in cluster.nodes.values():
        node.flush()
    cluster.write(list(range(100, 200)), START + 200 * HOUR)
    cluster.everywhere(list(range(200)))
    cluster.together.end()
    for place in (1, 2, 3):
        cluster.together.start(place)
    assert sorted(cluster.read()) == list(range(200))
    cluster.everywhere(list(range(200)))
    cluster.write([7777], START + 300 * HOUR)
    cluster.everywhere([*range(200), 7777])


def test_any_node_takes_writes_and_reads(cluster: Replicated) -> None:
    leader = cluster.leader()
    others = [node for node in cluster.nodes.values() if node is not leader]
    for at, node in enumerate(others):
        assert (
            node.write(cluster.database(node), [cluster.points(node, [at], START + at * HOUR)]).result(30).points == 1
        )
        assert cluster.values(node.view()) == [*range(at + 1)]
    one_hour = TimeRange(START + HOUR, START + 2 * HOUR)
    others[0].delete(cluster.database(others[0]), RangeDeletion(cluster.series(others[0]), one_hour)).result(30)
    assert cluster.values(others[1].view()) == [0]
    for node in (leader, others[0]):
        assert node.commit([Write(cluster.points(node, [1]))]).result(30).points == 1
    assert cluster.read() == [1]


def test_what_rests_on_rows_is_refused_when_they_are_not_as_they_were_seen(cluster: Replicated) -> None:
    cluster.write([1, 2, 3])
    for node in cluster.nodes.values():
        view = node.view()
        seen = scan(view, cluster.series(node))
        points = cluster.points(node, [10, 20, 30])
        sequences = np.array([each.sequence for each in seen], np.int64)
        keys = KeyDeletion(points.series, points.tagsets, points.tagset, points.times, sequences, (view.moment,))
        # Nothing has changed: their places are taken, and nobody can do so again.
        assert node.commit([Write(points, replaces=keys)]).result(30).points == 3
        with pytest.raises(SerializationFailure, match="concurrent update"):
            node.commit([Write(points, replaces=keys)]).result(30)
        # In a keyed series what was seen is taken away, and what came later stays.
        node.commit([keys]).result(30)
        assert cluster.read() == [10, 20, 30]
        view.close()
        view = node.view()
        sequences = np.array([each.sequence for each in scan(view, cluster.series(node))], np.int64)
        node.commit([replace(keys, sequences=sequences, moments=(view.moment,))]).result(30)
        view.close()
        assert cluster.read() == []
        cluster.write([1, 2, 3])
    cluster.everywhere([1, 2, 3])


def test_what_rests_on_rows_has_its_turn_while_others_write_all_the_time(cluster: Replicated) -> None:
    node = cluster.leader()
    cluster.write([1])
    stopping = threading.Event()

    def write() -> None:
        while not stopping.is_set():
            # At the same location, and never at the same point.
            later = cluster.points(node, [5], START + SECOND)
            node.write(cluster.database(node), [later]).result(30)

    writing = [threading.Thread(target=write) for _ in range(4)]
    for thread in writing:
        thread.start()
    try:
        for value in range(20):
            view = node.view()
            points = cluster.points(node, [value])
            first = next(each for each in scan(view, cluster.series(node)) if each.time == START)
            sequences = np.array([first.sequence], np.int64)
            keys = KeyDeletion(points.series, points.tagsets, points.tagset, points.times, sequences, (view.moment,))
            node.commit([Write(points, replaces=keys)]).result(30)
            view.close()
    finally:
        stopping.set()
        for thread in writing:
            thread.join(60)
    assert cluster.read() == [19, 5]


def host_of(node: Node) -> Host:
    assert isinstance(node.agreement, Group)
    return node.agreement.replicas.host


def core_of(host: Host, location: int) -> weakref.ref[Replica]:
    found = host.find(location)
    assert found is not None
    return weakref.ref(found.replica)


def test_a_drained_node_gives_its_locations_away_and_a_dropped_database_is_gone_everywhere(cluster: Replicated) -> None:
    cluster.write([1, 2, 3])
    first = cluster.leader().engine.node
    assert isinstance(cluster.together.ask(first, Drain(first, True)), Done)
    until(lambda: cluster.leader().engine.node != first)
    cluster.write([4], START + 10 * HOUR)
    assert cluster.read() == [1, 2, 3, 4]
    hosts = [host_of(node) for node in cluster.nodes.values()]
    cores = [core_of(host, at) for host in hosts for at in list(host.locations)]
    assert len(cores) == 3 * 32
    cluster.leader().change(DropDatabase("shared"))
    for node in cluster.nodes.values():
        until(lambda: not node.agreement.gauges()["replicas"])  # noqa: B023
        assert "shared" not in node.catalog.databases
    assert not any(host.known for host in hosts)
    # Nor does anything hold their logs in memory.
    until(lambda: gc.collect() >= 0 and all(core() is None for core in cores))


def test_more_replicas_than_nodes_are_refused_and_other_databases_stay_as_they_are(cluster: Replicated) -> None:
    with pytest.raises(ObjectNotInPrerequisiteState, match="there are 3"):
        cluster.together.ask(1, Replicate(4))
    state = cluster.any().metadata
    assert len([each for each in state.all(Member) if not each.gone]) == 3
    by_database = {each.database: len(each.voters) for each in state.all(LocationRecord)}
    assert sorted(by_database.values()) == [1, 1, 3]
