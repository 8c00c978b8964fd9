"""Simple queries: a message's statements one after the other, up to ReadyForQuery.

Source: PostgreSQL 15 manual, 55.2.2 (simple query), 55.2.2.1 (multiple statements).
"""

from __future__ import annotations

from tsdb.session import commands
from tsdb.session.exchange import Exchange
from tsdb.session.execution import Done, Plan
from tsdb.session.rowset import Rowset
from tsdb.sql.statement import Statement, Utility


async def answer(exchange: Exchange, text: str) -> None:
    exchange.active(text)
    try:
        statements = await exchange.read(text)
        if not statements:
            exchange.connection.empty_query()
        for i, statement in enumerate(statements):
            await _statement(exchange, statement, last=i == len(statements) - 1)
    except ConnectionError:
        raise
    except Exception as error:
        exchange.failed(error)
    exchange.ready()


async def _statement(exchange: Exchange, statement: Statement, *, last: bool) -> None:
    core = exchange.core
    timer = exchange.start_timer()
    try:
        plan, result = await _planned(exchange, statement)
        if isinstance(result, Done):
            tag = result.tag
        else:
            tag = await exchange.send_all(plan, result)
        if last:
            # A failure to commit is the last statement's failure, not one after its success.
            await core.finish_implicit(exchange.work)
    finally:
        core.cancellation.watch(None)
        timer.cancel()
    exchange.say()
    exchange.connection.command_complete(tag)


async def _planned(exchange: Exchange, statement: Statement) -> tuple[Plan, Rowset | Done]:
    """Plan and run a statement without parameters: one trip to the pool."""
    core = exchange.core
    if isinstance(statement, Utility):
        plan = await _plan_utility(exchange, statement)
        core.start(plan)
        return plan, await commands.run(core, plan, (), exchange.work)
    core.start()
    context = core.context()

    def plan_and_run() -> tuple[Plan, Rowset | Done]:
        plan = core.execution.plan(statement, context)
        core.check_allowed(plan)
        return plan, core.execution.run(plan, (), context, (), core.cancellation)

    return await exchange.work(plan_and_run)


async def _plan_utility(exchange: Exchange, statement: Utility) -> Plan:
    core = exchange.core
    context = core.context()
    if statement.verb != "DECLARE":
        return core.execution.plan(statement, context)
    return await exchange.work(lambda: core.execution.plan(statement, context))
