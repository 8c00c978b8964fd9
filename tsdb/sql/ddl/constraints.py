"""Constraints of columns and tables: NOT NULL, DEFAULT, CHECK, PRIMARY KEY and, in a reference table, UNIQUE hold; the
others are kept by name and a NOTICE says that they are not enforced.

Source of the grammar: PostgreSQL 15 manual, CREATE TABLE.
"""

from __future__ import annotations

from dataclasses import replace

from tsdb.errors import FeatureNotSupported, InvalidTableDefinition, UndefinedTable
from tsdb.model.relations import SqlSequence, name_of, path_of
from tsdb.model.schema import ConstraintDefinition
from tsdb.sql import check_text, names
from tsdb.sql.ddl import create_sequence
from tsdb.sql.ddl.declared import Declared, DeclaredColumn
from tsdb.sql.ddl.plan import DdlReader
from tsdb.sql.statement import Fragment

COLUMN_WORDS = (
    "tag", "not", "null", "primary", "unique", "check", "references", "generated", "constraint", "collate", "default",
    "deferrable", "initially", "storage", "compression",
)  # fmt: skip
TABLE_CONSTRAINTS = ("constraint", "primary", "unique", "check", "foreign", "exclude")
_ACTIONS = {"cascade": "c", "restrict": "r", "action": "a", "null": "n", "default": "d"}
_MATCHES = {"full": "f", "partial": "p", "simple": "s"}


def read_column_constraint(reader: DdlReader, column: DeclaredColumn, declared: Declared, table: str) -> None:
    """One constraint; ``table`` is the path of the table that is made, which may name itself."""
    name = reader.name() if reader.accept("constraint") else None
    if reader.accept("tag"):
        column.tag = True
    elif reader.accept("not", "null"):
        column.not_null = True
    elif reader.accept("null"):
        column.not_null = False
    elif reader.accept("primary", "key"):
        column.key = True
        declared.key_name = name or declared.key_name
        _index_parameters(reader)
    elif reader.accept("unique"):
        nulls_equal = read_nulls(reader)
        _index_parameters(reader)
        declared.constraints.append(ConstraintDefinition("u", (column.name,), name, nulls_equal=nulls_equal))
        declared.unique.append(f'UNIQUE on column "{column.name}"')
    elif reader.accept("check"):
        declared.constraints.append(_check(reader, name, table))
    elif reader.accept("references"):
        declared.constraints.append(_references(reader, (column.name,), name, table))
        declared.not_enforced(f'REFERENCES on column "{column.name}"')
    elif reader.accept("generated"):
        _generated(reader, column)
    else:
        _other(reader, column)


def _other(reader: DdlReader, column: DeclaredColumn) -> None:
    if reader.accept("collate"):
        reader.qualified()
    elif reader.accept("default"):
        read_column_default(reader, column)
    elif reader.accept_any("storage", "compression"):
        reader.name()
    else:
        reader.take()  # DEFERRABLE, INITIALLY …
        reader.accept_any("deferred", "immediate", "deferrable")


def _generated(reader: DdlReader, column: DeclaredColumn) -> None:
    letter = "a" if reader.accept("always") else "d"
    if letter == "d":
        reader.expect("by", "default")
    reader.expect("as")
    if reader.at_sign("("):
        raise FeatureNotSupported(
            f'column "{column.name}": generated columns are not supported', hint="Compute the value in a view."
        )
    reader.expect("identity")
    column.identity = letter
    column.counts = create_sequence.identity_options(reader, column.type)
    column.not_null = True


def read_nulls(reader: DdlReader) -> bool:
    """NULLS [NOT] DISTINCT of what is unique: whether NULLs are equal."""
    if reader.accept("nulls", "not", "distinct"):
        return True
    reader.accept("nulls", "distinct")
    return False


def _index_parameters(reader: DdlReader) -> None:
    if reader.accept("include"):
        reader.names()
    if reader.accept("with"):
        reader.parenthesized()
    if reader.accept("using", "index", "tablespace"):
        reader.name()


