"""Exactly once: which parts of which clients' batches are in the log, by (client, batch, hash interval) (2.6).

The record of a write is its op, so it is replicated, reverted and snapshotted with the rows. ``Producers`` is the table
of what is applied, ``Tail`` the index of what is in the log after that. With the interval in the key a batch that was
cut under one map and retried under another is written where it is not yet, and only there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tsdb.cluster.replication.ops import WRITES, Covered, Interval, Op, OpKind


def without(interval: Interval, covered: Iterable[Interval]) -> list[Interval]:
    """What of an interval is not covered, in order."""
    left: list[Interval] = []
    low, high = interval
    for start, end in sorted(covered):
        if end <= low or start >= high:
            continue
        if start > low:
            left.append((low, start))
        low = max(low, end)
    if low < high:
        left.append((low, high))
    return left


def joined(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """The same points of the ring in as few intervals as there can be, in order."""
    result: list[Interval] = []
    for low, high in sorted(intervals):
        if result and low <= result[-1][1]:
            result[-1] = result[-1][0], max(high, result[-1][1])
        else:
            result.append((low, high))
    return tuple(result)


class _Client:
    __slots__ = ("acknowledged", "batches", "digests")

    def __init__(self) -> None:
        self.acknowledged = 0
        self.batches: dict[int, tuple[Interval, ...]] = {}
        self.digests: dict[int, int] = {}

    def acknowledge(self, through: int) -> None:
        if through <= self.acknowledged:
            return
        if through - self.acknowledged <= len(self.batches):
            gone: Iterable[int] = range(self.acknowledged + 1, through + 1)
        else:
            gone = [batch for batch in self.batches if batch <= through]
        for batch in gone:
            self.batches.pop(batch, None)
            self.digests.pop(batch, None)
        self.acknowledged = through

    def add(self, batch: int, intervals: Iterable[Interval], digest: int) -> None:
        if batch > self.acknowledged:
            self.batches[batch] = joined((*self.batches.get(batch, ()), *intervals))
            if digest:
                self.digests[batch] = digest


class Producers:
    """The table: a function of the applied ops, so equal on all replicas at a sequence."""

    def __init__(self, clients: Iterable[Covered] = (), forgotten_at: int = 0) -> None:
        self._clients: dict[int, _Client] = {}
        self.forgotten_at = forgotten_at
        """The highest metadata index that ended a session whose batches were forgotten: who knows less of the sessions
        than this cannot tell a new client from one that was forgotten."""
        for covered in clients:
            client = self._clients[covered.client] = _Client()
            client.acknowledged = covered.acknowledged
            client.batches = dict(covered.batches)
            client.digests = dict(covered.digests)

    def __contains__(self, client: int) -> bool:
        return client in self._clients

    def __iter__(self) -> Iterator[int]:
        return iter(self._clients)

    def apply(self, op: Op) -> None:
        if op.kind is OpKind.FORGET_CLIENT:
            self._clients.pop(op.client, None)
            self.forgotten_at = max(self.forgotten_at, op.metadata_index)
        elif op.client and op.kind in WRITES:
            client = self._clients.setdefault(op.client, _Client())
            client.acknowledge(op.acknowledged)
            client.add(op.batch, ((op.low, op.high),), op.digest)

    def acknowledged(self, client: int) -> int:
        """The batch up to which this client wants no answer any more."""
        known = self._clients.get(client)
        return known.acknowledged if known else 0

    def covered(self, client: int, batch: int) -> tuple[Interval, ...]:
        known = self._clients.get(client)
        return known.batches.get(batch, ()) if known else ()

    def digest(self, client: int, batch: int) -> int:
        """Of what was sent as that batch; 0: not known."""
        known = self._clients.get(client)
        return known.digests.get(batch, 0) if known else 0

    def frozen(self) -> tuple[Covered, ...]:
        """The table as a value, in an order that does not depend on the past."""
        return tuple(
            Covered(
                number,
                client.acknowledged,
                tuple(sorted(client.batches.items())),
                tuple(sorted(client.digests.items())),
            )
            for number, client in sorted(self._clients.items())
        )


def clipped(clients: Iterable[Covered], low: int, high: int) -> tuple[Covered, ...]:
    """The table of one half of a split."""

    def part(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
        cut = ((max(start, low), min(end, high)) for start, end in intervals)
        return tuple((start, end) for start, end in cut if start < end)

    halves = []
    for each in clients:
        batches = tuple((batch, left) for batch, parts in each.batches if (left := part(parts)))
        known = {batch for batch, _ in batches}
        digests = tuple((batch, digest) for batch, digest in each.digests if batch in known)
        halves.append(Covered(each.client, each.acknowledged, batches, digests))
    return tuple(halves)


def merged(one: Iterable[Covered], two: Iterable[Covered]) -> tuple[Covered, ...]:
    """The table of two locations that become one.

    What one of them has forgotten as acknowledged is covered in it, whatever the other says: a client acknowledges a
    batch for all locations at once.
    """
    table = Producers(one)
    for covered in two:
        client = table._clients.setdefault(covered.client, _Client())
        client.acknowledge(covered.acknowledged)
        digests = dict(covered.digests)
        for batch, intervals in covered.batches:
            client.add(batch, intervals, digests.get(batch, 0))
    return table.frozen()


class Tail:
    """The writes of the log that are not applied yet: what a retry must find as well (2.5)."""

    def __init__(self) -> None:
        self._parts: dict[tuple[int, int], list[tuple[int, Interval]]] = {}
        self._digests: dict[tuple[int, int], int] = {}
        self.forgetting: dict[int, int] = {}
        """Clients that are forgotten when an op of the tail is applied, and the metadata index that says so."""

    def add(self, op: Op) -> None:
        if op.kind is OpKind.FORGET_CLIENT:
            self.forgetting[op.client] = op.metadata_index
        if op.client and op.kind in WRITES:
            self._parts.setdefault((op.client, op.batch), []).append((op.sequence, (op.low, op.high)))
            self._digests[op.client, op.batch] = op.digest

    def remove(self, op: Op) -> None:
        """It is applied, or truncated."""
        key = op.client, op.batch
        if op.kind is OpKind.FORGET_CLIENT:
            self.forgetting.pop(op.client, None)
        if op.client and op.kind in WRITES:
            left = [part for part in self._parts[key] if part[0] != op.sequence]
            if left:
                self._parts[key] = left
            else:
                del self._parts[key], self._digests[key]

    def covered(self, client: int, batch: int) -> list[tuple[int, Interval]]:
        """(op sequence, interval) of the parts of a batch."""
        return self._parts.get((client, batch), [])

    def digest(self, client: int, batch: int) -> int:
        """Of what was sent as that batch; 0: not known."""
        return self._digests.get((client, batch), 0)

    def knows(self, client: int) -> bool:
        return any(known == client for known, _ in self._parts)
