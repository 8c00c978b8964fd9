"""What names mean in a query: its ranges, those of the queries around it, and WITH queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tsdb.sql.context import Context
from tsdb.sql.deparse.nodes import Named, Range, Unprintable, Var

Lookup = Callable[[str, str], Range]
"""The range of a relation that (schema, name) means."""


@dataclass(slots=True)
class Surroundings:
    """What is the same in all of a text: the session's, and how relations are found."""

    context: Context
    relation: Lookup
    text: str


@dataclass(slots=True)
class Scope:
    """``merged``: columns of JOIN … USING, which need no table."""

    around: Surroundings
    outer: Scope | None = None
    ranges: list[Range] = field(default_factory=list)
    named: dict[str, Named] = field(default_factory=dict)
    merged: dict[str, Var] = field(default_factory=dict)

    @property
    def context(self) -> Context:
        return self.around.context

    def inner(self) -> Scope:
        return Scope(self.around, self)

    def with_query(self, name: str) -> Named | None:
        found = self.named.get(name)
        return found if found is not None or self.outer is None else self.outer.with_query(name)

    def range(self, name: str) -> Range | None:
        found = next((r for r in self.ranges if called(r) == name), None)
        return found if found is not None or self.outer is None else self.outer.range(name)

    def column(self, table: str | None, name: str) -> Var | None:
        """Raises Unprintable for what is ambiguous."""
        if table is not None:
            found = self.range(table)
            return None if found is None else var(found, name)
        if name in self.merged:
            return self.merged[name]
        made = [v for v in (var(r, name) for r in self.ranges) if v is not None]
        if len(made) > 1:
            raise Unprintable(f"ambiguous column {name}")
        return made[0] if made else None if self.outer is None else self.outer.column(None, name)


def called(table: Range) -> str:
    """The name that a range has in its query's text."""
    return table.alias or table.then or table.own_name


def var(table: Range, name: str) -> Var | None:
    found = next((c for c in table.columns if c[0] == name), None)
    return None if found is None else Var(found[1], found[2], table, table.printed.get(name, name))


def columns_of(table: Range) -> list[Var]:
    return [Var(kind, typmod, table, table.printed.get(name, name)) for name, kind, typmod in table.columns]


def renamed(columns: list[tuple[str, int, int]], names: list[str]) -> list[tuple[str, int, int]]:
    """The first columns under other names."""
    if len(names) > len(columns):
        raise Unprintable("more names than columns")
    return [(names[i] if i < len(names) else n, t, m) for i, (n, t, m) in enumerate(columns)]
