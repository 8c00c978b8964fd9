"""Nodes as text. Source: PostgreSQL 15, ruleutils.c (get_rule_expr, isSimpleNode, get_const_expr)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from tsdb.sql.deparse import facts
from tsdb.sql.deparse.nodes import (
    AnyOf,
    Call,
    Case,
    Cast,
    Collated,
    Const,
    Distinct,
    Frame,
    Listed,
    Logic,
    Node,
    Operation,
    Query,
    Sort,
    Special,
    SubLink,
    Subscript,
    Test,
    Unprintable,
    Var,
    WindowSpec,
    Word,
)  # fmt: skip
from tsdb.sql.deparse.writer import PART_STEP, Writer

_SIMPLE = (Var, Const, Subscript, Listed, Call, Special, Word, Case)
_OWN_PARENTHESES = (Logic, Subscript, Listed, Call, Case)
_FRACTION = re.compile(r"[0-9]+\.[0-9]*")
_HIGH, _LOW = ("*", "/", "%"), ("+", "-")
WriteQuery = Callable[[Query, Writer, bool], None]


def write(node: Node, w: Writer, implicit: bool = True) -> None:
    """``implicit``: casts that nobody wrote are shown."""
    _WRITERS[type(node)](node, w, implicit)


def _inner(node: Node, w: Writer, implicit: bool, parent: Node) -> None:
    """In parentheses where a pretty text needs them."""
    if w.pretty and not _is_simple(node, parent):
        w.add("(")
        write(node, w, implicit)
        w.add(")")
    else:
        write(node, w, implicit)


def _is_simple(node: Node, parent: Node) -> bool:
    if isinstance(node, Collated):
        return isinstance(parent, Collated) is False and _is_simple(node.of, node)
    if isinstance(node, Cast):
        return node.by_function or _is_simple(node.of, node)
    if isinstance(node, _SIMPLE):
        return True
    if isinstance(node, Operation) and isinstance(parent, Operation):
        return _binds_tighter(node, parent)
    if isinstance(node, Logic):
        if isinstance(parent, Logic):
            return parent.word in ("AND", "OR") if node.word in ("NOT", "AND") else parent.word == "OR"
        return isinstance(parent, _OWN_PARENTHESES)
    if isinstance(node, Operation | SubLink | Test | Distinct):
        return isinstance(parent, _OWN_PARENTHESES)
    return False


def _binds_tighter(node: Operation, parent: Operation) -> bool:
    if node.left is None or parent.left is None:
        return False
    if node.name not in (*_HIGH, *_LOW) or parent.name not in (*_HIGH, *_LOW):
        return False
    if node.name in _HIGH and parent.name in _LOW:
        return True
    if node.name in _LOW and parent.name in _HIGH:
        return False
    return node is parent.left


def _opened(w: Writer) -> None:
    if not w.pretty:
        w.add("(")


def _closed(w: Writer) -> None:
    if not w.pretty:
        w.add(")")


# --- names and constants ---


def _var(node: Var, w: Writer, implicit: bool) -> None:
    if w.qualified and node.table is not None and node.table.name:
        w.add(f"{w.quote(node.table.name)}.")
    w.add(w.quote(node.name))


def literal(text: str) -> str:
    """A string constant (simple_quote_literal): standard_conforming_strings is on."""
    return "'" + text.replace("'", "''") + "'"


def write_constant(node: Const, w: Writer, show_type: int = 0) -> None:
    """``show_type``: −1 never, 0 where it is needed, 1 always."""
    text = node.text
    if text is None:
        w.add("NULL")
        if show_type >= 0:
            w.add(f"::{w.format_type(node.type, node.typmod)}")
        return
    label = True
    if node.type == facts.BOOL or (node.type == facts.INT4 and not text.startswith("-")):
        w.add(text)
        label = False
    elif node.type == facts.NUMERIC and _FRACTION.fullmatch(text) is not None:
        w.add(text)
        label = node.typmod >= 0
    else:
        w.add(literal(text))
        label = node.type != facts.UNKNOWN
    if show_type > 0 or (label and show_type == 0):
        w.add(f"::{w.format_type(node.type, node.typmod)}")


def _const(node: Const, w: Writer, implicit: bool) -> None:
    write_constant(node, w)


def _word(node: Word, w: Writer, implicit: bool) -> None:
    w.add(node.text)


def _cast(node: Cast, w: Writer, implicit: bool) -> None:
    if node.implicit and not implicit:
        _inner(node.of, w, False, node)
        return
    if isinstance(node.of, Const) and node.of.type == node.type and node.of.typmod == -1:
        write_constant(node.of, w, -1)
    else:
        _opened(w)
        _inner(node.of, w, False, node)
        _closed(w)
    w.add(f"::{w.format_type(node.type, node.typmod)}")


# --- operators and logic ---


def _operation(node: Operation, w: Writer, implicit: bool) -> None:
    _opened(w)
    if node.left is not None:
        _inner(node.left, w, True, node)
        w.add(f" {node.name} ")
    else:
        w.add(f"{node.name} ")
    _inner(node.right, w, True, node)
    _closed(w)


def _logic(node: Logic, w: Writer, implicit: bool) -> None:
    _opened(w)
    if node.word == "NOT":
        w.add("NOT ")
    for i, item in enumerate(node.items):
        if i:
            w.add(f" {node.word} ")
        _inner(item, w, False, node)
    _closed(w)


def _test(node: Test, w: Writer, implicit: bool) -> None:
    _opened(w)
    _inner(node.of, w, "NULL" in node.words, node)
    w.add(f" {node.words}")
    _closed(w)


def _distinct(node: Distinct, w: Writer, implicit: bool) -> None:
    _opened(w)
    _inner(node.left, w, True, node)
    w.add(" IS DISTINCT FROM ")
    _inner(node.right, w, True, node)
    _closed(w)


def _any_of(node: AnyOf, w: Writer, implicit: bool) -> None:
    _opened(w)
    _inner(node.left, w, True, node)
    w.add(f" {node.name} {'ALL' if node.every else 'ANY'} (")
    _inner(node.right, w, True, node)
    w.add(")")
    _closed(w)


# --- calls ---


def _arguments(nodes: Sequence[Node], w: Writer, implicit: bool = True) -> None:
    for i, each in enumerate(nodes):
        if i:
            w.add(", ")
        write(each, w, implicit)


def _call(node: Call, w: Writer, implicit: bool) -> None:
    w.add(f"{w.quote(node.name)}(")
    if node.distinct:
        w.add("DISTINCT ")
    w.add("*") if node.star else _arguments(node.arguments, w)
    if node.order:
        w.add(" ORDER BY ")
        write_order(node.order, w)
    if node.within_group:
        w.add(") WITHIN GROUP (ORDER BY ")
        write_order(node.within_group, w)
    w.add(")")
    if node.condition is not None:
        w.add(" FILTER (WHERE ")
        write(node.condition, w, False)
        w.add(")")
    if node.over is not None:
        w.add(" OVER ")
        if node.over.name:
            w.add(w.quote(node.over.name))
        else:
            write_window(node.over, w)


def _special(node: Special, w: Writer, implicit: bool) -> None:
    parts, form = node.arguments, node.form
    if form == "extract":
        w.add(f"EXTRACT({node.word} FROM ")
        write(parts[0], w, False)
    elif form == "at time zone":
        w.add("(")
        _inner(parts[0], w, False, node)
        w.add(" AT TIME ZONE ")
        _inner(parts[1], w, False, node)
    elif form == "position":
        w.add("POSITION(")
        _position_part(parts[0], w)
        w.add(" IN ")
        _position_part(parts[1], w)
    elif form == "trim":
        w.add(f"TRIM({node.word}")
        if len(parts) > 1:
            w.add(" ")
            write(parts[1], w, False)
        w.add(" FROM ")
        write(parts[0], w, False)
    else:
        words = {"substring": (" FROM ", " FOR "), "overlay": (" PLACING ", " FROM ", " FOR ")}[form]
        w.add(f"{form.upper()}(")
        for i, part in enumerate(parts):
            if i:
                w.add(words[i - 1])
            write(part, w, False)
    w.add(")")


def _position_part(node: Node, w: Writer) -> None:
    """Its grammar takes no expression without parentheses."""
    w.add("(")
    write(node, w, False)
    w.add(")")


def _listed(node: Listed, w: Writer, implicit: bool) -> None:
    w.add("ARRAY[" if node.word == "ARRAY" else f"{node.word}(")
    _arguments(node.items, w)
    w.add("]" if node.word == "ARRAY" else ")")


def _case(node: Case, w: Writer, implicit: bool) -> None:
    w.keyword("CASE", 0, PART_STEP, 0)
    if node.of is not None:
        w.add(" ")
        write(node.of, w, True)
    for condition, value in node.branches:
        if not w.indented:
            w.add(" ")
        w.keyword("WHEN ", 0, 0, 0)
        write(condition, w, False)
        w.add(" THEN ")
        write(value, w, True)
    if not w.indented:
        w.add(" ")
    w.keyword("ELSE ", 0, 0, 0)
    write(node.otherwise, w, True)
    if not w.indented:
        w.add(" ")
    w.keyword("END", -PART_STEP, 0, 0)


def _subscript(node: Subscript, w: Writer, implicit: bool) -> None:
    bare = isinstance(node.of, Var)
    w.add("" if bare else "(")
    write(node.of, w, implicit)
    w.add("" if bare else ")")
    for low, high, sliced in node.indexes:
        w.add("[")
        for bound in (low, high):
            if bound is not None:
                write(bound, w, False)
            if bound is low and sliced:
                w.add(":")
                sliced = False
        w.add("]")


def _collated(node: Collated, w: Writer, implicit: bool) -> None:
    _opened(w)
    _inner(node.of, w, implicit, node)
    w.add(f" COLLATE {w.quote(node.collation)}")
    _closed(w)


# --- orders and windows ---


def write_grouped(node: Node, w: Writer) -> None:
    """An item of GROUP BY, ORDER BY, PARTITION BY: nothing that could be read as a place or a name
    (get_rule_sortgroupclause)."""
    if isinstance(node, Const):
        write_constant(node, w, 1)
    elif isinstance(node, Var):
        write(node, w)
    elif w.pretty or isinstance(node, Call | Special) or (isinstance(node, Cast) and node.by_function):
        w.add("(")
        write(node, w)
        w.add(")")
    else:
        write(node, w)


def write_order(sorts: Sequence[Sort], w: Writer, *, by_place: bool = False) -> None:
    for i, each in enumerate(sorts):
        if i:
            w.add(", ")
        if by_place:
            w.add(str(each.position))
        else:
            write_grouped(each.of, w)
        if each.descending:
            w.add(" DESC" if each.nulls_first else " DESC NULLS LAST")
        elif each.nulls_first:
            w.add(" NULLS FIRST")


def write_window(spec: WindowSpec, w: Writer) -> None:
    w.add("(")
    if spec.partition:
        w.add("PARTITION BY ")
        for i, each in enumerate(spec.partition):
            if i:
                w.add(", ")
            write_grouped(each, w)
    if spec.order:
        w.add(" ORDER BY " if spec.partition else "ORDER BY ")
        write_order(spec.order, w)
    if spec.frame is not None:
        w.add(" " if spec.partition or spec.order else "")
        _frame(spec.frame, w)
    w.add(")")


def _frame(frame: Frame, w: Writer) -> None:
    w.add(f"{frame.unit} BETWEEN " if frame.between else f"{frame.unit} ")
    if frame.start_offset is not None:
        write(frame.start_offset, w, False)
        w.add(" ")
    w.add(frame.start)
    if frame.between:
        w.add(" AND ")
        if frame.end_offset is not None:
            write(frame.end_offset, w, False)
            w.add(" ")
        w.add(frame.end)


# --- queries in expressions ---

_query_writer: list[WriteQuery] = []


def writes_queries(writer: WriteQuery) -> WriteQuery:
    """Register what writes a query: ``write_queries``, which needs this module itself."""
    _query_writer.append(writer)
    return writer


def _sub_link(node: SubLink, w: Writer, implicit: bool) -> None:
    w.add("ARRAY(" if node.kind == "array" else "(")
    if node.left is not None:
        write(node.left, w, True)
    if node.kind == "exists":
        w.add("EXISTS ")
    elif node.kind in ("any", "all"):
        w.add(" IN " if (node.kind, node.name) == ("any", "=") else f" {node.name} {node.kind.upper()} ")
    nested = node.kind in ("exists", "any", "all")
    w.add("(" if nested else "")
    _query_writer[0](node.query, w, False)
    w.add("))" if nested else ")")


def _unwritten(node: Node, w: Writer, implicit: bool) -> None:
    raise Unprintable(type(node).__name__)


_WRITERS: dict[type[Node], Callable[..., None]] = {
    Node: _unwritten, Var: _var, Const: _const, Word: _word, Cast: _cast, Operation: _operation, Logic: _logic,
    Test: _test, Distinct: _distinct, AnyOf: _any_of, Call: _call, Special: _special, Listed: _listed, Case: _case,
    Subscript: _subscript, Collated: _collated, SubLink: _sub_link,
}  # fmt: skip
