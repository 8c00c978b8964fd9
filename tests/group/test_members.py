"""Nodes come, stay away, are drained, removed and given up; who votes follows."""

from __future__ import annotations

import contextlib
import datetime
import logging
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cluster.transport.nodes import tls_of, write_pair
from tests.fixtures.waiting import until
from tests.group.together import OPTIONS, Together
from tsdb.cluster.authority import make_authority
from tsdb.cluster.group.control import Done, Drain, Remove, Transfer
from tsdb.cluster.group.group import Group
from tsdb.cluster.group.operator import ask
from tsdb.cluster.group.recovering import recover
from tsdb.cluster.metadata.group_of_one import METADATA_GROUP
from tsdb.cluster.metadata.records import Member
from tsdb.cluster.node import Node
from tsdb.errors import (
    CannotConnectNow,
    DuplicateDatabase,
    NodeRemoved,
    ObjectInUse,
    ObjectNotInPrerequisiteState,
    StartupError,
    TsdbError,
    UndefinedObject,
)
from tsdb.ingest.faults import Limits
from tsdb.ingest.write import WriteRequest, submit
from tsdb.model.schema import CreateDatabase, DropDatabase
from tsdb.storage.engine import Engine
from tsdb.storage.identity import Identity
from tsdb.storage.raft_log import RaftLog


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Together]:
    together = Together(tmp_path)
    together.found()
    together.start(1)
    try:
        yield together
    finally:
        together.end()


def databases(node: Node) -> set[str]:
    return {*node.catalog.databases}


def test_six_nodes_join_one_after_the_other_and_a_learner_takes_the_vote_of_a_lost_one(cluster: Together) -> None:
    cluster.nodes[1].change(CreateDatabase("before"))
    for place in range(2, 7):
        node = cluster.start(place, join=place - 1)
        assert node.engine.node == place
        assert "before" in databases(node)
        until(lambda: cluster.roles(1).get(place) in ("voter", "learner"))  # noqa: B023
    until(lambda: cluster.roles(1) == {**dict.fromkeys(range(1, 6), "voter"), 6: "learner"})
    for place, node in cluster.nodes.items():
        node.change(CreateDatabase(f"by_{place}"))
    made = {f"by_{place}" for place in cluster.nodes}
    for node in cluster.nodes.values():
        until(lambda: databases(node) >= made)  # noqa: B023
    # A write is where its database is.
    leaders = {each.number: each.leader for each in cluster.nodes[6].locations()}
    assert {each.number: each.leader for each in cluster.nodes[1].locations()} == leaders
    lost = next(place for place in range(2, 6) if place != cluster.report(1).leader)
    cluster.stop(lost)
    until(lambda: (cluster.roles(1)[6], cluster.roles(1)[lost]) == ("voter", "learner"))
    cluster.start(lost)
    cluster.nodes[6].change(CreateDatabase("after"))
    until(lambda: "after" in databases(cluster.nodes[lost]))


def test_a_wiped_node_comes_back_as_another_one_when_the_old_one_is_given_up(cluster: Together) -> None:
    for place in (2, 3):
        cluster.start(place, join=1)
    until(lambda: cluster.roles(1) == {1: "voter", 2: "voter", 3: "voter"})
    cluster.stop(3)
    cluster.wipe(3)
    with pytest.raises(StartupError, match="tsdb cluster init, or join one with --join"):
        cluster.start(3)
    with pytest.raises(StartupError, match=r"n3 is a member already, node 3.*tsdb cluster remove 3 --accept-loss"):
        cluster.start(3, join=1)
    with pytest.raises(UndefinedObject, match="there is no node 9"):
        cluster.ask(2, Remove(9, False))
    assert isinstance(cluster.ask(2, Remove(3, True)), Done)
    node = cluster.start(3, join=2)
    assert node.engine.node == 4
    until(lambda: cluster.roles(1) == {1: "voter", 2: "voter", 4: "voter"})
    gone = node.metadata.get(Member, 3)
    assert gone is not None
    assert gone.gone


