"""The way from a SELECT's only relation through plain views and subqueries to the series that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tsdb.model.schema import Role
from tsdb.sql.expressions.block import Block
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.expressions.relation import Relation
from tsdb.sql.plan import Plan, PlannedScan, column_of
from tsdb.sql.rules.exact import is_exact
from tsdb.sql.rules.prune_by_time import clock

_MAX_DEPTH = 20


class Unfit(Exception):
    """The statement is none of those that need few rows: it is answered as any other."""


@dataclass(frozen=True, slots=True)
class Path:
    """``blocks`` are passed from the SELECT itself inwards, ``at`` is the scan's place in the plan."""

    blocks: tuple[Block, ...]
    scan: PlannedScan
    at: int

    def resolve(self, expr: Expr) -> Expr:
        """An expression over the SELECT's relation in the scan's own columns. Raises Unfit.

        What else it names (columns of queries around) stays as it is.
        """
        return self._resolve(expr, 0)

    def _resolve(self, expr: Expr, depth: int) -> Expr:
        if expr.op in ("subquery", "window", "set") or not expr.stable:
            raise Unfit
        reference = column_of(expr)
        if reference is None:
            args = tuple(self._resolve(arg, depth) for arg in expr.args)
            return expr if args == expr.args else replace(expr, args=args)
        for passed in range(depth, len(self.blocks) - 1):
            if reference.relation is self.blocks[passed].relations[0]:
                target = self.blocks[passed + 1].outputs[reference.index].expr
                if target is None:
                    raise Unfit
                return self._resolve(target, passed + 1)
        return expr

    def is_own(self, expr: Expr) -> bool:
        """Whether a resolved column is the scan's."""
        reference = column_of(expr)
        return reference is not None and reference.relation is self.scan.relation

    def tag(self, expr: Expr) -> int | None:
        """The number of the tag that a resolved column is."""
        reference = column_of(expr)
        if reference is None or not self.is_own(expr):
            return None
        column = reference.relation.columns[reference.index].series_column
        return column.number if column is not None and column.role is Role.TAG else None

    def tags(self, expr: Expr) -> tuple[int, ...]:
        """The tags that a resolved expression reads; Unfit if it reads anything else of the scan."""
        found = []
        for each in expr.walk():
            if each.op == "aggregate":
                raise Unfit
            if self.is_own(each):
                number = self.tag(each)
                if number is None:
                    raise Unfit
                found.append(number)
        return tuple(dict.fromkeys(found))

    def is_time(self, expr: Expr) -> bool:
        """Whether a resolved expression is the scan's time column."""
        return self.is_own(expr) and clock(expr) is False

    def is_time_ns(self, expr: Expr) -> bool:
        return self.is_own(expr) and clock(expr) is True

    def equals(self) -> tuple[int, ...]:
        """The tags that conditions tie to values of queries around. Raises Unfit if a condition is none that the scan
        decides exactly: then rows that it lets pass are left out later, and others would take their place."""
        tied: list[int] = []
        for depth, block in enumerate(self.blocks):
            for condition in block.conditions:
                expr = self._resolve(condition.expr, depth)
                if is_exact(expr) and expr in self.scan.conditions:
                    continue
                tied.append(self._tied(expr))
        return tuple(dict.fromkeys(tied))

    def _tied(self, expr: Expr) -> int:
        if expr.op != "=" or len(expr.args) != 2:
            raise Unfit
        for mine, other in (expr.args, expr.args[::-1]):
            number = self.tag(mine)
            if number is not None and not any(self.is_own(each) for each in other.walk()):
                if any(each.op in ("aggregate", "subquery") for each in other.walk()):
                    raise Unfit
                return number
        raise Unfit


def path_of(block: Block, plan: Plan) -> Path:
    """Raises Unfit when the SELECT does not read one series and nothing else."""
    blocks = [block]
    for _ in range(_MAX_DEPTH):
        if len(blocks[-1].relations) != 1:
            raise Unfit
        relation = blocks[-1].relations[0]
        if relation.nullable:
            raise Unfit
        if relation.source is not None:
            return Path(tuple(blocks), *_scan_of(relation, plan.scans))
        shared = relation.table is not None and relation.table.references != 1
        if relation.block is None or shared or not relation.block.transparent:
            raise Unfit
        blocks.append(relation.block)
    raise Unfit


def _scan_of(relation: Relation, scans: Sequence[PlannedScan]) -> tuple[PlannedScan, int]:
    for at, scan in enumerate(scans):
        series, part = scan.source.series, scan.source.part
        # What a continuous view reads is cut into spans of time once more when it runs.
        if scan.relation is relation and series is not None and part is None:
            if series.time is None or series.reference:
                break
            return scan, at
    raise Unfit
