"""CREATE TYPE … AS ENUM, ALTER TYPE and DROP TYPE.

Source of the grammar: PostgreSQL 15 manual, CREATE TYPE, ALTER TYPE, DROP TYPE.
"""

from __future__ import annotations

from tsdb.errors import DuplicateObject, FeatureNotSupported, InvalidSchemaName, UndefinedObject, WrongObjectType
from tsdb.model.enums import EnumType
from tsdb.model.relations import PUBLIC
from tsdb.model.role_changes import SetOwner
from tsdb.model.schema import AddLabel, CreateEnum, DropType, RenameLabel, RenameType, SchemaChange
from tsdb.sql import names
from tsdb.sql.ddl.plan import DdlReader, SchemaPlan
from tsdb.sql.ddl.role_names import role_name
from tsdb.sql.notice import Notice, notice, skipped
from tsdb.types import BY_NAME

_ONLY_ENUMS = "Only enumerated types can be made. Use columns of their own for the parts of a composite value."


def create(reader: DdlReader) -> SchemaPlan:
    schema, name = reader.new_relation()
    if not reader.accept("as", "enum"):
        raise FeatureNotSupported("CREATE TYPE supports AS ENUM only", hint=_ONLY_ENUMS)
    reader.expect_sign("(")
    labels: list[str] = []
    if not reader.at_sign(")"):
        labels.append(reader.string())
        while reader.accept_sign(","):
            labels.append(reader.string())
    reader.expect_sign(")")
    reader.finish()
    owner = reader.context.role
    return SchemaPlan("CREATE TYPE", (CreateEnum(reader.database.name, schema, name, tuple(labels), owner),))


def named(reader: DdlReader) -> EnumType:
    """The type that is named next. Raises UndefinedObject."""
    found = _named_or_notice(reader, if_exists=False)
    assert not isinstance(found, Notice)
    return found


def _named_or_notice(reader: DdlReader, *, if_exists: bool) -> EnumType | Notice:
    schema, name = reader.qualified()
    found = names.find_type(reader.context, reader.database, schema, name)
    if found is not None:
        return found
    if name in BY_NAME and schema in ("", "pg_catalog"):
        raise WrongObjectType(f"{name} is a type of the system")
    if schema and schema != PUBLIC and schema not in reader.database.namespaces and not if_exists:
        raise InvalidSchemaName(f'schema "{schema}" does not exist')
    shown = names.shown(schema, name)
    if if_exists:
        return notice(f'type "{shown}" does not exist, skipping')
    raise UndefinedObject(f'type "{shown}" does not exist')


def drop(reader: DdlReader) -> SchemaPlan:
    if_exists = reader.accept("if", "exists")
    found: dict[str, EnumType] = {}
    notices: list[Notice] = []
    while True:
        each = _named_or_notice(reader, if_exists=if_exists)
        if isinstance(each, Notice):
            notices.append(each)
        else:
            found[each.path] = each
        if not reader.accept_sign(","):
            break
    cascade = reader.accept_any("cascade", "restrict") == "cascade"
    reader.finish()
    changes = tuple(DropType(reader.database.name, path, cascade) for path in found)
    return SchemaPlan("DROP TYPE", changes, tuple(notices))


def alter(reader: DdlReader) -> SchemaPlan:
    found = named(reader)
    change, notices = _altered(reader, found)
    reader.finish()
    return SchemaPlan("ALTER TYPE", (change,), notices)


def _altered(reader: DdlReader, found: EnumType) -> tuple[SchemaChange, tuple[Notice, ...]]:
    database = reader.database.name
    if reader.accept("add", "value"):
        return _added(reader, found)
    if reader.accept("rename", "value"):
        label = reader.string()
        reader.expect("to")
        return RenameLabel(database, found.path, label, reader.string()), ()
    if reader.accept("rename", "to"):
        return RenameType(database, found.path, found.schema, reader.name()), ()
    if reader.accept("set", "schema"):
        schema = names.creation_schema(reader.context, reader.database, reader.name())
        return RenameType(database, found.path, schema, found.name), ()
    if reader.accept("owner", "to"):
        return SetOwner(database, found.path, role_name(reader, reader.context)), ()
    raise FeatureNotSupported("ALTER TYPE supports ADD VALUE, RENAME, SET SCHEMA and OWNER TO only", hint=_ONLY_ENUMS)


def _added(reader: DdlReader, found: EnumType) -> tuple[SchemaChange, tuple[Notice, ...]]:
    if_not_exists = reader.accept("if", "not", "exists")
    label = reader.string()
    word = reader.accept_any("before", "after")
    neighbour = reader.string() if word else None
    notices: tuple[Notice, ...] = ()
    if if_not_exists and any(each.text == label for each in found.labels):
        notices = (skipped(DuplicateObject(f'enum label "{label}" already exists')),)
    database = reader.database.name
    return AddLabel(database, found.path, label, if_not_exists, neighbour, word == "after"), notices