def test_a_node_that_could_not_listen_is_no_member(cluster: Together) -> None:
    place = cluster.place(2)
    with (
        socket.create_server((place.host, place.port)),
        pytest.raises(StartupError, match=f"cannot listen for nodes on {place.host}:{place.port}: "),
    ):
        cluster.start(2, join=1)
    assert [each.node for each in cluster.report(1).nodes] == [1]
    assert cluster.start(2, join=1).engine.node == 2


def test_an_address_that_a_node_has_no_more_is_forgotten(cluster: Together) -> None:
    def known() -> dict[str, str]:
        return dict(next(each.addresses for each in cluster.report(1).nodes if each.node == 2))

    before = {"flight": "127.0.0.1:2", "sql": "127.0.0.1:1"}
    cluster.start(2, join=1).agreement.introduce(before)
    until(lambda: before.items() <= known().items())
    cluster.stop(2)
    node = cluster.start(2)
    assert before.items() <= known().items()
    node.agreement.introduce({"sql": "127.0.0.1:3"})
    until(lambda: known().get("sql") == "127.0.0.1:3")
    assert known().keys() == {"cluster", "rows", "sql"}


def test_a_node_that_was_removed_is_not_let_in_again(cluster: Together) -> None:
    for place in (2, 3):
        cluster.start(place, join=1)
    until(lambda: cluster.roles(1) == {1: "voter", 2: "voter", 3: "voter"})
    cluster.stop(2)
    cluster.ask(1, Remove(2, True))
    until(lambda: cluster.roles(1) == {1: "voter", 3: "voter"})
    with pytest.raises(NodeRemoved, match=r"this node, 2, was removed from the cluster, says node [13]: .*empty"):
        cluster.start(2)
    cluster.nodes[3].change(CreateDatabase("without_it"))
    # What it had is not lost with that.
    assert recover(cluster.data(2), OPTIONS)[0] == [1, 3]


def test_a_removed_node_that_nobody_could_be_asked_about_ends_when_somebody_can(cluster: Together) -> None:
    cluster.start(2, join=1)
    until(lambda: cluster.roles(1) == {1: "voter", 2: "voter"})
    cluster.start(3, join=1)
    until(lambda: cluster.roles(1) == {1: "voter", 2: "voter", 3: "voter"})
    cluster.stop(2)
    cluster.ask(1, Remove(2, True))
    until(lambda: cluster.roles(1) == {1: "voter", 3: "voter"})
    for place in (1, 3):
        cluster.stop(place)
    cluster.start(2)
    # It has not heard of anything, and agrees on nothing by itself.
    with pytest.raises(CannotConnectNow, match="no leader that this node could reach"):
        cluster.nodes[2].agreement.wait_readable(3.0)
    assert cluster.left[2] == []
    for place in (1, 3):
        cluster.start(place)
    until(lambda: cluster.left[2])
    assert "was removed from the cluster" in cluster.left[2][0]
    assert cluster.nodes[1].agreement.gauges()["transport_refusals_total"] > 0


def test_nodes_that_are_started_together_find_each_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    together = Together(tmp_path)
    together.found()
    caplog.set_level(logging.INFO)
    try:
        with ThreadPoolExecutor(3) as pool:
            later = [pool.submit(together.start, place, join=1) for place in (2, 3)]
            until(lambda: caplog.text.count("there is no node to be reached") == 2)
            together.start(1)
            for each in later:
                assert "tsdb" in databases(each.result(60))
        until(lambda: together.roles(1) == {1: "voter", 2: "voter", 3: "voter"})
    finally:
        together.end()


