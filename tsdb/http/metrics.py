"""Metrics for Prometheus: what came in over HTTP, and what the server's parts tell of themselves.

Names follow Prometheus' conventions: a base unit at the end, ``_total`` for what only grows, help for everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Gauges = Callable[[], Mapping[str, float]]

# What only grows, by the name that its part gives it: the metric's name without _total, and its help.
_COUNTERS = {
    "writers_waited": ("writers_waited", "writes that waited because the head was full"),
    "writers_refused": ("writers_refused", "writes refused because the head was full or the disk had no room"),
    "ops_appended": ("ops_appended", "ops appended to the op log"),
    "op_bytes_appended": ("op_appended_bytes", "bytes of ops appended to the op log"),
    "syncs": ("syncs", "fsyncs of the op log, each for all ops that waited"),
    "flushes": ("flushes", "heads written to blocks"),
    "flush_failures": ("flush_failures", "flushes that failed and were tried again"),
    "flush_seconds": ("flush_seconds", "time spent on writing heads to blocks"),
    "compactions": ("compactions", "times that blocks were merged or dropped"),
    "compaction_failures": ("compaction_failures", "compactions that failed and were tried again"),
    "compaction_interruptions": ("compaction_interruptions", "compactions that were given up to stop"),
    "compaction_seconds": ("compaction_seconds", "time spent on compaction, its rests included"),
    "compaction_blocks_in": ("compaction_read_blocks", "blocks that compaction merged or dropped"),
    "compaction_blocks_out": ("compaction_written_blocks", "blocks that compaction wrote"),
    "compaction_rows_in": ("compaction_read_rows", "versions of points in blocks that compaction merged or dropped"),
    "compaction_rows_out": ("compaction_written_rows", "versions of points in blocks that compaction wrote"),
    "compaction_bytes_in": ("compaction_read_bytes", "bytes of blocks that compaction merged or dropped"),
    "compaction_bytes_out": ("compaction_written_bytes", "bytes of blocks that compaction wrote"),
    "compaction_bytes_deleted": ("compaction_deleted_bytes", "bytes of blocks that compaction deleted"),
    "tagsets_forgotten": ("tagsets_forgotten", "tag sets that were forgotten because no row of them was left"),
    "continuous_refreshes": ("continuous_refreshes", "refreshes of continuous views"),
    "continuous_refresh_failures": ("continuous_refresh_failures", "refreshes of continuous views that failed"),
    "continuous_refresh_seconds": ("continuous_refresh_seconds", "time spent on refreshing continuous views"),
    "tcp_points": ("tcp_points_written", "points written over TCP"),
    "tcp_lines_rejected": ("tcp_lines_rejected", "lines refused over TCP"),
    "tcp_waits": ("tcp_waits", "times that a TCP client was not read from because the node had no room"),
    "tcp_fell_short": ("tcp_writes_fell_short", "writes over TCP that fewer replicas had in time than were asked for"),
    "udp_fell_short": ("udp_writes_fell_short", "writes over UDP that fewer replicas had in time than were asked for"),
    "udp_datagrams": ("udp_datagrams", "datagrams received"),
    "udp_datagrams_dropped": ("udp_datagrams_dropped", "datagrams dropped here and by the kernel"),
    "udp_points": ("udp_points_written", "points written over UDP"),
    "flight_streams_refused": ("flight_streams_refused", "Arrow Flight streams refused because too many were open"),
    "flight_calls": ("flight_calls", "calls of Arrow Flight"),
    "flight_failures": ("flight_failures", "calls of Arrow Flight that failed"),
    "flight_rows_written": ("flight_rows_written", "rows written by Arrow Flight"),
    "flight_rows_sent": ("flight_rows_sent", "rows of results sent by Arrow Flight"),
    "etcd_failures": ("etcd_failures", "requests that a member of etcd did not answer, so that another was asked"),
    "hints_queued": ("hints_queued", "numbered batches that were taken to wait for a node that leads"),
    "hints_delivered": ("hints_delivered", "batches that waited and were stored"),
    "hints_refused": ("hints_refused", "batches that waited and could not be stored as they are"),
    "hints_not_queued": ("hints_not_queued", "batches that were to wait and found no room"),
    "udp_lines_rejected": ("udp_lines_rejected", "lines refused over UDP"),
}
_GAUGES = {
    "hints": "numbered batches that wait at this node for one that leads their database",
    "hints_bytes": "bytes on disk of batches that wait, and of refused ones that are kept",
    "hints_kept": "refused batches whose lines are kept",
    "flight_streams": "Arrow Flight streams that are open",
    "tcp_connections": "clients that are connected over TCP",
    "head_bytes": "recent points in memory that take writes",
    "frozen_bytes": "recent points in memory that are being written to blocks",
    "frozen_heads": "heads that wait to be written to blocks",
    "disk_free_bytes": "free space on the disk of the data directory: below disk_reserve no writes are taken",
    "queued_bytes": "ops that wait for the next fsync",
    "blocks": "blocks on disk",
    "retired_bytes": "bytes of blocks that compaction has replaced and open views may still read",
    "tombstones": "deletions that are not carried out on disk yet",
    "tagsets": "tag sets of all series",
    "views": "states of the data that queries read at the moment",
    "continuous_views": "continuous views in all databases",
    "producers": "producers whose batches are remembered",
    "runs_cache_bytes": "row runs of blocks kept in memory",
    "columns_cache_bytes": "encoded columns of blocks kept in memory",
    "hot_columns_bytes": "decoded columns of blocks kept in memory",
    "summaries_cache_bytes": "summaries of blocks kept in memory",
    "sql_sessions": "SQL clients that are connected",
    "sql_result_bytes": "memory claimed by results on their way to SQL clients",
    "sql_results_waiting": "statements that wait for memory for their result",
    "sql_queries_running": "statements that compute now",
    "sql_queries_waiting": "statements that wait for their turn",
    "etcd_decides": "whether this node is the coordinator of a cluster with metadata in etcd",
    "etcd_commands_applied": "the number of the last command in etcd that this node has applied",
    "sql_queries_refused": "statements that found too many waiting",
}


class _Parts:
    def __init__(self, read: Gauges) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        for name, value in self._read().items():
            if name in _COUNTERS:
                counted, meaning = _COUNTERS[name]
                yield CounterMetricFamily(f"tsdb_{counted}", meaning, value=value)
            else:
                yield GaugeMetricFamily(f"tsdb_{name}", _GAUGES.get(name, name.replace("_", " ")), value=value)


class Metrics:
    """One registry per server: several servers in one process must not share counters."""

    def __init__(self, gauges: Gauges) -> None:
        self._registry = CollectorRegistry()
        self.points = Counter("tsdb_points_written", "points written over HTTP", registry=self._registry)
        self.rejected = Counter("tsdb_lines_rejected", "lines of line protocol refused", registry=self._registry)
        self.bytes = Counter("tsdb_body_bytes", "bytes of write bodies, decompressed", registry=self._registry)
        self.requests = Counter("tsdb_http_requests", "HTTP requests by status", ["status"], registry=self._registry)
        self._by_status: dict[int, Counter] = {}
        self._registry.register(_Parts(gauges))

    def count(self, status: int) -> None:
        """A request was answered."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self.requests.labels(status)
        counter.inc()

    def text(self) -> bytes:
        """Prometheus' text exposition format."""
        return generate_latest(self._registry)
