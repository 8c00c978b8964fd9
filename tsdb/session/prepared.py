"""Prepared statements of SQL: PREPARE, EXECUTE and DEALLOCATE.

Source: PostgreSQL 15 manual, PREPARE and EXECUTE.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tsdb.errors import SqlSyntaxError, StatementTooComplex
from tsdb.session.core import Core, Work
from tsdb.session.planning import Plan
from tsdb.session.portals import PreparedStatement
from tsdb.session.rowset import Done, Rowset
from tsdb.session.utility import Command, Deallocate, ExecuteStatement, PrepareStatement
from tsdb.sql.statement import Fragment, Select, parse
from tsdb.types import SqlType

DEPTH_MAX = 100
"""How many EXECUTEs may stand behind each other. One that a client has parsed under the name that it executes never
comes to an end."""

Run = Callable[[Core, Plan, Sequence[object | None], Work[Any]], Awaitable[Rowset | Done]]


async def run(core: Core, command: Command, work: Work[Any], run_command: Run) -> Rowset | Done:
    if isinstance(command, PrepareStatement):
        context = core.context()
        plan = await work(lambda: core.execution.plan(parse(command.body), context, _types(core, command.types)))
        made = PreparedStatement(
            command.name, plan, plan.parameters, core.variables.generation, command.text, True, core.now_us()
        )
        core.names.add_statement(made)
        return Done("PREPARE")
    if isinstance(command, Deallocate):
        if command.name is None:
            core.names.statements.clear()
            return Done("DEALLOCATE ALL")
        core.names.statement(command.name)
        core.names.close_statement(command.name)
        return Done("DEALLOCATE")
    assert isinstance(command, ExecuteStatement)
    statement = core.names.statement(command.name)
    executed(core, command)
    assert statement.plan is not None
    plan = statement.plan
    values = await work(lambda: _arguments(core, command, plan.parameters))
    if plan.command is not None:
        return await run_command(core, plan, values, work)
    core.check_allowed(plan)
    context = core.context()
    found: Rowset | Done = await work(
        lambda: core.execution.run(plan, values, context, statement.types, core.cancellation)
    )
    return found


def executed(core: Core, command: ExecuteStatement) -> Plan | None:
    """The plan that an EXECUTE comes to, by way of others; None where there is none of a name. Raises
    StatementTooComplex where it does not come to one."""
    found = command
    for _ in range(DEPTH_MAX):
        prepared = core.names.statements.get(found.name)
        plan = None if prepared is None else prepared.plan
        if plan is None or not isinstance(plan.command, ExecuteStatement):
            return plan
        found = plan.command
    raise StatementTooComplex(
        "stack depth limit exceeded",
        hint=f'The prepared statement "{command.name}" executes itself, or more than {DEPTH_MAX} one after the other.',
    )


def _types(core: Core, text: str) -> tuple[SqlType | None, ...]:
    """The types that PREPARE names, as a query has them; ``unknown`` leaves one to its surroundings."""
    if not text:
        return ()
    parts = _parts(Fragment("SELECT " + text))
    items = ", ".join("NULL" if part.strip() == "unknown" else f"CAST(NULL AS {part})" for part in parts)
    columns = core.execution.plan(parse(Fragment("SELECT " + items)), core.context()).columns
    assert columns is not None
    return tuple(None if part.strip() == "unknown" else c.type for part, c in zip(parts, columns, strict=True))


def _arguments(core: Core, command: ExecuteStatement, types: Sequence[SqlType]) -> list[object | None]:
    """EXECUTE's arguments, evaluated as a query and handed on as texts."""
    text = command.arguments.strip()
    if not text and not types:
        return []
    select = parse(Fragment("SELECT " + text)) if text else None
    given = len(select.tree.expressions) if isinstance(select, Select) else 0
    if given != len(types):
        raise SqlSyntaxError(
            f'wrong number of parameters for prepared statement "{command.name}"',
            detail=f"Expected {len(types)} parameters but got {given}.",
        )
    assert isinstance(select, Select)
    items = ", ".join(
        f"CAST(CAST({part} AS {sql_type.typname if sql_type.element is None else sql_type.name}) AS text)"
        for part, sql_type in zip(_parts(select.fragment), types, strict=True)
    )
    query = parse(Fragment("SELECT " + items))
    context = core.context()
    plan = core.execution.plan(query, context)
    rowset = core.execution.run(plan, (), context, (), core.cancellation)
    assert not isinstance(rowset, Done)
    try:
        batch = rowset.next()
        assert batch is not None
        return [column[0].as_py() for column in batch.columns]
    finally:
        core.cancellation.watch(None)
        rowset.close()


def _parts(fragment: Fragment) -> list[str]:
    """The texts between the commas of ``SELECT a, b, …``."""
    parts: list[str] = []
    depth = 0
    start = fragment.tokens[0].end
    for token in fragment.tokens[1:]:
        if token.kind == "punctuation":
            depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.value, 0)
            if token.value == "," and depth == 0:
                parts.append(fragment.text[start : token.start])
                start = token.end
    parts.append(fragment.text[start:])
    return parts
