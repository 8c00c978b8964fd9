"""The durable log of a Raft group: entries, hard state, where the log begins, and how far the state machine is.

All of it is in family ``raft`` of the node's one store, so one synced batch holds the hard state and the entries of a
``Ready``, and another the effect of a command together with the index that says that it is applied. The WAL keeps the
order of batches: what is lost in a crash is a tail of them, so whatever a batch rests on is there if it is.

The state machine's own durable state *is* the snapshot; the log has no second copy of it. To send it, somebody pins
the log (``begin_snapshot``), so that the entries after it stay until it has arrived (``end_snapshot``). A pin expires.

What an entry means is not known here: its bytes come from ``tsdb.cluster`` and go back to it. Layout, all numbers
big-endian, every value a frame (magic ``TR``): docs/format/raft.md.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from tsdb.errors import DataCorrupted
from tsdb.storage.frame import seal, unseal
from tsdb.storage.keys import raft_key, unpack_raft_key

FAMILY = "raft"
MAGIC = b"TR"
VERSION = 1
# The part of a group's records: the order of keys is entries last.
_STATE, _BASE, _APPLIED, _ENTRY = 0, 1, 2, 3

_THREE = struct.Struct(">QQQ")
_PAIR = struct.Struct(">QQ")
_ONE = struct.Struct(">Q")


class Records(Protocol):
    """The part of ``tsdb.storage.rocks.Rocks`` that the log needs; a simulated disk has it as well."""

    def batch(self) -> Any:
        """Changes that are written together: ``put``, ``delete``, ``delete_range`` by family and key."""
        ...

    def write(self, batch: Any, sync: bool) -> None: ...

    def get(self, family: str, key: bytes) -> bytes | None: ...

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]: ...

    def scan(self, family: str, low: bytes = b"", high: bytes | None = None) -> Iterator[tuple[bytes, bytes]]: ...


class RaftLog:
    """The log of one group. It belongs to one thread or task at a time.

    Terms and sizes of all entries are in memory, 16 bytes each; their bytes are read from the store when asked for.
    """

    def __init__(self, records: Records, group: int) -> None:
        """Raises DataCorrupted if what is there is not a whole log."""
        self._records = records
        self._group = group
        self.state = self._read_state()
        self.base_index, self.base_term = self._read_base()
        self.applied_index, self.applied_note = self._read_applied()
        self._terms: deque[int] = deque()
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._pins: dict[str, tuple[int, int]] = {}
        self._read_entries()
        self._check()

    # What is there

    @property
    def is_new(self) -> bool:
        """Nothing was ever written."""
        return self.state is None and self.base_index == 0

    @property
    def first_index(self) -> int:
        return self.base_index + 1

    @property
    def last_index(self) -> int:
        return self.base_index + len(self._terms)

    @property
    def byte_count(self) -> int:
        """Of all entries, as they are stored."""
        return self._bytes

    def term(self, index: int) -> int | None:
        """The term of an entry, or of the one before the first; None if it is not there."""
        if index == self.base_index:
            return self.base_term
        at = index - self.first_index
        return self._terms[at] if 0 <= at < len(self._terms) else None

    def entries(self, low: int, high: int, bytes_max: int) -> list[bytes]:
        """What entries in the half-open [low, high) hold, of those a prefix of at most so many bytes, at least one.

        Raises DataCorrupted, IoError.
        """
        assert self.first_index <= low <= high <= self.last_index + 1, f"entries [{low}, {high}) are not there"
        end, size = low, 0
        while end < high:
            size += self._sizes[end - self.first_index]
            if end > low and size > bytes_max:
                break
            end += 1
        keys = [raft_key(self._group, _ENTRY, index) for index in range(low, end)]
        values = self._records.get_many(FAMILY, keys)
        return [self._payload(low + at, value) for at, value in enumerate(values)]

    def _payload(self, index: int, value: bytes | None) -> bytes:
        if value is None:
            raise DataCorrupted(f"entry {index} of group {self._group} is missing in the log")
        frame = unseal(value, MAGIC, VERSION, f"entry {index} of group {self._group}")
        if _ONE.unpack_from(frame)[0] != self.term(index):
            raise DataCorrupted(f"entry {index} of group {self._group} has another term than when it was opened")
        return bytes(frame[_ONE.size :])

    # Writing

    def bootstrap(self, index: int, term: int, note: bytes) -> None:
        """Begin a group: the state after ``index``, which all first members have alike, with ``note``. Synced."""
        assert self.is_new, "the group has a log already"
        batch = self._records.batch()
        self._stage_state(batch, (term, 0, index))
        self._stage_base(batch, index, term)
        self.stage_applied(batch, index, note)
        self._records.write(batch, sync=True)
        self.state = (term, 0, index)
        self.base_index, self.base_term = index, term
        self.did_apply(index, note)

    def write(
        self,
        state: tuple[int, int, int] | None,
        entries: Sequence[tuple[int, int, bytes]],
        sync: bool,
    ) -> None:
        """Hard state (term, vote, commit) and entries (index, term, what they hold) in one batch.

        Entries replace what the log has from the first one's index on. Raises FatalStorageError.
        """
        batch = self._records.batch()
        if state is not None:
            self._stage_state(batch, state)
        if entries:
            first = entries[0][0]
            assert self.first_index <= first <= self.last_index + 1, f"a hole in the log before {first}"
            assert first > self.applied_index, f"applied entry {first} would be replaced"
            end = entries[-1][0] + 1
            if end <= self.last_index:
                self._stage_no_entries(batch, end, self.last_index + 1)
            for index, term, payload in entries:
                frame = seal(MAGIC, VERSION, _ONE.pack(term), payload)
                batch.put(FAMILY, raft_key(self._group, _ENTRY, index), frame)
        self._records.write(batch, sync)
        if state is not None:
            self.state = state
        if entries:
            self._drop_tail(entries[0][0])
            for _, term, payload in entries:
                self._remember(term, len(payload))

    def stage_applied(self, batch: Any, index: int, note: bytes) -> None:
        """Say in a batch, beside the effect of the command at ``index``, that it is applied.

        ``note`` is what else holds there: the configuration. ``did_apply`` when the batch is written.
        """
        assert index >= self.applied_index, f"applied {index} after {self.applied_index}"
        batch.put(FAMILY, raft_key(self._group, _APPLIED), seal(MAGIC, VERSION, _ONE.pack(index), note))

    def did_apply(self, index: int, note: bytes) -> None:
        self.applied_index, self.applied_note = index, note

    def stage_install(self, batch: Any, state: tuple[int, int, int] | None, index: int, term: int, note: bytes) -> None:
        """Put a snapshot in place of the log, in the batch that puts it in place of the state machine.

        ``did_install`` when the batch is written, synced.
        """
        assert index > self.applied_index, f"a snapshot at {index}, and {self.applied_index} is applied"
        if state is not None:
            self._stage_state(batch, state)
        self._stage_no_entries(batch, self.first_index, self.last_index + 1)
        self._stage_base(batch, index, term)
        self.stage_applied(batch, index, note)

    def did_install(self, state: tuple[int, int, int] | None, index: int, term: int, note: bytes) -> None:
        if state is not None:
            self.state = state
        self._drop_tail(self.first_index)
        self.base_index, self.base_term = index, term
        self.did_apply(index, note)
        self._pins.clear()

    # Truncation

    def begin_snapshot(self, name: str, now: int, expires: int) -> tuple[int, int]:
        """(index, term) of the state that is sent; entries after it stay until ``end_snapshot`` or ``expires``.

        ``now`` and ``expires`` are ticks of any clock that only goes forward.
        """
        assert expires > now
        term = self.term(self.applied_index)
        assert term is not None, "the state machine is not in the log"
        self._pins[name] = (self.applied_index, expires)
        return self.applied_index, term

    def renew_snapshot(self, name: str, expires: int) -> bool:
        """The sending goes on; False if the pin had expired."""
        pin = self._pins.get(name)
        if pin is not None:
            self._pins[name] = (pin[0], expires)
        return pin is not None

    def end_snapshot(self, name: str, ok: bool) -> bool:
        """The sending ended, well or not; False if the pin had expired: then entries may be missing."""
        return self._pins.pop(name, None) is not None and ok

    def truncate(self, now: int, live: Iterable[int], keep_bytes: int) -> int:
        """Forget entries that nobody needs: applied, pinned by nobody, and matched by every live member.

        ``live`` are the match indexes of members that still answer: who is slow gets entries rather than a snapshot,
        but not more than ``keep_bytes`` of them stay for that. The number of entries forgotten. Not synced.
        """
        self._pins = {name: pin for name, pin in self._pins.items() if pin[1] > now}
        # Who is before the log already gets a snapshot whatever stays.
        through = min([self.applied_index, *(match for match in live if match >= self.base_index)])
        kept = sum(self._sizes[at] for at in range(max(through - self.base_index, 0), len(self._sizes)))
        while kept > keep_bytes and through < self.applied_index:
            kept -= self._sizes[through - self.base_index]
            through += 1
        through = min([through, *(index for index, _ in self._pins.values())])
        count = through - self.base_index
        if count <= 0:
            return 0
        term = self.term(through)
        assert term is not None
        batch = self._records.batch()
        self._stage_no_entries(batch, self.first_index, through + 1)
        self._stage_base(batch, through, term)
        self._records.write(batch, sync=False)
        for _ in range(count):
            self._terms.popleft()
            self._bytes -= self._sizes.popleft()
        self.base_index, self.base_term = through, term
        return count

    # Details

    def _stage_state(self, batch: Any, state: tuple[int, int, int]) -> None:
        batch.put(FAMILY, raft_key(self._group, _STATE), seal(MAGIC, VERSION, _THREE.pack(*state)))

    def _stage_base(self, batch: Any, index: int, term: int) -> None:
        batch.put(FAMILY, raft_key(self._group, _BASE), seal(MAGIC, VERSION, _PAIR.pack(index, term)))

    def _stage_no_entries(self, batch: Any, low: int, high: int) -> None:
        if low < high:
            batch.delete_range(FAMILY, raft_key(self._group, _ENTRY, low), raft_key(self._group, _ENTRY, high))

    def _remember(self, term: int, size: int) -> None:
        self._terms.append(term)
        self._sizes.append(size)
        self._bytes += size

    def _drop_tail(self, first: int) -> None:
        while self.last_index >= first:
            self._terms.pop()
            self._bytes -= self._sizes.pop()

    def _read(self, part: int, what: str) -> memoryview | None:
        value = self._records.get(FAMILY, raft_key(self._group, part))
        return None if value is None else unseal(value, MAGIC, VERSION, f"{what} of group {self._group}")

    def _read_state(self) -> tuple[int, int, int] | None:
        frame = self._read(_STATE, "the hard state")
        if frame is None:
            return None
        term, vote, commit = _THREE.unpack(frame)
        return term, vote, commit

    def _read_base(self) -> tuple[int, int]:
        frame = self._read(_BASE, "the beginning of the log")
        if frame is None:
            return 0, 0
        index, term = _PAIR.unpack(frame)
        return index, term

    def _read_applied(self) -> tuple[int, bytes]:
        frame = self._read(_APPLIED, "the applied index")
        if frame is None:
            return 0, b""
        return _ONE.unpack_from(frame)[0], bytes(frame[_ONE.size :])

    def _read_entries(self) -> None:
        low, high = raft_key(self._group, _ENTRY), raft_key(self._group, _ENTRY + 1)
        for key, value in self._records.scan(FAMILY, low, high):
            index = unpack_raft_key(key)[2]
            if index != self.last_index + 1:
                raise DataCorrupted(f"group {self._group} has entry {index} after {self.last_index}: a hole in its log")
            frame = unseal(value, MAGIC, VERSION, f"entry {index} of group {self._group}")
            self._remember(_ONE.unpack_from(frame)[0], len(frame) - _ONE.size)

    def _check(self) -> None:
        """Hard state, state machine and log belong together: else the node has lost something and must not vote."""
        term, _, commit = self.state or (0, 0, 0)
        where = f"group {self._group}"
        if not self.base_index <= self.applied_index <= self.last_index:
            raise DataCorrupted(
                f"{where} has applied {self.applied_index}, and its log is after {self.base_index} to {self.last_index}"
            )
        # The commit index may be behind what is applied, where the two are written by different hands.
        if commit > self.last_index:
            raise DataCorrupted(f"{where} has committed {commit}, and its log ends at {self.last_index}")
        if (self.term(self.last_index) or 0) > term:
            raise DataCorrupted(f"{where} is in term {term}, and its log in {self.term(self.last_index)}")
