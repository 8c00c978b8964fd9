"""A read of a continuous view is its plain query at every step of random histories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.continuous.history import QUERIES, History
from tsdb.sql.query import Queries


@pytest.fixture(scope="module")
def queries() -> Iterator[Queries]:
    made = Queries(memory_limit_bytes=1 << 28, threads=1)
    yield made
    made.close()


def _run(path: Path, queries: Queries, seed: int, steps: int, *, only: str = "") -> None:
    history = History(path / "node", queries, seed, keyed=seed % 2 == 0, only=only)
    try:
        for _ in range(steps):
            history.step()
            history.check()
    finally:
        history.node.close()


@pytest.mark.parametrize("seed", range(4))
def test_reads_are_the_plain_query_whatever_happens(tmp_path: Path, queries: Queries, seed: int) -> None:
    _run(tmp_path, queries, seed, 25)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 200))
def test_reads_are_the_plain_query_in_long_histories(tmp_path: Path, queries: Queries, seed: int) -> None:
    _run(tmp_path, queries, seed, 150, only=list(QUERIES)[seed % len(QUERIES)])
