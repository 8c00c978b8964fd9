"""Nodes over an etcd that dies, forgets, is cut off, put back or exchanged; and nodes that were away for long."""

from __future__ import annotations

import contextlib
import itertools
import random
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.etcd.nodes import LIMITS, OneNode, nodes
from tests.etcd.proxy import Proxy
from tests.fixtures.etcd import QUICK, Etcd
from tests.fixtures.waiting import until
from tsdb.cluster.alone import Alone
from tsdb.cluster.etcd.agreement import NotDeciding
from tsdb.cluster.etcd.gateway import Pace
from tsdb.cluster.etcd.log import CommandLog
from tsdb.cluster.etcd.messages import DeleteRange, Done
from tsdb.cluster.metadata.commands import ChangeSchema, PassTime, RemoveMember
from tsdb.cluster.metadata.state import Change, State
from tsdb.errors import CannotConnectNow, DuplicateDatabase, StartupError, StatementCompletionUnknown
from tsdb.model.schema import CreateDatabase
from tsdb.storage.engine import Engine
from tsdb.storage.options import Options

_prefixes = itertools.count()


@pytest.fixture
def prefix() -> str:
    return f"faults{next(_prefixes)}"


def create(node: OneNode, name: str) -> None:
    node.agreement.propose(ChangeSchema.of([CreateDatabase(name)]))


def created_at_last(node: OneNode, name: str) -> bool:
    """Whether it is there, by an attempt to make it: whether one before was done may not be known."""
    with contextlib.suppress(CannotConnectNow, StatementCompletionUnknown, DuplicateDatabase):
        create(node, name)
    return name in node.databases


def same(found: Sequence[OneNode]) -> None:
    """All have the same state, soon, by following alone."""
    until(lambda: len({(group.digest, group.applied) for group in (each.agreement.state.group for each in found)}) == 1)
    assert [each.aborted for each in found] == [[] for _ in found]


@contextlib.contextmanager
def behind_proxies(
    etcd: Etcd, prefix: str, path: Path, count: int, pace: Pace = QUICK, **limits: int
) -> Iterator[list[tuple[OneNode, Proxy]]]:
    """Nodes that each have a way of their own to etcd."""
    with contextlib.ExitStack() as stack:
        found = []
        for at in range(count):
            proxy = stack.enter_context(Proxy(etcd.ports[0][0]))
            way = Etcd(etcd.directory)
            way.address = replace(etcd.address, endpoints=(replace(etcd.address.endpoints[0], port=proxy.port),))
            node = OneNode(way, prefix, path / f"node{at}", replace(LIMITS, **limits), pace)
            stack.callback(node.close)
            found.append((node, proxy))
        yield found


def test_a_second_node_follows_without_being_asked(shared_etcd: Etcd, prefix: str, tmp_path: Path) -> None:
    with nodes(shared_etcd, prefix, tmp_path, 2) as (one, two):
        assert (one.engine.node, two.engine.node) == (1, 2)
        create(one, "fresh")
        until(lambda: "fresh" in two.databases)
        assert two.engine.catalog is two.agreement.state.catalog
        same([one, two])


def test_nodes_are_who_they_were_after_a_restart(shared_etcd: Etcd, prefix: str, tmp_path: Path) -> None:
    with nodes(shared_etcd, prefix, tmp_path, 2) as (one, two):
        create(two, "a")
        two.close()
        create(one, "b")
        two.open()
        assert (two.engine.node, two.agreement.standing.node) == (2, 2)
        assert {"a", "b"} <= two.databases
        same([one, two])


@pytest.mark.parametrize("seed", range(2))
def test_whatever_was_answered_is_there_after_etcd_was_killed(etcd: Etcd, tmp_path: Path, seed: int) -> None:
    """Done, not done, or not known: each is what it says."""
    with nodes(etcd, "p", tmp_path, 2, replace(LIMITS, within_s=4.0), replace(QUICK, within_s=2.0)) as found:
        done: set[str] = set()
        undone: set[str] = set()
        stop = threading.Event()

        def work(at: int) -> None:
            for number in itertools.count():
                name = f"d{at}x{number}"
                try:
                    create(found[at], name)
                    done.add(name)
                except StatementCompletionUnknown:
                    pass
                except CannotConnectNow:
                    undone.add(name)
                if stop.is_set():
                    return

        threads = [threading.Thread(target=work, args=[at]) for at in range(2)]
        for thread in threads:
            thread.start()
        chance = random.Random(seed)
        for _ in range(3):
            enough = len(done) + 5
            until(lambda: len(done) >= enough)  # noqa: B023
            time.sleep(chance.uniform(0.0, 0.3))
            etcd.kill()
            time.sleep(chance.choice((0.0, 2.5)))
            etcd.start()
        stop.set()
        for thread in threads:
            thread.join()
        found[0].agreement.wait_readable()
        same(found)
        assert done <= found[0].databases
        assert not undone & found[0].databases


