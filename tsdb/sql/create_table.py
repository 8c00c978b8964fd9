"""CREATE TABLE: columns, key and options as declared, and the series that they make (design section 2).

The time column is ``time``, else the first timestamptz or timestamp in the key, else the first such column; a table
without one is a reference table. Key columns other than the time are tags, with or without the word TAG. With a PRIMARY
KEY points of equal key merge; without one every point is kept. What is accepted but not enforced says so by a NOTICE.

Source of the grammar: PostgreSQL 15 manual, CREATE TABLE.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tsdb.errors import (
    DuplicateColumn,
    FeatureNotSupported,
    InvalidParameterValue,
    InvalidTableDefinition,
    UndefinedColumn,
)
from tsdb.model.schema import ColumnDefinition, CreateSeries, Role
from tsdb.sql import declared_type, intervals
from tsdb.sql.notice import Notice, notice
from tsdb.sql.reader import Reader
from tsdb.types import TIMESTAMP, TIMESTAMPTZ, SqlType

_TIME_TYPES = (TIMESTAMPTZ, TIMESTAMP)
_FOREVER = ("", "0", "inf", "infinity", "infinite", "forever", "none", "null", "off")
_COLUMN_WORDS = (
    "tag", "not", "null", "primary", "unique", "check", "references", "generated", "constraint", "collate", "default",
    "deferrable", "initially",
)  # fmt: skip
_TABLE_CONSTRAINTS = ("constraint", "primary", "unique", "check", "foreign", "exclude", "like")


@dataclass(slots=True)
class DeclaredColumn:
    """A column as written. ``tag`` and ``key``: the words TAG and PRIMARY KEY stood with it."""

    name: str
    type: SqlType
    typmod: int = -1
    tag: bool = False
    key: bool = False
    not_null: bool = False
    default: str | None = None


@dataclass(slots=True)
class Declared:
    columns: list[DeclaredColumn] = field(default_factory=list)
    key: list[str] | None = None
    notices: list[Notice] = field(default_factory=list)

    def not_enforced(self, what: str) -> None:
        self.notices.append(notice(f"{what} is accepted but not enforced"))


def retention_ns(text: str) -> int | None:
    """How long points live, in ns; None is for ever. Raises InvalidParameterValue, InvalidDatetimeFormat."""
    if text.strip().lower() in _FOREVER:
        return None
    nanoseconds = intervals.parse(text).approximate_us * 1000
    if not 0 < nanoseconds < 2**63:
        raise InvalidParameterValue(f'retention "{text}" must be a positive time of less than 292 years')
    return nanoseconds


def read_elements(reader: Reader) -> Declared:
    """``(column type …, table constraint, …)``."""
    declared = Declared()
    reader.expect_sign("(")
    if reader.accept_sign(")"):
        return declared
    while True:
        token = reader.peek()
        if token is not None and token.is_word(*_TABLE_CONSTRAINTS) and _is_constraint(reader):
            read_table_constraint(reader, declared)
        else:
            declared.columns.append(read_column(reader, declared))
        if not reader.accept_sign(","):
            break
    reader.expect_sign(")")
    return declared


def _is_constraint(reader: Reader) -> bool:
    """Whether a word that may begin a table constraint does: a column may be named like it only in quotes."""
    word = reader.peek()
    after = reader.peek(1)
    return word is not None and after is not None and (word.value != "like" or after.kind != "punctuation")


def read_column(reader: Reader, declared: Declared) -> DeclaredColumn:
    name = reader.name()
    found = declared_type.read(reader)
    if found.serial:
        raise FeatureNotSupported(
            f'column "{name}": serial columns are not supported yet', hint="Write the numbers yourself, in an integer."
        )
    column = DeclaredColumn(name, found.type, found.typmod)
    while (token := reader.peek()) is not None and token.is_word(*_COLUMN_WORDS):
        _read_column_constraint(reader, column, declared)
    return column


def _read_column_constraint(reader: Reader, column: DeclaredColumn, declared: Declared) -> None:
    if reader.accept("constraint"):
        reader.name()
    if reader.accept("tag"):
        column.tag = True
    elif reader.accept("not", "null"):
        column.not_null = True
    elif reader.accept("null"):
        column.not_null = False
    elif reader.accept("primary", "key"):
        column.key = True
    elif reader.accept("unique"):
        declared.not_enforced(f'UNIQUE on column "{column.name}"')
    elif reader.accept("check"):
        reader.parenthesized()
        declared.not_enforced(f'CHECK on column "{column.name}"')
    elif reader.accept("references"):
        _read_references(reader)
        declared.not_enforced(f'REFERENCES on column "{column.name}"')
    elif reader.accept("collate"):
        reader.name()
        if reader.accept_sign("."):
            reader.name()
    elif reader.accept("default"):
        column.default = read_default(reader)
    elif reader.at_words("generated"):
        raise FeatureNotSupported(f'column "{column.name}": generated and identity columns are not supported yet')
    else:
        reader.take()  # DEFERRABLE, INITIALLY …
        reader.accept_any("deferred", "immediate")


def _read_references(reader: Reader) -> None:
    reader.name()
    while reader.accept_sign("."):
        reader.name()
    if reader.at_sign("("):
        reader.names()
    while word := reader.accept_any("match", "on"):
        reader.take()
        if word == "on":  # DELETE | UPDATE, then CASCADE | RESTRICT | NO ACTION | SET NULL | SET DEFAULT
            if reader.accept_any("no", "set"):
                reader.take()
            else:
                reader.take()


def read_default(reader: Reader) -> str:
    """An expression's text: up to a comma, a closing parenthesis or the next constraint outside parentheses."""
    first = reader.peek()
    depth = 0
    end = -1
    while (token := reader.peek()) is not None:
        if token.kind == "punctuation":
            if depth == 0 and token.value in (",", ")"):
                break
            depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.value, 0)
        elif depth == 0 and end >= 0 and token.is_word(*_COLUMN_WORDS):
            break
        end = reader.take().end
    if first is None or end < 0:
        raise reader.error()
    text = reader.fragment.text[first.start : end]
    if first.is_word("nextval"):
        raise FeatureNotSupported("sequences are not supported yet", position=reader.position(first))
    return text


