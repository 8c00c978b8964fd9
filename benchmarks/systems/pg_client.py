"""A psycopg connection as a client: what tsdb and PostgreSQL share.

The ways: *simple* (psycopg's `execute` of a text without parameters: the simple query protocol, text results, Python
tuples), *prepared* (parameters and `prepare=True`: extended protocol, text results, Python tuples). The fetch adds
*binary* (binary results, Python tuples) and *libpq* (text results left in libpq's memory, as a C client has them).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from benchmarks import sql
from benchmarks.answers import Answer, from_rows
from benchmarks.processes import ServerFailed
from benchmarks.queries import Kind, Query
from benchmarks.systems.adapter import Client

Rows = tuple[list[str], list[tuple[Any, ...]]]


class PgClient(Client):
    """One connection in autocommit."""

    def __init__(self, conninfo: str, dialect: sql.Dialect) -> None:
        self._connection = psycopg.connect(conninfo, autocommit=True)
        self._dialect = dialect

    def ways(self, query: Query) -> tuple[str, ...]:
        if query.kind is Kind.FETCH:
            return ("simple", "prepared", "binary", "libpq")
        return ("simple", "prepared", "binary")

    def compile(self, query: Query, way: str) -> Callable[[], Any]:
        literal = sql.with_literals(query, self._dialect)
        if way == "libpq":
            return lambda: self._libpq(literal.encode())
        if way == "simple":
            return lambda: self._rows(literal, None, prepare=False)
        text, parameters = sql.with_parameters(query, self._dialect)
        return lambda: self._rows(text, parameters, prepare=True, binary=way == "binary")

    def explained(self, query: Query) -> Rows:
        """EXPLAIN ANALYZE of it."""
        return self._rows(f"EXPLAIN ANALYZE {sql.with_literals(query, self._dialect)}", None, prepare=False)

    def receiving(self, query: Query) -> Callable[[], Any]:
        return self.compile(query, "libpq")

    def _rows(self, text: str, parameters: list[object] | None, *, prepare: bool, binary: bool = False) -> Rows:
        with self._connection.cursor(binary=binary) as cursor:
            cursor.execute(text.encode(), parameters, prepare=prepare)
            return [column.name for column in cursor.description or ()], cursor.fetchall()

    def _libpq(self, text: bytes) -> int:
        result = self._connection.pgconn.exec_(text)
        if result.status != psycopg.pq.ExecStatus.TUPLES_OK:
            raise ServerFailed(result.error_message.decode())
        return result.ntuples

    def answer(self, query: Query, way: str, result: Any) -> Answer | None:
        if way == "libpq":
            return None
        names, rows = result
        return from_rows(names, rows, query)

    def execute(self, text: str) -> None:
        """Run a statement without a result."""
        self._connection.execute(text.encode())

    def close(self) -> None:
        self._connection.close()
