"""ALTER ROLE and ALTER DATABASE … SET and RESET: what settings begin with in the sessions to come.

Source of the grammar: PostgreSQL 15 manual, ALTER ROLE, ALTER DATABASE.
"""

from __future__ import annotations

from tsdb.errors import InsufficientPrivilege
from tsdb.model.role_changes import SetRoleSetting
from tsdb.model.schema import Catalog
from tsdb.sql import setting_text, settings
from tsdb.sql.context import Context
from tsdb.sql.reader import Reader


def of_database(reader: Reader, context: Context, catalog: Catalog) -> SetRoleSetting | None:
    """What follows ``ALTER``; None for anything but DATABASE name SET or RESET, unread."""
    start = reader.at
    if reader.accept("database") and len(reader.tokens) > reader.at + 1:
        name = reader.name()
        if (reader.at_words("set") or reader.at_words("reset")) and not reader.at_words("set", "tablespace"):
            return read(reader, context, catalog, None, catalog.find(name).name)
    reader.at = start
    return None


def read(reader: Reader, context: Context, catalog: Catalog, role: str | None, database: str | None) -> SetRoleSetting:
    """What follows the role's or the database's name. Raises what SET raises for a wrong value."""
    if reader.accept("reset"):
        name = None if reader.accept("all") else _name(reader, context, catalog)
        return SetRoleSetting(role, database, name, None)
    reader.expect("set")
    if reader.accept("time", "zone"):
        return _set(role, database, "TimeZone", setting_text.zone_of(reader))
    name = _name(reader, context, catalog)
    if reader.accept("from", "current"):
        return _set(role, database, name, context.settings.get(name.lower(), settings.find(name).default))
    if not reader.accept_sign("="):
        reader.expect("to")
    value = setting_text.zone_of(reader) if name == "TimeZone" else setting_text.value_of(reader)
    return _set(role, database, name, value)


def _name(reader: Reader, context: Context, catalog: Catalog) -> str:
    """As pg_settings has it. Raises UndefinedObject, CantChangeRuntimeParam, InsufficientPrivilege."""
    setting = settings.find(setting_text.name_of(reader))
    setting.refuse_change(at_start=True)
    me = catalog.roles.by_number.get(context.role)
    if setting.context.startswith("superuser") and (me is None or not me.superuser):
        raise InsufficientPrivilege(f'permission denied to set parameter "{setting.name}"')
    return setting.name


def _set(role: str | None, database: str | None, name: str, value: str | None) -> SetRoleSetting:
    if value is not None:
        settings.checked(name, value, at_start=True)
    return SetRoleSetting(role, database, name, value)
