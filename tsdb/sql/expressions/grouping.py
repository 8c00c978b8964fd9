"""What a grouped SELECT asks, as structure: what the planner needs to answer it without DuckDB.

``bind.select`` records it beside DuckDB's text; nothing here decides what runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.sql.expressions.expression import Expr


@dataclass(frozen=True, slots=True)
class AggregateCall:
    """The ``value`` of an aggregate's expression when it is nothing but a function of its arguments: no DISTINCT, no
    ORDER BY, no FILTER. count(*) has no arguments."""

    name: str


@dataclass(frozen=True, slots=True)
class Ordering:
    """ORDER BY one output column (``output`` from 0)."""

    output: int
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True)
class Grouped:
    """The keys of a plain GROUP BY, and what a SELECT computes over its groups, in the terms of its rows."""

    keys: tuple[Expr, ...]
    targets: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Grouping:
    """A SELECT of one relation with plain GROUP BY: no DISTINCT, no windows, no grouping sets.

    ``targets`` are the select list, ``sql`` the whole SELECT as DuckDB's text; ``limit`` None is all rows. ``shown``:
    numerics are to be texts with PostgreSQL's number of digits (``tsdb.sql.expressions.shown``).
    """

    keys: tuple[Expr, ...]
    targets: tuple[Expr, ...]
    sql: str
    order: tuple[Ordering, ...] = ()
    limit: int | None = None
    shown: bool = False
    having: Expr | None = None
