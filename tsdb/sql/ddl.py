"""DDL: from tokens to schema changes. Nothing here changes anything; ``tsdb.session`` hands the changes to the store.

``plan`` covers databases, tables and what PostgreSQL's clients send along (indexes, comments, schemas), which is
accepted with a NOTICE. What is not supported raises FeatureNotSupported with what to do instead.

Source of the grammar: PostgreSQL 15 manual, part VI.
"""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.errors import FeatureNotSupported, InvalidCatalogName, UndefinedTable
from tsdb.model.schema import (
    Catalog,
    CreateDatabase,
    DropDatabase,
    DropSeries,
    RenameDatabase,
    SchemaChange,
)
from tsdb.sql import alter_table, create_table
from tsdb.sql.notice import Notice, notice
from tsdb.sql.reader import Reader
from tsdb.sql.statement import Ddl, Fragment


@dataclass(frozen=True, slots=True)
class SchemaPlan:
    """What a DDL statement does: ``changes`` in one go, ``notices`` and the command ``tag`` for the client.

    ``source`` is the query of CREATE TABLE AS: the table gets the query's columns (named by ``source_columns`` where
    they are given) and, unless ``source_empty``, its rows; ``changes`` are empty then.
    """

    tag: str
    changes: tuple[SchemaChange, ...] = ()
    notices: tuple[Notice, ...] = ()
    source: Fragment | None = None
    source_table: str = ""
    source_columns: tuple[str, ...] = ()
    source_empty: bool = False
    source_options: tuple[tuple[str, str], ...] = ()


def plan(statement: Ddl, database: str, catalog: Catalog) -> SchemaPlan:
    """The changes a statement asks for in a session of ``database``."""
    reader = Reader(statement.fragment)
    verb = reader.take().value
    if verb == "create":
        return _create(reader, database, catalog)
    if verb == "drop":
        return _drop(reader, database, catalog)
    if verb == "alter":
        return _alter(reader, database, catalog)
    if verb == "comment":
        return SchemaPlan("COMMENT", notices=(notice("comments are accepted but not kept"),))
    raise FeatureNotSupported(f"{verb.upper()} is not supported")


def _not_supported(reader: Reader, verb: str) -> FeatureNotSupported:
    token = reader.peek()
    return FeatureNotSupported(f"{verb} {token.value.upper() if token else ''}".rstrip() + " is not supported")


# --- CREATE ---


def _create(reader: Reader, database: str, catalog: Catalog) -> SchemaPlan:
    if reader.accept("database"):
        return _create_database(reader)
    if reader.accept_any("local", "global", "temp", "temporary"):
        raise FeatureNotSupported("temporary tables are not supported", hint="Create a table and drop it at the end.")
    reader.accept("unlogged")
    if reader.accept("table"):
        return _create_table(reader, database, catalog)
    if reader.accept("unique", "index") or reader.accept("index"):
        return SchemaPlan(
            "CREATE INDEX",
            notices=(notice("indexes are accepted but not built", detail="Time and tags are indexed by themselves."),),
        )
    if reader.accept("schema"):
        return _create_schema(reader)
    raise _not_supported(reader, "CREATE")


def _create_database(reader: Reader) -> SchemaPlan:
    if_not_exists = reader.accept("if", "not", "exists")
    name = reader.name()
    notices: tuple[Notice, ...] = ()
    if not reader.at_end:
        # OWNER, ENCODING, TEMPLATE, LC_COLLATE …: databases here have one encoding and no owner.
        notices = (notice("the options of CREATE DATABASE are ignored"),)
    return SchemaPlan("CREATE DATABASE", (CreateDatabase(name, if_not_exists),), notices)


def _create_schema(reader: Reader) -> SchemaPlan:
    if_not_exists = reader.accept("if", "not", "exists")
    name = reader.name()
    if name == "public" and if_not_exists:
        return SchemaPlan("CREATE SCHEMA", notices=(notice('schema "public" already exists, skipping'),))
    raise FeatureNotSupported("schemas other than public are not supported", hint="Use a database for each.")


