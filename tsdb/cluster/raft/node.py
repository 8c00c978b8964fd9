"""A node of a Raft group, to be fed and drained: ticks, messages and proposals in, ``Ready`` out.

The one who drives it does what ``Ready`` says, and nothing here ever waits, draws or looks at a clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.cluster.raft import candidate, leader, membership, step
from tsdb.cluster.raft.changes import Change, change_of
from tsdb.cluster.raft.entries import NO_STATE, NOBODY, Configuration, Entry, EntryKind, HardState, Snapshot
from tsdb.cluster.raft.events import EventKind, Listener, ignore
from tsdb.cluster.raft.messages import (
    REPLIES,
    Applied,
    Apply,
    Message,
    Propose,
    ReadIndex,
    Store,
    Stored,
    TransferLeadership,
    Vote,
)
from tsdb.cluster.raft.progress import Progress, ProgressState
from tsdb.cluster.raft.ready import Ready, Standing
from tsdb.cluster.raft.settings import Settings
from tsdb.cluster.raft.state import Chance, ClockState, Raft, Role
from tsdb.cluster.raft.storage import LogStorage


class PeerUnknown(Exception):
    """An answer from a node that is no member."""


@dataclass(frozen=True, slots=True)
class Status:
    """How a node stands; ``members`` is what a leader knows of the others and empty elsewhere."""

    node: int
    term: int
    vote: int
    role: Role
    leader: int
    committed: int
    applied: int
    configuration: Configuration
    transferee: int
    members: dict[int, Progress]


class Node:
    """One member of one group. ``chance(n)`` draws a number below n; ``applied`` is the state machine's index."""

    def __init__(
        self, settings: Settings, storage: LogStorage, chance: Chance, applied: int = 0, listener: Listener = ignore
    ) -> None:
        self._raft = Raft(settings, storage, chance, applied, listener)
        self._standing = Standing(NOBODY, Role.FOLLOWER)
        self._state = self._raft.hard_state()
        self._on_advance: list[Message | Stored | Applied] = []
        self._waits_for_advance = False

    @property
    def has_leader(self) -> bool:
        """Whether somebody leads who was heard of late; of who leads itself, whether a majority answered of late."""
        raft = self._raft
        leads = raft.role is Role.LEADER
        return leads or (raft.leader != NOBODY and raft.heard_elapsed < 2 * raft.settings.election_ticks)

    # In

    def tick(self) -> None:
        """Time passes. Heartbeats and elections come of it."""
        self._raft.ticks += 1
        self._raft.heard_elapsed += 1
        if self._raft.role is Role.LEADER:
            leader.tick(self._raft)
        else:
            candidate.tick(self._raft)

    def campaign(self) -> None:
        """Begin an election now, if this node may."""
        candidate.start(self._raft, "asked to")

    def propose(self, body: bytes) -> None:
        """Have a command appended, by the leader. Raises ProposalDropped; that it is taken promises nothing yet."""
        self._propose(Entry(0, 0, EntryKind.NORMAL, body))

    def propose_change(self, change: Change, *, single: bool = False) -> None:
        """Have members changed. ``single``: in the old form, of one member. Raises ProposalDropped.

        If another change is not applied yet an empty entry is appended instead.
        """
        assert not single or len(change.members) == 1
        self._propose(Entry(0, 0, EntryKind.SINGLE_CHANGE if single else EntryKind.CHANGE, change.encode()))

    def _propose(self, entry: Entry) -> None:
        step.step(self._raft, Propose(self._raft.node, self._raft.node, (entry,)))

    def read_index(self, context: bytes) -> None:
        """Ask for an index at which a read is linearizable; ``Ready.read_states`` answers, or nothing (ask again).

        ``context`` names the request and must be unique in the group.
        """
        step.step(self._raft, ReadIndex(NOBODY, self._raft.node, context))

    def transfer_leadership(self, to: int) -> None:
        """Ask the leader to hand over to a member."""
        step.step(self._raft, TransferLeadership(to, self._raft.node))

    def step(self, message: Message | Stored | Applied) -> None:
        """A message that arrived. Raises ProposalDropped, PeerUnknown."""
        if isinstance(message, Stored):
            step.stored(self._raft, message)
        elif isinstance(message, Applied):
            step.applied(self._raft, message)
        elif isinstance(message, REPLIES) and message.sender not in self._raft.members:
            raise PeerUnknown(f"node {message.sender} is no member")
        else:
            step.step(self._raft, message)

    def report_unreachable(self, node: int) -> None:
        """What was sent to a node last did not arrive: probe it before more is sent."""
        member = self._raft.members.get(node)
        if self._raft.role is Role.LEADER and member and member.state is ProgressState.REPLICATE:
            member.become_probe()

    def report_snapshot(self, node: int, installed: bool) -> None:
        """How the sending of a snapshot to a node ended. If nobody says it, that node gets nothing more."""
        member = self._raft.members.get(node)
        if self._raft.role is not Role.LEADER or member is None or member.state is not ProgressState.SNAPSHOT:
            return
        if not installed:
            member.pending_snapshot = 0
        member.become_probe()
        # Until its answer to the snapshot comes, or a heartbeat's.
        member.paused = True

    def forget_leader(self) -> None:
        """Believe the leader gone: votes for others are possible at once."""
        raft = self._raft
        if raft.role is Role.FOLLOWER and raft.leader != NOBODY and not raft.settings.lease_reads:
            raft.leader = NOBODY
            raft.report(EventKind.FOLLOWS, NOBODY, "asked to forget its leader")

    def set_clock(self, clock: ClockState) -> None:
        """What the comparison of clocks says of this node's. A leader with a wrong one hands over."""
        raft = self._raft
        raft.clock = clock
        if clock is ClockState.WRONG and raft.role is Role.LEADER:
            leader.hand_over(raft)

    def apply_change(self, entry: Entry) -> Configuration | None:
        """The configuration after a committed change of members. Raises ChangeRefused.

        None where a snapshot that has it came meanwhile: then nothing from this entry on is to be applied. That is so
        only of an asynchronous node, whose applying goes on while messages arrive.
        """
        change = change_of(entry)
        assert change is not None, f"entry {entry.index} is no change of members"
        snapshot = self._raft.log.unstable.snapshot
        if snapshot is not None and entry.index <= snapshot.index:
            return None
        return membership.apply_change(self._raft, change)

    # Out

    def has_ready(self) -> bool:
        raft, log = self._raft, self._raft.log
        if self._waits_for_advance:
            return False
        return bool(
            raft.messages
            or raft.messages_when_durable
            or raft.read_states
            or log.next_unstable()
            or log.unstable.next_snapshot()
            or self._standing != Standing(raft.leader, raft.role)
            or self._state != raft.hard_state()
            or log.next_committed(not raft.settings.asynchronous)
        )

    def ready(self) -> Ready:
        """What is to be done now. Of a node that is not asynchronous the next one comes after ``advance``."""
        assert not self._waits_for_advance, "the last Ready is not carried out"
        raft, log = self._raft, self._raft.log
        asynchronous = raft.settings.asynchronous
        standing, state = Standing(raft.leader, raft.role), raft.hard_state()
        entries, snapshot = tuple(log.next_unstable()), log.unstable.next_snapshot()
        committed = tuple(log.next_committed(not asynchronous))
        changed = state if state not in (self._state, NO_STATE) else None
        self._check(state)
        at_once, when_durable = tuple(raft.messages), tuple(raft.messages_when_durable)
        others = tuple(message for message in when_durable if message.to != raft.node)
        if not asynchronous:
            # A vote that is asked for by a log that a crash may shorten must not count (``candidate.start``).
            others = (*(message for message in at_once if isinstance(message, Vote)), *others)
            at_once = tuple(message for message in at_once if not isinstance(message, Vote))
        # What the storage will have done: the end of the log as it is now.
        stored = None
        if log.has_unstable or snapshot is not None:
            index, term = log.last_id() if log.has_unstable else (0, 0)
            stored = Stored(raft.node, raft.term, index, term, snapshot)
        done = Applied(raft.node, committed)
        store: Store | None = None
        apply: Apply | None = None
        if asynchronous:
            if entries or changed or snapshot or when_durable:
                store = Store(raft.node, changed, entries, snapshot, (*when_durable, *((stored,) if stored else ())))
            if committed:
                apply = Apply(raft.node, committed, done)
        else:
            self._on_advance += [message for message in when_durable if message.to == raft.node]
            self._on_advance += [stored] if stored else []
            self._on_advance += [done] if committed else []
            self._waits_for_advance = True
        must_sync = bool(entries or snapshot) or (state.term, state.vote) != (self._state.term, self._state.vote)
        ready = Ready(
            standing=standing if standing != self._standing else None,
            read_states=tuple(raft.read_states),
            messages_at_once=at_once,
            state=changed,
            entries=entries,
            snapshot=snapshot,
            must_sync=must_sync,
            messages=() if asynchronous else others,
            committed=committed,
            store=store,
            apply=apply,
        )
        self._accept(ready, standing, state)
        return ready

    def _check(self, state: HardState) -> None:
        """Term and commit index only rise, and there is one vote a term."""
        was = self._state
        assert state.term >= was.term, f"{state} after {was}"
        assert state.commit >= was.commit, f"{state} after {was}"
        assert state.term > was.term or was.vote in (NOBODY, state.vote), f"a second vote: {state} after {was}"

    def _accept(self, ready: Ready, standing: Standing, state: HardState) -> None:
        raft = self._raft
        self._standing, self._state = standing, state
        raft.read_states, raft.messages, raft.messages_when_durable = [], [], []
        raft.log.unstable.accept()
        if ready.committed:
            size = sum(entry.size for entry in ready.committed)
            raft.log.accept_applying(ready.committed[-1].index, size, not raft.settings.asynchronous)

    def advance(self) -> None:
        """The last ``Ready`` is carried out, all of it."""
        assert self._waits_for_advance, "there is no Ready to be carried out"
        self._waits_for_advance = False
        done, self._on_advance = self._on_advance, []
        for message in done:
            # This node may have been removed by what it just applied.
            if not isinstance(message, REPLIES) or message.sender in self._raft.members:
                self.step(message)

    # For who follows the log without being a member (``clients``)

    def committed_after(self, index: int, bytes_max: int) -> list[Entry] | None:
        """Committed entries after an index, at most so many bytes; None if the log does not reach back so far."""
        log = self._raft.log
        if index + 1 < log.first_index():
            return None
        return log.slice(index + 1, log.committed + 1, bytes_max)

    def snapshot(self) -> Snapshot | None:
        """The latest snapshot, if there is one to give."""
        return self._raft.log.snapshot()

    @property
    def status(self) -> Status:
        raft = self._raft
        members = dict(raft.members) if raft.role is Role.LEADER else {}
        return Status(
            raft.node,
            raft.term,
            raft.vote,
            raft.role,
            raft.leader,
            raft.log.committed,
            raft.log.applied,
            raft.configuration,
            raft.transferee,
            members,
        )
