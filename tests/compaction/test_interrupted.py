"""Compaction that is stopped, fails or is cut off by a crash: the old blocks are there or the new ones, no others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.setting import SECOND, START, Setting
from tests.cluster.test_histories import copy_at_one_moment
from tests.compaction.disk import NO_STRAYS, strays
from tsdb.errors import AdminShutdown, DataCorrupted, QueryCanceled
from tsdb.model.store import RangeDeletion, TimeRange
from tsdb.storage import flusher
from tsdb.storage.compaction import compactor
from tsdb.storage.compaction.merge import Merge
from tsdb.storage.flush import Flushed
from tsdb.storage.rocks import Batch, Rocks

OPTIONS: dict[str, Any] = {"compaction": False, "compaction_quiet": 0, "rows_per_block": 20, "values_batch_bytes": 500}


def fill(setting: Setting) -> list[int]:
    """Blocks that overlap, with rows that are deleted. Returns what is to be seen, ever after."""
    for value in range(4):
        for host in ("a", "b", "c"):
            setting.write([value * 100 + i for i in range(50)], host=host, start=START + value * 10 * SECOND)
        setting.node.flush()
    deletion = RangeDeletion(setting.series, TimeRange(START + 20 * SECOND, START + 31 * SECOND))
    setting.node.delete(setting.database, deletion).result(10)
    setting.node.flush()
    return setting.values()


class Crashes:
    """Copies of the directory as it is around each write while blocks are compacted."""

    def __init__(self, setting: Setting, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.copies: list[Path] = []
        self.reached = 0
        write = Rocks.write

        def copying(rocks: Rocks, batch: Batch, sync: bool) -> None:
            write(rocks, batch, sync)
            self.reached += 1
            copy = to / f"copy{len(self.copies)}"
            copy_at_one_moment(setting.path, copy)
            self.copies.append(copy)

        monkeypatch.setattr(Rocks, "write", copying)


def test_after_a_crash_at_any_write_the_rows_are_there_and_no_values_without_a_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Setting(tmp_path / "data", **OPTIONS) as setting:
        expected = fill(setting)
        view = setting.node.view()
        with monkeypatch.context() as patched:
            crashes = Crashes(setting, tmp_path, patched)
            setting.node.compact([setting.series])
            view.close()
            deadline = time.monotonic() + 60
            while setting.metric("retired_bytes") and time.monotonic() < deadline:
                time.sleep(0.05)
        assert setting.values() == expected
    assert len(crashes.copies) >= 6
    blocks: list[float] = []
    for copy in crashes.copies:
        with Setting(copy, **OPTIONS) as again:
            assert again.values() == expected
            assert strays(again.node) == NO_STRAYS
            blocks.append(again.metric("blocks"))
            again.node.compact([again.series])
            assert again.values() == expected
    # Old ones up to some write, new ones from then on.
    assert blocks == sorted(blocks, reverse=True)
    assert len(set(blocks)) > 1


def test_a_stop_interrupts_it_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    with Setting(tmp_path, **{**OPTIONS, "compaction": True, "compaction_rate": 1}) as setting:
        expected = fill(setting)
        deadline = time.monotonic() + 60
        while not any(each.finished_ns is None for each in setting.node.compactions()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        started = time.monotonic()
        setting.node.close()
        assert time.monotonic() - started < 15
    with Setting(tmp_path, **OPTIONS) as setting:
        assert setting.values() == expected
        assert strays(setting.node) == NO_STRAYS


def test_who_waits_for_a_vacuum_hears_of_the_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Setting(tmp_path, **OPTIONS) as setting:
        fill(setting)
        reached = threading.Event()

        def slow(merge: Merge, _: Callable[[], int]) -> Any:
            reached.set()
            while True:
                merge._check()
                time.sleep(0.01)

        monkeypatch.setattr(Merge, "blocks", slow)
        errors: list[BaseException] = []

        def vacuum() -> None:
            try:
                setting.node.compact([setting.series])
            except AdminShutdown as error:
                errors.append(error)

        waiting = threading.Thread(target=vacuum)
        waiting.start()
        assert reached.wait(10)
        setting.node.close()
        waiting.join(10)
        assert len(errors) == 1
        with pytest.raises(AdminShutdown):
            setting.node.engine.compact([1], full=False, told=lambda _: None, cancelled=lambda: False).result(10)


def test_a_vacuum_can_be_cancelled_between_two_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compactor, "ROUND_BLOCKS", 1)
    with Setting(tmp_path, **OPTIONS) as setting:
        fill(setting)
        setting.write([1], start=START + 10**6 * SECOND)
        setting.node.flush()
        expected = setting.values()
        done: list[object] = []
        with pytest.raises(QueryCanceled):
            setting.node.compact([setting.series], full=True, told=done.append, cancelled=lambda: bool(done))
        assert len(done) == 1
        assert setting.values() == expected
        assert strays(setting.node) == NO_STRAYS


def test_what_fails_leaves_nothing_and_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compactor, "RETRY_SECONDS", 0.05)
    with Setting(tmp_path, **OPTIONS) as setting:
        expected = fill(setting)
    blocks = Merge.blocks
    failures = [2]

    def failing(merge: Merge, next_block: Callable[[], int]) -> Any:
        found = blocks(merge, next_block)
        yield next(found)
        if failures[0]:
            failures[0] -= 1
            raise DataCorrupted("one bit is not what it was")
        yield from found

    monkeypatch.setattr(Merge, "blocks", failing)
    with Setting(tmp_path, **{**OPTIONS, "compaction": True}) as setting:
        deadline = time.monotonic() + 60
        while setting.metric("compactions") == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert setting.metric("compaction_failures") == 2
        assert setting.values() == expected
    with Setting(tmp_path, **OPTIONS) as setting:
        assert setting.values() == expected
        assert strays(setting.node) == NO_STRAYS


def test_a_vacuum_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Setting(tmp_path, **OPTIONS) as setting:
        expected = fill(setting)

        def failing(*_: object) -> Any:
            raise DataCorrupted("one bit is not what it was")

        with monkeypatch.context() as patched:
            patched.setattr(Merge, "blocks", failing)
            with pytest.raises(DataCorrupted, match="one bit"):
                setting.node.compact([setting.series])
        assert strays(setting.node) == NO_STRAYS
        setting.node.compact([setting.series])
        assert setting.values() == expected


def test_a_flush_and_a_compaction_at_one_time_do_not_delete_each_other(tmp_path: Path) -> None:
    """A crash finds the record of a flush that has begun before blocks that compaction has finished since."""
    with Setting(tmp_path / "data", **OPTIONS) as setting:
        expected = fill(setting)
        shard = setting.node.engine._shard
        setting.write([1], start=START + 10_000 * SECOND)
        head = setting.node.engine._committer.call(shard.freeze).result(10)

        class Ids:
            next = staticmethod(setting.node.engine._compactor._next_block)

        flusher._write(shard, Flushed(head, shard.version.number), Ids)  # type: ignore[arg-type]
        done = setting.node.engine.compact(
            [setting.series.number], full=False, told=lambda _: None, cancelled=lambda: False
        )
        done.result(10)
        copy_at_one_moment(setting.path, tmp_path / "copy")
        setting.node.engine._flusher.flush(head).result(10)
    with Setting(tmp_path / "copy", **OPTIONS) as setting:
        assert setting.values() == [*expected, 1]
        assert strays(setting.node) == NO_STRAYS
