"""CREATE, ALTER and DROP INDEX: remembered by name, not built. Time and tags are indexed by themselves.

Source of the grammar: PostgreSQL 15 manual, CREATE INDEX.
"""

from __future__ import annotations

from tsdb.errors import DuplicateTable, UndefinedObject, WrongObjectType
from tsdb.model.schema import AddIndex, DropIndex, IndexDefinition, RenameIndex, SchemaChange, Series
from tsdb.sql import names
from tsdb.sql.ddl.constraints import read_nulls
from tsdb.sql.ddl.plan import DdlReader, SchemaPlan
from tsdb.sql.notice import Notice, notice, skipped

_NOTICE = "indexes are accepted but not built"
_DETAIL = "Time and tags are indexed by themselves."


def create(reader: DdlReader, *, unique: bool) -> SchemaPlan:
    reader.accept("concurrently")
    if_not_exists = reader.accept("if", "not", "exists")
    name = None if reader.at_words("on") else reader.name()
    reader.expect("on")
    reader.accept("only")
    found = reader.stored("relation")
    if not isinstance(found, Series):
        raise WrongObjectType(f'cannot create index on relation "{found.name}"')
    if if_not_exists and name is not None and any(i.name == name for i in found.indexes):
        return SchemaPlan("CREATE INDEX", notices=(skipped(DuplicateTable(f'relation "{name}" already exists')),))
    method = reader.name() if reader.accept("using") else "btree"
    notices = [notice(_NOTICE, detail=_DETAIL)]
    definition = _definition(reader, name, notices, unique=unique, method=method)
    reader.finish()
    if unique and not (found.reference and not definition.where and all(key[0] for key in definition.keys)):
        notices.append(
            notice("UNIQUE is accepted but not enforced", detail="It is for plain columns of a table without a time.")
        )
    return SchemaPlan("CREATE INDEX", (AddIndex(reader.database.name, found.path, definition),), tuple(notices))


def _definition(
    reader: DdlReader, name: str | None, notices: list[Notice], *, unique: bool, method: str
) -> IndexDefinition:
    reader.expect_sign("(")
    keys = [_key(reader)]
    while reader.accept_sign(","):
        keys.append(_key(reader))
    reader.expect_sign(")")
    included = tuple(reader.names()) if reader.accept("include") else ()
    nulls_equal = read_nulls(reader)
    if reader.accept("with"):
        reader.parenthesized()
    if reader.accept("tablespace"):
        reader.name()
    where = ""
    if reader.accept("where"):
        rest = reader.rest()
        where = rest.text
    return IndexDefinition(tuple(keys), name, unique, method, included, where, nulls_equal)


def _key(reader: DdlReader) -> tuple[str | None, str, bool, bool]:
    """A column, an expression in parentheses or a function call; its operator class; ASC | DESC, NULLS …"""
    column: str | None = None
    text = ""
    after = reader.peek(1)
    if reader.at_sign("("):
        text = reader.parenthesized().strip()
    elif after is not None and (after.value == "(" or after.value == "."):
        start = reader.tokens[reader.at].start
        reader.qualified()
        reader.parenthesized()
        text = reader.fragment.text[start : reader.tokens[reader.at - 1].end]
    else:
        column = reader.name()
    if reader.accept("collate"):
        reader.qualified()
    token = reader.peek()
    if token is not None and token.kind in ("word", "quoted") and not token.is_word("asc", "desc", "nulls"):
        reader.qualified()  # the operator class
        if reader.at_sign("("):
            reader.parenthesized()
    descending = reader.accept_any("asc", "desc") == "desc"
    first = descending
    if reader.accept("nulls"):
        first = reader.accept_any("first", "last") == "first"
    return column, text, descending, first


def drop(reader: DdlReader) -> SchemaPlan:
    reader.accept("concurrently")
    if_exists = reader.accept("if", "exists")
    changes: list[SchemaChange] = []
    notices: list[Notice] = []
    while True:
        schema, name = reader.qualified()
        found = table_of(reader, schema, name)
        if found is not None:
            changes.append(DropIndex(reader.database.name, found.path, name))
        elif if_exists:
            notices.append(notice(f'index "{name}" does not exist, skipping'))
        else:
            raise UndefinedObject(f'index "{names.shown(schema, name)}" does not exist')
        if not reader.accept_sign(","):
            break
    reader.accept_any("cascade", "restrict")
    reader.finish()
    return SchemaPlan("DROP INDEX", tuple(changes), tuple(notices))


def alter(reader: DdlReader) -> SchemaPlan:
    if_exists = reader.accept("if", "exists")
    schema, name = reader.qualified()
    found = table_of(reader, schema, name)
    if found is None and if_exists:
        return SchemaPlan("ALTER INDEX", notices=(notice(f'relation "{name}" does not exist, skipping'),))
    if found is None:
        raise UndefinedObject(f'index "{names.shown(schema, name)}" does not exist')
    if reader.accept("rename", "to"):
        to = reader.name()
        reader.finish()
        return SchemaPlan("ALTER INDEX", (RenameIndex(reader.database.name, found.path, name, to),))
    return SchemaPlan("ALTER INDEX", notices=(notice(_NOTICE, detail=_DETAIL),))


def table_of(reader: DdlReader, schema: str, name: str) -> Series | None:
    """The table whose index has a name."""
    schemas = [schema] if schema else [
        names.temporary_schema(reader.context), *names.search_path(reader.context, reader.database)
    ]  # fmt: skip
    for each in schemas:
        for series in reader.database.series.values():
            if series.schema == each and any(i.name == name for i in series.indexes):
                return series
    return None
