"""Session and utility statements at work: each command on the session's core, with a tag or rows as its answer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from tsdb.errors import NoActiveSqlTransaction, StatementTooComplex
from tsdb.session import cursors, prepared, role_commands, vacuum
from tsdb.session.core import Core, Work
from tsdb.session.planning import Plan
from tsdb.session.rowset import Done, Rowset, text_columns, texts
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
    Listen,
    Notify,
    PrepareStatement,
    RefreshContinuous,
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
    Unlisten,
    Vacuum,
)
from tsdb.session.variables import OF_TRANSACTION
from tsdb.sql import settings
from tsdb.sql.notice import notice
from tsdb.sql.result import ResultColumn

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
        # As PostgreSQL says it of one that has no end; running it is the error.
        with contextlib.suppress(StatementTooComplex):
            last = prepared.executed(core, found)
            return None if last is None else columns_of(core, last)
        return None
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
            return Done(await core.rollback(work, chain=chain))
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
            return await cursors.run(core, plan, command, values, work)
        case PrepareStatement() | ExecuteStatement() | Deallocate():
            return await prepared.run(core, command, work, run)
        case SetRole() | SetSessionAuthorization() | ShowTokens():
            return role_commands.run(core, command)
        case Discard("temp" | "temporary" | "all" as what):
            core.discard(what)
            await work(lambda: core.execution.temporary.drop(core.context()))
            return Done("DISCARD ALL" if what == "all" else "DISCARD TEMP")
        case RefreshContinuous(schema, name):
            core.check_block("CALL refresh_continuous_aggregate()", False)
            await work(lambda: core.execution.refresh_continuous(schema, name, core.context(), core.cancellation))
            return Done("CALL")
        case Vacuum():
            core.check_block("VACUUM", False)
            await work(lambda: vacuum.run(core, command))
            return Done("VACUUM")
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
        case Listen(channel):
            core.messages.listen(channel)
            return Done("LISTEN")
        case Unlisten(channel_or_all):
            core.messages.unlisten(channel_or_all)
            return Done("UNLISTEN")
        case Notify(channel, payload):
            core.messages.notify(channel, payload)
            return Done("NOTIFY")
        case Accepted(tag, text, block):
            core.check_block(tag, block)
            if text:
                core.notices.append(notice(text))
            return Done(tag)
    raise AssertionError(f"not a command: {command!r}")


def _shown_name(name: str) -> str:
    """SHOW answers under the setting's own spelling: TimeZone, DateStyle."""
    return settings.find(name).name


def _set(core: Core, pairs: tuple[tuple[str, str | None], ...], *, local: bool) -> None:
    if local and core.transaction.state is not State.BLOCK:
        what = "SET TRANSACTION" if pairs[0][0] in OF_TRANSACTION else "SET LOCAL"
        core.warn(NoActiveSqlTransaction(f"{what} can only be used in transaction blocks"))
    for name, value in pairs:
        core.check_mode(name, value)
        if value is None:
            core.variables.reset(name, local=local)
        else:
            core.variables.set(name, value, local=local)
