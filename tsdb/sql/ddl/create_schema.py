"""CREATE, ALTER and DROP SCHEMA, and COMMENT ON.

Source of the grammar: PostgreSQL 15 manual, CREATE SCHEMA, COMMENT.
"""

from __future__ import annotations

from tsdb.errors import DuplicateSchema, FeatureNotSupported, InvalidSchemaName, UndefinedObject
from tsdb.model.relations import PUBLIC
from tsdb.model.roles import FIRST
from tsdb.model.schema import CreateNamespace, DropNamespace, RenameNamespace, SchemaChange, SetComment
from tsdb.sql import names
from tsdb.sql.ddl import create_index, create_type
from tsdb.sql.ddl.plan import DdlReader, SchemaPlan
from tsdb.sql.ddl.role_names import role_name
from tsdb.sql.notice import Notice, notice, skipped

_RELATIONS = ("table", "view", "sequence")


def create(reader: DdlReader) -> SchemaPlan:
    if_not_exists = reader.accept("if", "not", "exists")
    name = "" if reader.at_words("authorization") else reader.name()
    owner = FIRST
    if reader.accept("authorization"):
        role = reader.catalog.roles.find(role_name(reader, reader.context))
        name, owner = name or role.name, role.number
    if not reader.at_end:
        raise FeatureNotSupported("CREATE SCHEMA with elements is not supported", hint="Create them one by one.")
    if if_not_exists and (name == PUBLIC or name in reader.database.namespaces):
        return SchemaPlan("CREATE SCHEMA", notices=(skipped(DuplicateSchema(f'schema "{name}" already exists')),))
    return SchemaPlan("CREATE SCHEMA", (CreateNamespace(reader.database.name, name, if_not_exists, owner),))


def alter(reader: DdlReader) -> SchemaPlan:
    name = reader.name()
    if not reader.accept("rename", "to"):
        raise FeatureNotSupported("ALTER SCHEMA supports RENAME TO only")
    to = reader.name()
    reader.finish()
    return SchemaPlan("ALTER SCHEMA", (RenameNamespace(reader.database.name, name, to),))


def drop(reader: DdlReader) -> SchemaPlan:
    if_exists = reader.accept("if", "exists")
    found = [reader.name()]
    while reader.accept_sign(","):
        found.append(reader.name())
    cascade = reader.accept_any("cascade", "restrict") == "cascade"
    reader.finish()
    changes: list[SchemaChange] = []
    notices: list[Notice] = []
    for name in found:
        if name in reader.database.namespaces or name == PUBLIC:
            changes.append(DropNamespace(reader.database.name, name, cascade))
        elif if_exists:
            notices.append(notice(f'schema "{name}" does not exist, skipping'))
        else:
            raise InvalidSchemaName(f'schema "{name}" does not exist')
    return SchemaPlan("DROP SCHEMA", tuple(changes), tuple(notices))


def comment(reader: DdlReader) -> SchemaPlan:
    """COMMENT ON kind name IS 'text' | NULL."""
    reader.expect("on")
    kind = reader.name()
    if kind == "materialized":
        reader.expect("view")
        kind = "materialized view"
    change = _commented(reader, kind)
    reader.finish()
    if change is None:
        return SchemaPlan("COMMENT", notices=(notice(f"comments on a {kind} are accepted but not kept"),))
    return SchemaPlan("COMMENT", (change,))


def _commented(reader: DdlReader, kind: str) -> SetComment | None:
    database = reader.database.name
    if kind in (*_RELATIONS, "materialized view"):
        found = reader.stored(kind)
        return SetComment(database, "relation", found.path, _text(reader))
    if kind == "column":
        path, column = reader.column_of()
        return SetComment(database, "column", path, _text(reader), column)
    if kind == "database":
        name = reader.name()
        reader.catalog.find(name)
        return SetComment(name, "database", "", _text(reader))
    if kind == "schema":
        return SetComment(database, "schema", reader.name(), _text(reader))
    if kind == "type":
        return SetComment(database, "type", create_type.named(reader).path, _text(reader))
    if kind == "constraint":
        part = reader.name()
        reader.expect("on")
        return SetComment(database, "constraint", reader.series().path, _text(reader), part)
    if kind == "index":
        schema, part = reader.qualified()
        found_series = create_index.table_of(reader, schema, part)
        if found_series is None:
            raise UndefinedObject(f'relation "{names.shown(schema, part)}" does not exist')
        return SetComment(database, "index", found_series.path, _text(reader), part)
    if kind in ("extension", "role", "function", "domain", "tablespace", "language"):
        while not reader.at_words("is"):
            reader.take()
        _text(reader)
        return None
    raise FeatureNotSupported(f"COMMENT ON {kind.upper()} is not supported")


def _text(reader: DdlReader) -> str | None:
    reader.expect("is")
    return None if reader.accept("null") else (reader.string() or None)
