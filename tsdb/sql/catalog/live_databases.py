"""Live rows about databases, namespaces and roles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tsdb.model import privileges
from tsdb.model.catalog import Database
from tsdb.model.privileges import quoted as quoted_role
from tsdb.model.relations import PUBLIC, SYSTEM_VIEWS, Namespace, passes_with_its_process
from tsdb.model.roles import FIRST, Membership, Role
from tsdb.sql.catalog import oids, own_views
from tsdb.sql.catalog.live import Glance, live

PG = "pg_catalog"
UTF8 = 6
_TABLESPACE = 1663
HIDDEN = "********"


@dataclass(frozen=True, slots=True)
class Template:
    """A database that CREATE DATABASE copies in PostgreSQL. Tools expect it; nobody can connect to it."""

    number: int
    name: str
    comment: str
    owner: int = FIRST


TEMPLATES = (
    Template(1, "template1", "default template for new databases"),
    Template(4, "template0", "unmodifiable empty database"),
)


def database_oid(d: Database | Template) -> int:
    return d.number if isinstance(d, Template) else oids.database(d.number)


def _database_acl(d: Database | Template, glance: Glance) -> list[str] | None:
    roles = glance.outline.catalog.roles
    if isinstance(d, Database):
        return privileges.acl(roles, d)
    owner = quoted_role(roles.name_of(d.owner))
    return [f"=c/{owner}", f"{owner}=CTc/{owner}"]


@live(PG, "pg_database", {
    "oid": lambda d, m: database_oid(d), "datname": lambda d, m: d.name, "datdba": lambda d, m: d.owner,
    "encoding": UTF8, "datlocprovider": "c", "datistemplate": lambda d, m: isinstance(d, Template),
    "datallowconn": lambda d, m: isinstance(d, Database), "datconnlimit": -1, "dattablespace": _TABLESPACE,
    "datcollate": "C.UTF-8", "datctype": "C.UTF-8", "datacl": _database_acl,
})  # fmt: skip
def databases(glance: Glance) -> Sequence[Database | Template]:
    return [*glance.outline.catalog.databases.values(), *TEMPLATES]


@live(PG, "pg_shdescription", {
    "objoid": lambda d, m: database_oid(d), "classoid": oids.PG_DATABASE, "description": lambda d, m: d.comment,
})  # fmt: skip
def shared_descriptions(glance: Glance) -> Sequence[Database | Template]:
    return [d for d in databases(glance) if d.comment is not None]


@live(PG, "pg_namespace", {
    "oid": lambda n, m: oids.of(n.number), "nspname": lambda n, m: n.name, "nspowner": lambda n, m: n.owner,
    "nspacl": lambda n, m: privileges.acl(m.outline.catalog.roles, n),
})  # fmt: skip
def namespaces(glance: Glance) -> Sequence[Namespace]:
    """Beside ``public``, which is among the captured rows; what is hidden from everybody stays hidden."""
    found = glance.outline.database.namespaces.values()
    own = [n for n in found if n.name != PUBLIC and not passes_with_its_process(n.name)]
    if SYSTEM_VIEWS not in glance.outline.database.namespaces:
        own.append(own_views.namespace())
    return own + [Namespace(oids.temporary_number(schema), schema) for schema in glance.outline.temporary]


@dataclass(frozen=True, slots=True)
class Member:
    member: int
    of: Membership


_ROLE = {
    "oid": lambda r, m: r.number, "rolname": lambda r, m: r.name, "rolsuper": lambda r, m: r.superuser,
    "rolinherit": lambda r, m: r.inherit, "rolcreaterole": lambda r, m: r.create_role,
    "rolcreatedb": lambda r, m: r.create_database, "rolcanlogin": lambda r, m: r.login,
    "rolreplication": lambda r, m: r.number == FIRST, "rolbypassrls": lambda r, m: r.superuser,
    "rolconnlimit": lambda r, m: r.connection_limit, "rolvaliduntil": lambda r, m: r.valid_until_us,
}  # fmt: skip


@live(PG, "pg_db_role_setting", {
    "setdatabase": lambda s, m: oids.database(s[0]) if s[0] else 0, "setrole": lambda s, m: s[1],
    "setconfig": lambda s, m: s[2],
})  # fmt: skip
def role_settings(glance: Glance) -> Sequence[tuple[int, int, list[str]]]:
    """One row for each database and role that have some."""
    found: dict[tuple[int, int], list[str]] = {}
    for each in glance.outline.catalog.roles.settings:
        found.setdefault((each.database, each.role), []).append(f"{each.name}={each.value}")
    return [(database, role, texts) for (database, role), texts in found.items()]


def _config(role: Role, glance: Glance) -> list[str] | None:
    """What a role's sessions begin with in all databases."""
    return next(
        (texts for database, number, texts in role_settings(glance) if (database, number) == (0, role.number)), None
    )


@live(PG, "pg_authid", {**_ROLE, "rolpassword": None})
def authorizations(glance: Glance) -> Sequence[Role]:
    """Nobody reads verifiers by SQL, not even superusers."""
    return list(glance.outline.catalog.roles)


@live(PG, "pg_roles", {**_ROLE, "rolpassword": HIDDEN, "rolconfig": _config})
def roles(glance: Glance) -> Sequence[Role]:
    return list(glance.outline.catalog.roles)


_USER = {
    "usename": lambda r, m: r.name, "usesysid": lambda r, m: r.number, "usecreatedb": lambda r, m: r.create_database,
    "usesuper": lambda r, m: r.superuser, "userepl": lambda r, m: r.number == FIRST,
    "usebypassrls": lambda r, m: r.superuser,
    "valuntil": lambda r, m: r.valid_until_us,
}  # fmt: skip


@live(PG, "pg_user", {**_USER, "passwd": HIDDEN, "useconfig": _config})
def users(glance: Glance) -> Sequence[Role]:
    return [r for r in glance.outline.catalog.roles if r.login]


@live(PG, "pg_shadow", {**_USER, "useconfig": _config})
def shadows(glance: Glance) -> Sequence[Role]:
    return users(glance)


@live(PG, "pg_group", {
    "groname": lambda r, m: r.name, "grosysid": lambda r, m: r.number,
    "grolist": lambda r, m: [x.member for x in members(m) if x.of.role == r.number],
})  # fmt: skip
def groups(glance: Glance) -> Sequence[Role]:
    return [r for r in glance.outline.catalog.roles if not r.login]


@live(PG, "pg_auth_members", {
    "roleid": lambda x, m: x.of.role, "member": lambda x, m: x.member, "grantor": lambda x, m: 10,
    "admin_option": lambda x, m: x.of.admin,
})  # fmt: skip
def members(glance: Glance) -> Sequence[Member]:
    return [Member(r.number, of) for r in glance.outline.catalog.roles for of in r.member_of]
