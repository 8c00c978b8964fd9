"""Prepared statements and portals of one session, by name. SQL's PREPARE and DECLARE share these names.

A portal is closed when its transaction ends, unless its cursor was declared WITH HOLD (manual, 55.2.3; DECLARE).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tsdb.errors import (
    ConfigurationLimitExceeded,
    DuplicateCursor,
    DuplicatePreparedStatement,
    InvalidCursorName,
    InvalidSqlStatementName,
)
from tsdb.session.planning import Plan
from tsdb.session.rowset import RowSource, RowStream
from tsdb.session.scrolling import Cursor
from tsdb.types import SqlType

PREPARED_MAX = 10_000
PORTALS_MAX = 1_000


@dataclass
class PreparedStatement:
    """``plan`` None is the empty statement. ``types`` are the client's; ``generation`` that of the settings;
    ``from_sql``: made by PREPARE and not by Parse."""

    name: str
    plan: Plan | None
    types: tuple[SqlType | None, ...] = ()
    generation: int = 0
    text: str = ""
    from_sql: bool = False
    created_us: int = 0


@dataclass
class Portal:
    """``source`` is there once it runs, ``place`` once FETCH or MOVE has asked for it; ``finished`` once its last
    row was sent or its command done. ``kept``: it was held over the end of its transaction."""

    name: str
    statement: PreparedStatement
    values: list[object | None] = field(default_factory=list)
    formats: tuple[int, ...] = ()
    source: RowSource | None = None
    stream: RowStream | None = None
    finished: bool = False
    cursor: bool = False
    hold: bool = False
    binary: bool = False
    scroll: bool = False
    text: str = ""
    created_us: int = 0
    place: Cursor | None = None
    kept: bool = False

    def close(self) -> None:
        """Releases what the portal reads. May block."""
        source, self.source, self.stream, self.place = self.source, None, None, None
        if source is not None:
            source.rowset.close()


class Names:
    """``release`` is given each portal that is gone, to be closed where blocking is allowed."""

    def __init__(self, release: Callable[[Portal], None]) -> None:
        self.statements: dict[str, PreparedStatement] = {}
        self.portals: dict[str, Portal] = {}
        self._release = release

    def add_statement(self, statement: PreparedStatement) -> None:
        """The unnamed one is replaced; a named one must be new, and its parameters must have types."""
        if statement.plan is not None:
            statement.plan.require_types()
        if statement.name and statement.name in self.statements:
            raise DuplicatePreparedStatement(f'prepared statement "{statement.name}" already exists')
        if len(self.statements) >= PREPARED_MAX:
            raise ConfigurationLimitExceeded(
                f"the session has {PREPARED_MAX} prepared statements, as many as are allowed", hint="Use DEALLOCATE."
            )
        self.statements[statement.name] = statement

    def statement(self, name: str) -> PreparedStatement:
        try:
            return self.statements[name]
        except KeyError:
            text = (
                f'prepared statement "{name}" does not exist' if name else "unnamed prepared statement does not exist"
            )
            raise InvalidSqlStatementName(text) from None

    def add_portal(self, portal: Portal) -> None:
        if portal.name and portal.name in self.portals:
            raise DuplicateCursor(f'cursor "{portal.name}" already exists')
        if len(self.portals) >= PORTALS_MAX:
            raise ConfigurationLimitExceeded(f"the session has {PORTALS_MAX} open cursors, as many as are allowed")
        self.close_portal(portal.name)
        self.portals[portal.name] = portal

    def portal(self, name: str, what: str = "portal") -> Portal:
        try:
            return self.portals[name]
        except KeyError:
            raise InvalidCursorName(f'{what} "{name}" does not exist') from None

    def close_portal(self, name: str) -> bool:
        portal = self.portals.pop(name, None)
        if portal is not None:
            self._release(portal)
        return portal is not None

    def close_statement(self, name: str) -> bool:
        return self.statements.pop(name, None) is not None

    def end_transaction(self, *, committed: bool) -> None:
        """Close what does not outlive it: a cursor WITH HOLD does if its transaction was committed."""
        for portal in list(self.portals.values()):
            if not portal.kept and not (portal.hold and committed):
                self.close_portal(portal.name)
            portal.kept = portal.hold

    def savepoint(self) -> frozenset[str]:
        """The portals that are there now."""
        return frozenset(self.portals)

    def rollback_to(self, there: frozenset[str]) -> None:
        """Close what came after a savepoint (manual, ROLLBACK TO SAVEPOINT)."""
        for portal in list(self.portals.values()):
            if portal.cursor and not portal.kept and portal.name not in there:
                self.close_portal(portal.name)

    def close_cursors(self) -> None:
        for name in [name for name, portal in self.portals.items() if portal.cursor]:
            self.close_portal(name)

    def clear(self) -> None:
        for name in list(self.portals):
            self.close_portal(name)
        self.statements.clear()
