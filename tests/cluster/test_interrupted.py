"""What comes between the steps of a write or a flush: a cancelled answer, a DROP, an error after the end."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cluster.setting import SECOND, START, Setting
from tsdb.cluster.node import Node
from tsdb.errors import IoError, ProgramLimitExceeded, UndefinedColumn
from tsdb.model.schema import AddColumn, AlterColumnType, ColumnDefinition, DropColumn, DropSeries, Role, SchemaChange
from tsdb.model.store import SEQUENCE, KeyDeletion, RangeDeletion, ScanRequest, TimeRange, Write
from tsdb.storage.rocks import Batch, Rocks
from tsdb.storage.rows import COUNTER_MASK
from tsdb.types import FLOAT8, TEXT


class Gate:
    """Holds up the flusher's first write until it is opened; a DROP then falls between values and headers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        write = Rocks.write

        def gated(rocks: Rocks, batch: Batch, sync: bool) -> None:
            if threading.current_thread().name == "tsdb-flusher":
                self.reached.set()
                assert self.opened.wait(10)
            write(rocks, batch, sync)

        monkeypatch.setattr(Rocks, "write", gated)


def test_a_writer_that_gives_up_on_its_answer_does_not_end_the_process(tmp_path: Path) -> None:
    aborted: list[str] = []
    with Setting(tmp_path, abort=aborted.append) as setting:
        held = threading.Event()
        setting.node.engine._committer.call(lambda: held.wait(10))
        # What asyncio.wrap_future does when its task is cancelled.
        future = setting.node.write(setting.database, [setting.points([1])])
        future.cancel()
        held.set()
        setting.write([2], start=START + SECOND)
        assert setting.values() == [1, 2]
    assert aborted == []


def test_a_view_reads_a_series_that_is_dropped_while_a_head_of_it_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Setting(tmp_path) as setting:
        setting.write([1])
        setting.node.flush()
        series, view = setting.series, setting.node.view()
        setting.write([2], start=START + SECOND)
        gate = Gate(monkeypatch)
        flushing = threading.Thread(target=setting.node.flush)
        flushing.start()
        assert gate.reached.wait(10)
        setting.node.change(DropSeries("tsdb", "cpu"))
        gate.opened.set()
        flushing.join(10)
        batches = view.scan(ScanRequest(series, (series.column("v").number,))).batches
        assert [v for batch in batches for v in batch.column(0).to_pylist()] == [1]
        view.close()
        rocks = setting.node.engine._shard.rocks
        assert setting.node.engine._committer.call(setting.node.engine._delete_deferred).result(10) is None
        assert list(rocks.scan("columns")) == []
        assert list(rocks.scan("runs")) == []


def test_a_flush_whose_disk_space_is_not_reclaimed_is_done_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise IoError("no")

    with Setting(tmp_path, compaction=False) as setting:  # its blocks are counted
        monkeypatch.setattr(Rocks, "reclaim", failing)
        for i in range(2):
            setting.write([i], start=START + i * SECOND)
            flushing = threading.Thread(target=setting.node.flush, daemon=True)
            flushing.start()
            flushing.join(60)
            assert not flushing.is_alive()
        assert setting.metric("blocks") == 2
        assert setting.values() == [0, 1]


@pytest.mark.parametrize("change", [DropColumn("tsdb", "cpu", "v"), AlterColumnType("tsdb", "cpu", "v", FLOAT8)])
def test_a_write_whose_column_is_dropped_or_altered_on_its_way_is_refused_and_not_lost(
    tmp_path: Path, change: SchemaChange
) -> None:
    with Setting(tmp_path) as setting:
        points = setting.points([1])
        setting.node.change(change)
        with pytest.raises(UndefinedColumn, match='a column of "cpu" was dropped or changed its type'):
            setting.node.write(setting.database, [points]).result(10)
        assert setting.seen() == []


def test_a_write_passes_when_a_column_is_added_on_its_way(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        points = setting.points([1])
        setting.node.change(AddColumn("tsdb", "cpu", ColumnDefinition("w", Role.FIELD, TEXT)))
        assert setting.node.write(setting.database, [points]).result(10).points == 1


def test_deletions_alone_are_flushed_after_a_crash_as_well(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        setting.write([1, 2])
        setting.node.flush()
        setting.node.delete(setting.database, RangeDeletion(setting.series, TimeRange(START, START + 1))).result(10)
        engine = setting.node.engine
        for part in (engine._flusher, engine._compactor, engine._committer):
            part.close()
        engine._shard.rocks.close()
        setting.node = Node.open(tmp_path, setting.options)
        setting.node.flush()
        assert list(setting.node.engine._shard.rocks.scan("ops")) == []
        assert setting.values() == [2]


def test_what_an_update_replaces_goes_with_its_write_or_not_at_all(tmp_path: Path) -> None:
    with Setting(tmp_path, keyed=False) as setting:
        setting.write([1, 2, 3])

        def replacing(values: list[int]) -> None:
            old = KeyDeletion(
                setting.series,
                setting.points([0]).tagsets,
                np.zeros(3, np.int32),
                np.arange(3, dtype=np.int64) * SECOND + START,
            )
            points = setting.points(values)
            setting.node.commit([Write(points, replaces=old)]).result(10)

        log = setting.node.engine._shard.log
        counter, log.counter = log.counter, COUNTER_MASK - 4
        with pytest.raises(ProgramLimitExceeded):
            replacing([4, 5, 6, 7, 8])
        log.counter = counter
        assert setting.values() == [1, 2, 3]
        replacing([4, 5, 6])
        assert setting.values() == [4, 5, 6]
        setting.node.flush()
        assert setting.values() == [4, 5, 6]
        replacing([7, 8])
        setting.reopen()
        assert setting.values() == [7, 8]


def test_a_deletion_by_keys_spares_what_was_written_since_it_looked(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        setting.write([95])
        view = setting.node.view()
        batches = list(view.scan(ScanRequest(setting.series, (SEQUENCE,))).batches)
        seen = batches[0].column(0).to_numpy()
        view.close()
        setting.write([5])
        tagset = setting.points([0]).tagsets
        where = (np.zeros(1, np.int32), np.array([START], np.int64), seen)
        setting.node.delete(setting.database, KeyDeletion(setting.series, tagset, *where)).result(10)
        assert [row["v"] for row in _fields(setting)] == [5]
        setting.node.flush()
        setting.reopen()
        assert [row["v"] for row in _fields(setting)] == [5]
        setting.node.delete(setting.database, KeyDeletion(setting.series, tagset, *where[:2])).result(10)
        assert _fields(setting) == []


def _fields(setting: Setting) -> list[dict[str, Any]]:
    view = setting.node.view()
    try:
        number = setting.series.column("v").number
        scan = view.scan(ScanRequest(setting.series, (number,)))
        return [{"v": value} for batch in scan.batches for value in batch.column(0).to_pylist()]
    finally:
        view.close()
