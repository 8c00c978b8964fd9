"""CREATE TABLE: columns, key and options as declared, and the series that they make (design section 2).

The time column is ``time``, else the first timestamptz or timestamp in the key, else, without a key, the first such
column. A table without one is a reference table: its key alone says which row is meant (ON CONFLICT (id), UPDATE). Key
columns other than the time are tags, with or without the word TAG. With a PRIMARY KEY points of equal key merge;
without one every point is kept. What is accepted but not enforced says so by a NOTICE.

Source of the grammar: PostgreSQL 15 manual, CREATE TABLE.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tsdb.errors import (
    DuplicateColumn,
    DuplicateTable,
    FeatureNotSupported,
    InvalidParameterValue,
    InvalidTableDefinition,
    SqlSyntaxError,
    UndefinedColumn,
)
from tsdb.model.acks import acks_of
from tsdb.model.change_slots import SLOTS_MAX
from tsdb.model.relations import PUBLIC, Definition, SqlView, name_of, path_of
from tsdb.model.schema import ColumnDefinition, ConstraintDefinition, CreateSeries, Role, Series
from tsdb.model.time import clamp_ns
from tsdb.sql import check_text, intervals
from tsdb.sql.ddl import constraints, create_sequence, declared_type
from tsdb.sql.ddl.declared import Declared, DeclaredColumn
from tsdb.sql.ddl.plan import DdlReader, SchemaPlan, Source
from tsdb.sql.notice import Notice, notice, skipped
from tsdb.sql.statement import Fragment
from tsdb.types import TIMESTAMP, TIMESTAMPTZ

_TIME_TYPES = (TIMESTAMPTZ, TIMESTAMP)
_FOREVER = ("", "0", "inf", "infinity", "infinite", "forever", "none", "null", "off")


def retention_ns(text: str) -> int | None:
    """How long points live, in ns; None is for ever. Raises InvalidParameterValue, InvalidDatetimeFormat."""
    if text.strip().lower() in _FOREVER:
        return None
    nanoseconds = intervals.parse(text).approximate_us * 1000
    if not 0 < nanoseconds < 2**63:
        raise InvalidParameterValue(f'retention "{text}" must be a positive time of less than 292 years')
    return nanoseconds


def acks(text: str) -> int:
    """On how many replicas a write is to be. Raises InvalidParameterValue."""
    try:
        return acks_of(text)
    except ValueError:
        raise InvalidParameterValue(f'acks "{text[:40]}" is none of quorum, all and a number from 0 to 99') from None


def slots(text: str) -> int:
    """Into how many slots the buckets of a series are cut. Raises InvalidParameterValue."""
    found = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= found <= SLOTS_MAX or found & found - 1:
        raise InvalidParameterValue(f'slots "{text[:40]}" is no power of two from 1 to {SLOTS_MAX}')
    return found


def floor_ns(retention: int | None, now_us: int) -> int | None:
    """The instant below which a series with that retention keeps nothing, from now on."""
    return None if retention is None else clamp_ns(now_us * 1000 - retention)


def create(reader: DdlReader, *, temporary: bool = False) -> SchemaPlan:
    """CREATE TABLE, after its words. CREATE TABLE AS is a plan with a source."""
    if_not_exists = reader.accept("if", "not", "exists")
    schema, name = reader.new_relation(temporary=temporary)
    found = reader.database.relation(path_of(schema, name))
    if if_not_exists and found is not None:
        return SchemaPlan("CREATE TABLE", notices=(skipped(DuplicateTable(f'relation "{name}" already exists')),))
    if any(reader.at_words(word) for word in ("as", "with", "using", "on")) or _only_names(reader):
        return _create_table_as(reader, schema, name, temporary=temporary)
    if reader.at_words("partition", "of") or reader.at_words("of"):
        raise FeatureNotSupported("CREATE TABLE … OF is not supported", hint="Series are cut by time by themselves.")
    declared = read_elements(reader, path_of(schema, name))
    options, on_commit = _read_tail(reader, declared, temporary=temporary)
    reader.finish()
    change = series_of(reader.database.name, name, declared, options, if_not_exists=if_not_exists, schema=schema)
    change = replace(change, floor_ns=floor_ns(change.retention_ns, reader.context.now_us))
    return SchemaPlan("CREATE TABLE", (change,), tuple(declared.notices), on_commit=on_commit)


def _read_tail(reader: DdlReader, declared: Declared, *, temporary: bool) -> tuple[dict[str, str], str]:
    """What follows the columns: (the options of WITH, ON COMMIT's action); PARTITION BY, TABLESPACE, USING."""
    options: dict[str, str] = {}
    on_commit = ""
    while not reader.at_end:
        if reader.accept("with"):
            options.update(read_options(reader, declared.notices, OF_TABLES))
        elif reader.accept("partition", "by"):
            reader.name()
            reader.parenthesized()
            declared.notices.append(
                notice("PARTITION BY is accepted but not kept", detail="Series are cut by time by themselves.")
            )
        elif reader.accept("tablespace"):
            reader.name()
            declared.notices.append(notice("TABLESPACE is accepted but not kept"))
        elif reader.accept("using"):
            reader.name()
        elif reader.accept("without", "oids"):
            pass
        elif reader.accept("on", "commit"):
            on_commit = _on_commit(reader, temporary=temporary)
        elif reader.at_words("inherits"):
            raise FeatureNotSupported("INHERITS is not supported")
        else:
            raise reader.error()
    return options, on_commit


def _on_commit(reader: DdlReader, *, temporary: bool) -> str:
    """``PRESERVE ROWS``, ``DELETE ROWS`` or ``DROP``: nothing, delete or drop. Raises InvalidTableDefinition."""
    action = reader.accept_any("preserve", "delete", "drop")
    if action is None:
        raise reader.error()
    if action != "drop":
        reader.expect("rows")
    if not temporary:
        raise InvalidTableDefinition("ON COMMIT can only be used on temporary tables")
    return "" if action == "preserve" else action


def _only_names(reader: DdlReader) -> bool:
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


def _create_table_as(reader: DdlReader, schema: str, name: str, *, temporary: bool) -> SchemaPlan:
    columns = tuple(reader.names()) if reader.at_sign("(") else ()
    declared = Declared()
    options: dict[str, str] = {}
    on_commit = ""
    while not reader.at_words("as"):
        if reader.accept("with"):
            options.update(read_options(reader, declared.notices, OF_TABLES))
        elif reader.accept("on", "commit"):
            on_commit = _on_commit(reader, temporary=temporary)
        elif reader.accept("using") or reader.accept("tablespace"):
            reader.name()
        else:
            raise reader.error()
    reader.expect("as")
    text, empty = query_with_data(reader)
    source = Source("table", text, schema, name, columns, empty, tuple(options.items()), on_commit=on_commit)
    return SchemaPlan("SELECT", notices=tuple(declared.notices), source=source)


def query_with_data(reader: DdlReader) -> tuple[Fragment, bool]:
    """The rest as a query, and whether WITH NO DATA is behind it."""
    text = reader.rest()
    values = [t.value if t.kind == "word" else "" for t in text.tokens[-3:]]
    if values == ["with", "no", "data"]:
        return text.part(0, text.tokens[-3].start), True
    if values[-2:] == ["with", "data"]:
        return text.part(0, text.tokens[-2].start), False
    return text, False


def read_elements(reader: DdlReader, table: str) -> Declared:
    """``(column type …, table constraint, LIKE other …)`` of the table at a path."""
    declared = Declared()
    reader.expect_sign("(")
    if reader.accept_sign(")"):
        return declared
    while True:
        token = reader.peek()
        after = reader.peek(1)
        if token is not None and token.is_word("like") and after is not None and after.kind != "punctuation":
            _like(reader, declared)
        elif token is not None and token.is_word(*constraints.TABLE_CONSTRAINTS):
            constraints.read_table_constraint(reader, declared, table)
        else:
            declared.columns.append(read_column(reader, declared, table))
        if not reader.accept_sign(","):
            break
    reader.expect_sign(")")
    return declared


def read_column(reader: DdlReader, declared: Declared, table: str) -> DeclaredColumn:
    name = reader.name()
    found = declared_type.read(reader)
    column = DeclaredColumn(name, found.type, found.typmod)
    if found.serial:
        column.counts, column.not_null = create_sequence.options_of(found.type), True
    while (token := reader.peek()) is not None and token.is_word(*constraints.COLUMN_WORDS):
        constraints.read_column_constraint(reader, column, declared, table)
    if column.counts is not None and column.default is not None:
        raise SqlSyntaxError(f'both default and identity specified for column "{name}" of table "{name_of(table)}"')
    return column


def _like(reader: DdlReader, declared: Declared) -> None:
    """LIKE other [INCLUDING | EXCLUDING what …]: columns and NOT NULL; with DEFAULTS, INDEXES (the key) or ALL more."""
    reader.expect("like")
    found = reader.stored("relation")
    including: set[str] = set()
    while word := reader.accept_any("including", "excluding"):
        what = reader.name()
        including = including | {what} if word == "including" else including - {what}
    every = "all" in including
    if isinstance(found, SqlView):
        declared.columns += [DeclaredColumn(c.name, c.type, c.typmod) for c in found.columns]
        return
    assert isinstance(found, Series)
    for column in found.columns:
        copy = DeclaredColumn(column.name, column.type, column.typmod, not_null=column.not_null)
        if every or "indexes" in including:
            copy.tag = column.role is Role.TAG
        if every or "defaults" in including:
            copy.default = column.default
        if column.identity and (every or "identity" in including):
            sequence = reader.database.sequence_by_number[column.sequence]
            copy.counts, copy.identity = sequence.options, column.identity
        elif column.sequence and (every or "defaults" in including):
            copy.sequence = reader.database.sequence_by_number[column.sequence].path
        declared.columns.append(copy)
    if (every or "indexes" in including) and found.key:
        declared.key = [found.by_number[n].name for n in found.key]
    if every or "constraints" in including:
        declared.constraints += [
            ConstraintDefinition(
                "c", tuple(found.by_number[n].name for n in c.columns), c.name, check_text.current(found, c)
            )
            for c in found.constraints
            if c.kind == "c"
        ]


# Beside retention.
OF_TABLES = ("acks", "slots")
# Storage parameters of PostgreSQL and of its extensions that clients send along.
_IGNORED_OPTIONS = ("fillfactor", "autovacuum", "toast", "parallel_workers", "user_catalog", "log_", "oids", "vacuum")


def read_options(reader: DdlReader, notices: list[Notice] | None = None, also: Collection[str] = ()) -> dict[str, str]:
    """``(retention = '30 days', …)``; a name alone means ``on``. Those of PostgreSQL's storage are ignored. ``also``
    are names of options that are known beside retention, with or without TimescaleDB's prefix."""
    options: dict[str, str] = {}
    reader.expect_sign("(")
    while True:
        name = reader.name()
        while reader.accept_sign("."):
            name += "." + reader.name()
        value = reader.take().value if reader.accept_sign("=") else "on"
        if name == "retention" or name.removeprefix("timescaledb.") in also:
            options[name.removeprefix("timescaledb.")] = value
        elif name.startswith(_IGNORED_OPTIONS) or "." in name:
            if notices is not None:
                notices.append(notice(f'storage parameter "{name}" is accepted but has no effect'))
        else:
            known = ", ".join(("retention", *sorted(also)))
            hint = "The only option is retention." if not also else f"There are {known}."
            raise InvalidParameterValue(f'unrecognized parameter "{name}"', hint=hint)
        if not reader.accept_sign(","):
            break
    reader.expect_sign(")")
    return options


def series_of(
    database: str,
    name: str,
    declared: Declared,
    options: dict[str, str],
    *,
    if_not_exists: bool,
    schema: str = PUBLIC,
    definition: Definition | None = None,
) -> CreateSeries:
    """The change that makes the table (or, with a definition, the materialized view)."""
    key = _key(name, declared)
    time = _time_column(name, declared, key)
    if time is not None and key and time.name not in key:
        declared.notices.append(
            notice(
                f'the key of table "{name}" is its PRIMARY KEY together with its time column "{time.name}"',
                detail="Points of equal key and time merge.",
            )
        )
    if time is not None:
        declared.of_time_series()
    definitions = []
    for column in declared.columns:
        tag = column.tag or column.name in key
        role = Role.TIME if column is time else Role.TAG if tag else Role.FIELD
        not_null = column.not_null or column is time or column.name in key
        definitions.append(column.definition(role, not_null=not_null))
    retention = retention_ns(options["retention"]) if "retention" in options else None
    if retention is not None and time is None:
        raise InvalidTableDefinition(f'table "{name}" has no time column, so it can have no retention')
    cut = slots(options["slots"]) if "slots" in options else 1
    if cut > 1 and time is None:
        raise InvalidTableDefinition(f'table "{name}" has no time column, so it can have no slots')
    columns = tuple(definitions)
    return CreateSeries(
        database, name, columns, bool(key), time is None, retention, tuple(key), if_not_exists, schema=schema,
        key_name=declared.key_name, constraints=tuple(declared.constraints), indexes=tuple(declared.indexes),
        definition=definition, populated=definition is None, acks=acks(options["acks"]) if "acks" in options else None,
        slots=cut,
    )  # fmt: skip


def _key(name: str, declared: Declared) -> list[str]:
    names = [column.name for column in declared.columns]
    for column in names:
        if names.count(column) > 1:
            raise DuplicateColumn(f'column "{column}" specified more than once')
    inline = [column.name for column in declared.columns if column.key]
    if len(inline) > 1 or (inline and declared.key is not None):
        raise InvalidTableDefinition(f'multiple primary keys for table "{name}" are not allowed')
    key = inline or declared.key or []
    for column in key:
        if column not in names:
            raise UndefinedColumn(f'column "{column}" named in key does not exist')
        if key.count(column) > 1:
            raise DuplicateColumn(f'column "{column}" appears twice in primary key constraint')
    return key


def _time_column(name: str, declared: Declared, key: list[str]) -> DeclaredColumn | None:
    by_name = {column.name: column for column in declared.columns}
    named = by_name.get("time")
    if named is not None and named.type not in _TIME_TYPES:
        raise InvalidTableDefinition(
            f'column "time" of table "{name}" must be timestamptz or timestamp, not {named.type.name}'
        )
    in_key = [by_name[column] for column in key if by_name[column].type in _TIME_TYPES]
    others = [column for column in declared.columns if column.type in _TIME_TYPES and not column.tag and not key]
    time = named or next(iter(in_key + others), None)
    if time is not None and time.tag:
        raise InvalidTableDefinition(f'column "{time.name}" is the time of table "{name}", it cannot be a tag')
    return time


def as_field(column: DeclaredColumn) -> ColumnDefinition:
    """ADD COLUMN's definition: a tag or a field."""
    return column.definition(Role.TAG if column.tag else Role.FIELD)
