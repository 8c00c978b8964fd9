"""The mutation fuzz against the reference: short always, long at night, and both once more under bounds checks.

200,000 mutated lines in CI, ten million nightly (each of its five tests two million).
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ingest.fuzz import LIMITS, SEEDS, check, run, run_truncated
from tests.ingest.test_corpus import CASES

SHORT, SHORT_OF_CORPUS, SHORT_CHECKED = 140_000, 40_000, 20_000
LONG = 2_000_000


def _corpus() -> tuple[bytes, ...]:
    if not CASES.exists():
        return ()
    texts = [case["input"]["text"] for case in json.loads(CASES.read_text()).values()]
    return tuple(t.encode() if isinstance(t, str) else base64.b64decode(t["binary"]) for t in texts)


def _run_checked(seed: int, lines: int) -> str:
    """The fuzz in a process of its own whose kernels check bounds; their cache is apart."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.ingest.fuzz", str(seed), str(lines)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TSDB_BOUNDSCHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_mutated_bodies_parse_as_the_reference_does() -> None:
    run(20_260_101, SHORT)


@pytest.mark.parametrize(
    "bodies",
    [
        [b'a s="b"\n\\\n\\ f=1'],
        [b"a f=1\nm\\\nm\\ f=1 g=2\n"],
        [b"a,t=1 f=1\nm,t=a\\\n", b"a,t=1 f=1\nm,t=a\\ f=1\n"],
    ],
)
def test_a_key_that_ends_in_a_backslash_is_not_the_next_one_up_to_an_escaped_blank(bodies: list[bytes]) -> None:
    """Found by the fuzz: the key that came after the last one before is guessed, and was taken here."""
    for body in bodies:
        check(body, limits=LIMITS[0])


def test_bodies_cut_anywhere_parse_as_the_reference_does() -> None:
    run_truncated()


def test_mutated_cases_of_the_corpus_parse_as_the_reference_does() -> None:
    run(20_260_102, SHORT_OF_CORPUS, SEEDS + _corpus())


def test_under_bounds_checks_no_mutated_body_is_read_outside() -> None:
    assert _run_checked(20_260_103, SHORT_CHECKED).splitlines() == [
        "the canary raised IndexError",
        f"{SHORT_CHECKED} lines agreed",
    ]


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(4))
def test_many_mutated_bodies_parse_as_the_reference_does(seed: int) -> None:
    run(seed, LONG, SEEDS + _corpus())


@pytest.mark.nightly
def test_under_bounds_checks_none_of_many_mutated_bodies_is_read_outside() -> None:
    assert f"{LONG} lines agreed" in _run_checked(20_260_104, LONG)