@pytest.mark.parametrize("gone", [1, 2], ids=["the one that leads", "the other"])
def test_of_two_voters_one_is_removed_and_the_other_goes_on(cluster: Together, gone: int) -> None:
    cluster.start(2, join=1)
    until(lambda: cluster.roles(1) == {1: "voter", 2: "voter"})
    stays = 3 - gone
    agreement = cluster.nodes[gone].agreement
    assert isinstance(agreement, Group)
    agreement.hints_waiting = lambda: 2
    for asked in (1, 2):
        with pytest.raises(ObjectInUse, match=f"at node {gone} 2 numbered batches wait to be stored"):
            cluster.ask(asked, Remove(gone, False))
    cluster.ask(stays, Remove(gone, True))
    cluster.nodes[stays].change(CreateDatabase("after"))
    until(lambda: cluster.nodes[stays].agreement.standing.learners == ())
    assert cluster.roles(stays) == {stays: "voter"}
    assert cluster.nodes[stays].agreement.standing.voters == (stays,)
    cluster.nodes[stays].change(CreateDatabase("after_that"))
    assert "after_that" in databases(cluster.nodes[stays])


def test_a_node_is_asked_for_what_waits_when_it_is_drained_and_a_failure_to_say_it_is_no_answer(
    cluster: Together,
) -> None:
    cluster.start(2, join=1)
    until(lambda: cluster.roles(1) == {1: "voter", 2: "voter"})
    agreement = cluster.nodes[2].agreement
    assert isinstance(agreement, Group)
    seen: list[bool] = []

    def one_came() -> int:
        member = cluster.nodes[1].metadata.get(Member, 2)
        seen.append(member is not None and member.draining)
        return len(seen) - 1

    agreement.hints_waiting = one_came
    with pytest.raises(ObjectInUse, match="at node 2 a numbered batch waits"):
        cluster.ask(1, Remove(2, False))
    assert seen == [False, True]
    until(lambda: not any(each.draining for each in cluster.report(1).nodes))
    agreement.hints_waiting = lambda: 1 // 0
    with pytest.raises(ObjectInUse, match="whether batches wait at node 2 to be stored is not known"):
        cluster.ask(1, Remove(2, False))
    agreement.hints_waiting = int
    cluster.ask(1, Remove(2, False))


def test_no_vote_is_taken_that_those_who_stay_cannot_do_without(cluster: Together) -> None:
    for place in (2, 3):
        cluster.start(place, join=1)
    until(lambda: cluster.roles(1) == {1: "voter", 2: "voter", 3: "voter"})
    cluster.stop(3)
    with pytest.raises(ObjectNotInPrerequisiteState, match="3 cannot be reached, and of the voters 1, 3") as refused:
        cluster.ask(1, Remove(2, True))
    assert "remove them first" in (refused.value.hint or "")
    cluster.nodes[2].change(CreateDatabase("still"))
    # As when the removal was interrupted: drained, and nothing else.
    cluster.ask(1, Drain(3, True))
    for gone in (3, 2):
        cluster.ask(1, Remove(gone, True))
        cluster.nodes[1].change(CreateDatabase(f"without_{gone}"))
    until(lambda: cluster.roles(1) == {1: "voter"})
    cluster.nodes[1].change(CreateDatabase("alone"))


def test_of_two_voters_one_cannot_be_removed_when_it_is_stopped(cluster: Together) -> None:
    cluster.stop(1)
    cluster.start(1, patience_s=5.0)
    cluster.start(2, join=1)
    until(lambda: cluster.roles(1) == {1: "voter", 2: "voter"})
    cluster.stop(2)
    with pytest.raises(TsdbError) as refused:
        cluster.ask(1, Remove(2, True))
    assert "force-recover" in (refused.value.hint or "")
    cluster.start(2)
    cluster.nodes[2].change(CreateDatabase("still"))
    cluster.ask(1, Remove(2, True))
    cluster.nodes[1].change(CreateDatabase("after"))


