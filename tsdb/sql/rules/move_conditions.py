"""Each conjunct goes to the scan whose columns alone it reads, through subqueries that do nothing but rename.

Not moved: a WHERE's conjunct onto the side of an outer join that may be missing (it would make NULL rows that the WHERE
then lets pass), anything into a query with LIMIT, grouping, windows or DISTINCT, and into a CTE that is used twice.
"""

from __future__ import annotations

from dataclasses import replace

from tsdb.sql.expressions.block import Block
from tsdb.sql.expressions.expression import ColumnReference, Expr
from tsdb.sql.expressions.relation import Relation
from tsdb.sql.plan import Plan, PlannedScan, Undecided, column_of, relations_of

_MAX_DEPTH = 20


def move_conditions(plan: Plan) -> Plan:
    found: dict[Relation, list[Expr]] = {}
    for block in plan.blocks:
        for condition in block.conditions:
            relation = _only_relation(condition.expr)
            if relation is None or relation not in block.relations:
                continue
            if relation is condition.only or (condition.only is None and not relation.nullable):
                _move(relation, condition.expr, found, 0)
    scans = tuple(_with(scan, found) for scan in plan.scans)
    rules = (*plan.rules, "move_conditions") if found else plan.rules
    return replace(plan, scans=scans, rules=rules)


def _with(scan: PlannedScan, found: dict[Relation, list[Expr]]) -> PlannedScan:
    return replace(scan, conditions=(*scan.conditions, *found.get(scan.relation, ())))


def _only_relation(expr: Expr) -> Relation | None:
    try:
        relations = relations_of(expr)
    except Undecided:
        return None
    return relations.pop() if len(relations) == 1 else None


def _move(relation: Relation, expr: Expr, found: dict[Relation, list[Expr]], depth: int) -> None:
    if relation.source is not None:
        found.setdefault(relation, []).append(expr)
        return
    for branch in relation.branches:
        _move_into(branch, expr, found, depth)
    block = relation.block
    shared = relation.table is not None and relation.table.references != 1
    if block is None or not block.transparent or shared or depth >= _MAX_DEPTH:
        return
    _move_into(block, expr, found, depth)


def _move_into(block: Block, expr: Expr, found: dict[Relation, list[Expr]], depth: int) -> None:
    inside = _inside(expr, block)
    if inside is None:
        return
    inner = _only_relation(inside)
    if inner is not None and inner in block.relations and not inner.nullable:
        _move(inner, inside, found, depth + 1)


def _inside(expr: Expr, block: Block) -> Expr | None:
    """The condition in the subquery's own columns; None when one of them is not a plain column there."""
    reference = column_of(expr)
    if reference is not None:
        return _target(reference, block)
    args = []
    for arg in expr.args:
        inside = _inside(arg, block)
        if inside is None:
            return None
        args.append(inside)
    return replace(expr, args=tuple(args))


def _target(reference: ColumnReference, block: Block) -> Expr | None:
    target = block.outputs[reference.index].expr
    return target if target is not None and column_of(target) is not None else None
