"""Ops as they come from a log or from another node: back to rows and tombstones, with this node's ids of tag sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tsdb.errors import DataCorrupted
from tsdb.storage.apply import rows_of
from tsdb.storage.change_body import decode_change
from tsdb.storage.op import OpKind, decode_delete, decode_write
from tsdb.storage.rows import COUNTER_MASK, Rows
from tsdb.storage.shard import Shard
from tsdb.storage.tombstone import AnyTombstone


@dataclass(frozen=True, slots=True)
class Logged:
    """A WRITE, DELETE or CHANGE as it was logged: its ``body``, the point sequence ``first`` of row 0, and how many.
    ``location``: of a committed one that is to be applied."""

    name: str
    kind: OpKind
    first: int
    rows: int
    body: bytes | memoryview
    location: int = 0


@dataclass(slots=True)
class Decoded:
    """What some ops do to the head. Series that are not there any more were dropped after the op."""

    rows: dict[int, list[Rows]] = field(default_factory=dict)
    tombstones: list[AnyTombstone] = field(default_factory=list)
    count: int = 0

    def add(self, shard: Shard, op: Logged) -> None:
        """The op's rows or tombstones; the node's counter goes above theirs. Raises DataCorrupted."""
        if op.kind is OpKind.CHANGE:
            self._change(shard, op)
        elif op.kind is OpKind.DELETE:
            self._delete(shard, op)
        else:
            self._write(shard, op)

    def _change(self, shard: Shard, op: Logged) -> None:
        """What comes later in it has later counters: a point that takes a deleted one's place stays."""
        first = op.first
        for kind, counters, body in decode_change(op.body):
            if kind not in (OpKind.WRITE, OpKind.DELETE):
                raise DataCorrupted(f"{op.name} has a part of kind {kind}")
            self.add(shard, Logged(op.name, OpKind(kind), first, counters, body))
            first += counters
        if first - op.first != op.rows:
            raise DataCorrupted(f"{op.name} has not the rows it says")

    def _delete(self, shard: Shard, op: Logged) -> None:
        known = shard.version.catalog.series_by_number
        stones = [replace(stone, counter=op.first) for stone in decode_delete(op.body)]
        self.tombstones += [stone for stone in stones if stone.series in known]
        shard.log.counter = max(shard.log.counter, op.first & COUNTER_MASK)

    def _write(self, shard: Shard, op: Logged) -> None:
        first = op.first
        for write in decode_write(op.body):
            count = len(write.times)
            if write.series in shard.version.catalog.series_by_number:
                sequences = np.arange(first, first + count, dtype=np.int64)
                index = shard.index_of(write.series)
                rows = rows_of(write.times, write.tagsets, write.tagset, write.fields, sequences, index)
                self.rows.setdefault(write.series, []).append(rows)
            first += count
        self.count += first - op.first
        if first - op.first != op.rows:
            raise DataCorrupted(f"{op.name} has not the rows it says")
        shard.log.counter = max(shard.log.counter, (op.first & COUNTER_MASK) + op.rows - 1)


def apply_logged(shard: Shard, ops: Sequence[Logged]) -> None:
    """Make ops visible, all at once. Raises DataCorrupted."""
    decoded = Decoded()
    for op in ops:
        decoded.add(shard, op)
    shard.apply(decoded.rows, decoded.tombstones)
    shard.count(decoded.rows)
    for op in ops:
        if op.kind is not OpKind.DELETE:
            shard.written.count(op.location, op.rows)
