"""The plan: DuckDB's text and what each scan reads. Rules (``rules``) take a plan to a plan; a run fills in values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tsdb.model.store import FieldBound, Newest, TagMatch, TimeRange
from tsdb.sql.aggregation.plan import Partial, ScanAggregate
from tsdb.sql.expressions.block import Block, Output
from tsdb.sql.expressions.expression import ColumnReference, Expr, Parameter
from tsdb.sql.expressions.relation import Relation, Source
from tsdb.sql.newest.plan import FirstRows, Widening
from tsdb.sql.pace import Pace
from tsdb.sql.selection.plan import ScanSelection

Values = Callable[[Expr], object]
"""The value of a constant expression when the statement runs, in ``literal``'s form. Raises Undecided."""


class Undecided(Exception):
    """A value or a condition that is not known before the statement runs in DuckDB: nothing is pruned by it."""


@dataclass(frozen=True, slots=True)
class PlannedScan:
    """A scan. ``conditions`` are conjuncts on its columns alone; ``ranges``, ``tags`` and ``bounds`` make of them what
    storage can use once the values are known. ``newest``: which of the rows that these leave the statement needs."""

    source: Source
    relation: Relation
    columns: tuple[int | str, ...] = ()
    conditions: tuple[Expr, ...] = ()
    ranges: tuple[Callable[[Values], TimeRange], ...] = ()
    tags: tuple[Callable[[Values], TagMatch], ...] = ()
    bounds: tuple[Callable[[Values], FieldBound], ...] = ()
    newest: Callable[[Values], Newest] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """``sql`` has markers for parameters and for now(); ``rules`` are the names of those that changed something.
    ``aggregate``, ``selection`` or ``first_rows`` is the same statement without DuckDB, when it can be answered so;
    ``partial``: with kernels for a part of it. ``widening``: it may be answered from the newest part of its range
    alone. ``pace`` is what is known of how long its statements take."""

    sql: str
    outputs: tuple[Output, ...]
    parameters: tuple[Parameter, ...]
    sources: tuple[Source, ...]
    blocks: tuple[Block, ...]
    scans: tuple[PlannedScan, ...] = ()
    rules: tuple[str, ...] = ()
    aggregate: ScanAggregate | None = None
    partial: Partial | None = None
    selection: ScanSelection | None = None
    first_rows: FirstRows | None = None
    widening: Widening | None = None
    pace: Pace = field(default_factory=Pace, compare=False, repr=False)

    @property
    def needs_duckdb(self) -> bool:
        """Whether no run of it is without DuckDB."""
        ways = (self.aggregate, self.selection, self.first_rows, self.widening)
        return all(way is None for way in ways)


def column_of(expr: Expr) -> ColumnReference | None:
    return expr.value if expr.op == "column" and isinstance(expr.value, ColumnReference) else None


def is_constant(expr: Expr) -> bool:
    """Whether neither rows nor chance nor a subquery decide the value."""
    return expr.stable and all(
        e.op not in ("column", "subquery", "aggregate", "window", "set", "order") for e in expr.walk()
    )


def relations_of(expr: Expr) -> set[Relation]:
    """The relations whose columns an expression reads; a subquery may read any, so it raises Undecided."""
    found: set[Relation] = set()
    for each in expr.walk():
        if each.op in ("subquery", "aggregate", "window", "set") or not each.stable:
            raise Undecided
        if isinstance(each.value, ColumnReference):
            found.add(each.value.relation)
    return found


def both_sides(expr: Expr) -> Sequence[tuple[Expr, str, Expr]]:
    """A comparison as (column side, operator, other side), turned round when the column is on the right."""
    if len(expr.args) != 2:
        return ()
    left, right = expr.args
    turned = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
    if column_of(left) is not None:
        return ((left, expr.op, right),)
    if column_of(right) is not None:
        return ((right, turned.get(expr.op, expr.op), left),)
    return ()
