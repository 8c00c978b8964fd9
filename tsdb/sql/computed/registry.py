"""Registers computed functions with DuckDB and calls them for whole vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from tsdb.errors import TsdbError

SEPARATOR = "\x1f"

_ARROW = {
    "VARCHAR": pa.string(), "BIGINT": pa.int64(), "INTEGER": pa.int32(), "BOOLEAN": pa.bool_(), "DOUBLE": pa.float64(),
    "BLOB": pa.binary(), "VARCHAR[]": pa.list_(pa.string()), "BIGINT[]": pa.list_(pa.int64()),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Computed:
    """A function by DuckDB's name and types. A strict one is not asked about NULLs: it gives NULL."""

    name: str
    arguments: tuple[str, ...]
    result: str
    function: Callable[..., Any]
    strict: bool

    def over(self, *columns: pa.ChunkedArray) -> pa.Array:
        """The results for a vector of arguments."""
        known: dict[Any, Any] = {}
        function, strict = self.function, self.strict
        made: list[Any] = []
        lists = any(a.endswith("[]") for a in self.arguments)
        for row in zip(*(c.to_pylist() for c in columns), strict=True):
            if strict and None in row:
                made.append(None)
                continue
            key = repr(row) if lists else row
            if key not in known:
                known[key] = self._one(function, row)
            made.append(known[key])
        return pa.array(made, _ARROW[self.result])

    def _one(self, function: Callable[..., Any], row: tuple[Any, ...]) -> Any:
        try:
            return function(*row)
        except TsdbError as error:
            raise _as_text(error) from None


# DuckDB counts a function's parameters.
_ARITIES: dict[int, Callable[[Callable[..., pa.Array]], Callable[..., pa.Array]]] = {
    1: lambda over: lambda a: over(a),
    2: lambda over: lambda a, b: over(a, b),
    3: lambda over: lambda a, b, c: over(a, b, c),
    4: lambda over: lambda a, b, c, d: over(a, b, c, d),
}


@dataclass(frozen=True, slots=True)
class OverVectors:
    """A function that takes whole vectors and gives a whole vector, NULLs and all."""

    name: str
    arguments: tuple[str, ...]
    result: str
    function: Callable[..., pa.Array]

    def over(self, *columns: pa.ChunkedArray) -> pa.Array:
        """The result for a vector of arguments."""
        try:
            return self.function(*(_whole(column) for column in columns))
        except TsdbError as error:
            raise _as_text(error) from None


def _whole(column: pa.ChunkedArray) -> pa.Array:
    made = column.combine_chunks()
    # An array that begins inside another shows all of the other's values.
    return made if not made.offset else pa.concat_arrays([made])


def _as_text(error: TsdbError) -> ValueError:
    """DuckDB hands on nothing but a text."""
    return ValueError(SEPARATOR.join((f"{error.sqlstate}:{error}", error.detail or "", error.hint or "")))


REGISTERED: dict[str, Computed | OverVectors] = {}


def computed(
    name: str, *arguments: str, result: str, strict: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function of values under DuckDB's ``name``."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        assert name.startswith("py_")
        assert name not in REGISTERED, name
        REGISTERED[name] = Computed(name, arguments, result, function, strict)
        return function

    return register


def over_vectors(
    name: str, *arguments: str, result: str
) -> Callable[[Callable[..., pa.Array]], Callable[..., pa.Array]]:
    """Register a function of whole vectors under DuckDB's ``name``."""

    def register(function: Callable[..., pa.Array]) -> Callable[..., pa.Array]:
        assert name.startswith("py_")
        assert name not in REGISTERED, name
        REGISTERED[name] = OverVectors(name, arguments, result, function)
        return function

    return register


def install(connection: duckdb.DuckDBPyConnection) -> None:
    """Make all computed functions known to an instance."""
    for each in REGISTERED.values():
        create: Any = connection.create_function
        create(
            each.name,
            _ARITIES[len(each.arguments)](each.over),
            list(each.arguments),
            each.result,
            type="arrow",
            null_handling="special",
            side_effects=False,
        )


def remove(connection: duckdb.DuckDBPyConnection) -> None:
    """Forget them: DuckDB would keep the Python functions alive."""
    for name in REGISTERED:
        connection.remove_function(name)
