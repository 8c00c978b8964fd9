"""What makes a retry harmless: which parts of which numbered batches are in the op log (design section 4, point 6).

A part is known by (database, producer, batch number, hash interval): every database has a ring of its own, and the
same intervals. ``Producers`` has the table of committed parts and the
*tail*: parts of the group of ops that is being written now. It is owned by the log's one thread. The table is made
durable at a flush, as it was when the head was frozen, and replay of the op log rebuilds what came later; it is never
written at append, since an op that did not survive must not look applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec

from tsdb.clock import Clock, SystemClock
from tsdb.errors import ConfigurationLimitExceeded, DataCorrupted, InvalidParameterValue, ObjectNotInPrerequisiteState
from tsdb.model.store import Producer

WINDOW = 1000
WEEK_NS = 7 * 86_400 * 10**9
NAME_BYTES_MAX = 64
BATCH_MAX = 2**63 - 1

Interval = tuple[int, int]


class _Entry(msgspec.Struct, array_like=True):
    """One producer: its highest batch number, the intervals that each batch of the window has covered, the digests of
    those that have one, and when it last wrote (ns). What was stored before there were digests has neither."""

    highest: int = 0
    batches: dict[int, list[Interval]] = msgspec.field(default_factory=dict)
    digests: dict[int, int] = msgspec.field(default_factory=dict)
    last_ns: int = 0

    def add(self, batch: int, interval: Interval, digest: int, now_ns: int) -> None:
        self.last_ns = max(self.last_ns, now_ns)
        if batch > self.highest:
            self.highest = batch
            for old in [number for number in self.batches if number <= batch - WINDOW]:
                del self.batches[old]
                self.digests.pop(old, None)
        if batch > self.highest - WINDOW:
            self.batches.setdefault(batch, []).append(interval)
            if digest:
                self.digests[batch] = digest


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Entry)


def scoped(database: int, producer: Producer) -> Producer:
    """The producer as ``Producers`` knows it: by its name in one database."""
    return replace(producer, name=f"{database}/{producer.name}")


def database_of(name: str) -> int:
    """The database of a scoped name."""
    return int(name.partition("/")[0])


def _plain(name: str) -> str:
    return name.partition("/")[2]


class Producers:
    """The table and the tail, by scoped names.

    ``producers_max`` bounds how many names there can be: one more takes the place of the one that has not written for
    longest, if that is longer than ``window_ns``.
    """

    def __init__(self, producers_max: int, window_ns: int = WEEK_NS, clock: Clock | None = None) -> None:
        self._producers_max = producers_max
        self._window_ns = window_ns
        self._clock = clock or SystemClock()
        self._tail_digests: dict[tuple[str, int], int] = {}
        self._table: dict[str, _Entry] = {}
        self._tail: list[tuple[Producer, Interval]] = []
        self._tail_parts: set[tuple[str, int, Interval]] = set()
        self._tail_highest: dict[str, int] = {}
        self._changed: set[str] = set()
        self.stopped: frozenset[int] = frozenset()
        """Databases whose producers are about to be known to several nodes: nothing of theirs is added here."""

    def __len__(self) -> int:
        return len(self._table)

    def check(self, producer: Producer) -> None:
        """Raises ObjectNotInPrerequisiteState below the window and for another batch under a number that is used,
        ConfigurationLimitExceeded for a name too many."""
        entry = self._table.get(producer.name)
        if entry is None and producer.name not in self._tail_highest:
            self._make_room(producer)
            return
        highest = max(entry.highest if entry else 0, self._tail_highest.get(producer.name, 0))
        if producer.batch <= highest - WINDOW:
            raise ObjectNotInPrerequisiteState(
                f'batch {producer.batch} of producer "{_plain(producer.name)}" is too old: its last one was {highest}',
                detail=f"A producer's last {WINDOW} batch numbers are remembered, retries of older ones are not.",
            )
        stored = entry.digests.get(producer.batch, 0) if entry else 0
        known = self._tail_digests.get((producer.name, producer.batch), stored)
        if known and producer.digest and known != producer.digest:
            raise ObjectNotInPrerequisiteState(
                f'batch {producer.batch} of producer "{_plain(producer.name)}" was applied before with other content',
                detail="Nothing of this one is stored.",
                hint="A number belongs to one batch: send this one with a number that was not used.",
            )

    def _make_room(self, producer: Producer) -> None:
        """For a name that is new. Raises ConfigurationLimitExceeded."""
        if len(self._table) + len(self._tail_highest) < self._producers_max:
            return
        idle = min((name for name in self._table if name not in self._tail_highest), key=self._last_ns, default=None)
        if idle is None or self._clock.now_ns() - self._last_ns(idle) <= self._window_ns:
            name = _plain(producer.name)
            raise ConfigurationLimitExceeded(
                f'producer "{name}" would be one more than the {self._producers_max} this node remembers',
                hint="Reuse producer names: one for each writer, for as long as it writes. Settings are producers_max, "
                "and producer_window, after which an idle one is forgotten.",
            )
        del self._table[idle]
        self._changed.add(idle)

    def _last_ns(self, name: str) -> int:
        return self._table[name].last_ns

    def new_parts(self, producer: Producer, intervals: Iterable[Interval]) -> list[bool]:
        """For each interval, whether this part is new; new ones go into the tail."""
        entry = self._table.get(producer.name)
        covered = entry.batches.get(producer.batch, []) if entry else []
        new: list[bool] = []
        for interval in intervals:
            part = (producer.name, producer.batch, interval)
            is_new = part not in self._tail_parts and not _is_covered(interval, covered)
            if is_new:
                self._tail_parts.add(part)
                self._tail.append((producer, interval))
                highest = self._tail_highest.get(producer.name, 0)
                self._tail_highest[producer.name] = max(highest, producer.batch)
                self._tail_digests[producer.name, producer.batch] = producer.digest
            new.append(is_new)
        return new

    def knows(self, producer: Producer) -> bool:
        """Whether any part of this batch is there: of what is logged as one, all is then."""
        entry = self._table.get(producer.name)
        if entry is not None and producer.batch in entry.batches:
            return True
        return any(known == producer for known, _ in self._tail)

    def of(self, database: int) -> Iterator[tuple[str, int, Mapping[int, Sequence[Interval]], Mapping[int, int]]]:
        """Of each of a database that has written in the window of time: name, highest number, what each of its last
        batches has covered, and digests."""
        begin_ns = self._clock.now_ns() - self._window_ns
        for name, entry in self._table.items():
            if database_of(name) == database and entry.last_ns >= begin_ns:
                yield _plain(name), entry.highest, entry.batches, entry.digests

    def commit(self) -> None:
        """The tail is durable: into the table with it."""
        now_ns = self._clock.now_ns() if self._tail else 0
        for producer, interval in self._tail:
            self.add(producer.name, producer.batch, interval, producer.digest, now_ns)
        self._tail.clear()
        self._tail_digests.clear()
        self._tail_parts.clear()
        self._tail_highest.clear()

    def add(self, name: str, batch: int, interval: Interval, digest: int = 0, now_ns: int = 0) -> None:
        """A part that is committed: from the tail or from replay."""
        entry = self._table.get(name)
        if entry is None:
            entry = self._table[name] = _Entry()
        entry.add(batch, interval, digest, now_ns)
        self._changed.add(name)

    def take_changed(self) -> dict[str, bytes]:
        """The producers that changed since the last call, encoded: what the next flush writes. Empty: forgotten."""
        assert not self._tail, "the head is frozen between groups of ops"
        changed = {name: _encode(self._table[name]) if name in self._table else b"" for name in self._changed}
        self._changed.clear()
        return changed

    def load(self, name: str, value: bytes) -> None:
        """A producer as ``take_changed`` gave it. Raises DataCorrupted."""
        try:
            entry = _decoder.decode(value)
        except msgspec.DecodeError as error:
            raise DataCorrupted(f'the table of producer "{name}" cannot be read: {error}') from error
        entry.batches = {n: [(low, high or 2**64) for low, high in covered] for n, covered in entry.batches.items()}
        self._table[name] = entry


def _encode(entry: _Entry) -> bytes:
    # Interval ends reach 2**64, one beyond msgpack's integers: the last is written as 0, which no interval ends with.
    batches = {n: [(low, high % 2**64) for low, high in covered] for n, covered in entry.batches.items()}
    return _encoder.encode(_Entry(entry.highest, batches, entry.digests, entry.last_ns))


def _is_covered(interval: Interval, covered: Iterable[Interval]) -> bool:
    return any(low <= interval[0] and interval[1] <= high for low, high in covered)


def check_producer(producer: Producer) -> None:
    """Raises InvalidParameterValue."""
    if not producer.name or len(producer.name.encode()) > NAME_BYTES_MAX:
        raise InvalidParameterValue(f"a producer's name has 1 to {NAME_BYTES_MAX} bytes, not {producer.name[:80]!r}")
    if not 1 <= producer.batch <= BATCH_MAX:
        raise InvalidParameterValue(f"batch numbers go from 1 to {BATCH_MAX}, not {producer.batch}")
