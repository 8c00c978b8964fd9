"""Raft's messages as octets: all that there are come back, and what no peer may say is refused."""

from __future__ import annotations

import random
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdb.cluster.raft import messages
from tsdb.cluster.raft.entries import Configuration, Entry, EntryKind, Snapshot
from tsdb.cluster.raft.messages import Append, Heartbeat, InstallSnapshot, Message, Propose, ReadIndex, Vote
from tsdb.cluster.transport import codec
from tsdb.errors import ProtocolViolation

NUMBERS = st.integers(0, codec.NUMBER_MAX)
BODIES = st.binary(max_size=40)
KINDS = tuple(each for each in typing.get_args(Message) if each is not InstallSnapshot)
PARTS: dict[Any, st.SearchStrategy[Any]] = {
    int: NUMBERS,
    bool: st.booleans(),
    bytes: BODIES,
    Snapshot: st.builds(Snapshot, NUMBERS, NUMBERS, st.builds(Configuration, st.just((1, 2))), BODIES),
    tuple[Entry, ...]: st.lists(
        st.builds(
            Entry, NUMBERS, NUMBERS, st.sampled_from(EntryKind), BODIES, NUMBERS, NUMBERS, NUMBERS, st.booleans()
        ),
        max_size=4,
    ).map(tuple),
}


def message_of(kind: type[Message]) -> st.SearchStrategy[Message]:
    hints = typing.get_type_hints(kind, vars(messages))
    fields = {name: PARTS[hints[name]] for name in kind.__struct_fields__}
    built: st.SearchStrategy[Message] = st.builds(kind, **fields | {"sender": st.just(1), "to": st.just(2)})
    return built.map(followable)


def followable(message: Message) -> Message:
    """With entries that could follow, where there must be such."""
    if not isinstance(message, Append):
        return message
    previous = min(message.previous_index, codec.NUMBER_MAX - 9)
    entries = (
        msgspec.structs.replace(entry, index=previous + 1 + at, term=message.term)
        for at, entry in enumerate(message.entries)
    )
    return msgspec.structs.replace(
        message, previous_index=previous, previous_term=min(message.previous_term, message.term), entries=tuple(entries)
    )


@settings(max_examples=400, deadline=None)
@given(message=st.one_of([message_of(kind) for kind in KINDS]))
def test_every_message_comes_back(message: Message) -> None:
    octets = codec.encode(message, 1)
    assert codec.decode(memoryview(octets), 1, 1, 2) == message


APPEND = Append(1, 2, 5, 10, 4, (Entry(4, 11), Entry(5, 12)), 9)
REFUSED: dict[str, tuple[Message, str]] = {
    "for another node": (Vote(1, 3, 5, 1, 1), "for node 3 to node 2"),
    "in another's name": (Heartbeat(3, 2, 5, 1), "in the name of node 3"),
    "a negative number": (Vote(1, 2, -5, 1, 1), "out of range"),
    "a long number": (Vote(1, 2, 5, 1 << 62, 1), "out of range"),
    "a snapshot in one message": (InstallSnapshot(1, 2, 5, Snapshot(1, 1, Configuration((1,)))), "come in pieces"),
    "a negative number in an entry": (Propose(1, 2, (Entry(0, 0, origin=-1),)), "out of range"),
    "a hole": (msgspec.structs.replace(APPEND, entries=(Entry(4, 12),)), "entry 12 of term 4 is no successor"),
    "a term that falls": (msgspec.structs.replace(APPEND, entries=(Entry(5, 11), Entry(4, 12))), "no successor"),
    "a term to come": (msgspec.structs.replace(APPEND, entries=(Entry(6, 11),)), "no successor"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_peer_may_say_is_refused(name: str) -> None:
    message, why = REFUSED[name]
    with pytest.raises(ProtocolViolation, match=why):
        codec.decode(memoryview(codec.encode(message, 1)), 1, 1, 2)


def test_a_long_number_deep_inside_is_found() -> None:
    with pytest.raises(ProtocolViolation, match="out of range"):
        codec.check(InstallSnapshot(1, 2, 5, Snapshot(1, 1, Configuration((1, 1 << 63)))), 1, 2)


def test_what_is_passed_on_keeps_its_first_sender() -> None:
    for message in (Propose(7, 2, ()), ReadIndex(0, 2, b"x")):
        assert codec.decode(memoryview(codec.encode(message, 1)), 1, 1, 2) == message


def fuzz(seeds: range) -> None:
    sample = [codec.encode(APPEND, 1), codec.encode(Heartbeat(1, 2, 5, 1, b"read", 9), 1), b"\x91" * 5000, b""]
    for seed in seeds:
        chance = random.Random(seed)
        octets = bytearray(chance.choice(sample))
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(octets) + 1)
            octets[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        try:
            message = codec.decode(memoryview(octets), 1, 1, 2)
        except ProtocolViolation:
            continue
        codec.encode(message, 1)


def test_flipped_messages_are_understood_or_refused() -> None:
    fuzz(range(3000))


@pytest.mark.nightly
def test_many_flipped_messages() -> None:
    fuzz(range(10_000, 1_000_000))
