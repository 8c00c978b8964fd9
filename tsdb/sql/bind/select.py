"""One SELECT: its list, WHERE, GROUP BY, HAVING, DISTINCT, ORDER BY and LIMIT, in DuckDB's text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from sqlglot import exp

from tsdb.errors import (
    AmbiguousColumn,
    FeatureNotSupported,
    GroupingError,
    InvalidColumnReference,
    SqlSyntaxError,
    TooManyColumns,
)
from tsdb.sql.bind.binder import Binder, fold
from tsdb.sql.bind.calls import function_name
from tsdb.sql.bind.choice import choice_of
from tsdb.sql.bind.dependent import depends, is_plain
from tsdb.sql.bind.distinct import OrderItem, check_order, columns_of, first_rows
from tsdb.sql.bind.from_clause import bind_from
from tsdb.sql.bind.gap_functions import fill_of
from tsdb.sql.bind.gapfill import Filling, filling
from tsdb.sql.bind.limit import bind_limit
from tsdb.sql.bind.scalars import qualifier
from tsdb.sql.expressions import coercion
from tsdb.sql.expressions.block import Block, BoundQuery, Condition, Output
from tsdb.sql.expressions.coercion import as_bool, coerce
from tsdb.sql.expressions.expression import ColumnReference, Expr
from tsdb.sql.expressions.grouping import Grouped, Grouping, Ordering
from tsdb.sql.expressions.relation import Merged, Relation, Scope
from tsdb.sql.expressions.rows import client_row, fields_of
from tsdb.types import TEXT

MAX_COLUMNS = 1664  # PostgreSQL's limit of a target list


@dataclass(eq=False)
class _Select:
    """What is known of a SELECT while it is bound."""

    scope: Scope
    block: Block
    targets: list[Expr] = field(default_factory=list)
    groups: list[Expr] = field(default_factory=list)
    grouped: bool = False
    # Whether columns may stand beside the key that they depend on.
    plain: bool = False
    # FILL(…) at the end of GROUP BY.
    fill: Callable[[Binder, Expr], Expr] | None = None


def bind_select(binder: Binder, node: exp.Select, parent: Scope | None, form: str) -> BoundQuery:
    if node.args.get("into") is not None:
        raise FeatureNotSupported("SELECT INTO is not supported", hint="Use CREATE TABLE and INSERT … SELECT.")
    for clause in ("qualify", "laterals_", "connect", "cluster", "distribute", "sort", "match", "pivots"):
        if node.args.get(clause):
            raise FeatureNotSupported(f"{clause.upper()} is not supported")
    select = _Select(Scope(parent), Block())
    binder.blocks.append(select.block)
    saved, binder.windows = binder.windows, {fold(w.this): w for w in node.args.get("windows") or ()}
    refused, binder.refused = binder.refused, ""
    outer, gap_calls, binder.gap_calls = binder.filling, binder.gap_calls, []
    try:
        return _bind(binder, node, select, form)
    finally:
        binder.windows, binder.refused, binder.filling, binder.gap_calls = saved, refused, outer, gap_calls


def _bind(binder: Binder, node: exp.Select, select: _Select, form: str) -> BoundQuery:
    scope, block = select.scope, select.block
    from_text = bind_from(binder, node, scope, block)
    block.relations = list(scope.relations)
    text = _where(binder, node, select)
    select.targets = list(_projections(binder, node.expressions, scope))
    if len(select.targets) > MAX_COLUMNS:
        raise TooManyColumns(f"target lists can have at most {MAX_COLUMNS} entries")
    group_text = _group(binder, node, select)
    having = None
    having_text = ""
    if node.args.get("having") is not None:
        having = as_bool(binder.bind(node.args["having"].this, scope), "HAVING", binder.context)
        having_text = f" HAVING {having.sql}"
        select.grouped = True
    filled = _filled(binder, node, select)
    order = _order(binder, node, select)
    on = _distinct_on(binder, node, select)
    hidden = [*(item.expr for item in order), *(on or ())]
    select.grouped = select.grouped or any(e.aggregate for e in (*select.targets, *hidden))
    if select.grouped:
        group_text += _checked([*select.targets, *hidden, *([having] if having is not None else [])], select)
    group_text += having_text
    distinct = node.args.get("distinct") is not None
    for target in select.targets if distinct and on is None else ():
        coercion.check_equality(target)
    # What DISTINCT compares is the number, not its text; DISTINCT ON compares its own expressions alone.
    free = distinct and on is not None and form == "shown"
    compared = {e.sql for e in hidden}
    texts = [
        _shown(e, select) if (e.sql not in compared if free else not distinct or e.fields is not None) else None
        for e in select.targets
    ]
    outputs = [
        _output(e, shown=form == "extended" and text is not None) for e, text in zip(select.targets, texts, strict=True)
    ]
    finals = [_of_groups(_final(e), e, select) for e in select.targets] or ["NULL"]
    changed = form == "shown"
    if changed:
        finals = [text or final for text, final in zip(texts, finals, strict=False)] or finals
    rest = (f" FROM {from_text}{text}" if from_text else text) + group_text
    rest = f" FROM {filled.text(rest)}" if filled is not None else rest
    if on is not None:
        check_order(on, order)
        inner = f"SELECT {columns_of(finals, on, order, select.targets)}{rest}"
        sql = first_rows(inner, select.targets, on, order)
    else:
        listed = [f"{final} AS c{i + 1}" for i, final in enumerate(finals)]
        listed += [f"{text} AS s{i + 1}" for i, (o, text) in enumerate(zip(outputs, texts, strict=True)) if o.shown]
        sql = f"SELECT {'DISTINCT ' if distinct else ''}{', '.join(listed)}{rest}"
        if order:
            # A text would sort as a text: what is shown is not what is sorted by.
            sql += " ORDER BY " + ", ".join(
                item.by_expression if changed and item.target is not None and texts[item.target] else item.by_position
                for item in order
            )
    limit = bind_limit(binder, node, scope.parent)
    sql += limit.text
    if select.grouped and not distinct and filled is None:
        block.grouping = _grouping(node, select, order, sql, having, shown=changed)
    over = (*select.targets, *hidden) if filled is None else filled.aggregates
    block.grouped = _grouped(node, select, over, having)
    if filled is None:
        groups = select.groups if select.grouped else None
        block.choice = choice_of(node, select.targets, groups, having, on, order, limit, sql)
    block.outputs = outputs
    whole = limit.text or node.args.get("distinct") is not None or select.grouped or group_text
    block.transparent = not (whole or any(e.window or any(x.op == "set" for x in e.walk()) for e in select.targets))
    return BoundQuery(sql, outputs, block)


def _where(binder: Binder, node: exp.Select, select: _Select) -> str:
    where = node.args.get("where")
    if where is None:
        return ""
    condition = as_bool(binder.without_aggregates(where.this, select.scope, "WHERE"), "WHERE", binder.context)
    conjuncts = condition.args if condition.op == "and" else (condition,)
    select.block.conditions += [Condition(c) for c in conjuncts]
    return f" WHERE {condition.sql}"


def _filled(binder: Binder, node: exp.Select, select: _Select) -> Filling | None:
    """The rows that time_bucket_gapfill fills, if it is asked for: then the select list is bound again over them."""
    filled = filling(binder, select.scope, select.groups, select.block, select.fill)
    if filled is not None:
        binder.filling, filled.outer = filled, binder.filling
        select.targets = list(_projections(binder, node.expressions, select.scope))
    return filled


def _grouped(node: exp.Select, select: _Select, over: Sequence[Expr], having: Expr | None) -> Grouped | None:
    """What is computed over the groups of a plain GROUP BY; None when it has more, or there is none."""
    if not select.grouped or not _is_plain(node):
        return None
    return Grouped(tuple(select.groups), (*over, *([having] if having is not None else [])))


def _grouping(
    node: exp.Select, select: _Select, order: Sequence[OrderItem], sql: str, having: Expr | None, *, shown: bool
) -> Grouping | None:
    """The structure of a plain GROUP BY; None when it has more."""
    limit = node.args.get("limit")
    if not _is_plain(node):
        return None
    if node.args.get("offset") is not None or any(e.window for e in select.targets):
        return None
    count = limit.expression if isinstance(limit, exp.Limit) else None
    if limit is not None and not (isinstance(count, exp.Literal) and count.name.isdigit()):
        return None
    orderings = [Ordering(i.target, i.descending, i.nulls_first) for i in order if i.target is not None]
    if len(orderings) < len(order):
        return None
    rows = int(count.name) if isinstance(count, exp.Literal) else None
    return Grouping(tuple(select.groups), tuple(select.targets), sql, tuple(orderings), rows, shown, having)


def _is_plain(node: exp.Select) -> bool:
    """Neither grouping sets nor anything like them."""
    group = node.args.get("group")
    return group is None or not (
        any(group.args.get(key) for key in ("rollup", "cube", "grouping_sets"))
        or any(isinstance(e, exp.Tuple | exp.Rollup | exp.Cube | exp.GroupingSets) for e in group.expressions)
    )


def _final(expr: Expr) -> str:
    return expr.sql if not expr.unknown or expr.value is not None or expr.op != "literal" else "CAST(NULL AS VARCHAR)"


def _of_groups(text: str, expr: Expr, select: _Select) -> str:
    """A target's text, in which what a numeric of GROUP BY shows is that of any row of its group: 1.5 or 1.50."""
    if select.grouped and not expr.aggregate and not expr.window:
        for group in select.groups:
            if group.shown and group.sql != expr.sql:
                found = rf"(?<![\w.]){re.escape(group.shown)}(?!\w)"
                # A template of re.sub reads backslashes.
                any_one = f"any_value({group.shown})".replace("\\", r"\\")
                text = re.sub(found, any_one, text)
    return text


