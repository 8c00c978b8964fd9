"""Telegraf's rules for status codes, as its outputs have them, on what we really answer: no good point is ever lost.

``influxdb`` (v1) takes 204 alone; makes a database that is not found; drops what else is 4xx, and 5xx with a text that
it knows; sends the rest again. ``influxdb_v2`` takes 200 to 208; halves a batch on 413; sends 401, 403, 429, 502, 503
and 504 again, after Retry-After; drops the rest of 4xx.

Sources: Telegraf, ``plugins/outputs/influxdb/http.go`` (writeBatch) and ``plugins/outputs/influxdb_v2/http.go``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.auth.conftest import ADMIN_PASSWORD, running
from tests.http.test_write import NOW, Client
from tsdb.clock import ManualClock
from tsdb.cluster.node import Node
from tsdb.http.options import HttpOptions
from tsdb.model.schema import SetRetention
from tsdb.storage.options import Options

V1, V2 = "/write?db=d&consistency=any", "/api/v2/write?bucket=d&org=o"
_KNOWN = ("partial write", "points beyond retention policy", "unable to parse", "hinted handoff queue not empty")


def decided_v1(answer: httpx.Response) -> str:
    """done, drop, retry or create."""
    text = answer.json().get("error", "") if answer.content else ""
    if answer.status_code == 204:
        return "done"
    if answer.status_code == 404 and "database not found" in text:
        return "create"
    if answer.status_code < 500 or any(known in text for known in _KNOWN):
        return "drop"
    return "retry"


def decided_v2(answer: httpx.Response) -> str:
    """done, drop, retry or split."""
    status = answer.status_code
    if 200 <= status <= 208:
        return "done"
    if status == 413:
        return "split"
    if status in (401, 403, 429, 502, 503, 504):
        return "retry"
    return "drop" if 400 <= status < 500 else "retry"


def send_v1(client: Client, lines: str) -> str:
    """As the output does; what became of the batch."""
    decided = decided_v1(client.write(lines, V1))
    if decided == "create":
        made = client.request("POST", "/query?q=" + quote('CREATE DATABASE "d"'))
        assert made.status_code == 200
        assert "error" not in made.json()["results"][0]
        decided = decided_v1(client.write(lines, V1))
    return decided


def send_v2(client: Client, lines: str) -> str:
    decided = decided_v2(client.write(lines, V2))
    if decided != "split":
        return decided
    batch = lines.splitlines(keepends=True)
    assert len(batch) > 1, "a single metric that is too large is dropped"
    half = len(batch) // 2
    both = {send_v2(client, "".join(batch[:half])), send_v2(client, "".join(batch[half:]))}
    return both.pop() if len(both) == 1 else "drop"


OUTPUTS = {"influxdb": send_v1, "influxdb_v2": send_v2}
output = pytest.mark.parametrize("output", OUTPUTS)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    made = Client(Node.open(tmp_path, Options(clock=ManualClock(NOW))), HttpOptions(create_database=False))
    made.request("POST", "/query?q=" + quote('CREATE DATABASE "d"'))
    yield made
    made.close()


def stored(client: Client) -> list[float]:
    return [row["v"] for row in client.rows("m")]


@output
def test_good_points_are_done_and_stored(client: Client, output: str) -> None:
    assert OUTPUTS[output](client, "m v=1 1\nm v=2 2\n") == "done"
    assert stored(client) == [1.0, 2.0]


@output
@pytest.mark.parametrize("bad", ["m v=", "m v=1i 5x", 'm v="text" 5', "m,v=tag v=1 5", "m time=1 5", "nonsense"])
def test_what_is_dropped_with_bad_lines_is_bad_alone(client: Client, output: str, bad: str) -> None:
    client.write("m v=0 0\n", V1)
    assert OUTPUTS[output](client, f"m v=1 1\n{bad}\nm v=2 2\n") == "drop"
    assert stored(client) == [0.0, 1.0, 2.0]


@output
def test_points_beyond_retention_are_dropped_and_the_others_stored(client: Client, output: str) -> None:
    client.write(f"m v=0 {NOW}\n", V1)
    client.node.change(SetRetention("d", "m", 3600 * 10**9))
    assert OUTPUTS[output](client, f"m v=1 1\nm v=2 {NOW + 1}\n") == "drop"
    assert stored(client) == [0.0, 2.0]


def test_a_database_that_is_not_there_is_made_and_the_batch_sent_again(tmp_path: Path) -> None:
    client = Client(Node.open(tmp_path, Options(clock=ManualClock(NOW))), HttpOptions(create_database=False))
    assert send_v1(client, "m v=1 1\n") == "done"
    assert stored(client) == [1.0]
    client.close()


def test_a_bucket_that_is_not_there_is_made_by_the_write(tmp_path: Path) -> None:
    client = Client(Node.open(tmp_path, Options(clock=ManualClock(NOW))), HttpOptions())
    assert send_v2(client, "m v=1 1\n") == "done"
    assert stored(client) == [1.0]
    client.close()


def test_a_batch_that_is_too_large_is_halved_until_it_fits(tmp_path: Path) -> None:
    client = Client(Node.open(tmp_path, Options(clock=ManualClock(NOW))), HttpOptions(body_bytes_max=50))
    assert send_v2(client, "".join(f"m v={i} {i}\n" for i in range(40))) == "done"
    assert len(stored(client)) == 40
    client.close()


@output
def test_what_passes_is_sent_again_after_a_while(tmp_path: Path, output: str) -> None:
    """A full disk, and too many bodies at a time."""
    path = {"influxdb": V1, "influxdb_v2": V2}[output]
    free = [1 << 40]
    full = Options(clock=ManualClock(NOW), free_bytes=lambda _: free[-1])
    cases = [(full, HttpOptions()), (Options(clock=ManualClock(NOW)), HttpOptions(bodies_bytes_max=5))]
    for number, (options, http) in enumerate(cases):
        client = Client(Node.open(tmp_path / str(number), options), http)
        free.append(0)
        answer = client.write("m v=1 1\n", path)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert OUTPUTS[output](client, "m v=1 1\n") == "retry"
        client.close()


def test_a_wrong_password_keeps_the_batch_of_v2_and_costs_that_of_v1(tmp_path: Path) -> None:
    """As with InfluxDB itself: v1 logs the 401 and drops."""
    with running(tmp_path / "data", loopback_password="true") as guarded, httpx.Client() as http:

        def answer(path: str, **headers: str) -> httpx.Response:
            return http.post(guarded.server.http_url.rstrip("/") + path, content="m v=1 1", headers=headers)

        for path in (V1, V2):
            refused = answer(path, Authorization="Token wrong")
            assert refused.status_code == 401
            assert ("www-authenticate" in refused.headers) == (path == V1)
        assert decided_v1(answer(V1, Authorization="Token wrong")) == "drop"
        assert decided_v2(answer(V2, Authorization="Token wrong")) == "retry"
        right = f"Token tsdb:{ADMIN_PASSWORD}"
        assert decided_v1(answer(V1, Authorization=right)) == decided_v2(answer(V2, Authorization=right)) == "done"
