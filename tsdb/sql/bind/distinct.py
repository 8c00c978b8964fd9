"""DISTINCT ON as the first row of each group by a window, which DuckDB answers by an aggregate instead of a sort.

Source: PostgreSQL 15 manual, SELECT (DISTINCT clause); transformDistinctOnClause in parse_clause.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tsdb.errors import InvalidColumnReference
from tsdb.sql.expressions.expression import Expr


@dataclass(frozen=True, slots=True)
class OrderItem:
    """An item of ORDER BY: ``target`` is its place in the select list from 0, None when it is not there."""

    expr: Expr
    target: int | None
    descending: bool
    nulls_first: bool

    def text(self, sql: str) -> str:
        """``sql`` with the direction and the place of NULLs in so many words."""
        direction = "DESC" if self.descending else "ASC"
        return f"{sql} {direction} NULLS {'FIRST' if self.nulls_first else 'LAST'}"

    @property
    def by_expression(self) -> str:
        return self.text(self.expr.sql)

    @property
    def by_position(self) -> str:
        return self.text(self.expr.sql if self.target is None else str(self.target + 1))


def check_order(on: Sequence[Expr], order: Sequence[OrderItem]) -> None:
    """ORDER BY has all expressions of ON before any other. Raises InvalidColumnReference (42P10)."""
    wanted = {e.sql for e in on}
    items = [item.expr.sql for item in order]
    first_other = next((i for i, sql in enumerate(items) if sql not in wanted), None)
    if first_other is not None and wanted - set(items[:first_other]):
        raise InvalidColumnReference(
            "SELECT DISTINCT ON expressions must match initial ORDER BY expressions", position=on[0].position
        )


def columns_of(targets: Sequence[str], on: Sequence[Expr], order: Sequence[OrderItem], known: Sequence[Expr]) -> str:
    """The inner query's list: ``targets`` as c1 …, then what ON and ORDER BY need besides as d1 …"""
    listed = [f"{text} AS c{i + 1}" for i, text in enumerate(targets)]
    listed += [f"{sql} AS {name}" for sql, name in _names(on, order, known).items() if name.startswith("d")]
    return ", ".join(listed)


def first_rows(inner: str, targets: Sequence[Expr], on: Sequence[Expr], order: Sequence[OrderItem]) -> str:
    """The first row of each group of the inner query, whose list is ``columns_of``, in the order of ORDER BY."""
    names = _names(on, order, targets)
    keys = ", ".join(names[e.sql] for e in on)
    columns = ", ".join(f"c{i + 1}" for i in range(len(targets))) or "c1"
    deciding = [item for item in order if item.expr.sql not in {e.sql for e in on}]
    ordered = ", ".join(item.text(names[item.expr.sql]) for item in order)
    tail = f" ORDER BY {ordered}" if order else ""
    if not deciding:
        return f"SELECT DISTINCT ON ({keys}) {columns} FROM ({inner}) AS s{tail}"
    window = f"row_number() OVER (PARTITION BY {keys} ORDER BY {_window_order(deciding, names)})"
    return f"SELECT {columns} FROM (SELECT *, {window} AS r FROM ({inner}) AS s) AS s WHERE r = 1{tail}"


def _names(on: Sequence[Expr], order: Sequence[OrderItem], targets: Sequence[Expr]) -> dict[str, str]:
    """The inner query's name of each expression of ON and ORDER BY."""
    names: dict[str, str] = {}
    for index, target in enumerate(targets):
        names.setdefault(target.sql, f"c{index + 1}")
    extra = 0
    for expr in (*on, *(item.expr for item in order)):
        if expr.sql not in names:
            extra += 1
            names[expr.sql] = f"d{extra}"
    return names


def _window_order(items: Sequence[OrderItem], names: dict[str, str]) -> str:
    """DuckDB's top-1 optimisation knows one key with NULLS LAST: keys of one direction are packed into a row, which
    compares part by part with NULL as the greatest."""
    if len({item.descending for item in items}) > 1:
        return ", ".join(item.text(names[item.expr.sql]) for item in items)
    if len(items) == 1 and not items[0].nulls_first:
        return items[0].text(names[items[0].expr.sql])
    parts = []
    for item in items:
        name = names[item.expr.sql]
        if item.nulls_first != item.descending:
            parts.append(f"{name} IS NOT NULL")
        parts.append(name)
    return f"row({', '.join(parts)}) {'DESC' if items[0].descending else 'ASC'} NULLS LAST"
