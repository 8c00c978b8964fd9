"""Queries: WITH, set operations, VALUES, TABLE and parentheses. One SELECT is ``bind.select``'s."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from tsdb.errors import (
    DatatypeMismatch,
    DuplicateAlias,
    FeatureNotSupported,
    InvalidColumnReference,
    SqlSyntaxError,
)
from tsdb.sql import limits
from tsdb.sql.bind import literal_lists, places
from tsdb.sql.bind.binder import Binder, fold
from tsdb.sql.bind.calls import ordering
from tsdb.sql.bind.limit import limit_text
from tsdb.sql.bind.select import bind_select
from tsdb.sql.expressions import blanks, coercion, shown
from tsdb.sql.expressions.block import BoundQuery, CommonTable, Output
from tsdb.sql.expressions.coercion import coerce, common_digits, common_type
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.expressions.relation import Scope
from tsdb.types import BPCHAR


def bind_query(binder: Binder, node: exp.Expr, parent: Scope | None) -> BoundQuery:
    """Bind any query. Its DuckDB text names its columns c1, c2 …, in the form that ``binder.form`` asks for."""
    form = binder.take_form()
    with_ = node.args.get("with_")
    scope = Scope(parent)
    prefix = _with(binder, with_, scope) if with_ is not None else ""
    if prefix:
        query = _body(binder, node, scope, form)
        return BoundQuery(f"{prefix} {query.sql}", query.outputs, query.block)
    return _body(binder, node, scope if with_ is not None else parent, form)


def _body(binder: Binder, node: exp.Expr, scope: Scope | None, form: str) -> BoundQuery:
    if isinstance(node, exp.Select):
        return bind_select(binder, node, scope, form)
    if isinstance(node, exp.SetOperation):
        return _set_operation(binder, node, scope, form)
    if isinstance(node, exp.Values):
        return _tail(binder, _values(binder, node, scope, form), node, scope, form)
    if isinstance(node, exp.Subquery | exp.Paren):
        ordered = any(node.args.get(k) for k in ("order", "limit", "offset"))
        binder.form = "extended" if ordered and form else form
        inner = bind_query(binder, node.this, scope)
        wrapped = replace_sql(inner, f"({inner.sql})")
        return _tail(binder, wrapped, node, scope, form) if ordered else wrapped
    raise FeatureNotSupported(f"{node.key.upper()} is not supported as a query")


def replace_sql(query: BoundQuery, sql: str) -> BoundQuery:
    return BoundQuery(sql, query.outputs, query.block)


def _with(binder: Binder, node: exp.Expr, scope: Scope) -> str:
    texts = []
    for cte in node.expressions:
        name = fold(cte.args["alias"].this)
        if name in scope.tables:
            raise DuplicateAlias(f'WITH query name "{name}" specified more than once')
        names = [fold(c) for c in cte.args["alias"].args.get("columns") or ()]
        binder.tables += 1
        alias = f"q{binder.tables}"
        if node.args.get("recursive") and isinstance(cte.this, exp.Union):
            query = _recursive(binder, cte.this, scope, name, alias, names)
        else:
            binder.form = "extended"
            query = bind_query(binder, cte.this, scope)
        outputs = _renamed(query.outputs, names, name)
        scope.tables[name] = CommonTable(name, alias, outputs, query.block)
        columns = ", ".join(query.column_names)
        how = {True: "MATERIALIZED ", False: "NOT MATERIALIZED "}.get(cte.args.get("materialized"), "")
        texts.append(f"{alias}({columns}) AS {how}({query.sql})")
    return f"WITH {'RECURSIVE ' if node.args.get('recursive') else ''}{', '.join(texts)}"


def _renamed(outputs: Sequence[Output], names: Sequence[str], table: str) -> list[Output]:
    if len(names) > len(outputs):
        raise InvalidColumnReference(
            f'WITH query "{table}" has {len(outputs)} columns available but {len(names)} columns specified'
        )
    return [replace(o, name=names[i]) if i < len(names) else o for i, o in enumerate(outputs)]


def _recursive(binder: Binder, node: exp.Expr, scope: Scope, name: str, alias: str, names: Sequence[str]) -> BoundQuery:
    """The first branch gives the columns' types; the second sees the table itself."""
    first = bind_query(binder, node.this, scope)
    inner = Scope(scope)
    inner.tables[name] = CommonTable(name, alias, _renamed(first.outputs, names, name), None, references=2)
    second = bind_query(binder, node.expression, inner)
    if len(first.outputs) != len(second.outputs):
        raise SqlSyntaxError("each UNION query must have the same number of columns")
    for mine, theirs in zip(first.outputs, second.outputs, strict=True):
        if mine.type.typname != theirs.type.typname:
            raise DatatypeMismatch(
                f'recursive query "{name}" column has type {mine.type.name} in non-recursive term '
                f"but type {theirs.type.name} overall"
            )
    word = "UNION" if node.args.get("distinct") else "UNION ALL"
    left, right = (_typed(binder, q, first.outputs) for q in (first, second))
    return BoundQuery(f"{left} {word} {right}", [replace(o, expr=None) for o in first.outputs])


