"""Clients of InfluxDB in other languages, and curl, write here."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.drivers.test_tours import PROGRAMS
from tests.fixtures.server import Start

CONFLICT = 'field type conflict: input field "i" on measurement "m" is type string, already exists as type integer'


@pytest.mark.drivers
def test_nodes_client_writes_in_batches(start: Start, tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    for path in (PROGRAMS / "node_influx").iterdir():
        shutil.copy(path, tmp_path)
    made = subprocess.run(
        ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr[-3000:]
    process = start()
    done = subprocess.run(
        ["node", str(tmp_path / "write.js"), f"http://127.0.0.1:{process.http_port}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [f"400 invalid partial write: {CONFLICT} dropped=1", "done"]
    with psycopg.connect(process.pg_url.rpartition("/")[0] + "/node") as connection:
        query = "SELECT count(*), sum(i), max(f), count(DISTINCT host), min(s) FROM m"
        assert connection.execute(query.encode()).fetchall() == [(5000, 12_497_500, 1249.75, 3, 'a "0"')]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_writes_as_the_manuals_say(start: Start, tmp_path: Path) -> None:
    process = start("--http-socket", str(tmp_path / "http.sock"))
    url = f"http://localhost:{process.http_port}"
    body = "m f=1 1\n" + "#" * 2000 + "\n"  # more than 1,024 bytes: curl expects 100-continue of old
    (tmp_path / "body").write_text(body)
    (tmp_path / "body.gz").write_bytes(gzip.compress(body.replace("1 1", "2 2").encode()))

    def curl(*words: str) -> str:
        command = ["curl", "-sS", "-m", "30", "-w", "%{http_code}", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    assert curl("-i", f"{url}/ping").split()[1] == "204"
    created = curl("-X", "POST", f"{url}/query", "--data-urlencode", "q=CREATE DATABASE d")
    assert created == '{"results":[{"statement_id":0}]}200'
    assert curl("-H", "Expect: 100-continue", f"{url}/write?db=d", "--data-binary", "@body") == "204"
    assert curl("-H", "Content-Encoding: gzip", f"{url}/write?db=d", "--data-binary", "@body.gz") == "204"
    chunked = ("-H", "Transfer-Encoding: chunked")
    assert curl(*chunked, f"{url}/api/v2/write?bucket=d&precision=s", "-d", "m f=3 3") == "204"
    assert curl("-u", "any:thing", f"{url}/api/v3/write_lp?db=d", "-d", "m f=4 4") == "204"
    assert curl("--unix-socket", "http.sock", "http://tsdb/write?db=d", "-d", "m f=5 5") == "204"
    assert curl(f"{url}/write?db=d", "-d", "bad").startswith('{"error":"unable to parse \'bad\': missing fields')
    with psycopg.connect(process.pg_url.rpartition("/")[0] + "/d") as connection:
        assert connection.execute("SELECT sum(f), count(*) FROM m").fetchall() == [(15.0, 5)]
