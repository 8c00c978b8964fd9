"""How far SQL's sequences have counted: durable in blocks of values, so that none is given twice, also after a crash.

A record of ``state`` holds the first value that is not reserved. Values are taken from memory until the reserved ones
are used up; what was reserved and not taken when the process ends is a gap, as in PostgreSQL after a crash.
Diagram: docs/format/metadata.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tsdb.errors import SequenceGeneratorLimitExceeded
from tsdb.model.points import Int64s
from tsdb.model.relations import SequenceOptions, SequenceState, SqlSequence
from tsdb.storage import keys
from tsdb.storage.checks import ReplicatedNow
from tsdb.storage.frame import seal, unseal
from tsdb.storage.metadata import MAGIC, VERSION
from tsdb.storage.rocks import Rocks

COUNTED = "counted"
# PostgreSQL's SEQ_LOG_VALS.
RESERVED_AT_ONCE = 32
# Behind a value that is to be given first: setval(…, false), RESTART.
_NOT_CALLED = "next"


@dataclass(slots=True)
class _Counting:
    """``last`` is the value that was given last, or, before it was ``called``, the one to be given first; from the next
    on ``left`` values are reserved, as ``options`` count."""

    last: int
    called: bool
    left: int
    options: SequenceOptions

    @property
    def next(self) -> int:
        return self.last + self.options.increment if self.called else self.last


class Sequences:
    """Thread-safe. ``durably`` runs a function that writes where the engine's writes run, and waits for it."""

    def __init__(self, rocks: Rocks, durably: Callable[[Callable[[], None]], None]) -> None:
        self._rocks = rocks
        self._durably = durably
        self._lock = threading.Lock()
        self._counting: dict[int, _Counting] = {}
        self._ended: set[int] = set()

    def end(self, sequence: SqlSequence) -> SequenceState:
        """How far it has counted here: no more values of it are given by this node's store, until the next start."""
        with self._lock:
            self._ended.add(sequence.number)
            found = self._found(sequence)
            return SequenceState(found.last, found.left, found.called)

    def _check(self, sequence: SqlSequence) -> None:
        if sequence.number in self._ended:
            raise ReplicatedNow(f'the values of "{sequence.name}" are counted by several nodes now', hint="Try again.")

    def take(self, sequence: SqlSequence, count: int) -> Int64s:
        """The next ``count`` values. Raises SequenceGeneratorLimitExceeded, ReplicatedNow."""
        with self._lock:
            self._check(sequence)
            found = self._found(sequence)
            values, after = values_of(sequence, found.next, count)
            left = found.left - count
            if left < 0:
                left = RESERVED_AT_ONCE
                self._store(sequence.number, value_after(sequence, after, left), called=True)
            found.last, found.called, found.left = int(values[-1]), True, left
            return values

    def put(self, sequence: SqlSequence, value: int, *, called: bool) -> None:
        """As if ``value`` had been given last (``called``), or to give it next."""
        with self._lock:
            self._check(sequence)
            self._store(sequence.number, value + sequence.options.increment if called else value, called=called)
            self._counting[sequence.number] = _Counting(value, called, 0, sequence.options)

    def state(self, sequence: SqlSequence) -> SequenceState:
        with self._lock:
            found = self._found(sequence)
            return SequenceState(found.last, found.left, found.called)

    def _found(self, sequence: SqlSequence) -> _Counting:
        found = self._counting.get(sequence.number)
        if found is None:
            found = self._counting[sequence.number] = self._load(sequence)
        if found.options != sequence.options:
            # Values were reserved as it counted then.
            found.left, found.options = 0, sequence.options
        return found

    def _load(self, sequence: SqlSequence) -> _Counting:
        options = sequence.options
        stored = self._rocks.get("state", keys.state_key(COUNTED, sequence.number))
        if stored is None:
            return _Counting(options.start, False, 0, options)
        version = stored[2] if len(stored) > 2 else VERSION
        text, _, word = bytes(unseal(stored, MAGIC, version, "sequence")).decode().partition(" ")
        called = word != _NOT_CALLED
        return _Counting(int(text) - options.increment if called else int(text), called, 0, options)

    def _store(self, number: int, following: int, *, called: bool) -> None:
        """``following`` is the first value that is not reserved."""
        text = str(following) if called else f"{following} {_NOT_CALLED}"

        def write() -> None:
            batch = self._rocks.batch()
            batch.put("state", keys.state_key(COUNTED, number), seal(MAGIC, VERSION, text.encode()))
            self._rocks.write(batch, sync=True)

        self._durably(write)


def values_of(sequence: SqlSequence, first: int, count: int) -> tuple[Int64s, int]:
    """(``count`` values from ``first`` on, the value after them)."""
    options = sequence.options
    last = first + options.increment * (count - 1)
    if options.minimum <= min(first, last) and max(first, last) <= options.maximum:
        steps = np.arange(count, dtype=np.int64)
        return first + steps * options.increment, last + options.increment
    if not options.cycle:
        rising = options.increment > 0
        raise SequenceGeneratorLimitExceeded(
            f"nextval: reached {'maximum' if rising else 'minimum'} value of sequence "
            f'"{sequence.name}" ({options.maximum if rising else options.minimum})'
        )
    at, values = first, np.empty(count, np.int64)
    for i in range(count):
        if not options.minimum <= at <= options.maximum:
            at = options.minimum if options.increment > 0 else options.maximum
        values[i] = at
        at += options.increment
    return values, at


def value_after(sequence: SqlSequence, value: int, count: int) -> int:
    """A value that was not given before so many more are; behind the end it stays behind the end."""
    options = sequence.options
    ahead = value + options.increment * count
    if options.cycle and not options.minimum <= ahead <= options.maximum:
        return value
    return min(max(ahead, options.minimum - 1), options.maximum + 1)
