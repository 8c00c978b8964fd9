"""Kernels are compiled by a process of its own: the server finds them in the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tsdb.server import compiling


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that has what this machine's has, and does not say that it is complete."""
    known = Path(os.environ["NUMBA_CACHE_DIR"])
    copied = tmp_path / "kernels" / known.name
    if known.exists():
        shutil.copytree(known, copied, ignore=shutil.ignore_patterns("all-*"))
    monkeypatch.setenv("TSDB_KERNEL_CACHE", str(copied.parent))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(copied))
    return copied


def test_another_process_compiles_and_says_that_all_is_there(cache: Path, tmp_path: Path) -> None:
    compiling.compile_apart(tmp_path / "scratch", threading.Event())
    assert compiling.marker().parent == cache
    said = compiling.marker().stat().st_mtime_ns
    assert not (tmp_path / "scratch").exists()
    compiling.compile_apart(tmp_path / "scratch", threading.Event())
    assert compiling.marker().stat().st_mtime_ns == said


@pytest.mark.usefixtures("cache")
def test_it_ends_between_two_steps_when_it_has_grown(tmp_path: Path) -> None:
    assert compiling.compile_some(tmp_path / "scratch", lambda: True) == compiling.MORE
    assert not compiling.marker().exists()


@pytest.mark.usefixtures("cache")
def test_a_server_that_stops_does_not_wait_for_it(tmp_path: Path) -> None:
    stopping = threading.Event()
    threading.Timer(0.3, stopping.set).start()
    begin = time.monotonic()
    compiling.compile_apart(tmp_path / "scratch", stopping)
    assert time.monotonic() - begin < 20
    assert not compiling.marker().exists()


@pytest.mark.usefixtures("cache")
def test_one_whose_server_was_killed_while_it_loaded_does_nothing(tmp_path: Path) -> None:
    """It asked to be told of its parent's end when there was none to tell of."""
    code = "import subprocess, sys, os; print(subprocess.Popen(sys.argv[1:] + [str(os.getpid())]).pid, flush=True)"
    wanted = [sys.executable, "-m", "tsdb.server.compiling", str(tmp_path / "scratch")]
    # Its parent starts it and ends at once, long before its modules are loaded. It inherits the end of the pipe.
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", code, *wanted], check=True, stdout=subprocess.PIPE, timeout=60)
    assert time.monotonic() - begin < 60
    assert not compiling.marker().exists()
    assert not (tmp_path / "scratch").exists()
