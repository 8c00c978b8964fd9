"""InfluxDB's and QuestDB's own clients for Python write here, and see their errors as they expect them."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import pandas as pd
import pytest

from tests.lines.conftest import rows
from tsdb.server import Server
from tsdb.storage.room import DiskRoom

FRAME = pd.DataFrame(
    {"f": [1.5, 2.5], "i": [1, 2], "s": ["x", "y z"]}, index=pd.to_datetime(["2026-01-01", "2026-01-02"], utc=True)
)
QUERY = "SELECT time::date::text, f, i, s FROM df ORDER BY time"
STORED = [("2026-01-01", 1.5, 1, "x"), ("2026-01-02", 2.5, 2, "y z")]


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    """These clients warn of themselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Trouble:
    """A disk that is full for a while."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self._full = threading.Event()
        self._full.set()
        monkeypatch.setattr(DiskRoom, "takes_writes", lambda *_: not self._full.is_set())
        threading.Timer(seconds, self._full.clear).start()


def test_influxdb_5(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    influxdb = pytest.importorskip("influxdb")
    client = influxdb.InfluxDBClient("127.0.0.1", server.http_port, "anybody", "any", "d1")
    assert client.ping() == "1.8.10"
    client.create_database("d1")
    assert {"name": "d1"} in client.get_list_database()
    point = {"measurement": "m", "tags": {"a": "b c"}, "time": 1, "fields": {"f": 1.5, "i": 3, "s": 'x"y', "b": True}}
    assert client.write_points([point])
    assert client.get_list_measurements() == [{"name": "m"}]
    assert client.get_list_retention_policies("d1")[0]["name"] == "autogen"
    with pytest.raises(influxdb.exceptions.InfluxDBClientError) as caught:
        client.write_points(["m f=", "m f=2 2"], protocol="line")
    assert caught.value.code == 400
    assert "partial write: unable to parse 'm f=': missing field value" in caught.value.content
    assert rows(server, "SELECT a, f, i, s, b FROM m ORDER BY time", "d1") == [
        ("b c", 1.5, 3, 'x"y', True), (None, 2.0, None, None, None)
    ]  # fmt: skip
    packed = influxdb.InfluxDBClient("127.0.0.1", server.http_port, database="d1", gzip=True)
    assert packed.write_points([{"measurement": "g", "time": 5, "fields": {"f": 1.0}}], time_precision="ms")
    assert rows(server, "SELECT time_ns FROM g", "d1") == [(5_000_000,)]
    nanoseconds = FRAME.set_axis(FRAME.index.as_unit("ns"))
    influxdb.DataFrameClient("127.0.0.1", server.http_port, database="d1").write_points(nanoseconds, "df")
    assert rows(server, QUERY, "d1") == STORED
    Trouble(monkeypatch, 0.3)
    with pytest.raises(influxdb.exceptions.InfluxDBServerError, match="disk is nearly full"):
        client.write_points(["m f=3 3"], protocol="line")
    client.close()
    packed.close()


def test_influxdb_client_2(server: Server) -> None:
    influx = pytest.importorskip("influxdb_client")
    from influxdb_client.client.write_api import SYNCHRONOUS
    from influxdb_client.rest import ApiException

    client = influx.InfluxDBClient(f"http://127.0.0.1:{server.http_port}", token="any", org="o", enable_gzip=True)
    assert client.ping()
    assert client.version() == "1.8.10"
    assert client.health().status == "pass"
    api = client.write_api(write_options=SYNCHRONOUS)
    point = influx.Point("m").tag("a", "b").field("i", 1).field("f", 2.5).field("s", "x").field("b", False)
    api.write("b2", "o", point.time(5, influx.WritePrecision.MS))
    assert rows(server, "SELECT time_ns, a, i, f, s, b FROM m", "b2") == [(5_000_000, "b", 1, 2.5, "x", False)]
    with pytest.raises(ApiException) as caught:
        api.write("b2", "o", 'm i="text" 1\nm i=2i 2')
    assert (caught.value.status, caught.value.message) == (400, (
        'partial write: field type conflict: input field "i" on measurement "m" is type string, '
        "already exists as type integer dropped=1"
    ))  # fmt: skip
    api.write("b2", "o", FRAME, data_frame_measurement_name="df")
    assert rows(server, QUERY, "b2") == STORED
    client.close()


def test_influxdb_client_2_in_batches_tries_again_what_passes(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    influx = pytest.importorskip("influxdb_client")
    failed: list[Any] = []
    options = influx.WriteOptions(batch_size=500, flush_interval=50, retry_interval=200, max_retries=8)
    with influx.InfluxDBClient(f"http://127.0.0.1:{server.http_port}", token="any", org="o") as client:
        Trouble(monkeypatch, 0.5)
        with client.write_api(write_options=options, error_callback=lambda *a: failed.append(a)) as api:
            for i in range(3000):
                api.write("b2", "o", f"m f={i} {i}")
    assert failed == []
    assert rows(server, "SELECT count(*) FROM m", "b2") == [(3000,)]


def test_influxdb3_python(server: Server) -> None:
    influx = pytest.importorskip("influxdb_client_3")
    from influxdb_client_3 import exceptions

    partial_write: type[Exception] = vars(exceptions)["InfluxDBPartialWriteError"]
    for number, v2 in enumerate((True, False)):
        options = influx.write_client_options(
            write_options=influx.WriteOptions(write_type=influx.WriteType.synchronous, use_v2_api=v2)
        )
        client = influx.InfluxDBClient3(
            host=f"http://127.0.0.1:{server.http_port}",
            token="any",
            database=f"b{number}",
            write_client_options=options,
        )
        assert client.get_server_version() == "1.8.10"
        client.write(influx.Point("m").tag("a", "b").field("f", 1.5).time(7))
        client.write(FRAME, data_frame_measurement_name="df")
        assert rows(server, "SELECT time_ns, a, f FROM m", f"b{number}") == [(7, "b", 1.5)]
        assert rows(server, QUERY, f"b{number}") == STORED
        with pytest.raises(Exception) as caught:
            client.write("m f=2 8\nm f= 9\n")
        if not v2:
            assert isinstance(caught.value, partial_write)
            assert vars(caught.value)["line_errors"][0].line_number == 2
        assert rows(server, "SELECT count(*) FROM m", f"b{number}") == [(2,)]
        client.close()


def test_questdbs_client_over_http(server: Server) -> None:
    questdb = pytest.importorskip("questdb.ingress")
    with questdb.Sender.from_conf(f"http::addr=127.0.0.1:{server.http_port};protocol_version=1;") as sender:
        sender.row("trades", symbols={"s": "ETH"}, columns={"price": 2615.54, "n": 4}, at=questdb.TimestampNanos(123))
        sender.flush()
    assert rows(server, "SELECT time_ns, s, price, n FROM trades") == [(123, "ETH", 2615.54, 4)]
    sender = questdb.Sender.from_conf(f"http::addr=127.0.0.1:{server.http_port};protocol_version=1;auto_flush=off;")
    sender.establish()
    sender.row("trades", columns={"price": "text"}, at=questdb.TimestampNanos(124))
    with pytest.raises(questdb.IngressError, match="field type conflict"):
        sender.flush()
    sender.close(flush=False)
