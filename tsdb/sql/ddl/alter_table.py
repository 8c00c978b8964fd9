"""ALTER TABLE: its actions as schema changes, in their order.

Values written before keep their stored form: ALTER TYPE is allowed where a cast of the stored form gives the value of
the new type (numbers to numbers and text, text to anything that is stored as a number or text), and refused where it
would give another value (a date becoming a timestamp).

Source of the grammar: PostgreSQL 15 manual, ALTER TABLE.
"""

from __future__ import annotations

from tsdb.errors import (
    DatatypeMismatch,
    DuplicateColumn,
    FeatureNotSupported,
    InvalidTableDefinition,
    UndefinedColumn,
    UndefinedObject,
    WrongObjectType,
)
from tsdb.model.catalog import Relation
from tsdb.model.change_slots import BUCKETS_AHEAD
from tsdb.model.relations import SqlSequence, SqlView
from tsdb.model.ring import Slots
from tsdb.model.schema import (
    AddColumn,
    AddConstraint,
    AlterColumn,
    AlterColumnType,
    Column,
    ConstraintDefinition,
    DropColumn,
    DropConstraint,
    MoveRelation,
    RenameColumn,
    RenameConstraint,
    RenameSequence,
    RenameSeries,
    RenameView,
    Role,
    SchemaChange,
    Series,
    SetAcks,
    SetIdentity,
    SetRetention,
    SetSlots,
    ValidateConstraint,
)
from tsdb.model.time import BUCKET_NS, NS_PER_US
from tsdb.sql.ddl import constraints, create_sequence, create_table, declared_type
from tsdb.sql.ddl.declared import Declared
from tsdb.sql.ddl.declared_type import DeclaredType
from tsdb.sql.ddl.plan import DdlReader, Restart, SchemaPlan
from tsdb.sql.notice import Notice, notice, skipped
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
    def __init__(self, database: str, series: Series, now_us: int) -> None:
        self.database = database
        self.series = series
        self.now_us = now_us
        self.changes: list[SchemaChange] = []
        self.notices: list[Notice] = []
        self.restarts: list[Restart] = []

    def take(self, declared: Declared) -> None:
        """The notices of what was read of constraints."""
        if not self.series.reference:
            declared.of_time_series()
        self.notices += declared.notices


def read(reader: DdlReader) -> SchemaPlan:
    """What follows ``ALTER TABLE``; views and sequences may be renamed and moved by it, too."""
    if_exists = reader.accept("if", "exists")
    reader.accept("only")
    found = reader.stored_or_notice("relation", if_exists=if_exists)
    reader.accept_sign("*")
    if isinstance(found, Notice):
        return SchemaPlan("ALTER TABLE", notices=(found,))
    if not isinstance(found, Series) or found.definition is not None:
        return _of_another(reader, found)
    actions = _Actions(reader.database.name, found, reader.context.now_us)
    if reader.accept("rename"):
        _rename(reader, actions)
    else:
        _action(reader, actions)
        while reader.accept_sign(","):
            _action(reader, actions)
    reader.finish()
    return SchemaPlan("ALTER TABLE", tuple(actions.changes), tuple(actions.notices), restarts=tuple(actions.restarts))


def _of_another(reader: DdlReader, found: Relation) -> SchemaPlan:
    database = reader.database.name
    change: SchemaChange
    if reader.accept("rename", "to"):
        to = reader.name()
        if isinstance(found, SqlView):
            change = RenameView(database, found.path, to)
        elif isinstance(found, SqlSequence):
            change = RenameSequence(database, found.path, to)
        else:
            change = RenameSeries(database, found.path, to)
    elif reader.accept("set", "schema"):
        change = MoveRelation(database, found.path, reader.name())
    else:
        raise WrongObjectType(f'"{found.name}" is not a table')
    reader.finish()
    return SchemaPlan("ALTER TABLE", (change,))


