"""Changes of roles, grants and owners as values, and how each changes a catalog.

Whether somebody may make one is asked before (``tsdb.model.authorization``); here is only what can never be: two roles
of one name, a membership in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tsdb.errors import (
    ConfigurationLimitExceeded,
    DependentObjectsStillExist,
    DuplicateObject,
    InvalidGrantOperation,
    InvalidName,
    InvalidSchemaName,
    ReservedName,
    UndefinedObject,
)
from tsdb.model import privileges
from tsdb.model.catalog import Database, Series
from tsdb.model.draft import Draft
from tsdb.model.enums import EnumType
from tsdb.model.privileges import Grant, Privilege
from tsdb.model.relations import Namespace, SqlSequence, SqlView
from tsdb.model.roles import FIRST, PREDEFINED, PUBLIC, Membership, Role, RoleSetting, Token

MAX_NAME_BYTES = 63
TOKENS_MAX = 100
SETTINGS_MAX = 1000
RESERVED = frozenset({"public", "none"})


@dataclass(frozen=True, slots=True)
class SetSecret:
    """The random bytes of ``Roles.secret``, once in the life of a data directory."""

    secret: bytes


@dataclass(frozen=True, slots=True)
class CreateRole:
    """``role`` without its number; ``members`` are the names of roles that become members of it."""

    role: Role
    member_of: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlterRole:
    """``attributes`` are fields of ``Role`` with their new values."""

    name: str
    attributes: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class RenameRole:
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class DropRole:
    name: str


@dataclass(frozen=True, slots=True)
class GrantRole:
    """``member`` becomes a member of ``role``."""

    role: str
    member: str
    admin: bool = False


@dataclass(frozen=True, slots=True)
class RevokeRole:
    """``admin_only``: REVOKE ADMIN OPTION FOR."""

    role: str
    member: str
    admin_only: bool = False


@dataclass(frozen=True, slots=True)
class GrantPrivileges:
    """On a relation of ``database`` by its path, on a ``schema`` of it, or (both None) on itself. ``role`` None is
    PUBLIC."""

    database: str
    relation: str | None
    privileges: Privilege
    role: str | None
    revoke: bool = False
    schema: str | None = None


@dataclass(frozen=True, slots=True)
class SetOwner:
    """Of a relation of ``database`` by its path, of a ``schema`` of it, or (both None) of itself."""

    database: str
    relation: str | None
    role: str
    schema: str | None = None


@dataclass(frozen=True, slots=True)
class ReassignOwned:
    """Everything in ``database`` and the databases themselves that ``roles`` own."""

    database: str
    roles: tuple[str, ...]
    to: str


@dataclass(frozen=True, slots=True)
class DropOwned:
    """Every grant to ``roles`` on ``database`` and its objects. What they own is dropped by changes of its own."""

    database: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetRoleSetting:
    """ALTER ROLE and ALTER DATABASE … SET: ``role`` and ``database`` None are all. ``value`` None takes the setting
    away, ``name`` None all of them."""

    role: str | None
    database: str | None
    name: str | None
    value: str | None


@dataclass(frozen=True, slots=True)
class AddToken:
    role: str
    token: Token


@dataclass(frozen=True, slots=True)
class DropToken:
    name: str


RoleChange = (
    SetSecret
    | CreateRole
    | AlterRole
    | RenameRole
    | DropRole
    | GrantRole
    | RevokeRole
    | GrantPrivileges
    | SetOwner
    | ReassignOwned
    | DropOwned
    | SetRoleSetting
    | AddToken
    | DropToken
)

Target = Database | Namespace | Series | SqlView | SqlSequence | EnumType


def apply(draft: Draft, change: RoleChange) -> None:
    """Raises the PostgreSQL condition that fits: UndefinedObject, DuplicateObject, …"""
    match change:
        case SetSecret(secret):
            if not draft.roles.secret:
                draft.put_roles(replace(draft.roles, secret=secret), [FIRST])
        case CreateRole():
            _create(draft, change)
        case AlterRole(name, attributes):
            _put(draft, replace(_own(draft, name), **dict(attributes)))
        case RenameRole(name, to):
            _rename(draft, name, to)
        case DropRole(name):
            _drop(draft, name)
        case GrantRole(role, member, admin):
            _add_member(draft, role, member, admin=admin)
        case RevokeRole():
            _remove_member(draft, change)
        case GrantPrivileges():
            _grant(draft, change)
        case SetOwner(database, relation, role, schema):
            number = draft.roles.find(role).number
            target = target_of(draft.find(database), relation, schema)
            _put_target(draft, draft.find(database), target, _chowned(target, number))
        case ReassignOwned():
            _reassign(draft, change)
        case DropOwned():
            _drop_owned(draft, change)
        case SetRoleSetting():
            _set(draft, change)
        case AddToken(role, token):
            _add_token(draft, role, token)
        case DropToken(name):
            _drop_token(draft, name)


# --- roles ---


def _put(draft: Draft, *roles: Role) -> None:
    stored = {**draft.roles.stored, **{role.number: role for role in roles}}
    draft.put_roles(replace(draft.roles, stored=stored), [role.number for role in roles])


def _own(draft: Draft, name: str) -> Role:
    """A role that is not predefined."""
    found = draft.roles.find(name)
    if found.number in PREDEFINED:
        raise ReservedName(f'role name "{name}" is reserved', detail='Role names starting with "pg_" are reserved.')
    return found


def _check_name(draft: Draft, name: str) -> None:
    if not name or len(name.encode()) > MAX_NAME_BYTES or any(c < " " or c == "\x7f" for c in name):
        raise InvalidName(f"a role's name has 1 to {MAX_NAME_BYTES} bytes and no control characters, not {name[:40]!r}")
    if name in RESERVED or name.startswith("pg_"):
        why = 'Role names starting with "pg_" are reserved.' if name.startswith("pg_") else None
        raise ReservedName(f'role name "{name}" is reserved', detail=why)
    if name in draft.roles.by_name:
        raise DuplicateObject(f'role "{name}" already exists')


def _create(draft: Draft, change: CreateRole) -> None:
    name = change.role.name
    _check_name(draft, name)
    roles = draft.roles
    role = replace(change.role, number=roles.next_number)
    stored = {**roles.stored, role.number: role}
    draft.put_roles(replace(roles, stored=stored, next_number=roles.next_number + 1), [role.number])
    for each in change.member_of:
        _add_member(draft, each, name, admin=False)
    for each in change.members:
        _add_member(draft, name, each, admin=False)
    for each in change.admins:
        _add_member(draft, name, each, admin=True)


def _rename(draft: Draft, name: str, to: str) -> None:
    found = _own(draft, name)
    _check_name(draft, to)
    _put(draft, replace(found, name=to))


def _drop(draft: Draft, name: str) -> None:
    found = _own(draft, name)
    if found.number == FIRST:
        raise DependentObjectsStillExist(
            f'cannot drop role "{name}" because it is required by the database system', hint="ALTER it instead."
        )
    depending = list(_depending(draft, found.number))
    if depending:
        raise DependentObjectsStillExist(
            f'role "{name}" cannot be dropped because some objects depend on it',
            detail="\n".join(depending[:20]),
            hint="REASSIGN OWNED and DROP OWNED, in each database, take them away.",
        )
    stored = {
        number: replace(role, member_of=tuple(m for m in role.member_of if m.role != found.number))
        for number, role in draft.roles.stored.items()
        if number != found.number
    }
    changed = [number for number, role in stored.items() if role != draft.roles.stored[number]]
    settings = tuple(each for each in draft.roles.settings if each.role != found.number)
    draft.put_roles(replace(draft.roles, stored=stored, settings=settings), [*changed, found.number])


def _depending(draft: Draft, number: int) -> Iterable[str]:
    for database in draft.databases.values():
        for target in targets_of(database):
            where = "" if target is database else f" in database {database.name}"
            what = f"{target.object_kind} {target.name}{where}"
            if target.owner == number:
                yield f"owner of {what}"
            elif any(grant.grantee == number for grant in target.grants or ()):
                yield f"privileges for {what}"


def _add_member(draft: Draft, role_name: str, member_name: str, *, admin: bool) -> None:
    role, member = draft.roles.find(role_name), _own(draft, member_name)
    if role.number == member.number or draft.roles.is_granted(role.number, member.number):
        raise InvalidGrantOperation(f'role "{role_name}" is a member of role "{member_name}"')
    before = {m.role: m.admin for m in member.member_of}
    before[role.number] = before.get(role.number, False) or admin
    _put(draft, replace(member, member_of=tuple(Membership(*each) for each in before.items())))


def _remove_member(draft: Draft, change: RevokeRole) -> None:
    role, member = draft.roles.find(change.role), _own(draft, change.member)
    kept = [
        Membership(m.role) if m.role == role.number else m
        for m in member.member_of
        if m.role != role.number or change.admin_only
    ]
    _put(draft, replace(member, member_of=tuple(kept)))


# --- settings ---


def _set(draft: Draft, change: SetRoleSetting) -> None:
    roles = draft.roles
    role = 0 if change.role is None else roles.find(change.role).number
    database = 0 if change.database is None else draft.find(change.database).number
    kept = tuple(
        each
        for each in roles.settings
        if (each.database, each.role) != (database, role) or change.name not in (None, each.name)
    )
    if change.name is not None and change.value is not None:
        kept = (*kept, RoleSetting(database, role, change.name, change.value))
    if len(kept) > SETTINGS_MAX:
        raise ConfigurationLimitExceeded(f"roles and databases have at most {SETTINGS_MAX} settings")
    draft.put_roles(replace(roles, settings=kept), [FIRST])


# --- owners and grants ---


def target_of(database: Database, relation: str | None, schema: str | None) -> Target:
    """What a change is about. Raises UndefinedTable, InvalidSchemaName."""
    if schema is not None:
        found = database.namespaces.get(schema)
        if found is None:
            raise InvalidSchemaName(f'schema "{schema}" does not exist')
        return found
    if relation is None:
        return database
    return database.relation(relation) or database.types.get(relation) or database.find(relation)


def targets_of(database: Database) -> Iterable[Target]:
    """A database and everything in it that has an owner."""
    yield database
    yield from database.namespaces.values()
    for relations in (database.series, database.views, database.sequences, database.types):
        yield from relations.values()


def _put_target(draft: Draft, database: Database, before: Target, after: Target) -> None:
    if after is before:
        return
    if isinstance(after, Database):
        draft.put_database(after)
    elif isinstance(after, Namespace):
        draft.put_namespaces(database, {**database.namespaces, after.name: after})
    elif isinstance(after, EnumType):
        draft.put_types(database, {**database.types, after.path: after})
    else:
        draft.put(database, after)


def _grant(draft: Draft, change: GrantPrivileges) -> None:
    grantee = PUBLIC if change.role is None else draft.roles.find(change.role).number
    database = draft.find(change.database)
    found = target_of(database, change.relation, change.schema)
    wanted = change.privileges & privileges.all_on(found)
    after = (privileges.revoked if change.revoke else privileges.granted)(found, grantee, wanted)
    if after != privileges.grants_of(found):
        _put_target(draft, database, found, _with_grants(found, after))


def _with_grants(found: Target, grants: tuple[Grant, ...]) -> Target:
    return replace(found, grants=grants)


def _chowned(found: Target, number: int) -> Target:
    if found.owner == number:
        return found
    return replace(found, owner=number, grants=privileges.chowned(found, number))


def _not_pinned(draft: Draft, names: Sequence[str], what: str) -> set[int]:
    """The roles' numbers. Raises DependentObjectsStillExist for those that are there from the start: to the first one
    belongs all that nobody else has made (shdepDropOwned, shdepReassignOwned)."""
    found = [draft.roles.find(name) for name in names]
    for role in found:
        if role.number == FIRST or role.number in PREDEFINED:
            raise DependentObjectsStillExist(
                f"cannot {what} objects owned by role {role.name} because they are required by the database system"
            )
    return {role.number for role in found}


def _reassign(draft: Draft, change: ReassignOwned) -> None:
    owners = _not_pinned(draft, change.roles, "reassign ownership of")
    to = draft.roles.find(change.to).number
    databases = [each for each in draft.databases.values() if each.name != change.database]
    for target in [*databases, *targets_of(draft.find(change.database))]:
        if target.owner in owners:
            at = draft.find(target.name if isinstance(target, Database) else change.database)
            _put_target(draft, at, target, _chowned(at if isinstance(target, Database) else target, to))


def _drop_owned(draft: Draft, change: DropOwned) -> None:
    gone = _not_pinned(draft, change.roles, "drop")
    for target in list(targets_of(draft.find(change.database))):
        if any(grant.grantee in gone for grant in target.grants or ()):
            kept = tuple(g for g in target.grants or () if g.grantee not in gone or g.grantee == target.owner)
            database = draft.find(change.database)
            found = database if isinstance(target, Database) else target
            _put_target(draft, database, target, _with_grants(found, kept))


# --- tokens ---


def _add_token(draft: Draft, role_name: str, token: Token) -> None:
    role = _own(draft, role_name)
    if any(token.name == each.name for _, each in draft.roles.tokens.values()):
        raise DuplicateObject(f'token "{token.name}" already exists')
    if len(role.tokens) >= TOKENS_MAX:
        raise InvalidGrantOperation(f'role "{role_name}" has {TOKENS_MAX} tokens already, as many as are allowed')
    _put(draft, replace(role, tokens=(*role.tokens, token)))


def _drop_token(draft: Draft, name: str) -> None:
    for role, token in draft.roles.tokens.values():
        if token.name == name:
            _put(draft, replace(role, tokens=tuple(each for each in role.tokens if each is not token)))
            return
    raise UndefinedObject(f'token "{name}" does not exist')
