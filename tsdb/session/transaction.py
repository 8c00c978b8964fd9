"""The core of transactions: what state a session is in, and which effects wait for COMMIT. No I/O.

    IDLE ──first statement of a message or batch──> IMPLICIT ──end, Sync──> IDLE
    IDLE, IMPLICIT ──BEGIN──> BLOCK ──COMMIT, ROLLBACK──> IDLE
    BLOCK ──error──> FAILED ──ROLLBACK, COMMIT (= ROLLBACK)──> IDLE;  FAILED ──ROLLBACK TO──> BLOCK

INSERT, UPDATE and DELETE of a transaction are collected (``tsdb.session.pending``) and written at its end. In a *block*
its own statements see them through an overlay, and otherwise read the newest data. In an *implicit* transaction (the
statements of one message, or of one extended batch) they are written earlier when a later statement reads.

Source: PostgreSQL 15 manual, 55.2.2.1 (multiple statements), SQL commands BEGIN, COMMIT, ROLLBACK, SAVEPOINT.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, auto

from tsdb.errors import InFailedSqlTransaction, InvalidSavepointSpecification, NoActiveSqlTransaction, OutOfMemory
from tsdb.session.pending import Pending
from tsdb.sql.dml.modification import Effect

PENDING_BYTES_MAX = 256 << 20
COPY_MEMORY = 32 << 20
SAVEPOINTS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Of each session: what a transaction may hold until COMMIT, and what a COPY FROM holds in memory until its end."""

    pending_bytes_max: int = PENDING_BYTES_MAX
    copy_memory: int = COPY_MEMORY


class State(Enum):
    IDLE = auto()
    IMPLICIT = auto()
    BLOCK = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class Savepoint:
    """``held_bytes`` is what this savepoint and those before it keep in memory."""

    name: str
    pending: Pending
    held_bytes: int


@dataclass
class Transaction:
    """``pending_bytes_max`` bounds what may wait for COMMIT; ``mark`` is the running statement's first ordinal;
    ``queried``: a statement of it has run."""

    pending_bytes_max: int = PENDING_BYTES_MAX
    state: State = State.IDLE
    started_us: int = 0
    pending: Pending = field(default_factory=Pending)
    mark: int = 0
    queried: bool = False
    savepoints: list[Savepoint] = field(default_factory=list)

    @property
    def pending_bytes(self) -> int:
        """About how much memory the pending changes hold, those of savepoints too."""
        return self._with_savepoints(self.pending)

    def _with_savepoints(self, pending: Pending) -> int:
        if not self.savepoints:
            return pending.bytes
        last = self.savepoints[-1]
        shared = last.pending.sizes
        return last.held_bytes + sum(size for chunk, size in pending.sizes.items() if chunk not in shared)

    @property
    def status(self) -> str:
        """ReadyForQuery's letter."""
        return "T" if self.state is State.BLOCK else "E" if self.state is State.FAILED else "I"

    @property
    def open(self) -> bool:
        return self.state is not State.IDLE

    @property
    def in_block(self) -> bool:
        return self.state is State.BLOCK or self.state is State.FAILED

    def start(self, now_us: int) -> bool:
        """Before a statement outside a block: begins the implicit transaction. True if one began."""
        if self.state is not State.IDLE:
            return False
        self.state = State.IMPLICIT
        self.started_us = now_us
        return True

    def check(self) -> None:
        """Raises InFailedSqlTransaction: until the block ends, nothing but its end is accepted."""
        if self.state is State.FAILED:
            raise InFailedSqlTransaction(
                "current transaction is aborted, commands ignored until end of transaction block"
            )

    def begin(self, now_us: int) -> bool:
        """False if a block is there already (a WARNING, no error)."""
        if self.in_block:
            return False
        if self.state is State.IDLE:
            self.started_us = now_us
        self.state = State.BLOCK
        return True

    def fail(self) -> None:
        """After an error: a block is failed, an implicit transaction is over and its effects are gone."""
        if self.in_block:
            self.state = State.FAILED
        else:
            self.end()

    def start_statement(self) -> None:
        """Before a statement that changes data: what it deletes are rows that were there before it."""
        self.mark = self.pending.next_ordinal
        self.queried = True

    def add(self, effect: Effect) -> None:
        """Raises OutOfMemory."""
        pending = self.pending.add(effect, self.mark)
        if self._with_savepoints(pending) > self.pending_bytes_max:
            raise OutOfMemory(
                f"the transaction holds more than {self.pending_bytes_max >> 20} MiB of changes",
                hint="Commit more often, or start the server with a larger transaction_bytes_max.",
            )
        self.pending = pending

    def forget(self, series: int) -> None:
        """The transaction has dropped a series: what was pending for it is gone with it."""
        self.pending = self.pending.without(series)
        self.savepoints = [replace(each, pending=each.pending.without(series)) for each in self.savepoints]

    def take(self) -> list[Effect]:
        """What is to be written now, in order."""
        taken = list(self.pending.effects())
        self._drop()
        return taken

    def end(self) -> None:
        """The block or the implicit transaction is over. What was not taken is dropped."""
        self._drop()
        self.queried = False
        self.state = State.IDLE

    def _drop(self) -> None:
        if self.pending or self.pending.next_ordinal:
            self.pending = Pending()
        self.mark = 0
        self.savepoints.clear()

    # --- savepoints ---

    def savepoint(self, name: str) -> None:
        self.require_block("SAVEPOINT")
        if len(self.savepoints) >= SAVEPOINTS_MAX:
            raise OutOfMemory(f"the transaction has {SAVEPOINTS_MAX} savepoints, as many as are allowed")
        self.savepoints.append(Savepoint(name, self.pending, self.pending_bytes))

    def release(self, name: str) -> int:
        """The savepoint's depth, from 1; it and those after it are gone, what was done stays."""
        self.require_block("RELEASE SAVEPOINT")
        depth = self._depth(name)
        del self.savepoints[depth - 1 :]
        return depth

    def rollback_to(self, name: str) -> int:
        """The savepoint's depth, from 1; it stays, what was done after it is dropped."""
        self.require_block("ROLLBACK TO SAVEPOINT")
        depth = self._depth(name)
        self.pending = self.savepoints[depth - 1].pending
        del self.savepoints[depth:]
        self.state = State.BLOCK
        return depth

    def _depth(self, name: str) -> int:
        for depth in range(len(self.savepoints), 0, -1):
            if self.savepoints[depth - 1].name == name:
                return depth
        raise InvalidSavepointSpecification(f'savepoint "{name}" does not exist')

    def require_block(self, what: str) -> None:
        if not self.in_block:
            raise NoActiveSqlTransaction(f"{what} can only be used in transaction blocks")