def _rename(reader: DdlReader, actions: _Actions) -> None:
    database, path = actions.database, actions.series.path
    if reader.accept("to"):
        actions.changes.append(RenameSeries(database, path, reader.name()))
        return
    constraint = reader.accept("constraint")
    if not constraint:
        reader.accept("column")
    name = reader.name()
    reader.expect("to")
    to = reader.name()
    change = RenameConstraint(database, path, name, to) if constraint else RenameColumn(database, path, name, to)
    actions.changes.append(change)


def _action(reader: DdlReader, actions: _Actions) -> None:
    if reader.accept("add"):
        _add(reader, actions)
    elif reader.accept("drop"):
        _drop(reader, actions)
    elif reader.accept("alter"):
        reader.accept("column")
        _alter_column(reader, actions)
    elif reader.accept("set", "schema"):
        actions.changes.append(MoveRelation(actions.database, actions.series.path, reader.name()))
    elif reader.accept("set"):
        _set(actions, create_table.read_options(reader, actions.notices, create_table.OF_TABLES))
    elif reader.accept("reset"):
        options = create_table.read_options(reader, also=create_table.OF_TABLES)
        if "retention" in options:
            _set_retention(actions, None)
        if "acks" in options:
            actions.changes.append(SetAcks(actions.database, actions.series.path, None))
        if "slots" in options:
            _set_slots(actions, 1)
    elif reader.accept("validate", "constraint"):
        _validate(reader, actions)
    elif reader.accept("cluster", "on") or reader.accept("replica", "identity"):
        reader.name()
        actions.notices.append(notice("this action is accepted but has no effect"))
    elif reader.accept("owner", "to"):
        raise FeatureNotSupported("OWNER TO goes alone", hint="Write an ALTER TABLE of its own for it.")
    else:
        token = reader.peek()
        if token is None or token.kind != "word":
            raise reader.error()
        raise FeatureNotSupported(f"ALTER TABLE {token.value.upper()} is not supported")


def _validate(reader: DdlReader, actions: _Actions) -> None:
    name = reader.name()
    series = actions.series
    found = next((c for c in series.constraints if c.name == name), None)
    key = bool(series.key) and name == (series.key_name or f"{series.name}_pkey")
    if found is None and not key:
        raise UndefinedObject(f'constraint "{name}" of relation "{series.name}" does not exist')
    if found is not None and found.kind == "c":
        actions.changes.append(ValidateConstraint(actions.database, series.path, name))
    elif found is not None and found.kind == "f":
        actions.notices.append(notice("foreign keys are not enforced, so there is nothing to validate"))
    else:
        raise WrongObjectType(
            f'constraint "{name}" of relation "{series.name}" is not a foreign key or check constraint'
        )


def _set(actions: _Actions, options: dict[str, str]) -> None:
    if "retention" in options:
        _set_retention(actions, create_table.retention_ns(options["retention"]))
    if "acks" in options:
        acks = create_table.acks(options["acks"])
        actions.changes.append(SetAcks(actions.database, actions.series.path, acks))
    if "slots" in options:
        _set_slots(actions, create_table.slots(options["slots"]))


def _set_slots(actions: _Actions, slots: int) -> None:
    series = actions.series
    last = series.slots[-1] if series.slots else Slots(0, 0)
    if last.settled and slots == 1 << last.bits:
        return
    begin = actions.now_us * NS_PER_US // BUCKET_NS + BUCKETS_AHEAD
    actions.changes.append(SetSlots(actions.database, series.path, slots, begin))


def _set_retention(actions: _Actions, retention_ns: int | None) -> None:
    if actions.series.reference and retention_ns is not None:
        raise FeatureNotSupported(f'table "{actions.series.name}" has no time column, so it can have no retention')
    floor = create_table.floor_ns(retention_ns, actions.now_us)
    actions.changes.append(SetRetention(actions.database, actions.series.path, retention_ns, floor))


