"""GRANT, REVOKE and OWNER TO: from tokens of the text to changes.

Privileges are on databases, schemas, tables, views and sequences; those on the schema public are its database's. Those
on columns and grant options are refused.

Source of the grammar: PostgreSQL 15 manual, GRANT, REVOKE.
"""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.errors import FeatureNotSupported, InvalidGrantOperation, InvalidSchemaName, SqlSyntaxError
from tsdb.model.privileges import ON_DATABASE, ON_SCHEMA, ON_SEQUENCE, ON_SERIES, Privilege
from tsdb.model.relations import PUBLIC, path_of, schema_of
from tsdb.model.role_changes import (
    GrantPrivileges,
    GrantRole,
    RevokeRole,
    SetOwner,
)
from tsdb.model.schema import Catalog, Database, SchemaChange
from tsdb.sql import names
from tsdb.sql.context import Context
from tsdb.sql.ddl.role_names import role_name, role_names
from tsdb.sql.notice import Notice, notice
from tsdb.sql.reader import Reader

Changes = tuple[tuple[SchemaChange, ...], tuple[Notice, ...]]

_PRIVILEGES = {
    "select": Privilege.SELECT, "insert": Privilege.INSERT, "update": Privilege.UPDATE, "delete": Privilege.DELETE,
    "truncate": Privilege.TRUNCATE, "references": Privilege.REFERENCES, "trigger": Privilege.TRIGGER,
    "create": Privilege.CREATE, "connect": Privilege.CONNECT, "temporary": Privilege.TEMPORARY,
    "temp": Privilege.TEMPORARY, "usage": Privilege.USAGE,
}  # fmt: skip
_KINDS = {"table": ON_SERIES, "database": ON_DATABASE, "schema": ON_SCHEMA, "sequence": ON_SEQUENCE}
# Of kinds of objects that there are none of: granting on all of them does nothing.
_KINDS_WITHOUT_OBJECTS = ("functions", "procedures", "routines")


def read(reader: Reader, context: Context, catalog: Catalog, *, revoke: bool) -> Changes:
    """What comes after GRANT or REVOKE."""
    admin_only = revoke and reader.accept("admin", "option", "for")
    if revoke and reader.accept("grant", "option", "for"):
        raise FeatureNotSupported("grant options are not supported", hint="Owners and superusers grant.")
    if admin_only or not _on_objects(reader):
        return _memberships(reader, context, revoke=revoke, admin_only=admin_only), ()
    words = _privilege_names(reader)
    reader.expect("on")
    objects = _objects(reader, context, catalog)
    reader.expect("from" if revoke else "to")
    grantees = _grantees(reader, context)
    if reader.accept("with", "grant", "option"):
        raise FeatureNotSupported("grant options are not supported", hint="Owners and superusers grant.")
    _end(reader, context, revoke=revoke)
    changes = tuple(
        GrantPrivileges(database, relation, _on(words, objects, schema), grantee, revoke, schema)
        for database, relation, schema in objects.targets
        for grantee in grantees
    )
    return changes, objects.notices(words)


def _on_objects(reader: Reader) -> bool:
    """Whether ON comes before TO or FROM: privileges on objects, else memberships."""
    for token in reader.tokens[reader.at :]:
        if token.is_word("on"):
            return True
        if token.is_word("to", "from"):
            return False
    raise _at_end(reader)


def _at_end(reader: Reader) -> SqlSyntaxError:
    reader.at = len(reader.tokens)
    return reader.error()


# --- memberships ---


def _memberships(reader: Reader, context: Context, *, revoke: bool, admin_only: bool) -> tuple[SchemaChange, ...]:
    roles = role_names(reader, context)
    reader.expect("from" if revoke else "to")
    members = role_names(reader, context)
    admin = not revoke and reader.accept("with", "admin", "option")
    _end(reader, context, revoke=revoke)
    pairs = [(role, member) for role in roles for member in members]
    if revoke:
        return tuple(RevokeRole(role, member, admin_only) for role, member in pairs)
    return tuple(GrantRole(role, member, admin) for role, member in pairs)


def _end(reader: Reader, context: Context, *, revoke: bool) -> None:
    if reader.accept("granted", "by"):
        role_name(reader, context)
    if revoke:
        reader.accept_any("cascade", "restrict")


# --- privileges ---


@dataclass(frozen=True, slots=True)
class _Objects:
    """``targets`` are (database, relation or None, schema or None). ``kind`` is the word for messages."""

    kind: str
    targets: tuple[tuple[str, str | None, str | None], ...]

    def notices(self, names: tuple[str, ...]) -> tuple[Notice, ...]:
        if self.kind == "schema" and (not names or "usage" in names) and any(s is None for _, _, s in self.targets):
            return (notice("everybody who may connect to a database may use its schema public"),)
        if self.kind in _KINDS_WITHOUT_OBJECTS:
            return (notice(f"there are no {self.kind}"),)
        return ()


def _privilege_names(reader: Reader) -> tuple[str, ...]:
    """The privileges' words; none for ALL."""
    if reader.accept("all"):
        reader.accept("privileges")
        if reader.at_sign("("):
            raise FeatureNotSupported("privileges on columns are not supported", hint="Grant on the table.")
        return ()
    names = [reader.name()]
    while not reader.at_words("on"):
        if reader.at_sign("("):
            raise FeatureNotSupported("privileges on columns are not supported", hint="Grant on the table.")
        if not reader.accept_sign(","):
            raise reader.error()
        names.append(reader.name())
    return tuple(names)


