"""The core of a connection: frames, credit, pings and the end; bytes cut anywhere, and bytes that nobody sends."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cluster.transport.pair import (
    ANN,
    BOB,
    MEMBERS,
    SETTINGS,
    SMALL,
    START,
    ConnectionPair,
    after,
    drained,
    octet_by_octet,
    output,
)
from tsdb.cluster.transport import frames
from tsdb.cluster.transport.connection import ANSWERS_MAX, Arrived, Connection, Ended, RoundTrip, Silent, State
from tsdb.cluster.transport.frames import Flag, Kind
from tsdb.cluster.transport.greeting import Refused
from tsdb.cluster.transport.limits import MESSAGE_COST
from tsdb.errors import ProtocolViolation


def joined(buffers: list[frames.Octets]) -> bytes:
    return b"".join(bytes(buffer) for buffer in buffers)


@pytest.mark.parametrize("size", [0, 1, 59, 60, 64, 65, 128, 1024])
def test_a_message_arrives_as_it_was_sent_however_it_is_cut(size: int) -> None:
    payload = bytes(range(256)) * 4
    for cut in (lambda octets: (octets,), octet_by_octet):
        pair = ConnectionPair(cut=cut).opened()
        (message,) = pair.carry(payload[:size])
        assert message.payload == payload[:size]
        assert message.kind is Kind.STREAM
        assert message.payload.readonly


@settings(max_examples=60, deadline=None)
@given(
    payloads=st.lists(st.binary(max_size=1024), max_size=8),
    cuts=st.randoms(use_true_random=False),
)
def test_messages_keep_their_order_and_octets(payloads: list[bytes], cuts: random.Random) -> None:
    def cut(octets: bytes) -> list[bytes]:
        at = sorted(cuts.choices(range(len(octets) + 1), k=3))
        return [octets[a:b] for a, b in zip([0, *at], [*at, len(octets)], strict=True)]

    pair = ConnectionPair(cut=cut).opened()
    assert [bytes(message.payload) for message in pair.carry(*payloads)] == payloads


def test_a_dialer_sends_no_more_than_was_promised_until_messages_are_taken() -> None:
    pair = ConnectionPair().opened()
    held: list[Arrived] = []
    while pair.dialer.may_send(1000):
        pair.dialer.send(Kind.STREAM, bytes(1000))
        held += [event for event in pair.exchange()[1] if isinstance(event, Arrived)]
    assert len(held) == SMALL.window // (1000 + MESSAGE_COST)
    assert sum(message.cost for message in held) <= SMALL.window
    for _ in range(100):
        pair.acceptor.took(held.pop())
        pair.exchange()
        if pair.dialer.may_send(1000):
            pair.dialer.send(Kind.STREAM, bytes(1000))
            held += [event for event in pair.exchange()[1] if isinstance(event, Arrived)]
        assert sum(message.cost for message in held) <= SMALL.window
        if not held:
            break
    assert held, "credit was given again"


def test_empty_messages_use_up_credit_too() -> None:
    pair = ConnectionPair().opened()
    count = 0
    while pair.dialer.may_send(0):
        pair.dialer.send(Kind.STREAM, b"")
        count += len(pair.exchange()[1])
    assert count == SMALL.window // MESSAGE_COST


def test_a_message_of_any_length_is_sent_in_the_end_if_everything_is_taken() -> None:
    chance = random.Random(5)
    pair = ConnectionPair().opened()
    sizes = [chance.choice((0, 1, 500, SMALL.message_bytes_max)) for _ in range(300)]
    assert [len(message.payload) for message in pair.carry(*map(bytes, sizes))] == sizes


@pytest.mark.parametrize("seed", range(40))
def test_a_message_in_one_piece_is_what_it_is_in_parts(seed: int) -> None:
    """Octets, events, credit and pings: also where it is long, where there is no credit, and between other frames."""
    chance = random.Random(seed)
    parts, whole = ConnectionPair().opened(), ConnectionPair().opened()
    held: list[tuple[Arrived, Arrived]] = []
    in_one = [0, 0]
    for turn in range(60):
        payload = chance.randbytes(chance.choice((0, 1, 40, 63, 64, 65, 900)))
        if chance.random() < 0.2:
            for pair in (parts, whole):
                pair.dialer.tick(after(turn))
        octets = b""
        if parts.dialer.may_send(len(payload)):
            parts.dialer.send(Kind.STREAM, payload)
            octets = whole.dialer.send_whole(Kind.STREAM, payload)
            in_one[0] += bool(octets)
            if not octets:
                assert whole.dialer.has_more or len(payload) > SMALL.frame_bytes_max
                whole.dialer.send(Kind.STREAM, payload)
        else:
            assert whole.dialer.send_whole(Kind.STREAM, payload) == b""
        octets += output(whole.dialer)
        assert octets == output(parts.dialer)
        parts_events = parts.feed(parts.acceptor, octets, after(turn))
        alone = whole.acceptor.receive_whole(octets, after(turn).monotonic_ns)
        in_one[1] += alone is not None
        whole_events = [alone] if alone is not None else whole.feed(whole.acceptor, octets, after(turn))
        assert whole_events == parts_events
        held += [
            (first, second)
            for first, second in zip(parts_events, whole_events, strict=True)
            if isinstance(first, Arrived) and isinstance(second, Arrived)
        ]
        while held and chance.random() < 0.5:
            for pair, message in zip((parts, whole), held.pop(), strict=True):
                pair.acceptor.took(message)
        back = output(parts.acceptor)
        assert back == output(whole.acceptor)
        assert whole.dialer.receive_whole(back, 0) is None
        assert whole.feed(whole.dialer, back, after(turn)) == parts.feed(parts.dialer, back, after(turn))
        for name in ("_sent", "_allowed", "frames_sent"):
            assert getattr(whole.dialer, name) == getattr(parts.dialer, name)
        for name in ("_arrived", "_taken", "_promised", "_heard_ns", "frames_received"):
            assert getattr(whole.acceptor, name) == getattr(parts.acceptor, name)
    assert min(in_one)


def test_in_one_piece_only_what_is_right_is_taken_and_only_where_nothing_else_is() -> None:
    octets = joined(frames.first_frame(Kind.STREAM, 5, b"hello"))
    assert octets == frames.whole(Kind.STREAM, b"hello") == frames.whole(Kind.STREAM, memoryview(b"hello"))
    pair = ConnectionPair()
    assert pair.acceptor.receive_whole(octets, 0) is None
    pair.opened()
    for at in range(len(octets)):
        for bit in range(8):
            wrong = octets[:at] + bytes((octets[at] ^ 1 << bit,)) + octets[at + 1 :]
            assert pair.acceptor.receive_whole(wrong, 0) is None
        assert pair.acceptor.receive_whole(octets[:at], 0) is None
    not_one = [
        octets + octets,
        octets + b"\x00",
        frames.whole(Kind.CREDIT, bytes(8)),
        joined(frames.frame(Kind.STREAM, b"hello")),
        joined(frames.first_frame(Kind.STREAM, 6, b"hello")),
        frames.whole(Kind.STREAM, bytes(SMALL.frame_bytes_max + 1)),
    ]
    for each in not_one:
        assert pair.acceptor.receive_whole(each, 0) is None
    pair.acceptor.receive(octets[:3])
    assert pair.acceptor.receive_whole(octets, 0) is None
    pair.acceptor.receive(octets[3:])
    (message,) = drained(pair.acceptor)
    assert message == pair.acceptor.receive_whole(octets, 0)
    # In the middle of a head, and of a message.
    for begun in (octets[: frames.HEAD_BYTES], joined(frames.first_frame(Kind.STREAM, 6, b"hello"))):
        other = ConnectionPair().opened()
        other.acceptor.receive(begun)
        assert drained(other.acceptor) == []
        assert other.acceptor.receive_whole(octets, 0) is None
    pair.acceptor.bye("enough")
    assert pair.acceptor.receive_whole(octets, 0) is None
    assert pair.acceptor.send_whole(Kind.STREAM, b"hello") == b""


def test_one_who_sends_without_credit_is_cut_off() -> None:
    pair = ConnectionPair().opened()
    octets = joined(frames.first_frame(Kind.STREAM, 0, b"")) * (SMALL.window // MESSAGE_COST + 1)
    with pytest.raises(ProtocolViolation, match="more than there is credit for"):
        pair.feed(pair.acceptor, octets, START)
    assert pair.acceptor.state is State.CLOSED
    (ended,) = pair.feed(pair.dialer, output(pair.acceptor), START)
    assert isinstance(ended, Ended)
    assert "credit" in ended.why


def test_in_one_piece_nothing_is_taken_without_credit() -> None:
    pair = ConnectionPair().opened()
    octets = frames.whole(Kind.STREAM, b"")
    for _ in range(SMALL.window // MESSAGE_COST):
        assert pair.acceptor.receive_whole(octets, 0) is not None
    assert pair.acceptor.receive_whole(octets, 0) is None
    with pytest.raises(ProtocolViolation, match="more than there is credit for"):
        pair.feed(pair.acceptor, octets, START)
    # Nor where no messages are taken at all.
    assert ConnectionPair().opened().dialer.receive_whole(octets, 0) is None


def test_pings_go_between_the_frames_of_a_long_message() -> None:
    pair = ConnectionPair().opened()
    pair.dialer.send(Kind.STREAM, bytes(1024))
    first = pair.dialer.data_to_send()
    pair.dialer.tick(after(1))
    second = pair.dialer.data_to_send()
    assert frames.read_head(joined(second), 64).kind is Kind.PING
    rest = output(pair.dialer)
    events = pair.feed(pair.acceptor, joined(first) + joined(second) + rest, after(1))
    assert [len(event.payload) for event in events if isinstance(event, Arrived)] == [1024]
    assert frames.read_head(output(pair.acceptor), 64).kind is Kind.PONG


def test_a_ping_tells_the_round_trip_and_the_peers_clock() -> None:
    pair = ConnectionPair().opened()
    pair.dialer.tick(after(0.5))
    pair.feed(pair.acceptor, output(pair.dialer), after(0.6, ahead_s=20))
    (trip,) = pair.feed(pair.dialer, output(pair.acceptor), after(0.75))
    assert isinstance(trip, RoundTrip)
    assert trip.duration_ns == 250_000_000
    assert trip.sent_ns == after(0.5).wall_ns
    assert trip.peer_ns == after(0.6, ahead_s=20).wall_ns
    assert trip.received_ns == after(0.75).wall_ns


@pytest.mark.parametrize("side", ["dialer", "acceptor"])
def test_who_says_nothing_is_gone_after_the_deadline(side: str) -> None:
    pair = ConnectionPair().opened()
    connection: Connection = getattr(pair, side)
    for tenth in range(30):
        connection.tick(after(tenth / 10))
    # Who was dialed hears from who dialed.
    assert bool(output(connection)) == (side == "dialer")
    with pytest.raises(Silent, match="nothing was heard"):
        connection.tick(after(3))
    assert connection.state is State.CLOSED


def test_who_has_slept_believes_nobody_gone() -> None:
    pair = ConnectionPair().opened()
    pair.dialer.tick(after(60))
    pair.dialer.tick(after(61))
    pair.exchange(after(62))
    for tenth in range(620, 650):
        pair.dialer.tick(after(tenth / 10))
    with pytest.raises(Silent):
        pair.dialer.tick(after(65))


def test_pings_keep_an_idle_connection() -> None:
    pair = ConnectionPair().opened()
    for tenth in range(200):
        now = after(tenth / 10)
        pair.dialer.tick(now)
        pair.acceptor.tick(now)
        pair.exchange(now)
    assert pair.dialer.state is pair.acceptor.state is State.OPEN
    # Each of one side's pings, and its answer.
    assert 35 <= pair.dialer.frames_sent <= 45
    assert pair.acceptor.frames_sent == pair.dialer.frames_sent


def test_octets_that_make_no_frame_do_not_keep_a_connection() -> None:
    pair = ConnectionPair().opened()
    drip = joined(frames.first_frame(Kind.STREAM, 60, bytes(60)))
    with pytest.raises(Silent):
        for at in range(40):
            pair.feed(pair.acceptor, drip[at : at + 1], after(at / 10))
            pair.acceptor.tick(after(at / 10))


@pytest.mark.parametrize("side", ["dialer", "acceptor"])
def test_a_greeting_has_a_deadline(side: str) -> None:
    connection = getattr(ConnectionPair(), side)
    connection.receive(b"TSDB")
    assert drained(connection) == []
    with pytest.raises(Silent, match="no greeting"):
        connection.tick(after(3))


def test_who_pings_and_does_not_read_is_cut_off() -> None:
    pair = ConnectionPair().opened()
    ping = joined(frames.frame(Kind.PING, bytes(8)))
    with pytest.raises(ProtocolViolation, match="no answer was read"):
        pair.feed(pair.acceptor, ping * (ANSWERS_MAX + 1), START)


def test_a_good_bye_ends_both_sides() -> None:
    pair = ConnectionPair().opened()
    pair.dialer.send(Kind.STREAM, bytes(1000))
    pair.dialer.bye("it is stopped")
    (ended,) = pair.exchange()[1]
    assert ended == Ended("it is stopped")
    assert pair.dialer.state is pair.acceptor.state is State.CLOSED
    pair.acceptor.receive(b"more")
    assert drained(pair.acceptor) == []


FIRST = joined(frames.first_frame(Kind.STREAM, 100, bytes(60)))
BROKEN = {
    "another magic": (b"XX" + FIRST[2:], "begins with"),
    "an unknown kind": (joined([b"Tf\x09\x00", bytes(8)]), "unknown kind 9"),
    "an unknown flag": (b"Tf\x02\x82" + bytes(8), "unknown flags"),
    "a flag of another kind": (b"Tf\x04\x01" + bytes(8), "unknown flags"),
    "a long frame": (b"Tf\x02\x01\xff\xff\xff\xff", "a frame of 4294967295 bytes"),
    "a flipped bit": (FIRST[:40] + bytes((FIRST[40] ^ 4,)) + FIRST[41:], "checksum"),
    "a long message": (joined(frames.first_frame(Kind.STREAM, 1025, b"x")), "a message of 1025 bytes"),
    "no length": (joined(frames.frame(Kind.STREAM, b"abc", flags=Flag.FIRST)), "does not say how long"),
    "more than the message": (joined(frames.first_frame(Kind.STREAM, 2, b"abc")), "begins with 3"),
    "nothing of the message": (joined(frames.first_frame(Kind.STREAM, 2, b"")), "begins with 0"),
    "the middle": (joined(frames.frame(Kind.STREAM, b"abc")), "has not begun"),
    "two beginnings": (FIRST + FIRST, "before the last one has ended"),
    "the rest of another kind": (FIRST + joined(frames.frame(Kind.RAFT, bytes(40))), "has not begun"),
    "too much at the end": (FIRST + joined(frames.frame(Kind.STREAM, bytes(41))), "a message of 100 bytes has 101"),
    "an empty frame": (FIRST + joined(frames.frame(Kind.STREAM, b"")), "a message of 100 bytes has 60"),
    "a short ping": (joined(frames.frame(Kind.PING, bytes(7))), "PING of 7 bytes"),
    "an answer to nothing": (joined(frames.frame(Kind.PONG, bytes(16))), "waits for none"),
    "credit from the dialer": (joined(frames.frame(Kind.CREDIT, bytes(8))), "credit for 0"),
    "a greeting": (output(Connection.dial(ANN, BOB, 1, [], START)), "begins with"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_violation_is_told_and_ends_the_connection(name: str) -> None:
    octets, why = BROKEN[name]
    pair = ConnectionPair().opened()
    with pytest.raises(ProtocolViolation, match=why):
        pair.feed(pair.acceptor, octets, START)
    assert pair.acceptor.state is State.CLOSED
    assert drained(pair.acceptor) == []
    told = pair.feed(pair.dialer, output(pair.acceptor), START)
    assert [type(event) for event in told] == [Ended]


def test_a_dialer_refuses_random_answers() -> None:
    for seed in range(400):
        chance = random.Random(seed)
        pair = ConnectionPair()
        pair.feed(pair.acceptor, output(pair.dialer), START)
        answer = bytearray(output(pair.acceptor))
        for kind, size in ((Kind.CREDIT, 8), (Kind.PING, 8), (Kind.PONG, 16)):
            answer += joined(frames.frame(kind, chance.randbytes(size)))
        answer[chance.randrange(len(answer))] ^= 1 << chance.randrange(8)
        with pytest.raises((ProtocolViolation, Refused, Silent)):
            pair.feed(pair.dialer, bytes(answer), START)
            for tenth in range(40):
                pair.dialer.tick(after(tenth / 10))


def test_an_acceptor_sends_no_messages() -> None:
    pair = ConnectionPair().opened()
    assert not pair.acceptor.may_send(0)
    with pytest.raises(ProtocolViolation):
        pair.feed(pair.dialer, joined(frames.first_frame(Kind.RAFT, 0, b"")), START)


def survives(octets: bytes, greeted: bool, cuts: random.Random) -> None:
    """Feed anything to an acceptor: it is understood or refused, and never more than its bounds are held."""
    pair = ConnectionPair()
    if greeted:
        pair.opened()
    held = 0
    try:
        while octets:
            size = cuts.randrange(1, 100)
            pair.acceptor.receive(octets[:size])
            octets = octets[size:]
            held += sum(e.cost for e in drained(pair.acceptor) if isinstance(e, Arrived))
            assert held <= SMALL.window
            assert len(pair.acceptor._input) <= 5000
    except (ProtocolViolation, Refused):
        assert pair.acceptor.state is State.CLOSED


@settings(max_examples=150, deadline=None)
@given(octets=st.binary(max_size=300), greeted=st.booleans())
def test_random_octets_are_refused(octets: bytes, greeted: bool) -> None:
    survives(octets, greeted, random.Random(len(octets)))


def _mutated(chance: random.Random) -> bytes:
    """A conversation as it could be, and then not quite."""
    octets = bytearray(output(ConnectionPair().dialer))
    pair = ConnectionPair().opened()
    for _ in range(chance.randrange(6)):
        if pair.dialer.may_send(900):
            pair.dialer.send(chance.choice((Kind.RAFT, Kind.STREAM)), chance.randbytes(chance.randrange(900)))
        if chance.random() < 0.3:
            pair.dialer.tick(after(chance.random()))
        octets += output(pair.dialer)
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(octets))
        match chance.randrange(4):
            case 0:
                octets[at] ^= 1 << chance.randrange(8)
            case 1:
                del octets[at : at + chance.randrange(20)]
            case 2:
                octets[at:at] = octets[chance.randrange(len(octets)) :][: chance.randrange(80)]
            case _:
                octets[at:at] = chance.randbytes(chance.randrange(20))
    return bytes(octets)


def fuzz(seeds: range) -> None:
    for seed in seeds:
        chance = random.Random(seed)
        survives(_mutated(chance), False, chance)


def test_conversations_with_flipped_lost_and_doubled_octets_are_understood_or_refused() -> None:
    fuzz(range(400))


@pytest.mark.nightly
def test_many_conversations_with_flipped_lost_and_doubled_octets() -> None:
    fuzz(range(1000, 100_000))


def test_members_may_change_while_a_node_runs() -> None:
    members = dict(MEMBERS)
    del members[1]
    dialer = Connection.dial(ANN, BOB, 1, ["bob"], START, SETTINGS)  # type: ignore[arg-type]
    acceptor = Connection.accept(BOB, members, ["ann"], START, SETTINGS)
    members[1] = ANN
    acceptor.receive(output(dialer))
    assert len(drained(acceptor)) == 1
