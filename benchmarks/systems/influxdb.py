"""InfluxDB 1.x: line protocol over HTTP, InfluxQL over HTTP with JSON answers.

Settings are the defaults (index in memory, WAL synced at every write), but for how long a shard must be idle before it
is flushed and merged in full: seconds instead of minutes and hours, so that its size can be read once it has settled.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import influxql, load
from benchmarks.answers import Answer
from benchmarks.processes import ServerProcess, directory_bytes, free_port, wait_until_settled
from benchmarks.queries import Kind, Query
from benchmarks.render import Dataset
from benchmarks.systems.adapter import Client, LoadWay, System

DATABASE = "benchmark"
CONFIGURATION = """\
reporting-disabled = true
bind-address = "127.0.0.1:{rpc_port}"
[meta]
  dir = "{data}/meta"
[data]
  dir = "{data}/data"
  wal-dir = "{data}/wal"
  query-log-enabled = false
  cache-snapshot-write-cold-duration = "5s"
  compact-full-write-cold-duration = "10s"
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{http_port}"
  log-enabled = false
"""


class InfluxClient(Client):
    """A kept HTTP connection; JSON is decoded by msgspec."""

    def __init__(self, port: int) -> None:
        self._connection = load.HttpConnection(port)

    def ways(self, query: Query) -> tuple[str, ...]:
        del query
        return ("json",)

    def compile(self, query: Query, way: str) -> Callable[[], Any]:
        del way
        parameters = {"db": DATABASE, "epoch": "ns", "q": influxql.statement(query)}
        return lambda: msgspec.json.decode(self._connection.get("/query", parameters))

    def answer(self, query: Query, way: str, result: Any) -> Answer:
        del way
        return influxql.answer(query, result)

    def close(self) -> None:
        self._connection.close()


class InfluxDb(System):
    """InfluxDB 1.x from the distribution's package."""

    name = "influxdb"
    notes = ("InfluxDB flushes and merges idle shards after seconds here, by default after minutes and hours.",)

    def __init__(self) -> None:
        self._server: ServerProcess | None = None
        self._data = Path()
        self._port = 0

    def missing(self) -> str | None:
        return None if shutil.which("influxd") else "not installed: no influxd (Debian's package influxdb)"

    def version(self) -> str:
        return subprocess.run(["influxd", "version"], capture_output=True, text=True, check=True).stdout.split()[1]

    def load_ways(self, workers: tuple[int, ...]) -> tuple[LoadWay, ...]:
        return tuple(LoadWay("line protocol", count) for count in workers)

    def start(self, directory: Path) -> None:
        self._data = directory / "data"
        self._data.mkdir()
        self._port = free_port()
        configuration = directory / "influxdb.conf"
        configuration.write_text(
            CONFIGURATION.format(data=self._data, http_port=self._port, rpc_port=free_port()), encoding="utf-8"
        )
        self._server = ServerProcess(["influxd", "run", "-config", str(configuration)], directory / "server.log")
        self._server.wait_until(load.answers(self._port, "/ping"))
        connection = load.HttpConnection(self._port)
        connection.get("/query", {"q": f"CREATE DATABASE {DATABASE}"}, method="POST")
        connection.close()

    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def load(self, dataset: Dataset, way: LoadWay) -> float:
        return load.over_http(dataset.line_protocol, way.workers, *self.write_at())

    def write_at(self) -> tuple[int, str]:
        return self._port, f"/write?db={DATABASE}&precision=ns"

    def settle(self) -> None:
        # Idle shards are looked for once a second; a full compaction begins ten seconds after the last write.
        wait_until_settled(self.disk_bytes, quiet_seconds=20.0, seconds_max=180.0)

    def disk_bytes(self) -> int:
        return directory_bytes(self._data)

    def connect(self) -> InfluxClient:
        return InfluxClient(self._port)

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def keeps_order(self, query: Query) -> bool:
        # With GROUP BY time and a tag it answers one tag's series after another.
        return query.is_ordered and query.kind is not Kind.MEAN_BY_BUCKET_AND_HOST