def _shown(expr: Expr, select: _Select) -> str | None:
    """What a client gets of a target in place of its value: the text of a numeric, a row with such texts."""
    if expr.fields is not None:
        return client_row(expr, lambda field: _shown(field, select))
    if expr.shown is None or not select.grouped:
        return expr.shown
    if any(expr.sql == g.sql for g in select.groups):
        return f"any_value({expr.shown})"
    # A text over the columns of GROUP BY is not in GROUP BY.
    return expr.shown if not any(e.op == "column" for e in _outside_aggregates(expr)) else None


def _outside_aggregates(expr: Expr) -> Iterator[Expr]:
    if expr.op != "aggregate":
        yield expr
        for arg in expr.args:
            yield from _outside_aggregates(arg)


def _output(expr: Expr, *, shown: bool) -> Output:
    kept = shown and expr.fields is None
    sql_type = TEXT if expr.unknown else expr.type
    return Output(expr.name, sql_type, expr.typmod, expr.digits, expr, kept)


def _projections(binder: Binder, nodes: Sequence[exp.Expr], scope: Scope) -> Iterator[Expr]:
    for node in nodes:
        inner = node.this if isinstance(node, exp.Alias) else node
        if isinstance(inner, exp.Star) or (isinstance(inner, exp.Column) and isinstance(inner.this, exp.Star)):
            yield from _star(binder, inner, scope)
            continue
        if isinstance(inner, exp.Dot) and isinstance(inner.expression, exp.Star):
            yield from fields_of(binder.bind(inner.this, scope)) or ()
            continue
        bound = binder.bind(inner, scope)
        if isinstance(node, exp.Alias):
            bound = bound.named(fold(node.args["alias"]))
        yield bound


