"""ALTER TABLE: its actions as schema changes, in their order.

Values written before keep their stored form: ALTER TYPE is allowed where a cast of the stored form gives the value of
the new type (numbers to numbers and text, text to anything that is stored as a number or text), and refused where it
would give another value (a date becoming a timestamp).

Source of the grammar: PostgreSQL 15 manual, ALTER TABLE.
"""

from __future__ import annotations

from tsdb.errors import DatatypeMismatch, FeatureNotSupported, UndefinedColumn
from tsdb.model.schema import (
    AddColumn,
    AlterColumn,
    AlterColumnType,
    Catalog,
    Column,
    DropColumn,
    RenameColumn,
    RenameSeries,
    Role,
    SchemaChange,
    Series,
    SetRetention,
)
from tsdb.sql import create_table, declared_type
from tsdb.sql.create_table import Declared
from tsdb.sql.declared_type import DeclaredType
from tsdb.sql.notice import Notice, notice
from tsdb.sql.reader import Reader
from tsdb.types import (
    BOOL,
    BPCHAR,
    FLOAT4,
    FLOAT8,
    INT2,
    INT4,
    INT8,
    JSON,
    JSONB,
    NAME,
    NUMERIC,
    OID,
    TEXT,
    UINT8,
    UUID,
    VARCHAR,
)

_INTEGERS = (INT2, INT4, INT8, OID, UINT8)
_FLOATS = (FLOAT4, FLOAT8)
_TEXTS = (TEXT, VARCHAR, BPCHAR, NAME)
_FROM_TEXT = (*_INTEGERS, *_FLOATS, *_TEXTS, NUMERIC, BOOL, JSON, JSONB, UUID)


class _Actions:
    def __init__(self, database: str, series: Series) -> None:
        self.database = database
        self.series = series
        self.changes: list[SchemaChange] = []
        self.notices: list[Notice] = []


def read(reader: Reader, database: str, catalog: Catalog) -> tuple[tuple[SchemaChange, ...], tuple[Notice, ...]]:
    """The actions after ``ALTER TABLE``."""
    if_exists = reader.accept("if", "exists")
    reader.accept("only")
    name = reader.relation(database)
    reader.accept_sign("*")
    tables = catalog.find(database)
    if if_exists and name not in tables.series:
        return (), (notice(f'relation "{name}" does not exist, skipping'),)
    actions = _Actions(database, tables.find(name))
    if reader.accept("rename"):
        _rename(reader, actions)
    else:
        _action(reader, actions)
        while reader.accept_sign(","):
            _action(reader, actions)
    reader.finish()
    return tuple(actions.changes), tuple(actions.notices)


def _rename(reader: Reader, actions: _Actions) -> None:
    if reader.accept("to"):
        actions.changes.append(RenameSeries(actions.database, actions.series.name, reader.name()))
        return
    if reader.accept("constraint"):
        raise FeatureNotSupported("ALTER TABLE RENAME CONSTRAINT is not supported")
    reader.accept("column")
    name = reader.name()
    reader.expect("to")
    actions.changes.append(RenameColumn(actions.database, actions.series.name, name, reader.name()))


def _action(reader: Reader, actions: _Actions) -> None:
    if reader.accept("add"):
        _add(reader, actions)
    elif reader.accept("drop"):
        _drop(reader, actions)
    elif reader.accept("alter"):
        reader.accept("column")
        _alter_column(reader, actions)
    elif reader.accept("set"):
        options = create_table.read_options(reader)
        _set_retention(actions, create_table.retention_ns(options["retention"]))
    elif reader.accept("reset"):
        create_table.read_options(reader)
        _set_retention(actions, None)
    elif reader.accept("owner", "to"):
        raise FeatureNotSupported("OWNER TO goes alone", hint="Write an ALTER TABLE of its own for it.")
    else:
        token = reader.peek()
        if token is None or token.kind != "word":
            raise reader.error()
        raise FeatureNotSupported(f"ALTER TABLE {token.value.upper()} is not supported")


def _set_retention(actions: _Actions, retention_ns: int | None) -> None:
    if actions.series.reference and retention_ns is not None:
        raise FeatureNotSupported(f'table "{actions.series.name}" has no time column, so it can have no retention')
    actions.changes.append(SetRetention(actions.database, actions.series.name, retention_ns))


