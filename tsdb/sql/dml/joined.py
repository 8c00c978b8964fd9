"""The rows of an UPDATE … FROM or a DELETE … USING: the target joined with other relations, each of its rows once.

The other relations come first in the FROM that is made, so that their own USING and LATERAL know nothing of the target;
its rows are joined by WHERE alone. A row that is matched several times is taken once, with any one of its matches, as
PostgreSQL does.

Source: PostgreSQL 15 manual, UPDATE (from_item) and DELETE (using_item).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from tsdb.model.schema import Series
from tsdb.model.store import SEQUENCE, TIME_NS
from tsdb.sql import storage_form, trees


def _qualifier(node: exp.Expr, key: str) -> str:
    part = node.args.get(key)
    return trees.name_of(part) if part is not None else ""


def apart(tree: exp.Expr) -> exp.Expr:
    """An UPDATE or DELETE whose target has the name of another of its relations, in another schema: the target gets a
    name of its own, by which its columns (s1.t.c) are known."""
    target = tree.this
    schema, name = _qualifier(target, "db"), trees.name_of(target.this)
    from_ = tree.args.get("from_")
    others = [from_.this] if from_ is not None else tree.args.get("using") or ()
    joins = [join.this for other in others for join in other.args.get("joins") or ()]
    same = [
        other
        for other in (*others, *joins)
        if isinstance(other, exp.Table) and not trees.alias_of(other) and trees.name_of(other.this) == name
    ]
    if not same or not schema or trees.alias_of(target):
        return tree
    made = tree.copy()
    own = f"{schema}.{name}"
    made.this.set("alias", exp.TableAlias(this=exp.to_identifier(own, quoted=True)))
    for column in made.find_all(exp.Column):
        if _qualifier(column, "table") == name and _qualifier(column, "db") == schema:
            column.set("db", None)
            column.set("table", exp.to_identifier(own, quoted=True))
    return made


@dataclass(frozen=True)
class Joined:
    """A modification's target with the name its columns are known by, and the ``others`` in the order of FROM."""

    series: Series
    target: exp.Expr
    name: str
    others: tuple[exp.Expr, ...] = ()

    @staticmethod
    def read(tree: exp.Expr, series: Series) -> Joined:
        """Of an UPDATE or a DELETE."""
        from_ = tree.args.get("from_")
        others = [from_.this] if from_ is not None else tree.args.get("using") or ()
        return Joined(series, tree.this, trees.alias_of(tree.this) or series.name, tuple(others))

    def select(self, items: Sequence[exp.Expr], tree: exp.Expr, *, once: bool = False) -> exp.Expr:
        """A query of the rows that the modification's WITH and WHERE select; ``once``: each of the target's once."""
        where, with_ = tree.args.get("where"), tree.args.get("with_")
        condition = where.this if where is not None else None
        if self.others:
            made = trees.select([*items], None, condition)
            self._join(made)
            if once:
                made.set("distinct", exp.Distinct(on=exp.Tuple(expressions=self.keys())))
        else:
            made = trees.select([*items], self.target.copy(), condition)
        if with_ is not None:
            made.set("with_", with_.copy())
        return made

    def keys(self) -> list[exp.Expr]:
        """What tells the target's rows apart."""
        keys = [trees.column(name, self.name) for name in (TIME_NS, SEQUENCE)]
        for tag in self.series.tags:
            column = trees.column(tag.name, self.name)
            # A numeric that is compared loses its scale, by which the row is found; its text is compared instead.
            keys.append(trees.cast_to(column, "text") if storage_form.is_text_numeric(tag) else column)
        return keys

    def of_others(self, tree: exp.Expr) -> exp.Expr:
        """``SELECT *`` of the other relations alone."""
        made = trees.select([exp.Star()])
        self._join(made, with_target=False)
        if (with_ := tree.args.get("with_")) is not None:
            made.set("with_", with_.copy())
        return made

    def _join(self, query: exp.Expr, *, with_target: bool = True) -> None:
        first, *rest = [each.copy() for each in self.others]
        query.set("from_", exp.From(this=first))
        for head in (first, *rest):
            if head is not first:
                query.append("joins", exp.Join(this=head))
            # The parser hangs the joins on the first relation, where only those of a table are looked for.
            if not isinstance(head, exp.Table) and not isinstance(head.this, exp.Table):
                for join in head.args.pop("joins", None) or ():
                    query.append("joins", join)
        if with_target:
            query.append("joins", exp.Join(this=self.target.copy()))

    def returned(
        self, tree: exp.Expr, new: Callable[[exp.Expr], exp.Expr], width: Callable[[exp.Expr], int]
    ) -> tuple[list[exp.Expr], list[int]]:
        """(RETURNING's select list, which of its columns are not shown). ``new`` puts the new values for the target's
        columns into an item; ``width`` says how many columns a query has."""
        clause = tree.args.get("returning")
        items: list[exp.Expr] = []
        dropped: list[int] = []
        own = len(self.series.columns)
        at = 0
        for item in clause.expressions if clause is not None else ():
            star = isinstance(item, exp.Star)
            if star or (isinstance(item, exp.Column) and isinstance(item.this, exp.Star) and self.owns(item)):
                items += [new(trees.column(column.name, self.name)) for column in self.series.columns]
                at += own
                if star and self.others:
                    # The others come first in the query, the target's columns then once more.
                    items.append(exp.Star())
                    at += width(self.of_others(tree))
                    dropped += range(at, at + own)
                    at += own
                continue
            items.append(new(item.copy()))
            whole = isinstance(item, exp.Column) and isinstance(item.this, exp.Star)
            at += width(self.select([item.copy()], tree)) if whole else 1
        return items, dropped

    def owns(self, column: exp.Expr) -> bool:
        """Whether a column's qualifier, if it has one, is the target."""
        table = column.args.get("table")
        return table is None or trees.name_of(table) == self.name
