"""Row values: what a row constructor, a whole-row reference or a composite column consists of.

A row's value in DuckDB is a struct with the fields f1, f2 …; its names are PostgreSQL's. Where a row is compared or
tested for NULL, its fields are. It reaches the client as a struct, whose text and binary forms the wire writes; in a
cast to text it is written here.

Source: PostgreSQL 15 manual, 4.2.13 (row constructors), 8.16 (composite types), 9.24.5 (row-wise comparison).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tsdb.sql.expressions import casts
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.types import TEXT, UNKNOWN, Field, SqlType, record_of


def row_of(values: Sequence[Expr], names: Sequence[str] | None = None) -> Expr:
    """A row of values; without names its fields are f1, f2 …"""
    named = [replace(v, name=names[i] if names is not None else f"f{i + 1}", weak=False) for i, v in enumerate(values)]
    packed = ", ".join(f"f{i + 1} := {v.sql}" for i, v in enumerate(named))
    fields = tuple(Field(v.name, TEXT if v.unknown else v.type, v.digits) for v in named)
    sql = f"struct_pack({packed})" if named else "struct_pack(f0 := CAST(NULL AS INTEGER))"
    return combine(sql, record_of(fields), "row", tuple(named), name="row")


def fields_of(expr: Expr) -> tuple[Expr, ...] | None:
    """The fields of a row, by their names; None for what is no row."""
    if expr.op == "row":
        return expr.args
    if expr.fields is None:
        return None
    return tuple(field(expr, index) for index in range(len(expr.fields)))


def field(expr: Expr, index: int) -> Expr:
    """One field of a row, counted from 0."""
    if expr.op == "row":
        return expr.args[index]
    assert expr.fields is not None
    chosen = expr.fields[index]
    sql = f"struct_extract({expr.sql}, 'f{index + 1}')"
    return combine(sql, chosen.type, "field", (expr,), digits=chosen.digits, name=chosen.name)


def client_type(expr: Expr) -> SqlType:
    """The type of a row for a client, to whom a literal without a type is of type unknown."""
    if expr.op != "row" or expr.fields is None:
        return expr.type
    parts = zip(expr.args, expr.fields, strict=True)
    fields = tuple(replace(f, type=UNKNOWN if arg.unknown else client_type(arg)) for arg, f in parts)
    return replace(expr.type, fields=fields)


def same_fields(one: SqlType, other: SqlType) -> bool:
    """Whether rows of two types can stand in one column."""
    return (
        one.fields is not None
        and other.fields is not None
        and [f.type.typname for f in one.fields] == [f.type.typname for f in other.fields]
    )


def client_row(expr: Expr, shown: Callable[[Expr], str | None]) -> str | None:
    """DuckDB's text of a row whose fields are what ``shown`` says in place of their values; None: of none it says
    something."""
    fields = fields_of(expr)
    assert fields is not None
    texts = [shown(each) for each in fields]
    if not any(texts):
        return None
    packed = ", ".join(
        f"f{i + 1} := {text or each.sql}" for i, (text, each) in enumerate(zip(texts, fields, strict=True))
    )
    return (
        f"struct_pack({packed})"
        if expr.op == "row"
        else f"CASE WHEN {expr.sql} IS NOT NULL THEN struct_pack({packed}) END"
    )


def row_text(expr: Expr) -> str:
    """DuckDB's text of a row as PostgreSQL writes it: (1,"a b",)."""
    fields = fields_of(expr)
    assert fields is not None
    texts = []
    for each in fields:
        if each.type.typname == "bool":
            texts.append(f"CASE WHEN {each.sql} THEN 't' WHEN NOT {each.sql} THEN 'f' END")
        elif each.fields is not None:
            texts.append(row_text(each))
        elif each.shown is not None:
            texts.append(each.shown)
        else:
            texts.append(f"CAST({casts.to_text(each.sql, TEXT if each.unknown else each.type)} AS VARCHAR)")
    inner = f"py_row_text([{', '.join(texts)}])" if texts else "'()'"
    return inner if expr.op == "row" else f"CASE WHEN {expr.sql} IS NOT NULL THEN {inner} END"
