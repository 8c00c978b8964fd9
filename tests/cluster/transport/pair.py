"""Two ends of a connection without a network: what one sends is fed to the other, cut as the test likes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from uuid import UUID

from tsdb.cluster.transport.connection import Arrived, Connection, Event, Now, Opened
from tsdb.cluster.transport.frames import Kind
from tsdb.cluster.transport.greeting import Identity, Purpose
from tsdb.cluster.transport.limits import KIB, Limits, Settings

CLUSTER = UUID(int=0xC1)
ANN = Identity(CLUSTER, 1, UUID(int=0xA1), "ann")
BOB = Identity(CLUSTER, 2, UUID(int=0xB1), "bob")
MEMBERS = {1: ANN, 2: BOB}
SMALL = Limits(frame_bytes_max=64, message_bytes_max=KIB, window=4 * KIB, queue_bytes_max=4 * KIB)
SETTINGS = Settings(limits=dict.fromkeys(Purpose, SMALL), guest_limits=SMALL)
START = Now(1_000_000_000, 5_000_000_000)


def after(seconds: float, ahead_s: float = 0) -> Now:
    """An instant; ``ahead_s`` is what a node's wall clock is ahead."""
    nanoseconds = int(seconds * 1e9)
    return Now(START.monotonic_ns + nanoseconds, START.wall_ns + nanoseconds + int(ahead_s * 1e9))


def whole(octets: bytes) -> Iterable[bytes]:
    return (octets,)


def octet_by_octet(octets: bytes) -> Iterable[bytes]:
    return (bytes((octet,)) for octet in octets)


def output(connection: Connection) -> bytes:
    """Everything that it has to send."""
    sent = b""
    while buffers := connection.data_to_send():
        sent += b"".join(bytes(buffer) for buffer in buffers)
    return sent


def drained(connection: Connection, now: Now = START) -> list[Event]:
    events = []
    while (event := connection.next_event(now)) is not None:
        events.append(event)
    return events


class ConnectionPair:
    """A dialer and an acceptor; ``cut`` says in which pieces octets arrive."""

    def __init__(
        self,
        me: Identity = ANN,
        peer: Identity = BOB,
        *,
        settings: Settings = SETTINGS,
        accepting: Settings | None = None,
        cut: Callable[[bytes], Iterable[bytes]] = whole,
        purpose: Purpose = Purpose.CONTROL,
        certified: Iterable[str] = (),
        full: Collection[Purpose] = (),
    ) -> None:
        names = [*certified] or [peer.name]
        self.dialer = Connection.dial(me, peer, purpose, names, START, settings)
        self.acceptor = Connection.accept(BOB, MEMBERS, [me.name], START, accepting or settings, full=full)
        self.cut = cut

    def exchange(self, now: Now = START) -> tuple[list[Event], list[Event]]:
        """Let octets go to and fro until there are none: what the dialer and what the acceptor saw."""
        dialers: list[Event] = []
        acceptors: list[Event] = []
        while True:
            forth, back = output(self.dialer), output(self.acceptor)
            if not forth and not back:
                return dialers, acceptors
            acceptors += self.feed(self.acceptor, forth, now)
            dialers += self.feed(self.dialer, back, now)

    def feed(self, connection: Connection, octets: bytes, now: Now) -> list[Event]:
        events = []
        for piece in self.cut(octets):
            connection.receive(piece)
            events += drained(connection, now)
        return events

    def opened(self) -> ConnectionPair:
        """After the greeting."""
        ours, theirs = self.exchange()
        assert [type(event) for event in (*ours, *theirs)] == [Opened, Opened]
        return self

    def carry(self, *payloads: bytes, kind: Kind = Kind.STREAM) -> list[Arrived]:
        """Messages sent and taken, one after the other."""
        arrived: list[Arrived] = []
        for payload in payloads:
            self.dialer.send(kind, payload)
            for event in self.exchange()[1]:
                assert isinstance(event, Arrived)
                arrived.append(event)
                self.acceptor.took(event)
            self.exchange()
        return arrived


def other(identity: Identity, **changes: object) -> Identity:
    """The same but for some of it."""
    return replace(identity, **changes)  # type: ignore[arg-type]
