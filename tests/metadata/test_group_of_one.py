"""A group of one: it leads at once, and what it answered is there after any crash; also what it took over."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.setting import Setting
from tests.metadata.draws import commands, schema_change
from tests.sim.disk import Disk
from tsdb.cluster.metadata import group_of_one
from tsdb.cluster.metadata.commands import ChangeSchema, Command, PassTime, encode
from tsdb.cluster.metadata.group_of_one import GroupOfOne
from tsdb.cluster.metadata.machine import Machine
from tsdb.cluster.metadata.records import Ring
from tsdb.cluster.node import Node
from tsdb.errors import StartupError, TsdbError
from tsdb.model.catalog import Catalog
from tsdb.model.schema import LINE_PROTOCOL_TIME, Applied, CreateDatabase, CreateSeries, DropDatabase, DropSeries
from tsdb.storage import metadata
from tsdb.storage.keys import after, state_key
from tsdb.storage.options import Options
from tsdb.storage.rocks import Rocks

NO_RESERVE = Options(disk_reserve=0)


class Aborted(Exception):
    """The process would have ended."""


def abort(reason: str) -> None:
    raise Aborted(reason)


class Shown:
    """Who follows the catalog: what was staged must lead from what is shown to what is published."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = self._staged = catalog

    def stage_catalog(self, batch: Any, before: Catalog, applied: Applied) -> None:
        assert before is self._staged
        self._staged = applied.catalog

    def publish_catalog(self, catalog: Catalog) -> None:
        assert catalog is self._staged
        self.catalog = catalog


def opened(disk: Disk) -> tuple[GroupOfOne, Shown]:
    shown = Shown(metadata.load(disk))
    return GroupOfOne(disk, 1, shown, shown.catalog, abort), shown


@pytest.mark.parametrize("seed", range(30))
def test_what_was_answered_is_there_after_any_crash(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_of_one, "LOG_BYTES_KEPT", 300)
    chance, disk = random.Random(seed), Disk()
    disk.crash(chance)
    group, shown = opened(disk)
    model = Machine()
    terms = {group.term}
    for each in commands(seed, 60):
        outcome = group.propose(each)
        assert model.apply(outcome.index, encode(each)) is not None
        assert (outcome.error is None) == (not outcome.answer.error)
        assert shown.catalog is group.state.catalog
        if chance.random() < 0.15:
            disk.crash(chance)
            group, shown = opened(disk)
            assert group.term not in terms
            terms.add(group.term)
        assert shown.catalog == group.state.catalog
        assert group.state == model.state
    assert group.log_bytes <= 2 * 300 + 4_000


def test_a_crash_in_the_middle_of_a_command_leaves_all_of_it_or_nothing() -> None:
    """The process ends at each of its writes in turn."""
    create = Command(ChangeSchema.of([CreateDatabase("d")]))
    for writes_left in range(6):
        disk = Disk()
        group, _ = opened(disk)
        written, write = 0, disk.write

        def fails(batch: Any, sync: bool) -> None:
            nonlocal written
            if written == writes_left:  # noqa: B023
                raise OSError("no more")
            written += 1
            write(batch, sync)  # noqa: B023

        disk.write = fails  # type: ignore[method-assign]
        answered = True
        try:
            group.propose(create)
        except Aborted:
            answered = False
        disk.write = write  # type: ignore[method-assign]
        disk.crash(random.Random(writes_left))
        again, shown = opened(disk)
        there = "d" in again.state.catalog.databases
        assert there or not answered
        assert ("d" in shown.catalog.databases) == there
        assert bool(list(again.state.all(Ring))) == there
        # The entry's own batch is the first, and the only one that is waited for.
        assert answered == (writes_left > 2)
        assert there == (writes_left > 0)


def test_a_start_writes_as_little_as_an_election_takes() -> None:
    disk = Disk()
    opened(disk)
    before = disk.syncs
    group, _ = opened(disk)
    assert disk.syncs - before <= 2
    assert group.propose(Command(PassTime())).answer.error == ""
    assert disk.syncs - before <= 3


