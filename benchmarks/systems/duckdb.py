"""DuckDB inside this process: a database file, loaded from Parquet or CSV, answers fetched as Arrow tables.

There is no server, no wire and no row in Python: its times are those of a library, not of a service.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from benchmarks import sql
from benchmarks.answers import Answer, from_arrow
from benchmarks.processes import directory_bytes
from benchmarks.queries import Query
from benchmarks.render import CSV_COLUMNS, Dataset
from benchmarks.systems.adapter import Client, LoadWay, System
from benchmarks.workload import FIELDS, SERIES, TAGS


class DuckDbClient(Client):
    """A cursor of the one database."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor

    def ways(self, query: Query) -> tuple[str, ...]:
        del query
        return ("arrow",)

    def compile(self, query: Query, way: str) -> Callable[[], Any]:
        del way
        text = sql.with_literals(query, sql.DUCKDB)
        return lambda: self._cursor.sql(text).to_arrow_table()

    def answer(self, query: Query, way: str, result: Any) -> Answer:
        del way
        return from_arrow(result, query)

    def close(self) -> None:
        self._cursor.close()


class DuckDb(System):
    """DuckDB as a library."""

    name = "duckdb"
    notes = ("DuckDB runs inside the client's process: no server, no wire, answers as Arrow tables.",)

    def __init__(self) -> None:
        self._directory = Path()
        self._connection: duckdb.DuckDBPyConnection | None = None

    def missing(self) -> str | None:
        return None

    def version(self) -> str:
        return duckdb.__version__

    def load_ways(self, workers: tuple[int, ...]) -> tuple[LoadWay, ...]:
        del workers  # it has threads of its own
        return LoadWay("csv", 1), LoadWay("parquet", 1)

    def start(self, directory: Path) -> None:
        self._directory = directory / "data"
        self._directory.mkdir()
        self._connection = duckdb.connect(str(self._directory / "benchmark.duckdb"))
        # Without a time zone (all times are UTC): date_trunc is several times as fast on it as on timestamptz.
        self._connection.execute(sql.create_table("VARCHAR", "TIMESTAMP", "BIGINT"))

    def pid(self) -> None:
        return None

    def load(self, dataset: Dataset, way: LoadWay) -> float:
        assert self._connection is not None
        begin = time.perf_counter()
        self._connection.execute(f"INSERT INTO {SERIES} BY NAME {_source(dataset, way)}")
        self._connection.execute("CHECKPOINT")
        return time.perf_counter() - begin

    def settle(self) -> None:
        assert self._connection is not None
        self._connection.execute("CHECKPOINT")

    def disk_bytes(self) -> int:
        return directory_bytes(self._directory)

    def connect(self) -> DuckDbClient:
        assert self._connection is not None
        return DuckDbClient(self._connection.cursor())

    def stop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _source(dataset: Dataset, way: LoadWay) -> str:
    others = ", ".join((*TAGS, *FIELDS))
    if way.name == "parquet":
        return f"SELECT make_timestamp(epoch_us(time)) AS time, {others} FROM '{dataset.parquet}'"
    types = {name: "TIMESTAMP" if name == "time" else "BIGINT" if name in FIELDS else "VARCHAR" for name in CSV_COLUMNS}
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in types.items())
    return f"SELECT * FROM read_csv('{dataset.csv.path}', header = false, columns = {{{columns}}})"
