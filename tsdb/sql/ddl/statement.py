"""DDL: from tokens to schema changes. Nothing here changes anything; ``tsdb.session`` hands the changes to the store.

``plan`` covers databases, schemas, tables, views, sequences, types, indexes and comments (``roles``: roles and grants).
What is not enforced is accepted with a NOTICE; what is not supported raises FeatureNotSupported with a hint.

Source of the grammar: PostgreSQL 15 manual, part VI.
"""

from __future__ import annotations

from tsdb.errors import FeatureNotSupported, InvalidCatalogName
from tsdb.model.relations import SqlSequence, SqlView
from tsdb.model.roles import FIRST
from tsdb.model.schema import (
    Catalog,
    CreateDatabase,
    DropDatabase,
    RenameDatabase,
    Series,
)
from tsdb.sql.context import Context
from tsdb.sql.ddl import (
    alter_table,
    create_index,
    create_schema,
    create_sequence,
    create_table,
    create_type,
    create_view,
    owned,
)
from tsdb.sql.ddl.plan import DdlReader, Refresh, Restart, SchemaPlan, Source
from tsdb.sql.ddl.role_names import role_name
from tsdb.sql.notice import Notice, notice
from tsdb.sql.statement import Ddl

__all__ = ["Refresh", "Restart", "SchemaPlan", "Source", "plan"]

_HINTS = {
    "function": "Write the expression where it is needed, or make a view.",
    "procedure": "Send its statements one by one.",
    "trigger": "Nothing runs when rows are written; compute in a view.",
    "domain": "Use its base type.",
    "rule": "Make a view.",
    "policy": "Grant on tables and views.",
    "publication": "Read the data by SQL.",
    "foreign": "COPY the data.",
    "server": "COPY the data.",
    "aggregate": "Use the built-in aggregates.",
}


def plan(statement: Ddl, context: Context, catalog: Catalog) -> SchemaPlan:
    """The changes a statement asks for in a session."""
    reader = DdlReader(statement.fragment, context, catalog)
    verb = reader.take().value
    if verb == "create":
        return _create(reader)
    if verb == "drop":
        return _drop(reader)
    if verb == "alter":
        return _alter(reader)
    if verb == "comment":
        return create_schema.comment(reader)
    if verb == "refresh":
        return create_view.refresh(reader)
    raise FeatureNotSupported(f"{verb.upper()} is not supported")


def _not_supported(reader: DdlReader, verb: str) -> FeatureNotSupported:
    token = reader.peek()
    word = token.value if token else ""
    return FeatureNotSupported(f"{verb} {word.upper()}".rstrip() + " is not supported", hint=_HINTS.get(word))


# --- CREATE ---


def _create(reader: DdlReader) -> SchemaPlan:
    if reader.accept("database"):
        return _create_database(reader)
    if reader.accept("schema"):
        return create_schema.create(reader)
    if reader.accept("extension"):
        return _create_extension(reader)
    if reader.accept("materialized", "view"):
        return create_view.create_materialized(reader)
    replace = reader.accept("or", "replace")
    temporary = False
    while word := reader.accept_any("local", "global", "temp", "temporary", "unlogged"):
        temporary = temporary or word in ("temp", "temporary")
    if reader.accept("view"):
        return create_view.create(reader, replace=replace, temporary=temporary)
    if replace:
        raise _not_supported(reader, "CREATE OR REPLACE")
    if reader.accept("table"):
        return create_table.create(reader, temporary=temporary)
    if reader.accept("sequence"):
        return create_sequence.create(reader, temporary=temporary)
    if reader.accept("unique", "index"):
        return create_index.create(reader, unique=True)
    if reader.accept("index"):
        return create_index.create(reader, unique=False)
    if reader.accept("type"):
        return create_type.create(reader)
    raise _not_supported(reader, "CREATE")


def _create_database(reader: DdlReader) -> SchemaPlan:
    if_not_exists = reader.accept("if", "not", "exists")
    name = reader.name()
    owner, ignored = FIRST, False
    reader.accept("with")
    while not reader.at_end:
        if reader.accept("owner"):
            owner = _owner(reader)
        else:
            # ENCODING, TEMPLATE, LC_COLLATE …: databases here have one encoding.
            reader.take()
            ignored = True
    notices = (notice("the options of CREATE DATABASE but OWNER are ignored"),) if ignored else ()
    return SchemaPlan("CREATE DATABASE", (CreateDatabase(name, if_not_exists, owner),), notices)


