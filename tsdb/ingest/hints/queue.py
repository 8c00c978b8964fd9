"""Which hints a node has: taken in durably, handed out for delivery in their order, bounded in bytes.

Hints of one producer and database go one after the other, as they were taken. Of one database one is tried at a time,
its producers in turn; after one that could not be stored its database rests (``REST_TICKS``). No clock and no thread is
here: who delivers counts ticks, and the disk is handed in.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tsdb.errors import DataCorrupted, ObjectNotInPrerequisiteState
from tsdb.ingest.hints.disk import Disk
from tsdb.ingest.hints.text import Octets, body_of, check_body, described, head_of, hint_of
from tsdb.model.hints import Hint

REST_TICKS = 4
PAGE_BYTES = 4096
"""What a file takes at least, and a multiple of it: so many hints there can be, also of short bodies."""
_PART = ".part"


class NotQueued(Exception):
    """Why a batch was not taken; nothing of it is kept."""


@dataclass(slots=True)
class _Waiting:
    """The hints of one database."""

    by_producer: dict[str, dict[int, Hint]] = field(default_factory=dict)
    turns: deque[str] = field(default_factory=deque)
    is_out: bool = False
    failures: int = 0
    why: str = ""
    rests_until: int = 0


class HintQueue:
    """Thread-safe. ``reserve_bytes``: nothing is taken when the disk would have less left."""

    def __init__(self, disk: Disk, bytes_max: int, reserve_bytes: int = 0) -> None:
        """Raises OSError. What is damaged is refused: it is listed, and stays."""
        self._disk = disk
        self._bytes_max = bytes_max
        self._reserve_bytes = reserve_bytes
        self._taking = threading.Lock()
        self._lock = threading.Lock()
        self._waiting: dict[int, _Waiting] = {}
        self._refused: dict[int, Hint] = {}
        self._bytes: dict[int, int] = {}
        self._last = 0
        self._counts = dict.fromkeys(("hints_queued", "hints_delivered", "hints_refused", "hints_not_queued"), 0)
        self._load()

    def _load(self) -> None:
        found: list[Hint] = []
        for name in self._disk.names():
            number, _, kind = name.partition(".")
            if name.endswith(_PART):
                # Its client was never told that it is queued.
                self._disk.remove(name)
            elif number.isdigit() and kind in ("hint", "refused"):
                try:
                    found.append(hint_of(self._disk.first_line(name)))
                except DataCorrupted as error:
                    found.append(Hint(int(number), refused=f"the file {name} is damaged: {error.message}"))
                self._bytes[int(number)] = _pages(self._disk.size(name))
        self._last = max((hint.number for hint in found), default=0)
        self._refused = {hint.number: hint for hint in found if hint.refused}
        for hint in sorted((hint for hint in found if not hint.refused), key=lambda hint: hint.number):
            twice = self._refused.pop(hint.number, None)
            if twice is not None:
                # The node crashed while it was refused. It is tried once more, and may be good by then.
                self._disk.remove(twice.file)
                self._disk.sync_names()
            self._put(hint)

    def _put(self, hint: Hint) -> None:
        own = self._waiting.setdefault(hint.database, _Waiting())
        if hint.producer not in own.by_producer:
            own.by_producer[hint.producer] = {}
            own.turns.append(hint.producer)
        own.by_producer[hint.producer][hint.batch] = hint

    # Taking in

    def take(self, hint: Hint, body: Octets) -> Hint:
        """Durable when this returns; one that waits already is not taken twice. Blocks. Raises NotQueued, and
        ObjectNotInPrerequisiteState for a number under which other lines wait."""
        with self._taking:
            there = self.find(hint.database, hint.producer, hint.batch, hint.digest)
            if there is not None:
                return there
            hint = described(replace(hint, number=self._last + 1), body)
            head = head_of(hint)
            size = _pages(len(head) + len(body))
            try:
                self._check_room(size)
                self._write(hint, head, body)
            except (OSError, NotQueued) as error:
                self._counts["hints_not_queued"] += 1
                if isinstance(error, OSError):
                    raise NotQueued(f"its file could not be written: {error.strerror or error}") from error
                raise
            with self._lock:
                self._last = hint.number
                self._bytes[hint.number] = size
                self._put(hint)
                self._counts["hints_queued"] += 1
            return hint

    def _check_room(self, size: int) -> None:
        """Raises NotQueued, OSError."""
        if self.bytes_held() + size > self._bytes_max:
            self.look_for_removed()
        held = self.bytes_held()
        if held + size > self._bytes_max:
            with self._lock:
                refused = sum(self._bytes[number] for number in self._refused)
            raise NotQueued(
                f"{held} of the {self._bytes_max} bytes of hints_bytes_max are taken, {refused} of them by refused "
                f"batches, and it needs {size}"
            )
        if self._disk.free_bytes() - size < self._reserve_bytes:
            raise NotQueued("the disk has no more room than disk_reserve")

    def _write(self, hint: Hint, head: bytes, body: Octets) -> None:
        """Its file is there as a whole, or not at all. Raises OSError: then it is not, or the error says that it may
        be after a crash."""
        part = hint.file + _PART
        try:
            self._disk.write(part, (head, body))
            self._disk.sync(part)
            self._disk.rename(part, hint.file)
        except OSError:
            self._disk.remove(part)
            raise
        try:
            self._disk.sync_names()
        except OSError as error:
            self._take_back(hint, error)
            raise

    def _take_back(self, hint: Hint, error: OSError) -> None:
        """Who is told that it is not queued may send its lines under another number. Raises OSError."""
        try:
            self._disk.remove(hint.file)
            self._disk.sync_names()
        except OSError:
            reason = f"{error.strerror or error}; after a restart of this node it may be there, and is stored then"
            raise OSError(error.errno, reason) from error

    # Looking

    def find(self, database: int, producer: str, batch: int, digest: int) -> Hint | None:
        """The hint that waits with that number. Raises ObjectNotInPrerequisiteState if its lines are others."""
        with self._lock:
            own = self._waiting.get(database)
            found = None if own is None else own.by_producer.get(producer, {}).get(batch)
        if found is not None and found.digest != digest:
            raise ObjectNotInPrerequisiteState(
                f'batch {batch} of producer "{producer}" waits at this node with other content',
                detail="Nothing of this one is stored.",
                hint="A number belongs to one batch: send this one with a number that was not used.",
            )
        return found

    def has_of(self, database: int, producer: str) -> bool:
        """Whether batches of this producer wait."""
        with self._lock:
            own = self._waiting.get(database)
            return own is not None and producer in own.by_producer

    def has_any(self, database: int) -> bool:
        """Whether batches for this database wait."""
        with self._lock:
            return database in self._waiting

    def is_stuck(self, database: int) -> bool:
        """Whether the last of a database that was tried could not be stored."""
        with self._lock:
            own = self._waiting.get(database)
            return own is not None and own.failures > 0

    def waiting(self) -> int:
        """How many wait."""
        with self._lock:
            return sum(len(each) for own in self._waiting.values() for each in own.by_producer.values())

    def listing(self) -> list[Hint]:
        """All that wait, and those that were refused, in their order."""
        self.look_for_removed()
        with self._lock:
            found = [*self._refused.values()]
            for own in self._waiting.values():
                for each in own.by_producer.values():
                    found += [replace(hint, waits_for=own.why) for hint in each.values()]
        return sorted(found, key=lambda hint: (hint.number, not hint.refused))

    def bytes_held(self) -> int:
        with self._lock:
            return sum(self._bytes.values())

    def gauges(self) -> Mapping[str, float]:
        held, waiting = self.bytes_held(), self.waiting()
        with self._lock:
            return {**self._counts, "hints": waiting, "hints_bytes": held, "hints_kept": len(self._refused)}

    def look_for_removed(self) -> None:
        """Forget refused ones whose file an operator has removed. Raises OSError."""
        if not self._refused:
            return
        there = {*self._disk.names()}
        with self._lock:
            for number, hint in list(self._refused.items()):
                names = (hint.file, Hint(number).file)
                if there.isdisjoint(names):
                    del self._refused[number], self._bytes[number]

    # Delivery

    def next(self, tick: int, *, also_stuck: bool = True) -> Hint | None:
        """One to be tried now; ``ended`` is called for it, whatever comes of it. ``also_stuck``: of databases whose
        last try failed, too."""
        with self._lock:
            for database, own in self._waiting.items():
                if own.is_out or tick < own.rests_until or (own.failures and not also_stuck):
                    continue
                own.is_out = True
                # Who comes next in time goes to the end of the dictionary: all databases have their turn.
                self._waiting[database] = self._waiting.pop(database)
                return next(iter(own.by_producer[own.turns[0]].values()))
        return None

    def body(self, hint: Hint) -> bytes:
        """Its lines. Raises OSError, DataCorrupted."""
        body = body_of(self._disk.read(hint.file))
        check_body(hint, body)
        return body

    def delivered(self, hint: Hint) -> None:
        """It is stored: its file goes, and then it. Raises OSError: it is tried again then, which changes nothing."""
        self._disk.remove(hint.file)
        with self._lock:
            self._forget(hint)
            del self._bytes[hint.number]
            self._counts["hints_delivered"] += 1

    def refuse(self, hint: Hint, why: str, now_ns: int) -> Hint:
        """It will never be stored as it is: it waits no more, and its lines stay in a file. Raises OSError."""
        refused = replace(hint, refused=why, refused_ns=now_ns)
        body = body_of(self._disk.read(hint.file))
        self._write(refused, head_of(refused), body)
        self._disk.remove(hint.file)
        # Who is told that it is refused may send its lines under another number: it must not come again after a crash.
        self._disk.sync_names()
        with self._lock:
            self._forget(hint)
            self._refused[hint.number] = refused
            self._counts["hints_refused"] += 1
        return refused

    def failed(self, hint: Hint, why: str, tick: int) -> None:
        """It could not be stored yet."""
        with self._lock:
            own = self._waiting[hint.database]
            own.is_out = False
            own.failures += 1
            own.why = why
            own.rests_until = tick + REST_TICKS
            own.turns.rotate(-1)

    def _forget(self, hint: Hint) -> None:
        own = self._waiting[hint.database]
        own.is_out = False
        own.failures, own.why, own.rests_until = 0, "", 0
        hints = own.by_producer[hint.producer]
        del hints[hint.batch]
        own.turns.rotate(-1)
        if not hints:
            del own.by_producer[hint.producer]
            own.turns.remove(hint.producer)
        if not own.by_producer:
            del self._waiting[hint.database]


def _pages(size: int) -> int:
    return -(-size // PAGE_BYTES) * PAGE_BYTES
