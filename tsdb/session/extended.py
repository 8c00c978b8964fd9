"""The extended protocol: Parse, Bind, Describe, Execute and Close, one answer each, up to Sync.

Source: PostgreSQL 15 manual, 55.2.3 (extended query).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tsdb import datetimes
from tsdb.errors import ObjectNotInPrerequisiteState, SqlSyntaxError
from tsdb.session import commands, copying, parameters
from tsdb.session.core import Core
from tsdb.session.exchange import Exchange, Timer
from tsdb.session.planning import Plan
from tsdb.session.portals import Portal, PreparedStatement
from tsdb.session.rowset import Done, RowSource, RowStream, begun, let_go
from tsdb.sql.statement import Utility
from tsdb.types import BY_OID, UNKNOWN, SqlType
from tsdb.wire import BINARY_FORMAT, TEXT_FORMAT, Bind, Close, Describe, Event, Execute, Malformed, Parse, format_codes
from tsdb.zones import zone


async def answer(exchange: Exchange, event: Event) -> None:
    timer = None
    try:
        if isinstance(event, Malformed):
            raise event.error
        if isinstance(event, Parse):
            exchange.active(event.text)
            await _parse(exchange, event)
        elif isinstance(event, Bind):
            _bind(exchange, event)
        elif isinstance(event, Describe):
            _describe(exchange, event)
        elif isinstance(event, Execute):
            timer = exchange.start_timer()
            await _execute(exchange, event, timer)
        elif isinstance(event, Close):
            _close(exchange, event)
    except ConnectionError:
        raise
    except Exception as error:
        exchange.failed(error)
    finally:
        exchange.core.cancellation.watch(None)
        if timer is not None and exchange.incoming is None:
            timer.cancel()


async def _parse(exchange: Exchange, event: Parse) -> None:
    core = exchange.core
    statements = await exchange.read(event.text)
    if len(statements) > 1:
        raise SqlSyntaxError("cannot insert multiple commands into a prepared statement")
    if not event.name:
        core.names.close_statement("")
    types = tuple(_client_type(core, oid) for oid in event.parameter_oids)
    plan: Plan | None = None
    if statements:
        statement = statements[0]
        if isinstance(statement, Utility):
            slow = statement.verb in ("DECLARE", "COPY")
            plan = None if slow else core.execution.plan(statement, core.context(), types)
        core.start(plan)
        if plan is None:
            context = core.context()
            # Drivers that name no statement send each one's text again.
            plan = core.execution.known(statement, context, types)
            if plan is None:
                plan = await exchange.work(lambda: core.execution.plan(statement, context, types))
    core.names.add_statement(
        PreparedStatement(event.name, plan, types, core.variables.generation, event.text, created_us=core.now_us())
    )
    exchange.connection.parse_complete()


def _bind(exchange: Exchange, event: Bind) -> None:
    core = exchange.core
    statement = core.names.statement(event.statement)
    core.start(statement.plan)
    plan = statement.plan
    types = plan.parameters if plan is not None else ()
    context = datetimes.Context(zone(core.timezone), core.context().now_us, core.codec)
    values = parameters.values_of(event, types, context)
    columns = commands.columns_of(core, plan) if plan is not None else None
    formats = format_codes(event.result_formats, len(columns or ()))
    core.names.add_portal(
        Portal(event.portal, statement, values, formats, text=statement.text, created_us=core.now_us())
    )
    exchange.connection.bind_complete()


def _describe(exchange: Exchange, event: Describe) -> None:
    core = exchange.core
    if event.kind == "S":
        statement = core.names.statement(event.name)
        core.start(statement.plan)
        exchange.connection.parameter_description(statement.plan.parameters if statement.plan is not None else ())
        formats: Sequence[int] | None = None
    else:
        portal = core.names.portal(event.name)
        statement, formats = portal.statement, portal.formats
    columns = commands.columns_of(core, statement.plan) if statement.plan is not None else None
    if columns is None:
        exchange.connection.no_data()
        return
    # A cursor that DECLARE made has no formats of its own: FETCH will have them.
    codes = formats if formats is not None and len(formats) == len(columns) else (TEXT_FORMAT,) * len(columns)
    exchange.describe(columns, codes)


async def _execute(exchange: Exchange, event: Execute, timer: Timer) -> None:
    core = exchange.core
    portal = core.names.portal(event.portal)
    plan = portal.statement.plan
    if plan is None:
        exchange.connection.empty_query()
        return
    core.start(plan)
    if portal.finished:
        if portal.stream is None:
            raise ObjectNotInPrerequisiteState(f'portal "{portal.name}" cannot be run')
        exchange.connection.command_complete(portal.stream.source.rowset.tag(0))
        return
    if plan.copy is not None:
        await _copy(exchange, portal, plan, timer)
        return
    if portal.stream is None:
        if portal.source is None:
            if event.max_rows:
                core.check_cursors()
            result = await _start_portal(exchange, portal, plan, event.max_rows or None)
            if isinstance(result, Done):
                portal.finished = True
                exchange.say()
                exchange.connection.command_complete(result.tag)
                return
            portal.stream, portal.source = result, result.source
        else:
            portal.stream = _stream(core, portal, portal.source)
    await _continue(exchange, portal, event.max_rows or None)


async def _copy(exchange: Exchange, portal: Portal, plan: Plan, timer: Timer) -> None:
    async def finish(tag: str) -> None:
        exchange.say()
        exchange.connection.command_complete(tag)

    portal.finished = True
    if plan.body is not None:
        await finish(await copying.send(exchange, plan))
    else:
        await copying.begin(exchange, plan, timer, finish, simple=False)


def _stream(core: Core, portal: Portal, source: RowSource) -> RowStream:
    columns, formats = source.rowset.columns, portal.formats
    if len(formats) != len(columns):  # a cursor of DECLARE, which has none
        formats = (BINARY_FORMAT if portal.binary else TEXT_FORMAT,) * len(columns)
    return RowStream(source, formats, core)


async def _start_portal(exchange: Exchange, portal: Portal, plan: Plan, limit: int | None) -> RowStream | Done:
    """Run a plan up to its first rows: one trip to the pool, or none."""
    core = exchange.core
    if plan.command is not None:
        found = await commands.run(core, plan, portal.values, exchange.work)
        return found if isinstance(found, Done) else _stream(core, portal, RowSource(found))
    core.check_allowed(plan)
    context = core.context()
    types = portal.statement.types
    alone = exchange.connection.followed_by_sync

    def run() -> RowStream | Done:
        found = core.execution.run(plan, portal.values, context, types, core.cancellation, alone=alone)
        if isinstance(found, Done):
            return found
        return begun(found, partial(_stream, core, portal), limit, core.cancellation.check)

    undo = let_go if core.execution.may_run_twice(plan) else None
    return await exchange.work.at_pace(core.execution.pace_of(plan), run, undo)


async def _continue(exchange: Exchange, portal: Portal, limit: int | None) -> None:
    source, stream = portal.source, portal.stream
    assert source is not None
    assert stream is not None
    exchange.core.cancellation.watch(source.rowset)
    try:
        rows, ended = await exchange.send(stream, limit)
    except BaseException:
        portal.finished = True
        raise
    exchange.say()
    if not ended:
        source.rest()
        exchange.connection.portal_suspended()
        return
    portal.finished = True
    exchange.connection.command_complete(source.rowset.tag(rows))


def _close(exchange: Exchange, event: Close) -> None:
    if event.kind == "S":
        exchange.core.names.close_statement(event.name)
    else:
        exchange.core.names.close_portal(event.name)
    exchange.connection.close_complete()


async def sync(exchange: Exchange) -> None:
    try:
        await exchange.core.finish_implicit(exchange.work)
    except ConnectionError:
        raise
    except Exception as error:
        exchange.failed(error)
    exchange.ready()


def _client_type(core: Core, oid: int) -> SqlType | None:
    """What a client says a parameter is; 0, unknown and what we do not know leave it to us."""
    found = BY_OID.get(oid)
    if found is None and oid:
        found = core.execution.catalog.find(core.context().database).type_by_oid.get(oid)
    return None if found is None or found == UNKNOWN else found
