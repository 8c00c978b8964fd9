"""Simple queries: a message's statements one after the other, up to ReadyForQuery.

Source: PostgreSQL 15 manual, 55.2.2 (simple query), 55.2.2.1 (multiple statements).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tsdb.session import commands, copying
from tsdb.session.exchange import Exchange, Timer, stream_of
from tsdb.session.planning import Plan
from tsdb.session.rowset import Done, Rowset, RowStream, begun, let_go
from tsdb.sql.statement import Statement, Utility


async def answer(exchange: Exchange, text: str) -> None:
    exchange.active(text)
    # A Query takes the unnamed statement and portal with it (manual, 55.2.3).
    exchange.core.names.close_statement("")
    exchange.core.names.close_portal("")
    try:
        statements = await exchange.read(text)
        if not statements:
            exchange.connection.empty_query()
    except Exception as error:
        exchange.failed(error)
        statements = ()
    await _answer(exchange, statements)


async def _answer(exchange: Exchange, statements: Sequence[Statement]) -> None:
    """Statement by statement up to ReadyForQuery, or up to a COPY FROM, whose end goes on from there."""
    try:
        for i, statement in enumerate(statements):
            await _statement(exchange, statement, statements[i + 1 :])
            if exchange.incoming is not None:
                return
    except ConnectionError:
        raise
    except Exception as error:
        exchange.failed(error)
    exchange.ready()


async def _statement(exchange: Exchange, statement: Statement, rest: Sequence[Statement]) -> None:
    core = exchange.core
    timer = exchange.start_timer()
    try:
        if isinstance(statement, Utility) and statement.verb == "COPY":
            tag = await _copy(exchange, statement, rest, timer)
            if tag is None:
                return
        else:
            plan, result = await _planned(exchange, statement, alone=not rest)
            tag = await _answered(exchange, plan, result)
        await _completed(exchange, tag, rest)
    finally:
        core.cancellation.watch(None)
        if exchange.incoming is None:
            timer.cancel()


async def _answered(exchange: Exchange, plan: Plan, result: Done | Rowset | RowStream) -> str:
    """Send the rows, if there are any; the tag."""
    if isinstance(result, Done):
        return result.tag
    if isinstance(result, RowStream):
        return await exchange.send_all(result)
    return await exchange.send_rows(plan, result)


async def _completed(exchange: Exchange, tag: str, rest: Sequence[Statement]) -> None:
    if not rest:
        # A failure to commit is the last statement's failure, not one after its success.
        await exchange.core.finish_implicit(exchange.work)
    exchange.say()
    exchange.connection.command_complete(tag)


async def _copy(exchange: Exchange, statement: Utility, rest: Sequence[Statement], timer: Timer) -> str | None:
    """The tag of COPY TO; None for COPY FROM, which has asked for its data."""
    core = exchange.core
    context = core.context()
    plan = await exchange.work(lambda: core.execution.plan(statement, context))
    core.start(plan)
    if plan.body is not None:
        return await copying.send(exchange, plan)

    async def finish(tag: str) -> None:
        await _completed(exchange, tag, rest)
        await _answer(exchange, rest)

    await copying.begin(exchange, plan, timer, finish, simple=True)
    return None


async def _planned(exchange: Exchange, statement: Statement, *, alone: bool) -> tuple[Plan, Done | Rowset | RowStream]:
    """Plan and run a statement without parameters, up to its first rows: one trip to the pool, or none."""
    core = exchange.core
    if isinstance(statement, Utility):
        plan = await _plan_utility(exchange, statement)
        core.start(plan)
        return plan, await commands.run(core, plan, (), exchange.work)
    core.start()
    context = core.context()

    def run(plan: Plan) -> tuple[Plan, Done | RowStream]:
        core.check_allowed(plan)
        result = core.execution.run(plan, (), context, (), core.cancellation, alone=alone)
        return plan, result if isinstance(result, Done) else begun(
            result, partial(stream_of, core), None, core.cancellation.check
        )

    def plan_and_run() -> tuple[Plan, Done | RowStream]:
        plan = core.execution.plan(statement, context)
        return run(plan) if plan.pace is None else plan.pace.measured(partial(run, plan))

    known = core.execution.known(statement, context)
    if known is None:
        return await exchange.work(plan_and_run)
    undo = _undo if core.execution.may_run_twice(known) else None
    return await exchange.work.at_pace(core.execution.pace_of(known), partial(run, known), undo)


def _undo(planned: tuple[Plan, Done | RowStream]) -> None:
    let_go(planned[1])


async def _plan_utility(exchange: Exchange, statement: Utility) -> Plan:
    core = exchange.core
    context = core.context()
    if statement.verb != "DECLARE":
        return core.execution.plan(statement, context)
    return await exchange.work(lambda: core.execution.plan(statement, context))