def _add(reader: Reader, actions: _Actions) -> None:
    declared = Declared()
    column_word = reader.accept("column")
    if not column_word and any(reader.at_words(w) for w in ("constraint", "primary", "unique", "check", "foreign")):
        create_table.read_table_constraint(reader, declared)
        if declared.key is not None:
            raise FeatureNotSupported(
                "a table cannot get a PRIMARY KEY later", hint="Create a new table with the key and INSERT … SELECT."
            )
        actions.notices += declared.notices
        return
    if_not_exists = reader.accept("if", "not", "exists")
    column = create_table.read_column(reader, declared)
    if column.key:
        raise FeatureNotSupported(
            "a table cannot get a PRIMARY KEY later", hint="Create a new table with the key and INSERT … SELECT."
        )
    actions.notices += declared.notices
    if if_not_exists and column.name in actions.series.by_name:
        name = actions.series.name
        actions.notices.append(notice(f'column "{column.name}" of relation "{name}" already exists, skipping'))
        return
    if column.default is not None or column.not_null:
        actions.notices.append(
            notice(f'NOT NULL and DEFAULT of column "{column.name}" hold for new rows; rows written before have NULL')
        )
    definition = create_table.as_field(column)
    actions.changes.append(AddColumn(actions.database, actions.series.name, definition, if_not_exists))


def _drop(reader: Reader, actions: _Actions) -> None:
    if reader.accept("constraint"):
        raise FeatureNotSupported("ALTER TABLE DROP CONSTRAINT is not supported")
    reader.accept("column")
    if_exists = reader.accept("if", "exists")
    name = reader.name()
    reader.accept_any("cascade", "restrict")
    if if_exists and name not in actions.series.by_name:
        actions.notices.append(notice(f'column "{name}" of relation "{actions.series.name}" does not exist, skipping'))
        return
    actions.changes.append(DropColumn(actions.database, actions.series.name, name))


def _alter_column(reader: Reader, actions: _Actions) -> None:
    name = reader.name()
    series = actions.series
    # A column added by an earlier action of the same statement is not there yet: the change itself will tell.
    column = series.by_name.get(name)
    if column is None and not any(isinstance(c, AddColumn) and c.column.name == name for c in actions.changes):
        raise UndefinedColumn(f'column "{name}" of relation "{series.name}" does not exist')
    if reader.accept("set", "data", "type") or reader.accept("type"):
        declared = declared_type.read(reader)
        if reader.accept("collate"):
            reader.name()
        if reader.accept("using"):
            create_table.read_default(reader)
            actions.notices.append(notice("USING is ignored: values are cast from the form they are stored in"))
        if column is not None:
            _check_cast(column, declared)
        actions.changes.append(AlterColumnType(actions.database, series.name, name, declared.type, declared.typmod))
    elif reader.accept("set", "default"):
        default = create_table.read_default(reader)
        actions.changes.append(AlterColumn(actions.database, series.name, name, set_default=True, default=default))
    elif reader.accept("drop", "default"):
        actions.changes.append(AlterColumn(actions.database, series.name, name, set_default=True))
    elif reader.accept("set", "not", "null"):
        actions.changes.append(AlterColumn(actions.database, series.name, name, not_null=True))
        actions.notices.append(notice("NOT NULL holds for new rows; rows written before are not checked"))
    elif reader.accept("drop", "not", "null"):
        if column is not None and column.role is Role.TIME:
            raise FeatureNotSupported(f'the time column "{name}" is never NULL')
        actions.changes.append(AlterColumn(actions.database, series.name, name, not_null=False))
    else:
        raise reader.error()


def _check_cast(column: Column, declared: DeclaredType) -> None:
    old, new = column.type, declared.type
    if declared.serial:
        raise FeatureNotSupported("serial columns are not supported yet")
    allowed = (
        old == new
        or (new in _TEXTS and (old in _FROM_TEXT or old == new))
        or (old in (*_INTEGERS, *_FLOATS) and new in (*_INTEGERS, *_FLOATS, NUMERIC))
        or (old in _TEXTS and new in _FROM_TEXT)
        or (old == NUMERIC and new in _FLOATS)
        or {old, new} <= {JSON, JSONB}
    )
    if not allowed:
        raise DatatypeMismatch(
            f'column "{column.name}" cannot be cast automatically to type {new.name}',
            hint="Add a column of the new type and UPDATE it from the old one.",
        )