def _add(reader: DdlReader, actions: _Actions) -> None:
    declared = Declared()
    column_word = reader.accept("column")
    if not column_word and any(reader.at_words(word) for word in constraints.TABLE_CONSTRAINTS):
        constraints.read_table_constraint(reader, declared, actions.series.path)
        if declared.key is not None:
            _add_key(actions, declared)
        actions.take(declared)
        actions.changes += _added(actions, declared)
        return
    if_not_exists = reader.accept("if", "not", "exists")
    column = create_table.read_column(reader, declared, actions.series.path)
    if column.key:
        raise FeatureNotSupported(
            "a table cannot get a PRIMARY KEY later", hint="Create a new table with the key and INSERT … SELECT."
        )
    actions.take(declared)
    if if_not_exists and column.name in actions.series.by_name:
        name = actions.series.name
        actions.notices.append(skipped(DuplicateColumn(f'column "{column.name}" of relation "{name}" already exists')))
        return
    definition = create_table.as_field(column)
    actions.changes.append(AddColumn(actions.database, actions.series.path, definition, if_not_exists))
    actions.changes += _added(actions, declared)


def _add_key(actions: _Actions, declared: Declared) -> None:
    """A reference table's PRIMARY KEY that comes later holds as a UNIQUE of columns that are NOT NULL."""
    series = actions.series
    assert declared.key is not None
    if series.keyed or any(c.kind == "p" for c in series.constraints):
        raise InvalidTableDefinition(f'multiple primary keys for table "{series.name}" are not allowed')
    if not series.reference:
        raise FeatureNotSupported(
            "a time series cannot get a PRIMARY KEY later", hint="Create a new table with the key and INSERT … SELECT."
        )
    for name in declared.key:
        if name not in series.by_name:
            raise UndefinedColumn(f'column "{name}" of relation "{series.name}" does not exist')
        if not series.by_name[name].not_null:
            actions.changes.append(AlterColumn(actions.database, series.path, name, not_null=True))
    declared.constraints.append(ConstraintDefinition("p", tuple(declared.key), declared.key_name))


def _added(actions: _Actions, declared: Declared) -> list[SchemaChange]:
    return [AddConstraint(actions.database, actions.series.path, each) for each in declared.constraints]


def _drop(reader: DdlReader, actions: _Actions) -> None:
    if reader.accept("constraint"):
        _drop_constraint(reader, actions)
        return
    reader.accept("column")
    if_exists = reader.accept("if", "exists")
    name = reader.name()
    cascade = reader.accept_any("cascade", "restrict") == "cascade"
    if if_exists and name not in actions.series.by_name:
        actions.notices.append(notice(f'column "{name}" of relation "{actions.series.name}" does not exist, skipping'))
        return
    actions.changes.append(DropColumn(actions.database, actions.series.path, name, cascade))


def _drop_constraint(reader: DdlReader, actions: _Actions) -> None:
    if_exists = reader.accept("if", "exists")
    name = reader.name()
    reader.accept_any("cascade", "restrict")
    series = actions.series
    if series.key and name == (series.key_name or f"{series.name}_pkey"):
        raise FeatureNotSupported("a table cannot lose its PRIMARY KEY", hint="Create a new table and INSERT … SELECT.")
    if if_exists and all(c.name != name for c in series.constraints):
        message = f'constraint "{name}" of relation "{series.name}" does not exist, skipping'
        actions.notices.append(notice(message))
        return
    actions.changes.append(DropConstraint(actions.database, series.path, name))


