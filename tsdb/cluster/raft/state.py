"""The state of one node and the few moves that every role shares: changing role and term, sending, reporting.

What a role does with a message is in ``leader``, ``candidate`` and ``follower``; ``step`` chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from tsdb.cluster.raft.changes import restored
from tsdb.cluster.raft.entries import NOBODY, HardState
from tsdb.cluster.raft.events import Event, EventKind, Listener, ignore
from tsdb.cluster.raft.forwarding import PendingBodies
from tsdb.cluster.raft.log import Log
from tsdb.cluster.raft.messages import AppendReply, Message, NeedBody, ReadIndex, VoteReply
from tsdb.cluster.raft.progress import Inflights, Progress
from tsdb.cluster.raft.reads import PendingReads, ReadState
from tsdb.cluster.raft.settings import Settings
from tsdb.cluster.raft.storage import LogStorage

# Draws a number below the one given. All chance of a node comes through it.
Chance = Callable[[int], int]


class Role(Enum):
    FOLLOWER = "StateFollower"
    PRE_CANDIDATE = "StatePreCandidate"
    CANDIDATE = "StateCandidate"
    LEADER = "StateLeader"


class ClockState(Enum):
    """How far this node's clock is from the median of the voters' (``clock_check``)."""

    AGREES = "agrees"
    """Lease reads are allowed."""
    DOUBTFUL = "doubtful"
    """Reads ask the majority."""
    WRONG = "wrong"
    """This node does not lead."""


class ProposalDropped(Exception):
    """A proposal was not taken, and never will be: it may be made again. The text says why."""


class Raft:
    """Everything that a node knows. Not for the world outside: ``node.Node`` is."""

    def __init__(
        self, settings: Settings, storage: LogStorage, chance: Chance, applied: int = 0, listener: Listener = ignore
    ) -> None:
        self.settings = settings
        self.node = settings.node
        self._chance = chance
        self._listener = listener
        self.term = 0
        self.vote = NOBODY
        self.role = Role.FOLLOWER
        self.leader = NOBODY
        self.clock = ClockState.AGREES
        self.log = Log(storage, settings.applying_bytes_max)
        self.pending_bodies = PendingBodies(self.node, 1 + chance(1 << 62), settings.pending_bytes_max)

        # Of a candidate: who voted, and how.
        self.votes: dict[int, bool] = {}
        # Of a leader.
        self.transferee = NOBODY
        # To whom it handed over in this term, in vain.
        self.declined: set[int] = set()
        self.pending_change_index = 0
        self.uncommitted_bytes = 0
        self.reads = PendingReads()
        self.postponed_reads: list[ReadIndex] = []

        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.election_timeout = 0
        # Ticks of this life; ticks since any leader was heard, whatever term it is now.
        self.ticks = 0
        self.heard_elapsed = settings.election_ticks
        self.lease_given_away = False

        # What goes out: at once; when everything before it is on disk; answers to reads.
        self.messages: list[Message] = []
        self.messages_when_durable: list[Message] = []
        self.read_states: list[ReadState] = []

        state, configuration = storage.initial()
        self.configuration, self.members = restored(configuration, self.log.last_index(), self.new_inflights)
        self._load(state)
        if applied:
            self.log.applied_to(applied, 0)
        self.become_follower(self.term, NOBODY, "start")
        self.report(EventKind.STARTED, NOBODY, f"log {self.log.first_index()} to {self.log.last_index()}")

    def _load(self, state: HardState) -> None:
        if state == HardState():
            return
        assert self.log.committed <= state.commit <= self.log.last_index(), (
            f"commit index {state.commit} of the hard state is not in [{self.log.committed}, {self.log.last_index()}]"
        )
        assert self.log.last_id()[1] <= state.term, "the log is of a later term than the hard state"
        self.log.committed = state.commit
        self.term, self.vote = state.term, state.vote
        # An earlier life may have promised a lease just now.
        self.heard_elapsed = 0

    # What others see

    def hard_state(self) -> HardState:
        return HardState(self.term, self.vote, self.log.committed)

    @property
    def is_learner(self) -> bool:
        member = self.members.get(self.node)
        return member is not None and member.learner

    @property
    def promotable(self) -> bool:
        """Whether it may become leader: a voter whose state is whole and whose clock can be believed."""
        member = self.members.get(self.node)
        whole = member is not None and not member.learner and not self.log.installs_snapshot
        return whole and self.clock is not ClockState.WRONG

    def others(self) -> list[tuple[int, Progress]]:
        """The other members, in the order of their ids."""
        return [(node, self.members[node]) for node in sorted(self.members) if node != self.node]

    def report(self, kind: EventKind, peer: int, cause: str) -> None:
        self._listener(Event(self.node, kind, self.term, peer, cause))

    def new_inflights(self) -> Inflights:
        return Inflights(self.settings.inflight_max, self.settings.inflight_bytes_max)

    # Sending

    def send(self, message: Message) -> None:
        """Votes, and answers to appends, say that something is on disk here, so they wait until it is (thesis, 3.8)."""
        if isinstance(message, (AppendReply, VoteReply, NeedBody)):
            self.messages_when_durable.append(message)
        else:
            assert message.to != self.node, "a message to itself"
            self.messages.append(message)

    # Roles

    def _reset(self, term: int) -> None:
        if self.term != term:
            assert term > self.term, f"term {term} after {self.term}"
            self.term = term
            self.vote = NOBODY
        self.leader = NOBODY
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.draw_election_timeout()
        self.transferee = NOBODY
        self.declined.clear()
        self.votes = {}
        last = self.log.last_index()
        for node, member in self.members.items():
            match = last if node == self.node else 0
            self.members[node] = Progress(last + 1, self.new_inflights(), match=match, learner=member.learner)
        self.pending_change_index = 0
        self.uncommitted_bytes = 0
        self.lease_given_away = False
        self.reads = PendingReads()

    def draw_election_timeout(self) -> None:
        """Anew each time, so that candidates do not meet for ever (thesis, 3.4)."""
        self.election_timeout = self.settings.election_ticks + self._chance(self.settings.election_ticks)

    def become_follower(self, term: int, leader: int, cause: str) -> None:
        was, was_term, was_leader = self.role, self.term, self.leader
        self._reset(term)
        self.role = Role.FOLLOWER
        self.leader = leader
        self.postponed_reads = []
        if was is Role.LEADER:
            self.report(EventKind.STEPPED_DOWN, leader, cause)
        elif term != was_term:
            self.report(EventKind.TERM, leader, cause)
        if leader != was_leader:
            self.report(EventKind.FOLLOWS, leader, cause)

    def become_candidate(self, cause: str) -> None:
        assert self.role is not Role.LEADER, "a leader does not campaign"
        self._reset(self.term + 1)
        self.vote_for(self.node)
        self.role = Role.CANDIDATE
        self.report(EventKind.CAMPAIGN, NOBODY, cause)

    def become_pre_candidate(self, cause: str) -> None:
        """It asks first whether it would win: no term is used up by one that would not (thesis, 9.6)."""
        assert self.role is not Role.LEADER, "a leader does not campaign"
        self.votes = {}
        self.leader = NOBODY
        self.role = Role.PRE_CANDIDATE
        self.report(EventKind.CAMPAIGN, NOBODY, f"{cause}: asks before")

    def vote_for(self, node: int) -> None:
        assert self.vote in (NOBODY, node), f"a second vote in term {self.term}: {node} after {self.vote}"
        if self.vote != node:
            self.vote = node
            self.report(EventKind.VOTE, node, "the first that asked in this term with a log that is up to date")

    def become_leader_of_term(self) -> None:
        """Takes the role; ``replication.lead`` then begins the term."""
        assert self.role in (Role.CANDIDATE, Role.PRE_CANDIDATE), "only who was elected leads"
        votes = sorted(node for node, granted in self.votes.items() if granted)
        self._reset(self.term)
        self.leader = self.node
        self.role = Role.LEADER
        me = self.members[self.node]
        me.become_replicate()
        me.recent_active = True
        # No change of members before it is known that none is in the log that is not applied.
        self.pending_change_index = self.log.last_index()
        self.report(EventKind.LEADER, self.node, f"votes of {votes}")
