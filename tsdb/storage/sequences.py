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
from tsdb.model.relations import SqlSequence
from tsdb.storage import keys
from tsdb.storage.frame import seal, unseal
from tsdb.storage.metadata import MAGIC, VERSION
from tsdb.storage.rocks import Rocks

COUNTED = "counted"
# PostgreSQL's SEQ_LOG_VALS.
RESERVED_AT_ONCE = 32


@dataclass(slots=True)
class _Counting:
    """``next`` is the value to be given next; ``left`` so many are reserved from it on."""

    next: int
    left: int


class Sequences:
    """Thread-safe. ``durably`` runs a function that writes where the engine's writes run, and waits for it."""

    def __init__(self, rocks: Rocks, durably: Callable[[Callable[[], None]], None]) -> None:
        self._rocks = rocks
        self._durably = durably
        self._lock = threading.Lock()
        self._counting: dict[int, _Counting] = {}

    def take(self, sequence: SqlSequence, count: int) -> Int64s:
        """The next ``count`` values. Raises SequenceGeneratorLimitExceeded."""
        with self._lock:
            found = self._counting.get(sequence.number)
            if found is None:
                found = self._counting[sequence.number] = _Counting(self._load(sequence), 0)
            values, after = _values(sequence, found.next, count)
            left = found.left - count
            if left < 0:
                left = RESERVED_AT_ONCE
                self._store(sequence.number, _after(sequence, after, left))
            found.next, found.left = after, left
            return values

    def restart(self, sequence: SqlSequence, value: int) -> None:
        """``value`` is given next."""
        with self._lock:
            self._store(sequence.number, value)
            self._counting[sequence.number] = _Counting(value, 0)

    def _load(self, sequence: SqlSequence) -> int:
        stored = self._rocks.get("state", keys.state_key(COUNTED, sequence.number))
        if stored is None:
            return sequence.options.start
        version = stored[2] if len(stored) > 2 else VERSION
        return int(bytes(unseal(stored, MAGIC, version, "sequence")).decode())

    def _store(self, number: int, value: int) -> None:
        def write() -> None:
            batch = self._rocks.batch()
            batch.put("state", keys.state_key(COUNTED, number), seal(MAGIC, VERSION, str(value).encode()))
            self._rocks.write(batch, sync=True)

        self._durably(write)


def _values(sequence: SqlSequence, first: int, count: int) -> tuple[Int64s, int]:
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


def _after(sequence: SqlSequence, value: int, count: int) -> int:
    """A value that was not given before so many more are; behind the end it stays behind the end."""
    options = sequence.options
    ahead = value + options.increment * count
    if options.cycle and not options.minimum <= ahead <= options.maximum:
        return value
    return min(max(ahead, options.minimum - 1), options.maximum + 1)