def _create_table(reader: Reader, database: str, catalog: Catalog) -> SchemaPlan:
    if_not_exists = reader.accept("if", "not", "exists")
    name = reader.relation(database)
    exists = name in catalog.find(database).series
    if if_not_exists and exists:
        return SchemaPlan("CREATE TABLE", notices=(notice(f'relation "{name}" already exists, skipping'),))
    if reader.at_words("as") or reader.at_words("with") or _only_names(reader):
        return _create_table_as(reader, name)
    declared = create_table.read_elements(reader)
    options = create_table.read_options(reader) if reader.accept("with") else {}
    if reader.at_words("partition") or reader.at_words("inherits") or reader.at_words("tablespace"):
        raise _not_supported(reader, "CREATE TABLE")
    reader.finish()
    change = create_table.series_of(database, name, declared, options, if_not_exists=if_not_exists)
    return SchemaPlan("CREATE TABLE", (change,), tuple(declared.notices))


def _only_names(reader: Reader) -> bool:
    """Whether ``(a, b) AS`` or ``(a, b) WITH … AS`` follows: the column names of CREATE TABLE AS."""
    if not reader.at_sign("("):
        return False
    at = 1
    while (name := reader.peek(at)) is not None and name.kind in ("word", "quoted"):
        sign = reader.peek(at + 1)
        if sign is None or sign.value not in (",", ")"):
            return False
        if sign.value == ")":
            return True
        at += 2
    return False


def _create_table_as(reader: Reader, name: str) -> SchemaPlan:
    columns = tuple(reader.names()) if reader.at_sign("(") else ()
    options = create_table.read_options(reader) if reader.accept("with") else {}
    reader.expect("as")
    text = reader.rest()
    empty = False
    words = [t for t in text.tokens[-3:] if t.kind == "word"]
    values = [t.value for t in words]
    if values[-2:] == ["with", "data"] or values == ["with", "no", "data"]:
        empty = values == ["with", "no", "data"]
        text = text.part(0, words[-3 if empty else -2].start)
    return SchemaPlan(
        "SELECT",
        source=text,
        source_table=name,
        source_columns=columns,
        source_empty=empty,
        source_options=tuple(options.items()),
    )


# --- DROP ---


def _drop(reader: Reader, database: str, catalog: Catalog) -> SchemaPlan:
    if reader.accept("database"):
        return _drop_database(reader, catalog)
    if reader.accept("table"):
        return _drop_tables(reader, database, catalog)
    if reader.accept("index"):
        return SchemaPlan("DROP INDEX", notices=(notice("there are no indexes to drop"),))
    raise _not_supported(reader, "DROP")


def _drop_database(reader: Reader, catalog: Catalog) -> SchemaPlan:
    if_exists = reader.accept("if", "exists")
    name = reader.name()
    reader.accept("with")
    if reader.at_sign("("):
        reader.parenthesized()  # FORCE
    reader.finish()
    if name not in catalog.databases:
        if if_exists:
            return SchemaPlan("DROP DATABASE", notices=(notice(f'database "{name}" does not exist, skipping'),))
        raise InvalidCatalogName(f'database "{name}" does not exist')
    return SchemaPlan("DROP DATABASE", (DropDatabase(name),))


def _drop_tables(reader: Reader, database: str, catalog: Catalog) -> SchemaPlan:
    if_exists = reader.accept("if", "exists")
    series = catalog.find(database).series
    changes: list[SchemaChange] = []
    notices: list[Notice] = []
    while True:
        name = reader.relation(database)
        if name in series:
            changes.append(DropSeries(database, name))
        elif if_exists:
            notices.append(notice(f'table "{name}" does not exist, skipping'))
        else:
            raise UndefinedTable(f'table "{name}" does not exist')
        if not reader.accept_sign(","):
            break
    reader.accept_any("cascade", "restrict")
    reader.finish()
    return SchemaPlan("DROP TABLE", tuple(dict.fromkeys(changes)), tuple(notices))


# --- ALTER ---


def _alter(reader: Reader, database: str, catalog: Catalog) -> SchemaPlan:
    if reader.accept("database"):
        name = reader.name()
        if reader.accept("rename", "to"):
            to = reader.name()
            reader.finish()
            return SchemaPlan("ALTER DATABASE", (RenameDatabase(name, to),))
        catalog.find(name)
        raise FeatureNotSupported("ALTER DATABASE supports RENAME TO only")
    if reader.accept("table"):
        changes, notices = alter_table.read(reader, database, catalog)
        return SchemaPlan("ALTER TABLE", changes, notices)
    raise _not_supported(reader, "ALTER")
