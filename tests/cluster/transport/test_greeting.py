"""Who talks to whom: cluster, number, uuid, name and version are right on both sides, or the connection is refused."""

from __future__ import annotations

import zlib
from uuid import UUID

import msgspec
import pytest

from tests.cluster.transport.pair import ANN, BOB, SETTINGS, START, ConnectionPair, drained, other, output
from tsdb.cluster.transport import greeting
from tsdb.cluster.transport.connection import Connection, Opened, State
from tsdb.cluster.transport.greeting import Hello, Identity, Purpose, Reason, Refusal, Refused, Welcome
from tsdb.cluster.transport.limits import Settings
from tsdb.errors import ProtocolViolation


def refused(pair: ConnectionPair) -> Refused:
    """Both sides refuse, with the same text."""
    with pytest.raises(Refused) as here:
        pair.exchange()
    with pytest.raises(Refused) as there:
        pair.exchange()
    assert here.value.text == there.value.text
    assert here.value.reason is there.value.reason
    assert pair.dialer.state is pair.acceptor.state is State.CLOSED
    return there.value


def test_two_who_fit_know_each_other_and_their_purpose() -> None:
    pair = ConnectionPair(purpose=Purpose.LOG)
    assert pair.exchange() == ([Opened(BOB, Purpose.LOG, 1)], [Opened(ANN, Purpose.LOG, 1)])


def test_an_answer_that_is_too_deep_to_be_read_is_a_violation() -> None:
    welcome = Welcome(1, BOB.uuid, BOB.name, 1000, 1000, 5000)
    body = b"\x97" + msgspec.msgpack.encode(welcome)[1:] + b"\x91" * 3_000
    octets = greeting._HEAD.pack(greeting.MAGIC, 2, len(body)) + body
    with pytest.raises(ProtocolViolation, match="cannot be read"):
        greeting.decode(octets + zlib.crc32(octets).to_bytes(4, "big"))


