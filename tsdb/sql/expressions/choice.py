"""Which of its rows a SELECT gives, as structure: what the planner needs to read only those (``tsdb.sql.newest``).

``bind.select`` records it beside DuckDB's text; nothing here decides what runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.sql.expressions.expression import Expr


@dataclass(frozen=True, slots=True)
class SortKey:
    """An item of ORDER BY; ``target`` is its place in the select list from 0, None when it is not there."""

    expr: Expr
    target: int | None
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """A SELECT's list, DISTINCT [ON], GROUP BY, HAVING, ORDER BY, LIMIT and OFFSET.

    ``on`` None: no DISTINCT ON. ``grouped``: it has groups or aggregates; ``plain``: GROUP BY, if any, has no grouping
    sets. ``limit`` and ``offset`` None: all rows, from the first. ``sql`` is the whole SELECT as DuckDB's text.
    """

    targets: tuple[Expr, ...]
    on: tuple[Expr, ...] | None
    distinct: bool
    groups: tuple[Expr, ...]
    grouped: bool
    plain: bool
    having: Expr | None
    order: tuple[SortKey, ...]
    limit: Expr | None
    offset: Expr | None
    sql: str
