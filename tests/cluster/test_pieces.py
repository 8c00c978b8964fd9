"""A snapshot in pieces: whole or not at all, gone on with after a cut, bounded, whatever comes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdb.cluster.pieces import Begin, End, Have, Piece, Receiving, Sending, What, decode, encode, with_body
from tsdb.cluster.raft.clients import FeedSnapshot
from tsdb.cluster.raft.entries import Configuration, Snapshot
from tsdb.cluster.raft.messages import InstallSnapshot
from tsdb.errors import ProgramLimitExceeded, ProtocolViolation

WHAT = InstallSnapshot(1, 2, 7, Snapshot(40, 6, Configuration((1, 2, 3))))
FOR_A_CLIENT = FeedSnapshot(1, 900, 3, Snapshot(40, 6, Configuration((1,))))


def carried(receiving: Receiving, sending: Sending, source: object, parts_max: int | None = None) -> What | None:
    """Over one connection, which is cut after so many parts; the message when it is whole."""
    begin = decode(sending.begin())
    assert isinstance(begin, Begin)
    sending.resume(receiving.begin(source, begin).size)
    count = 0
    while parts_max is None or count < parts_max:
        octets = sending.next()
        assert octets is not None
        part = decode(octets)
        if isinstance(part, End):
            found = receiving.end(source, part)
            assert found is not None
            assert found[1] == Have(sending.digest, sending.size)
            return found[0]
        assert isinstance(part, Piece)
        assert receiving.piece(source, part)
        count += 1
    return None


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=200), piece=st.integers(1, 50), cuts=st.lists(st.integers(0, 5), max_size=8))
@pytest.mark.parametrize("what", [WHAT, FOR_A_CLIENT])
def test_it_arrives_as_it_was_sent_however_often_it_is_cut(
    what: What, body: bytes, piece: int, cuts: list[int]
) -> None:
    receiving = Receiving()
    whole, sent = None, 0
    for source, parts in enumerate([*cuts, None]):
        # The sender may be another one each time: the same state has the same octets.
        whole = carried(receiving, Sending(with_body(what, b"x"), body, piece), source, parts)
        if whole is not None:
            break
        assert receiving.byte_count >= sent, "what arrived is not sent again"
        sent = receiving.byte_count
    assert whole == with_body(what, body)
    assert receiving.byte_count == 0


def test_a_stream_that_ends_early_is_no_snapshot() -> None:
    receiving, sending = Receiving(), Sending(WHAT, bytes(100), 30)
    assert carried(receiving, sending, 1, 3) is None
    with pytest.raises(ProtocolViolation, match="of 100 bytes ends after 90"):
        receiving.end(1, End(100, sending.digest))
    # And none is left of it.
    assert receiving.byte_count == 0
    assert receiving.end(1, End(100, sending.digest)) is None


def test_octets_that_were_changed_on_their_way_are_no_snapshot() -> None:
    receiving, sending = Receiving(), Sending(WHAT, bytes(100), 100)
    begin = decode(sending.begin())
    assert isinstance(begin, Begin)
    receiving.begin(1, begin)
    receiving.piece(1, Piece(0, bytes(99) + b"\1"))
    with pytest.raises(ProtocolViolation, match="hash"):
        receiving.end(1, End(100, sending.digest))


def test_pieces_that_do_not_follow_are_refused() -> None:
    for bad in (Piece(0, b"xx"), Piece(40, b"xx"), Piece(30, b""), Piece(30, bytes(71))):
        receiving = Receiving()
        assert carried(receiving, Sending(WHAT, bytes(100), 30), 1, 1) is None
        with pytest.raises(ProtocolViolation, match="of which 30 are here"):
            receiving.piece(1, bad)


def test_what_comes_of_an_older_stream_is_not_looked_at() -> None:
    receiving, old, new = Receiving(), Sending(WHAT, bytes(100), 30), Sending(WHAT, bytes(range(90)), 30)
    assert carried(receiving, old, "old", 2) is None
    assert carried(receiving, new, "new", 1) is None
    assert receiving.byte_count == 30, "another snapshot begins anew"
    assert not receiving.piece("old", Piece(60, bytes(30)))
    assert receiving.end("old", End(100, old.digest)) is None
    assert carried(receiving, new, "newer") == with_body(WHAT, bytes(range(90)))


def test_what_is_too_long_is_refused_before_it_comes_and_what_stops_coming_is_forgotten() -> None:
    receiving = Receiving(bytes_max=99, patience_ticks=5)
    for size in (100, -1, 1 << 62):
        with pytest.raises(ProgramLimitExceeded, match="99 are allowed"):
            receiving.begin(1, Begin(WHAT, size, bytes(32)))
    assert carried(receiving, Sending(WHAT, bytes(99), 30), 1, 2) is None
    for _ in range(5):
        receiving.tick()
    assert receiving.byte_count == 60
    receiving.tick()
    assert receiving.byte_count == 0
    assert carried(receiving, Sending(WHAT, bytes(99), 30), 2) is not None


def test_a_receiver_that_has_more_than_there_is_is_not_believed() -> None:
    for offset in (-1, 101):
        with pytest.raises(ProtocolViolation, match="of a snapshot of 100"):
            Sending(WHAT, bytes(100)).resume(offset)


def test_garbage_is_a_violation() -> None:
    chance = random.Random(5)
    good = [Sending(WHAT, bytes(100)).begin(), encode(Piece(3, b"abc")), encode(End(3, bytes(32)))]
    for _ in range(3_000):
        octets = bytearray(chance.choice(good))
        for _ in range(chance.randint(1, 4)):
            octets[chance.randrange(len(octets))] = chance.randrange(256)
        receiving = Receiving(bytes_max=1_000)
        try:
            part = decode(bytes(octets[: chance.randint(0, len(octets))] if chance.random() < 0.3 else octets))
            if isinstance(part, Begin):
                receiving.begin(1, part)
            elif isinstance(part, Piece):
                receiving.piece(1, part)
            elif isinstance(part, End):
                receiving.end(1, part)
        except (ProtocolViolation, ProgramLimitExceeded):
            continue
    with pytest.raises(ProtocolViolation, match="what is no beginning"):
        Receiving().begin(1, Begin(with_body(WHAT, b"x"), 1, bytes(32)))
    with pytest.raises(ProtocolViolation, match="what is no beginning"):
        Receiving().begin(1, Begin(WHAT, 1, bytes(3)))