CASES: dict[str, tuple[Identity, Identity, Reason, list[str]]] = {
    "a node of another cluster": (
        other(ANN, cluster=UUID(int=0xC2)), BOB, Reason.CLUSTER, [str(UUID(int=0xC2)), str(ANN.cluster)],
    ),
    "a wiped node under its old number": (
        other(ANN, uuid=UUID(int=0xA2)), BOB, Reason.UUID, [str(ANN.uuid), str(UUID(int=0xA2)), "joins again"],
    ),
    "a number that nobody has": (other(ANN, node=9), BOB, Reason.STRANGER, ["node 9", "no member"]),
    "one that looks for a node that was wiped": (
        ANN, other(BOB, uuid=UUID(int=0xB0)), Reason.RECEIVER, [str(UUID(int=0xB0)), str(BOB.uuid)],
    ),
    "one that looks for another number": (ANN, other(BOB, node=3), Reason.RECEIVER, ["node 3", "node 2"]),
    "another name than the member's": (other(ANN, name="eve"), BOB, Reason.NAME, ["'eve'", "ann"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_who_does_not_fit_is_refused_with_a_text_that_names_both(name: str) -> None:
    me, peer, reason, words = CASES[name]
    found = refused(ConnectionPair(me, peer))
    assert found.reason is reason
    assert [word for word in words if word not in found.text] == []


def test_a_name_that_the_certificate_does_not_have_is_refused() -> None:
    dialer = Connection.dial(ANN, BOB, Purpose.CONTROL, ["bob"], START, SETTINGS)
    acceptor = Connection.accept(BOB, {1: ANN}, ["eve"], START, SETTINGS)
    acceptor.receive(output(dialer))
    with pytest.raises(Refused, match="certificate of eve"):
        drained(acceptor)
    dialer = Connection.dial(ANN, BOB, Purpose.CONTROL, ["eve"], START, SETTINGS)
    acceptor = Connection.accept(BOB, {1: ANN}, ["ann"], START, SETTINGS)
    acceptor.receive(output(dialer))
    drained(acceptor)
    dialer.receive(output(acceptor))
    with pytest.raises(Refused, match="certificate of eve"):
        drained(dialer)


@pytest.mark.parametrize(
    ("dialers", "acceptors", "chosen"),
    [((1, 1), (1, 1), 1), ((1, 3), (2, 5), 3), ((2, 4), (1, 2), 2), ((1, 2), (3, 4), None), ((5, 6), (1, 4), None)],
)
def test_the_newest_version_that_both_speak_is_chosen(
    dialers: tuple[int, int], acceptors: tuple[int, int], chosen: int | None
) -> None:
    pair = ConnectionPair(settings=settings_of(dialers), accepting=settings_of(acceptors))
    if chosen is None:
        found = refused(pair)
        assert found.reason is Reason.VERSION
        assert f"{dialers[0]} to {dialers[1]}" in found.text
        assert f"{acceptors[0]} to {acceptors[1]}" in found.text
    else:
        assert [event.version for side in pair.exchange() for event in side if isinstance(event, Opened)] == [
            chosen
        ] * 2


def settings_of(versions: tuple[int, int]) -> Settings:
    return Settings(limits=SETTINGS.limits, versions=versions)


def test_one_who_answers_for_another_is_refused_by_the_dialer() -> None:
    dialer = Connection.dial(ANN, BOB, Purpose.CONTROL, ["bob"], START, SETTINGS)
    dialer.receive(greeting.encode(Welcome(1, UUID(int=0xB2), "bob", 64, 1024, 4096)))
    with pytest.raises(Refused, match=f"{BOB.uuid}.* was dialed, and {UUID(int=0xB2)}"):
        drained(dialer)


@pytest.mark.parametrize(
    "answer",
    [
        Welcome(2, BOB.uuid, "bob", 64, 1024, 4096),
        Welcome(1, BOB.uuid, "bob", 0, 1024, 4096),
        Welcome(1, BOB.uuid, "bob", 64, 1024, 1024),
        greeting.hello(BOB, ANN, Purpose.CONTROL, (1, 1)),
    ],
    ids=["a version that was not offered", "no frames", "no window", "a hello"],
)
def test_an_answer_that_cannot_be_is_a_violation(answer: greeting.Greeting) -> None:
    dialer = Connection.dial(ANN, BOB, Purpose.CONTROL, ["bob"], START, SETTINGS)
    dialer.receive(greeting.encode(answer))
    with pytest.raises(ProtocolViolation):
        drained(dialer)


def test_an_acceptor_takes_hello_alone() -> None:
    acceptor = Connection.accept(BOB, {1: ANN}, ["ann"], START, SETTINGS)
    acceptor.receive(greeting.encode(Refusal(Reason.UUID, "no")))
    with pytest.raises(ProtocolViolation, match="a dialer says hello"):
        drained(acceptor)


def test_later_versions_may_say_more_in_a_greeting() -> None:
    class Longer(Hello, frozen=True, array_like=True):
        zone: str = ""

    said = greeting.hello(ANN, BOB, Purpose.CONTROL, (1, 9))
    longer = msgspec.convert((*msgspec.to_builtins(said), "here"), Longer)
    body = msgspec.msgpack.encode(longer)
    octets = greeting._HEAD.pack(greeting.MAGIC, 1, len(body)) + body
    octets += greeting._CHECKSUM.pack(zlib.crc32(octets))
    acceptor = Connection.accept(BOB, {1: ANN}, ["ann"], START, SETTINGS)
    acceptor.receive(octets)
    assert drained(acceptor) == [Opened(ANN, Purpose.CONTROL, 1)]


NEW = Identity(greeting.NOT_KNOWN, 0, UUID(int=0xE1), "eve")


def test_a_guest_that_knows_nothing_but_an_address_learns_who_answers() -> None:
    purpose = Purpose.CLIENT
    pair = ConnectionPair(NEW, greeting.SOMEBODY, purpose=purpose, certified=["bob"])
    assert pair.exchange() == ([Opened(BOB, purpose, 1)], [Opened(other(NEW, cluster=BOB.cluster), purpose, 1)])


def test_a_guest_has_no_number_whatever_it_says() -> None:
    pretender = other(ANN, uuid=UUID(int=0xE1), name="eve")
    _, (opened,) = ConnectionPair(pretender, purpose=Purpose.CLIENT).exchange()
    assert isinstance(opened, Opened)
    assert opened.peer == other(pretender, node=0)


GUESTS: dict[str, tuple[Identity, Identity, Reason]] = {
    "who thinks of another cluster": (other(NEW, cluster=UUID(int=0xC2)), greeting.SOMEBODY, Reason.CLUSTER),
    "who looks for somebody else": (NEW, other(BOB, uuid=UUID(int=0xB0)), Reason.RECEIVER),
}


@pytest.mark.parametrize("name", GUESTS)
def test_a_guest_that_is_wrong_here_is_refused(name: str) -> None:
    me, peer, reason = GUESTS[name]
    assert refused(ConnectionPair(me, peer, purpose=Purpose.CLIENT, certified=["bob"])).reason is reason


def test_a_guest_without_a_certificate_of_its_name_is_refused() -> None:
    dialer = Connection.dial(NEW, greeting.SOMEBODY, Purpose.CLIENT, ["bob"], START, SETTINGS)
    acceptor = Connection.accept(BOB, {}, ["ann"], START, SETTINGS)
    acceptor.receive(output(dialer))
    with pytest.raises(Refused, match="'eve' with a certificate of ann"):
        drained(acceptor)


def test_a_guest_refuses_who_has_no_certificate_of_its_name_or_is_of_another_cluster() -> None:
    for certified, cluster, words in ((["eve"], greeting.NOT_KNOWN, "certificate of eve"), (["bob"], 9, "was dialed")):
        wanted = other(greeting.SOMEBODY, cluster=UUID(int=cluster) if isinstance(cluster, int) else cluster)
        dialer = Connection.dial(NEW, wanted, Purpose.CLIENT, certified, START, SETTINGS)
        acceptor = Connection.accept(BOB, {}, ["eve"], START, SETTINGS)
        acceptor.receive(output(dialer))
        drained(acceptor)
        dialer.receive(output(acceptor))
        with pytest.raises(Refused, match=words):
            drained(dialer)


def test_one_guest_too_many_is_refused_and_members_are_not() -> None:
    full = {Purpose.CLIENT}
    found = refused(ConnectionPair(NEW, greeting.SOMEBODY, purpose=Purpose.CLIENT, certified=["bob"], full=full))
    assert found.reason is Reason.ROOM
    ConnectionPair(ANN, purpose=Purpose.CONTROL, full=full).opened()


def test_a_guest_that_takes_nothing_is_a_violation() -> None:
    acceptor = Connection.accept(BOB, {}, ["eve"], START, SETTINGS)
    acceptor.receive(greeting.encode(greeting.hello(NEW, greeting.SOMEBODY, Purpose.CLIENT, (1, 1))))
    with pytest.raises(ProtocolViolation, match="no room for messages"):
        drained(acceptor)


def test_the_longest_names_still_make_a_refusal() -> None:
    name = "\N{SNOWMAN}" * greeting.NAME_MAX
    pair = ConnectionPair(other(ANN, name=name, node=(1 << 63), cluster=UUID(int=7)))
    assert refused(pair).reason is Reason.CLUSTER
    pair = ConnectionPair(other(ANN, name=name + "x"))
    with pytest.raises(ProtocolViolation, match="65 characters"):
        pair.exchange()


@pytest.mark.parametrize("octets", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"\0\0\0\x08\x04\xd2\x16\x2f", b"TSDBX"])
def test_another_protocol_is_told_apart_by_its_first_octets(octets: bytes) -> None:
    acceptor = Connection.accept(BOB, {1: ANN}, ["ann"], START, SETTINGS)
    acceptor.receive(octets)
    with pytest.raises(ProtocolViolation, match="protocol between nodes"):
        drained(acceptor)
    assert output(acceptor) == b""