def test_the_lead_is_handed_over_and_a_drained_node_does_not_lead_nor_get_anything_new(cluster: Together) -> None:
    for place in (2, 3):
        cluster.start(place, join=1)
    until(lambda: cluster.roles(1) == {1: "voter", 2: "voter", 3: "voter"})
    for to in (2, 3, 1):
        until(lambda: leads_now(cluster, to))  # noqa: B023
    with pytest.raises(UndefinedObject):
        cluster.ask(2, Transfer(7))
    cluster.ask(3, Drain(1, True))
    until(lambda: cluster.report(2).leader in (2, 3))
    with pytest.raises(ObjectNotInPrerequisiteState, match="node 1 is drained"):
        cluster.ask(2, Transfer(1))
    for number in range(10):
        cluster.nodes[1].change(CreateDatabase(f"d{number}"))
    new = {each.leader for each in cluster.nodes[1].locations() if each.database.startswith("d")}
    assert new == {2, 3}
    with pytest.raises(ObjectInUse, match="node 1 holds 64 locations"):
        cluster.ask(2, Remove(1, False))
    cluster.ask(2, Drain(1, False))
    until(lambda: all(not each.draining for each in cluster.nodes[1].members()))


def leads_now(cluster: Together, to: int) -> bool:
    """Whether it leads when the lead was handed to it: a busy machine may lose it at once, or on the way."""
    with contextlib.suppress(CannotConnectNow, ObjectNotInPrerequisiteState):
        cluster.ask(2, Transfer(to))
        return cluster.report(2).leader == to
    return False


def test_what_a_node_does_not_lead_it_neither_writes_nor_deletes_nor_reads(cluster: Together) -> None:
    cluster.start(2, join=1)
    for number in range(6):
        cluster.nodes[2].change(CreateDatabase(f"d{number}"))
    for node in cluster.nodes.values():
        for database in node.catalog.databases.values():
            led = {each.leader for each in node.locations() if each.database == database.name}
            assert led == {1} or led == {2}, "a database is whole at one node"
            assert node.leads(database) == (led == {node.engine.node})
    assert {node.leads(cluster.nodes[1].catalog.find("tsdb")) for node in cluster.nodes.values()} == {True, False}


def test_a_write_at_a_node_that_does_not_lead_its_database_is_stored_where_it_is_led(cluster: Together) -> None:
    there = cluster.start(2, join=1)
    for future in submit(there, WriteRequest("tsdb"), b"cpu v=1 1", 1, Limits(), False).futures:
        assert future.result(30).points == 1
    for place, count in ((1, 1), (2, 0)):
        series = cluster.nodes[place].catalog.find("tsdb").find("cpu")
        assert cluster.nodes[place].engine.statistics(series).rows == count


def test_one_node_alone_decides_nothing_and_is_made_a_cluster_by_force(cluster: Together) -> None:
    cluster.start(2, join=1, patience_s=5.0)
    cluster.start(3, join=1)
    until(lambda: cluster.roles(1) == {1: "voter", 2: "voter", 3: "voter"})
    cluster.nodes[3].change(CreateDatabase("kept"))
    old = cluster.report(1).cluster
    for place in (1, 3):
        cluster.stop(place)
    with pytest.raises(TsdbError) as refused:
        cluster.nodes[2].change(CreateDatabase("never"))
    assert refused.value.sqlstate in ("57P03", "40003")
    with pytest.raises(CannotConnectNow) as later:
        cluster.nodes[2].change(CreateDatabase("never"))
    assert later.value.hint is not None
    cluster.stop(2)
    with pytest.raises(StartupError, match="a cluster of several"):
        Node.open(cluster.data(2), OPTIONS)
    gone, identity = recover(cluster.data(2), OPTIONS)
    assert gone == [1, 3]
    assert identity.cluster.bytes != old
    node = cluster.start(2)
    assert "kept" in databases(node)
    assert "never" not in databases(node)
    assert {each.leader for each in node.locations()} == {2}
    # Who was given up is a stranger, and comes back with an empty directory.
    cluster.start(1)
    node.change(CreateDatabase("new"))
    assert "new" not in databases(cluster.nodes[1])
    cluster.stop(1)
    cluster.wipe(1)
    assert cluster.start(1, join=2).engine.node == 4
    assert "new" in databases(cluster.nodes[1])


