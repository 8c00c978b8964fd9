"""What binding leaves to the planner: queries, their blocks, and the conditions that hold in each block."""

from __future__ import annotations

from dataclasses import dataclass, field

from tsdb.sql.expressions.choice import Choice
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.expressions.grouping import Grouped, Grouping
from tsdb.sql.expressions.relation import Relation
from tsdb.types import Field, SqlType


@dataclass(frozen=True, slots=True)
class Output:
    """A column of a bound query: ``expr`` in the query's own terms, c<n> outside. ``shown``: there is an s<n> too, the
    text of a numeric (``shown``)."""

    name: str
    type: SqlType
    typmod: int
    digits: tuple[int, int] | None
    expr: Expr | None
    shown: bool = False

    @property
    def fields(self) -> tuple[Field, ...] | None:
        """A row's."""
        return self.type.fields


@dataclass(frozen=True, slots=True)
class Condition:
    """A conjunct. ``only`` is the one relation it may prune (an outer join's ON), None: all that are not nullable."""

    expr: Expr
    only: Relation | None = None


@dataclass(eq=False)
class Block:
    """One SELECT: its relations and conjuncts. ``transparent``: a condition on a plain output column may move inside
    (no LIMIT, grouping, window, DISTINCT or set-returning function). ``grouping``: its GROUP BY, when that is plain and
    nothing more; ``grouped``: keys and what is computed over groups, when GROUP BY is plain; ``choice``: which rows it
    gives, when neither windows nor set-returning functions have a part in that."""

    relations: list[Relation] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    transparent: bool = False
    grouping: Grouping | None = None
    grouped: Grouped | None = None
    choice: Choice | None = None


@dataclass(eq=False)
class BoundQuery:
    """A query in DuckDB's text; its columns there are c1, c2 …"""

    sql: str
    outputs: list[Output]
    block: Block | None = None

    @property
    def column_names(self) -> list[str]:
        """The names of its columns in DuckDB, in their order."""
        plain = [f"c{i + 1}" for i in range(len(self.outputs))]
        return plain + [f"s{i + 1}" for i, o in enumerate(self.outputs) if o.shown]


@dataclass(eq=False)
class CommonTable:
    """A table of WITH under the name q<n>; ``references`` counts its uses."""

    name: str
    alias: str
    outputs: list[Output]
    block: Block | None
    references: int = 0
