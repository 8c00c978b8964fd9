"""Queries: the front door to SELECT. ``prepare`` binds, ``run`` executes on one in-memory DuckDB instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tsdb.errors import FeatureNotSupported
from tsdb.model.schema import Catalog
from tsdb.model.store import View
from tsdb.sql.context import Context
from tsdb.sql.result import ResultColumn, Rows
from tsdb.sql.statement import Explain, Select
from tsdb.types import SqlType


@dataclass(frozen=True)
class Prepared:
    """A bound query: columns and parameters are known, nothing has run. Valid for one catalog version."""

    columns: tuple[ResultColumn, ...]
    parameters: tuple[SqlType, ...]
    catalog_version: int


class Queries:
    """Owns the DuckDB instance. Thread-safe: each running query has a cursor of its own."""

    def __init__(
        self, *, memory_limit_bytes: int = 1 << 30, threads: int = 2, spill_directory: Path | None = None
    ) -> None:
        self.memory_limit_bytes = memory_limit_bytes

    def prepare(
        self,
        statement: Select | Explain,
        context: Context,
        catalog: Catalog,
        parameter_types: Sequence[SqlType | None] = (),
    ) -> Prepared:
        """Bind a query without running it. ``parameter_types`` are the client's; None: infer."""
        raise FeatureNotSupported("queries are not bound yet")

    def run(self, prepared: Prepared, view: View, values: Sequence[object | None], context: Context) -> Rows:
        """Start a bound query. The first batch is there as soon as DuckDB has it. Close what is returned."""
        raise FeatureNotSupported("queries do not run yet")

    def close(self) -> None:
        """Interrupt what runs and close the instance."""
