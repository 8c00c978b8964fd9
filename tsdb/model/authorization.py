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
from tsdb.model.changes import (
    AddColumn,
    AddConstraint,
    AddIndex,
    AddLabel,
    AlterColumn,
    AlterColumnType,
    AlterSequence,
    CreateDatabase,
    CreateEnum,
    CreateNamespace,
    CreateSequence,
    CreateSeries,
    CreateView,
    DropColumn,
    DropConstraint,
    DropDatabase,
    DropIndex,
    DropNamespace,
    DropSequence,
    DropSeries,
    DropType,
    DropView,
    MoveRelation,
    RenameColumn,
    RenameConstraint,
    RenameDatabase,
    RenameIndex,
    RenameLabel,
    RenameNamespace,
    RenameSequence,
    RenameSeries,
    RenameType,
    RenameView,
    RenameViewColumn,
    SchemaChange,
    SetAcks,
    SetComment,
    SetContinuous,
    SetIdentity,
    SetRetention,
    SetSlots,
    SettleSlots,
    Swap,
    ValidateConstraint,
)
from tsdb.model.privileges import Privilege
from tsdb.model.relations import BUILDING, passes_with_its_process, path_of
from tsdb.model.relations import PUBLIC as PUBLIC_SCHEMA
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
    SetRoleSetting,
    Target,
    target_of,
)
from tsdb.model.roles import FIRST, PREDEFINED, Role, Roles

# Changes that the owner of a relation makes, by where they have its path.
_OF_SERIES = (
    AddColumn | DropColumn | RenameColumn | AlterColumnType | AlterColumn | SetRetention | SetContinuous | SetIdentity
    | AddConstraint | DropConstraint | ValidateConstraint | RenameConstraint | AddIndex | DropIndex | RenameIndex
    | SetAcks | SetSlots | SettleSlots
)  # fmt: skip
_OF_RELATION_BY_NAME = (
    DropSeries | RenameSeries | DropView | RenameView | RenameViewColumn | DropSequence | RenameSequence
    | AlterSequence | MoveRelation | Swap
)  # fmt: skip
_DROPS = DropSeries | DropView | DropSequence
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
            if change.owner == FIRST:
                return replace(change, owner=role)
            if not roles.is_member(role, change.owner):
                raise InsufficientPrivilege(f'must be member of role "{roles.name_of(change.owner)}"')
        case DropDatabase(name):
            privileges.check_owner(roles, role, catalog.find(name))
        case RenameDatabase(name):
            privileges.check_owner(roles, role, catalog.find(name))
            if not (me.superuser or me.create_database):
                raise InsufficientPrivilege("permission denied to rename database")
        case CreateSeries() | CreateView() | CreateSequence() | CreateEnum():
            check_create(catalog, role, catalog.find(change.database), change.schema)
            if isinstance(change, CreateView) and change.replace:
                _check_replaced(catalog, role, change)
            return replace(change, owner=role) if change.owner == FIRST else change
        case CreateNamespace(database):
            privileges.check(roles, role, catalog.find(database), Privilege.CREATE)
            if change.owner != FIRST and not roles.is_member(role, change.owner):
                raise InsufficientPrivilege(f'must be member of role "{roles.name_of(change.owner)}"')
            return replace(change, owner=role) if change.owner == FIRST else change
        case DropNamespace(database, name) | RenameNamespace(database, name):
            privileges.check_owner(roles, role, target_of(catalog.find(database), None, name))
        case DropType() | AddLabel() | RenameLabel() | RenameType():
            _check_type(catalog, role, change)
        case SetComment():
            _check_comment(catalog, role, change)
        case _ if isinstance(change, _OF_RELATION_BY_NAME):
            _check_relation_owner(catalog, role, change.database, change.name, drop=isinstance(change, _DROPS))
            if isinstance(change, MoveRelation):
                check_create(catalog, role, catalog.find(change.database), change.schema)
        case _ if isinstance(change, _OF_SERIES):
            _check_relation_owner(catalog, role, change.database, change.series)
        case _:
            _check_role_change(catalog, me, change)
    return change


