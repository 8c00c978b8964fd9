"""The command log in etcd: numbered keys that are appended to, folded in order, and cut behind a snapshot.

*Appending* is one transaction that compares the head and moves it, so that numbers have no hole and two nodes never
have the same one; sent twice, it does nothing the second time. Whether it was this one that got the number is seen by
the entry's id. The compared head is also what fences: an entry that rests on anything older is not appended.

*Cutting* takes away commands that a snapshot covers, but for those since the snapshot before it, so that who is only a
little behind can go on with commands. Parts that nobody refers to, of an attempt that was given up, go with them.

What is read here is the newest there is (linearizable), or exactly what was at a revision. Not here: what commands
mean, who appends when.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from tsdb.cluster.etcd import layout
from tsdb.cluster.etcd.gateway import TRANSACTION, Gateway, Unreachable
from tsdb.cluster.etcd.layout import Coordinator, Entry, Keys, Saved
from tsdb.cluster.etcd.messages import (
    Compare,
    DeleteRange,
    Done,
    KeyValue,
    Put,
    Range,
    Ranged,
    Transacted,
    Transaction,
    Watched,
    WatchFrom,
    absent,
    after,
    created_at,
    has_value,
    operation,
)
from tsdb.errors import DataCorrupted, StatementCompletionUnknown

ENTRIES_A_PAGE = 16
PARTS_A_PAGE = 8


class Cut(Exception):
    """The next command is not kept any more: the state has to be taken from the snapshot."""


@dataclass(frozen=True, slots=True)
class Office:
    """Who decides, and since which revision: that is compared by what only he may do."""

    coordinator: Coordinator
    revision: int
    lease: int


@dataclass(frozen=True, slots=True)
class Present:
    """What there was at a revision. ``log_id`` is empty where there is no log yet."""

    revision: int
    log_id: bytes
    head: int
    snapshot: Saved | None
    office: Office | None


class CommandLog:
    """The log of one cluster."""

    def __init__(self, gateway: Gateway, prefix: str) -> None:
        self._gateway = gateway
        self.keys = Keys(prefix)

    # What there is

    def look(self, within_s: float | None = None) -> Present:
        """As it is now. Raises what the gateway raises, DataCorrupted."""
        return self._present(self._gateway.call("kv/range", self._now(), Ranged, within_s))

    def _now(self) -> Range:
        return Range(self.keys.now, after(self.keys.now))

    def _present(self, found: Ranged) -> Present:
        there = {each.key: each for each in found.kvs}
        snapshot, coordinator = there.get(self.keys.snapshot), there.get(self.keys.coordinator)
        log_id, head = there.get(self.keys.log_id), there.get(self.keys.head)
        if (log_id is None) != (head is None):
            raise DataCorrupted("etcd has a command log without its head, or a head without a log")
        return Present(
            found.header.revision,
            log_id.value if log_id else b"",
            layout.number_of(head.value, "the head of the log") if head else 0,
            layout.unpack(snapshot.value, Saved) if snapshot else None,
            _office(coordinator) if coordinator else None,
        )

    def begin(self) -> Present:
        """Make an empty log if there is none."""
        puts = Put(self.keys.log_id, secrets.token_bytes(layout.ID_BYTES)), Put(self.keys.head, layout.number_text(0))
        request = Transaction((absent(self.keys.log_id),), tuple(map(operation, puts)))
        self._gateway.call(TRANSACTION, request, Transacted)
        return self.look()

    def after(self, number: int, head: int) -> Iterator[tuple[Entry, bytes]]:
        """Commands above ``number`` up to ``head``, in order, with their bodies. Raises Cut, DataCorrupted."""
        expected = number + 1
        while expected <= head:
            request = Range(self.keys.entry(expected), self.keys.entry(head + 1), ENTRIES_A_PAGE)
            found = self._gateway.call("kv/range", request, Ranged)
            if not found.kvs:
                raise Cut
            for each in found.kvs:
                entry = layout.unpack(each.value, Entry)
                if each.key != self.keys.entry(expected):
                    raise Cut
                if entry.number != expected:
                    raise DataCorrupted(f"command {entry.number} is kept as number {expected} in etcd")
                yield entry, self._body(entry)
                expected += 1

    def _body(self, entry: Entry) -> bytes:
        if not entry.parts:
            return entry.body
        prefix = self.keys.parts_of(entry.number, entry.id)
        values = self._parts(prefix, 0, entry.parts)
        if len(values) < entry.parts:
            raise Cut
        return layout.joined(values[: entry.parts], entry.body, f"command {entry.number}")

    def _parts(self, prefix: bytes, revision: int, count: int) -> list[bytes]:
        """No more than a page beyond ``count``, whatever lies there."""
        values: list[bytes] = []
        start, end = prefix, after(prefix)
        while True:
            request = Range(start, end, PARTS_A_PAGE, revision)
            found = self._gateway.call("kv/range", request, Ranged)
            values += (each.value for each in found.kvs)
            if not found.more or not found.kvs or len(values) > count:
                return values
            start = found.kvs[-1].key + b"\0"

    def state(self, present: Present) -> tuple[Saved, bytes]:
        """The snapshot that there was then. Raises Compacted if it went meanwhile, DataCorrupted."""
        saved = present.snapshot
        if saved is None:
            raise DataCorrupted("the command log in etcd was cut, and there is no snapshot")
        # At one revision: whatever is written or taken away meanwhile.
        values = self._parts(self.keys.state(saved.id), present.revision, saved.parts)
        if len(values) != saved.parts:
            raise DataCorrupted(f"{len(values)} of the {saved.parts} parts of the snapshot are in etcd")
        return saved, layout.joined(values, saved.hash, f"the snapshot at command {saved.number}")

    # Changes of it

    def append(self, before: int, digest: bytes, node: int, body: bytes, office: Office | None) -> Entry | None:
        """Make ``body`` command ``before + 1``; None if another one is, or if ``office`` is over.

        Raises StatementCompletionUnknown when it may have been appended, or may be yet.
        """
        number, id = before + 1, secrets.token_bytes(layout.ID_BYTES)
        if len(body) <= layout.INLINE_BYTES_MAX:
            entry = Entry(number, id, digest, node, body)
        else:
            parts = layout.cut_up(body)
            self._put_parts(self.keys.parts_of(number, id), parts)
            entry = Entry(number, id, digest, node, layout.hash_of(body), len(parts))
        if self._appended(entry, office):
            return entry
        if entry.parts:
            prefix = self.keys.parts_of(number, id)
            self._gateway.call("kv/deleterange", DeleteRange(prefix, after(prefix)), Done)
        return None

    def _appended(self, entry: Entry, office: Office | None) -> bool:
        key, value = self.keys.entry(entry.number), layout.pack(entry)
        compare = has_value(self.keys.head, layout.number_text(entry.number - 1)), *self._held(office)
        puts = Put(key, value), Put(self.keys.head, layout.number_text(entry.number))
        reads = Range(key), Range(self.keys.head)
        request = Transaction(compare, tuple(map(operation, puts)), tuple(map(operation, reads)))
        try:
            reply = self._gateway.call(TRANSACTION, request, Transacted)
        except Unreachable as error:
            raise StatementCompletionUnknown(
                f"whether a change of the metadata was appended is not known: {error.message}",
                hint="Look whether it was done, once a majority of etcd's members can be reached.",
            ) from error
        if reply.succeeded:
            return True
        # A lost answer was asked for again: then the head has moved, and the entry is this one.
        there, (head,) = reply.ranged(0).kvs, reply.ranged(1).kvs
        if not there and layout.number_of(head.value, "the head of the log") >= entry.number:
            raise StatementCompletionUnknown(
                f"command {entry.number} in etcd is cut off already: nobody can tell whether it was this one"
            )
        return any(each.value == value for each in there)

    def _put_parts(self, prefix: bytes, values: list[bytes]) -> None:
        for at, value in enumerate(values):
            self._gateway.call("kv/put", Put(layout.part(prefix, at), value), Done)

    def _held(self, office: Office | None) -> tuple[Compare, ...]:
        return () if office is None else (created_at(self.keys.coordinator, office.revision),)

    def save(self, number: int, digest: bytes, body: bytes, office: Office) -> bool:
        """Put a snapshot in place of the last one, and cut the log behind that one; False if ``office`` is over."""
        last = self.look().snapshot
        if last is not None and last.number >= number:
            return False
        id, parts = secrets.token_bytes(layout.ID_BYTES), layout.cut_up(body)
        own = self.keys.state(id)
        self._put_parts(own, parts)
        cut = last.number if last is not None else 0
        saved = Saved(number, id, digest, len(parts), layout.hash_of(body), cut)
        operations: tuple[Put | DeleteRange, ...] = (
            Put(self.keys.snapshot, layout.pack(saved)),
            DeleteRange(self.keys.entries, self.keys.entry(cut + 1)),
            DeleteRange(self.keys.parts, self.keys.parts_from(cut + 1)),
            # Also what others began to write and did not finish.
            DeleteRange(self.keys.states, own),
            DeleteRange(after(own), after(self.keys.states)),
        )
        request = Transaction(self._held(office), tuple(map(operation, operations)))
        if self._gateway.call(TRANSACTION, request, Transacted).succeeded:
            return True
        # It may have been done by a request whose answer was lost, before the office was over.
        now = self.look().snapshot
        if now is not None and now.id == id:
            return True
        self._gateway.call("kv/deleterange", DeleteRange(own, after(own)), Done)
        return False

    def take_office(self, coordinator: Coordinator, lease: int) -> Office | None:
        """Who decides, after an attempt to be it; it is as long as the lease lasts. None: nobody, just now."""
        key = self.keys.coordinator
        put = Put(key, layout.pack(coordinator), lease)
        request = Transaction((absent(key),), (operation(put),), (operation(Range(key)),))
        reply = self._gateway.call(TRANSACTION, request, Transacted)
        if reply.succeeded:
            return Office(coordinator, reply.header.revision, lease)
        return next((_office(each) for each in reply.ranged(0).kvs), None)

    def announce(self, node: int, lease: int) -> None:
        """A node runs, as long as its lease lasts."""
        number = layout.number_text(node)
        self._gateway.call("kv/put", Put(self.keys.running + number, number, lease), Done)

    def running(self) -> set[int]:
        """The nodes that run: their leases last."""
        request = Range(self.keys.running, after(self.keys.running))
        found = self._gateway.call("kv/range", request, Ranged).kvs
        return {layout.number_of(each.value, "a node that runs") for each in found}

    def watch(self, revision: int) -> Iterator[Watched]:
        """Changes of what there is from a revision on; the first reply has none. Raises Compacted."""
        return self._gateway.watch(WatchFrom(self.keys.now, after(self.keys.now), revision))


def _office(found: KeyValue) -> Office:
    return Office(layout.unpack(found.value, Coordinator), found.create_revision, found.lease)
