"""PostgreSQL: one table with the tags as columns, two B-trees, loaded by COPY from CSV.

The indexes exist before the load, as they would where data keep coming. fsync and full-page writes are on; of the
settings only memory and checkpoint distance differ from the defaults. Space on disk is the table's with its indexes,
without the write-ahead log, which keeps its size whatever the data.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg

from benchmarks import load, sql
from benchmarks.processes import ServerFailed, ServerProcess, free_port
from benchmarks.render import CSV_COLUMNS, Dataset
from benchmarks.systems.adapter import LoadWay, System
from benchmarks.systems.pg_client import PgClient
from benchmarks.workload import SERIES

PACKAGED = Path("/usr/lib/postgresql")
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
    "shared_buffers": "1GB",
    "effective_cache_size": "4GB",
    "work_mem": "64MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
}


def _binaries() -> Path | None:
    """The directory of the newest PostgreSQL server's programs."""
    packaged = sorted(PACKAGED.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3].split(".")[0]))
    if packaged:
        return packaged[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


class Postgres(System):
    """PostgreSQL from the distribution's package."""

    name = "postgres"
    notes = (
        "PostgreSQL is loaded by COPY from CSV into a table with its two indexes; its size is table and indexes.",
        "PostgreSQL answers lastpoint by a recursive loose index scan; DISTINCT ON, as tsdb has it, takes seconds.",
        f"PostgreSQL's settings beyond the defaults: {', '.join(f'{k} = {v}' for k, v in list(SETTINGS.items())[3:])}.",
    )

    def __init__(self) -> None:
        self._server: ServerProcess | None = None
        self._port = 0

    def missing(self) -> str | None:
        return None if _binaries() else "not installed: no PostgreSQL server (Debian's package postgresql)"

    def version(self) -> str:
        command = [str(self._program("postgres")), "--version"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[2]

    @staticmethod
    def _program(name: str) -> Path:
        binaries = _binaries()
        assert binaries is not None
        return binaries / name

    def load_ways(self, workers: tuple[int, ...]) -> tuple[LoadWay, ...]:
        return tuple(LoadWay("COPY csv", count) for count in workers)

    def start(self, directory: Path) -> None:
        user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
        if user:
            shutil.chown(directory, user, user)
        data = directory / "data"
        initdb = ["initdb", "-D", str(data), "-U", "benchmark", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        command = [str(self._program(initdb[0])), *initdb[1:]]
        made = subprocess.run(
            command, capture_output=True, text=True, user=user, group=user, extra_groups=[] if user else None, cwd="/"
        )
        if made.returncode:
            raise ServerFailed(f"initdb: {made.stderr}")
        self._port = free_port()
        settings = {**SETTINGS, "port": str(self._port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        log = directory / "server.log"
        self._server = ServerProcess([str(self._program("postgres")), "-D", str(data), *options], log, user=user)
        self._server.wait_until(self._is_ready)
        client = self.connect()
        client.execute(sql.create_table("text", "timestamptz", "bigint"))
        client.execute(f"CREATE INDEX ON {SERIES} (hostname, time DESC)")
        client.execute(f"CREATE INDEX ON {SERIES} (time)")
        client.close()

    def _is_ready(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def load(self, dataset: Dataset, way: LoadWay) -> float:
        return load.by_copy(dataset.csv, way.workers, self.conninfo(), SERIES, CSV_COLUMNS)

    def settle(self) -> None:
        client = self.connect()
        client.execute(f"VACUUM (ANALYZE) {SERIES}")
        client.execute("CHECKPOINT")
        client.close()

    def disk_bytes(self) -> int:
        with psycopg.connect(self.conninfo()) as connection:
            found = connection.execute("SELECT pg_total_relation_size(%s)", [SERIES]).fetchone()
        assert found is not None
        return int(found[0])

    def conninfo(self) -> str:
        """For libpq."""
        return f"host=127.0.0.1 port={self._port} dbname=postgres user=benchmark sslmode=disable"

    def connect(self) -> PgClient:
        return PgClient(self.conninfo(), sql.POSTGRESQL)

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(signal.SIGINT)  # "fast": does not wait for clients
            self._server = None