def read_table_constraint(reader: Reader, declared: Declared) -> None:
    if reader.accept("constraint"):
        reader.name()
    if reader.accept("primary", "key"):
        if declared.key is not None:
            raise InvalidTableDefinition("multiple primary keys are not allowed")
        declared.key = reader.names()
    elif reader.accept("unique"):
        reader.accept("nulls", "not", "distinct")
        reader.accept("nulls", "distinct")
        declared.not_enforced(f"UNIQUE ({', '.join(reader.names())})")
    elif reader.accept("check"):
        reader.parenthesized()
        declared.not_enforced("CHECK")
    elif reader.accept("foreign", "key"):
        columns = reader.names()
        reader.expect("references")
        _read_references(reader)
        declared.not_enforced(f"FOREIGN KEY ({', '.join(columns)})")
    elif reader.at_words("like") or reader.at_words("exclude"):
        raise FeatureNotSupported("LIKE and EXCLUDE in CREATE TABLE are not supported")
    else:
        raise reader.error()
    while reader.accept_any("deferrable", "initially", "deferred", "immediate") or reader.accept("not", "deferrable"):
        pass


def read_options(reader: Reader) -> dict[str, str]:
    """``(retention = '30 days', …)``; a name alone means ``on``."""
    options: dict[str, str] = {}
    reader.expect_sign("(")
    while True:
        name = reader.name()
        while reader.accept_sign("."):
            name += "." + reader.name()
        options[name] = reader.take().value if reader.accept_sign("=") else "on"
        if not reader.accept_sign(","):
            break
    reader.expect_sign(")")
    for name in options:
        if name != "retention":
            raise InvalidParameterValue(f'unrecognized parameter "{name}"', hint="The only option is retention.")
    return options


def series_of(
    database: str, name: str, declared: Declared, options: dict[str, str], *, if_not_exists: bool
) -> CreateSeries:
    """The change that makes the table."""
    key = _key(name, declared)
    time = _time_column(name, declared, key)
    if time is not None and key and time.name not in key:
        declared.notices.append(
            notice(
                f'the key of table "{name}" is its PRIMARY KEY together with its time column "{time.name}"',
                detail="Points of equal key and time merge.",
            )
        )
    definitions = []
    for column in declared.columns:
        tag = column.tag or column.name in key
        role = Role.TIME if column is time else Role.TAG if tag else Role.FIELD
        not_null = column.not_null or column is time or column.name in key
        definitions.append(ColumnDefinition(column.name, role, column.type, column.typmod, not_null, column.default))
    retention = retention_ns(options["retention"]) if "retention" in options else None
    if retention is not None and time is None:
        raise InvalidTableDefinition(f'table "{name}" has no time column, so it can have no retention')
    columns = tuple(definitions)
    return CreateSeries(database, name, columns, bool(key), time is None, retention, tuple(key), if_not_exists)


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
    others = [column for column in declared.columns if column.type in _TIME_TYPES and not column.tag]
    time = named or next(iter(in_key + others), None)
    if time is not None and time.tag:
        raise InvalidTableDefinition(f'column "{time.name}" is the time of table "{name}", it cannot be a tag')
    return time


def as_field(column: DeclaredColumn) -> ColumnDefinition:
    """ADD COLUMN's definition: a tag or a field."""
    role = Role.TAG if column.tag else Role.FIELD
    return ColumnDefinition(column.name, role, column.type, column.typmod, column.not_null, column.default)
