"""Queries as text. Source: PostgreSQL 15, ruleutils.c (get_query_def and what it calls)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tsdb.sql.deparse.naming import is_aliased, name_ranges
from tsdb.sql.deparse.nodes import Item, Join, Named, Node, Query, Range, SetOperation, Target, Unprintable, Var
from tsdb.sql.deparse.output_names import UNNAMED
from tsdb.sql.deparse.write_expressions import (
    write,
    write_grouped,
    write_order,
    write_window,
    writes_queries,
)  # fmt: skip
from tsdb.sql.deparse.writer import JOIN_STEP, PART_STEP, STEP, Writer


def write_view(query: Query, names: Sequence[str], w: Writer) -> None:
    """A view's query; ``names`` are the columns' names as the view has them."""
    _query(query, w, True, names)


@writes_queries
def _inside(query: Query, w: Writer, names_matter: bool) -> None:
    """A query inside another, at the level where that one is."""
    level = w.level
    _query(query, w, names_matter, None)
    w.level = level


def _query(query: Query, w: Writer, names_matter: bool, names: Sequence[str] | None) -> None:
    outer = w.taken
    w.taken = name_ranges(query, outer)
    _with(query, w)
    if query.operation is not None:
        _set_operation(query.operation, query, w, names_matter, names)
    else:
        _basic(query, w, names_matter, names)
    if query.order:
        w.keyword(" ORDER BY ", -STEP, STEP, 1)
        write_order(query.order, w, by_place=query.operation is not None)
    _limits(query, w)
    w.taken = outer


def _limits(query: Query, w: Writer) -> None:
    if query.offset is not None:
        w.keyword(" OFFSET ", -STEP, STEP, 0)
        write(query.offset, w, False)
    if query.limit is not None and query.with_ties:
        w.keyword(" FETCH FIRST ", -STEP, STEP, 0)
        w.add("(")
        write(query.limit, w, False)
        w.add(") ROWS WITH TIES")
    elif query.limit is not None:
        w.keyword(" LIMIT ", -STEP, STEP, 0)
        write(query.limit, w, False)


def _with(query: Query, w: Writer) -> None:
    if not query.named:
        return
    if w.indented:
        w.level += STEP
        w.add(" ")
    word = "WITH RECURSIVE " if query.recursive else "WITH "
    for each in query.named:
        w.add(word)
        word = ", "
        _named(each, w)
    if w.indented:
        w.level -= STEP
        w.keyword("", 0, 0, 0)
    else:
        w.add(" ")


def _named(each: Named, w: Writer) -> None:
    w.add(w.quote(each.name))
    if each.columns:
        w.add(f"({', '.join(map(w.quote, each.columns))})")
    w.add({None: " AS (", True: " AS MATERIALIZED (", False: " AS NOT MATERIALIZED ("}[each.materialized])
    if w.indented:
        w.keyword("", 0, 0, 0)
    _inside(each.query, w, True)
    if w.indented:
        w.keyword("", 0, 0, 0)
    w.add(")")


# --- SELECT and VALUES ---


def _basic(query: Query, w: Writer, names_matter: bool, names: Sequence[str] | None) -> None:
    if w.indented:
        w.level += STEP
        w.add(" ")
    if query.values:
        _values(query.values, w)
        return
    w.add("SELECT")
    if query.distinct_on:
        w.add(" DISTINCT ON (")
        _grouped(query.distinct_on, w)
        w.add(")")
    elif query.distinct:
        w.add(" DISTINCT")
    _targets(query.targets, w, names_matter, names)
    _from(query, w)
    if query.where is not None:
        w.keyword(" WHERE ", -STEP, STEP, 1)
        write(query.where, w, False)
    if query.groups:
        w.keyword(" GROUP BY ", -STEP, STEP, 1)
        _grouped(query.groups, w)
    if query.having is not None:
        w.keyword(" HAVING ", -STEP, STEP, 0)
        write(query.having, w, False)
    for i, spec in enumerate(query.windows):
        w.add(", ") if i else w.keyword(" WINDOW ", -STEP, STEP, 1)
        w.add(f"{w.quote(spec.name)} AS ")
        write_window(replace(spec, name=""), w)


def _grouped(nodes: Sequence[Node], w: Writer) -> None:
    for i, each in enumerate(nodes):
        if i:
            w.add(", ")
        write_grouped(each, w)


def _values(rows: Sequence[tuple[Node, ...]], w: Writer) -> None:
    w.add("VALUES ")
    for i, row in enumerate(rows):
        w.add(", (" if i else "(")
        for k, value in enumerate(row):
            if k:
                w.add(",")
            write(value, w, False)
        w.add(")")


def _targets(targets: Sequence[Target], w: Writer, names_matter: bool, names: Sequence[str] | None) -> None:
    """get_target_list: each item on a line of its own."""
    separator = " "
    for i, target in enumerate(targets):
        w.add(separator)
        separator = ", "
        name = names[i] if names is not None else target.name

        def item(target: Target = target, name: str = name) -> None:
            write(target.of, w)
            known = target.of.name if isinstance(target.of, Var) else None if names_matter else UNNAMED
            if known != name:
                w.add(f" AS {w.quote(name)}")

        text = w.apart(item)
        if w.indented:
            if text.startswith("\n"):
                w.cut_spaces()
            elif i:
                w.keyword("", -STEP, STEP, PART_STEP)
        w.add(text)


# --- FROM ---


def _from(query: Query, w: Writer) -> None:
    for i, item in enumerate(query.items):
        if not i:
            w.keyword(" FROM ", -STEP, STEP, 2)
            _item(item, w)
            continue
        w.add(", ")
        text = w.apart(lambda item=item: _item(item, w))  # type: ignore[misc]
        if w.indented:
            if text.startswith("\n"):
                w.cut_spaces()
            else:
                w.keyword("", -STEP, STEP, PART_STEP)
        w.add(text)


def _item(item: Item, w: Writer) -> None:
    if isinstance(item, Join):
        _join(item, w)
        return
    if item.lateral:
        w.add("LATERAL ")
    if item.kind == "subquery":
        assert item.query is not None
        w.add("(")
        _inside(item.query, w, True)
        w.add(")")
    elif item.kind == "function":
        assert item.call is not None
        write(item.call, w)
    elif item.kind == "cte":
        w.add(w.quote(item.text))
    else:
        w.add(item.text)
    if is_aliased(item):
        _alias(item, w)


def _alias(item: Range, w: Writer) -> None:
    if not item.name:
        raise Unprintable("a range without a name")
    w.add(f" {w.quote(item.name)}")
    if item.shown:
        w.add(f"({', '.join(w.quote(name) for name, *_ in item.columns)})")


def _join(join: Join, w: Writer) -> None:
    if not w.pretty:
        w.add("(")
    _item(join.left, w)
    w.keyword(f" {join.word} ", -STEP, STEP, JOIN_STEP)
    nested = w.pretty and isinstance(join.right, Join)
    w.add("(" if nested else "")
    _item(join.right, w)
    w.add(")" if nested else "")
    if join.using:
        w.add(f" USING ({', '.join(map(w.quote, join.using))})")
    elif join.condition is not None:
        w.add(" ON ")
        if not w.pretty:
            w.add("(")
        write(join.condition, w, False)
        if not w.pretty:
            w.add(")")
    if not w.pretty:
        w.add(")")


# --- set operations ---


def _set_operation(
    of: SetOperation | Query, query: Query, w: Writer, names_matter: bool, names: Sequence[str] | None
) -> None:
    if isinstance(of, Query):
        own = bool(of.named or of.order or of.limit is not None or of.offset is not None)
        w.add("(" if own else "")
        level = w.level
        _query(of, w, names_matter, names)
        w.level = level
        w.add(")" if own else "")
        return
    nested = isinstance(of.left, SetOperation) and of.left.word != of.word
    step = STEP if nested else 0
    if nested:
        w.add("(")
        w.keyword("", step, 0, 0)
    _set_operation(of.left, query, w, names_matter, names)
    if nested:
        w.keyword(") ", -step, 0, 0)
    elif w.indented:
        w.keyword("", -step, 0, 0)
    else:
        w.add(" ")
    w.add(f"{of.word} ")
    nested = isinstance(of.right, SetOperation)
    step = STEP if nested else 0
    w.add("(" if nested else "")
    w.keyword("", step, 0, 0)
    _set_operation(of.right, query, w, False, names)
    if w.indented:
        w.level -= step
    if nested:
        w.keyword(")", 0, 0, 0)
