"""What the core asks of the storage that holds what is durable, and a storage in memory.

The core only reads. Whoever drives it writes what each ``Ready`` says, in one synced batch, before the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tsdb.cluster.raft.entries import NO_LIMIT, NO_STATE, Configuration, Entry, HardState, Snapshot, limited


class LogStorage(Protocol):
    """The durable part of a node: a snapshot and the entries after it, without a hole between the two."""

    def initial(self) -> tuple[HardState, Configuration]:
        """The hard state, and the configuration at the last applied entry."""
        ...

    def first_index(self) -> int:
        """Of the entries that are there, or would be: entries before it are in the snapshot only."""
        ...

    def last_index(self) -> int: ...

    def term(self, index: int) -> int | None:
        """The term of an entry, also of the last one before the first; None if it is not there."""
        ...

    def entries(self, low: int, high: int, bytes_max: int) -> list[Entry]:
        """Entries in the half-open [low, high), all of them there, and of those a prefix of at most so many bytes."""
        ...

    def snapshot(self) -> Snapshot | None:
        """The latest snapshot; None while there is none to give, and then it is asked for again."""
        ...


class MemoryStorage:
    """Raft's storage in memory: for tests, and to say in few lines what a storage does."""

    def __init__(self) -> None:
        self.state = NO_STATE
        self._snapshot = Snapshot(0, 0, Configuration())
        # The first is no entry but where the log begins: what the snapshot or a compaction covers.
        self._entries: list[Entry] = [Entry(0, 0)]

    def initial(self) -> tuple[HardState, Configuration]:
        return self.state, self._snapshot.configuration

    def first_index(self) -> int:
        return self._entries[0].index + 1

    def last_index(self) -> int:
        return self._entries[-1].index

    def term(self, index: int) -> int | None:
        at = index - self._entries[0].index
        return self._entries[at].term if 0 <= at < len(self._entries) else None

    def entries(self, low: int, high: int, bytes_max: int = NO_LIMIT) -> list[Entry]:
        assert self.first_index() <= low <= high <= self.last_index() + 1, f"entries [{low}, {high}) are not there"
        base = self._entries[0].index
        return limited(self._entries[low - base : high - base], bytes_max)

    def snapshot(self) -> Snapshot | None:
        return self._snapshot

    def append(self, entries: Sequence[Entry]) -> None:
        """Entries that follow or replace those from the first one's index on; what is compacted already is skipped."""
        entries = [entry for entry in entries if entry.index >= self.first_index()]
        if not entries:
            return
        at = entries[0].index - self._entries[0].index
        assert at <= len(self._entries), f"a hole in the log before {entries[0].index}"
        self._entries[at:] = entries

    def install(self, snapshot: Snapshot) -> None:
        """A snapshot in place of everything; an older one than there is changes nothing."""
        if snapshot.index <= self._snapshot.index:
            return
        self._snapshot = snapshot
        self._entries = [Entry(snapshot.term, snapshot.index)]

    def make_snapshot(self, index: int, configuration: Configuration, body: bytes) -> Snapshot:
        """Of the state after the entry at ``index``, which is in the log."""
        term = self.term(index)
        assert term is not None, f"no entry {index} to make a snapshot at"
        assert index >= self._snapshot.index, f"a snapshot at {index}, before the last"
        self._snapshot = Snapshot(index, term, configuration, body)
        return self._snapshot

    def compact(self, through: int) -> None:
        """Forget the entries up to ``through``."""
        base = self._entries[0].index
        if through <= base:
            return
        assert through <= self.last_index(), f"compaction through {through} beyond the end of the log"
        head = self._entries[through - base]
        self._entries[: through - base + 1] = [Entry(head.term, head.index)]
