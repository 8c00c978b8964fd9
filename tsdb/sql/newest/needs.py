"""What a SELECT needs of its scan: which rows of which groups, read off its ``Choice``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tsdb.model.store import Newest
from tsdb.sql.expressions.choice import Choice
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.expressions.grouping import AggregateCall
from tsdb.sql.newest.path import Path, Unfit
from tsdb.sql.plan import Undecided, Values

# More rows than this of a group are not few any more.
ROWS_MAX = 100_000
_SIDES = {"last": False, "max": False, "first": True, "min": True}


@dataclass(frozen=True, slots=True)
class Need:
    """``Newest`` but for the number of rows: ``limit`` and ``offset`` together, one without ``limit``."""

    by: tuple[int, ...]
    oldest: bool
    ties: bool
    limit: Expr | None = None
    offset: Expr | None = None

    def __call__(self, values: Values) -> Newest:
        """Raises Undecided for a number of rows that is not known, not allowed or not small."""
        rows = 1 if self.limit is None else sum(count_of(each, values) for each in (self.limit, self.offset))
        if not 0 < rows <= ROWS_MAX:
            raise Undecided
        return Newest(rows, self.by, self.oldest, self.ties)


def count_of(expr: Expr | None, values: Values) -> int:
    """The number that LIMIT or OFFSET names; 0 where there is none. Raises Undecided."""
    count = 0 if expr is None else values(expr)
    if not isinstance(count, int) or count < 0:
        raise Undecided
    return count


def need_of(choice: Choice, path: Path) -> Need:
    """Raises Unfit."""
    tied = path.equals()
    if not choice.plain:
        raise Unfit
    if choice.on is not None:
        need = _of_distinct_on(choice, choice.on, path)
    elif choice.grouped:
        need = _of_groups(choice, path)
    elif choice.distinct:
        need = _of_distinct(choice, path)
    else:
        need = _of_order(choice, path)
    return Need(tuple(dict.fromkeys((*tied, *need.by))), need.oldest, need.ties, need.limit, need.offset)


def _of_order(choice: Choice, path: Path) -> Need:
    """The first rows in the order of time."""
    if choice.limit is None or not choice.order:
        raise Unfit
    first, others = choice.order[0], choice.order[1:]
    key = path.resolve(first.expr)
    exact = path.is_time(key)
    if not exact and not path.is_time_ns(key):
        raise Unfit
    return Need((), not first.descending, bool(others) or not exact, choice.limit, choice.offset)


def _of_distinct_on(choice: Choice, on: Sequence[Expr], path: Path) -> Need:
    """The first row of each group; the order says of each group's rows which is the first."""
    by = _tags_of(on, path)
    deciding = [key for key in choice.order if key.expr.sql not in {each.sql for each in on}]
    if not deciding:
        return Need(by, oldest=False, ties=False)
    key = path.resolve(deciding[0].expr)
    exact = path.is_time(key)
    if not exact and not path.is_time_ns(key):
        raise Unfit
    return Need(by, not deciding[0].descending, len(deciding) > 1 or not exact)


def _of_distinct(choice: Choice, path: Path) -> Need:
    """Different values of tags: one row of each is enough."""
    return Need(_tags_of(choice.targets, path), oldest=False, ties=False)


def _of_groups(choice: Choice, path: Path) -> Need:
    """Groups of tags with aggregates that only the first or only the last row decides."""
    by = _tags_of(choice.groups, path)
    grouped = {each.sql for each in choice.groups}
    every = [*choice.targets, *(key.expr for key in choice.order)]
    every += [] if choice.having is None else [choice.having]
    sides, exact = set(), True
    for expr in every:
        for aggregate in _aggregates(expr, grouped):
            oldest, in_us = _side_of(aggregate, path)
            sides.add(oldest)
            exact = exact and in_us
    if len(sides) > 1:
        raise Unfit
    return Need(by, sides.pop() if sides else False, ties=not exact)


def _aggregates(expr: Expr, grouped: set[str]) -> Iterator[Expr]:
    if expr.sql in grouped:
        return
    if expr.op in ("subquery", "window", "set") or not expr.stable:
        raise Unfit
    if expr.op == "aggregate":
        yield expr
        return
    for arg in expr.args:
        yield from _aggregates(arg, grouped)


def _side_of(aggregate: Expr, path: Path) -> tuple[bool, bool]:
    """(whether the oldest row decides, whether µs do)."""
    call = aggregate.value
    if not isinstance(call, AggregateCall) or call.name not in _SIDES:
        raise Unfit
    arguments = [path.resolve(arg) for arg in aggregate.args]
    if len(arguments) != (2 if call.name in ("first", "last") else 1):
        raise Unfit
    time = arguments[-1]
    if not path.is_time(time) and not path.is_time_ns(time):
        raise Unfit
    return _SIDES[call.name], path.is_time(time)


def _tags_of(exprs: Iterable[Expr], path: Path) -> tuple[int, ...]:
    found = [number for expr in exprs for number in path.tags(path.resolve(expr))]
    return tuple(dict.fromkeys(found))
