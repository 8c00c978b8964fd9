"""UPDATE's SET: which column gets which value, and RETURNING's view of the new values.

Source of the grammar: PostgreSQL 15 manual, UPDATE.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sqlglot import exp

from tsdb.errors import FeatureNotSupported, GeneratedAlways, SqlSyntaxError, UndefinedColumn
from tsdb.model.schema import Column, Series
from tsdb.model.store import TIME_NS
from tsdb.sql import trees
from tsdb.sql.bind import places
from tsdb.sql.dml.joined import Joined
from tsdb.sql.dml.serial import next_value
from tsdb.sql.expressions.functions import scalar
from tsdb.sql.result import ResultColumn, of_column
from tsdb.sql.statement import Fragment

_COUNTING = ("nextval", "setval", "currval", "lastval")
_MARK = "?new "


def is_volatile(value: exp.Expr) -> bool:
    """Whether evaluating an expression twice may give two values."""
    names = (str(each.this).lower() for each in value.find_all(exp.Anonymous))
    return any(name in scalar.VOLATILE or name in _COUNTING for name in names)


def read(series: Series, assignments: Sequence[exp.Expr], fragment: Fragment) -> dict[Column, exp.Expr]:
    """The value of each column that is set.

    Raises UndefinedColumn, GeneratedAlways, SqlSyntaxError, FeatureNotSupported.
    """
    found: dict[Column, exp.Expr] = {}
    for target, value in _pairs(assignments):
        name = trees.name_of(target)
        column = series.by_name.get(name)
        if column is None:
            raise UndefinedColumn(
                f'column "{name}" of relation "{series.name}" does not exist', position=places.of_node(fragment, target)
            )
        if column in found:
            raise SqlSyntaxError(f'multiple assignments to same column "{name}"')
        found[column] = _value(value, column)
    return found


def _value(value: exp.Expr, column: Column) -> exp.Expr:
    default = isinstance(value, exp.Column | exp.Var) and trees.name_of(value) == "default"
    if not default or value.args.get("table") is not None:
        if column.identity == "a":
            raise GeneratedAlways(
                f'column "{column.name}" can only be updated to DEFAULT',
                detail=f'Column "{column.name}" is an identity column defined as GENERATED ALWAYS.',
            )
        return value
    if column.default is not None:
        return trees.expression(column.default)
    return next_value(column) if column.sequence else exp.Null()


def _pairs(assignments: Sequence[exp.Expr]) -> Iterator[tuple[exp.Expr, exp.Expr]]:
    for assignment in assignments:
        target, value = assignment.this, assignment.expression
        if isinstance(target, exp.Tuple | exp.Paren):
            targets = target.expressions if isinstance(target, exp.Tuple) else [target.this]
            yield from zip(targets, _row(value, len(targets)), strict=True)
        else:
            yield target, value


def _row(value: exp.Expr, count: int) -> list[exp.Expr]:
    """The values that a row or a subquery gives to ``count`` columns."""
    if isinstance(value, exp.Subquery):
        return _of_subquery(value, count)
    row = isinstance(value, exp.Anonymous) and str(value.this).lower() == "row"
    if not row and not isinstance(value, exp.Tuple):
        raise FeatureNotSupported("source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression")
    if len(value.expressions) != count:
        raise SqlSyntaxError("number of columns does not match number of values")
    return list(value.expressions)


def _of_subquery(value: exp.Subquery, count: int) -> list[exp.Expr]:
    """Each column of a subquery as one of its own: what is asked several times is the same question."""
    query = value.this
    listed = query.selects if isinstance(query, exp.Query) else []
    stars = any(isinstance(each, exp.Star) or isinstance(each.this, exp.Star) for each in listed)
    if not stars and len(listed) != count:
        raise SqlSyntaxError("number of columns does not match number of values")
    if is_volatile(query):
        raise FeatureNotSupported(
            "a subquery that gives several columns of UPDATE cannot call functions whose value is new each time"
        )
    names = [f"c{i}" for i in range(count)]
    return [
        exp.Subquery(this=trees.select([trees.column(name, "source")], trees.subquery(query, "source", names)))
        for name in names
    ]


class NewValues:
    """What RETURNING sees in place of the columns that are set.

    A column by itself is marked until the query's columns are known: it is a table's column to the client, and a value
    that is new at each evaluation is shown as it is written.
    """

    def __init__(self, series: Series, assigned: Mapping[Column, exp.Expr], joined: Joined) -> None:
        self._series = series
        self._joined = joined
        self._by_name = {column.name: trees.cast(value, column) for column, value in assigned.items()}
        self._once = {column.name: i for i, (column, value) in enumerate(assigned.items()) if is_volatile(value)}
        self._marked: list[tuple[str, str]] = []
        if series.time is not None and series.time in assigned:
            self._by_name[TIME_NS] = _nanoseconds(self._by_name[series.time.name])
            if series.time.name in self._once:
                self._once[TIME_NS] = -1

    def put(self, item: exp.Expr) -> exp.Expr:
        """An item of RETURNING over the new values. Raises FeatureNotSupported."""
        plain = item.this if isinstance(item, exp.Alias) else item
        if self._is_new(plain):
            name = trees.name_of(plain)
            shown = trees.name_of(item.args["alias"]) if isinstance(item, exp.Alias) else name
            if name not in self._once or self._once[name] >= 0:
                self._marked.append((name, shown))
                value = self._by_name[name].copy()
                if name in self._once:
                    value.set("this", exp.Null())
                return trees.aliased(value, f"{_MARK}{len(self._marked) - 1}")
        once = [trees.name_of(node) for node in item.find_all(exp.Column) if self._is_new(node)]
        for name in once:
            if name in self._once:
                raise FeatureNotSupported(
                    f'RETURNING cannot compute with column "{name}", which is set to a value that is new each time',
                    hint="Return the column itself.",
                )
        replaced: exp.Expr = item.transform(
            lambda node: self._by_name[trees.name_of(node)].copy() if self._is_new(node) else node
        )
        return replaced

    def shown(
        self, shown: Sequence[int], columns: Sequence[ResultColumn], first: int
    ) -> tuple[tuple[int, ...], tuple[ResultColumn, ...]]:
        """(the places of RETURNING's columns in the query, the columns); ``first`` is where the new values begin."""
        places: list[int] = []
        found: list[ResultColumn] = []
        for place in shown:
            column = columns[place]
            if column.name.startswith(_MARK):
                name, alias = self._marked[int(column.name.removeprefix(_MARK))]
                place = first + self._once[name] if name in self._once else place
                own = self._series.by_name.get(name)
                column = replace(column, name=alias) if own is None else of_column(alias, own, self._series)
            places.append(place)
            found.append(column)
        return tuple(places), tuple(found)

    def _is_new(self, node: exp.Expr) -> bool:
        return (
            isinstance(node, exp.Column)
            and not isinstance(node.this, exp.Star)
            and trees.name_of(node) in self._by_name
            and self._joined.owns(node)
        )


def _nanoseconds(time: exp.Expr) -> exp.Expr:
    made: exp.Expr = trees.expression("CAST(extract(epoch FROM moment) * 1000000000 AS int8)")
    return made.transform(lambda node: time.copy() if isinstance(node, exp.Column) else node)
