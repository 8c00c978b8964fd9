"""How statements name roles: by name, or as CURRENT_USER and its like (gram.y, RoleSpec)."""

from __future__ import annotations

from tsdb.sql.context import Context
from tsdb.sql.reader import Reader


def role_name(reader: Reader, context: Context) -> str:
    if reader.accept_any("current_user", "current_role"):
        return context.user
    if reader.accept("session_user"):
        return context.session_user
    return reader.name()


def role_names(reader: Reader, context: Context) -> list[str]:
    """``a, b, …``"""
    found = [role_name(reader, context)]
    while reader.accept_sign(","):
        found.append(role_name(reader, context))
    return found
