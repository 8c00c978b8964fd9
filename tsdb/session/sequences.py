"""SQL sequences as one session sees them: nextval() counts for everybody, currval() and lastval() remember for the
session. Nothing of it is undone by ROLLBACK.

Source: PostgreSQL 15 manual, 9.17; src/backend/commands/sequence.c.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tsdb.errors import (
    InsufficientPrivilege,
    NumericValueOutOfRange,
    ObjectNotInPrerequisiteState,
    ReadOnlySqlTransaction,
    UndefinedTable,
    WrongObjectType,
)
from tsdb.model import privileges
from tsdb.model.points import Int64s
from tsdb.model.privileges import Privilege
from tsdb.model.relations import PUBLIC, TEMPORARY, SequenceState, SqlSequence
from tsdb.model.store import Store
from tsdb.sql.catalog import oids

if TYPE_CHECKING:
    from tsdb.session.core import Core


class SequenceValues:
    """Implements ``tsdb.sql.context.SequenceAccess``. Any thread that runs the session's statement may call."""

    def __init__(self, core: Core, store: Store) -> None:
        self._core = core
        self._store = store
        self._current: dict[int, int] = {}
        self._last = 0
        # What a thread that runs the statement took last, by sequence: currval() of the same rows follows.
        self._taken: dict[tuple[int, int], Int64s] = {}

    def begin(self) -> None:
        """A statement begins."""
        self._taken.clear()

    def forget(self) -> None:
        """DISCARD SEQUENCES."""
        self._current.clear()
        self._last = 0

    def take(self, sequence: SqlSequence, count: int) -> Int64s:
        values = self._store.take_values(sequence, count)
        self._current[sequence.number] = int(values[-1])
        self._taken[threading.get_ident(), sequence.number] = values
        self._last = sequence.number
        return values

    def nextval(self, oid: int, count: int) -> Int64s:
        sequence = self._sequence(oid)
        self._check(sequence, Privilege.USAGE | Privilege.UPDATE)
        self._check_writes(sequence, "nextval()")
        return self.take(sequence, count)

    def currval(self, oid: int, count: int = 1) -> int | Int64s:
        """Of ``count`` rows: their own values, if nextval() has just taken some for as many."""
        sequence = self._sequence(oid)
        self._check(sequence, Privilege.USAGE | Privilege.SELECT)
        if sequence.number not in self._current:
            raise ObjectNotInPrerequisiteState(
                f'currval of sequence "{sequence.name}" is not yet defined in this session'
            )
        taken = self._taken.get((threading.get_ident(), sequence.number))
        return taken if taken is not None and len(taken) == count else self._current[sequence.number]

    def lastval(self) -> int:
        sequence = self._of_number(self._last)
        if sequence is None:
            raise ObjectNotInPrerequisiteState("lastval is not yet defined in this session")
        self._check(sequence, Privilege.USAGE | Privilege.SELECT)
        return self._current[sequence.number]

    def setval(self, oid: int, value: int, *, called: bool) -> int:
        sequence = self._sequence(oid)
        self._check(sequence, Privilege.UPDATE)
        self._check_writes(sequence, "setval()")
        options = sequence.options
        if not options.minimum <= value <= options.maximum:
            raise NumericValueOutOfRange(
                f'setval: value {value} is out of bounds for sequence "{sequence.name}" '
                f"({options.minimum}..{options.maximum})"
            )
        self._store.put_value(sequence, value, called=called)
        self._taken.clear()
        if called:
            self._current[sequence.number] = value
        return value

    def state(self, sequence: SqlSequence, role: int | None) -> SequenceState:
        self._check(sequence, Privilege.SELECT, role)
        return self._store.sequence_state(sequence)

    # --- which one, and whether it may ---

    def _sequence(self, oid: int) -> SqlSequence:
        number, rest = divmod(oid - oids.FIRST_OWN, oids.of(1) - oids.of(0))
        found = self._of_number(number) if not rest else None
        if found is not None:
            return found
        relation = self._core.execution.catalog.find(self._core.database).by_identity.get(number)
        if relation is not None:
            raise WrongObjectType(f'"{relation.name}" is not a sequence')
        raise UndefinedTable(f"could not open relation with OID {oid}")

    def _of_number(self, number: int) -> SqlSequence | None:
        database = self._core.execution.catalog.databases.get(self._core.database)
        return database.sequence_by_number.get(number) if database is not None else None

    def _check(self, sequence: SqlSequence, any_of: Privilege, role: int | None = None) -> None:
        catalog = self._core.execution.catalog
        role = self._core.identity.current.role if role is None else role
        namespace = catalog.find(self._core.database).namespaces.get(sequence.schema)
        if namespace is not None and sequence.schema != PUBLIC:
            privileges.check(catalog.roles, role, namespace, Privilege.USAGE)
        if not privileges.privileges_of(catalog.roles, role, sequence) & any_of:
            raise InsufficientPrivilege(f"permission denied for sequence {sequence.name}")

    def _check_writes(self, sequence: SqlSequence, function: str) -> None:
        if self._core.variables.get("transaction_read_only") == "on" and not sequence.schema.startswith(TEMPORARY):
            raise ReadOnlySqlTransaction(f"cannot execute {function} in a read-only transaction")
