"""CREATE, ALTER and DROP SEQUENCE, and the options of identity columns.

Source of the grammar: PostgreSQL 15 manual, CREATE SEQUENCE.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tsdb.errors import DuplicateTable, InvalidParameterValue, SqlSyntaxError, WrongObjectType
from tsdb.model.catalog import Database
from tsdb.model.relations import SequenceOptions, SqlSequence, path_of
from tsdb.model.schema import (
    AlterSequence,
    CreateSequence,
    MoveRelation,
    RenameSequence,
    SchemaChange,
)
from tsdb.sql import lexer, names
from tsdb.sql.context import Context
from tsdb.sql.ddl import declared_type
from tsdb.sql.ddl.plan import DdlReader, Restart, SchemaPlan
from tsdb.sql.notice import Notice, skipped
from tsdb.types import INT2, INT4, INT8, SqlType

_RANGES = {INT2.oid: 2**15, INT4.oid: 2**31, INT8.oid: 2**63}
_OPTION_WORDS = (
    "as", "increment", "minvalue", "maxvalue", "no", "start", "cache", "cycle", "owned", "restart", "sequence",
)  # fmt: skip


@dataclass(slots=True)
class _Given:
    """What is written: numbers by option (None: NO MINVALUE …), and the rest."""

    numbers: dict[str, int | None] = field(default_factory=dict)
    type: SqlType | None = None
    cycle: bool | None = None
    owned: bool = False
    owner: tuple[str, str] | None = None
    restart: bool = False


def sequence_of(context: Context, database: Database, text: str) -> SqlSequence:
    """The sequence that a regclass text names. Raises UndefinedTable, WrongObjectType."""
    parts = [t.value for t in lexer.tokens(text) if t.kind in ("word", "quoted")]
    if not 1 <= len(parts) <= 2:
        raise SqlSyntaxError(f'invalid name syntax: "{text}"')
    schema, name = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    found = names.require(context, database, schema, name)
    if not isinstance(found, SqlSequence):
        raise WrongObjectType(f'"{name}" is not a sequence')
    return found


def options_of(
    sql_type: SqlType, given: dict[str, int | None] | None = None, *, cycle: bool = False
) -> SequenceOptions:
    """The options with PostgreSQL's defaults for those that are not given. Raises InvalidParameterValue."""
    numbers = given or {}
    bound = _RANGES.get(sql_type.oid)
    if bound is None:
        raise InvalidParameterValue("sequence type must be smallint, integer, or bigint")
    increment = numbers.get("increment")
    increment = 1 if increment is None else increment
    if increment == 0:
        raise InvalidParameterValue("INCREMENT must not be zero")
    rising = increment > 0
    minimum, maximum = numbers.get("minvalue"), numbers.get("maxvalue")
    minimum = (1 if rising else -bound) if minimum is None else minimum
    maximum = (bound - 1 if rising else -1) if maximum is None else maximum
    if not -bound <= minimum or not maximum < bound:
        raise InvalidParameterValue(f"a bound of the sequence is out of range for sequence data type {sql_type.name}")
    if minimum >= maximum:
        raise InvalidParameterValue(f"MINVALUE ({minimum}) must be less than MAXVALUE ({maximum})")
    start = numbers.get("start")
    start = (minimum if rising else maximum) if start is None else start
    if not minimum <= start <= maximum:
        word, bound = ("less than MINVALUE", minimum) if start < minimum else ("greater than MAXVALUE", maximum)
        raise InvalidParameterValue(f"START value ({start}) cannot be {word} ({bound})")
    return SequenceOptions(sql_type, start, increment, minimum, maximum, cycle)


def identity_options(reader: DdlReader, sql_type: SqlType) -> SequenceOptions:
    """``[(option …)]`` after AS IDENTITY."""
    given = _Given()
    if reader.accept_sign("("):
        while not reader.accept_sign(")"):
            _read_option(reader, given)
    return options_of(sql_type, given.numbers, cycle=bool(given.cycle))


