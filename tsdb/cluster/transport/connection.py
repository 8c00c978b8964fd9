"""One connection between two nodes without any I/O: bytes in, events out; messages in, bytes out.

    connection.receive(octets)                  feed what arrived, cut anywhere
    while event := connection.next_event(now)   drain: opened, messages, round trips, the end
    connection.tick(now)                        from time to time: pings, and whether the other side is still there
    connection.send(kind, payload)              when ``may_send``
    connection.took(message)                    the owner is done with one: the other side may send more
    connection.data_to_send()                   take buffers, about a frame's worth, until there are none

A connection of members carries messages one way, from the dialer to the acceptor, that of a guest and a line both
ways; credit, pings and the end go both ways. By the greeting who takes messages has promised room for ``window`` bytes
of them, and promises more as they are taken, so what it holds is bounded whatever the other does: who sends more than
its credit is cut off.

What cannot be right raises ProtocolViolation, who is somebody else Refused, who says nothing Silent. After any of
these the connection is closed; what explains it to the other side is in ``data_to_send`` as far as that makes sense.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias

from tsdb.cluster.transport import frames, greeting
from tsdb.cluster.transport.frames import Flag, Head, Kind, Octets
from tsdb.cluster.transport.greeting import Hello, Identity, Purpose, Reason, Refusal, Refused, Welcome
from tsdb.cluster.transport.limits import MESSAGE_COST, SETTINGS, Limits, Settings
from tsdb.errors import ProtocolViolation

BYE_BYTES_MAX = 1000
# Answers that may wait to be sent: who pings faster than it reads is cut off.
ANSWERS_MAX = 64

_CREDIT = struct.Struct(">Q")
_PING = struct.Struct(">Q")
_PONG = struct.Struct(">Qq")


class Silent(Exception):
    """The other side has sent nothing whole for too long."""


class Now(NamedTuple):
    """Nanoseconds: of a clock that only goes forward, and of the wall clock, which is compared with the peer's."""

    monotonic_ns: int
    wall_ns: int


