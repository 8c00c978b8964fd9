"""VACUUM at work: the blocks of tables are compacted now, and the session waits for it.

Source: PostgreSQL 15 manual, VACUUM; vacuum.c for what is skipped and the words for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from tsdb.errors import QueryCanceled, UndefinedTable
from tsdb.model import privileges
from tsdb.model.catalog import Database
from tsdb.model.schema import Series
from tsdb.model.store import Compaction, VacuumProgress
from tsdb.session.core import Core
from tsdb.session.utility import Vacuum
from tsdb.sql import names
from tsdb.sql.catalog import relations
from tsdb.sql.notice import notice, warning


def run(core: Core, command: Vacuum) -> None:
    """Compact what a VACUUM names, or all that the role may. Blocks."""
    catalog = core.execution.catalog
    database = catalog.find(core.database)
    if command.relations:
        chosen = _named(core, database, command.relations)
    else:
        chosen = list(database.series.values())
    series: list[Series] = []
    for each in chosen:
        if _may_vacuum(core, database, each):
            series.append(each)
        elif command.relations:
            core.notices.append(warning(f'skipping "{each.name}" --- only table or database owner can vacuum it'))
    for each in dict.fromkeys(series):
        _vacuum(core, command, each)


def _named(core: Core, database: Database, wanted: Iterable[tuple[str, str]]) -> list[Series]:
    found: list[Series] = []
    for schema, name in wanted:
        relation = names.find(core.context(), database, schema, name)
        if isinstance(relation, Series):
            found.append(relation)
        elif relation is not None:
            core.notices.append(warning(f'skipping "{name}" --- cannot vacuum non-tables or special system tables'))
        elif relations.find(schema, name) is None:
            raise UndefinedTable(f'relation "{f"{schema}.{name}" if schema else name}" does not exist')
    return found


def _may_vacuum(core: Core, database: Database, series: Series) -> bool:
    roles, role = core.execution.catalog.roles, core.identity.current.role
    return privileges.owns(roles, role, series) or privileges.owns(roles, role, database)


def _vacuum(core: Core, command: Vacuum, series: Series) -> None:
    cancellation, deadline = core.cancellation, core.deadline

    def cancelled() -> bool:
        if deadline is not None and time.monotonic() > deadline:
            return True
        try:
            cancellation.check()
        except QueryCanceled:
            return True
        return False

    activity = core.functions.activity

    def shown(progress: VacuumProgress | None) -> None:
        if activity is not None:
            activity.vacuum = progress

    done: list[Compaction] = []
    shown(VacuumProgress(series.number))
    try:
        core.execution.compact(series, full=command.full, told=done.append, cancelled=cancelled, shown=shown)
    finally:
        shown(None)
    if command.verbose or done:
        core.notices.append(notice(_summary(series, done)))
    if command.verbose:
        for each in done:
            core.notices.append(notice(_text(each)))


def _summary(series: Series, done: list[Compaction]) -> str:
    if not done:
        return f'"{series.name}": nothing to compact'
    before = f"{sum(c.blocks_in for c in done)} blocks of {sum(c.rows_in for c in done)} rows"
    after = f"{sum(c.blocks_out for c in done)} blocks of {sum(c.rows_out for c in done)} rows"
    sizes = sum(c.bytes_in for c in done), sum(c.bytes_out for c in done)
    return f'"{series.name}": {before} and {sizes[0]} bytes became {after} and {sizes[1]} bytes'


def _text(done: Compaction) -> str:
    return f"{done.reason}: {done.blocks_in} blocks became {done.blocks_out}, {done.rows_in} rows {done.rows_out}"
