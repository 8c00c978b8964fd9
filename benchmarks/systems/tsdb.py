"""tsdb itself, started as a user starts it, loaded over HTTP and by COPY, and queried over the PostgreSQL protocol.

Settled means: flushed to blocks by CHECKPOINT (where that is refused, by a clean stop and a new start) and merged by
VACUUM and the compactions that follow.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
from pathlib import Path

import psycopg

from benchmarks import load, sql
from benchmarks.load import Lines, first_line
from benchmarks.processes import ServerProcess, directory_bytes, wait_until_settled
from benchmarks.render import CSV_COLUMNS, Dataset
from benchmarks.systems.adapter import LoadWay, System
from benchmarks.systems.pg_client import PgClient
from benchmarks.workload import FIELDS, SERIES, TAGS

DATABASE = "benchmark"
LINE_PROTOCOL, COPY = "line protocol", "COPY csv"
COMPILE_SECONDS_MAX = 600
READY = re.compile(r"^tsdb ready: postgresql://([^/]+):(\d+)/tsdb http://[^/]+:(\d+)/", re.MULTILINE)


class Tsdb(System):
    """One node, a quorum of one, with its default settings: an acknowledged point is on disk."""

    name = "tsdb"

    def __init__(self) -> None:
        self._server: ServerProcess | None = None
        self._directory = self._data = Path()
        self._pg_port = self._http_port = 0

    def missing(self) -> str | None:
        return None if importlib.util.find_spec("tsdb.__main__") else "not installed: there is no `python -m tsdb`"

    def version(self) -> str:
        try:
            return importlib.metadata.version("tsdb")
        except importlib.metadata.PackageNotFoundError:
            return "of this tree"

    def load_ways(self, workers: tuple[int, ...]) -> tuple[LoadWay, ...]:
        # The last way's data stay for the queries.
        return tuple(LoadWay(how, count) for how in (COPY, LINE_PROTOCOL) for count in workers)

    def start(self, directory: Path) -> None:
        self._directory = directory
        self._data = directory / "data"
        command = [sys.executable, "-m", "tsdb", "start", "--data", str(self._data), "--pg-port", "0"]
        server = ServerProcess([*command, "--http-port", "0"], directory / "server.log")
        self._server = server
        server.wait_until(lambda: READY.search(server.log.read_text(errors="replace")) is not None)
        found = READY.search(server.log.read_text(errors="replace"))
        assert found is not None
        self._pg_port, self._http_port = int(found[2]), int(found[3])
        # Ready is when the kernels are there: loaded, or compiled, which a new tree does once.
        server.wait_until(load.answers(self._http_port, "/ready"), COMPILE_SECONDS_MAX)

    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def load(self, dataset: Dataset, way: LoadWay) -> float:
        if way.name == COPY:
            return self.load_by_copy(dataset.csv, way.workers)
        return load.over_http(dataset.line_protocol, way.workers, *self.write_at())

    def write_at(self) -> tuple[int, str]:
        return self._http_port, f"/write?db={DATABASE}&precision=ns"

    def load_by_copy(self, batches: Lines, workers: int, form: str = "csv") -> float:
        """As PostgreSQL is loaded, batch by batch; only the table is declared with its tags and their key."""
        with psycopg.connect(self.conninfo("tsdb"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}".encode())
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            columns = ["time timestamptz", *(f"{name} text" for name in TAGS), *(f"{name} bigint" for name in FIELDS)]
            key = f"PRIMARY KEY ({', '.join(TAGS)}, time)"
            connection.execute(f"CREATE TABLE {SERIES} ({', '.join(columns)}, {key})".encode())
        return load.by_copy(batches, workers, self.conninfo(), SERIES, CSV_COLUMNS, form)

    def settle(self) -> None:
        client = self.connect()
        try:
            client.execute("CHECKPOINT")
            client.execute("VACUUM")
        except psycopg.Error as error:
            self.notes = (f"tsdb refused CHECKPOINT ({first_line(error)}): settled by a restart instead.",)
            self.stop()
            self.start(self._directory)
        finally:
            client.close()
        wait_until_settled(self.disk_bytes)

    @property
    def http_port(self) -> int:
        """Where it takes line protocol."""
        return self._http_port

    def disk_bytes(self) -> int:
        return directory_bytes(self._data)

    def connect(self) -> PgClient:
        return PgClient(self.conninfo(), sql.TSDB)

    def conninfo(self, database: str = DATABASE) -> str:
        """For libpq."""
        return f"host=127.0.0.1 port={self._pg_port} dbname={database} user=benchmark sslmode=disable"

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None
