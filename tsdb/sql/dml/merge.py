"""MERGE as an UPDATE, a DELETE or an INSERT for each of its WHEN clauses; of a row the first clause that holds decides.

Source of the grammar: PostgreSQL 15 manual, MERGE.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from tsdb.errors import FeatureNotSupported, SqlSyntaxError
from tsdb.model.schema import Series
from tsdb.sql import trees
from tsdb.sql.dml import constant_rows
from tsdb.sql.dml.assignments import is_volatile
from tsdb.sql.dml.joined import Joined


@dataclass(frozen=True)
class Merging:
    """``parts`` in the order of the clauses; ``changes`` is a DELETE of all rows that WHEN MATCHED changes."""

    parts: tuple[exp.Expr, ...]
    changes: exp.Delete | None


def read(tree: exp.Merge) -> Merging:
    """Raises SqlSyntaxError, FeatureNotSupported."""
    if tree.args.get("returning") is not None:
        raise SqlSyntaxError('syntax error at or near "RETURNING"')
    on = tree.args.get("on")
    if on is None:
        raise SqlSyntaxError("syntax error: MERGE needs ON")
    found = _Merge(tree.this, tree.args["using"], on, tree.args.get("with_"))
    parts: list[exp.Expr] = []
    # What has kept a row from the clauses before.
    earlier: dict[bool, list[exp.Expr]] = {True: [], False: []}
    changing: list[exp.Expr] = []
    for when in tree.args["whens"].expressions:
        if when.args.get("source"):
            raise FeatureNotSupported("WHEN NOT MATCHED BY SOURCE is not supported")
        matched = bool(when.args.get("matched"))
        condition = when.args.get("condition")
        conditions = [*earlier[matched], *([condition] if condition is not None else [])]
        action = when.args["then"]
        nothing = isinstance(action, exp.Var) and "NOTHING" in str(action.this).upper()
        if not nothing:
            parts.append(found.part(action, conditions, matched=matched))
        if matched and not nothing:
            changing.append(_all(conditions) if conditions else exp.true())
        never = exp.false() if condition is None else _is_not_true(condition)
        earlier[matched].append(never)
    changes = found.delete([_any(changing)]) if changing else None
    if len(parts) > 1 or changes is not None:
        _check_same(tree)
    # What does nothing is still bound: the names in it must be there.
    return Merging(tuple(parts) or (found.delete([exp.false()]),), changes)


def _check_same(tree: exp.Merge) -> None:
    """Each clause asks for the source and its own condition again."""
    conditions = [when.args.get("condition") for when in tree.args["whens"].expressions]
    for each in (tree.args["using"], tree.args["on"], tree.args.get("with_"), *conditions):
        if each is not None and is_volatile(each):
            raise FeatureNotSupported(
                "MERGE cannot choose rows by functions whose value is new each time",
                hint="Write the source's rows into a temporary table first.",
            )


def twice(changes: exp.Delete, series: Series) -> exp.Expr:
    """The query of a row that is matched by two of the source's."""
    joined = Joined.read(changes, series)
    made = joined.select([exp.Literal.number(1)], changes)
    made.set("group", exp.Group(expressions=joined.keys()))
    made.set("having", exp.Having(this=trees.expression("count(*) > 1")))
    made.set("limit", exp.Limit(expression=exp.Literal.number(1)))
    return made


@dataclass(frozen=True)
class _Merge:
    target: exp.Expr
    source: exp.Expr
    on: exp.Expr
    with_: exp.Expr | None

    def part(self, action: exp.Expr, conditions: list[exp.Expr], *, matched: bool) -> exp.Expr:
        if isinstance(action, exp.Update) and matched:
            made: exp.Expr = exp.Update(
                this=self.target.copy(),
                expressions=[each.copy() for each in action.expressions],
                from_=exp.From(this=self.source.copy()),
                where=exp.Where(this=_all([self.on, *conditions])),
            )
            return self._within(made)
        if isinstance(action, exp.Insert) and not matched:
            return self._within(self._insert(action, conditions))
        if isinstance(action, exp.Var) and str(action.this).upper() == "DELETE" and matched:
            return self.delete(conditions)
        raise SqlSyntaxError(f"syntax error: WHEN {'' if matched else 'NOT '}MATCHED cannot do this")

    def delete(self, conditions: list[exp.Expr]) -> exp.Delete:
        where = exp.Where(this=_all([self.on, *conditions]))
        made = exp.Delete(this=self.target.copy(), using=[self.source.copy()], where=where)
        self._within(made)
        return made

    def _insert(self, action: exp.Insert, conditions: list[exp.Expr]) -> exp.Expr:
        names = list(action.this.expressions) if isinstance(action.this, exp.Tuple | exp.Schema) else []
        row = action.args.get("expression")
        target = self.target.copy()
        target.set("alias", None)
        if row is None:
            raise FeatureNotSupported("INSERT DEFAULT VALUES in MERGE is not supported", hint="Name a column.")
        values = list(row.expressions) if isinstance(row, exp.Tuple) else [row]
        if names and len(names) != len(values):
            more = "target columns than expressions" if len(names) > len(values) else "expressions than target columns"
            raise SqlSyntaxError(f"INSERT has more {more}")
        if any(constant_rows.is_default(value) for value in values):
            if not names:
                raise FeatureNotSupported("DEFAULT in MERGE needs the names of the columns")
            # A column that is not named has its default.
            kept = [i for i, value in enumerate(values) if not constant_rows.is_default(value)]
            names, values = [names[i] for i in kept], [values[i] for i in kept]
        there = trees.select([exp.Literal.number(1)], self.target.copy(), self.on.copy())
        free = exp.Not(this=exp.Exists(this=there))
        query = trees.select([value.copy() for value in values], self.source.copy(), _all([free, *conditions]))
        into = exp.Schema(this=target, expressions=[each.this.copy() for each in names]) if names else target
        return exp.Insert(this=into, expression=query)

    def _within(self, made: exp.Expr) -> exp.Expr:
        if self.with_ is not None:
            made.set("with_", self.with_.copy())
        return made


def _all(conditions: list[exp.Expr]) -> exp.Expr:
    return exp.and_(*(exp.Paren(this=each.copy()) for each in conditions), copy=False)


def _any(conditions: list[exp.Expr]) -> exp.Expr:
    return exp.or_(*(exp.Paren(this=each.copy()) for each in conditions), copy=False)


def _is_not_true(condition: exp.Expr) -> exp.Expr:
    is_true = exp.Is(this=exp.Paren(this=condition.copy()), expression=exp.true())
    return exp.Not(this=is_true)