def _read_option(reader: DdlReader, given: _Given) -> None:
    word = reader.accept_any(*_OPTION_WORDS)
    if word is None:
        raise reader.error()
    if word == "no":
        negated = reader.accept_any("minvalue", "maxvalue", "cycle")
        if negated is None:
            raise reader.error()
        if negated == "cycle":
            given.cycle = False
        else:
            given.numbers[negated] = None
    elif word == "as":
        given.type = declared_type.read(reader).type
    elif word == "cycle":
        given.cycle = True
    elif word == "owned":
        reader.expect("by")
        given.owned = True
        given.owner = None if reader.accept("none") else reader.column_of()
    elif word == "sequence":
        reader.expect("name")
        reader.qualified()
    elif word == "restart":
        given.restart = True
        if reader.accept("with") or _at_number(reader):
            given.numbers["restart"] = _signed(reader)
    else:
        reader.accept_any("by", "with")
        given.numbers[word] = _signed(reader)


def _at_number(reader: DdlReader) -> bool:
    token = reader.peek()
    return reader.at_sign("-") or (token is not None and token.kind == "number")


def _signed(reader: DdlReader) -> int:
    sign = -1 if reader.accept_sign("-") else 1
    token = reader.peek()
    if token is None or token.kind != "number" or not token.value.isdigit() or len(token.value) > 19:
        raise reader.error()
    reader.take()
    return sign * int(token.value)


def create(reader: DdlReader, *, temporary: bool = False) -> SchemaPlan:
    if_not_exists = reader.accept("if", "not", "exists")
    schema, name = reader.new_relation(temporary=temporary)
    if if_not_exists and reader.database.relation(path_of(schema, name)) is not None:
        return SchemaPlan("CREATE SEQUENCE", notices=(skipped(DuplicateTable(f'relation "{name}" already exists')),))
    given = _Given()
    while not reader.at_end:
        _read_option(reader, given)
    options = options_of(given.type or INT8, given.numbers, cycle=bool(given.cycle))
    owner = reader.context.role
    change = CreateSequence(reader.database.name, schema, name, options, if_not_exists, given.owner, owner)
    return SchemaPlan("CREATE SEQUENCE", (change,))


def alter(reader: DdlReader) -> SchemaPlan:
    if_exists = reader.accept("if", "exists")
    found = reader.stored_or_notice("sequence", if_exists=if_exists)
    if isinstance(found, Notice):
        return SchemaPlan("ALTER SEQUENCE", notices=(found,))
    assert isinstance(found, SqlSequence)
    database = reader.database.name
    change: SchemaChange
    if reader.accept("rename", "to"):
        change = RenameSequence(database, found.path, reader.name())
    elif reader.accept("set", "schema"):
        change = MoveRelation(database, found.path, reader.name())
    else:
        return _alter_options(reader, found)
    reader.finish()
    return SchemaPlan("ALTER SEQUENCE", (change,))


def _alter_options(reader: DdlReader, found: SqlSequence) -> SchemaPlan:
    given = _Given()
    while not reader.at_end:
        _read_option(reader, given)
    options, restarts = altered(found.options, given, found.path)
    change = AlterSequence(reader.database.name, found.path, options, given.owned, given.owner)
    return SchemaPlan("ALTER SEQUENCE", (change,), restarts=restarts)


def altered(old: SequenceOptions, given: _Given, path: str) -> tuple[SequenceOptions, tuple[Restart, ...]]:
    now: dict[str, int | None] = {
        "increment": old.increment, "minvalue": old.minimum, "maxvalue": old.maximum, "start": old.start,
    }  # fmt: skip
    now.update({name: value for name, value in given.numbers.items() if name in now})
    cycle = old.cycle if given.cycle is None else given.cycle
    options = options_of(given.type or old.type, now, cycle=cycle)
    if not given.restart:
        return options, ()
    at = given.numbers.get("restart")
    return options, (Restart(path, options.start if at is None else at),)


def alter_identity(reader: DdlReader, sequence: SqlSequence) -> tuple[AlterSequence | None, tuple[Restart, ...], str]:
    """``SET GENERATED …``, ``SET option`` and ``RESTART [WITH n]`` of an identity column:
    (the change of its sequence, restarts, the new letter or nothing)."""
    given = _Given()
    letter = ""
    while reader.at_words("set") or reader.at_words("restart"):
        if reader.accept("set", "generated"):
            letter = "a" if reader.accept("always") else "d"
            if letter == "d":
                reader.expect("by", "default")
            continue
        reader.accept("set")
        _read_option(reader, given)
    options, restarts = altered(sequence.options, given, sequence.path)
    changed = options != sequence.options
    change = AlterSequence(reader.database.name, sequence.path, options) if changed else None
    return change, restarts, letter


def serial_options(sql_type: SqlType) -> SequenceOptions:
    return replace(options_of(sql_type))
