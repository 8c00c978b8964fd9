"""The core of transactions: what state a session is in, and which effects wait for COMMIT. No I/O.

    IDLE ──first statement of a message or batch──> IMPLICIT ──end, Sync──> IDLE
    IDLE, IMPLICIT ──BEGIN──> BLOCK ──COMMIT, ROLLBACK──> IDLE
    BLOCK ──error──> FAILED ──ROLLBACK, COMMIT (= ROLLBACK)──> IDLE;  FAILED ──ROLLBACK TO──> BLOCK

In this version INSERT, UPDATE and DELETE of a transaction are collected and written at its end, in order; reads inside
do not see them, and each statement reads the newest data. In an *implicit* transaction (the statements of one message,
or of one extended batch) they are written earlier when a later statement reads, so that it sees them.

Source: PostgreSQL 15 manual, 55.2.2.1 (multiple statements), SQL commands BEGIN, COMMIT, ROLLBACK, SAVEPOINT.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Generic, TypeVar

from tsdb.errors import InFailedSqlTransaction, InvalidSavepointSpecification, NoActiveSqlTransaction, OutOfMemory

E = TypeVar("E")

SAVEPOINTS_MAX = 10_000


class State(Enum):
    IDLE = auto()
    IMPLICIT = auto()
    BLOCK = auto()
    FAILED = auto()


@dataclass(slots=True)
class Savepoint:
    name: str
    effects: int


@dataclass
class Transaction(Generic[E]):
    """``pending_bytes_max`` bounds what may wait for COMMIT."""

    pending_bytes_max: int = 256 << 20
    state: State = State.IDLE
    started_us: int = 0
    pending: list[tuple[E, int]] = field(default_factory=list)
    pending_bytes: int = 0
    savepoints: list[Savepoint] = field(default_factory=list)

    @property
    def status(self) -> str:
        """ReadyForQuery's letter."""
        return {State.BLOCK: "T", State.FAILED: "E"}.get(self.state, "I")

    @property
    def in_block(self) -> bool:
        return self.state in (State.BLOCK, State.FAILED)

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

    def add(self, effect: E, size: int) -> None:
        """Raises OutOfMemory."""
        if self.pending_bytes + size > self.pending_bytes_max:
            raise OutOfMemory(
                f"the transaction holds more than {self.pending_bytes_max >> 20} MiB of changes",
                hint="Commit more often.",
            )
        self.pending.append((effect, size))
        self.pending_bytes += size

    def take(self) -> list[E]:
        """What is to be written now, in order."""
        taken = [effect for effect, _ in self.pending]
        self._drop(0)
        for savepoint in self.savepoints:
            savepoint.effects = 0
        return taken

    def end(self) -> None:
        """The block or the implicit transaction is over. What was not taken is dropped."""
        self._drop(0)
        self.savepoints.clear()
        self.state = State.IDLE

    def _drop(self, count: int) -> None:
        self.pending_bytes -= sum(size for _, size in self.pending[count:])
        del self.pending[count:]

    # --- savepoints ---

    def savepoint(self, name: str) -> None:
        self.require_block("SAVEPOINT")
        if len(self.savepoints) >= SAVEPOINTS_MAX:
            raise OutOfMemory(f"the transaction has {SAVEPOINTS_MAX} savepoints, as many as are allowed")
        self.savepoints.append(Savepoint(name, len(self.pending)))

    def release(self, name: str) -> int:
        """The savepoint's depth, from 1; it and those after it are gone, what was done stays."""
        self.require_block("RELEASE SAVEPOINT")
        depth = self._depth(name)
        del self.savepoints[depth - 1 :]
        return depth

    def rollback_to(self, name: str) -> int:
        """The savepoint's depth, from 1; it stays, what was collected after it is dropped."""
        self.require_block("ROLLBACK TO SAVEPOINT")
        depth = self._depth(name)
        self._drop(self.savepoints[depth - 1].effects)
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
