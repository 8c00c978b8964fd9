"""The second try that tests of real processes have (tests/fixtures/second_try.py)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# Each fixture says when it is made and when it goes.
MODULE = """
import pytest

tries = []

def made(name):
    print("made", name)
    yield []
    print("gone", name)

@pytest.fixture(scope="session")
def postgres():
    yield from made("postgres")

@pytest.fixture(scope="module")
def server(postgres):
    yield from made("server")

@pytest.fixture
def client(server):
    yield from made("client")

def test_before(server):
    server.append("written before")

@pytest.mark.flaky(reruns=1)
def test_fails_once(client, server):
    server.append("killed")
    tries.append(1)
    assert len(tries) == 2
    assert server == ["killed"], "no second try would pass"

def test_after(server):
    assert server == ["killed"], "what passed leaves fixtures to the next one"
"""


def of(tmp_path: Path, text: str) -> list[str]:
    """What a run says that matters here."""
    (tmp_path / "test_it.py").write_text(text)
    options = ["-p", "tests.fixtures.second_try", "-p", "no:randomly", "-p", "no:cacheprovider", "-s", "-q"]
    told = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    words = ("made ", "gone ", "1 failed", "2 failed", "3 failed", "passed")
    # Dots of progress stand before what a test prints.
    return [line.strip(".R") for line in told.stdout.splitlines() if any(word in line for word in words)]


def test_has_fixtures_of_its_own_and_what_passes_leaves_them(tmp_path: Path) -> None:
    told = of(tmp_path, MODULE)
    servers = ["made postgres", "made server"]
    gone = ["gone client", "gone server", "gone postgres"]
    assert told[:-1] == [*servers, "made client", *gone, *servers, "made client", *gone]
    assert "3 passed, 1 rerun" in told[-1]


@pytest.mark.parametrize("mark", ["@pytest.mark.flaky(reruns=1)", ""])
def test_what_fails_each_time_fails(tmp_path: Path, mark: str) -> None:
    text = MODULE.partition("def test_after")[0].replace("@pytest.mark.flaky(reruns=1)", mark).replace("== 2", "== 3")
    told = of(tmp_path, text)
    assert told.count("made server") == (2 if mark else 1)
    assert ("1 failed, 1 passed, 1 rerun" if mark else "1 failed, 1 passed in") in told[-1]
