"""What a node wants done: the order of the fields is the order of the work."""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.cluster.raft.entries import Entry, HardState, Snapshot
from tsdb.cluster.raft.messages import Apply, Message, Store
from tsdb.cluster.raft.reads import ReadState
from tsdb.cluster.raft.state import Role


@dataclass(frozen=True, slots=True)
class Standing:
    """Who leads, and what this node is: nothing to write down."""

    leader: int
    role: Role


@dataclass(frozen=True, slots=True)
class Ready:
    """Work, in this order.

    1. Send ``messages_at_once``; they say nothing of this node's disk, so they need not wait for 2.
    2. Write ``state``, ``entries`` (they replace what the log has from the first one's index on) and ``snapshot`` (it
       replaces state machine and log) in one batch, synced if ``must_sync``.
    3. Send ``messages``.
    4. Apply ``committed`` to the state machine; hand each change of members to ``Node.apply_change``.
    5. ``Node.advance``.

    Of an asynchronous node 2 to 5 are two pieces of work instead, for two workers that each do theirs in order:
    ``store`` and ``apply``. Both say what to step when they are done.
    """

    standing: Standing | None
    """If it is another than before."""
    read_states: tuple[ReadState, ...]
    messages_at_once: tuple[Message, ...]
    state: HardState | None
    """If it is another than before."""
    entries: tuple[Entry, ...]
    snapshot: Snapshot | None
    must_sync: bool
    """Term, vote, entries or a snapshot are new. A new commit index alone may be lost."""
    messages: tuple[Message, ...]
    committed: tuple[Entry, ...]
    store: Store | None
    apply: Apply | None
