"""Privileges: who may do what with a database, a schema or a relation. Pure: a catalog's roles, an owner and grants
tell.

An object's owner has all privileges on it and alone (with its members and superusers) may change, drop or grant it.
``grants`` None are the defaults: the owner everything, PUBLIC may connect to a database. Grant options are not kept.

Source: PostgreSQL 15 manual, 5.7 (privileges), src/backend/utils/adt/acl.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import Protocol

from tsdb.errors import InsufficientPrivilege
from tsdb.model.roles import PUBLIC, READ_ALL_DATA, WRITE_ALL_DATA, Roles


class Privilege(IntFlag):
    """PostgreSQL's bits (nodes/parsenodes.h). They are on disk: never change one."""

    NONE = 0
    INSERT = 1 << 0
    SELECT = 1 << 1
    UPDATE = 1 << 2
    DELETE = 1 << 3
    TRUNCATE = 1 << 4
    REFERENCES = 1 << 5
    TRIGGER = 1 << 6
    USAGE = 1 << 8
    CREATE = 1 << 9
    TEMPORARY = 1 << 10
    CONNECT = 1 << 11


_LETTERS = {
    Privilege.INSERT: "a", Privilege.SELECT: "r", Privilege.UPDATE: "w", Privilege.DELETE: "d", Privilege.TRUNCATE: "D",
    Privilege.REFERENCES: "x", Privilege.TRIGGER: "t", Privilege.USAGE: "U", Privilege.CREATE: "C",
    Privilege.TEMPORARY: "T",
    Privilege.CONNECT: "c",
}  # fmt: skip

# As texts of aclitems have them; X, s, A are of objects that only the catalog knows.
LETTERS = {letter: str(p.name) for p, letter in _LETTERS.items()} | {"X": "EXECUTE", "s": "SET", "A": "ALTER SYSTEM"}

ON_SERIES = (
    Privilege.INSERT | Privilege.SELECT | Privilege.UPDATE | Privilege.DELETE | Privilege.TRUNCATE
    | Privilege.REFERENCES | Privilege.TRIGGER
)  # fmt: skip
ON_DATABASE = Privilege.CREATE | Privilege.TEMPORARY | Privilege.CONNECT
ON_SCHEMA = Privilege.USAGE | Privilege.CREATE
ON_SEQUENCE = Privilege.USAGE | Privilege.SELECT | Privilege.UPDATE
_ON = {"database": ON_DATABASE, "schema": ON_SCHEMA, "sequence": ON_SEQUENCE, "type": Privilege.USAGE}
_OF_PUBLIC_ON_DATABASE = Privilege.TEMPORARY | Privilege.CONNECT
_READ = Privilege.SELECT | Privilege.USAGE
_WRITE = Privilege.INSERT | Privilege.UPDATE | Privilege.DELETE | Privilege.USAGE


@dataclass(frozen=True, slots=True)
class Grant:
    """``grantee`` is a role's number or PUBLIC. The grantor is always the object's owner."""

    grantee: int
    privileges: Privilege


class Owned(Protocol):
    """What privileges are on: a database, schema, series, view, sequence or type."""

    @property
    def name(self) -> str: ...

    @property
    def owner(self) -> int: ...

    @property
    def grants(self) -> tuple[Grant, ...] | None: ...

    @property
    def object_kind(self) -> str:
        """``table``, ``view``, ``database`` …: the word in messages."""
        ...


def all_on(target: Owned) -> Privilege:
    """Every privilege that this kind of object has."""
    return _ON.get(target.object_kind, ON_SERIES)


def default_grants(target: Owned) -> tuple[Grant, ...]:
    """acldefault: what holds while nothing was granted or revoked."""
    own = Grant(target.owner, all_on(target))
    return (Grant(PUBLIC, _OF_PUBLIC_ON_DATABASE), own) if target.object_kind == "database" else (own,)


def grants_of(target: Owned) -> tuple[Grant, ...]:
    return default_grants(target) if target.grants is None else target.grants