def _on(names: tuple[str, ...], objects: _Objects, schema: str | None) -> Privilege:
    """The privileges as bits. Raises for one that this kind of object does not have.

    The schema public is its database, which has no USAGE.
    """
    allowed = _KINDS.get(objects.kind, Privilege.NONE)
    if objects.kind == "schema" and schema is None:
        allowed = Privilege.CREATE
    if not names:
        return allowed
    wanted = Privilege.NONE
    for name in names:
        privilege = _PRIVILEGES.get(name)
        if (objects.kind == "schema" and name == "usage" and schema is None) or objects.kind in _KINDS_WITHOUT_OBJECTS:
            continue
        if privilege is None and name not in ("execute", "set"):
            raise SqlSyntaxError(f'unrecognized privilege type "{name}"')
        if privilege is None or not privilege & allowed:
            what = {"table": "relation"}.get(objects.kind, objects.kind)
            raise InvalidGrantOperation(f"invalid privilege type {name.upper()} for {what}")
        wanted |= privilege
    return wanted


def _objects(reader: Reader, context: Context, catalog: Catalog) -> _Objects:
    here = context.database
    if reader.accept("all"):
        kind = reader.accept_any("tables", "sequences", *_KINDS_WITHOUT_OBJECTS)
        if kind is None:
            raise reader.error()
        reader.expect("in", "schema")
        return _all_in_schema(kind, _schemas(reader, catalog.find(here)), catalog.find(here))
    if reader.accept("database"):
        return _Objects("database", tuple((name, None, None) for name in _names(reader)))
    if reader.accept("schema"):
        schemas = _schemas(reader, catalog.find(here))
        return _Objects("schema", tuple((here, None, None if name == PUBLIC else name) for name in schemas))
    token = reader.peek()
    others = ("function", "procedure", "routine", "language", "type", "domain", "foreign", "tablespace", "large")
    if token is not None and token.is_word(*others, "parameter") and not _name_ends(reader):
        raise FeatureNotSupported(f"there is nothing of the kind {token.value.upper()} to grant on")
    kind = "sequence" if not _name_ends(reader) and reader.accept("sequence") else "table"
    reader.accept("table")
    paths = [_path(reader, context, catalog)]
    while reader.accept_sign(","):
        paths.append(_path(reader, context, catalog))
    return _Objects(kind, tuple((here, path, None) for path in paths))


def _path(reader: Reader, context: Context, catalog: Catalog) -> str:
    """The path of the relation that a name means; one that is not there is told where the change is made."""
    schema, name = reader.relation(context.database)
    found = names.find(context, catalog.find(context.database), schema, name)
    return path_of(schema or PUBLIC, name) if found is None else found.path


def _all_in_schema(kind: str, schemas: list[str], database: Database) -> _Objects:
    found: list[str] = []
    if kind == "tables":
        found = [p for paths in (database.series, database.views) for p in paths if schema_of(p) in schemas]
    elif kind == "sequences":
        found = [path for path in database.sequences if schema_of(path) in schemas]
    word = {"tables": "table", "sequences": "sequence"}.get(kind, kind)
    return _Objects(word, tuple((database.name, path, None) for path in found))


def _name_ends(reader: Reader) -> bool:
    after = reader.peek(1)
    return after is None or after.value in (",", ".") or after.is_word("to", "from")


def _names(reader: Reader) -> list[str]:
    found = [reader.name()]
    while reader.accept_sign(","):
        found.append(reader.name())
    return found


def _schemas(reader: Reader, database: Database) -> list[str]:
    names = _names(reader)
    for name in names:
        if name != PUBLIC and name not in database.namespaces:
            raise InvalidSchemaName(f'schema "{name}" does not exist')
    return names


def _grantees(reader: Reader, context: Context) -> list[str | None]:
    found: list[str | None] = []
    while True:
        reader.accept("group")
        found.append(None if reader.accept("public") else role_name(reader, context))
        if not reader.accept_sign(","):
            return found


# --- owners ---


def owner_change(reader: Reader, context: Context, catalog: Catalog) -> tuple[str, tuple[SchemaChange, ...]] | None:
    """ALTER DATABASE … OWNER TO and ALTER TABLE … OWNER TO; None for any other ALTER, unread."""
    start = reader.at
    kind = reader.accept_any("database", "table", "view", "materialized", "schema", "sequence")
    if kind is None:
        return None
    if kind == "materialized":
        reader.accept("view")
    reader.accept("if", "exists")
    reader.accept("only")
    tokens = reader.tokens
    words = [i for i in range(reader.at, len(tokens) - 1) if tokens[i].is_word("owner") and tokens[i + 1].is_word("to")]
    if not words or words[0] - reader.at > 5:
        reader.at = start
        return None
    name = reader.name() if kind in ("database", "schema") else _path(reader, context, catalog)
    if not reader.accept("owner", "to"):
        reader.at = start
        return None
    role = role_name(reader, context)
    reader.finish()
    tag = "ALTER MATERIALIZED VIEW" if kind == "materialized" else f"ALTER {kind.upper()}"
    if kind == "schema" and name == PUBLIC:
        raise FeatureNotSupported("the schema public has the owner of its database", hint="ALTER DATABASE … OWNER TO.")
    if kind == "database":
        return tag, (SetOwner(name, None, role),)
    if kind == "schema":
        return tag, (SetOwner(context.database, None, role, name),)
    return tag, (SetOwner(context.database, name, role),)
