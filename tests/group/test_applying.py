"""Who sees that a command is applied sees what it made: the index rises last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from tests.group.together import OPTIONS
from tests.metadata.draws import CLUSTER, uuid
from tsdb.cluster.group.applying import AppliedStore
from tsdb.cluster.metadata.commands import Action, ChangeSchema, Command, Found, NewMember, encode
from tsdb.cluster.metadata.machine import Outcome
from tsdb.cluster.raft.entries import Configuration, Entry, EntryKind, Snapshot
from tsdb.cluster.raft.node import Node
from tsdb.model.schema import CreateDatabase
from tsdb.storage.engine import Engine


class Seen:
    """A store, and how it was when it said what it had applied: (its index, the databases that anybody sees)."""

    def __init__(self, path: Path) -> None:
        self.engine = Engine.open(path, OPTIONS)
        self.before: list[tuple[int, set[str]]] = []
        self.after: list[tuple[int, set[str]]] = []
        self.store = AppliedStore(self.engine, self._told, self._shown)

    def _told(self, outcomes: Sequence[Outcome]) -> None:
        self.before.append((self.store.applied, {*self.engine.catalog.databases}))

    def _shown(self, outcomes: Sequence[Outcome]) -> None:
        self.after.append((self.store.applied, {*self.engine.catalog.databases}))

    def apply(self, index: int, *actions: Action) -> None:
        entries = [Entry(1, at, EntryKind.NORMAL, encode(Command(each))) for at, each in enumerate(actions, index)]
        # The node is asked of changes of members alone.
        self.store.apply(cast(Node, None), tuple(entries))


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Seen]:
    seen = Seen(tmp_path / "one")
    yield seen
    seen.engine.close()


def test_a_command_is_visible_before_its_index_is(one: Seen) -> None:
    one.store.bootstrap(Configuration((1,)))
    one.apply(2, Found(CLUSTER, NewMember(uuid(1))))
    one.apply(3, ChangeSchema.of([CreateDatabase("a")]), ChangeSchema.of([CreateDatabase("b")]))
    assert one.before == [(1, set()), (2, set())]
    assert one.after == [(1, set()), (2, {"a", "b"})]
    assert one.store.applied == 4


def test_a_snapshot_is_visible_before_its_index_is(one: Seen, tmp_path: Path) -> None:
    one.store.bootstrap(Configuration((1,)))
    one.apply(2, Found(CLUSTER, NewMember(uuid(1))), ChangeSchema.of([CreateDatabase("a")]))
    other = Seen(tmp_path / "other")
    try:
        snapshot = Snapshot(3, 1, Configuration((1,)), one.store.metadata.snapshot())
        other.store.write(None, (), snapshot, True)
        assert other.after == [(0, {"a"})]
        assert other.store.applied == 3
    finally:
        other.engine.close()
