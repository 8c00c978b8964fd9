"""What the analysis makes and the writers write: PostgreSQL's primitive nodes, as far as queries of views have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class Unprintable(Exception):
    """Something that is not printed as PostgreSQL does; the user's text stands for it."""


@dataclass(frozen=True, slots=True)
class Node:
    """An expression; ``type`` is an OID."""

    type: int
    typmod: int = -1


@dataclass(frozen=True, slots=True)
class Var(Node):
    """A column of a range, or of the one table that an expression is about (``table`` None)."""

    table: Range | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Const(Node):
    """A constant's text as its type writes it; None is NULL."""

    text: str | None = None


@dataclass(frozen=True, slots=True)
class Cast(Node):
    """``by_function``: a FuncExpr, else a relabelling or a way over the text; the two have parentheses otherwise."""

    of: Node = None  # type: ignore[assignment]
    implicit: bool = False
    by_function: bool = False


@dataclass(frozen=True, slots=True)
class Operation(Node):
    """``left`` None: a prefix operator."""

    name: str = ""
    left: Node | None = None
    right: Node = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Logic(Node):
    """AND, OR, NOT."""

    word: str = ""
    items: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Test(Node):
    """``x IS NULL``, ``x IS NOT TRUE``: ``words`` are those behind the operand."""

    of: Node = None  # type: ignore[assignment]
    words: str = ""


@dataclass(frozen=True, slots=True)
class Distinct(Node):
    left: Node = None  # type: ignore[assignment]
    right: Node = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class AnyOf(Node):
    """``x = ANY (array)``; ``every``: ALL."""

    name: str = ""
    left: Node = None  # type: ignore[assignment]
    right: Node = None  # type: ignore[assignment]
    every: bool = False


@dataclass(frozen=True, slots=True)
class Sort:
    """An item of ORDER BY. ``position``: its place in the select list, from 1; 0 when it is not there."""

    of: Node
    descending: bool = False
    nulls_first: bool = False
    position: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    unit: str
    start: str
    end: str
    between: bool
    start_offset: Node | None = None
    end_offset: Node | None = None


@dataclass(frozen=True, slots=True)
class WindowSpec:
    name: str = ""
    partition: tuple[Node, ...] = ()
    order: tuple[Sort, ...] = ()
    frame: Frame | None = None


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function's, an aggregate's or a window function's call. ``kind`` is pg_proc.prokind."""

    name: str = ""
    arguments: tuple[Node, ...] = ()
    kind: str = "f"
    star: bool = False
    distinct: bool = False
    order: tuple[Sort, ...] = ()
    within_group: tuple[Sort, ...] = ()
    condition: Node | None = None
    over: WindowSpec | None = None


@dataclass(frozen=True, slots=True)
class Special(Node):
    """A call that has a syntax of its own: ``form`` says which (extract, at time zone, position, …)."""

    form: str = ""
    arguments: tuple[Node, ...] = ()
    word: str = ""


@dataclass(frozen=True, slots=True)
class Listed(Node):
    """COALESCE, GREATEST, LEAST, NULLIF, ARRAY[]."""

    word: str = ""
    items: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Case(Node):
    of: Node | None = None
    branches: tuple[tuple[Node, Node], ...] = ()
    otherwise: Node = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Word(Node):
    """CURRENT_DATE and its like."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Subscript(Node):
    of: Node = None  # type: ignore[assignment]
    indexes: tuple[tuple[Node | None, Node | None, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class Collated(Node):
    of: Node = None  # type: ignore[assignment]
    collation: str = ""


@dataclass(frozen=True, slots=True)
class SubLink(Node):
    """``kind``: exists, any, all, value or array."""

    kind: str = ""
    query: Query = None  # type: ignore[assignment]
    left: Node | None = None
    name: str = ""


# --- queries ---


@dataclass(slots=True, eq=False)
class Range:
    """An entry of a range table. ``kind``: relation, subquery, function or cte. ``columns`` are (name, type, typmod);
    ``shown`` whether the columns' names are written behind the alias; ``printed`` and ``then``: columns and a relation
    that were called otherwise when the text was written; ``name`` is given last (``naming``)."""

    kind: str
    alias: str | None
    columns: list[tuple[str, int, int]]
    text: str = ""
    own_name: str = ""
    query: Query | None = None
    call: Node | None = None
    lateral: bool = False
    ordinality: bool = False
    shown: bool = False
    printed: Mapping[str, str] = field(default_factory=dict)
    then: str = ""
    name: str = ""


@dataclass(slots=True)
class Join:
    """``word``: JOIN, LEFT JOIN …"""

    left: Item
    right: Item
    word: str
    condition: Node | None = None
    using: tuple[str, ...] = ()


Item = Range | Join


@dataclass(slots=True)
class Target:
    of: Node
    name: str


@dataclass(slots=True)
class Named:
    """A WITH query."""

    name: str
    query: Query
    columns: tuple[str, ...] = ()
    materialized: bool | None = None


@dataclass(slots=True)
class SetOperation:
    word: str
    left: SetOperation | Query
    right: SetOperation | Query


@dataclass(slots=True)
class Query:
    targets: list[Target] = field(default_factory=list)
    ranges: list[Range] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    named: list[Named] = field(default_factory=list)
    recursive: bool = False
    distinct: bool = False
    distinct_on: list[Node] = field(default_factory=list)
    where: Node | None = None
    groups: list[Node] = field(default_factory=list)
    having: Node | None = None
    windows: list[WindowSpec] = field(default_factory=list)
    order: list[Sort] = field(default_factory=list)
    offset: Node | None = None
    limit: Node | None = None
    with_ties: bool = False
    operation: SetOperation | None = None
    values: list[tuple[Node, ...]] = field(default_factory=list)
