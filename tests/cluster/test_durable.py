"""What is on disk after something went wrong: no orphans, no op of a refused write, no number given twice."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.setting import COLUMNS, SECOND, START, Setting
from tsdb.clock import ManualClock
from tsdb.cluster.node import Node
from tsdb.errors import IoError, ProgramLimitExceeded
from tsdb.model.schema import CreateDatabase, CreateSeries, DropDatabase
from tsdb.model.store import RangeDeletion
from tsdb.model.time import BUCKET_NS, WINDOW_NS
from tsdb.storage import flusher
from tsdb.storage.block import EncodedBlock
from tsdb.storage.install import install
from tsdb.storage.rows import COUNTER_MASK


def _crash(setting: Setting, to: Path) -> None:
    """Go on with the directory as it is now, without any of the things that are done at a stop."""
    shutil.copytree(setting.path, to, ignore_dangling_symlinks=True)
    setting.node.close()
    setting.path = to
    setting.node = Node.open(to, setting.options)


@pytest.mark.parametrize("flushed", [False, True])
def test_no_sequence_is_given_again_after_a_database_is_dropped_and_the_process_killed(
    tmp_path: Path, flushed: bool
) -> None:
    with Setting(tmp_path / "one", keyed=False) as setting:
        setting.node.change(CreateDatabase("other"), CreateSeries("other", "cpu", COLUMNS, False))
        other = setting.node.catalog.find("other")
        points = replace(setting.points(list(range(100))), series=other.find("cpu"), fields={}, tagsets=[b""])
        setting.node.write(other, [points]).result(10)
        shard = setting.node.engine._shard
        given = shard.log.counter
        head = setting.node.engine._committer.call(shard.freeze).result(10) if flushed else None
        if head is not None:
            # This flush froze its head before the next points were given their numbers.
            setting.node.write(other, [points]).result(10)
            given = shard.log.counter
        setting.node.change(DropDatabase("other"))
        if head is not None:
            setting.node.engine._flusher.flush(head).result(10)
        _crash(setting, tmp_path / "two")
        setting.write([1])
        assert setting.seen()[0].sequence & COUNTER_MASK > given


def test_a_failed_flush_leaves_no_values_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flusher, "RETRY_SECONDS", 0.01)
    put = EncodedBlock.put_values
    failed: list[int] = []

    def failing(block: EncodedBlock, batch: Any) -> None:
        put(block, batch)
        if len(failed) < 2 and block.header.block_id % 7 == 6:
            failed.append(block.header.block_id)
            raise IoError("a flush fails")

    monkeypatch.setattr(EncodedBlock, "put_values", failing)
    with Setting(tmp_path, rows_per_block=100, values_batch_bytes=100) as setting:
        setting.write(list(range(1000)))
        setting.node.flush()
        assert len(failed) == 2
        assert setting.metric("flush_failures") == 2
        blocks = {
            header.block_id for header in setting.node.engine._shard.version.blocks[setting.series.number].headers
        }
        rocks = setting.node.engine._shard.rocks
        for family in ("columns", "runs"):
            assert {int.from_bytes(key[-8:], "big") for key, _ in rocks.scan(family)} == blocks
        assert setting.values() == list(range(1000))
        setting.reopen()
        assert setting.values() == list(range(1000))


def test_a_flush_that_fails_at_its_end_is_done_again_without_leaving_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flusher, "RETRY_SECONDS", 0.01)
    tries: list[int] = []

    def failing(*arguments: Any) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise IoError("a flush fails")
        install(*arguments)

    monkeypatch.setattr("tsdb.storage.flusher.install", failing)
    with Setting(tmp_path, compaction=False) as setting:
        setting.write(list(range(10)), step=WINDOW_NS)
        setting.node.flush()
        assert len(tries) == 2
        assert len(list(setting.node.engine._shard.rocks.scan("runs"))) == 10
        assert setting.values() == list(range(10))


def test_an_idle_node_writes_nothing_after_a_start(tmp_path: Path) -> None:
    clock = ManualClock(START)
    with Setting(tmp_path, clock=clock) as setting:
        setting.write(list(range(24)), step=BUCKET_NS)
        setting.reopen()
        for _ in range(2):
            clock.time_ns += 301 * SECOND
            time.sleep(1.3)
            assert setting.metric("ops_appended") == 0
            setting.reopen()


@pytest.mark.parametrize("deletes", [False, True])
def test_a_write_beyond_the_last_counter_is_refused_as_a_whole(tmp_path: Path, deletes: bool) -> None:
    with Setting(tmp_path / "one") as setting:
        setting.write([1])
        log = setting.node.engine._shard.log
        log.counter = COUNTER_MASK - 10
        refused: Any = (
            setting.node.delete(setting.database, RangeDeletion(setting.series))
            if deletes
            else setting.node.write(setting.database, [setting.points(list(range(11)), step=BUCKET_NS)])
        )
        with pytest.raises(ProgramLimitExceeded, match="has given all"):
            refused.result(10)
        assert log.counter == COUNTER_MASK - 10
        # A write after it takes the last counters, and is all there is.
        setting.write(list(range(10)), start=START + BUCKET_NS, step=BUCKET_NS)
        _crash(setting, tmp_path / "two")
        assert setting.values() == [1, *range(10)]
