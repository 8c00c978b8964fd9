"""A disk that is nearly full: writes stop at the reserve, beside which what is in memory has to fit, and go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.setting import SECOND, START, Setting
from tests.fixtures.waiting import until
from tsdb.cluster.node import Node
from tsdb.errors import DiskFull, StartupError
from tsdb.model.store import RangeDeletion, TimeRange
from tsdb.storage.options import Options


def test_writes_stop_at_the_reserve_of_free_space_and_resume(tmp_path: Path) -> None:
    free = [1_000_000]
    with Setting(tmp_path, disk_reserve=1_000, free_bytes=lambda _: free[0]) as setting:
        setting.write([1])
        free[0] = 999
        with pytest.raises(DiskFull):
            setting.write([2], start=START + SECOND)
        assert setting.metric("writers_refused") == 1
        assert setting.metric("disk_free_bytes") == 999
        assert setting.values() == [1]
        free[0] = 1_000
        setting.write([3], start=START + SECOND)
        assert setting.values() == [1, 3]


def test_what_is_not_needed_may_be_deleted_down_to_half_of_the_reserve(tmp_path: Path) -> None:
    free = [1_000_000]
    with Setting(tmp_path, disk_reserve=1_000, free_bytes=lambda _: free[0]) as setting:
        setting.write([1, 2])
        free[0] = 499
        deletion = RangeDeletion(setting.series, TimeRange(START, START + 1))
        with pytest.raises(DiskFull, match="nearly full") as refused:
            setting.node.delete(setting.database, deletion).result(10)
        assert "499 bytes are free at" in str(refused.value.detail)
        free[0] = 500
        setting.node.delete(setting.database, deletion).result(10)
        assert setting.values() == [2]
        with pytest.raises(DiskFull):
            setting.write([3], start=START + SECOND)


MIB = 1 << 20


@pytest.mark.parametrize("missing", [1, 5 * MIB])
def test_what_is_in_memory_has_to_fit_beside_the_reserve_and_is_flushed_where_it_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, missing: int
) -> None:
    """``missing``: by so many bytes; the log of what is flushed gives some back."""
    caplog.set_level("INFO", "tsdb.storage")
    free, reserve = [1 << 30], 8 * MIB
    with Setting(tmp_path, disk_reserve=reserve, free_bytes=lambda _: free[0]) as setting:
        rows = 0
        while setting.metric("head_bytes") < MIB:
            setting.write([*range(10_000)], start=START + rows * SECOND)
            rows += 10_000
        free[0] = reserve + MIB - missing
        with pytest.raises(DiskFull) as refused:
            setting.write([1], start=START + rows * SECOND)
        assert "bytes in memory are to be written" in str(refused.value.detail)
        assert until(lambda: setting.metric("head_bytes") + setting.metric("frozen_bytes") == 0)
        free[0] = max(free[0], reserve)
        setting.write([1], start=START + rows * SECOND)
        assert len(setting.values()) == rows + 1
        free[0] = reserve - 1
        with pytest.raises(DiskFull):
            setting.write([1], start=START + (rows + 1) * SECOND)
        free[0] = 1 << 30
        setting.write([1], start=START + (rows + 1) * SECOND)
    said = [each.message for each in caplog.records if "bytes are free" in each.message]
    full, again = "the disk is nearly full: {} bytes are free", "{} bytes are free"
    before = [full.format(reserve + MIB - missing), again.format(reserve)] if missing > MIB else []
    assert [each.split(" at ")[0] for each in said] == [*before, full.format(reserve - 1), again.format(1 << 30)]


def test_a_start_below_the_reserve_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="less than the reserve of 1000"):
        Node.open(tmp_path, Options(disk_reserve=1_000, free_bytes=lambda _: 999))
    Node.open(tmp_path, Options(disk_reserve=1_000, free_bytes=lambda _: 1_000)).close()
