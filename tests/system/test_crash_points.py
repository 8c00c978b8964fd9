"""kill -9 between every two steps of a numbered write and of a flush: sent again it is there once, answered the same.

The steps are in ``crash_points``; nightly both ways die before and after each, and several restarts follow.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.environment import ROOT, clean_environment
from tests.system.crash_points import BATCHES, DEAD_ENDS, POINTS, ROWS

BAD = "partial write: unable to parse 'events a= 1': missing field value (column 10) dropped=1"
ANSWERS = {"lines": [BAD] * BATCHES, "commit": [str(ROWS)] * BATCHES}


def check(data: Path, way: str, when: str, restarts: int) -> None:
    program = [sys.executable, "-m", "tests.system.crash_points", str(data), way, when, str(restarts)]
    done = subprocess.run(
        program, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=600, check=True
    )
    stored = {"point": "", "answers": ANSWERS[way], "rows": {str(batch): ROWS for batch in range(1, BATCHES + 1)}}
    expected: list[object] = []
    for point in POINTS:
        if (way, point) not in DEAD_ENDS:
            expected += [{"point": f"{when} {point}", "status": -signal.SIGKILL}, *[stored] * restarts]
    assert [json.loads(line) for line in done.stdout.splitlines()] == expected


@pytest.mark.parametrize(("way", "when"), [("lines", "before"), ("commit", "after")])
def test_a_numbered_batch_is_there_once_wherever_the_process_died(way: str, when: str, tmp_path: Path) -> None:
    check(tmp_path, way, when, 1)


@pytest.mark.nightly
@pytest.mark.parametrize("way", ["lines", "commit"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_numbered_batch_is_there_once_after_three_restarts(way: str, when: str, tmp_path: Path) -> None:
    check(tmp_path, way, when, 3)
