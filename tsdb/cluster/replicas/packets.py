"""Messages of replicas as bytes between two nodes. Pure; docs/format/transport.md.

A packet is a byte that says whose it is (``CHANNEL``; the log stream has other users), and a msgpack array of messages.
What comes in is not believed: senders are replicas of the node that sent it, ops follow each other and continue the
chain of hashes; the core asserts such things of itself, and a peer must not be able to stop it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import get_args

import msgspec

from tsdb.cluster.replicas.records import node_of
from tsdb.cluster.replication.messages import Fetched, Message, Mismatch, Promise, Repl
from tsdb.cluster.replication.ops import Op, chained
from tsdb.cluster.replication.vector import Ends
from tsdb.errors import ProtocolViolation

CHANNEL = 2
"""The first byte: no msgpack array and no other channel begins with it."""
PACKET_BYTES = 4 << 20
"""A packet is closed when it is about so long; one message is never cut."""
NUMBER_MAX = (1 << 62) - 1

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[list[Message]] = msgspec.msgpack.Decoder(list[Message])


def _numbers_of(kind: type[msgspec.Struct]) -> Callable[[Message], tuple[int, ...]]:
    """All numbers in a kind of message; times may be negative."""
    return attrgetter(
        *(each.name for each in msgspec.structs.fields(kind) if each.type is int and each.name != "lead_ns")
    )


_NUMBERS = {kind: _numbers_of(kind) for kind in get_args(Message)}


def packets(messages: Iterable[Message]) -> Mapping[int, Sequence[bytes]]:
    """By node, in order."""
    by_node: dict[int, list[Message]] = {}
    for message in messages:
        by_node.setdefault(node_of(message.to), []).append(message)
    return {node: [*_packed(those)] for node, those in by_node.items()}


def _packed(messages: Sequence[Message]) -> Iterator[bytes]:
    group: list[Message] = []
    size = 0
    for message in messages:
        group.append(message)
        if isinstance(message, (Repl, Fetched)):
            size += sum(op.size for op in message.ops)
        if size >= PACKET_BYTES:
            yield _encoded(group)
            group, size = [], 0
    if group:
        yield _encoded(group)


def _encoded(messages: Sequence[Message]) -> bytes:
    return bytes((CHANNEL,)) + _ENCODER.encode(messages)


def unpack(payload: bytes | memoryview, sender: int, me: int) -> list[Message]:
    """What node ``sender`` says to node ``me``. Raises ProtocolViolation."""
    try:
        messages = _DECODER.decode(payload[1:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation(f"messages of replicas of node {sender} cannot be read: {error}") from None
    for message in messages:
        _check(message, sender, me)
    return messages


def _check(message: Message, sender: int, me: int) -> None:
    name = type(message).__name__
    if node_of(message.sender) != sender or node_of(message.to) != me:
        raise ProtocolViolation(
            f"node {sender} sent {name} of replica {message.sender} for replica {message.to} to node {me}"
        )
    numbers = _NUMBERS[type(message)](message)
    if min(numbers) < 0 or max(numbers) > NUMBER_MAX:
        raise ProtocolViolation(f"a number in {name} of node {sender} is out of range")
    if isinstance(message, (Promise, Mismatch, Fetched)):
        _check_vector(message.vector, name, sender)
    if isinstance(message, (Repl, Fetched)):
        _check_ops(message.ops, message.previous, message.previous_epoch, message.epoch, f"{name} of node {sender}")


def _check_vector(vector: Ends, name: str, sender: int) -> None:
    before = (0, 0)
    for end in vector:
        if not (before[0] < end[0] <= NUMBER_MAX and before[1] < end[1] <= NUMBER_MAX):
            raise ProtocolViolation(f"{name} of node {sender} has an epoch vector that cannot be")
        before = end


def _chained(op: Op, chain: bytes) -> bytes | None:
    """None: it has numbers that no op has."""
    try:
        return chained(op, chain)
    except struct.error:
        return None


def _check_ops(ops: Sequence[Op], previous: int, previous_epoch: int, epoch: int, what: str) -> None:
    chain = None
    for op in ops:
        follows = op.sequence == previous + 1 and previous_epoch <= op.epoch <= epoch
        if not follows or (chain is not None and op.chain != _chained(op, chain)):
            raise ProtocolViolation(f"{what}: op {op.sequence} of epoch {op.epoch} does not follow op {previous}")
        previous, previous_epoch, chain = op.sequence, op.epoch, op.chain
