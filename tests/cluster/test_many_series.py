"""Very many series of a few points each: flushing, stopping and starting again stay quick, and nothing is lost."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.cluster.setting import COLUMNS, START, Setting
from tsdb.model.points import Points, encode_tagset
from tsdb.model.schema import CreateSeries, Series
from tsdb.model.store import Written
from tsdb.model.time import WINDOW_NS


def points_of(series: Series, value: int, rows: int = 1, step: int = 1) -> Points:
    return Points(
        series,
        np.arange(rows, dtype=np.int64) * step + START,
        [encode_tagset([(series.column("host").number, "a")])],
        np.zeros(rows, np.int32),
        {series.column("v").number: pa.array([value] * rows, pa.int64())},
    )


def fill(setting: Setting, count: int) -> None:
    """``count`` series, the i-th with 1 + i % 3 points of value i, in two windows where i % 7 is 0."""
    setting.node.change(*(CreateSeries("tsdb", f"m{i}", COLUMNS, True) for i in range(count)))
    found = [setting.database.find(f"m{i}") for i in range(count)]
    batches = [points_of(s, i, 1 + i % 3, WINDOW_NS if i % 7 == 0 else 1) for i, s in enumerate(found)]
    assert isinstance(setting.node.write(setting.database, batches).result(60), Written)


def check(setting: Setting, count: int) -> None:
    for i in range(0, count, max(1, count // 200)):
        statistics = setting.node.statistics(setting.database.find(f"m{i}"))
        assert (statistics.rows, statistics.tagsets, statistics.min_time_ns) == (1 + i % 3, 1, START)


def test_many_small_series_are_flushed_read_back_and_not_replayed(tmp_path: Path) -> None:
    with Setting(tmp_path / "data") as setting:
        fill(setting, 300)
        setting.reopen()
        assert setting.metric("head_bytes") == 0
        assert setting.metric("blocks") == 300 + sum(i % 3 for i in range(0, 300, 7))
        check(setting, 300)


def test_a_few_points_that_came_one_by_one_are_merged_into_one_block(tmp_path: Path) -> None:
    with Setting(tmp_path / "data") as setting:
        for value in (1, 2, 3):
            setting.write([value])
        setting.write([4], start=START + 1)
        setting.reopen()
        assert setting.metric("blocks") == 1
        assert setting.values() == [3, 4]


def test_a_flush_beyond_its_time_is_given_up_and_replayed(tmp_path: Path) -> None:
    with Setting(tmp_path / "data") as setting:
        fill(setting, 200)
        setting.node.close(flush_seconds=0.0)
        setting.reopen()
        assert setting.metric("head_bytes") > 0, "it was flushed after all"
        assert setting.metric("blocks") == 0
        check(setting, 200)
        setting.node.close(None)
        setting.reopen()
        assert setting.metric("head_bytes") == 0, "what was replayed was not flushed"
        check(setting, 200)


def test_a_flush_given_up_leaves_no_value_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Setting(tmp_path / "data", values_batch_bytes=100) as setting:
        fill(setting, 50)
        shard = setting.node.engine._shard
        asked = iter([False] * 20)
        flush: Callable[..., None] = setting.node.engine._flusher._flush
        monkeypatch.setattr(setting.node.engine._flusher._abandoned, "is_set", lambda: next(asked, True))
        head = setting.node.engine._committer.call(shard.freeze).result()
        with pytest.raises(Exception, match="given up"):
            flush(head)
        for family in ("columns", "runs", "blocks"):
            assert list(shard.rocks.scan(family)) == []
        setting.node.close(0.0)
        setting.reopen()
        check(setting, 50)
        assert gc.isenabled()


@pytest.mark.nightly
def test_twenty_thousand_series_are_stopped_and_started_in_seconds(tmp_path: Path) -> None:
    with Setting(tmp_path / "data") as setting:
        started = time.monotonic()
        fill(setting, 20_000)
        assert time.monotonic() - started < 15
        started = time.monotonic()
        setting.node.close(None)
        assert time.monotonic() - started < 4
        started = time.monotonic()
        setting.reopen()
        assert time.monotonic() - started < 6
        check(setting, 20_000)
