"""Columns of one series, with conditions that can be decided value by value, are read without DuckDB (``selection``).

Conditions on the time and on one tag are the scan's, exactly; those on one numeric field are decided row by row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tsdb.model.schema import Column, Role
from tsdb.sql.expressions.choice import Choice
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.plan import Plan, PlannedScan, Undecided, Values, column_of, is_constant
from tsdb.sql.rules.comparison import sides
from tsdb.sql.rules.exact import is_exact
from tsdb.sql.selection.matches import FieldMatch, of_floats, of_integers
from tsdb.sql.selection.plan import ScanSelection
from tsdb.types import NUMERIC, REFERENCES, TIMESTAMPTZ, Kind, SqlType

_INTEGERS = ("int2", "int4", "int8")
_COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")
Match = Callable[[Values], FieldMatch]


def select_from_the_scan(plan: Plan) -> Plan:
    if len(plan.blocks) != 1 or len(plan.scans) != 1 or len(plan.sources) != 1 or plan.aggregate is not None:
        return plan
    block, scan = plan.blocks[0], plan.scans[0]
    choice = block.choice
    if choice is None or choice.sql != plan.sql or [scan.relation] != block.relations or not _is_plain(choice):
        return plan
    series = scan.source.series
    if series is None or series.reference or scan.source.part is not None or scan.newest is not None:
        return plan
    if any(c.expr not in scan.conditions for c in block.conditions):
        return plan
    matches: list[Match] = []
    for condition in block.conditions:
        found = _matches(condition.expr)
        if found is None:
            return plan
        matches += found
    outputs = [_output(target, scan) for target in choice.targets]
    keys = tuple(key for key in outputs if key is not None)
    if not keys or len(keys) < len(outputs):
        return plan
    made = ScanSelection(keys, tuple(matches), choice.limit, choice.offset)
    return replace(plan, selection=made, rules=(*plan.rules, "select_from_the_scan"))


def _is_plain(choice: Choice) -> bool:
    """Whether it gives its rows one by one, in any order."""
    chosen = choice.on is not None or choice.distinct or choice.grouped or choice.having is not None or choice.order
    constants = [each for each in (choice.limit, choice.offset) if each is not None]
    return not chosen and all(map(is_constant, constants))


def _output(target: Expr, scan: PlannedScan) -> int | str | None:
    """The scan's key of a column that is shown as the scan gives it; None for anything else."""
    reference = column_of(target)
    if reference is None or reference.relation is not scan.relation:
        return None
    column = reference.relation.columns[reference.index]
    if (
        column.key is None
        or target.shown is not None
        or target.sql != f"{scan.relation.alias}.{_name(scan, column.key)}"
    ):
        return None
    return column.key if _is_given(column.type) and _is_same(column.series_column) else None


def _name(scan: PlannedScan, key: int | str) -> str:
    return f"c{scan.source.columns.index(key) + 1}" if key in scan.source.columns else ""


def _is_given(sql_type: SqlType) -> bool:
    """Whether a scan's values of the type are a result's."""
    inner = sql_type.element or sql_type
    return inner != NUMERIC and inner not in REFERENCES and inner.labels is None and inner.kind is not Kind.UINT8


def _is_same(column: Column | None) -> bool:
    return column is None or column.role is not Role.TIME or column.type == TIMESTAMPTZ


def _matches(expr: Expr) -> list[Match] | None:
    """What is left to decide of a condition after the scan has; None when that cannot be decided here."""
    if is_exact(expr):
        return []
    if expr.op == "and":
        parts = [_comparison(arg) for arg in expr.args]
        return None if None in parts else [part for part in parts if part is not None]
    found = _comparison(expr)
    return None if found is None else [found]


def _comparison(expr: Expr) -> Match | None:
    if expr.op not in _COMPARISONS:
        return None
    for side, operator, other in sides(expr):
        reference = column_of(side)
        assert reference is not None
        stored = reference.relation.columns[reference.index].series_column
        if stored is None or stored.role is not Role.FIELD or not is_constant(other):
            return None
        integer = stored.kind is Kind.INT8 and stored.type.typname in _INTEGERS
        if not integer and not (stored.kind is Kind.FLOAT8 and stored.type.typname == "float8"):
            return None
        return _match(stored.number, operator, other, integer=integer)
    return None


def _match(number: int, operator: str, other: Expr, *, integer: bool) -> Match:
    def made(values: Values) -> FieldMatch:
        found = (of_integers if integer else of_floats)(number, operator, values(other))
        if found is None:
            raise Undecided
        return found

    return made
