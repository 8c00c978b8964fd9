"""The log of a node: what the storage has, then what it does not have yet; what is committed, being applied, applied.

``applied <= applying <= committed <= last index``, and none of them ever falls (asserted). Entries up to ``committed``
are never replaced (asserted).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tsdb.cluster.raft.entries import Entry, Snapshot, limited, total_size
from tsdb.cluster.raft.storage import LogStorage
from tsdb.cluster.raft.unstable import Unstable


class Log:
    def __init__(self, storage: LogStorage, applying_bytes_max: int) -> None:
        first, last = storage.first_index(), storage.last_index()
        assert first <= last + 1, f"the log begins at {first} and ends at {last}"
        snapshot = storage.snapshot()
        # Else entries between the two are nowhere.
        assert snapshot is None or snapshot.index + 1 >= first or snapshot.index == 0, (
            f"a hole between the snapshot at {snapshot.index} and the log from {first}"
        )
        self._storage = storage
        self.unstable = Unstable(last + 1)
        self.committed = self.applying = self.applied = first - 1
        self._applying_bytes_max = applying_bytes_max
        self._applying_bytes = 0
        self._applying_paused = False

    # What is there

    def first_index(self) -> int:
        return self.unstable.first_index() or self._storage.first_index()

    def last_index(self) -> int:
        last = self.unstable.last_index()
        return self._storage.last_index() if last is None else last

    def last_id(self) -> tuple[int, int]:
        """(index, term) of the last entry."""
        index = self.last_index()
        term = self.term(index)
        assert term is not None, f"the last entry {index} has no term"
        return index, term

    def term(self, index: int) -> int | None:
        """The term of an entry, or of the one before the first; None if it is not there (any more)."""
        if index + 1 < self.first_index() or index > self.last_index():
            return None
        term = self.unstable.term(index)
        return self._storage.term(index) if term is None else term

    def matches(self, index: int, term: int) -> bool:
        return self.term(index) == term

    def entries(self, low: int, bytes_max: int) -> list[Entry] | None:
        """Entries from ``low`` on, at most so many bytes; None if some of them are compacted."""
        if low < self.first_index():
            return None
        return self.slice(low, self.last_index() + 1, bytes_max) if low <= self.last_index() else []

    def slice(self, low: int, high: int, bytes_max: int) -> list[Entry]:
        """Entries of the half-open [low, high), all of them there; of those a prefix of at most so many bytes."""
        if low >= high:
            return []
        assert self.first_index() <= low < high <= self.last_index() + 1, f"entries [{low}, {high}) are not there"
        offset = self.unstable.offset
        if low >= offset:
            return limited(self.unstable.slice(low, high), bytes_max)
        stored = self._storage.entries(low, min(high, offset), bytes_max)
        if high <= offset or len(stored) < offset - low:
            return stored
        size = total_size(stored)
        if size >= bytes_max:
            return stored
        rest = limited(self.unstable.slice(offset, high), bytes_max - size)
        # A single entry may be larger than what is left.
        return stored + rest if size + total_size(rest) <= bytes_max else stored

    def scan(self, low: int, high: int, bytes_max: int) -> Iterator[Entry]:
        """Entries of the half-open [low, high), in pages."""
        while low < high:
            page = self.slice(low, high, bytes_max)
            yield from page
            low += len(page)

    def snapshot(self) -> Snapshot | None:
        return self.unstable.snapshot or self._storage.snapshot()

    def is_up_to_date(self, index: int, term: int) -> bool:
        """Whether a log that ends at (index, term) has at least what this one may have committed (thesis, 3.6.1)."""
        last_index, last_term = self.last_id()
        return (term, index) >= (last_term, last_index)

    def find_conflict_by_term(self, index: int, term: int) -> tuple[int, int]:
        """(index, term) of the last entry up to ``index`` with at most that term: where logs may still be equal.

        (index, 0) where the log is compacted.
        """
        while index > 0:
            ours = self.term(index)
            if ours is None:
                return index, 0
            if ours <= term:
                return index, ours
            index -= 1
        return 0, 0

    # What changes it

    def append(self, entries: Sequence[Entry]) -> int:
        """Entries after the log's end, or in place of its end; the last index then."""
        if entries:
            assert entries[0].index > self.committed, f"committed entry {entries[0].index} would be replaced"
            self.unstable.append(entries)
        return self.last_index()

    def append_after(self, index: int, term: int, entries: Sequence[Entry]) -> bool:
        """What a leader sent: entries after (index, term). False if that is not in the log.

        Entries that are there already stay, so that an old message takes nothing away; from the first that differs
        on, all are replaced.
        """
        if not self.matches(index, term):
            return False
        for at, entry in enumerate(entries):
            if not self.matches(entry.index, entry.term):
                self.append(entries[at:])
                break
        return True

    def commit_to(self, index: int) -> None:
        if index > self.committed:
            assert index <= self.last_index(), f"commit index {index} beyond the end {self.last_index()} of the log"
            self.committed = index

    def restore(self, snapshot: Snapshot) -> None:
        assert snapshot.index > self.committed, "a snapshot of the past"
        self.committed = snapshot.index
        self.unstable.restore(snapshot)

    # What is written and applied

    def stable_to(self, index: int, term: int) -> None:
        self.unstable.stable_to(index, term)

    def next_unstable(self) -> list[Entry]:
        return self.unstable.next_entries()

    @property
    def has_unstable(self) -> bool:
        """Entries that are not known to be on disk, being written or not."""
        return bool(self.unstable.entries)

    @property
    def installs_snapshot(self) -> bool:
        return self.unstable.snapshot is not None

    def _appliable(self, unstable: bool) -> int:
        return self.committed if unstable else min(self.committed, self.unstable.offset - 1)

    def next_committed(self, unstable: bool) -> list[Entry]:
        """Committed entries to apply now: at most so many bytes are being applied at once.

        ``unstable``: also those that are not on disk here, since they will be before they are applied.
        """
        if self._applying_paused or self.installs_snapshot:
            return []
        low, high = self.applying + 1, self._appliable(unstable) + 1
        return self.slice(low, high, self._applying_bytes_max - self._applying_bytes) if low < high else []

    def accept_applying(self, index: int, size: int, unstable: bool) -> None:
        assert self.applying <= index <= self.committed
        self.applying = index
        self._applying_bytes += size
        self._applying_paused = self._applying_bytes >= self._applying_bytes_max or index < self._appliable(unstable)

    def applied_to(self, index: int, size: int) -> None:
        assert self.applied <= index <= self.committed, f"applied {index} is not in [{self.applied}, {self.committed}]"
        self.applied = index
        self.applying = max(self.applying, index)
        self._applying_bytes = max(self._applying_bytes - size, 0)
        self._applying_paused = self._applying_bytes >= self._applying_bytes_max
