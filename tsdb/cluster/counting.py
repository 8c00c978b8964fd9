"""The values of SQL's sequences in a cluster: who gives them, and how far those of replicated databases have counted.

The node that leads the first location of a database gives the values of its sequences; others ask it. Of a database
that it alone has it counts in its store. Of one that several nodes have, or are to have, the metadata keep how far a
sequence has counted: a block of values is reserved by a command and given from memory, so whoever leads next begins
after it. What was reserved and not given is a gap, as in PostgreSQL after a crash.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from tsdb.cluster.led import Leaders
from tsdb.cluster.metadata.agreement import Agreement
from tsdb.cluster.metadata.commands import Count, Expected
from tsdb.cluster.metadata.records import NAMES, Counted
from tsdb.errors import CannotConnectNow, SerializationFailure, StatementCompletionUnknown
from tsdb.model.points import Int64s
from tsdb.model.relations import SequenceOptions, SequenceState, SqlSequence
from tsdb.model.schema import Database
from tsdb.prompt import may_wait
from tsdb.storage.checks import ReplicatedNow
from tsdb.storage.engine import Engine
from tsdb.storage.sequences import RESERVED_AT_ONCE, value_after, values_of

T = TypeVar("T")

WAIT_S = 10.0
"""How long a value is waited for while nobody leads, as a write is."""
AGAIN_S = 0.2
ATTEMPTS = 100


@dataclass(slots=True)
class _Counting:
    """``last`` is the value that was given last, or, before it was ``called``, the one to be given first; from the next
    on ``left`` values are this node's, as ``options`` count, unless the record was ``changed`` since."""

    last: int
    called: bool
    left: int
    options: SequenceOptions
    changed: int

    @property
    def next(self) -> int:
        return self.last + self.options.increment if self.called else self.last


class SharedSequences:
    """Those of databases that several nodes have, at one of them. Thread-safe; it blocks."""

    def __init__(self, agreement: Agreement) -> None:
        self._agreement = agreement
        self._counting: dict[int, _Counting] = {}
        self._locks: dict[int, threading.Lock] = {}

    def take(self, database: int, sequence: SqlSequence, count: int) -> Int64s:
        """Raises SequenceGeneratorLimitExceeded, and what ``Agreement.propose`` raises."""
        with self._lock(sequence):
            for _ in range(ATTEMPTS):
                found = self._found(sequence)
                values, after = values_of(sequence, found.next, count)
                left, changed = found.left - count, found.changed
                if left < 0:
                    left = RESERVED_AT_ONCE
                    seen = Expected(NAMES[Counted], sequence.number, changed)
                    try:
                        changed = self._count(database, sequence, value_after(sequence, after, left), True, seen)
                    except SerializationFailure:
                        # Another node has counted meanwhile: this one knows of it now.
                        continue
                self._counting[sequence.number] = _Counting(int(values[-1]), True, left, sequence.options, changed)
                return values
        raise CannotConnectNow(f'other nodes count "{sequence.name}" all the time', hint="Try again.")

    def put(self, database: int, sequence: SqlSequence, value: int, *, called: bool) -> None:
        """As if ``value`` had been given last (``called``), or to give it next."""
        with self._lock(sequence):
            following = value + sequence.options.increment if called else value
            changed = self._count(database, sequence, following, called)
            self._counting[sequence.number] = _Counting(value, called, 0, sequence.options, changed)

    def state(self, sequence: SqlSequence) -> SequenceState:
        with self._lock(sequence):
            found = self._found(sequence)
            return SequenceState(found.last, found.left, found.called)

    def _lock(self, sequence: SqlSequence) -> threading.Lock:
        may_wait()
        return self._locks.setdefault(sequence.number, threading.Lock())

    def _count(self, database: int, sequence: SqlSequence, following: int, called: bool, *seen: Expected) -> int:
        answer = self._agreement.propose(Count(database, sequence.number, str(following), called), seen)
        (changed,) = answer.values
        return changed

    def _found(self, sequence: SqlSequence) -> _Counting:
        record = self._agreement.state.get(Counted, sequence.number)
        changed = 0 if record is None else record.changed
        found = self._counting.get(sequence.number)
        if found is None or found.changed != changed:
            found = self._counting[sequence.number] = _loaded(sequence.options, record)
        if found.options != sequence.options:
            # Values were reserved as it counted then.
            found.left, found.options = 0, sequence.options
        return found


