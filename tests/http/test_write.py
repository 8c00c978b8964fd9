"""Writes over HTTP into a real node: statuses and texts by API, and what is stored afterwards."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tsdb.clock import ManualClock
from tsdb.cluster.node import Node
from tsdb.http.app import create_app
from tsdb.http.options import HttpOptions
from tsdb.model.schema import CreateSeries, SetRetention
from tsdb.model.store import TIME_NS, ScanRequest
from tsdb.storage.options import Options

NOW = 1_700_000_000_123_456_789


class Client:
    """An HTTP client on an application over one node, without a socket."""

    def __init__(self, node: Node, options: HttpOptions) -> None:
        self.node = node
        self._pool = ThreadPoolExecutor(2)
        self.app = create_app(node, ManualClock(NOW), self._pool, options)

    def request(self, method: str, url: str, **arguments: Any) -> httpx.Response:
        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.request(method, url, **arguments)

        return asyncio.run(go())

    def write(self, body: str | bytes, path: str = "/write?db=d", headers: Mapping[str, str] = {}) -> httpx.Response:
        return self.request("POST", path, content=body, headers=dict(headers))

    def rows(self, name: str, database: str = "d") -> list[dict[str, Any]]:
        """The visible rows, by column name, in the order of time; absent fields left out."""
        view = self.node.view()
        series = view.catalog.find(database).find(name)
        numbers = [c.number for c in series.columns if c is not series.time]
        scan = view.scan(ScanRequest(series, (TIME_NS, *numbers)))
        names = {str(c.number): c.name for c in series.columns} | {TIME_NS: "time"}
        rows = [{names[k]: v for k, v in row.items() if v is not None} for b in scan.batches for row in b.to_pylist()]
        view.close()
        return sorted(rows, key=lambda row: (row["time"], str(row)))

    def close(self) -> None:
        self._pool.shutdown()
        self.node.close()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    client = Client(Node.open(tmp_path, Options(clock=ManualClock(NOW))), HttpOptions())
    yield client
    client.close()


@pytest.mark.parametrize("path", ["/write?db=d", "/api/v2/write?bucket=d/autogen&org=o", "/api/v3/write_lp?db=d"])
def test_good_lines_are_204_and_stored(client: Client, path: str) -> None:
    answer = client.write('cpu,host=a usage=1.5,n=3i,ok=t,s="x",big=7u 10\ncpu,host=b usage=2 11\n', path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["x-influxdb-version"]
    assert client.rows("cpu") == [
        {"time": 10, "host": "a", "usage": 1.5, "n": 3, "ok": True, "s": "x", "big": 7},
        {"time": 11, "host": "b", "usage": 2.0},
    ]


def test_lines_without_a_time_get_the_time_of_arrival_in_the_precision(client: Client) -> None:
    assert client.write("m f=1", "/write?db=d&precision=s").status_code == 204
    assert client.rows("m") == [{"time": NOW // 10**9 * 10**9, "f": 1.0}]


@pytest.mark.parametrize(
    ("precision", "factor"),
    [
        ("n", 1),
        ("ns", 1),
        ("u", 1000),
        ("us", 1000),
        ("ms", 10**6),
        ("s", 10**9),
        ("m", 60 * 10**9),
        ("h", 3600 * 10**9),
    ],
)
def test_every_precision_scales_times(client: Client, precision: str, factor: int) -> None:
    assert client.write("m f=1 7", f"/write?db=d&precision={precision}").status_code == 204
    assert client.rows("m")[0]["time"] == 7 * factor


def test_precision_auto_goes_by_magnitude(client: Client) -> None:
    lines = "m f=1 1700000000\nm f=2 1700000000001\nm f=3 1700000000002000\nm f=4 1700000000003000000\n"
    assert client.write(lines, "/api/v3/write_lp?db=d&precision=auto").status_code == 204
    second = 1_700_000_000_000_000_000
    assert [row["time"] for row in client.rows("m")] == [second + ms * 10**6 for ms in range(4)]


def test_a_wrong_precision_is_400_with_influxdbs_text(client: Client) -> None:
    answer = client.write("m f=1", "/write?db=d&precision=fortnight")
    assert answer.status_code == 400
    assert answer.json()["error"] == 'invalid precision "fortnight" (use n, u, ms, s, m or h)'


def test_a_gzip_body_is_taken_and_a_broken_one_is_400(client: Client) -> None:
    assert client.write(gzip.compress(b"m f=1 1"), headers={"Content-Encoding": "gzip"}).status_code == 204
    broken = client.write(b"\x1f\x8bnonsense", headers={"Content-Encoding": "gzip"})
    assert broken.status_code == 400
    assert "gzip" in broken.json()["error"]


def test_good_lines_between_bad_ones_are_stored_on_v1(client: Client) -> None:
    answer = client.write("m f=1 1\nm f= 2\nm f=3 3\n")
    assert answer.status_code == 400
    body = answer.json()
    assert body["error"].startswith("partial write: unable to parse 'm f= 2': missing field value")
    assert body["error"].endswith("dropped=1")
    assert answer.headers["x-influxdb-error"] == body["error"]
    assert [row["f"] for row in client.rows("m")] == [1.0, 3.0]


def test_v2_names_the_line(client: Client) -> None:
    body = client.write("m f=1 1\nm f= 2\n", "/api/v2/write?bucket=d").json()
    assert (body["code"], body["line"]) == ("invalid", 2)


def test_v3_lists_each_bad_line(client: Client) -> None:
    body = client.write("m f=1 1\nm f= 2\nnope\n", "/api/v3/write_lp?db=d").json()
    assert body["error"] == "partial write of line protocol occurred"
    assert [entry["line_number"] for entry in body["data"]] == [2, 3]
    assert body["data"][0]["original_line"] == "m f= 2"


def test_all_lines_bad_gives_one_text_a_line_on_v1(client: Client) -> None:
    answer = client.write("nope\nm f=\n")
    assert answer.status_code == 400
    assert answer.json()["error"].count("unable to parse") == 2
    assert "partial write" not in answer.json()["error"]


def test_accept_partial_false_stores_nothing(client: Client) -> None:
    answer = client.write("m f=1 1\nnope\n", "/api/v3/write_lp?db=d&accept_partial=false")
    assert answer.status_code == 400
    assert answer.json()["error"] == "parsing failed for write_lp endpoint"
    assert "d" not in client.node.catalog.databases or not client.node.catalog.find("d").series


def test_a_type_conflict_rejects_its_line_alone_with_both_types_named(client: Client) -> None:
    assert client.write("m f=1 1").status_code == 204
    answer = client.write('m f="x" 2\nm f=2i 3\n')
    assert answer.status_code == 400
    assert answer.json()["error"] == (
        'partial write: field type conflict: input field "f" on measurement "m" is type string, '
        "already exists as type float dropped=1"
    )
    assert [row["f"] for row in client.rows("m")] == [1.0, 2.0]


def test_the_error_list_is_capped_and_the_count_exact(client: Client) -> None:
    body = client.write("m f=1 1\n" + "bad\n" * 500, "/api/v3/write_lp?db=d").json()
    assert len(body["data"]) == 100
    assert client.write("m f=1 1\n" + "bad\n" * 500).json()["error"].endswith("dropped=500")


def test_only_comments_are_204_and_store_nothing(client: Client) -> None:
    assert client.write("# nothing\n\n   \n").status_code == 204


def test_a_missing_database_is_400_and_an_unknown_one_404_when_writes_may_not_create(tmp_path: Path) -> None:
    client = Client(Node.open(tmp_path, Options()), HttpOptions(create_database=False))
    assert client.write("m f=1", "/write").json()["error"] == "database is required"
    assert client.write("m f=1", "/api/v2/write").json()["message"] == "bucket is required"
    unknown = client.write("m f=1", "/write?db=nope")
    assert unknown.status_code == 404
    assert "database not found" in unknown.json()["error"]
    client.close()


def test_a_body_past_the_limit_is_413(tmp_path: Path) -> None:
    client = Client(Node.open(tmp_path, Options()), HttpOptions(body_bytes_max=100))
    assert client.write("m f=1 1\n" + "#" * 92).status_code == 204
    assert client.write("m f=1 1\n" + "#" * 93).status_code == 413
    packed = client.write(gzip.compress(b"#" * 1000), headers={"Content-Encoding": "gzip"})
    assert packed.status_code == 413
    client.close()


def test_bodies_beyond_the_memory_for_them_are_503_with_retry_after(tmp_path: Path) -> None:
    client = Client(Node.open(tmp_path, Options()), HttpOptions(bodies_bytes_max=50))
    answer = client.write("#" * 51)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    client.close()


def test_a_numbered_batch_is_applied_once_and_answered_the_same(client: Client) -> None:
    headers = {"X-Tsdb-Producer": "p", "X-Tsdb-Batch": "1"}
    client.node.change(*_keyless("events"))
    first = client.write("events v=1 1\nbad\n", headers=headers)
    again = client.write("events v=1 1\nbad\n", headers=headers)
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert [row["v"] for row in client.rows("events")] == [1.0]
    client.write("events v=1 1", headers={**headers, "X-Tsdb-Batch": "2"})
    assert [row["v"] for row in client.rows("events")] == [1.0, 1.0]


def test_a_numbered_batch_needs_a_time_on_every_line(client: Client) -> None:
    answer = client.write("m f=1\n", headers={"X-Tsdb-Producer": "p", "X-Tsdb-Batch": "1"})
    assert answer.status_code == 400
    assert "missing timestamp" in answer.json()["error"]


def test_points_beyond_retention_are_refused_in_the_words_telegraf_knows(client: Client) -> None:
    client.write(f"m f=1 {NOW}")
    client.node.change(SetRetention("d", "m", 3600 * 10**9))
    answer = client.write(f"m f=2 {NOW - 7200 * 10**9}\nm f=3 {NOW + 1}\n")
    assert answer.status_code == 400
    assert answer.json()["error"] == "partial write: points beyond retention policy dropped=1"
    assert 3.0 in [row["f"] for row in client.rows("m")]


def test_a_large_body_is_cut_into_parts_and_keeps_line_numbers(client: Client) -> None:
    lines = [f'm,t=a s="{"x" * 100}\n{i}",n={i}i {i}' for i in range(150_000)]
    lines[120_000] = "bad"
    answer = client.write("\n".join(lines), "/api/v3/write_lp?db=d")
    assert answer.status_code == 400
    assert answer.json()["data"][0]["line_number"] == 240_001
    assert len(client.rows("m")) == 149_999


def test_two_writers_may_discover_the_same_schema_at_once(client: Client) -> None:
    bodies = [f"m,host=h{i} a=1,b{i % 3}=2i {i}" for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda body: client.write(body).status_code, bodies))
    assert statuses == [204] * 40
    assert len(client.rows("m")) == 40


def test_probes_answer_as_clients_expect(client: Client) -> None:
    assert client.request("GET", "/ping").status_code == 204
    assert client.request("HEAD", "/ping").headers["x-influxdb-version"]
    assert client.request("GET", "/ping?verbose=true").json()["version"]
    assert client.request("GET", "/health").json()["status"] == "pass"
    created = client.request("POST", "/query", data={"q": 'CREATE DATABASE "telegraf"'})
    assert (created.status_code, created.json()) == (200, {"results": [{"statement_id": 0}]})
    assert "telegraf" in client.node.catalog.databases
    shown = client.request("GET", "/query", params={"q": "SHOW DATABASES"}).json()
    assert ["telegraf"] in shown["results"][0]["series"][0]["values"]
    assert client.request("GET", "/query").status_code == 400
    assert client.request("GET", "/query", params={"q": "SELECT 1"}).status_code == 400


def test_a_form_of_too_many_fields_is_400(client: Client) -> None:
    answer = client.request("POST", "/query", data={f"f{i}": "1" for i in range(101)})
    assert (answer.status_code, answer.json()) == (400, {"error": "the form has more than 100 fields"})


async def _trickle(pieces: int, size: int, seconds: float) -> AsyncIterator[bytes]:
    for i in range(pieces):
        yield b"m f=1 %d\n" % i + b"#" * size + b"\n"
        await asyncio.sleep(seconds)


def test_a_body_that_stalls_is_given_up_and_one_that_comes_steadily_is_not(tmp_path: Path) -> None:
    node = Node.open(tmp_path, Options(clock=ManualClock(NOW)))
    client = Client(node, HttpOptions(bodies_bytes_max=100_000, body_timeout_s=0.5))
    for _ in range(3):
        stalled = client.request("POST", "/write?db=d", content=_trickle(40, 1000, 0.1))
        assert stalled.status_code == 503
        assert "too slowly" in stalled.json()["error"]
        assert (stalled.headers["retry-after"], stalled.headers["connection"]) == ("2", "close")
    # All of it takes longer than one piece may, and a busy machine may be late by a second.
    client.app = create_app(node, ManualClock(NOW), client._pool, HttpOptions(body_timeout_s=1.5))
    steady = client.request("POST", "/write?db=d", content=_trickle(4, 17_000, 0.5))
    assert steady.status_code == 204
    assert len(client.rows("m")) == 4
    client.close()


def test_a_request_that_is_cancelled_when_the_server_stops_is_answered(client: Client) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def send(message: Any) -> None:
        sent.append(message)

    async def go() -> None:
        scope = {"type": "http", "method": "POST", "path": "/write", "query_string": b"db=d", "headers": []}
        running = asyncio.create_task(client.app(scope, receive, send))
        await asyncio.sleep(0.05)
        running.cancel()
        await running

    asyncio.run(go())
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"2") in sent[0]["headers"]


def test_metrics_count_points_and_refused_lines(client: Client) -> None:
    client.write("m f=1 1\nbad\n")
    text = client.request("GET", "/metrics").text
    assert "tsdb_points_written_total 1.0" in text
    assert "tsdb_lines_rejected_total 1.0" in text


def test_requests_for_another_host_are_403(client: Client) -> None:
    assert client.write("m f=1", headers={"Host": "example.org"}).status_code == 403
    assert client.write("m f=1", headers={"Origin": "http://example.org"}).status_code == 403


def _keyless(name: str) -> list[Any]:
    from tsdb.model.schema import LINE_PROTOCOL_TIME, ColumnDefinition, CreateDatabase, Role
    from tsdb.types import FLOAT8

    columns = (LINE_PROTOCOL_TIME, ColumnDefinition("v", Role.FIELD, FLOAT8))
    return [CreateDatabase("d"), CreateSeries("d", name, columns, keyed=False)]


def test_ready_is_503_while_something_is_in_the_way_and_says_what(client: Client) -> None:
    assert client.request("GET", "/ready").status_code == 200

    def obstacle(only_reads: bool) -> str | None:
        return None if only_reads else "it is night"

    app = create_app(client.node, ManualClock(NOW), ThreadPoolExecutor(1), HttpOptions(), obstacle=obstacle)

    async def ask(path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            return await http.get(path)

    for path in ("/ready", "/ready?read_level=linearizable"):
        answer = asyncio.run(ask(path))
        assert (answer.status_code, answer.json()["message"]) == (503, "serving, but it is night")
    assert asyncio.run(ask("/ready?read_level=any")).status_code == 200
    assert asyncio.run(ask("/ready?read_level=bounded")).status_code == 400
    assert asyncio.run(ask("/health")).status_code == 200
