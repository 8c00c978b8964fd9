"""A process that writes is killed with -9 again and again: what it acknowledged is there, once and whole."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.cluster.setting import START, Setting
from tests.cluster.writer import IN_FLIGHT, ROWS
from tsdb.model.store import Producer
from tsdb.model.time import BUCKET_NS

ROOT = Path(__file__).parents[2]


def run_and_kill(directory: Path, first: int, random: Random) -> list[int]:
    """Start a writer, kill it at a random moment; returns the batches it acknowledged."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.writer", str(directory), str(first), str(random.randrange(10**6))],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(random.random() * 0.6)
    process.kill()
    lines = process.stdout.read().split("\n")
    process.stdout.close()
    process.wait()
    # The last line may be cut off in the middle.
    return [int(line) for line in lines[:-1]]


def kill_and_check(directory: Path, times: int, seed: int) -> None:
    random = Random(seed)
    following = 1
    acknowledged: set[int] = set()
    given: set[int] = set()
    for _ in range(times):
        acknowledged |= set(run_and_kill(directory, following, random))
        with Setting(directory, keyed=False, head_bytes=60_000, rows_per_block=200) as setting:
            # Everything the killed writer may have sent is sent again: acknowledged, logged or lost.
            last = max(following - 1, max(acknowledged, default=0)) + IN_FLIGHT
            rows = Counter(seen.fields[0] for seen in setting.seen())
            assert acknowledged <= set(rows), "an acknowledged batch is lost"
            assert set(rows.values()) <= {ROWS}, "half a batch is there"
            for batch in range(max(1, last - 2 * IN_FLIGHT), last + 1):
                points = setting.points([batch] * ROWS, start=START + batch, step=BUCKET_NS)
                written = setting.node.write(setting.database, [points], Producer("writer", batch)).result(30)
                assert written.duplicate == (batch in rows)
            seen = setting.seen()
            assert Counter(one.fields[0] for one in seen) == dict.fromkeys(range(1, last + 1), ROWS)
            sequences = {one.sequence for one in seen}
            assert len(sequences) == len(seen), "a sequence was given twice"
            assert given <= sequences
            given, following = sequences, last + 1


def test_every_acknowledged_batch_is_there_once_after_five_kills(tmp_path: Path) -> None:
    kill_and_check(tmp_path / "data", 5, seed=1)


@pytest.mark.nightly
def test_every_acknowledged_batch_is_there_once_after_fifty_kills(tmp_path: Path) -> None:
    kill_and_check(tmp_path / "data", 50, seed=2)
