"""What is agreed on and what has to survive: entries, the hard state, configurations, snapshots. Values only.

Words are Raft's (Ongaro's thesis): a *term* numbers elections, an *index* numbers entries from 1. ``NOBODY`` is the
node id that no node has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum

import msgspec

NOBODY = 0
NO_LIMIT = 1 << 62


class EntryKind(IntEnum):
    NORMAL = 0
    """A command of the state machine, or the empty entry with which a leader begins its term."""
    SINGLE_CHANGE = 1
    """A change of one member in the old form, without a transition."""
    CHANGE = 2
    """A change of members, by joint consensus where it takes more than one."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One entry of the log.

    ``origin`` and ``number`` name the proposal it came from when a follower forwarded it, and ``checksum`` is the
    CRC-32 of the body then. An *elided* entry travels without its body: the origin has it already.
    """

    term: int
    index: int
    kind: EntryKind = EntryKind.NORMAL
    body: bytes = b""
    origin: int = NOBODY
    number: int = 0
    checksum: int = 0
    elided: bool = False

    @property
    def size(self) -> int:
        """Bytes that it takes in a message, about: what limits of messages and of applying count."""
        return 8 + len(self.body) if self.body else 6


class HardState(msgspec.Struct, frozen=True, array_like=True):
    """What a node must never forget: it is on disk before any message that follows from it leaves (thesis, 3.8)."""

    term: int = 0
    vote: int = NOBODY
    commit: int = 0


NO_STATE = HardState()


class Configuration(msgspec.Struct, frozen=True, array_like=True):
    """Who is in the group. Joint while ``outgoing`` is not empty: both sets of voters must agree then (thesis, 4.3).

    ``learners`` get the log and count for nothing; ``learners_next`` are outgoing voters that become learners when
    the joint configuration is left, by the leader itself if ``auto_leave``. All tuples are sorted.
    """

    voters: tuple[int, ...] = ()
    outgoing: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False

    @property
    def joint(self) -> bool:
        return bool(self.outgoing)

    def all_voters(self) -> list[int]:
        """Voters of either set, sorted."""
        return sorted({*self.voters, *self.outgoing})

    def has(self, node: int) -> bool:
        """Whether the node is a member in any part. (``learners_next`` are among the outgoing.)"""
        return node in self.voters or node in self.learners or node in self.outgoing

    def __str__(self) -> str:
        text = f"voters={_ids(self.voters)}"
        if self.outgoing:
            text += f"&&{_ids(self.outgoing)}"
        if self.learners:
            text += f" learners={_ids(self.learners)}"
        if self.learners_next:
            text += f" learners_next={_ids(self.learners_next)}"
        return text + (" autoleave" if self.auto_leave else "")


def _ids(nodes: Iterable[int]) -> str:
    return "(" + " ".join(map(str, nodes)) + ")"


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """The state machine's state after the entry at ``index``, and the configuration that holds there."""

    index: int
    term: int
    configuration: Configuration
    body: bytes = b""


def total_size(entries: Sequence[Entry]) -> int:
    return sum(entry.size for entry in entries)


def body_size(entries: Sequence[Entry]) -> int:
    return sum(len(entry.body) for entry in entries)


def limited(entries: Sequence[Entry], bytes_max: int) -> list[Entry]:
    """The longest prefix of at most so many bytes; at least one entry, so that a large one gets through alone."""
    if bytes_max >= NO_LIMIT:
        return list(entries)
    taken: list[Entry] = []
    size = 0
    for entry in entries:
        size += entry.size
        if taken and size > bytes_max:
            break
        taken.append(entry)
    return taken
