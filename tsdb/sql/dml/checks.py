"""CHECK constraints: the rows that a statement writes, against the conditions of their table.

All of a batch are asked by one query of the points in hand (``bind.given``); a condition that is NULL refuses nothing.
What is asked is the row as it is written: into a time series a row may merge with an earlier one, and the two are not
looked at together. Source: PostgreSQL 15, ExecConstraints (execMain.c).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from sqlglot import exp

from tsdb.errors import CheckViolation, DatatypeMismatch, FeatureNotSupported, UndefinedColumn, UndefinedParameter
from tsdb.model import privileges
from tsdb.model.points import Points
from tsdb.model.privileges import Privilege
from tsdb.model.relations import Constraint
from tsdb.model.schema import Catalog, Series
from tsdb.model.store import SEQUENCE
from tsdb.sql import check_text, trees
from tsdb.sql.bind import given
from tsdb.sql.bind.given import GivenView
from tsdb.sql.context import Context
from tsdb.sql.dml.modification import Reading
from tsdb.sql.query import Queries
from tsdb.sql.statement import Fragment, Select
from tsdb.types import BOOL

# PostgreSQL's limit of a value in "Failing row contains".
_SHOWN_BYTES = 64


def check(reading: Reading, points: Points) -> None:
    """Raises CheckViolation for the first row that a check refuses."""
    found = refused(reading, points)
    if found is not None:
        raise found[1]


def refused(reading: Reading, points: Points) -> tuple[int, CheckViolation] | None:
    """The first row that a check refuses, and its error."""
    series = points.series
    if not series.checks or not len(points):
        return None
    first: tuple[int, int] | None = None
    for batch in _asked(reading, points, _query(series)):
        places = np.flatnonzero(batch.column(0).is_valid().to_numpy(zero_copy_only=False))
        for place in places.tolist():
            found = batch.column(1)[place].as_py(), batch.column(0)[place].as_py()
            first = found if first is None or found < first else first
    if first is None:
        return None
    row, violated = first
    return row, _violation(reading, points.take(np.array([row])), series.checks[violated])


def _violation(reading: Reading, row: Points, constraint: Constraint) -> CheckViolation:
    series = row.series
    error = CheckViolation(
        f'new row for relation "{series.name}" violates check constraint "{constraint.name}"',
        detail=_failing_row(reading, row),
    )
    error.constraint = (series.schema, series.name, constraint.name)
    return error


def violated(series: Series, name: str) -> CheckViolation:
    """Rows that are there do not meet a check that is added or validated."""
    error = CheckViolation(f'check constraint "{name}" of relation "{series.name}" is violated by some row')
    error.constraint = (series.schema, series.name, name)
    return error


def _failing_row(reading: Reading, row: Points) -> str | None:
    """A row as PostgreSQL shows it in DETAIL (ExecBuildSlotValueDescription); None to whom may not read it."""
    series, context = row.series, reading.context
    allowed = privileges.privileges_of(reading.catalog.roles, context.role, series)
    if not allowed & Privilege.SELECT:
        return None
    texts = [trees.aliased(_shown(c.name, is_bool=c.type == BOOL), f"c{i}") for i, c in enumerate(series.columns)]
    query = trees.derived(
        Fragment(f"row of {series.number}"), "CHECK", trees.select(texts, given.table(series, series.name))
    )
    values = [array[0].as_py() for batch in _asked(reading, row, query) for array in batch.columns]
    return f"Failing row contains ({', '.join(map(_cut, values))})."


def _shown(name: str, *, is_bool: bool) -> exp.Expr:
    column = trees.column(name)
    if not is_bool:
        return exp.Cast(this=column, to=exp.DataType.build("text"))
    no = exp.Not(this=trees.column(name))
    return exp.Case(
        ifs=[exp.If(this=column, true=exp.Literal.string("t")), exp.If(this=no, true=exp.Literal.string("f"))]
    )


def _cut(value: str | None) -> str:
    if value is None:
        return "null"
    octets = value.encode()
    return value if len(octets) <= _SHOWN_BYTES else octets[:_SHOWN_BYTES].decode(errors="ignore") + "..."


def _asked(reading: Reading, points: Points, query: Select) -> Iterator[pa.RecordBatch]:
    """The rows of a query of the points in hand. It asks for no privilege: a check is part of the table."""
    prepared = reading.queries.prepare(query, reading.context, reading.catalog, ())
    rows = reading.queries.run(prepared, GivenView(reading.view, points), (), reading.context)
    try:
        yield from rows
    finally:
        rows.close()


def _query(series: Series) -> Select:
    """The number of the check that a row does not meet, and the row's place; NULL where there is none."""
    texts = [check_text.current(series, each) for each in series.checks]
    branches = [
        exp.If(this=exp.Not(this=exp.Paren(this=check_text.condition(text))), true=exp.Literal.number(i))
        for i, text in enumerate(texts)
    ]
    items = [trees.aliased(exp.Case(ifs=branches), "violated"), trees.aliased(trees.column(SEQUENCE), "place")]
    text = f"CHECK {series.number} ({') ('.join(texts)})"
    return trees.derived(Fragment(text), "CHECK", trees.select(items, given.table(series, series.name)))


def examine(queries: Queries, context: Context, catalog: Catalog, series: Series, checks: Sequence[Constraint]) -> None:
    """New checks of a table, before they are there. Raises what binding them raises, DatatypeMismatch,
    FeatureNotSupported."""
    for each in checks:
        text = check_text.current(series, each)
        tree = check_text.condition(text)
        if tree.find(exp.Query) is not None:
            raise FeatureNotSupported("cannot use subquery in check constraint")
        if (parameter := tree.find(exp.Parameter, exp.Placeholder)) is not None:
            raise UndefinedParameter(f"there is no parameter ${parameter.name}")
        # Of a row that is not there yet it would be the place among those of its statement.
        if any(column.name.lower() == SEQUENCE for column in tree.find_all(exp.Column)):
            raise UndefinedColumn(f'column "{SEQUENCE}" does not exist')
        # With the place beside it an aggregate is refused, as it must be.
        items = [trees.aliased(tree.copy(), "condition"), trees.aliased(trees.column(SEQUENCE), "place")]
        made = trees.select(items, given.table(series, series.name))
        query = trees.derived(Fragment(f"CHECK {series.number} ({text})"), "condition", made)
        found = queries.prepare(query, context, catalog, ()).columns[0].type
        if found != BOOL:
            raise DatatypeMismatch(f"argument of CHECK must be type boolean, not type {found.name}")
