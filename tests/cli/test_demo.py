"""``tsdb demo`` and ``tsdb sql`` as their users see them."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fixtures.environment import ROOT, clean_environment
from tests.fixtures.server import Start

DEMO = [sys.executable, "-m", "tsdb", "demo", "--hosts", "20"]


def environment(tmp_path: Path) -> dict[str, str]:
    return {**clean_environment(), "TMPDIR": str(tmp_path), "COLUMNS": "100"}


def test_the_demo_loads_asks_and_ends(tmp_path: Path) -> None:
    done = subprocess.run(
        DEMO, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "21,600 points" in done.stdout
    assert done.stdout.count(" rows (") == 3
    for name in ("psql", "Grafana", "Telegraf"):
        assert f"\n{name}" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ignored", [False, True])
def test_on_a_terminal_the_demo_serves_until_ctrl_c(tmp_path: Path, ignored: bool) -> None:
    """Also where the shell that started it had it ignore Ctrl-C, as for a command in the background."""
    terminal, other_end = pty.openpty()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
    try:
        demo = subprocess.Popen(
            DEMO, cwd=ROOT, env=environment(tmp_path), stdin=other_end, stdout=other_end, stderr=other_end
        )
    finally:
        signal.signal(signal.SIGINT, before)
    os.close(other_end)
    try:
        shown = b""
        until = time.monotonic() + 120
        while b"Serving until Ctrl-C" not in shown and time.monotonic() < until:
            shown += os.read(terminal, 65536)
        assert demo.poll() is None
        demo.send_signal(signal.SIGINT)
        assert demo.wait(20) == 0
    finally:
        demo.kill()
        demo.wait()
        os.close(terminal)
    assert list(tmp_path.iterdir()) == []


def sql(url: str, *arguments: str, sent: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tsdb", "sql", url, *arguments],
        cwd=ROOT,
        env={**clean_environment(), "COLUMNS": "100"},
        input=sent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_sql_prints_tables_and_says_by_its_exit_code_whether_all_went_well(start: Start) -> None:
    process = start()
    assert process.write("cpu,host=a f=1.5,i=2i,b=true 0\ncpu,host=b f=2.5 1000")[0] == 204
    done = sql(process.pg_url, "-c", "SELECT host, f, i, b FROM cpu ORDER BY host")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["a", "1.5", "2", "t"] in lines
    assert ["b", "2.5"] in lines
    assert "2 rows" in done.stdout

    done = sql(process.pg_url, sent="SELECT 1 AS one;\nSELECT nothing;\nSELECT\n3 AS three;\n")
    assert done.returncode == 1
    assert "one" in done.stdout
    assert "three" in done.stdout
    assert 'column "nothing" does not exist' in done.stderr
    assert process.stop()[0] == 0
