"""Bound expressions: a type, DuckDB's text, and enough structure for the planner and for grouping rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tsdb.types import UNKNOWN, Field, SqlType

if TYPE_CHECKING:
    from tsdb.sql.expressions.relation import Relation


@dataclass(frozen=True, slots=True)
class ColumnReference:
    """Column ``index`` of a relation in FROM."""

    relation: Relation
    index: int


@dataclass(slots=True, eq=False)
class Parameter:
    """$n: ``index`` from 0; its type is the client's or the first that its surroundings ask for."""

    index: int
    type: SqlType | None = None

    @property
    def marker(self) -> str:
        """Stands in DuckDB's text for the value; ``literal.quote`` keeps U+0001 out of everything else."""
        return f"\x01{self.index}\x02"

    @property
    def shown_marker(self) -> str:
        """Stands for the text of a numeric value, with its own scale."""
        return f"\x01shown{self.index}\x02"


NOW_MARKER = "\x01now\x02"


@dataclass(frozen=True, slots=True)
class Expr:
    """A bound expression.

    ``op`` says what it is: "column" (``value`` a ColumnReference), "literal" (``value`` in ``literal``'s form; its
    text while the type is unknown), "parameter" (``value`` a Parameter), "now", an operator's name ("=", "and",
    "is null"), "cast", "call", "subquery". ``digits`` are a numeric's (precision, scale) in DuckDB. ``aggregate`` and
    ``window`` say whether one is inside (of this query level), ``stable`` that chance has no part in the value.
    ``shown`` is a numeric's text (``shown``).
    ``weak``: the name comes from a cast or a CASE and gives way to that of a cast around it (FigureColname in
    parse_target.c).
    """

    sql: str
    type: SqlType
    op: str = "call"
    args: tuple[Expr, ...] = ()
    value: object = None
    typmod: int = -1
    digits: tuple[int, int] | None = None
    aggregate: bool = False
    window: bool = False
    stable: bool = True
    position: int | None = None
    name: str = "?column?"
    weak: bool = False
    shown: str | None = None

    @property
    def fields(self) -> tuple[Field, ...] | None:
        """A row's (``rows``)."""
        return self.type.fields

    @property
    def unknown(self) -> bool:
        return self.type is UNKNOWN

    def walk(self) -> Iterator[Expr]:
        yield self
        for arg in self.args:
            yield from arg.walk()

    def named(self, name: str, *, weak: bool = False) -> Expr:
        return replace(self, name=name, weak=weak)


def combine(
    sql: str,
    sql_type: SqlType,
    op: str,
    args: tuple[Expr, ...],
    *,
    value: object = None,
    digits: tuple[int, int] | None = None,
    position: int | None = None,
    name: str = "?column?",
    stable: bool = True,
    typmod: int = -1,
) -> Expr:
    """An expression over others: what they contain, it contains."""
    return Expr(
        sql,
        sql_type,
        op,
        args,
        value,
        typmod,
        digits,
        any(arg.aggregate for arg in args),
        any(arg.window for arg in args),
        stable and all(arg.stable for arg in args),
        position,
        name,
    )
