"""How much a connection carries and how long it waits; tests choose small numbers, so that corners come often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tsdb.cluster.transport.frames import FRAME_BYTES_MAX
from tsdb.cluster.transport.greeting import NEWEST_VERSION, OF_GUESTS, OLDEST_VERSION, Purpose

KIB, MIB = 1 << 10, 1 << 20
SECOND = 1_000_000_000

MESSAGE_COST = 64
"""What a message counts beside its octets, so that many empty ones are bounded, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bytes of one connection.

    ``message_bytes_max``: of one message. ``window``: of messages that have arrived and are not taken yet, which is
    what a receiver holds at most. ``queue_bytes_max``: of messages that wait to be sent.
    """

    frame_bytes_max: int = FRAME_BYTES_MAX
    message_bytes_max: int
    window: int
    queue_bytes_max: int

    def __post_init__(self) -> None:
        assert 0 < self.frame_bytes_max <= FRAME_BYTES_MAX
        # Credit is given a quarter of the window at a time: one message fits whatever has been given.
        assert 2 * (self.message_bytes_max + MESSAGE_COST) <= self.window, "two messages fit into the window"
        assert self.message_bytes_max + MESSAGE_COST <= self.queue_bytes_max, "a message fits into the queue"


CONTROL_MESSAGE_BYTES_MAX = 64 * KIB
"""What is longer goes over the log connection, so that a heartbeat does not wait behind it."""

LIMITS: Mapping[Purpose, Limits] = {
    Purpose.CONTROL: Limits(message_bytes_max=CONTROL_MESSAGE_BYTES_MAX, window=2 * MIB, queue_bytes_max=4 * MIB),
    Purpose.LOG: Limits(message_bytes_max=64 * MIB, window=130 * MIB, queue_bytes_max=66 * MIB),
    Purpose.CLIENT: Limits(message_bytes_max=16 * KIB, window=64 * KIB, queue_bytes_max=32 * KIB),
    Purpose.ROUNDS: Limits(message_bytes_max=256 * KIB, window=1 * MIB, queue_bytes_max=1 * MIB),
}
GUEST_LIMITS = Limits(message_bytes_max=17 * MIB, window=35 * MIB, queue_bytes_max=18 * MIB)
"""What a guest takes; its queue is the one that waits for it here. A single command may be of 16 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Deadlines, in nanoseconds.

    ``connect_ns``: for TCP and TLS. ``greeting_ns``: for hello and its answer. ``ping_ns``: between pings.
    ``silence_ns``: who has sent no whole frame for so long is gone. ``goodbye_ns``: for the last bytes of a clean stop.
    """

    connect_ns: int = 3 * SECOND
    greeting_ns: int = 3 * SECOND
    ping_ns: int = SECOND // 2
    silence_ns: int = 3 * SECOND
    goodbye_ns: int = SECOND
    dial_again_ns: int = SECOND // 20
    """The first wait after a connection failed; it doubles up to ``dial_again_ns_max``."""
    dial_again_ns_max: int = 2 * SECOND

    def __post_init__(self) -> None:
        assert 0 < 2 * self.ping_ns <= self.silence_ns, "a ping comes more often than silence is noticed"
        assert 0 < self.dial_again_ns <= self.dial_again_ns_max


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a node's connections behave. ``versions``: the oldest and the newest protocol version that it speaks.

    ``greetings_max``: connections at once of which nobody knows yet who they are, of each stage (TLS, greeting);
    ``clients_max``: guests at once.
    """

    limits: Mapping[Purpose, Limits] = field(default_factory=lambda: LIMITS)
    guest_limits: Limits = GUEST_LIMITS
    greetings_max: int = 64
    clients_max: int = 256
    times: Times = field(default_factory=Times)
    versions: tuple[int, int] = (OLDEST_VERSION, NEWEST_VERSION)

    def limits_of(self, purpose: Purpose) -> Limits:
        """What the acceptor of such a connection takes."""
        return self.limits.get(purpose, LIMITS[purpose])

    def limits_back(self, purpose: Purpose) -> Limits | None:
        """What the dialer of such a connection takes; None: no messages."""
        if purpose is Purpose.ROUNDS:
            return self.limits_of(purpose)
        return self.guest_limits if purpose in OF_GUESTS else None


SETTINGS = Settings()
