"""Cursors of SQL: DECLARE, FETCH, MOVE and CLOSE.

Source: PostgreSQL 15 manual, DECLARE and FETCH.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tsdb.errors import NoActiveSqlTransaction, ProtocolViolation
from tsdb.session.core import Core, Work
from tsdb.session.execution import Done, Plan
from tsdb.session.portals import Portal, PreparedStatement
from tsdb.session.rowset import LimitedRowset, Rowset, RowSource
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
    portal = core.names.portal(command.name, "cursor")
    if portal.source is None:
        raise ProtocolViolation(f'portal "{command.name}" is no cursor that was declared')
    if command.move:
        moved = LimitedRowset(portal.source, command.count, "MOVE")
        await work(lambda: _skip(moved))
        return Done(moved.tag(moved.rows))
    return LimitedRowset(portal.source, command.count)


async def _declare(core: Core, plan: Plan, command: Declare, values: Sequence[object | None], work: Work[Any]) -> None:
    if not command.hold and core.transaction.state is not State.BLOCK:
        raise NoActiveSqlTransaction("DECLARE CURSOR can only be used in transaction blocks")
    assert plan.body is not None
    body = plan.body
    core.check_cursors()
    portal = Portal(command.name, PreparedStatement("", body), cursor=True, hold=command.hold)
    core.names.add_portal(portal)
    context = core.context()
    try:
        rowset = await work(lambda: core.execution.run(body, values, context, body.parameters, core.cancellation))
    except BaseException:
        core.names.close_portal(command.name)
        raise
    core.cancellation.watch(None)
    portal.source = RowSource(rowset)
    portal.source.rest()


def _skip(rowset: LimitedRowset) -> None:
    while rowset.next() is not None:
        pass
    rowset.close()
