"""Followers of the log that are no members: a router that keeps the metadata, a watch. Any member may feed them.

They get what is committed and nothing else, so they never take anything back, and may change from one member to another
at any time, at whatever index they are: no gap and no repeat. The group does not know of them.

``ClientLearner`` is the follower's side, ``Feeds`` a member's. A follower names each beginning with a *session*
number, so that what an earlier member, or an earlier beginning, still sends is not mistaken for the present one's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import msgspec

from tsdb.cluster.raft.entries import Entry, Snapshot


class Follow(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """Send me what comes after ``index``, now and from now on."""

    sender: int
    to: int
    session: int
    index: int


class Feed(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """Committed entries after ``previous``; without any: I am there."""

    sender: int
    to: int
    session: int
    previous: int
    entries: tuple[Entry, ...] = ()


class FeedSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """The state, since the log does not reach back to what was asked for."""

    sender: int
    to: int
    session: int
    snapshot: Snapshot


class Followed(msgspec.Struct, frozen=True, array_like=True, tag=23):
    """I have everything through ``index``."""

    sender: int
    to: int
    session: int
    index: int


FeedMessage: TypeAlias = Follow | Feed | FeedSnapshot | Followed


class CommittedLog(Protocol):
    """What a member has to feed from; ``node.Node`` is one."""

    def committed_after(self, index: int, bytes_max: int) -> list[Entry] | None:
        """Committed entries, at most so many bytes; None if the log does not reach back so far."""
        ...

    def snapshot(self) -> Snapshot | None:
        """The latest state, if there is one to give now."""
        ...


@dataclass(slots=True)
class _Feeding:
    session: int
    sent: int
    """The last index that was sent, whether it arrived or not."""
    acked: int
    silent: int = 0
    """Ticks since it said anything."""
    quiet: int = 0
    """Ticks since anything was sent to it."""
    snapshot: int = 0
    """The index of the state that is on its way to it: nothing else is sent meanwhile."""


class Feeds:
    """The followers that a member feeds. Each has at most so much on its way, and is forgotten when it is silent."""

    def __init__(
        self,
        node: int,
        *,
        followers_max: int = 1000,
        bytes_max: int = 1 << 18,
        window: int = 1024,
        beat_ticks: int = 5,
        patience_ticks: int = 50,
    ) -> None:
        self.node = node
        self._followers: dict[int, _Feeding] = {}
        self._followers_max = followers_max
        self._bytes_max = bytes_max
        self._window = window
        self._beat = beat_ticks
        self._patience = patience_ticks

    def __len__(self) -> int:
        return len(self._followers)

    def step(self, message: Follow | Followed) -> None:
        """A follower speaks. One too many is not heard, and asks another member."""
        feeding = self._followers.get(message.sender)
        if isinstance(message, Follow):
            if feeding is not None and message.session < feeding.session:
                return
            if feeding is None and len(self._followers) >= self._followers_max:
                return
            # Something is said at once, so that it knows that it is heard.
            self._followers[message.sender] = _Feeding(message.session, message.index, message.index, 0, self._beat)
        elif feeding is not None and message.session == feeding.session:
            feeding.acked = max(feeding.acked, message.index)
            feeding.silent = 0

    def forget(self, follower: int) -> None:
        """It left."""
        self._followers.pop(follower, None)

    def heard(self, follower: int) -> None:
        """It takes what is sent to it, of a long state perhaps."""
        feeding = self._followers.get(follower)
        if feeding is not None:
            feeding.silent = 0

    def tick(self) -> None:
        """Time passes: who is silent for long is forgotten."""
        for follower, feeding in list(self._followers.items()):
            feeding.silent += 1
            feeding.quiet += 1
            if feeding.silent > self._patience:
                del self._followers[follower]

    def messages(self, log: CommittedLog) -> list[FeedMessage]:
        """What is to be sent now: call it after every change of the log and every tick."""
        said: list[FeedMessage] = []
        for follower, feeding in self._followers.items():
            said += self._next(follower, feeding, log)
        return said

    def _next(self, follower: int, feeding: _Feeding, log: CommittedLog) -> list[FeedMessage]:
        if feeding.acked < feeding.snapshot:
            return []
        if feeding.sent - feeding.acked >= self._window:
            entries: list[Entry] | None = []
        else:
            entries = log.committed_after(feeding.sent, self._bytes_max)
        if entries is None:
            snapshot = log.snapshot()
            if snapshot is None or snapshot.index <= feeding.sent:
                return []
            feeding.sent = feeding.snapshot = snapshot.index
            feeding.quiet = 0
            return [FeedSnapshot(self.node, follower, feeding.session, snapshot)]
        if not entries and feeding.quiet < self._beat:
            return []
        previous, feeding.quiet = feeding.sent, 0
        if entries:
            feeding.sent = entries[-1].index
        return [Feed(self.node, follower, feeding.session, previous, tuple(entries))]


class ClientLearner:
    """One that keeps what the group keeps without being in it. ``index`` is how far it is."""

    def __init__(self, node: int, members: Sequence[int], index: int = 0, patience_ticks: int = 20) -> None:
        assert members, "nobody to follow"
        self.node = node
        self.index = index
        self._members = tuple(members)
        self._at = node % len(members)
        self._session = 0
        self._silent = patience_ticks
        self._patience = patience_ticks

    def use(self, members: Sequence[int]) -> None:
        """Whom it may ask from now on."""
        assert members, "nobody to follow"
        current = self._members[self._at]
        self._members = tuple(members)
        if current in members:
            self._at = self._members.index(current)
        else:
            self._at, self._silent = 0, self._patience

    @property
    def following(self) -> int:
        """The member that it asks now."""
        return self._members[self._at]

    def heard(self) -> None:
        """Something came of a state that is on its way."""
        self._silent = 0

    def still_there(self) -> Followed:
        """What is said meanwhile, so that its sender does not forget this one."""
        return Followed(self.node, self.following, self._session, self.index)

    def tick(self) -> list[FeedMessage]:
        """Time passes: a member that says nothing for long is left for the next."""
        self._silent += 1
        if self._silent <= self._patience:
            return []
        self._at = (self._at + 1) % len(self._members)
        return [self.begin()]

    def begin(self) -> Follow:
        """What is said to the member that it asks: from where on it follows."""
        self._session += 1
        self._silent = 0
        return Follow(self.node, self._members[self._at], self._session, self.index)

    def step(self, message: Feed | FeedSnapshot) -> tuple[Snapshot | None, tuple[Entry, ...], list[FeedMessage]]:
        """What is new, each index once and in order: a snapshot, then entries; and what is to be sent."""
        if message.session != self._session or message.sender != self._members[self._at]:
            return None, (), []
        self._silent = 0
        snapshot: Snapshot | None = None
        entries: tuple[Entry, ...] = ()
        if isinstance(message, FeedSnapshot):
            if message.snapshot.index > self.index:
                snapshot = message.snapshot
                self.index = snapshot.index
        elif message.previous > self.index:
            # Something was lost on the way.
            return None, (), [self.begin()]
        else:
            entries = tuple(entry for entry in message.entries if entry.index > self.index)
            if entries:
                assert entries[0].index == self.index + 1, f"entry {entries[0].index} after {self.index}"
                self.index = entries[-1].index
        return snapshot, entries, [Followed(self.node, message.sender, self._session, self.index)]