def _owner(reader: DdlReader) -> int:
    """The role after OWNER; the session's user may be nobody but a name on an open port."""
    context = reader.context
    reader.accept_sign("=")
    name = role_name(reader, context)
    roles = reader.catalog.roles
    return context.role if name == context.user and name not in roles.by_name else roles.find(name).number


def _create_extension(reader: DdlReader) -> SchemaPlan:
    """Accepted, so that scripts go on: what they use of it is there, or its own error says that it is not."""
    reader.accept("if", "not", "exists")
    name = reader.name()
    detail = "Its functions are built in." if name in ("timescaledb", "timescaledb_toolkit") else None
    return SchemaPlan(
        "CREATE EXTENSION", notices=(notice(f'extension "{name}" is accepted but not loaded', detail=detail),)
    )


# --- DROP ---


def _drop(reader: DdlReader) -> SchemaPlan:
    if reader.accept("database"):
        return _drop_database(reader)
    if reader.accept("schema"):
        return create_schema.drop(reader)
    if reader.accept("index"):
        return create_index.drop(reader)
    if reader.accept("type"):
        return create_type.drop(reader)
    if reader.accept("extension"):
        return SchemaPlan("DROP EXTENSION", notices=(notice("there are no extensions to drop"),))
    if reader.accept("materialized", "view"):
        return _drop_relations(reader, "materialized view")
    kind = reader.accept_any("table", "view", "sequence")
    if kind is None:
        raise _not_supported(reader, "DROP")
    return _drop_relations(reader, kind)


def _drop_database(reader: DdlReader) -> SchemaPlan:
    if_exists = reader.accept("if", "exists")
    name = reader.name()
    reader.accept("with")
    if reader.at_sign("("):
        reader.parenthesized()  # FORCE
    reader.finish()
    if name not in reader.catalog.databases:
        if if_exists:
            return SchemaPlan("DROP DATABASE", notices=(notice(f'database "{name}" does not exist, skipping'),))
        raise InvalidCatalogName(f'database "{name}" does not exist')
    return SchemaPlan("DROP DATABASE", (DropDatabase(name),))


def _drop_relations(reader: DdlReader, kind: str) -> SchemaPlan:
    if_exists = reader.accept("if", "exists")
    found: dict[int, Series | SqlView | SqlSequence] = {}
    notices: list[Notice] = []
    while True:
        each = reader.stored_or_notice(kind, if_exists=if_exists)
        if isinstance(each, Notice):
            notices.append(each)
        else:
            found[each.identity if isinstance(each, Series) else each.number] = each
        if not reader.accept_sign(","):
            break
    cascade = reader.accept_any("cascade", "restrict") == "cascade"
    reader.finish()
    # What depends on another is mostly younger: it goes first, so that a list may hold both.
    changes = tuple(owned.drop_of(reader.database.name, found[n], cascade=cascade) for n in sorted(found, reverse=True))
    return SchemaPlan(f"DROP {kind.upper()}", changes, tuple(notices))


# --- ALTER ---


def _alter(reader: DdlReader) -> SchemaPlan:
    if reader.accept("database"):
        name = reader.name()
        if reader.accept("rename", "to"):
            to = reader.name()
            reader.finish()
            return SchemaPlan("ALTER DATABASE", (RenameDatabase(name, to),))
        reader.catalog.find(name)
        raise FeatureNotSupported("ALTER DATABASE supports RENAME TO only")
    if reader.accept("table"):
        return alter_table.read(reader)
    if reader.accept("schema"):
        return create_schema.alter(reader)
    if reader.accept("materialized", "view"):
        return create_view.alter(reader, "materialized view")
    if reader.accept("view"):
        return create_view.alter(reader, "view")
    if reader.accept("sequence"):
        return create_sequence.alter(reader)
    if reader.accept("index"):
        return create_index.alter(reader)
    if reader.accept("type"):
        return create_type.alter(reader)
    raise _not_supported(reader, "ALTER")