def privileges_of(roles: Roles, role: int, target: Owned) -> Privilege:
    """What a role may do with an object, by itself and by the roles whose rights it inherits."""
    found = roles.by_number.get(role)
    if found is None:
        return Privilege.NONE
    if found.superuser:
        return all_on(target)
    inherited = roles.inherited(role)
    allowed = Privilege.NONE
    for grant in grants_of(target):
        if grant.grantee in inherited:
            allowed |= grant.privileges
    return allowed | _of_all_data(inherited) & all_on(target)


def _of_all_data(inherited: frozenset[int]) -> Privilege:
    """What the predefined roles give on every table, view, sequence and schema."""
    allowed = _READ if READ_ALL_DATA in inherited else Privilege.NONE
    return allowed | (_WRITE if WRITE_ALL_DATA in inherited else Privilege.NONE)


def owns(roles: Roles, role: int, target: Owned) -> bool:
    """Whether a role is the owner, has its rights, or is a superuser."""
    return roles.has_rights_of(role, target.owner)


def check(roles: Roles, role: int, target: Owned, wanted: Privilege) -> None:
    """Raises InsufficientPrivilege unless ``role`` has all of ``wanted``."""
    if wanted & ~privileges_of(roles, role, target):
        raise InsufficientPrivilege(f"permission denied for {target.object_kind} {target.name}")


def check_owner(roles: Roles, role: int, target: Owned) -> None:
    """Raises InsufficientPrivilege unless ``role`` owns the object."""
    if not owns(roles, role, target):
        raise InsufficientPrivilege(f"must be owner of {target.object_kind} {target.name}")


def granted(target: Owned, grantee: int, privileges: Privilege) -> tuple[Grant, ...]:
    """The grants after a GRANT."""
    return _with(target, grantee, lambda before: before | privileges)


def revoked(target: Owned, grantee: int, privileges: Privilege) -> tuple[Grant, ...]:
    """The grants after a REVOKE."""
    return _with(target, grantee, lambda before: before & ~privileges)


def chowned(target: Owned, owner: int) -> tuple[Grant, ...] | None:
    """The grants after a change of owner: what the old one had is the new one's (aclnewowner)."""
    if target.grants is None:
        return None
    mine = Privilege.NONE
    others = []
    for grant in target.grants:
        if grant.grantee in (target.owner, owner):
            mine |= grant.privileges
        else:
            others.append(grant)
    return (Grant(owner, mine), *others) if mine else tuple(others)


def _with(target: Owned, grantee: int, change: Changed) -> tuple[Grant, ...]:
    grants = {grant.grantee: grant.privileges for grant in grants_of(target)}
    grants[grantee] = change(grants.get(grantee, Privilege.NONE))
    return tuple(Grant(number, privileges) for number, privileges in grants.items() if privileges)


class Changed(Protocol):
    def __call__(self, before: Privilege, /) -> Privilege: ...


# --- as PostgreSQL shows them ---


def letters(privileges: Privilege) -> str:
    """``arwdDxt``"""
    return "".join(letter for privilege, letter in _LETTERS.items() if privileges & privilege)


def acl(roles: Roles, target: Owned, *, default: bool = False) -> list[str] | None:
    """relacl and datacl as texts of aclitems (``grantee=arw/owner``); None for the defaults, unless they are wanted."""
    if target.grants is None and not default:
        return None
    owner = quoted(roles.name_of(target.owner))
    grants = [(_grantee(roles, grant.grantee), letters(grant.privileges)) for grant in grants_of(target)]
    return [f"{grantee}={privileges}/{owner}" for grantee, privileges in grants]


def _grantee(roles: Roles, number: int) -> str:
    return "" if number == PUBLIC else quoted(roles.name_of(number))


def quoted(name: str) -> str:
    """putid of acl.c: a name with anything but letters, digits and _ goes into double quotes."""
    if all(c == "_" or (c.isascii() and c.isalnum()) for c in name) and name:
        return name
    return '"' + name.replace('"', '""') + '"'
