"""ASOF JOIN: each row of the left side with the one row of the right that is nearest in time, as DuckDB writes it.

    trades AS t ASOF [LEFT] JOIN quotes AS q ON t.symbol = q.symbol AND t.time >= q.time [TOLERANCE '1 minute']
    trades ASOF [LEFT] JOIN quotes USING (symbol, time)            -- the last column is compared by >=

Equalities choose the candidates, one comparison of a left with a right column the nearest of them; conditions on the
right side alone hold before, those on the left side alone and on the distance of the two times after the choice. An
inner join drops what does not hold then; a left join shows NULLs: each column of the right side is a CASE (``guard``).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from tsdb.errors import FeatureNotSupported, SqlSyntaxError
from tsdb.sql.bind.binder import Binder
from tsdb.sql.bind.calls import special
from tsdb.sql.bind.operators import compare, operate
from tsdb.sql.expressions.block import Block, Condition
from tsdb.sql.expressions.coercion import as_bool, coerce
from tsdb.sql.expressions.expression import ColumnReference, Expr
from tsdb.sql.expressions.relation import Relation, Scope
from tsdb.types import INTERVAL

TOLERANCE = "asof_tolerance"
_INEQUALITIES = ("<", "<=", ">", ">=")
_NEED = "ASOF JOIN needs one comparison (>=, >, <=, <) of a column of each side, and equalities"


def join_text(
    binder: Binder, left: str, right: str, join: exp.Expr, condition: Expr | None, scope: Scope, block: Block,
    before: Sequence[Relation], added: Sequence[Relation],
) -> str:  # fmt: skip
    """The text of the join; ``condition`` is USING's, whose last comparison becomes >=."""
    side = str(join.args.get("side") or "").upper()
    if side not in ("", "LEFT"):
        raise FeatureNotSupported(
            f"ASOF {side} JOIN is not supported", hint="Change the sides, and use ASOF LEFT JOIN."
        )
    tolerance: Expr | None = None
    if condition is not None:
        conjuncts = list(condition.args if condition.op == "and" else (condition,))
        conjuncts[-1] = compare(binder, ">=", *conjuncts[-1].args)
    elif join.args.get("on") is not None:
        nodes = list(_conjuncts(join.args["on"]))
        bound = [n for n in nodes if not _is_tolerance(n)]
        conjuncts = [
            as_bool(binder.without_aggregates(n, scope, "JOIN conditions"), "JOIN/ON", binder.context) for n in bound
        ]
        marks = [n for n in nodes if _is_tolerance(n)]
        if marks:
            tolerance = coerce(binder.bind(marks[0].expressions[0], scope), INTERVAL, binder.context)
    else:
        raise SqlSyntaxError("syntax error: ASOF JOIN needs ON or USING")
    sides = _Sides(before, added)
    nearest = [c for c in conjuncts if c.op in _INEQUALITIES and sides.compares_columns(c)]
    if len(nearest) != 1:
        raise FeatureNotSupported(_NEED, hint="ON a.key = b.key AND a.time >= b.time")
    matching, afterwards, early = [nearest[0]], [], []
    for conjunct in conjuncts:
        which = sides.of(conjunct)
        if conjunct is nearest[0]:
            continue
        if which == "right":
            early.append(conjunct)
        elif which == "left" or (which == "both" and _columns(conjunct) == _columns(nearest[0])):
            afterwards.append(conjunct)
        elif conjunct.op == "=" and which == "both":
            matching.append(conjunct)
        else:
            raise FeatureNotSupported(_NEED, hint="Put other conditions into WHERE, or into a subquery.")
    if tolerance is not None:
        afterwards.append(_within(binder, nearest[0], tolerance))
    if early:
        right = _filtered(right, early, added, block)
    held = " AND ".join(c.sql for c in afterwards)
    # What WHERE says of the right side holds after the choice: no scan may leave rows out by it.
    for relation in added:
        relation.nullable = True
        relation.guard = held if side == "LEFT" else ""
    text = f"{left} ASOF {f'{side} ' if side else ''}JOIN {right} ON {' AND '.join(c.sql for c in matching)}"
    if held and not side:
        # An inner join with one row is a filter in FROM.
        text += f" INNER JOIN (SELECT 1) AS {binder.alias()}x ON ({held})"
    return text


@special(TOLERANCE)
def elsewhere(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    raise SqlSyntaxError("TOLERANCE belongs to ASOF JOIN … ON")


class _Sides:
    """Which side of the join an expression reads."""

    def __init__(self, before: Sequence[Relation], added: Sequence[Relation]) -> None:
        self._left, self._right = {id(r) for r in before}, {id(r) for r in added}

    def of(self, expr: Expr) -> str:
        """left, right, both; "" for neither or what cannot be told."""
        read = {id(c.relation) for c in _columns(expr)}
        if not read <= self._left | self._right or any(e.op == "subquery" for e in expr.walk()):
            return ""
        left, right = bool(read & self._left), bool(read & self._right)
        return "both" if left and right else "left" if left else "right" if right else ""

    def compares_columns(self, expr: Expr) -> bool:
        """Whether a comparison is of a plain column of each side."""
        plain = [isinstance(_uncast(arg).value, ColumnReference) for arg in expr.args]
        return all(plain) and {self.of(arg) for arg in expr.args} == {"left", "right"}


def _uncast(expr: Expr) -> Expr:
    return expr.args[0] if expr.op == "cast" and expr.args else expr


def _columns(expr: Expr) -> set[ColumnReference]:
    return {e.value for e in expr.walk() if isinstance(e.value, ColumnReference)}


def _conjuncts(node: exp.Expr) -> list[exp.Expr]:
    if isinstance(node, exp.Paren):
        return _conjuncts(node.this)
    if isinstance(node, exp.And):
        return [*_conjuncts(node.this), *_conjuncts(node.expression)]
    return [node]


def _is_tolerance(node: exp.Expr) -> bool:
    return isinstance(node, exp.Anonymous) and node.this == TOLERANCE


def _within(binder: Binder, nearest: Expr, tolerance: Expr) -> Expr:
    """Whether the two times are at most ``tolerance`` apart."""
    early, late = nearest.args if nearest.op in ("<", "<=") else reversed(nearest.args)
    return compare(binder, "<=", late, operate(binder, "+", early, tolerance))


def _filtered(right: str, conditions: Sequence[Expr], added: Sequence[Relation], block: Block) -> str:
    if len(added) != 1:
        raise FeatureNotSupported(_NEED, hint="Put conditions on the right side into a subquery.")
    block.conditions += [Condition(c, added[0]) for c in conditions]
    return f"(SELECT * FROM {right} WHERE {' AND '.join(c.sql for c in conditions)}) AS {added[0].alias}"
