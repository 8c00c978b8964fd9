"""COPY TO: the query whose rows are copied, and what must hold for it."""

from __future__ import annotations

from tsdb.errors import FeatureNotSupported, SqlSyntaxError
from tsdb.model.schema import Catalog, Series
from tsdb.sql import names
from tsdb.sql.context import Context
from tsdb.sql.copy.input import check_listed
from tsdb.sql.copy.statement import Copy
from tsdb.sql.dml import insert
from tsdb.sql.reader import QualifiedName
from tsdb.sql.result import ResultColumn
from tsdb.sql.statement import Delete, Fragment, Insert, Select, Statement, Update, parse


def query_of(copy: Copy) -> Statement:
    """The statement whose rows are copied: a query, or INSERT, UPDATE or DELETE with RETURNING."""
    if copy.query is not None:
        statement = parse(copy.query)
        if not isinstance(statement, Select | Insert | Update | Delete):
            raise SqlSyntaxError("COPY needs a query", position=copy.query.offset + 1)
        return statement
    assert copy.relation is not None
    columns = ", ".join(_quoted(name) for name in copy.columns) if copy.columns is not None else "*"
    return parse(Fragment(f"SELECT {columns} FROM {_named(copy.relation)}"))


def check_columns(copy: Copy, context: Context, catalog: Catalog) -> None:
    """The columns that COPY and FORCE_QUOTE name must be the table's. Raises UndefinedColumn, DuplicateColumn."""
    if copy.relation is None:
        return
    series = names.find(context, catalog.find(context.database), *copy.relation)
    if isinstance(series, Series):
        columns = insert.given_columns(series, list(copy.columns) if copy.columns is not None else None)
        check_listed(copy, [column.name for column in columns], series)


def check_result(copy: Copy, columns: tuple[ResultColumn, ...] | None) -> None:
    """Raises FeatureNotSupported, InvalidColumnReference."""
    if columns is None:
        raise FeatureNotSupported("COPY query must have a RETURNING clause")
    check_listed(copy, [column.name for column in columns], None)


def _named(relation: QualifiedName) -> str:
    return ".".join(_quoted(part) for part in relation if part)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
