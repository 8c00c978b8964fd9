"""What nodes say to each other: one small immutable type for each thing that is said.

Every message has ``sender`` and ``to`` (node ids). Most have the sender's ``term``: a receiver in an earlier term
steps down first, one in a later term answers nothing but what brings the sender up to date. Proposals and reads have
none: they are the client's word and not the term's. msgspec gives all of them a compact form for the transport.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from tsdb.cluster.raft.entries import NOBODY, Entry, HardState, Snapshot


class Propose(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Entries without term and index, for the leader to append."""

    sender: int
    to: int
    entries: tuple[Entry, ...]


class Append(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Entries that follow the one at (``previous_index``, ``previous_term``), and the leader's commit index."""

    sender: int
    to: int
    term: int
    previous_index: int
    previous_term: int
    entries: tuple[Entry, ...]
    commit: int


class AppendReply(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The log matches the leader's through ``index`` and is durable there; or it has no match at ``index``.

    A rejection carries a guess at the last index (and its term) where the logs may match.
    """

    sender: int
    to: int
    term: int
    index: int
    rejected: bool = False
    hint_index: int = 0
    hint_term: int = 0


class NeedBody(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The entry at ``index`` came without its body, and the receiver does not have it any more."""

    sender: int
    to: int
    term: int
    index: int


class Vote(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Asks for a vote in ``term``; ``pre``: would you vote for me in that term (thesis, 9.6)?

    ``transfer``: the leader itself asked for this election, so no lease of his stands against it.
    """

    sender: int
    to: int
    term: int
    last_index: int
    last_term: int
    pre: bool = False
    transfer: bool = False


class VoteReply(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """A vote, or the refusal of one.

    A refusal says how far the log is known to be committed: ``commit``, the index, and that entry's term. Who needs the
    vote of a node that left the voters, since it does not know of its leaving, learns of it so.
    """

    sender: int
    to: int
    term: int
    pre: bool = False
    rejected: bool = False
    commit: int = 0
    commit_term: int = 0


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """I lead. ``commit`` is not beyond what the receiver is known to have; ``context`` names reads in progress.

    ``sent`` is the leader's count of ticks, which comes back: from then on the receiver votes for nobody else for a
    while.
    """

    sender: int
    to: int
    term: int
    commit: int
    context: bytes = b""
    sent: int = 0


class HeartbeatReply(msgspec.Struct, frozen=True, array_like=True, tag=8):
    sender: int
    to: int
    term: int
    context: bytes = b""
    sent: int = 0


class InstallSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=9):
    sender: int
    to: int
    term: int
    snapshot: Snapshot


class TransferLeadership(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """Asks the leader to hand over to ``sender``."""

    sender: int
    to: int
    term: int = 0


class TimeoutNow(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Campaign at once: your leader hands over to you (thesis, 3.10)."""

    sender: int
    to: int
    term: int


class ReadIndex(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """Asks the leader for an index that a read must have applied to be linearizable (thesis, 6.4)."""

    sender: int
    to: int
    context: bytes


class ReadIndexReply(msgspec.Struct, frozen=True, array_like=True, tag=13):
    sender: int
    to: int
    term: int
    index: int
    context: bytes


Message: TypeAlias = (
    Propose
    | Append
    | AppendReply
    | NeedBody
    | Vote
    | VoteReply
    | Heartbeat
    | HeartbeatReply
    | InstallSnapshot
    | TransferLeadership
    | TimeoutNow
    | ReadIndex
    | ReadIndexReply
)

# What only members may answer; from others it is refused.
REPLIES = (AppendReply, NeedBody, VoteReply, HeartbeatReply, ReadIndexReply)


class Stored(msgspec.Struct, frozen=True):
    """The storage's word to its own node: on disk through (``index``, ``log_term``), the snapshot installed.

    ``term`` is the node's when it asked: after a change of terms the log may have lost and regained an entry of this
    very index and term, of which only the first writing is done, so later terms do not believe it about entries.
    """

    to: int
    term: int
    index: int = 0
    log_term: int = 0
    snapshot: Snapshot | None = None


class Applied(msgspec.Struct, frozen=True):
    """The state machine's word to its own node: these entries are applied."""

    to: int
    entries: tuple[Entry, ...]


class Store(msgspec.Struct, frozen=True):
    """Work for the storage, in order: write all of it in one synced batch, then send and step ``replies``."""

    sender: int
    state: HardState | None
    entries: tuple[Entry, ...]
    snapshot: Snapshot | None
    replies: tuple[Message | Stored, ...]


class Apply(msgspec.Struct, frozen=True):
    """Work for the state machine, in order: apply the entries, then step ``reply``."""

    sender: int
    entries: tuple[Entry, ...]
    reply: Applied


def sender_of(message: Message) -> int:
    return message.sender or NOBODY
