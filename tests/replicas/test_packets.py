"""Packets: messages come back by node and in order; what a peer may not say is a violation and never a crash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.replicas.test_disk import log_of
from tsdb.cluster.metadata.records import REPLICA_BITS
from tsdb.cluster.replicas.packets import CHANNEL, PACKET_BYTES, packets, unpack
from tsdb.cluster.replication.messages import Ack, Fence, Fetched, Message, Promise, Repl
from tsdb.errors import ProtocolViolation

ONE, TWO, THREE = 1 << REPLICA_BITS | 7, 2 << REPLICA_BITS | 8, 3 << REPLICA_BITS | 9
OPS = tuple(log_of(3))


def repl(to: int = TWO, **other: object) -> Repl:
    message = Repl(ONE, to, 5, 1, 0, 0, OPS, 2, -(1 << 60))
    return replace(message, **other)


def test_messages_come_to_their_nodes_in_order() -> None:
    sent: list[Message] = [repl(), Ack(ONE, THREE, 5, 1, 3), Fence(ONE, TWO, 6, 2), repl(THREE)]
    found = packets(sent)
    assert unpack(found[2][0], 1, 2) == [sent[0], sent[2]]
    assert unpack(memoryview(found[3][0]), 1, 3) == [sent[1], sent[3]]


def test_long_ones_are_several_packets() -> None:
    (long,) = log_of(1)
    long = replace(long, body=bytes(PACKET_BYTES))
    found = packets([repl(ops=(long,)), repl(ops=(long,)), Ack(ONE, TWO, 5, 1, 3)])[2]
    assert [len(unpack(each, 1, 2)) for each in found] == [1, 1, 1]


@pytest.mark.parametrize(
    "message",
    [
        repl(sender=THREE),
        repl(to=THREE),
        repl(epoch=-1),
        repl(location=1 << 63),
        repl(ops=OPS[::-1]),
        repl(ops=(OPS[0], replace(OPS[1], chain=bytes(16)))),
        repl(ops=(OPS[0], replace(OPS[1], rows=-1))),
        repl(ops=(OPS[0], replace(OPS[1], client=-1))),
        repl(previous=4),
        repl(epoch=0),
        Promise(ONE, TWO, 5, 3, ((2, 5), (1, 6)), 0, 0),
        Promise(ONE, TWO, 5, 3, ((1, 5), (2, 5)), 0, 0),
        Fetched(ONE, TWO, 5, 3, 0, 9, OPS, ()),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_a_peer_may_not_say_is_a_violation(message: Message) -> None:
    ((packet,),) = packets([message]).values()
    with pytest.raises(ProtocolViolation):
        unpack(packet, 1, 2)


@given(st.binary(max_size=60))
def test_garbage_is_a_violation(garbage: bytes) -> None:
    try:
        messages = unpack(bytes((CHANNEL,)) + garbage, 1, 2)
    except ProtocolViolation:
        return
    assert messages == []
