"""SET ROLE, SET SESSION AUTHORIZATION and SHOW TOKENS at work."""

from __future__ import annotations

import numpy as np

from tsdb.errors import InsufficientPrivilege, NoActiveSqlTransaction
from tsdb.session.core import Core
from tsdb.session.rowset import Done, Rowset, text_columns, texts
from tsdb.session.transaction import State
from tsdb.session.utility import SetRole, SetSessionAuthorization, ShowTokens

TOKENS = text_columns("name", "role", "created", "valid_until")


def run(core: Core, command: SetRole | SetSessionAuthorization | ShowTokens) -> Rowset | Done:
    if isinstance(command, ShowTokens):
        return texts(TOKENS, _tokens(core), "SHOW")
    if command.local and core.transaction.state is not State.BLOCK:
        core.warn(NoActiveSqlTransaction("SET LOCAL can only be used in transaction blocks"))
    if isinstance(command, SetRole):
        core.identity.set_role(command.name, local=command.local)
    else:
        core.identity.set_session(command.name, local=command.local)
    return Done(command.tag)


def _tokens(core: Core) -> list[tuple[str, ...]]:
    """The tokens that the current role could revoke: of all roles for a superuser, else its own."""
    roles = core.execution.catalog.roles
    me = roles.by_number.get(core.identity.current.role)
    if me is None:
        return []
    return [
        (token.name, role.name, _text(token.created_us), _text(token.valid_until_us))
        for role in roles
        for token in sorted(role.tokens, key=lambda each: each.name)
        if me.superuser or role.number == me.number or (me.create_role and not role.superuser)
    ]


def _text(us: int | None) -> str:
    return "" if us is None else f"{np.datetime_as_string(np.datetime64(us, 'us'), unit='s')}Z".replace("T", " ")


def check_checkpoint(core: Core) -> None:
    role = core.execution.catalog.roles.by_number.get(core.identity.current.role)
    if role is None or not role.superuser:
        raise InsufficientPrivilege("must be superuser to do CHECKPOINT")
