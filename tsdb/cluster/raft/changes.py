"""Changes of members: what may be asked for, its bytes in an entry, and what a configuration becomes by it.

A change of at most one voter takes effect directly; any other goes through a joint configuration, in which both the
old and the new majority must agree (thesis, 4.3). ``Transition`` says which, and who leaves the joint one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum

import msgspec

from tsdb.cluster.raft.entries import NOBODY, Configuration, Entry, EntryKind
from tsdb.cluster.raft.progress import Inflights, Progress


class ChangeRefused(Exception):
    """A change that no configuration may undergo. The text says why."""


class MemberChange(IntEnum):
    ADD_VOTER = 0
    REMOVE = 1
    UPDATE = 2
    ADD_LEARNER = 3


class Transition(IntEnum):
    AUTO = 0
    """Directly if at most one voter changes, else jointly, and the leader leaves the joint configuration itself."""
    IMPLICIT = 1
    """Jointly; the leader leaves by itself."""
    EXPLICIT = 2
    """Jointly; an empty change leaves."""


class Change(msgspec.Struct, frozen=True, array_like=True):
    """Members to change, in order. Without any it leaves a joint configuration. ``context`` is the proposer's."""

    members: tuple[tuple[MemberChange, int], ...] = ()
    transition: Transition = Transition.AUTO
    context: bytes = b""

    @property
    def leaves(self) -> bool:
        return not self.members and self.transition is Transition.AUTO

    @property
    def enters_joint(self) -> bool:
        return self.transition is not Transition.AUTO or len(self.members) > 1

    def encode(self) -> bytes:
        """The bytes in an entry; none for the change that leaves a joint configuration."""
        return b"" if self == Change() else _ENCODER.encode(self)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Change)


def change_of(entry: Entry) -> Change | None:
    """The change in an entry, if it is one."""
    if entry.kind is EntryKind.NORMAL:
        return None
    return _DECODER.decode(entry.body) if entry.body else Change()