# On a node


def test_a_node_keeps_its_schema_over_a_log_and_finds_it_again(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        setting.write([1, 2, 3])
        node = setting.node
        assert [m.node for m in node.members()] == [1]
        assert {(each.leader, each.epoch, each.active_epoch) for each in node.locations()} == {(1, 1, 1)}
        assert len(node.locations()) == sum(len(d.locations) for d in node.catalog.databases.values())
        catalog, group, member = node.catalog, node.metadata.group, node.members()
        assert node.metadata.catalog is catalog
        setting.reopen()
        assert (setting.node.catalog, setting.node.metadata.group, setting.node.members()) == (catalog, group, member)
        assert setting.values() == [1, 2, 3]


def test_what_is_refused_or_changes_nothing_is_not_logged(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        node = setting.node
        before, catalog = node.metadata.group.applied, node.catalog
        with pytest.raises(TsdbError, match="does not exist"):
            node.change(DropSeries("tsdb", "nowhere"))
        with pytest.raises(TsdbError, match="already exists"):
            node.change(CreateDatabase("fresh"), CreateDatabase("tsdb"))
        assert node.change(CreateDatabase("tsdb", if_not_exists=True)) is catalog
        assert node.metadata.group.applied == before
        assert node.catalog is catalog


def strip(path: Path, version: int) -> None:
    """Make a directory what it was before there were groups."""
    with Rocks.open(path) as rocks:
        batch = rocks.batch()
        batch.delete_range("raft", b"", b"\xff" * 17)
        for name in ("group", "member", "ring", "location", "client"):
            low = state_key(name)
            high = after(low)
            assert high is not None
            batch.delete_range("state", low, high)
        batch.put("state", state_key("format"), version.to_bytes(4, "big"))
        rocks.write(batch, sync=True)


def test_a_directory_from_before_there_were_groups_is_taken_over(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        setting.write([5, 6])
        setting.node.change(CreateDatabase("more"))
        catalog = setting.node.catalog
    strip(tmp_path, 1)
    with Setting(tmp_path) as setting:
        assert setting.node.catalog == catalog
        assert setting.values() == [5, 6]
        assert {each.database for each in setting.node.locations()} == set(catalog.databases)
        assert {each.leader for each in setting.node.locations()} == {1}
        setting.node.change(DropDatabase("more"))
        setting.write([7], host="b")
        setting.reopen()
        assert set(setting.node.catalog.databases) == set(catalog.databases) - {"more"}
        assert sorted(setting.values()) == [5, 6, 7]


@pytest.mark.parametrize("name", ["group", "member", "ring", "location"])
def test_a_damaged_record_is_one_line_at_start(tmp_path: Path, name: str) -> None:
    Node.open(tmp_path, NO_RESERVE).close()
    with Rocks.open(tmp_path) as rocks:
        key, value = next(rocks.scan("state", state_key(name)))
        batch = rocks.batch()
        batch.put("state", key, value[:-1] + bytes((value[-1] ^ 1,)))
        rocks.write(batch, sync=True)
    with pytest.raises(StartupError, match="damaged and was not opened") as raised:
        Node.open(tmp_path, NO_RESERVE)
    assert "\n" not in str(raised.value)
    # Nothing holds it open.
    with pytest.raises(StartupError, match="damaged"):
        Node.open(tmp_path, NO_RESERVE)


@pytest.mark.parametrize("seed", range(2))
def test_random_changes_of_the_schema_survive_restarts(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    node = Node.open(tmp_path, NO_RESERVE)
    node.change(CreateDatabase("a"), CreateSeries("a", "s", (LINE_PROTOCOL_TIME,), True))
    for _ in range(40):
        change, catalog = schema_change(chance), node.catalog
        try:
            catalog = node.change(change)
        except TsdbError:
            assert node.catalog is catalog
        if chance.random() < 0.1:
            node.close()
            node = Node.open(tmp_path, NO_RESERVE)
        assert node.catalog == catalog
        assert {each.database for each in node.locations()} == set(catalog.databases)
    node.close()