_SET_WORDS: dict[type[exp.Expr], str] = {exp.Union: "UNION", exp.Intersect: "INTERSECT", exp.Except: "EXCEPT"}


def _set_operation(binder: Binder, node: exp.Expr, scope: Scope | None, form: str) -> BoundQuery:
    word = _SET_WORDS[type(node)]
    every = "" if node.args.get("distinct") else " ALL"
    # UNION ALL keeps its rows apart, so each can show what it showed.
    keeps = bool(form) and bool(every) and word == "UNION"
    sides = []
    for side in (node.this, node.expression):
        binder.form = "extended" if keeps else ""
        sides.append(bind_query(binder, side, scope))
    left, right = sides
    if len(left.outputs) != len(right.outputs):
        listed = node.expression.selects
        position = places.of_node(binder.fragment, listed[0]) if listed else None
        raise SqlSyntaxError(f"each {word} query must have the same number of columns", position=position)
    outputs = []
    for a, b in zip(left.outputs, right.outputs, strict=True):
        both = [_as_expr(a), _as_expr(b)]
        target = common_type(both, word)
        if not every:
            coercion.check_equality(Expr("", target))
        digits = common_digits(both) if target.typname == "numeric" else None
        keeps_text = keeps and target.typname == "numeric" and (a.shown or b.shown or a.digits != b.digits)
        outputs.append(Output(a.name, target, a.typmod if a.typmod == b.typmod else -1, digits, None, keeps_text))
    compared = not every
    sql = f"({_typed(binder, left, outputs, compared)} {word}{every} {_typed(binder, right, outputs, compared)})"
    return _tail(binder, BoundQuery(sql, outputs), node, scope, form)


def _as_expr(output: Output) -> Expr:
    if output.expr is not None and output.expr.unknown:
        return output.expr
    position = output.expr.position if output.expr is not None else None
    return Expr("", output.type, digits=output.digits, position=position)


def _typed(binder: Binder, query: BoundQuery, outputs: Sequence[Output], compared: bool = False) -> str:
    """A query with its columns cast to the types of ``outputs``, in which equal ones are equal if ``compared``."""
    parts: list[str] = []
    texts: list[str] = []
    for index, (own, wanted) in enumerate(zip(query.outputs, outputs, strict=True)):
        name = f"c{index + 1}"
        expr = own.expr
        if expr is not None and expr.unknown:
            made = coerce(expr, wanted.type, binder.context, wanted.digits)
        else:
            plain = Expr(f"s.{name}", own.type, digits=own.digits, shown=f"s.s{index + 1}" if own.shown else None)
            made = coerce(plain, wanted.type, binder.context, wanted.digits)
            expr = plain
        if compared and wanted.type == BPCHAR and wanted.typmod < 0:
            made = blanks.forgotten(made)
        parts.append(f"{made.sql} AS {name}")
        if wanted.shown:
            texts.append(f"{shown.text_of(made if expr.unknown else expr)} AS s{index + 1}")
    parts += texts
    return f"(SELECT {', '.join(parts)} FROM ({query.sql}) AS s)"


def _values(binder: Binder, node: exp.Expr, scope: Scope | None, form: str) -> BoundQuery:
    inner = Scope(scope)
    nodes = [row.expressions if isinstance(row, exp.Tuple) else [row] for row in node.expressions]
    odd = next((row for row in nodes if len(row) != len(nodes[0])), None)
    if odd is not None:
        place = places.of_node(binder.fragment, odd[0])
        raise SqlSyntaxError("VALUES lists must all be the same length", position=place)
    long = _long_values(binder, nodes) if len(nodes) >= literal_lists.MIN_LONG else None
    if long is not None:
        return long
    limits.check_cells(len(nodes) * len(nodes[0]))
    cells_by_row = [[binder.bind(cell, inner) for cell in row] for row in nodes]
    outputs, columns = [], []
    for index, cells in enumerate(zip(*cells_by_row, strict=True)):
        target, made = coercion.unify(cells, "VALUES", binder.context)
        columns.append(made)
        outputs.append(Output(f"column{index + 1}", target, -1, made[0].digits, None))
    texts = ", ".join(f"({', '.join(cell.sql for cell in row)})" for row in zip(*columns, strict=True))
    names = ", ".join(f"c{i + 1}" for i in range(len(outputs)))
    if form:
        return _shown_values(cells_by_row, columns, outputs)
    return BoundQuery(f"SELECT * FROM (VALUES {texts}) AS s({names})", outputs)


