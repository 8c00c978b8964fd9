"""Bugs put into the metadata's state machine and its storage on purpose, for the simulation to find.

Each is a way in which nodes part, or in which a client is told what is not so. What is wrong on all nodes alike is
found by the properties of ``tests.metadata`` instead (``tests/metadata/test_mutants.py``).
"""

from __future__ import annotations

import random
from typing import Any

from msgspec.structs import replace

from tests.sim.mutants import Mutant, Patch
from tsdb.cluster.metadata import clients, durable, machine
from tsdb.cluster.metadata.records import ClientSession, Group
from tsdb.storage import keys


def a_retry_counts_again(patch: Patch) -> None:
    patch(clients, "given", lambda draft, command: clients.session_of(draft, command.client) and None)


def answers_are_kept_in_memory_only(patch: Patch) -> None:
    """Each process has its own: who comes again after a restart is not known."""
    encode = machine._encode

    def forgets(record: Any) -> bytes:
        return encode(replace(record, answers=()) if isinstance(record, ClientSession) else record)

    patch(machine, "_encode", forgets)


def sessions_end_by_each_nodes_own_time(patch: Patch) -> None:
    chance = random.Random(1)
    expire = clients.expire
    patch(clients, "expire", lambda draft, now: expire(draft, now + chance.choice((0, 4 * 10**9))))


def a_snapshot_without_sessions(patch: Patch) -> None:
    records = machine.records_of

    def some(state: Any) -> Any:
        return ((key, value) for key, value in records(state) if not key.startswith(b"client"))

    patch(machine, "records_of", some)


def a_snapshot_leaves_what_was_there(patch: Patch) -> None:
    """On the disk: it shows at the next start."""
    install = durable.StoredMetadata.stage_install

    def leaves(self: Any, batch: Any, index: int, body: bytes) -> None:
        delete, batch.delete_range = batch.delete_range, lambda *_: None
        install(self, batch, index, body)
        batch.delete_range = delete

    patch(durable.StoredMetadata, "stage_install", leaves)


def the_applied_index_is_not_written(patch: Patch) -> None:
    stage = durable.StoredMetadata.stage
    group = keys.state_key("group", 0)

    def partly(self: Any, batch: Any, index: int, command: bytes) -> None:
        put = batch.put
        batch.put = lambda family, key, value: None if key == group else put(family, key, value)
        stage(self, batch, index, command)
        batch.put = put

    patch(durable.StoredMetadata, "stage", partly)


def a_record_that_went_stays_on_disk(patch: Patch) -> None:
    stage = durable.StoredMetadata.stage

    def keeps(self: Any, batch: Any, index: int, command: bytes) -> None:
        delete, batch.delete = batch.delete, lambda *_: None
        stage(self, batch, index, command)
        batch.delete = delete

    patch(durable.StoredMetadata, "stage", keeps)


def what_cannot_be_applied_is_skipped_by_one(patch: Patch) -> None:
    """A node of another version that goes on without what it does not know."""
    chance = random.Random(2)
    apply = machine.Machine.apply

    def skips(self: Any, index: int, body: bytes) -> Any:
        return None if chance.random() < 0.05 else apply(self, index, body)

    patch(machine.Machine, "apply", skips)


def the_groups_time_is_each_nodes_own(patch: Patch) -> None:
    apply = machine.Machine.apply

    def own(self: Any, index: int, body: bytes) -> Any:
        outcome = apply(self, index, body)
        group = self.state.get(Group, 0)
        self.state.tables[Group][0] = replace(group, time_ns=group.time_ns + id(self) % 7 * 10**9)
        return outcome

    patch(machine.Machine, "apply", own)


MUTANTS: tuple[Mutant, ...] = tuple(
    value
    for name, value in sorted(globals().items())
    if callable(value) and getattr(value, "__module__", "") == __name__ and not name.startswith("_")
)
