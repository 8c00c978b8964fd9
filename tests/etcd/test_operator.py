"""An operator of a cluster whose metadata is in etcd: what is seen, and what is done."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from tests.etcd.nodes import LIMITS, OneNode, nodes
from tests.fixtures.etcd import QUICK, Etcd
from tests.fixtures.waiting import until
from tsdb.cluster.etcd.agreement import Limits
from tsdb.cluster.etcd.joining import Place
from tsdb.cluster.etcd.log import CommandLog
from tsdb.cluster.etcd.operator import Operator
from tsdb.cluster.metadata import commands
from tsdb.errors import DuplicateObject, ObjectInUse, ObjectNotInPrerequisiteState, UndefinedObject
from tsdb.model.role_changes import CreateRole
from tsdb.model.roles import Role
from tsdb.model.schema import CreateDatabase

_prefixes = itertools.count()


@pytest.fixture
def prefix() -> str:
    return f"operator{next(_prefixes)}"


def of(node: OneNode) -> contextlib.closing[Operator]:
    return contextlib.closing(Operator(node.place))


def test_all_nodes_are_seen_and_whether_they_run(shared_etcd: Etcd, prefix: str, tmp_path: Path) -> None:
    with nodes(shared_etcd, prefix, tmp_path, 3) as (one, two, three), of(two) as operator:
        until(lambda: [each.runs for each in operator.seen().nodes] == [True] * 3)
        until(lambda: operator.seen().decides)
        seen = operator.seen()
        assert seen.cluster == one.agreement.state.group.cluster
        assert [each.node for each in seen.nodes] == [1, 2, 3]
        assert [each.node for each in seen.nodes if each.decides] == [seen.decides]
        assert sum(each.leads for each in seen.nodes) == 64
        assert seen.commands == three.agreement.state.group.applied
        three.close()
        until(lambda: [each.runs for each in operator.seen().nodes] == [True, True, False])
        three.open()
        until(lambda: operator.seen().nodes[2].runs)


def test_a_node_is_drained_taken_back_and_removed(shared_etcd: Etcd, prefix: str, tmp_path: Path) -> None:
    with nodes(shared_etcd, prefix, tmp_path, 2) as (one, two), of(one) as operator:
        held = {each.node: each.held for each in operator.seen().nodes}
        assert sum(held.values()) == 64
        full = max(held, key=lambda node: held[node])
        empty = 3 - full
        assert f"keeps the {held[full]} locations that it has: points do not move" in operator.drain(
            full, draining=True
        )
        one.agreement.wait_readable()
        one.agreement.propose(commands.ChangeSchema.of([CreateDatabase(f"d{number}") for number in range(5)]))
        operator.drain(full, draining=False)
        assert operator.seen().nodes[full - 1].draining is False
        # All that was made meanwhile is at the other one.
        assert {each.node: each.held for each in operator.seen().nodes} == {full: held[full], empty: held[empty] + 160}
        with pytest.raises(ObjectInUse, match=f"node {full} holds {held[full]} locations"):
            operator.remove(full, accept_loss=False)
        with pytest.raises(UndefinedObject, match="there is no node 7"):
            operator.drain(7, draining=True)
        leaves = (one, two)[full - 1]
        assert "it stops if it runs" in operator.remove(full, accept_loss=True)
        until(lambda: leaves.left)
        with pytest.raises(UndefinedObject, match=f"node {full} was removed"):
            operator.remove(full, accept_loss=True)
        assert [each.node for each in operator.seen().nodes] == [empty]


def test_users_are_made_while_nodes_run_and_while_none_does(shared_etcd: Etcd, prefix: str, tmp_path: Path) -> None:
    ann, bob = Role(0, "ann", login=True), Role(0, "bob", login=True)
    with nodes(shared_etcd, prefix, tmp_path, 1) as (one,):
        with of(one) as operator:
            operator.change(CreateRole(ann))
            with pytest.raises(DuplicateObject):
                operator.change(CreateRole(ann))
        one.agreement.wait_readable()
        assert "ann" in one.agreement.state.catalog.roles.by_name
        one.close()
        with of(one) as operator:
            operator.change(CreateRole(bob))
        one.open()
        assert "bob" in one.agreement.state.catalog.roles.by_name


def test_an_operator_reads_a_log_that_was_cut(shared_etcd: Etcd, prefix: str, tmp_path: Path) -> None:
    often = Limits(LIMITS.within_s, LIMITS.lease_s, commands_max=5)
    with nodes(shared_etcd, prefix, tmp_path, 1, often) as (one,):
        made = itertools.count()

        def make() -> bool:
            """One more; the log is cut behind the snapshot before the last, whenever these are written."""
            one.agreement.propose(commands.ChangeSchema.of([CreateDatabase(f"d{next(made)}")]))
            return cut_to(one) > 5

        until(make)
        with of(one) as operator:
            assert operator.catalog.databases.keys() == one.agreement.state.catalog.databases.keys()


def cut_to(node: OneNode) -> int:
    with contextlib.closing(node.place.gateway()) as gateway:
        snapshot = CommandLog(gateway, node.place.address.prefix).look().snapshot
        return snapshot.cut if snapshot is not None else 0


def test_where_there_is_no_cluster_it_is_said(shared_etcd: Etcd, prefix: str) -> None:
    place = Place(address=replace(shared_etcd.address, prefix=prefix), pace=QUICK)
    with pytest.raises(ObjectNotInPrerequisiteState, match="there is no cluster at etcd://"):
        Operator(place)
