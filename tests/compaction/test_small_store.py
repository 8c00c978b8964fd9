"""The disk gives back what was deleted from a store that RocksDB has too few files of to look for garbage."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.cluster.setting import SECOND, START, Setting
from tests.fixtures.waiting import until
from tsdb.model.store import RangeDeletion, TimeRange
from tsdb.storage.compaction import compactor, small_store

ROWS = 40_000
CHANCE = random.Random(1)
VALUES = [CHANCE.getrandbits(63) for _ in range(ROWS)]


@pytest.fixture(autouse=True)
def little_is_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_store, "LEAST_BYTES", 50_000)
    monkeypatch.setattr(small_store, "LEAST_BYTES_ASKED", 10_000)
    monkeypatch.setattr(compactor, "IDLE_FLUSH_BYTES", 1)


def written(path: Path, *, background: bool) -> Setting:
    """A store of one blob file of 300 KB."""
    setting = Setting(path, compaction=background, compaction_quiet=0, rows_per_block=2000)
    setting.write(VALUES)
    setting.node.flush()
    setting.node.compact([setting.series])
    return setting


def bytes_of(setting: Setting) -> int:
    return setting.node.engine._shard.rocks.bytes_on_disk("columns")


def delete(setting: Setting, seconds: TimeRange) -> None:
    setting.node.delete(setting.database, RangeDeletion(setting.series, seconds)).result(10)
    setting.node.flush()


MIDDLE = START + ROWS // 2 * SECOND


@pytest.mark.parametrize("half", [TimeRange(high=MIDDLE), TimeRange(low=MIDDLE)])
def test_half_of_a_file_comes_back(tmp_path: Path, half: TimeRange) -> None:
    with written(tmp_path, background=False) as setting:
        before = bytes_of(setting)
        assert before > 300_000
        delete(setting, half)
        setting.node.compact([setting.series])
        assert 0.45 * before < bytes_of(setting) < 0.55 * before
        kept = VALUES[ROWS // 2 :] if half.high == MIDDLE else VALUES[: ROWS // 2]
        assert setting.values() == kept
        setting.reopen()
        assert setting.values() == kept


def test_it_comes_back_by_itself(tmp_path: Path) -> None:
    with written(tmp_path, background=True) as setting:
        before = bytes_of(setting)
        delete(setting, TimeRange(high=MIDDLE))
        until(lambda: bytes_of(setting) < 0.55 * before)
        assert setting.values() == VALUES[ROWS // 2 :]


def test_what_a_few_rows_leave_behind_comes_back_when_somebody_asks(tmp_path: Path) -> None:
    with written(tmp_path, background=False) as setting:
        before = bytes_of(setting)
        for at in range(0, ROWS, 5_000):
            delete(setting, TimeRange(START + at * SECOND, START + (at + 10) * SECOND))
        setting.node.compact([setting.series])
        assert bytes_of(setting) < before
        assert setting.values() == [value for at, value in enumerate(VALUES) if at % 5_000 >= 10]


def test_a_little_garbage_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_store, "LEAST_PART_ASKED", 0.2)
    with written(tmp_path, background=False) as setting:
        delete(setting, TimeRange(high=START + 5_000 * SECOND))
        setting.node.compact([setting.series])
        assert 30_000 < setting.node.engine._shard.rocks.blob_bytes("columns")[1] < 60_000


def test_a_large_store_is_left_to_rocksdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_store, "SMALL_BYTES", 200_000)
    with written(tmp_path, background=False) as setting:
        delete(setting, TimeRange(high=MIDDLE))
        setting.node.compact([setting.series])
        assert setting.node.engine._shard.rocks.blob_bytes("columns")[1] > 100_000
