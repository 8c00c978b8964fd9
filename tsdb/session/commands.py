"""Session and utility statements at work: each command on the session's core, with a tag or rows as its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tsdb.errors import NoActiveSqlTransaction, ProtocolViolation, SqlSyntaxError, UndefinedObject
from tsdb.session import role_commands
from tsdb.session.core import Core, Work
from tsdb.session.execution import Done, Plan
from tsdb.session.portals import Portal, PreparedStatement
from tsdb.session.rowset import LimitedRowset, Rowset, RowSource, text_columns, texts
from tsdb.session.transaction import State
from tsdb.session.utility import (
    Accepted,
    Begin,
    Checkpoint,
    CloseCursor,
    Command,
    Commit,
    Deallocate,
    Declare,
    Discard,
    ExecuteStatement,
    Fetch,
    PrepareStatement,
    ReleaseSavepoint,
    Reset,
    Rollback,
    RollbackTo,
    Set,
    SetRole,
    SetSavepoint,
    SetSessionAuthorization,
    Show,
    ShowTokens,
)
from tsdb.sql import settings
from tsdb.sql.notice import notice
from tsdb.sql.result import ResultColumn
from tsdb.sql.statement import Fragment, Select, parse
from tsdb.types import BY_NAME, SqlType

_SHOW_ALL = text_columns("name", "setting", "description")


def columns_of(core: Core, plan: Plan) -> tuple[ResultColumn, ...] | None:
    """The columns that running a plan gives, with what the session knows by now; None for no rows."""
    found = plan.command
    if isinstance(found, Show):
        return _SHOW_ALL if found.name is None else text_columns(_shown_name(found.name))
    if isinstance(found, ShowTokens):
        return role_commands.TOKENS
    if isinstance(found, Fetch):
        portal = core.names.portals.get(found.name)
        declared = portal.statement.plan if portal is not None else None
        return None if found.move or declared is None else declared.columns
    if isinstance(found, ExecuteStatement):
        prepared = core.names.statements.get(found.name)
        return columns_of(core, prepared.plan) if prepared is not None and prepared.plan is not None else None
    return plan.columns


async def run(core: Core, plan: Plan, values: Sequence[object | None], work: Work[Any]) -> Rowset | Done:
    """Run a utility statement's command."""
    command = plan.command
    assert command is not None
    match command:
        case Begin(tag, modes):
            core.begin(modes)
            return Done(tag)
        case Commit(chain):
            return Done(await core.commit(work, chain=chain))
        case Rollback(chain):
            return Done(core.rollback(chain=chain))
        case SetSavepoint(name):
            core.savepoint(name)
            return Done("SAVEPOINT")
        case ReleaseSavepoint():
            core.release(command)
            return Done("RELEASE")
        case RollbackTo():
            core.rollback_to(command)
            return Done("ROLLBACK")
        case Declare() | Fetch() | CloseCursor():
            return await _cursor(core, plan, command, values, work)
        case PrepareStatement() | ExecuteStatement() | Deallocate():
            return await _prepared(core, command, work)
        case SetRole() | SetSessionAuthorization() | ShowTokens():
            return role_commands.run(core, command)
        case Checkpoint():
            role_commands.check_checkpoint(core)
            await work(core.execution.checkpoint)
            return Done("CHECKPOINT")
    return _setting(core, command)


# --- settings ---


def _setting(core: Core, command: Command) -> Rowset | Done:
    match command:
        case Set(pairs, local, tag):
            _set(core, pairs, local=local)
            return Done(tag)
        case Reset(name):
            if name is None:
                core.variables.reset_all()
            else:
                core.variables.reset(name)
            return Done("RESET")
        case Show(None):
            return texts(_SHOW_ALL, core.variables.listing(), "SHOW")
        case Show(str(name)):
            return texts(text_columns(_shown_name(name)), [(core.variables.get(name),)], "SHOW")
        case Discard(what):
            core.discard(what)
            return Done(f"DISCARD {what.upper()}")
        case Accepted(tag, text):
            if text:
                core.notices.append(notice(text))
            return Done(tag)
    raise AssertionError(f"not a command: {command!r}")


def _shown_name(name: str) -> str:
    """SHOW answers under the setting's own spelling: TimeZone, DateStyle."""
    return settings.find(name).name


def _set(core: Core, pairs: tuple[tuple[str, str | None], ...], *, local: bool) -> None:
    if local and core.transaction.state is not State.BLOCK:
        core.warn(NoActiveSqlTransaction("SET LOCAL can only be used in transaction blocks"))
    for name, value in pairs:
        if value is None:
            core.variables.reset(name, local=local)
        else:
            core.variables.set(name, value, local=local)


# --- cursors ---


async def _cursor(
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


# --- PREPARE and EXECUTE ---


async def _prepared(core: Core, command: Command, work: Work[Any]) -> Rowset | Done:
    if isinstance(command, PrepareStatement):
        context = core.context()
        types = tuple(_type(name) for name in command.types)
        plan = await work(lambda: core.execution.plan(parse(command.body), context, types))
        core.names.add_statement(PreparedStatement(command.name, plan, plan.parameters, core.variables.generation))
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
    assert statement.plan is not None
    plan = statement.plan
    values = await work(lambda: _arguments(core, command, plan.parameters))
    if plan.command is not None:
        return await run(core, plan, values, work)
    core.check_allowed(plan)
    context = core.context()
    found: Rowset | Done = await work(
        lambda: core.execution.run(plan, values, context, statement.types, core.cancellation)
    )
    return found


def _type(name: str) -> SqlType:
    found = BY_NAME.get(name.split("(")[0].strip())
    if found is None:
        raise UndefinedObject(f'type "{name}" does not exist')
    return found


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
