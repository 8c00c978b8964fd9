"""Raft's messages as bytes, by the protocol version that a connection has negotiated. No pickle: msgspec's types.

What comes in is not believed: numbers are in range, a message is for this node and from that one, and the entries of an
append are the ones that follow. The core asserts such things of itself, and a peer must not be able to stop it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tsdb.cluster.raft.entries import Configuration, Entry, HardState, Snapshot
from tsdb.cluster.raft.messages import Append, InstallSnapshot, Message, Propose, ReadIndex, TransferLeadership
from tsdb.errors import ProtocolViolation

NUMBER_MAX = (1 << 62) - 1
"""Of terms, indexes and nodes: they are stored in eight bytes, and one more is still a number."""

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)

# Their sender is who asked first; followers pass them on.
_PASSED_ON = (Propose, ReadIndex, TransferLeadership)


def encode(message: Message, version: int) -> bytes:
    """The message as protocol ``version`` has it."""
    assert version == 1, f"there is no protocol version {version}"
    return _ENCODER.encode(message)


def decode(payload: memoryview, version: int, sender: int, me: int) -> Message:
    """What ``sender`` says to ``me``. Bodies are copied out of the payload, once. Raises ProtocolViolation."""
    assert version == 1, f"there is no protocol version {version}"
    try:
        message = _DECODER.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation(f"a Raft message of {len(payload)} bytes cannot be read: {error}") from None
    if not all(0 <= number <= NUMBER_MAX for number in _numbers(message)):
        raise ProtocolViolation(f"a number in {type(message).__name__} of node {sender} is out of range")
    if message.to != me:
        raise ProtocolViolation(f"node {sender} sent {type(message).__name__} for node {message.to} to node {me}")
    if message.sender != sender and not isinstance(message, _PASSED_ON):
        raise ProtocolViolation(f"node {sender} sent {type(message).__name__} in the name of node {message.sender}")
    if isinstance(message, Append):
        _check_append(message)
    return message


def _check_append(message: Append) -> None:
    term = message.previous_term
    for at, entry in enumerate(message.entries, message.previous_index + 1):
        if entry.index != at or not term <= entry.term <= message.term:
            raise ProtocolViolation(
                f"entry {entry.index} of term {entry.term} is no successor in an append of term {message.term} "
                f"after entry {message.previous_index} of term {message.previous_term}"
            )
        term = entry.term


def _numbers(value: Message | Entry | Snapshot | Configuration | HardState) -> Iterator[int]:
    """All numbers in a message and what it holds."""
    for name in value.__struct_fields__:
        field = getattr(value, name)
        if isinstance(field, int):
            yield field
        elif isinstance(field, msgspec.Struct):
            yield from _numbers(field)  # type: ignore[arg-type]
        elif isinstance(field, tuple):
            for each in field:
                if isinstance(each, int):
                    yield each
                else:
                    yield from _numbers(each)


def is_snapshot(message: Message) -> bool:
    """Whether the leader must hear how the sending of this one ended, or it sends its receiver nothing more."""
    return isinstance(message, InstallSnapshot)