def _star(binder: Binder, node: exp.Expr, scope: Scope) -> Iterator[Expr]:
    if node.args.get("except_") or node.args.get("replace") or node.args.get("rename"):
        raise SqlSyntaxError("* takes no EXCLUDE, REPLACE or RENAME")
    if isinstance(node, exp.Column) and node.args.get("table") is not None:
        yield from _columns_of(qualifier(binder, node, scope), scope, merged=False)
        return
    if not scope.relations:
        raise SqlSyntaxError("SELECT * with no tables specified is not valid")
    for star in scope.stars:
        if isinstance(star, Merged):
            yield star.value.named(star.name)
        else:
            yield from _columns_of(star, scope, merged=True)


def _columns_of(relation: Relation, scope: Scope, *, merged: bool) -> Iterator[Expr]:
    for index, column in enumerate(relation.columns):
        if not column.hidden and not (merged and (id(relation), index) in scope.merged_away):
            yield relation.reference(index)


def _group(binder: Binder, node: exp.Select, select: _Select) -> str:
    group = node.args.get("group")
    if group is None:
        return ""
    if group.args.get("all"):
        raise SqlSyntaxError('syntax error at or near "ALL"')
    select.grouped, select.plain = True, is_plain(group)
    items = list(group.expressions)
    if items and isinstance(items[-1], exp.Anonymous) and function_name(items[-1]) == "fill":
        select.fill = fill_of(binder, items.pop())
    parts = [_group_item(binder, item, select) for item in items]
    for key, word in (("rollup", "ROLLUP"), ("cube", "CUBE"), ("grouping_sets", "GROUPING SETS")):
        for item in group.args.get(key) or ():
            inner = ", ".join(_group_item(binder, e, select) for e in item.expressions)
            parts.append(f"{word} ({inner})")
    return f" GROUP BY {', '.join(parts)}" if parts else ""


def _group_item(binder: Binder, node: exp.Expr, select: _Select) -> str:
    if isinstance(node, exp.Tuple):
        return f"({', '.join(_group_item(binder, e, select) for e in node.expressions)})"
    for kind, word in ((exp.Rollup, "ROLLUP"), (exp.Cube, "CUBE"), (exp.GroupingSets, "GROUPING SETS")):
        if isinstance(node, kind):
            return f"{word} ({', '.join(_group_item(binder, e, select) for e in node.expressions)})"
    expr = _output_or_input(binder, node, select, "GROUP BY")
    if expr.aggregate:
        raise GroupingError("aggregate functions are not allowed in GROUP BY", position=binder.position(node))
    if expr.unknown:
        expr = coerce(expr, TEXT, binder.context)
    fields = fields_of(expr)
    if fields:
        # Rows are equal when all their fields are.
        select.groups += fields
        return ", ".join(f"({f.sql})" for f in fields)
    coercion.check_equality(expr)
    select.groups.append(expr)
    # A bare number would be a position to DuckDB.
    return f"({expr.sql})" if expr.op != "literal" else f"(SELECT {expr.sql})"


