"""What one replica is and knows, and the few things that any role does with it. Rules of roles are elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from tsdb.cluster.replication.clients import NOBODY, Answer, NotLeader, Write
from tsdb.cluster.replication.log import Log, OpStorage
from tsdb.cluster.replication.messages import Ack, BeatAck, Dirty, Fence, Message, Promise
from tsdb.cluster.replication.reads import Reads
from tsdb.cluster.replication.record import Had, Record, Request, Seal
from tsdb.cluster.replication.settings import Settings
from tsdb.cluster.replication.waiting import Waiting

Clip: TypeAlias = Callable[[bytes, int, int], tuple[bytes, int]]
"""(a body, low, high) to the body of its rows in [low, high), and how many those are."""
NEVER = -(1 << 60)


class Role(Enum):
    FOLLOWER = "follower"
    TAKING_OVER = "taking over"
    LEADER = "leader"


class Counters:
    """Point counters of a node, which all its locations draw from. They rise, also above those of logs taken over."""

    def __init__(self, last: int = 0, node: int = 0) -> None:
        self.last = last
        self.node = node

    def take(self, rows: int, above: int) -> int:
        """The first of so many."""
        first = max(self.last, above) + 1
        self.last = first + rows - 1
        return first


@dataclass(slots=True)
class Peer:
    """What a leader knows of another replica in its epoch. A *probing* leader sends once and waits for an answer."""

    next: int
    match: int = 0
    probing: bool = True
    sent: bool = False
    heard: int = NEVER
    snapshot_until: int = NEVER


@dataclass(slots=True)
class Takeover:
    """On the way to leading: promises that came, and whose log is fetched until when."""

    promises: dict[int, Promise] = field(default_factory=dict)
    source: int = NOBODY
    deadline: int = NEVER
    installs: bool = False
    """A snapshot was asked for."""


class State:
    """One replica of one location."""

    def __init__(self, settings: Settings, replica: int, location: int, storage: OpStorage, counters: Counters,
                 clip: Clip, dirty: bool) -> None:  # fmt: skip
        kept = storage.kept()
        self.settings, self.replica, self.location = settings, replica, location
        self.log = Log(storage, kept)
        self.counters, self.clip, self.dirty = counters, clip, dirty
        self.ticks, self.now_ns = 0, 0
        self.promised = self.promised_durable = self.promised_taken = kept.promised
        self.role = Role.FOLLOWER
        self.record: Record | None = None
        self.retired: Seal | None = None
        # A follower's
        self.leader = NOBODY
        self.verified = 0
        self.commit_heard = 0
        self.heard = NEVER
        self.fresh_ns = NEVER
        self.fresh_sequence = 0
        self.ack_to = NOBODY
        self.ack_round = 0
        self.promise_to = NOBODY
        self.fetch_at = 0
        self.markers: dict[int, tuple[int, bytes]] = {}
        # A leader's, and of one that will be
        self.epoch = 0
        self.voters: tuple[int, ...] = ()
        self.active = False
        self.barrier = 0
        self.fence_due = False
        self.takeover = Takeover()
        self.peers: dict[int, Peer] = {}
        self.waiting = Waiting()
        self.reads = Reads()
        self.digests: dict[int, dict[int, Had]] = {}
        self.diverged: set[tuple[int, int]] = set()
        self.asked_at = NEVER
        self.successor, self.hold_until = NOBODY, NEVER
        self.abdicated = False
        self.held: list[Write] = []
        # What is to be done
        self.messages: list[Message] = []
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
        self.snapshots: list[int] = []

    @property
    def majority(self) -> int:
        return len(self.voters) // 2 + 1

    @property
    def leader_known(self) -> int:
        """Whom to ask instead of this replica."""
        if self.leader != NOBODY:
            return self.leader
        return self.record.leader if self.record else NOBODY

    def heard_from(self, sender: int) -> Peer | None:
        """Somebody answered this leader in its epoch."""
        peer = self.peers.get(sender)
        if peer is not None:
            peer.heard = self.ticks
        return peer

    def send(self, message: Message) -> None:
        self.messages.append(message)

    def request(self, request: Request) -> None:
        self.requests.append(request)

    def answer(self, answer: Answer) -> None:
        self.answers.append(answer)

    def promise(self, epoch: int) -> None:
        """Nothing of an earlier epoch is taken from now on, and nothing of it is acknowledged."""
        assert epoch > self.promised, f"promised {epoch} after {self.promised} (I2)"
        self.promised = epoch
        self.step_down(NOBODY)
        self.verified = self.commit_heard = 0
        self.ack_to = self.promise_to = NOBODY
        self.ack_round = 0
        self.leader = NOBODY

    def step_down(self, leader: int) -> None:
        """Follow. What was written stays in the log, and nobody knows what becomes of it."""
        if self.role is Role.FOLLOWER:
            return
        self.role = Role.FOLLOWER
        self.active = self.fence_due = False
        self.successor = NOBODY
        self.digests, self.diverged = {}, set()
        self.answers += self.waiting.give_up(self.log.epoch_at)
        for write in self.held:
            self.answer(NotLeader(write.id, leader, self.promised))
        self.held = []
        for read in self.reads.give_up():
            self.answer(NotLeader(read, leader, self.promised))

    def settle(self, *, written: bool = False) -> None:
        """What was owed until something is durable leaves, if that is so now.

        It is looked at anew and was not queued: what a promise has made void in between cannot be on its way any more.
        """
        if self.promised_durable < self.promised:
            return
        if self.fence_due:
            self.fence_due = False
            self.send_fences()
        if self.promise_to and self.log.stable == self.log.last and not self.log.has_unwritten:
            log = self.log
            self.send(Promise(self.replica, self.promise_to, self.location, self.promised, log.vector.ends(), log.base,
                              log.commit))  # fmt: skip
            self.promise_to = NOBODY
        if self.ack_to and (written or self.verified <= self.log.stable):
            match = min(self.verified, self.log.stable)
            self.send(Ack(self.replica, self.ack_to, self.location, self.promised, match, self.ack_round))
            self.ack_round = 0
            if self.verified <= self.log.stable:
                self.ack_to = NOBODY

    def send_fences(self) -> None:
        """To whoever has not promised yet (2.3, step 2)."""
        assert self.record is not None
        for to in sorted({*self.record.active_voters, *self.voters}):
            if to != self.replica and to not in self.takeover.promises:
                self.send(Fence(self.replica, to, self.location, self.epoch))

    def refuse_as_dirty(self, message: Message) -> None:
        if isinstance(message, Fence):
            self.send(Dirty(self.replica, message.sender, self.location, message.epoch))

    def beat_ack(self, to: int, epoch: int, number: int) -> None:
        """Only if no later epoch is promised: that is what a read rests on."""
        if self.promised == epoch:
            self.send(BeatAck(self.replica, to, self.location, epoch, number))
