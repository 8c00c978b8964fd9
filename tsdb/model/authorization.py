"""Whether a role may do what it asks for: connect, change the schema or roles, write points. Pure.

Everything here raises InsufficientPrivilege (42501) with PostgreSQL's message, or returns. Reading and modifying rows
is checked by ``tsdb.model.privileges.check`` where a statement starts to run.

Source: PostgreSQL 15 manual, 5.7, 22, and the notes of each command; src/backend/commands/user.c.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tsdb.errors import (
    InsufficientPrivilege,
    InvalidAuthorizationSpecification,
    InvalidCatalogName,
    ObjectInUse,
    TooManyConnections,
)
from tsdb.model import privileges
from tsdb.model.access import Identity
from tsdb.model.catalog import Catalog, Database, Series
from tsdb.model.privileges import Privilege
from tsdb.model.role_changes import (
    AddToken,
    AlterRole,
    CreateRole,
    DropOwned,
    DropRole,
    DropToken,
    GrantPrivileges,
    GrantRole,
    ReassignOwned,
    RenameRole,
    RevokeRole,
    SetOwner,
)
from tsdb.model.roles import FIRST, PREDEFINED, Role, Roles
from tsdb.model.schema import (
    AddColumn,
    AlterColumn,
    AlterColumnType,
    CreateDatabase,
    CreateSeries,
    DropColumn,
    DropDatabase,
    DropSeries,
    RenameColumn,
    RenameDatabase,
    RenameSeries,
    SchemaChange,
    SetRetention,
)

_OF_OWN_SERIES = AddColumn | DropColumn | RenameColumn | AlterColumnType | AlterColumn | SetRetention
# What a role may change of itself.
_OWN_ATTRIBUTES = frozenset({"verifier"})


def check_connection(catalog: Catalog, who: Identity, database: str, others: int) -> None:
    """Whether a role may have a session in a database, beside ``others`` that it has already."""
    role = catalog.roles.by_number.get(who.role)
    if role is None or not role.login:
        raise InvalidAuthorizationSpecification(f'role "{who.name}" is not permitted to log in')
    found = catalog.databases.get(database)
    if found is None:
        raise InvalidCatalogName(f'database "{database}" does not exist')
    if not Privilege.CONNECT & privileges.privileges_of(catalog.roles, who.role, found):
        raise InsufficientPrivilege(
            f'permission denied for database "{database}"', detail="User does not have CONNECT privilege."
        )
    if not role.superuser and 0 <= role.connection_limit <= others:
        raise TooManyConnections(f'too many connections for role "{who.name}"')


# --- schema ---


def permitted(catalog: Catalog, role: int, changes: Iterable[SchemaChange]) -> tuple[SchemaChange, ...]:
    """The changes a role may make; what they create is its own."""
    return tuple(_permitted(catalog, role, change) for change in changes)


def _permitted(catalog: Catalog, role: int, change: SchemaChange) -> SchemaChange:
    roles = catalog.roles
    me = roles.by_number.get(role)
    if me is None:
        raise InsufficientPrivilege(f"permission denied: role {role} does not exist any more")
    match change:
        case CreateDatabase(name, if_not_exists):
            if if_not_exists and name in catalog.databases:
                return change
            if not (me.superuser or me.create_database):
                raise InsufficientPrivilege("permission denied to create database")
            return change if change.owner != FIRST else replace(change, owner=role)
        case DropDatabase(name):
            privileges.check_owner(roles, role, catalog.find(name))
        case RenameDatabase(name):
            privileges.check_owner(roles, role, catalog.find(name))
            if not (me.superuser or me.create_database):
                raise InsufficientPrivilege("permission denied to rename database")
        case CreateSeries():
            check_create(catalog, role, catalog.find(change.database))
            return replace(change, owner=role)
        case DropSeries(database, name):
            if not privileges.owns(roles, role, catalog.find(database)):
                privileges.check_owner(roles, role, catalog.find(database).find(name))
        case RenameSeries(database, name):
            privileges.check_owner(roles, role, catalog.find(database).find(name))
        case AddColumn() | DropColumn() | RenameColumn() | AlterColumnType() | AlterColumn() | SetRetention():
            privileges.check_owner(roles, role, catalog.find(change.database).find(change.series))
        case _:
            _check_role_change(catalog, me, change)
    return change


def check_create(catalog: Catalog, role: int, database: Database) -> None:
    """CREATE on a database is what CREATE on its schema public is in PostgreSQL: there is no other schema."""
    if not Privilege.CREATE & privileges.privileges_of(catalog.roles, role, database):
        raise InsufficientPrivilege(
            "permission denied for schema public",
            hint=f'The owner or a superuser can GRANT CREATE ON DATABASE "{database.name}" to the role.',
        )


def _check_role_change(catalog: Catalog, me: Role, change: SchemaChange) -> None:
    roles = catalog.roles
    match change:
        case GrantPrivileges(database, series):
            target = _target(catalog, database, series)
            if not privileges.owns(roles, me.number, target):
                raise InsufficientPrivilege(f"permission denied for {target.object_kind} {target.name}")
        case SetOwner(database, series, to):
            _check_owner_change(catalog, me, _target(catalog, database, series), to)
        case ReassignOwned(_, names, to):
            if not all(roles.has_rights_of(me.number, roles.find(name).number) for name in (*names, to)):
                raise InsufficientPrivilege("permission denied to reassign objects")
        case DropOwned(_, names):
            if not all(roles.has_rights_of(me.number, roles.find(name).number) for name in names):
                raise InsufficientPrivilege("permission denied to drop objects")
        case CreateRole():
            _check_create_role(roles, me, change)
        case AlterRole():
            _check_alter_role(roles, me, change)
        case RenameRole(name):
            _check_power(me, roles.find(name), "rename superusers", "permission denied to rename role")
        case DropRole(name):
            if roles.find(name).number == me.number:
                raise ObjectInUse("current user cannot be dropped")
            _check_power(me, roles.find(name), "drop superusers", "permission denied to drop role")
        case GrantRole(role) | RevokeRole(role):
            _check_membership(me, roles.find(role))
        case AddToken(role):
            _check_token(me, roles.find(role))
        case DropToken(name):
            for role_of, token in roles.tokens.values():
                if token.name == name:
                    _check_token(me, role_of)
        case _:
            if not me.superuser:
                raise InsufficientPrivilege("permission denied: only superusers may do this")


def _target(catalog: Catalog, database: str, series: str | None) -> Database | Series:
    found = catalog.find(database)
    return found if series is None else found.find(series)


def _check_owner_change(catalog: Catalog, me: Role, target: Database | Series, to: str) -> None:
    privileges.check_owner(catalog.roles, me.number, target)
    if not catalog.roles.is_member(me.number, catalog.roles.find(to).number):
        raise InsufficientPrivilege(f'must be member of role "{to}"')
    if isinstance(target, Database) and not (me.superuser or me.create_database):
        raise InsufficientPrivilege("permission denied to change owner of database")


# --- roles ---


def _check_power(me: Role, over: Role, what: str, denied: str) -> None:
    """CREATEROLE reaches every role but superusers."""
    if me.superuser:
        return
    if over.superuser:
        raise InsufficientPrivilege(f"must be superuser to {what}")
    if not me.create_role:
        raise InsufficientPrivilege(denied)


def _check_create_role(roles: Roles, me: Role, change: CreateRole) -> None:
    _check_power(me, change.role, "create superusers", "permission denied to create role")
    for name in change.member_of:
        _check_membership(me, roles.find(name))


def _check_alter_role(roles: Roles, me: Role, change: AlterRole) -> None:
    found = roles.find(change.name)
    names = {name for name, _ in change.attributes}
    if me.superuser or (found.number == me.number and names <= _OWN_ATTRIBUTES):
        return
    if found.superuser or "superuser" in names:
        raise InsufficientPrivilege("must be superuser to alter superuser roles or change superuser attribute")
    if not me.create_role:
        raise InsufficientPrivilege("permission denied")


def _check_membership(me: Role, role: Role) -> None:
    """Who may make members of ``role``. Unlike PostgreSQL 15, and like 16, CREATEROLE alone does not reach predefined
    roles: it could make itself a member of pg_write_all_data."""
    if me.superuser or any(m.role == role.number and m.admin for m in me.member_of):
        return
    if role.superuser:
        raise InsufficientPrivilege("must be superuser to alter superusers")
    if not me.create_role or role.number in PREDEFINED:
        raise InsufficientPrivilege(f'must have admin option on role "{role.name}"')


def _check_token(me: Role, role: Role) -> None:
    """A token is as good as a password: who may set the one may make and revoke the other."""
    if me.number != role.number:
        _check_power(me, role, "manage tokens of superusers", f'permission denied for tokens of role "{role.name}"')


# --- line protocol ---


def permitted_by_write(catalog: Catalog, role: int, changes: Sequence[SchemaChange]) -> tuple[SchemaChange, ...]:
    """The changes that a body of line protocol needs. A new field or tag is part of writing: INSERT suffices for it."""
    found: list[SchemaChange] = []
    for change in changes:
        if isinstance(change, AddColumn):
            series = catalog.find(change.database).series.get(change.series)
            if series is not None:
                privileges.check(catalog.roles, role, series, Privilege.INSERT)
            found.append(change)
        else:
            found += permitted(catalog, role, [change])
    return tuple(found)


def check_write(catalog: Catalog, role: int, database: Database, series: Iterable[Series]) -> None:
    """Whether a role may write points into these series."""
    check_connect(catalog, role, database)
    for each in series:
        privileges.check(catalog.roles, role, each, Privilege.INSERT)


def check_connect(catalog: Catalog, role: int, database: Database) -> None:
    privileges.check(catalog.roles, role, database, Privilege.CONNECT)
