"""A replica's op log: what of it is where, and how far it is durable, committed and applied.

``storage`` has what is on disk. In memory are the ops after the lower of ``stable`` and ``applied``: those that disk or
points still wait for. A batch is taken, written, and said to be done; what is truncated meanwhile counts as unwritten.
"""

from __future__ import annotations

from typing import Protocol

from tsdb.cluster.replication.messages import Snapshot
from tsdb.cluster.replication.ops import WRITES, Kept, LocationState, Op, OpKind, chained, sealed_by
from tsdb.cluster.replication.producers import Producers, Tail
from tsdb.cluster.replication.vector import Vector


class OpStorage(Protocol):
    """A replica's part of the disk, as it was when it was asked: also what is written and not synced."""

    def kept(self) -> Kept: ...

    def ops(self, first: int, bytes_max: int | None = None) -> list[Op]:
        """Ops from ``first`` on that are there, in order: the first whatever its size, more up to a size in bytes."""
        ...


class Log:
    """Sequences: base <= applied <= commit, stable <= taken <= last; all rise but the last three, by truncation."""

    def __init__(self, storage: OpStorage, kept: Kept) -> None:
        state = kept.state
        self._storage = storage
        self.base = kept.base
        self.vector = Vector(state.vector)
        self.commit = self.applied = state.sequence
        self.counter = state.counter
        self.seal = state.seal
        self.producers = Producers(state.clients, state.forgotten_at)
        self.tail = Tail()
        self._applied_chain = state.chain
        self._ops: list[Op] = []
        self._first = state.sequence + 1
        self._bytes = 0
        for op in storage.ops(self._first):
            self._push(op)
        self.taken = self.stable = self.last
        self._writing = 0
        self._cut: int | None = None
        self._reverted: list[Op] = []
        self._snapshot: Snapshot | None = None
        self._installed: Snapshot | None = None
        self._writing_snapshot = False
        self._base_taken = self.base

    # What it is

    @property
    def last(self) -> int:
        return self.vector.last

    @property
    def chain(self) -> bytes:
        return self._chain_at(self.last)

    @property
    def uncommitted_bytes(self) -> int:
        """At least those: what is in memory."""
        return self._bytes

    def has(self, epoch: int, sequence: int) -> bool:
        """Whether the op of that name is in the log, or was before its ops were forgotten."""
        return 0 < sequence <= self.last and self.vector.epoch_at(sequence) == epoch

    def epoch_at(self, sequence: int) -> int:
        return self.vector.epoch_at(sequence)

    def ops(self, first: int, bytes_max: int, through: int) -> tuple[Op, ...]:
        """Ops from ``first`` through ``through`` at most: at least one, if there is one, more up to a size."""
        assert first > self.base, f"op {first} is forgotten, up to {self.base}"
        if first < self._first:
            there = self._storage.ops(first, bytes_max)
            return tuple(op for op in there if op.sequence < self._first and op.sequence <= through)
        found: list[Op] = []
        size = 0
        for op in self._ops[first - self._first : max(through - self._first + 1, 0)]:
            size += op.size
            if found and size > bytes_max:
                break
            found.append(op)
        return tuple(found)

    def _chain_at(self, sequence: int) -> bytes:
        """Of an op that is not applied, or the last that is."""
        if sequence == self.applied:
            return self._applied_chain
        return self._ops[sequence - self._first].chain

    def _op(self, sequence: int) -> Op | None:
        at = sequence - self._first
        return self._ops[at] if 0 <= at < len(self._ops) else None

    # How it changes

    def append(self, op: Op) -> Op:
        """A leader's new op, chained to the log's end."""
        values = {name: getattr(op, name) for name in op.__struct_fields__}
        values["chain"] = chained(op, self.chain)
        stamped = Op(**values)
        self._push(stamped)
        return stamped

    def take_over(self, ops: tuple[Op, ...]) -> None:
        """Another's ops, which follow one that both logs have: what is there already is skipped, and what is another
        op goes, with all after it (2.4)."""
        for op in ops:
            if op.sequence <= self.last:
                if self.vector.epoch_at(op.sequence) == op.epoch:
                    mine = self._op(op.sequence)
                    assert mine is None or mine.chain == op.chain, f"two ops are called {op.epoch}, {op.sequence} (I5)"
                    continue
                self.truncate(op.sequence - 1)
            assert op.chain == chained(op, self.chain), f"op {op.sequence} does not continue this log (I5)"
            self._push(op)

    def _push(self, op: Op) -> None:
        self.vector.extend(op.epoch, op.sequence)
        self._ops.append(op)
        self._bytes += op.size
        self.tail.add(op)
        self.counter = max(self.counter, op.first_counter + op.rows - 1)
        if sealed_by(op):
            self.seal = op.sequence

    def truncate(self, sequence: int) -> None:
        """All after ``sequence`` goes: nothing of it can be committed (2.13)."""
        assert sequence >= self.commit, f"committed ops after {sequence} would be truncated, up to {self.commit} (I7)"
        gone = self._ops[sequence - self._first + 1 :]
        del self._ops[sequence - self._first + 1 :]
        for op in gone:
            self.tail.remove(op)
            self._bytes -= op.size
        self._reverted += [op for op in gone if op.kind in WRITES and op.sequence <= self.taken]
        self.vector.cut(sequence)
        if self.seal > sequence:
            self.seal = 0
        if sequence < self.taken:
            self._cut = sequence if self._cut is None else min(self._cut, sequence)
        self.taken = min(self.taken, sequence)
        self.stable = min(self.stable, sequence)
        self._writing = min(self._writing, sequence)

    def commit_to(self, sequence: int) -> None:
        assert sequence <= self.last, f"op {sequence} is committed, and the log ends at {self.last} (I8)"
        self.commit = max(self.commit, sequence)

    def take_committed(self) -> tuple[Op, ...]:
        """Ops to be applied now, up to a marker; the producer table has them from here on."""
        if self.applied == self.commit:
            return ()
        start = self.applied + 1 - self._first
        ops = tuple(self._ops[start : start + self.commit - self.applied])
        marker = next((at for at, op in enumerate(ops, 1) if op.kind is OpKind.MARKER), len(ops))
        ops = ops[:marker]
        for op in ops:
            self.producers.apply(op)
            self.tail.remove(op)
        self._applied_chain = ops[-1].chain
        self.applied = ops[-1].sequence
        self._forget_in_memory()
        return ops

    def _forget_in_memory(self) -> None:
        count = min(self.stable, self.applied) + 1 - self._first
        if count > 0:
            self._bytes -= sum(op.size for op in self._ops[:count])
            del self._ops[:count]
            self._first += count

    @property
    def has_installed(self) -> bool:
        return self._installed is not None

    @property
    def is_installing(self) -> bool:
        """Whether a snapshot is in the place of the log, and not on disk yet."""
        return self._snapshot is not None or self._writing_snapshot

    def take_installed(self) -> Snapshot | None:
        installed, self._installed = self._installed, None
        return installed

    def install(self, snapshot: Snapshot) -> None:
        """A snapshot takes the place of the log up to its sequence. What comes after is kept if it continues it, which
        it does where the op at that sequence is the snapshot's own (2.2, message 11)."""
        state = snapshot.state
        assert state.sequence > self.commit, "only what is newer is installed (I12)"
        epoch = state.vector[-1][0]
        suffix: list[Op] = []
        if self.has(epoch, state.sequence):
            suffix = self._ops[max(state.sequence + 1 - self._first, 0) :]
            self.taken = max(self.taken, state.sequence)
        else:
            self.truncate(self.commit)
            self.taken = state.sequence
        self._snapshot = self._installed = snapshot
        self.vector = Vector(state.vector)
        self.base = self.commit = self.applied = state.sequence
        self.producers, self.tail = Producers(state.clients, state.forgotten_at), Tail()
        self.counter = max(self.counter, state.counter)
        self.seal = state.seal
        self._applied_chain = state.chain
        self._ops, self._first, self._bytes = [], state.sequence + 1, 0
        for op in suffix:
            self._push(op)

    def forget(self, sequence: int) -> None:
        """Ops up to ``sequence`` are not needed any more: they are in durable points."""
        assert sequence <= min(self.applied, self.stable), "only what is applied and durable is forgotten (I12)"
        self.base = max(self.base, sequence)

    def state(self) -> LocationState:
        """What the location is at ``applied``."""
        return LocationState(
            self.applied,
            self.vector.through(self.applied),
            self._applied_chain,
            self.counter,
            self.producers.frozen(),
            self.producers.forgotten_at,
            self.seal if self.seal <= self.applied else 0,
        )

    # What of it is to be written

    @property
    def has_unwritten(self) -> bool:
        return bool(self.taken < self.last or self._cut is not None or self._snapshot or self.base != self._base_taken)

    def take(self) -> tuple[Snapshot | None, int | None, int | None, tuple[Op, ...], tuple[Op, ...]]:
        """(snapshot, base, truncate after, reverted, ops) since the last time."""
        ops = tuple(self._ops[max(self.taken + 1 - self._first, 0) :])
        snapshot, self._snapshot = self._snapshot, None
        self._writing_snapshot = snapshot is not None
        cut, self._cut = self._cut, None
        reverted, self._reverted = tuple(self._reverted), []
        base = self.base if self.base != self._base_taken else None
        self._base_taken = self.base
        self.taken = self._writing = self.last
        return snapshot, base, cut, reverted, ops

    def written(self) -> None:
        """What was taken last is on disk, unless it was truncated meanwhile."""
        self.stable = max(self.stable, self._writing)
        self._writing, self._writing_snapshot = 0, False
        self._forget_in_memory()
