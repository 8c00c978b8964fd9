"""Cursors of SQL: DECLARE, FETCH, MOVE and CLOSE. FETCH and MOVE also work on portals that Bind made, as asyncpg does.

Source: PostgreSQL 15 manual, DECLARE and FETCH.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tsdb.errors import NoActiveSqlTransaction, ObjectNotInPrerequisiteState
from tsdb.session.core import Core, Work
from tsdb.session.planning import Plan
from tsdb.session.portals import Portal, PreparedStatement
from tsdb.session.rowset import Done, Rowset, RowSource
from tsdb.session.scrolling import Cursor
from tsdb.session.transaction import State
from tsdb.session.utility import CloseCursor, Command, Declare, Fetch


async def run(
    core: Core, plan: Plan, command: Command, values: Sequence[object | None], work: Work[Any]
) -> Rowset | Done:
    if isinstance(command, Declare):
        await _declare(core, plan, command, values, work)
        return Done("DECLARE CURSOR")
    if isinstance(command, CloseCursor):
        if command.name is None:
            core.names.close_cursors()
            return Done("CLOSE CURSOR ALL")
        core.names.portal(command.name, "cursor")
        core.names.close_portal(command.name)
        return Done("CLOSE CURSOR")
    assert isinstance(command, Fetch)
    cursor = await _cursor(core, core.names.portal(command.name, "cursor"), work)
    if not command.move:
        rows: Rowset = await work(lambda: cursor.fetch(command.motion, "FETCH"))
        return rows
    moved: Rowset = await work(lambda: cursor.fetch(command.motion, "MOVE"))
    return Done(await work(lambda: _passed(moved)))


async def _declare(core: Core, plan: Plan, command: Declare, values: Sequence[object | None], work: Work[Any]) -> None:
    if not command.hold and core.transaction.state is not State.BLOCK:
        raise NoActiveSqlTransaction("DECLARE CURSOR can only be used in transaction blocks")
    body = plan.body
    assert body is not None
    core.check_cursors()
    portal = Portal(
        command.name,
        PreparedStatement("", body),
        list(values),
        cursor=True,
        hold=command.hold,
        binary=command.binary,
        scroll=command.scroll,
        text=plan.statement.fragment.text,
        created_us=core.now_us(),
    )
    core.names.add_portal(portal)
    try:
        await _cursor(core, portal, work)
    except BaseException:
        core.names.close_portal(command.name)
        raise


async def _cursor(core: Core, portal: Portal, work: Work[Any]) -> Cursor:
    """A portal's cursor; its query begins now unless it has."""
    if portal.place is not None:
        return portal.place
    if portal.source is None:
        plan = portal.statement.plan
        if plan is None or plan.query is None or portal.finished:
            raise ObjectNotInPrerequisiteState(f'portal "{portal.name}" cannot be run')
        context = core.context()
        values, types = portal.values, portal.statement.types or plan.parameters
        rowset = await work(lambda: core.execution.run(plan, values, context, types, core.cancellation))
        core.cancellation.watch(None)
        portal.source = RowSource(rowset)
        portal.source.rest()
    portal.place = Cursor(portal.source, portal.scroll)
    return portal.place


def _passed(rowset: Rowset) -> str:
    """The tag of MOVE, once it has passed the rows."""
    rows = 0
    while (batch := rowset.next()) is not None:
        rows += batch.num_rows
    rowset.close()
    return rowset.tag(getattr(rowset, "rows", rows))