def test_what_was_compacted_while_a_node_was_away_is_read(etcd: Etcd, tmp_path: Path) -> None:
    with behind_proxies(etcd, "p", tmp_path, 2) as ((one, _), (two, proxy)):
        told: list[int] = []

        def hear(state: State, changes: Sequence[Change]) -> None:
            told.extend(change.value for change in changes if change.name == "catalog")

        first = two.agreement.state.catalog.version
        two.agreement.watch(hear)
        proxy.cut()
        for number in range(30):
            create(one, f"d{number}")
        etcd.compact()
        assert told == []
        proxy.heal()
        same([one, two])
        assert told == list(range(first + 1, first + 31))


def test_what_is_compacted_before_a_watch_begins_is_read(etcd: Etcd, tmp_path: Path) -> None:
    """A node has read what there is, and the revision after it is forgotten before its watch from there arrives."""
    # A watch that is silent ends, and the node looks: not here.
    pace = replace(QUICK, silence_s=600.0)
    with behind_proxies(etcd, "p", tmp_path, 2, pace) as ((one, _), (two, proxy)):
        same([one, two])
        proxy.hold_watches()
        until(lambda: proxy.held > 0)
        for number in range(5):
            create(one, f"d{number}")
        etcd.compact()
        assert "d4" not in two.databases
        proxy.release_watches()
        same([one, two])


def test_history_is_compacted_under_who_watches(etcd: Etcd, tmp_path: Path) -> None:
    with nodes(etcd, "p", tmp_path, 2) as (one, two):
        for number in range(10):
            create(one, f"d{number}")
            etcd.compact()
        same([one, two])


def test_who_was_away_while_the_log_was_cut_takes_a_snapshot(shared_etcd: Etcd, prefix: str, tmp_path: Path) -> None:
    with behind_proxies(shared_etcd, prefix, tmp_path, 2, commands_max=10) as ((one, _), (two, proxy)):
        told: list[int] = []
        two.agreement.watch(lambda state, changes: told.append(len(changes)))
        create(two, "dropped")
        proxy.cut()
        one.agreement.propose(ChangeSchema.of([CreateDatabase("last")]))
        for number in range(40):
            create(one, f"d{number}")
        with contextlib.closing(shared_etcd.gateway()) as gateway:
            command_log = CommandLog(gateway, prefix)

            def cut() -> int:
                snapshot = command_log.look().snapshot
                return snapshot.cut if snapshot else 0

            until(lambda: cut() > two.agreement.standing.applied)
        told.clear()
        proxy.heal()
        same([one, two])
        assert told.count(0) == 1
        two.reopen()
        same([one, two])
        # A new one begins with the snapshot, too.
        with behind_proxies(shared_etcd, prefix, tmp_path / "more", 1) as ((three, _),):
            assert three.engine.node == 3
            same([one, two, three])