def _check_relation_owner(catalog: Catalog, role: int, database: str, path: str, *, drop: bool = False) -> None:
    """The owner of a schema may drop what is in it, too."""
    found = catalog.find(database)
    relation = found.relation(path)
    if relation is None or passes_with_its_process(relation.schema):
        return  # what is not there is told where the change is made; what is temporary nobody else can name
    where = found.namespaces.get(relation.schema, found)
    if not (drop and privileges.owns(catalog.roles, role, where)):
        privileges.check_owner(catalog.roles, role, relation)


def _check_replaced(catalog: Catalog, role: int, change: CreateView) -> None:
    found = catalog.find(change.database).views.get(path_of(change.schema, change.name))
    if found is not None:
        privileges.check_owner(catalog.roles, role, found)


def _check_type(catalog: Catalog, role: int, change: DropType | AddLabel | RenameLabel | RenameType) -> None:
    database = catalog.find(change.database)
    found = database.types.get(change.name)
    if found is None:
        return  # told where the change is made
    where = database.namespaces.get(found.schema, database)
    if not (isinstance(change, DropType) and privileges.owns(catalog.roles, role, where)):
        privileges.check_owner(catalog.roles, role, found)
    if isinstance(change, RenameType) and change.schema != found.schema:
        check_create(catalog, role, database, change.schema)


def _check_comment(catalog: Catalog, role: int, change: SetComment) -> None:
    if change.kind == "database":
        privileges.check_owner(catalog.roles, role, catalog.find(change.name))
        return
    database = catalog.find(change.database)
    if change.kind == "schema":
        privileges.check_owner(catalog.roles, role, database.namespaces.get(change.name, database))
    elif change.kind == "type":
        if change.name in database.types:
            privileges.check_owner(catalog.roles, role, database.types[change.name])
    else:
        _check_relation_owner(catalog, role, change.database, change.name)


def check_create(catalog: Catalog, role: int, database: Database, schema: str = PUBLIC_SCHEMA) -> None:
    """CREATE on a schema; on the schema public it is CREATE on the database. Temporary tables need TEMPORARY."""
    if schema == BUILDING:
        return
    allowed = privileges.privileges_of(catalog.roles, role, database)
    if passes_with_its_process(schema):
        if not allowed & Privilege.TEMPORARY:
            raise InsufficientPrivilege(f'permission denied to create temporary tables in database "{database.name}"')
        return
    namespace = database.namespaces.get(schema)
    if schema != PUBLIC_SCHEMA and namespace is not None:
        privileges.check(catalog.roles, role, namespace, Privilege.CREATE)
        return
    if not allowed & Privilege.CREATE:
        raise InsufficientPrivilege(
            "permission denied for schema public",
            hint=f'The owner or a superuser can GRANT CREATE ON DATABASE "{database.name}" to the role.',
        )


def _check_role_change(catalog: Catalog, me: Role, change: SchemaChange) -> None:
    roles = catalog.roles
    match change:
        case GrantPrivileges():
            target = target_of(catalog.find(change.database), change.relation, change.schema)
            if not privileges.owns(roles, me.number, target):
                raise InsufficientPrivilege(f"permission denied for {target.object_kind} {target.name}")
        case SetOwner(database, relation, to, schema):
            _check_owner_change(catalog, me, target_of(catalog.find(database), relation, schema), to)
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
        case SetRoleSetting():
            _check_setting(catalog, me, change)
        case AddToken(role):
            _check_token(me, roles.find(role))
        case DropToken(name):
            for role_of, token in roles.tokens.values():
                if token.name == name:
                    _check_token(me, role_of)
        case _:
            if not me.superuser:
                raise InsufficientPrivilege("permission denied: only superusers may do this")


def _check_owner_change(catalog: Catalog, me: Role, target: Target, to: str) -> None:
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


def _check_setting(catalog: Catalog, me: Role, change: SetRoleSetting) -> None:
    """A role's own, or one that CREATEROLE reaches; those of all roles in a database are its owner's (AlterRoleSet)."""
    if change.role is not None:
        found = catalog.roles.find(change.role)
        if found.number != me.number:
            _check_power(me, found, "alter superusers", "permission denied")
    if change.database is not None and change.role is None:
        privileges.check_owner(catalog.roles, me.number, catalog.find(change.database))
    if change.role is None and change.database is None and not me.superuser:
        raise InsufficientPrivilege("must be superuser to alter settings globally")


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