def test_what_is_true_for_all_is_not_refused_by_a_node_that_is_behind(cluster: Together) -> None:
    cluster.start(2, join=1)
    for number in range(30):
        # Each node speaks of what the other has just made or dropped.
        cluster.nodes[1].change(CreateDatabase("d"))
        with pytest.raises(DuplicateDatabase):
            cluster.nodes[2].change(CreateDatabase("d"))
        cluster.nodes[2].change(DropDatabase("d"))
        cluster.nodes[1].change(CreateDatabase("d"), DropDatabase("d"), CreateDatabase(f"e{number}"))
    numbers = [
        [each.number for each in node.catalog.databases.values() if each.name.startswith("e")]
        for node in cluster.nodes.values()
    ]
    assert numbers[0][:29] == numbers[1][:29]


def test_who_has_no_certificate_of_the_cluster_asks_nothing(cluster: Together, tmp_path: Path) -> None:
    rogue = make_authority("rogue", 100, datetime.datetime.now(datetime.UTC))
    # It trusts the cluster's authority; the cluster does not trust its own.
    write_pair(tmp_path / "other", "n2", rogue)
    with pytest.raises(TsdbError):
        ask(cluster.address(1), Remove(1, True), tls_of(tmp_path / "other", "n2"))
    assert cluster.roles(1) == {1: "voter"}


def test_a_single_nodes_directory_becomes_a_clusters_first_node(tmp_path: Path) -> None:
    together = Together(tmp_path)
    with_points = Node.open(together.data(1), OPTIONS)
    with_points.change(CreateDatabase("mine"))
    with_points.close()
    try:
        together.start(1)
        assert "mine" in databases(together.start(2, join=1))
    finally:
        together.end()
    # Once there were others it is not a node by itself any more, and says so.
    with pytest.raises(StartupError, match="a cluster of several"):
        Node.open(together.data(1), OPTIONS)


@pytest.mark.parametrize("joined", [False, True])
def test_a_directory_that_began_to_join_is_no_single_node(tmp_path: Path, joined: bool) -> None:
    engine = Engine.open(tmp_path, OPTIONS)
    identity = Identity(uuid4(), uuid4(), 4) if joined else Identity(uuid4())
    engine.call(lambda: engine.identify(identity))
    engine.close()
    for _ in range(2):
        with pytest.raises(StartupError, match="--join"):
            Node.open(tmp_path, OPTIONS)
    engine = Engine.open(tmp_path, OPTIONS)
    try:
        assert RaftLog(engine.records, METADATA_GROUP).is_new
    finally:
        engine.close()


def test_a_node_that_was_killed_when_it_knew_a_term_and_nothing_else_joins_again(cluster: Together) -> None:
    engine = Engine.open(cluster.data(2), OPTIONS)
    engine.call(lambda: engine.identify(Identity(uuid4())))
    engine.call(lambda: RaftLog(engine.records, METADATA_GROUP).write((1, 0, 0), [], sync=True))
    engine.close()
    with pytest.raises(StartupError, match="--join"):
        Node.open(cluster.data(2), OPTIONS)
    cluster.start(2, join=1)
    until(lambda: cluster.roles(1) == {1: "voter", 2: "voter"})


def test_a_single_node_with_data_of_its_own_does_not_run_beside_the_cluster_that_it_was_to_join(
    cluster: Together,
) -> None:
    Node.open(cluster.data(2), OPTIONS).close()
    with pytest.raises(StartupError, match="by itself"):
        cluster.start(2, join=1)
    assert cluster.roles(1) == {1: "voter"}
