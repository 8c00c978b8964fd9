"""Ops of replication as the disk and other nodes have them: docs/format/op.md, format version 2.

The core counts a location's interval up to the last place that eight bytes can say; the ring's very last place belongs
to no interval, and nothing is ever cut there.
"""

from __future__ import annotations

from tsdb.cluster.replication.ops import WRITES, Op, OpKind
from tsdb.errors import DataCorrupted
from tsdb.model.ring import RING_SIZE
from tsdb.storage.op import OpHeader, Shared, decode_op, encode_op
from tsdb.storage.rows import COUNTER_BITS, COUNTER_MASK

PLACE_MAX = RING_SIZE - 1


def point_sequence(op: Op) -> int:
    """The point sequence of row 0: whose counter it is, and the counter."""
    return op.origin << COUNTER_BITS | op.first_counter


def encode(location: int, op: Op) -> bytes:
    covers = op.low < op.high
    header = OpHeader(
        op.kind, op.epoch, location, op.sequence, op.low if covers else 0, op.high if covers else RING_SIZE,
        point_sequence(op), op.rows, op.wall_ns, "", op.batch, op.chain, op.digest,
        Shared(op.client, op.acknowledged, op.map_version, op.metadata_index),
    )  # fmt: skip
    return encode_op(header, op.body)


def decode(location: int, data: bytes) -> Op:
    """Raises DataCorrupted."""
    header, body = decode_op(data)
    shared = header.shared
    if shared is None or header.location != location:
        raise DataCorrupted(f"op {header.sequence} of location {header.location} is no op of replicas of {location}")
    covers = header.kind in WRITES
    return Op(
        header.sequence, header.epoch, OpKind(header.kind), shared.client, header.batch, shared.acknowledged,
        header.low if covers else 0, header.high if covers else 0, shared.map_version, header.wall_ns,
        header.first_counter & COUNTER_MASK, header.rows, shared.metadata_index, header.first_counter >> COUNTER_BITS,
        bytes(body), header.previous, header.digest,
    )  # fmt: skip