def _loaded(options: SequenceOptions, record: Counted | None) -> _Counting:
    if record is None:
        return _Counting(options.start, False, 0, options, 0)
    following = int(record.following)
    last = following - options.increment if record.called else following
    return _Counting(last, record.called, 0, options, record.changed)


class Home(Protocol):
    """Another node that is asked: ``routing.home.Home``."""

    def take(self, sequence: SqlSequence, count: int) -> Int64s: ...

    def put(self, sequence: SqlSequence, value: int, *, called: bool) -> None: ...

    def state(self, sequence: SqlSequence) -> SequenceState: ...


class SequenceValues:
    """The way to all values. ``home`` is another node that gives those of a database; raises LocationElsewhere where
    that cannot be asked."""

    def __init__(
        self, engine: Engine, leaders: Leaders, agreement: Agreement, home: Callable[[Database, str], Home]
    ) -> None:
        self._engine = engine
        self._leaders = leaders
        self._agreement = agreement
        self._shared = SharedSequences(agreement)
        self._home = home

    def take(self, sequence: SqlSequence, count: int) -> Int64s:
        return self._asked(
            sequence,
            lambda: self.take_here(sequence, count),
            lambda home: home.take(sequence, count),
            # Values that nobody got are a gap.
            (CannotConnectNow, StatementCompletionUnknown),
        )

    def put(self, sequence: SqlSequence, value: int, *, called: bool) -> None:
        self._asked(
            sequence,
            lambda: self.put_here(sequence, value, called=called),
            lambda home: home.put(sequence, value, called=called),
            (CannotConnectNow,),
        )

    def state(self, sequence: SqlSequence) -> SequenceState:
        return self._asked(
            sequence,
            lambda: self.state_here(sequence),
            lambda home: home.state(sequence),
            (CannotConnectNow, StatementCompletionUnknown),
        )

    def _asked(
        self,
        sequence: SqlSequence,
        here: Callable[[], T],
        there: Callable[[Home], T],
        again: tuple[type[Exception], ...],
    ) -> T:
        """While nobody leads a replicated database, or until one is replicated, it is waited for, as a write waits."""
        if self._leaders.all_here and not self._leaders.coming:
            # What begins to be replicated just now is looked at again.
            with contextlib.suppress(ReplicatedNow):
                return here()
        database = self._database_of(sequence)
        if database is None:
            return here()
        end = time.monotonic() + WAIT_S
        while True:
            try:
                if self._leaders.leads_first(database):
                    return here()
                return there(self._home(database, f'the sequence "{sequence.name}"'))
            except again:
                if not self._is_counted(database) or time.monotonic() > end:
                    raise
            time.sleep(AGAIN_S)

    # At this node

    def take_here(self, sequence: SqlSequence, count: int) -> Int64s:
        database = self._shared_database(sequence)
        if database is None:
            return self._engine.take_values(sequence, count)
        return self._shared.take(database.number, sequence, count)

    def put_here(self, sequence: SqlSequence, value: int, *, called: bool) -> None:
        database = self._shared_database(sequence)
        if database is None:
            self._engine.put_value(sequence, value, called=called)
        else:
            self._shared.put(database.number, sequence, value, called=called)

    def state_here(self, sequence: SqlSequence) -> SequenceState:
        if self._shared_database(sequence) is None:
            return self._engine.sequence_state(sequence)
        return self._shared.state(sequence)

    def _is_counted(self, database: Database) -> bool:
        """Whether its sequences are counted by the metadata, or soon are."""
        return database.number in self._leaders.shared or database.number in self._leaders.coming

    def _shared_database(self, sequence: SqlSequence) -> Database | None:
        """None where this node counts alone. Raises CannotConnectNow while the metadata are being told of how far."""
        leaders = self._leaders
        database = self._database_of(sequence) if leaders.shared or leaders.coming else None
        if database is None or not self._is_counted(database):
            return None
        if database.number in leaders.coming and self._agreement.state.get(Counted, sequence.number) is None:
            if database.number not in self._engine.stopped:
                return None
            raise CannotConnectNow(f'how far "{sequence.name}" has counted is about to be told to all nodes')
        return database

    def _database_of(self, sequence: SqlSequence) -> Database | None:
        databases = self._engine.catalog.databases.values()
        return next((each for each in databases if sequence.number in each.sequence_by_number), None)
