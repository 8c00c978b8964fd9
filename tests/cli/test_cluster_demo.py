"""``tsdb cluster demo`` as its users see it: three processes, one of them killed, and nothing left in the end."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fixtures.environment import ROOT, clean_environment
from tests.fixtures.waiting import until

DEMO = [sys.executable, "-m", "tsdb", "cluster", "demo"]
LONG_S = 300


def environment(tmp_path: Path) -> dict[str, str]:
    # A setting of the user's server is none of the demo's nodes.
    return {**clean_environment(), "TMPDIR": str(tmp_path), "COLUMNS": "100", "TSDB_PG_PORT": "1"}


def processes(of: Path) -> list[str]:
    """Command lines of running processes that name a path."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(of) in words:
            found.append(words)
    return found


@pytest.mark.nightly
def test_a_node_is_killed_and_comes_back_and_every_point_is_counted(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DEMO, "--seconds", "0.5"],
        cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=LONG_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert done.stderr == ""
    story = (
        r"node1 serves, process \d+",
        r"node3 serves, process \d+",
        r'database "demo"',
        r"kill -9 \d+: node\d is dead",
        r"writes go on after [\d,]+ ms: node\d leads now",
        r"starting node\d again; [\d,]+ points were acknowledged without it",
        r"node\d is back: .* after \d+\.\d s",
        r"every acknowledged point is there, once: ([\d,]+) of \1, asked of each of the 3 nodes",
        r"their directory is removed",
    )
    assert re.search(".*".join(story), done.stdout, re.DOTALL), done.stdout
    # No terminal: nothing is written over.
    assert "\x1b" not in done.stdout
    assert re.search(r"node\d DOWN · .* points acknowledged", done.stdout)
    assert list(tmp_path.iterdir()) == []
    assert processes(tmp_path) == []


def test_it_ends_in_the_middle_and_leaves_nothing(tmp_path: Path) -> None:
    terminal, other_end = pty.openpty()
    demo = subprocess.Popen(
        DEMO, cwd=ROOT, env=environment(tmp_path), stdin=other_end, stdout=other_end, stderr=other_end
    )
    os.close(other_end)
    try:
        shown = b""
        end = time.monotonic() + LONG_S
        while b"points acknowledged" not in shown and time.monotonic() < end:
            shown += os.read(terminal, 65536)
        assert len(processes(tmp_path)) == 3
        demo.send_signal(signal.SIGINT)
        with open(terminal, "rb", closefd=False) as rest:
            try:
                while more := rest.read1(65536):
                    shown += more
            except OSError:
                pass
        assert demo.wait(60) == 130
    finally:
        demo.kill()
        demo.wait()
        os.close(terminal)
    assert b"their directory is removed" in shown
    assert list(tmp_path.iterdir()) == []
    assert processes(tmp_path) == []


def test_its_nodes_end_with_it_when_it_is_killed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    demo = subprocess.Popen(
        [*DEMO, "--data", str(data)], cwd=ROOT, env=environment(tmp_path), stdout=subprocess.PIPE, text=True
    )
    try:
        assert demo.stdout is not None
        assert "node1 serves" in demo.stdout.readline()
    finally:
        demo.kill()
        demo.communicate()
    until(lambda: not processes(tmp_path))
    assert (data / "node1").is_dir()
    again = subprocess.run(
        [*DEMO, "--data", str(data)],
        cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert again.returncode == 2
    assert "give an empty directory" in again.stderr
