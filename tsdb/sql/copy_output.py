"""COPY TO: the query whose rows are copied, and what must hold for it."""

from __future__ import annotations

from tsdb.errors import FeatureNotSupported, SqlSyntaxError
from tsdb.model.schema import Catalog
from tsdb.sql import insert
from tsdb.sql.copy_input import check_listed
from tsdb.sql.copy_statement import Copy
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
    return parse(Fragment(f"SELECT {columns} FROM {_quoted(copy.relation)}"))


def check_columns(copy: Copy, database: str, catalog: Catalog) -> None:
    """The columns that COPY and FORCE_QUOTE name must be the table's. Raises UndefinedColumn, DuplicateColumn."""
    series = catalog.find(database).series.get(copy.relation) if copy.relation is not None else None
    if series is not None:
        columns = insert.given_columns(series, list(copy.columns) if copy.columns is not None else None)
        check_listed(copy, [column.name for column in columns], series)


def check_result(copy: Copy, columns: tuple[ResultColumn, ...] | None) -> None:
    """Raises FeatureNotSupported, InvalidColumnReference."""
    if columns is None:
        raise FeatureNotSupported("COPY query must have a RETURNING clause")
    check_listed(copy, [column.name for column in columns], None)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