class Draft:
    """A configuration and the members' progress, to be changed as one. The originals stay as they are."""

    def __init__(
        self,
        configuration: Configuration,
        members: dict[int, Progress],
        last_index: int,
        inflights: Callable[[], Inflights],
    ) -> None:
        self._was = configuration
        self._voters = set(configuration.voters)
        self._outgoing = set(configuration.outgoing)
        self._learners = set(configuration.learners)
        self._learners_next = set(configuration.learners_next)
        self._auto_leave = configuration.auto_leave
        self.members = dict(members)
        self._learner = {node: progress.learner for node, progress in members.items()}
        self._last_index = last_index
        self._inflights = inflights

    def change(self, change: Change) -> Configuration:
        """The configuration after a change. Raises ChangeRefused."""
        if change.leaves:
            self._leave()
        elif change.enters_joint:
            self._enter(change)
        else:
            self._simple(change.members)
        return self._finish()

    def simple(self, members: Sequence[tuple[MemberChange, int]]) -> Configuration:
        """Directly. Raises ChangeRefused if more than one voter changes."""
        self._simple(members)
        return self._finish()

    def enter(self, change: Change) -> Configuration:
        """Into a joint configuration. Raises ChangeRefused."""
        self._enter(change)
        return self._finish()

    def leave(self) -> Configuration:
        """Out of a joint configuration. Raises ChangeRefused."""
        self._leave()
        return self._finish()

    def _simple(self, members: Sequence[tuple[MemberChange, int]]) -> None:
        if self._outgoing:
            raise ChangeRefused("can't apply simple config change in joint config")
        self._apply(members)
        if len(self._voters ^ set(self._was.voters)) > 1:
            raise ChangeRefused("more than one voter changed without entering joint config")

    def _enter(self, change: Change) -> None:
        if self._outgoing:
            raise ChangeRefused("config is already joint")
        if not self._voters:
            raise ChangeRefused("can't make a zero-voter config joint")
        self._outgoing = set(self._voters)
        self._apply(change.members)
        self._auto_leave = change.transition is not Transition.EXPLICIT

    def _leave(self) -> None:
        if not self._outgoing:
            raise ChangeRefused("can't leave a non-joint config")
        for node in self._learners_next:
            self._learners.add(node)
            self._learner[node] = True
        self._learners_next.clear()
        for node in self._outgoing - self._voters - self._learners:
            del self.members[node], self._learner[node]
        self._outgoing.clear()
        self._auto_leave = False

    def _apply(self, members: Iterable[tuple[MemberChange, int]]) -> None:
        for kind, node in members:
            if node == NOBODY:
                continue
            if kind is MemberChange.ADD_VOTER:
                self._add_voter(node)
            elif kind is MemberChange.ADD_LEARNER:
                self._add_learner(node)
            elif kind is MemberChange.REMOVE:
                self._remove(node)
        if not self._voters:
            raise ChangeRefused("removed all voters")

    def _add_voter(self, node: int) -> None:
        self._track(node, learner=False)
        self._learner[node] = False
        self._learners.discard(node)
        self._learners_next.discard(node)
        self._voters.add(node)

    def _add_learner(self, node: int) -> None:
        if self._track(node, learner=True):
            self._learners.add(node)
            return
        if self._learner[node]:
            return
        for nodes in (self._voters, self._learners, self._learners_next):
            nodes.discard(node)
        # A voter of the outgoing majority becomes a learner only when that is left.
        if node in self._outgoing:
            self._learners_next.add(node)
        else:
            self._learner[node] = True
            self._learners.add(node)

    def _remove(self, node: int) -> None:
        for nodes in (self._voters, self._learners, self._learners_next):
            nodes.discard(node)
        if node not in self._outgoing:
            self.members.pop(node, None)
            self._learner.pop(node, None)

    def _track(self, node: int, learner: bool) -> bool:
        """Begin to track a node; False if it is tracked already."""
        if node in self.members:
            return False
        # Probed from the end of the log. Active at first, so that check-quorum gives it the time to answer.
        self.members[node] = Progress(max(self._last_index, 1), self._inflights(), learner=learner, active=True)
        self._learner[node] = learner
        return True

    def _finish(self) -> Configuration:
        members = {*self._voters, *self._outgoing, *self._learners, *self._learners_next}
        assert members == set(self.members), "a member without progress, or progress of nobody"
        assert self._learners_next <= self._outgoing, "who becomes a learner later is a voter until then"
        assert not self._learners & (self._voters | self._outgoing), "a learner that votes"
        assert self._outgoing or not (self._learners_next or self._auto_leave), "half a joint configuration"
        for node, learner in self._learner.items():
            self.members[node].learner = learner
        return Configuration(
            tuple(sorted(self._voters)),
            tuple(sorted(self._outgoing)),
            tuple(sorted(self._learners)),
            tuple(sorted(self._learners_next)),
            self._auto_leave,
        )


def restored(
    configuration: Configuration, last_index: int, inflights: Callable[[], Inflights]
) -> tuple[Configuration, dict[int, Progress]]:
    """Progress for a configuration that comes from a snapshot, and the configuration as its changes give it."""

    def one(members: dict[int, Progress], now: Configuration, change: Change) -> tuple[Configuration, Draft]:
        draft = Draft(now, members, last_index, inflights)
        return (
            draft.enter(change) if change.transition is not Transition.AUTO else draft.simple(change.members)
        ), draft

    now, members = Configuration(), dict[int, Progress]()
    old = configuration.outgoing or configuration.voters
    for node in old:
        now, draft = one(members, now, Change(((MemberChange.ADD_VOTER, node),)))
        members = draft.members
    wanted: list[tuple[MemberChange, int]] = []
    if configuration.outgoing:
        wanted += [(MemberChange.REMOVE, node) for node in configuration.outgoing]
        wanted += [(MemberChange.ADD_VOTER, node) for node in configuration.voters]
    wanted += [(MemberChange.ADD_LEARNER, node) for node in (*configuration.learners, *configuration.learners_next)]
    if configuration.outgoing:
        transition = Transition.IMPLICIT if configuration.auto_leave else Transition.EXPLICIT
        now, draft = one(members, now, Change(tuple(wanted), transition))
        members = draft.members
    else:
        for member in wanted:
            now, draft = one(members, now, Change((member,)))
            members = draft.members
    assert now == configuration, f"{configuration} cannot be reached by changes; they give {now}"
    return now, members
