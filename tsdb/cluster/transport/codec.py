"""Raft's messages as bytes, by the protocol version that a connection has negotiated. No pickle: msgspec's types.

What comes in is not believed: numbers are in range, a message is for this node and from that one, and the entries of an
append are the ones that follow. The core asserts such things of itself, and a peer must not be able to stop it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from tsdb.cluster.raft.clients import Feed, FeedMessage, Follow, Followed
from tsdb.cluster.raft.entries import Configuration, Entry, HardState, Snapshot
from tsdb.cluster.raft.messages import Append, InstallSnapshot, Message, Propose, ReadIndex, TransferLeadership
from tsdb.errors import ProtocolViolation

T = TypeVar("T")
F = TypeVar("F", bound=Message | FeedMessage)

NUMBER_MAX = (1 << 62) - 1
"""Of terms, indexes and nodes: they are stored in eight bytes, and one more is still a number."""

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)
_OF_CLIENTS: msgspec.msgpack.Decoder[Follow | Followed] = msgspec.msgpack.Decoder(Follow | Followed)
_FOR_CLIENTS: msgspec.msgpack.Decoder[Feed] = msgspec.msgpack.Decoder(Feed)

# Their sender is who asked first; followers pass them on.
_PASSED_ON = (Propose, ReadIndex, TransferLeadership)


def encode(message: Message | FeedMessage, version: int) -> bytes:
    """The message as protocol ``version`` has it."""
    assert version == 1, f"there is no protocol version {version}"
    return _ENCODER.encode(message)


def decode(payload: memoryview, version: int, sender: int, me: int) -> Message:
    """What ``sender`` says to ``me``. Bodies are copied out of the payload, once. Raises ProtocolViolation."""
    message: Message = _read(_DECODER, payload, version, f"node {sender}")
    if isinstance(message, InstallSnapshot):
        raise ProtocolViolation(f"node {sender} sent a snapshot in one message: they come in pieces")
    check(message, sender, me)
    return message


def check(message: Message, sender: int, me: int) -> None:
    """Whether ``sender`` may say this to ``me``. Raises ProtocolViolation."""
    in_range(message, f"node {sender}")
    if message.to != me:
        raise ProtocolViolation(f"node {sender} sent {type(message).__name__} for node {message.to} to node {me}")
    if message.sender != sender and not isinstance(message, _PASSED_ON):
        raise ProtocolViolation(f"node {sender} sent {type(message).__name__} in the name of node {message.sender}")
    if isinstance(message, Append):
        _check_append(message)


def decode_of_client(payload: memoryview, version: int) -> Follow | Followed:
    """What one says that follows what is committed. Raises ProtocolViolation."""
    return in_range(_read(_OF_CLIENTS, payload, version, "a client"), "a client")


def decode_for_client(payload: memoryview, version: int) -> Feed:
    """What a member sends to one. Raises ProtocolViolation."""
    message: Feed = in_range(_read(_FOR_CLIENTS, payload, version, "a member"), "a member")
    for at, entry in enumerate(message.entries, message.previous + 1):
        if entry.index != at:
            raise ProtocolViolation(f"a member sent entry {entry.index} after {at - 1}")
    return message


def _read(decoder: msgspec.msgpack.Decoder[T], payload: memoryview, version: int, who: str) -> T:
    assert version == 1, f"there is no protocol version {version}"
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation(f"a message of {len(payload)} bytes of {who} cannot be read: {error}") from None


def in_range(message: F, who: str) -> F:
    """The message, if its numbers can be. Raises ProtocolViolation."""
    if not all(0 <= number <= NUMBER_MAX for number in _numbers(message)):
        raise ProtocolViolation(f"a number in {type(message).__name__} of {who} is out of range")
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


def _numbers(value: Message | FeedMessage | Entry | Snapshot | Configuration | HardState) -> Iterator[int]:
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
