"""A statement that is nothing but a choice of rows of one series, in terms of the scan's columns."""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.sql.expressions.expression import Expr
from tsdb.sql.expressions.grouping import Ordering


@dataclass(frozen=True, slots=True)
class FirstRows:
    """Columns are named by their place in the scan. ``outputs`` are the result's.

    ``by``: one row of each combination of these tags, the first by ``within`` (None: all rows). Then come ``order``,
    ``offset`` and ``limit``. ``always``: where there is no row, there is one of NULLs (an aggregate without GROUP BY).
    An ``Ordering``'s output is a place, too.
    """

    outputs: tuple[int, ...]
    by: tuple[int, ...] | None
    within: tuple[Ordering, ...]
    order: tuple[Ordering, ...]
    limit: Expr | None
    offset: Expr | None
    always: bool


@dataclass(frozen=True, slots=True)
class Widening:
    """``limit`` and ``offset`` of a statement whose rows come newest first, or ``oldest`` first (``widening``).

    ``width_us`` and ``origin_us``: of the buckets by which they come (1 and 0: by the time itself). ``grouped``: each
    bucket makes rows of its own, however many points it has.
    """

    limit: Expr
    offset: Expr | None
    oldest: bool
    width_us: int
    origin_us: int
    grouped: bool
