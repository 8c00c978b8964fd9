"""The name of a column of a query that nobody has named. Source: PostgreSQL 15, parse_target.c (FigureColname)."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from tsdb.errors import TsdbError
from tsdb.sql import trees, type_names

UNNAMED = "?column?"
_WRAPPERS = (exp.Paren, exp.Filter, exp.Window, exp.WithinGroup, exp.Collate, exp.Bracket)
_FIXED: Mapping[type[exp.Expr], str] = {
    exp.Exists: "exists", exp.Array: "array", exp.Extract: "extract", exp.AtTimeZone: "timezone",
    exp.StrPosition: "position", exp.Substring: "substring", exp.Overlay: "overlay", exp.Boolean: "bool",
    exp.CurrentTimestamp: "current_timestamp", exp.CurrentDate: "current_date", exp.CurrentUser: "current_user",
    exp.Localtimestamp: "localtimestamp", exp.CurrentTime: "current_time", exp.Localtime: "localtime",
}  # fmt: skip
_TRIMS = {"LEADING": "ltrim", "TRAILING": "rtrim"}


def output_name(node: exp.Expr) -> str:
    return _figured(node)[0] or UNNAMED


def _figured(node: exp.Expr) -> tuple[str, int]:
    """The name and how strong it is: 2 a column's or a function's, 1 a type's or CASE's, 0 none."""
    if isinstance(node, exp.Alias):
        return trees.name_of(node.args["alias"]), 2
    if isinstance(node, exp.Column):
        return trees.name_of(node.this), 2
    if isinstance(node, exp.Anonymous):
        return trees.name_of(node) if isinstance(node.this, exp.Expr) else str(node.this).lower(), 2
    if isinstance(node, exp.Dot):
        return _figured(node.expression) if not isinstance(node.expression, exp.Identifier) else (
            trees.name_of(node.expression), 2)  # fmt: skip
    if isinstance(node, _WRAPPERS):
        return _figured(node.this)
    if isinstance(node, exp.Cast):
        return _of_cast(node)
    if isinstance(node, exp.Case):
        default = node.args.get("default")
        name, strength = _figured(default) if default is not None else ("", 0)
        return (name, strength) if strength > 1 else ("case", 1)
    if isinstance(node, exp.Subquery):
        of = node.this
        return _figured(of.expressions[0]) if isinstance(of, exp.Select) and of.expressions else ("", 0)
    if isinstance(node, exp.Trim):
        return _TRIMS.get(str(node.args.get("position") or "").upper(), "btrim"), 2
    fixed = _FIXED.get(type(node))
    return (fixed, 1 if fixed == "bool" else 2) if fixed is not None else ("", 0)


def _of_cast(node: exp.Cast) -> tuple[str, int]:
    name, strength = _figured(node.this)
    if strength > 1:
        return name, strength
    try:
        kind, _ = type_names.of_node(node.args["to"])
    except TsdbError:
        return "", 0
    return (kind.element or kind).typname, 1