def _alter_column(reader: DdlReader, actions: _Actions) -> None:
    name = reader.name()
    series = actions.series
    # A column added by an earlier action of the same statement is not there yet: the change itself will tell.
    column = series.by_name.get(name)
    if column is None and not any(isinstance(c, AddColumn) and c.column.name == name for c in actions.changes):
        raise UndefinedColumn(f'column "{name}" of relation "{series.name}" does not exist')
    if reader.accept("set", "data", "type") or reader.accept("type"):
        _alter_type(reader, actions, name, column)
    elif reader.accept("set", "default"):
        sequence = constraints.read_next_value(reader)
        default = constraints.read_default(reader) if sequence is None else None
        change = AlterColumn(actions.database, series.path, name, set_default=True, default=default, sequence=sequence)
        actions.changes.append(change)
    elif reader.accept("drop", "default"):
        actions.changes.append(AlterColumn(actions.database, series.path, name, set_default=True))
    elif reader.accept("set", "not", "null"):
        actions.changes.append(AlterColumn(actions.database, series.path, name, not_null=True))
    elif reader.accept("drop", "not", "null"):
        if column is not None and column.role is Role.TIME:
            raise FeatureNotSupported(f'the time column "{name}" is never NULL')
        actions.changes.append(AlterColumn(actions.database, series.path, name, not_null=False))
    else:
        _alter_identity(reader, actions, name, column)


def _alter_type(reader: DdlReader, actions: _Actions, name: str, column: Column | None) -> None:
    declared = declared_type.read(reader)
    if reader.accept("collate"):
        reader.qualified()
    if reader.accept("using"):
        _check_using(reader, name)
    if column is not None:
        _check_cast(column, declared)
    change = AlterColumnType(actions.database, actions.series.path, name, declared.type, declared.typmod)
    actions.changes.append(change)


def _check_using(reader: DdlReader, name: str) -> None:
    """USING is a plain cast of the column, or it is not supported: values are read from the form they are stored in."""
    first = reader.at
    constraints.read_default(reader)
    tokens = [t for t in reader.tokens[first : reader.at] if t.value not in ("(", ")")]
    if tokens and tokens[0].is_word("cast"):
        tokens = tokens[1:]
    plain = bool(tokens) and tokens[0].value == name and (len(tokens) == 1 or tokens[1].value in ("::", "as"))
    if not plain or any(t.kind in ("operator", "string") and t.value != "::" for t in tokens):
        raise FeatureNotSupported(
            "USING is supported for a plain cast of the column only",
            hint="Add a column of the new type and UPDATE it from the old one.",
        )


def _alter_identity(reader: DdlReader, actions: _Actions, name: str, column: Column | None) -> None:
    database, path = actions.database, actions.series.path
    if reader.accept("add", "generated"):
        letter = "a" if reader.accept("always") else "d"
        if letter == "d":
            reader.expect("by", "default")
        reader.expect("as", "identity")
        sql_type = column.type if column is not None else INT8
        options = create_sequence.identity_options(reader, sql_type)
        actions.changes.append(SetIdentity(database, path, name, letter, options))
    elif reader.accept("drop", "identity"):
        if_exists = reader.accept("if", "exists")
        if not (if_exists and column is not None and not column.identity):
            actions.changes.append(SetIdentity(database, path, name, ""))
    elif reader.accept_any("set") and (word := reader.accept_any("statistics", "storage", "compression")):
        reader.accept_sign("-")
        reader.take()
        actions.notices.append(notice(f"SET {word.upper()} is accepted but has no effect"))
    elif column is not None and (sequence := reader.database.sequence_by_number.get(column.sequence)) is not None:
        if reader.tokens[reader.at - 1].is_word("set"):
            reader.at -= 1
        change, restarts, letter = create_sequence.alter_identity(reader, sequence)
        actions.changes += [change] if change is not None else []
        actions.changes += [SetIdentity(database, path, name, letter)] if letter else []
        actions.restarts += restarts
    else:
        raise reader.error()


def _check_cast(column: Column, declared: DeclaredType) -> None:
    old, new = column.type, declared.type
    if declared.serial:
        raise FeatureNotSupported("a column cannot become serial", hint="ALTER COLUMN … ADD GENERATED … AS IDENTITY.")
    allowed = (
        old == new
        or (new in _TEXTS and (old in _FROM_TEXT or old.labels is not None))
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