def _references(reader: DdlReader, columns: tuple[str, ...], name: str | None, table: str) -> ConstraintDefinition:
    schema, target = reader.qualified()
    found = names.find(reader.context, reader.database, schema, target)
    path = found.path if found is not None else _itself(reader, schema, target, table)
    theirs = tuple(reader.names()) if reader.at_sign("(") else ()
    letters = {"update": "a", "delete": "a"}
    match = "s"
    while word := reader.accept_any("match", "on"):
        if word == "match":
            match = _MATCHES.get(reader.name(), "s")
            continue
        event = reader.accept_any("update", "delete")
        if event is None:
            raise reader.error()
        first = reader.name()
        if first in ("no", "set"):
            first = reader.name()
        if first not in _ACTIONS:
            raise reader.error()
        letters[event] = _ACTIONS[first]
    return ConstraintDefinition(
        "f", columns, name, references=path, reference_columns=theirs, on_update=letters["update"],
        on_delete=letters["delete"], match=match,
    )  # fmt: skip


def _itself(reader: DdlReader, schema: str, target: str, table: str) -> str:
    path = path_of(names.creation_schema(reader.context, reader.database, schema), target)
    if path != table:
        raise UndefinedTable(f'relation "{names.shown(schema, target)}" does not exist')
    return path


def read_table_constraint(reader: DdlReader, declared: Declared, table: str) -> None:
    name = reader.name() if reader.accept("constraint") else None
    if reader.accept("primary", "key"):
        if declared.key is not None:
            raise InvalidTableDefinition("multiple primary keys are not allowed")
        declared.key = reader.names()
        declared.key_name = name
        _index_parameters(reader)
    elif reader.accept("unique"):
        nulls_equal = read_nulls(reader)
        columns = tuple(reader.names())
        _index_parameters(reader)
        declared.constraints.append(ConstraintDefinition("u", columns, name, nulls_equal=nulls_equal))
        declared.unique.append(f"UNIQUE ({', '.join(columns)})")
    elif reader.accept("check"):
        declared.constraints.append(_check(reader, name, table))
    elif reader.accept("foreign", "key"):
        columns = tuple(reader.names())
        reader.expect("references")
        declared.constraints.append(_references(reader, columns, name, table))
        declared.not_enforced(f"FOREIGN KEY ({', '.join(columns)})")
    elif reader.accept("exclude"):
        declared.constraints.append(_exclude(reader, name))
        declared.not_enforced("EXCLUDE")
    else:
        raise reader.error()
    while reader.accept_any("deferrable", "initially", "deferred", "immediate") or reader.accept("not", "deferrable"):
        pass
    if reader.accept("not", "valid") and declared.constraints:
        # Of a table that is being made there are no rows to look at.
        declared.constraints[-1] = replace(declared.constraints[-1], validated=table not in reader.database.series)


def _check(reader: DdlReader, name: str | None, table: str) -> ConstraintDefinition:
    text = check_text.without_table(reader.parenthesized(), name_of(table))
    check_text.condition(text)
    reader.accept("no", "inherit")
    return ConstraintDefinition("c", check_text.columns_in(Fragment(text).tokens), name, text)


def _exclude(reader: DdlReader, name: str | None) -> ConstraintDefinition:
    start = reader.peek()
    if reader.accept("using"):
        reader.name()
    reader.parenthesized()
    _index_parameters(reader)
    if reader.accept("where"):
        reader.parenthesized()
    assert start is not None
    return ConstraintDefinition("x", (), name, reader.fragment.text[start.start : reader.tokens[reader.at - 1].end])


def read_column_default(reader: DdlReader, column: DeclaredColumn) -> None:
    """DEFAULT: an expression, or the next value of a sequence."""
    sequence = read_next_value(reader)
    if sequence is not None:
        column.sequence = sequence
    else:
        column.default = read_default(reader)


def read_next_value(reader: DdlReader) -> str | None:
    """``nextval('name'[::regclass])`` as the path of the sequence; None where something else stands."""
    before = reader.at
    if reader.accept("pg_catalog"):
        reader.accept_sign(".")
    if not reader.accept("nextval"):
        reader.at = before
        return None
    reader.expect_sign("(")
    text = reader.string()
    if reader.accept_sign("::"):
        reader.qualified()
    reader.expect_sign(")")
    found = create_sequence.sequence_of(reader.context, reader.database, text)
    assert isinstance(found, SqlSequence)
    return found.path


def read_default(reader: DdlReader) -> str:
    """An expression's text: up to a comma, a closing parenthesis or the next constraint outside parentheses."""
    first = reader.peek()
    depth = 0
    end = -1
    while (token := reader.peek()) is not None:
        if token.kind == "punctuation":
            if depth == 0 and token.value in (",", ")"):
                break
            depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.value, 0)
        elif depth == 0 and end >= 0 and token.is_word(*COLUMN_WORDS):
            break
        end = reader.take().end
    if first is None or end < 0:
        raise reader.error()
    return reader.fragment.text[first.start : end]
