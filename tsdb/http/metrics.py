"""Counters for Prometheus: what came in over HTTP, and what the engine tells of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

Gauges = Callable[[], Mapping[str, float]]


class _Gauges:
    def __init__(self, read: Gauges) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        for name, value in self._read().items():
            yield GaugeMetricFamily(f"tsdb_{name}", name.replace("_", " "), value=value)


class Metrics:
    """One registry per server: several servers in one process must not share counters."""

    def __init__(self, gauges: Gauges) -> None:
        self._registry = CollectorRegistry()
        self.points = Counter("tsdb_points_written", "points written over HTTP", registry=self._registry)
        self.rejected = Counter("tsdb_lines_rejected", "lines of line protocol refused", registry=self._registry)
        self.bytes = Counter("tsdb_body_bytes", "bytes of write bodies, decompressed", registry=self._registry)
        self.requests = Counter("tsdb_http_requests", "requests by status", ["status"], registry=self._registry)
        self._registry.register(_Gauges(gauges))

    def text(self) -> bytes:
        """Prometheus' text exposition format."""
        return generate_latest(self._registry)