def _output_or_input(binder: Binder, node: exp.Expr, select: _Select, clause: str) -> Expr:
    """GROUP BY prefers an input column to an output name, ORDER BY the other way round; a number is a position."""
    input_first = clause == "GROUP BY"
    plain = node.this if isinstance(node, exp.Paren) and input_first else node
    if isinstance(plain, exp.Literal) and not plain.args["is_string"]:
        if not plain.name.isdigit():
            raise SqlSyntaxError(f"non-integer constant in {clause}")
        if not 1 <= int(plain.name) <= len(select.targets):
            raise InvalidColumnReference(
                f"{clause} position {plain.name} is not in select list", position=binder.position(plain)
            )
        return select.targets[int(plain.name) - 1]
    if isinstance(plain, exp.Column) and plain.args.get("table") is None:
        name = fold(plain.this)
        matches = [e for e in select.targets if e.name == name]
        own = bool(select.scope.merged(name)) or any(c.name == name for r in select.scope.relations for c in r.columns)
        if matches and not (input_first and own):
            if len({e.sql for e in matches}) > 1:
                raise AmbiguousColumn(f'{clause} "{name}" is ambiguous', position=binder.position(plain))
            return matches[0]
    if input_first:
        return binder.without_aggregates(node, select.scope, "GROUP BY")
    return binder.bind(node, select.scope)


def _order(binder: Binder, node: exp.Select, select: _Select) -> list[OrderItem]:
    order = node.args.get("order")
    items: list[OrderItem] = []
    for item in order.expressions if order is not None else ():
        expr = _output_or_input(binder, item.this, select, "ORDER BY")
        sorted_by = coercion.ordered(expr)
        if sorted_by is not expr:
            if node.args.get("distinct") is not None and node.args["distinct"].args.get("on") is None:
                raise FeatureNotSupported(
                    f"SELECT DISTINCT does not order by values of type {expr.type.name} here",
                    hint="Order outside of it.",
                )
            items.append(OrderItem(sorted_by, None, bool(item.args.get("desc")), bool(item.args.get("nulls_first"))))
            continue
        at = next((i for i, e in enumerate(select.targets) if e.sql == expr.sql), None)
        if at is None:
            if node.args.get("distinct") is not None and node.args["distinct"].args.get("on") is None:
                raise InvalidColumnReference(
                    "for SELECT DISTINCT, ORDER BY expressions must appear in select list", position=expr.position
                )
            if expr.op == "literal":
                continue
        items.append(OrderItem(expr, at, bool(item.args.get("desc")), bool(item.args.get("nulls_first"))))
    return items


def _distinct_on(binder: Binder, node: exp.Select, select: _Select) -> list[Expr] | None:
    """The expressions of DISTINCT ON; None when there is none."""
    distinct = node.args.get("distinct")
    on = distinct.args.get("on") if distinct is not None else None
    if on is None:
        return None
    parts = on.expressions if isinstance(on, exp.Tuple) else [on]
    return [coercion.ordered(_output_or_input(binder, p, select, "DISTINCT ON")) for p in parts]


def _checked(exprs: Sequence[Expr], select: _Select) -> str:
    """Look at what a grouped query says outside of aggregates; what depends on its key goes behind GROUP BY's text."""
    named = len(select.groups)
    for expr in exprs:
        _check_grouped(expr, select)
    return "".join(f", ({dependent.sql})" for dependent in select.groups[named:])


def _check_grouped(expr: Expr, select: _Select) -> None:
    """Every column of this query stands in GROUP BY or inside an aggregate."""
    if expr.op == "aggregate" or any(expr.sql == g.sql for g in select.groups):
        return
    if isinstance(expr.value, ColumnReference):
        relation = expr.value.relation
        own = relation in select.scope.relations and not _key_is_grouped(expr, select)
        if own and select.plain and depends(relation, select.groups):
            select.groups.append(expr)
            return
        if own:
            name = relation.columns[expr.value.index].name
            shown = f"{relation.name}.{name}" if not relation.name.startswith("?") else name
            raise GroupingError(
                f'column "{shown}" must appear in the GROUP BY clause or be used in an aggregate function',
                position=expr.position,
            )
    for arg in expr.args:
        _check_grouped(arg, select)


def _key_is_grouped(expr: Expr, select: _Select) -> bool:
    return any(replace(g, position=None) == replace(expr, position=None) for g in select.groups)
