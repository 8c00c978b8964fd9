"""The part of the log that is not known to be on disk: a snapshot, then entries, each perhaps being written.

``offset`` is the index of the first entry here. ``in_progress`` is the index after the last entry that was handed out
to be written. Writing ends in any order of terms, so what is *stable* is named by index and term both.
"""

from __future__ import annotations

from collections.abc import Sequence

from tsdb.cluster.raft.entries import Entry, Snapshot


class Unstable:
    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.in_progress = offset
        self.entries: list[Entry] = []
        self.snapshot: Snapshot | None = None
        self.snapshot_in_progress = False

    def first_index(self) -> int | None:
        return self.snapshot.index + 1 if self.snapshot else None

    def last_index(self) -> int | None:
        if self.entries:
            return self.offset + len(self.entries) - 1
        return self.snapshot.index if self.snapshot else None

    def term(self, index: int) -> int | None:
        at = index - self.offset
        if 0 <= at < len(self.entries):
            return self.entries[at].term
        return self.snapshot.term if self.snapshot and self.snapshot.index == index else None

    def slice(self, low: int, high: int) -> list[Entry]:
        return self.entries[low - self.offset : high - self.offset]

    def next_entries(self) -> list[Entry]:
        """Entries that nobody is writing yet."""
        return self.entries[self.in_progress - self.offset :]

    def next_snapshot(self) -> Snapshot | None:
        return None if self.snapshot_in_progress else self.snapshot

    def accept(self) -> None:
        """Everything here has been handed out to be written."""
        self.in_progress = self.offset + len(self.entries)
        self.snapshot_in_progress = self.snapshot is not None

    def stable_to(self, index: int, term: int) -> None:
        """What is on disk through (index, term) need not be here; nothing if it has been replaced since."""
        if index < self.offset or self.term(index) != term:
            return
        del self.entries[: index + 1 - self.offset]
        self.offset = index + 1
        self.in_progress = max(self.in_progress, self.offset)

    def stable_snapshot(self, index: int) -> None:
        if self.snapshot and self.snapshot.index == index:
            self.snapshot = None
            self.snapshot_in_progress = False

    def restore(self, snapshot: Snapshot) -> None:
        self.offset = self.in_progress = snapshot.index + 1
        self.entries = []
        self.snapshot = snapshot
        self.snapshot_in_progress = False

    def append(self, entries: Sequence[Entry]) -> None:
        """Entries after those that are here, or in place of those from their first index on."""
        first = entries[0].index
        if first <= self.offset:
            # The disk has some of what is replaced: the new ones are written over them.
            self.offset = self.in_progress = first
            self.entries = list(entries)
            return
        assert first <= self.offset + len(self.entries), f"a hole in the log before {first}"
        self.entries[first - self.offset :] = entries
        self.in_progress = min(self.in_progress, first)
