"""/metrics keeps Prometheus' conventions: help and a type for every name, _total for counters, base units."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

from tests.fixtures.server import get, write
from tsdb.http.metrics import _COUNTERS, _GAUGES
from tsdb.server import Server

_NAME = re.compile(r"tsdb_[a-z]+(_[a-z]+)*")
_NOT_BASE = ("_ms", "_us", "_ns", "_kb", "_mb", "_mib", "_kib", "_minutes", "_percent")


def test_names_types_and_help_follow_the_conventions(server: Server) -> None:
    assert write(server.http_port, "m f=1 1")[0] == 204
    families = list(text_string_to_metric_families(get(server.http_port, "/metrics")))
    assert {"tsdb_points_written", "tsdb_sql_sessions", "tsdb_flush_seconds"} <= {each.name for each in families}
    for family in families:
        assert _NAME.fullmatch(family.name), family.name
        assert not family.name.endswith(_NOT_BASE), family.name
        assert family.type in ("counter", "gauge"), family.name
        assert len(family.documentation.split()) > 1, family.name
        assert family.documentation != family.name.removeprefix("tsdb_").replace("_", " "), family.name
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith(("_total", "_created")), sample.name


def test_all_that_the_parts_tell_is_a_counter_or_a_gauge(server: Server) -> None:
    known = set(_COUNTERS) | set(_GAUGES)
    # The server of this test has no listeners for lines and for Flight, and its metadata are not in etcd.
    absent = ("tcp_", "udp_", "flight_", "etcd_")
    assert set(server._gauges()) == {name for name in known if not name.startswith(absent)}