class State(Enum):
    GREETING = "greeting"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Opened:
    peer: Identity
    purpose: Purpose
    version: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """A whole message. Its payload belongs to who gets it; ``took`` says that it is not needed any more."""

    kind: Kind
    payload: memoryview

    @property
    def cost(self) -> int:
        return len(self.payload) + MESSAGE_COST


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """A ping was answered. ``sent_ns``, ``peer_ns`` and ``received_ns`` are wall clocks, the middle one the peer's."""

    duration_ns: int
    sent_ns: int
    peer_ns: int
    received_ns: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The other side ends the connection."""

    why: str


Event: TypeAlias = Opened | Arrived | RoundTrip | Ended


@dataclass(slots=True)
class _Outgoing:
    """A message of which ``sent`` bytes are in frames already."""

    kind: Kind
    payload: memoryview
    sent: int = 0


@dataclass(slots=True)
class _Incoming:
    """A message of several frames of which ``filled`` bytes are here."""

    kind: Kind
    octets: bytearray
    filled: int


class Connection:
    """One side of one connection; ``dial`` and ``accept`` make one. ``certified``: names in the other's certificate."""

    def __init__(
        self,
        me: Identity,
        certified: Collection[str],
        now: Now,
        settings: Settings,
    ) -> None:
        self._me = me
        self._certified = certified
        self._settings = settings
        self._began_ns = self._heard_ns = self._pinged_ns = self._ticked_ns = now.monotonic_ns
        self._dialed: tuple[Identity, Purpose] | None = None
        self._members: Mapping[int, Identity] = {}
        self._full: Collection[Purpose] = ()
        self.state = State.GREETING
        self._input = bytearray()
        self._output: deque[list[Octets]] = deque()
        self._outgoing: _Outgoing | None = None
        self._incoming: _Incoming | None = None
        self._head: Head | None = None
        self._ping = 0
        self._pinged_at: Now | None = None
        # Of who sends: what it may have sent, and what it has sent. Of who takes: promised, arrived, taken.
        self._allowed = self._sent = 0
        self._promised = self._arrived = self._taken = 0
        self._frame_bytes_max = self._frame_limit = frames.FRAME_BYTES_MAX
        self.message_bytes_max = 0
        """The longest message that the other side takes; 0 if it takes none."""
        self._message_limit = self._window = 0
        self.frames_sent = self.frames_received = 0

    @classmethod
    def dial(
        cls,
        me: Identity,
        peer: Identity,
        purpose: Purpose,
        certified: Collection[str],
        now: Now,
        settings: Settings = SETTINGS,
    ) -> Connection:
        """The side that asked for the connection, and will send messages to ``peer``."""
        connection = cls(me, certified, now, settings)
        connection._dialed = peer, purpose
        back = settings.limits_back(purpose)
        takes = (0, 0, 0) if back is None else connection._will_take(back)
        connection._output.append([greeting.encode(greeting.hello(me, peer, purpose, settings.versions, takes))])
        return connection

    @classmethod
    def accept(
        cls,
        me: Identity,
        members: Mapping[int, Identity],
        certified: Collection[str],
        now: Now,
        settings: Settings = SETTINGS,
        full: Collection[Purpose] = (),
    ) -> Connection:
        """The side that was dialed, by one of ``members`` if it is right, or by a guest, but none of a purpose that is
        ``full`` when it greets."""
        connection = cls(me, certified, now, settings)
        connection._members = members
        connection._full = full
        return connection

    # In

    def receive(self, octets: Octets) -> None:
        """Add input; after the end it is ignored."""
        if self.state is not State.CLOSED:
            self._input += octets

    def receive_whole(self, octets: bytes, monotonic_ns: int) -> Arrived | None:
        """The message that this input is, if nothing else is waited for. None: it is for ``receive``, which finds as
        well what is wrong with it."""
        if self._input or self._head is not None or self._incoming is not None or self.state is not State.OPEN:
            return None
        found = frames.read_whole(octets)
        if found is None:
            return None
        kind, payload = found
        arrived = self._arrived + len(payload) + MESSAGE_COST
        if arrived > self._promised or len(payload) > min(self._message_limit, self._frame_limit):
            return None
        self._arrived = arrived
        self.frames_received += 1
        self._heard_ns = monotonic_ns
        return Arrived(kind, payload)

    def next_event(self, now: Now) -> Event | None:
        """The next event; None if input is missing. Raises ProtocolViolation, Refused."""
        try:
            while self.state is not State.CLOSED:
                had = len(self._input)
                event = self._take_greeting(now) if self.state is State.GREETING else self._take_frame(now)
                if event is not None:
                    return event
                if len(self._input) == had:
                    return None
        except ProtocolViolation as violation:
            self._violated(violation.message)
            raise
        except Refused:
            self._close()
            raise
        return None

    def tick(self, now: Now) -> None:
        """Time passes. Raises Silent.

        Who was not called for long has slept, and does not know who was silent meanwhile.
        """
        slept_ns, self._ticked_ns = now.monotonic_ns - self._ticked_ns, now.monotonic_ns
        if slept_ns > self._settings.times.silence_ns // 2:
            self._heard_ns = now.monotonic_ns
        if self.state is State.GREETING:
            if now.monotonic_ns - self._began_ns >= self._settings.times.greeting_ns:
                self._close()
                raise Silent(f"no greeting in {self._settings.times.greeting_ns / 1e9:g} s")
        elif self.state is State.OPEN:
            silence_ns = now.monotonic_ns - self._heard_ns
            if silence_ns >= self._settings.times.silence_ns:
                self._close()
                raise Silent(f"nothing was heard for {silence_ns / 1e9:.3g} s")
            # Pings of one side and their answers let both hear that the other one is there.
            if self._dialed is not None and now.monotonic_ns - self._pinged_ns >= self._settings.times.ping_ns:
                self._send_ping(now)

    def _violated(self, why: str) -> None:
        """Tell the other side what it did, if it is one that understands."""
        if self.state is State.OPEN:
            self.bye(why)
        self._close()

    def _close(self) -> None:
        self.state = State.CLOSED
        self._input.clear()
        self._outgoing = self._incoming = None

    # The greeting

    def _take_greeting(self, now: Now) -> Event | None:
        length = greeting.length_of(self._input)
        if length is None or len(self._input) < length:
            return None
        octets = bytes(self._input[:length])
        del self._input[:length]
        said = greeting.decode(octets)
        self._heard_ns = now.monotonic_ns
        if self._dialed is not None:
            return self._answered(said, *self._dialed)
        if not isinstance(said, Hello):
            raise ProtocolViolation(f"a dialer says hello, and not {type(said).__name__}")
        return self._greeted(said)

    def _greeted(self, said: Hello) -> Opened:
        try:
            version, peer = greeting.judge(said, self._me, self._members, self._certified, self._settings.versions)
            if said.purpose in self._full:
                raise Refused(Reason.ROOM, f"{self._me} has as many guests of this purpose as it takes: try another")
        except Refused as refused:
            self._output.append([greeting.encode(Refusal(refused.reason, refused.text[: greeting.TEXT_MAX]))])
            raise
        back = self._settings.limits_back(said.purpose)
        if back is not None:
            self._may_be_sent(peer, back, said)
        takes = self._will_take(self._settings.limits_of(said.purpose))
        answer = Welcome(version, self._me.uuid, self._me.name, *takes, self._me.cluster, self._me.node)
        self._output.append([greeting.encode(answer)])
        self.state = State.OPEN
        return Opened(peer, said.purpose, version)

    def _answered(self, said: greeting.Greeting, peer: Identity, purpose: Purpose) -> Opened:
        if isinstance(said, Refusal):
            raise Refused(said.reason, said.text)
        if not isinstance(said, Welcome):
            raise ProtocolViolation("a hello was answered with a hello")
        peer = greeting.accept(said, peer, self._certified, self._settings.versions)
        self._may_be_sent(peer, self._settings.limits_of(purpose), said)
        self.state = State.OPEN
        return Opened(peer, purpose, said.version)

    def _will_take(self, limits: Limits) -> tuple[int, int, int]:
        """Promise room for messages; what the greeting says of it."""
        self._frame_limit, self._message_limit = limits.frame_bytes_max, limits.message_bytes_max
        self._window = self._promised = limits.window
        return limits.frame_bytes_max, limits.message_bytes_max, limits.window

    def _may_be_sent(self, peer: Identity, ours: Limits, theirs: Hello | Welcome) -> None:
        """What the other side promised."""
        if min(theirs.frame_bytes_max, theirs.message_bytes_max) <= 0 or theirs.window < 2 * (
            theirs.message_bytes_max + MESSAGE_COST
        ):
            raise ProtocolViolation(f"{peer} has no room for messages")
        self._frame_bytes_max = min(theirs.frame_bytes_max, ours.frame_bytes_max)
        self.message_bytes_max = min(theirs.message_bytes_max, ours.message_bytes_max)
        self._allowed = theirs.window

    # Frames in

    def _take_frame(self, now: Now) -> Event | None:
        if self._head is None:
            if len(self._input) < frames.HEAD_BYTES:
                return None
            self._head = frames.read_head(self._input, self._frame_limit + frames.LENGTH_BYTES)
        length = frames.OVERHEAD + self._head.length
        if len(self._input) < length:
            return None
        with memoryview(self._input) as view:
            octets = memoryview(bytes(view[:length]))
        del self._input[:length]
        head, self._head = self._head, None
        frames.check(octets)
        self.frames_received += 1
        self._heard_ns = now.monotonic_ns
        payload = octets[frames.HEAD_BYTES : -frames.CHECKSUM_BYTES]
        if head.kind in frames.MESSAGES:
            return self._take_part(head, payload)
        return self._take_control(head.kind, payload, now)

    def _take_part(self, head: Head, payload: memoryview) -> Arrived | None:
        if head.flags is Flag.FIRST:
            return self._begin_message(head.kind, frames.message_length(payload), payload[frames.LENGTH_BYTES :])
        incoming = self._incoming
        if incoming is None or incoming.kind is not head.kind:
            raise ProtocolViolation("a frame goes on with a message that has not begun")
        end = incoming.filled + len(payload)
        if not payload or end > len(incoming.octets):
            raise ProtocolViolation(f"a message of {len(incoming.octets)} bytes has {end}")
        incoming.octets[incoming.filled : end] = payload
        incoming.filled = end
        if end < len(incoming.octets):
            return None
        self._incoming = None
        return Arrived(head.kind, memoryview(incoming.octets).toreadonly())

    def _begin_message(self, kind: Kind, length: int, payload: memoryview) -> Arrived | None:
        if self._incoming is not None:
            raise ProtocolViolation("a message begins before the last one has ended")
        if length > self._message_limit:
            raise ProtocolViolation(f"a message of {length} bytes; {self._message_limit} are allowed")
        self._arrived += length + MESSAGE_COST
        if self._arrived > self._promised:
            raise ProtocolViolation(f"a message of {length} bytes is more than there is credit for")
        if len(payload) > length or (length and not payload):
            raise ProtocolViolation(f"a message of {length} bytes begins with {len(payload)}")
        if len(payload) == length:
            return Arrived(kind, payload)
        self._incoming = _Incoming(kind, bytearray(length), len(payload))
        self._incoming.octets[: len(payload)] = payload
        return None

    def _take_control(self, kind: Kind, payload: memoryview, now: Now) -> Event | None:
        try:
            if kind is Kind.CREDIT:
                self._credited(*_CREDIT.unpack(payload))
            elif kind is Kind.PING:
                (number,) = _PING.unpack(payload)
                if len(self._output) >= ANSWERS_MAX:
                    raise ProtocolViolation(f"{ANSWERS_MAX} pings were sent, and no answer was read")
                self._put(Kind.PONG, _PONG.pack(number, now.wall_ns))
            elif kind is Kind.PONG:
                number, peer_ns = _PONG.unpack(payload)
                return self._ponged(number, peer_ns, now)
            elif len(payload) <= BYE_BYTES_MAX:
                self._close()
                return Ended(str(payload, "utf-8", "replace"))
            else:
                raise ProtocolViolation(f"a good-bye of {len(payload)} bytes; {BYE_BYTES_MAX} are allowed")
        except struct.error:
            raise ProtocolViolation(f"a frame {kind.name} of {len(payload)} bytes is not one") from None
        return None

    def _credited(self, allowed: int) -> None:
        if not self.message_bytes_max or allowed < self._allowed:
            raise ProtocolViolation(f"credit for {allowed} bytes after {self._allowed}")
        self._allowed = allowed

    def _ponged(self, number: int, peer_ns: int, now: Now) -> RoundTrip:
        if self._pinged_at is None or number != self._ping:
            raise ProtocolViolation(f"an answer to ping {number}, which waits for none")
        sent, self._pinged_at = self._pinged_at, None
        return RoundTrip(now.monotonic_ns - sent.monotonic_ns, sent.wall_ns, peer_ns, now.wall_ns)

    # Out

    def may_send(self, size: int) -> bool:
        """Whether a message of so many bytes may be sent now: there is credit, and no other is on its way."""
        assert size <= self.message_bytes_max or self.state is not State.OPEN, "longer than the other side takes"
        return self.state is State.OPEN and not self._outgoing and self._sent + size + MESSAGE_COST <= self._allowed

    def send(self, kind: Kind, payload: Octets) -> None:
        """Send a message; ``may_send`` was asked."""
        assert kind in frames.MESSAGES, f"{kind} is no message"
        assert self.may_send(len(payload)), "there is no credit, or another message is on its way"
        self._sent += len(payload) + MESSAGE_COST
        self._outgoing = _Outgoing(kind, memoryview(payload))

    def send_whole(self, kind: Kind, payload: Octets) -> bytes:
        """Send a message that one frame holds and nothing has to go before: all that is to be sent. Empty if it is not
        such a one, or there is no credit: then it is for ``send``."""
        size = len(payload)
        sent = self._sent + size + MESSAGE_COST
        if (
            self._output or self._outgoing is not None or self.state is not State.OPEN
            or sent > self._allowed or size > min(self.message_bytes_max, self._frame_bytes_max)
        ):  # fmt: skip
            return b""
        assert kind in frames.MESSAGES, f"{kind} is no message"
        self._sent = sent
        self.frames_sent += 1
        return frames.whole(kind, payload)

    @property
    def has_more(self) -> bool:
        """Whether something else than a message is to be sent: credit, a ping, its answer, the end."""
        return bool(self._output)

    @property
    def sending(self) -> bool:
        """Whether a message is on its way that is not wholly in ``data_to_send`` yet."""
        return self._outgoing is not None

    def took(self, message: Arrived) -> None:
        """The message's memory is free again. Credit is given in pieces, not for each."""
        self._taken += message.cost
        if self.state is State.OPEN and self._taken + self._window - self._promised >= self._window // 4:
            self._promised = self._taken + self._window
            self._put(Kind.CREDIT, _CREDIT.pack(self._promised))

    def bye(self, why: str) -> None:
        """End the connection, and say why. A message that is half sent stays so."""
        if self.state is State.OPEN:
            self._put(Kind.BYE, why.encode()[:BYE_BYTES_MAX])
        self._close()

    def data_to_send(self) -> list[Octets]:
        """The next buffers: what is urgent first, then one frame of a message. Empty if there is nothing."""
        if self._output:
            return self._output.popleft()
        outgoing = self._outgoing
        if outgoing is None:
            return []
        part = outgoing.payload[outgoing.sent : outgoing.sent + self._frame_bytes_max]
        first = outgoing.sent == 0
        outgoing.sent += len(part)
        if outgoing.sent == len(outgoing.payload):
            self._outgoing = None
        self.frames_sent += 1
        if first:
            return frames.first_frame(outgoing.kind, len(outgoing.payload), part)
        return frames.frame(outgoing.kind, part)

    def _send_ping(self, now: Now) -> None:
        self._pinged_ns = now.monotonic_ns
        if self._pinged_at is None:
            self._ping += 1
            self._pinged_at = now
            self._put(Kind.PING, _PING.pack(self._ping))

    def _put(self, kind: Kind, payload: bytes) -> None:
        self.frames_sent += 1
        self._output.append(frames.frame(kind, payload))