def test_a_lease_that_is_lost_decides_nothing(shared_etcd: Etcd, prefix: str, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(behind_proxies(shared_etcd, prefix, tmp_path, 2, replace(QUICK, within_s=3.0)))
        log = CommandLog(stack.enter_context(contextlib.closing(shared_etcd.gateway())), prefix)
        by_node = {node.engine.node: (node, way) for node, way in found}
        first, way = by_node[until(lambda: decides_alone(log, by_node))]
        (second,) = (node for node, _ in found if node is not first)
        way.cut()
        until(lambda: second.agreement.standing.leads)
        before = decided(log, first)
        with pytest.raises(CannotConnectNow):
            first.agreement.decide(PassTime())
        way.heal()
        first.agreement.wait_readable()
        assert decided(log, first) == before
        until(lambda: decides_alone(log, by_node))
        # Whoever does not decide still changes what a user asks for.
        for node, _ in found:
            create(node, f"by{node.engine.node}")
        same([first, second])


def decides_alone(log: CommandLog, found: Mapping[int, tuple[OneNode, Proxy]]) -> int:
    """The number of the node that decides, after all have tried to; 0 if it changed meanwhile (on a busy machine)."""
    before = log.look().office
    done = []
    for number, (node, _) in found.items():
        with contextlib.suppress(CannotConnectNow, StatementCompletionUnknown):
            node.agreement.decide(PassTime())
            done.append(number)
    if before is None or log.look().office != before:
        return 0
    assert done in ([], [before.coordinator.node])
    return sum(done)


def decided(log: CommandLog, node: OneNode) -> int:
    """How many commands a node has put into the log."""
    return sum(entry.node == node.engine.node for entry, _ in log.after(0, log.look().head))


def test_an_operator_who_takes_the_key_away_ends_the_office(shared_etcd: Etcd, prefix: str, tmp_path: Path) -> None:
    with nodes(shared_etcd, prefix, tmp_path, 1) as (one,), contextlib.closing(shared_etcd.gateway()) as gateway:
        command_log = CommandLog(gateway, prefix)
        office = until(lambda: command_log.look().office)
        assert office is not None
        gateway.call("kv/deleterange", DeleteRange(command_log.keys.coordinator), Done)
        with contextlib.suppress(NotDeciding):
            one.agreement.decide(PassTime())
        until(lambda: one.agreement.standing.leads)
        now = until(lambda: command_log.look().office)
        assert now is not None
        assert now.revision > office.revision


# etcd that is not what it was


def test_an_etcd_that_was_put_back_stops_the_nodes(etcd: Etcd, tmp_path: Path) -> None:
    with nodes(etcd, "p", tmp_path, 1) as (one,):
        etcd.kill()
        shutil.copytree(etcd.directory / "m0", etcd.directory / "kept")
        etcd.start()
        create(one, "lost")
        etcd.kill()
        shutil.rmtree(etcd.directory / "m0")
        shutil.move(etcd.directory / "kept", etcd.directory / "m0")
        etcd.start()
        until(lambda: bool(one.aborted))
        assert "put back to an older state" in one.aborted[0]


def test_commands_on_another_history_stop_a_node(etcd: Etcd, tmp_path: Path) -> None:
    """Put back, and gone on from there before a node looks: the digest of what comes next is not its own."""
    with behind_proxies(etcd, "p", tmp_path, 2) as ((one, first), (two, second)):
        same([one, two])
        first.cut()
        etcd.kill()
        shutil.copytree(etcd.directory / "m0", etcd.directory / "kept")
        etcd.start()
        create(two, "lost")
        second.cut()
        etcd.kill()
        shutil.rmtree(etcd.directory / "m0")
        shutil.move(etcd.directory / "kept", etcd.directory / "m0")
        etcd.start()
        first.heal()
        one.agreement.wait_readable()
        create(one, "other")
        create(one, "another")
        second.heal()
        until(lambda: bool(two.aborted))
        assert "meant for another state" in two.aborted[0]
        assert one.aborted == []


def test_an_empty_etcd_in_its_place_stops_the_nodes_and_no_new_log_is_begun(etcd: Etcd, tmp_path: Path) -> None:
    with nodes(etcd, "p", tmp_path, 1) as (one,):
        etcd.kill()
        shutil.rmtree(etcd.directory / "m0")
        etcd.start()
        until(lambda: bool(one.aborted))
        assert "another one than before" in one.aborted[0]
        one.close()
        with pytest.raises(StartupError, match="another one than before"):
            one.open()
        with contextlib.closing(etcd.gateway()) as gateway:
            assert CommandLog(gateway, "p").look().log_id == b""
        one.engine = Engine.open(tmp_path / "other", one.options)


# Starts


def test_a_node_that_is_known_starts_without_etcd_and_follows_when_it_is_there(etcd: Etcd, tmp_path: Path) -> None:
    with nodes(etcd, "p", tmp_path, 1, pace=replace(QUICK, within_s=0.5)) as (one,):
        create(one, "before")
        etcd.kill()
        one.reopen()
        assert "before" in one.databases
        with pytest.raises(CannotConnectNow, match="no member of etcd answers"):
            create(one, "meanwhile")
        etcd.start()
        until(lambda: one.agreement.standing.leads)
        until(lambda: created_at_last(one, "after"))
        assert {"before", "after"} <= one.databases
        assert "meanwhile" not in one.databases


def test_a_new_directory_needs_etcd(etcd: Etcd, tmp_path: Path) -> None:
    etcd.kill()
    with pytest.raises(StartupError, match=r"the metadata at etcd://.*no member of etcd answers"):
        OneNode(etcd, "p", tmp_path, pace=replace(QUICK, within_s=0.3))
    etcd.start()
    OneNode(etcd, "p", tmp_path).close()


def test_a_directory_keeps_its_metadata_in_one_place(shared_etcd: Etcd, prefix: str, tmp_path: Path) -> None:
    options = Options(disk_reserve=0)
    engine = Engine.open(tmp_path / "own", options)
    Alone(engine, options).close()
    engine.close()
    with pytest.raises(StartupError, match="is in the directory itself"):
        OneNode(shared_etcd, prefix, tmp_path / "own")
    OneNode(shared_etcd, prefix, tmp_path / "etcd").close()
    engine = Engine.open(tmp_path / "etcd", options)
    with contextlib.closing(engine), pytest.raises(StartupError, match="kept in etcd"):
        Alone(engine, options)


def test_a_node_that_was_removed_does_not_come_back(shared_etcd: Etcd, prefix: str, tmp_path: Path) -> None:
    with nodes(shared_etcd, prefix, tmp_path, 2) as (one, two):
        one.agreement.propose(RemoveMember(2, accept_loss=True))
        until(lambda: bool(two.left))
        assert "this node, 2, was removed from the cluster" in two.left[0]
        two.close()
        with pytest.raises(StartupError, match="node 2 was removed"):
            two.open()
        two.engine = Engine.open(tmp_path / "other", two.options)
