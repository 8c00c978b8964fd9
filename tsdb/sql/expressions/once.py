"""A value that stands more than once in DuckDB's text and is new at each evaluation (nextval(), random()) is bound to a
name by a lambda, so that it is evaluated once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tsdb.sql.expressions.expression import Expr

_NAME = "pg_once"


def once(value: Expr, others: Sequence[Expr], make: Callable[[Expr], Expr]) -> Expr:
    """What ``make`` makes of the value. DuckDB takes no subqueries in lambdas: with one among ``others`` the value
    stands as often as it is written."""
    if not _is_volatile(value) or any(e.op == "subquery" for other in others for e in other.walk()):
        return make(value)
    made = make(replace(value, sql=_NAME, shown=None))
    return replace(made, sql=f"list_extract(list_transform([{value.sql}], lambda {_NAME}: {made.sql}), 1)")


def _is_volatile(value: Expr) -> bool:
    return any(e.op == "call" and not e.stable and all(a.stable for a in e.args) for e in value.walk())
