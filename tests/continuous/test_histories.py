"""A read of a continuous view is its plain query at every step of random histories."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.random_node import MINUTE
from tests.cluster.setting import START
from tests.continuous.history import QUERIES, History, run
from tsdb.errors import SerializationFailure
from tsdb.model.schema import SetRetention
from tsdb.model.store import RangeDeletion, TimeRange
from tsdb.session.continuous import Refresher, Refreshes
from tsdb.sql.query import Queries


@pytest.fixture
def queries() -> Iterator[Queries]:
    """Of one node: plans are kept by the version of its catalog."""
    made = Queries(memory_limit_bytes=1 << 28, threads=1)
    yield made
    made.close()


def _run(path: Path, queries: Queries, seed: int, steps: int, *, only: str = "") -> None:
    run(History(path / "node", queries, seed, keyed=seed % 2 == 0, only=only), steps)


@pytest.mark.parametrize("seed", range(4))
def test_reads_are_the_plain_query_whatever_happens(tmp_path: Path, queries: Queries, seed: int) -> None:
    _run(tmp_path, queries, seed, 25)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 200))
def test_reads_are_the_plain_query_in_long_histories(tmp_path: Path, queries: Queries, seed: int) -> None:
    _run(tmp_path, queries, seed, 150, only=list(QUERIES)[seed % len(QUERIES)])


class _Late(History):
    """Points that come while a floor is about to rise over them."""

    def late_once(self, host: int) -> Callable[[], None]:
        left = 1

        def check() -> None:
            nonlocal left
            if left:
                left -= 1
                self.put([START + 10 * MINUTE], [host])

        return check


def test_what_comes_while_a_floor_rises_is_stored_before_it_goes(tmp_path: Path, queries: Queries) -> None:
    history = _Late(tmp_path / "node", queries, 0, keyed=True, only="by_host")
    try:
        history.put([START + minute * MINUTE for minute in range(60)], [0] * 60)
        refresher = Refresher(history.node, queries, Refreshes(), history.context(), history.late_once(3))
        refresher.raise_floor(SetRetention("tsdb", "cpu", None, START + 30 * MINUTE))
        assert history.series.floor_ns == START + 30 * MINUTE
        assert {row[1] for row in history.rows("SELECT * FROM by_host WHERE bucket < '2023-11-14 22:30+00'")} == {
            "a",
            "d",
        }
    finally:
        history.node.close()


def test_a_floor_stays_when_what_is_below_it_keeps_changing(tmp_path: Path, queries: Queries) -> None:
    history = _Late(tmp_path / "node", queries, 0, keyed=True, only="by_host")
    try:
        history.put([START + minute * MINUTE for minute in range(60)], [0] * 60)
        refresher = Refresher(
            history.node, queries, Refreshes(), history.context(), lambda: history.put([START + MINUTE], [1])
        )
        with pytest.raises(SerializationFailure):
            refresher.raise_floor(SetRetention("tsdb", "cpu", None, START + 30 * MINUTE))
        assert history.series.floor_ns is None
        history.check()
    finally:
        history.node.close()


def test_a_floor_does_not_rise_over_buckets_that_have_not_ended(tmp_path: Path, queries: Queries) -> None:
    history = History(tmp_path / "node", queries, 0, keyed=True, only="monthly")
    try:
        history.put([START + minute * MINUTE for minute in range(60)], [0] * 60)
        context = replace(history.context(), now_us=(START + 3600 * 10**9) // 1000)
        Refresher(history.node, queries, Refreshes(), context).raise_floor(
            SetRetention("tsdb", "cpu", 60 * MINUTE, START + 30 * MINUTE)
        )
        assert len(history.rows("SELECT * FROM cpu")) == 60
        history.check()
    finally:
        history.node.close()


def test_a_deletion_that_was_carried_out_and_forgotten_is_known_after_a_crash(tmp_path: Path, queries: Queries) -> None:
    history = History(tmp_path / "node", queries, 0, keyed=True, only="by_host")
    try:
        history.put([START + minute * MINUTE for minute in range(60)], [0] * 60)
        Refresher(history.node, queries, Refreshes(), history.context()).refresh(history.view("by_host"))
        span = TimeRange(START + 10 * MINUTE, START + 12 * MINUTE)
        history.node.delete(history.database, RangeDeletion(history.series, span)).result(60)
        history.node.flush()
        history.node.compact([history.series], full=True)
        history.node.flush()
        assert not history.node.engine.metrics()["tombstones"]
        history.check()
        history.crash()
        history.check()
        Refresher(history.node, queries, Refreshes(), history.context()).refresh(history.view("by_host"))
        history.check()
    finally:
        history.node.close()
