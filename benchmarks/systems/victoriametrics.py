"""VictoriaMetrics: line protocol over HTTP, MetricsQL over HTTP with JSON answers.

It acknowledges points that are in its memory: a crash may lose the last seconds. Its settings are the defaults, but for
the retention, which would refuse data of 2016. See `promql` for what its queries can and cannot say.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import load, promql
from benchmarks.answers import Answer
from benchmarks.processes import ServerFailed, ServerProcess, directory_bytes, free_port, wait_until_settled
from benchmarks.queries import Kind, Query
from benchmarks.render import Dataset
from benchmarks.systems.adapter import Client, LoadWay, System

PROGRAM = "victoria-metrics"


class VictoriaClient(Client):
    """A kept HTTP connection; JSON is decoded by msgspec."""

    def __init__(self, port: int, data_end_ns: int) -> None:
        self._connection = load.HttpConnection(port)
        self._data_end_ns = data_end_ns

    def ways(self, query: Query) -> tuple[str, ...]:
        return ("export",) if query.kind is Kind.FETCH else ("json",)

    def compile(self, query: Query, way: str) -> Callable[[], Any]:
        path, parameters = promql.request(query, self._data_end_ns)
        if way == "export":
            return lambda: msgspec.json.decode(self._lines_as_array(path, parameters))
        return lambda: self._result(path, parameters)

    def _lines_as_array(self, path: str, parameters: dict[str, str]) -> bytes:
        return b"[" + self._connection.get(path, parameters).rstrip().replace(b"\n", b",") + b"]"

    def _result(self, path: str, parameters: dict[str, str]) -> Any:
        document = msgspec.json.decode(self._connection.get(path, parameters))
        if document["status"] != "success":
            raise ServerFailed(f"VictoriaMetrics: {document}")
        return document["data"]["result"]

    def answer(self, query: Query, way: str, result: Any) -> Answer:
        del way
        return promql.answer(query, result)

    def close(self) -> None:
        self._connection.close()


class VictoriaMetrics(System):
    """Single-node VictoriaMetrics from the distribution's package."""

    name = "victoriametrics"
    notes = (
        "VictoriaMetrics acknowledges points that are in memory only.",
        "VictoriaMetrics' answers are compared but for ragged buckets, lastpoint's times and high-cpu, which it lacks.",
    )

    def __init__(self) -> None:
        self._server: ServerProcess | None = None
        self._data = Path()
        self._port = 0
        self._data_end_ns = 0

    def missing(self) -> str | None:
        return None if shutil.which(PROGRAM) else f"not installed: no {PROGRAM} (Debian's package of that name)"

    def version(self) -> str:
        found = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", PROGRAM], capture_output=True, text=True)
        return found.stdout or "unknown"  # `--version` of Debian's build prints nothing

    def load_ways(self, workers: tuple[int, ...]) -> tuple[LoadWay, ...]:
        return tuple(LoadWay("line protocol", count) for count in workers)

    def start(self, directory: Path) -> None:
        self._data = directory / "data"
        self._port = free_port()
        flags = {
            "storageDataPath": self._data,
            "httpListenAddr": f"127.0.0.1:{self._port}",
            "retentionPeriod": "100y",
        }
        command = [PROGRAM, *(f"-{name}={value}" for name, value in flags.items())]
        self._server = ServerProcess(command, directory / "server.log")
        self._server.wait_until(load.answers(self._port, "/health"))

    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def load(self, dataset: Dataset, way: LoadWay) -> float:
        self._data_end_ns = dataset.workload.end_ns
        return load.over_http(dataset.line_protocol, way.workers, *self.write_at())

    def write_at(self) -> tuple[int, str]:
        return self._port, "/write?db=benchmark&precision=ns"

    def settle(self) -> None:
        connection = load.HttpConnection(self._port)
        connection.get("/internal/force_flush", {})
        connection.get("/internal/force_merge", {})
        connection.close()
        wait_until_settled(self.disk_bytes)

    def disk_bytes(self) -> int:
        return directory_bytes(self._data)

    def connect(self) -> VictoriaClient:
        return VictoriaClient(self._port, self._data_end_ns)

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def not_comparable(self, query: Query) -> str | None:
        return promql.not_comparable(query)

    def comparable(self, query: Query, answer: Answer) -> Answer:
        return promql.comparable(query, answer)

    def keeps_order(self, query: Query) -> bool:
        # Series come in the order of the server's hash map; `promql.answer` sorts by bucket.
        return query.is_ordered and query.kind is not Kind.MEAN_BY_BUCKET_AND_HOST