def _shown_values(
    cells_by_row: Sequence[Sequence[Expr]], columns: Sequence[Sequence[Expr]], outputs: Sequence[Output]
) -> BoundQuery:
    """VALUES with the texts of its numerics besides."""
    kept = [
        replace(o, shown=o.type.typname == "numeric" and any(c.digits != cells[0].digits or c.shown for c in cells))
        for o, cells in zip(outputs, zip(*cells_by_row, strict=True), strict=True)
    ]
    texts = []
    for row, made in zip(cells_by_row, zip(*columns, strict=True), strict=True):
        parts = [cell.sql for cell in made]
        parts += [
            shown.text_of(m if cell.unknown else cell)
            for cell, m, o in zip(row, made, kept, strict=True) if o.shown
        ]  # fmt: skip
        texts.append(f"({', '.join(parts)})")
    query = BoundQuery("", kept)
    query.sql = f"SELECT * FROM (VALUES {', '.join(texts)}) AS s({', '.join(query.column_names)})"
    return query


def _long_values(binder: Binder, rows: Sequence[Sequence[exp.Expr]]) -> BoundQuery | None:
    """Many rows of mere literals as a relation of theirs; None: as they are written."""
    columns, outputs = [], []
    for index, cells in enumerate(zip(*rows, strict=True)):
        found = literal_lists.literals_of(cells)
        if found is None:
            return None
        sql_type, values = literal_lists.column_of(found)
        columns.append(values)
        outputs.append(Output(f"column{index + 1}", sql_type, -1, found.digits, None))
    names = ", ".join(f"c{i + 1}" for i in range(len(outputs)))
    return BoundQuery(f"SELECT {names} FROM {literal_lists.source_of(binder, columns).name}", outputs)


def _tail(binder: Binder, query: BoundQuery, node: exp.Expr, scope: Scope | None, form: str) -> BoundQuery:
    """ORDER BY, LIMIT and OFFSET of a query that is no plain SELECT: by output columns alone."""
    sql = query.sql
    order = node.args.get("order")
    if order is not None:
        items = [_output_number(query, item) for item in order.expressions]
        sql = f"SELECT * FROM ({sql}) AS s ORDER BY {', '.join(items)}"
    limit = limit_text(binder, node, scope)
    if limit:
        sql = f"{sql}{limit}" if order is not None else f"SELECT * FROM ({sql}) AS s{limit}"
    if form != "shown" or not any(o.shown for o in query.outputs):
        return BoundQuery(sql, query.outputs)
    listed = [f"s.{'s' if o.shown else 'c'}{i + 1}" for i, o in enumerate(query.outputs)]
    named = ", ".join(f"{text} AS c{i + 1}" for i, text in enumerate(listed))
    if order is not None:
        sorted_by = ", ".join(_output_number(query, item, "s.c") for item in order.expressions)
        return BoundQuery(f"SELECT {named} FROM ({query.sql}) AS s ORDER BY {sorted_by}{limit}", query.outputs)
    return BoundQuery(f"SELECT {named} FROM ({sql}) AS s", query.outputs)


def _sorted_output(outputs: Sequence[Output], index: int, prefix: str) -> str:
    """What orders by an output column: its number, unless its values need a key."""
    column = Expr(f"s.c{index + 1}", outputs[index].type)
    key = coercion.ordered(column)
    return f"{prefix}{index + 1}" if key is column else key.sql


def _output_number(query: BoundQuery, item: exp.Expr, prefix: str = "") -> str:
    node = item.this
    if isinstance(node, exp.Literal) and not node.args["is_string"] and node.name.isdigit():
        number = int(node.name)
        if not 1 <= number <= len(query.outputs):
            raise InvalidColumnReference(f"ORDER BY position {number} is not in select list")
        return _sorted_output(query.outputs, number - 1, prefix) + ordering(item)
    if isinstance(node, exp.Column) and node.args.get("table") is None:
        name = fold(node.this)
        for index, output in enumerate(query.outputs):
            if output.name == name:
                return _sorted_output(query.outputs, index, prefix) + ordering(item)
    raise FeatureNotSupported(
        "invalid UNION/INTERSECT/EXCEPT ORDER BY clause", detail="Only result column names can be used, not "
        "expressions or functions.", hint="Add the expression/function to every SELECT, or move the UNION into a "
        "FROM clause.",
    )  # fmt: skip
