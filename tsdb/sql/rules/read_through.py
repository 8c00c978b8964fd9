"""A SELECT whose rows are those of one scan, seen through views and subqueries that only name columns and filter."""

from __future__ import annotations

from dataclasses import replace

from tsdb.sql.expressions.block import Block
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.plan import Plan, column_of


class NotPlain(Exception):
    """A view's column is more than a column of the series."""


def blocks_to_the_scan(plan: Plan) -> list[Block] | None:
    """From the statement's own block to the one that reads the scan; None if there is more in the statement."""
    outer = next((b for b in plan.blocks if b.grouping is not None and b.grouping.sql == plan.sql), None)
    if outer is None or len(plan.scans) != 1 or len(plan.sources) != 1:
        return None
    blocks = [outer]
    while True:
        relations = blocks[-1].relations
        if len(relations) != 1 or relations[0].nullable or relations[0].branches:
            return None
        (relation,) = relations
        if relation.source is not None:
            whole = relation is plan.scans[0].relation and len(blocks) == len(plan.blocks)
            return blocks if whole else None
        shared = relation.table is not None and relation.table.references != 1
        if relation.block is None or not relation.block.transparent or shared:
            return None
        blocks.append(relation.block)


def of_the_scan(expr: Expr, blocks: list[Block]) -> Expr:
    """An expression with its columns as the scan has them; its text stays as it is. Raises NotPlain."""
    found = expr
    for block in blocks[1:]:
        found = _inside(found, block)
    return found


def _inside(expr: Expr, block: Block) -> Expr:
    reference = column_of(expr)
    if reference is None:
        return replace(expr, args=tuple(_inside(arg, block) for arg in expr.args))
    target = block.outputs[reference.index].expr
    inner = None if target is None else column_of(target)
    if target is None or inner is None or target.type != expr.type:
        raise NotPlain
    return replace(expr, value=inner)
