"""How much work databases make: what is shown of a rate, and what counts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cluster.setting import SECOND, START, Setting
from tsdb.model.schema import DropDatabase
from tsdb.model.store import ScanStatistics
from tsdb.storage.load import BLOCK_US, HALF_LIFE_S, ROW_US, SCAN_US, WRITTEN_HALF_LIFE_S, Load, work_of


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@given(rate=st.floats(1e3, 1e6), pause_s=st.floats(0.01, 10.0))
def test_a_rate_that_stays_is_shown_after_some_minutes_and_fades_by_halves(rate: float, pause_s: float) -> None:
    clock = Clock()
    load = Load(clock)
    # As a count of eight half lives would leave it.
    steps = min(round(8 * HALF_LIFE_S / pause_s), 3_000)
    pause_s = 8 * HALF_LIFE_S / steps
    for _ in range(steps):
        clock.now += pause_s
        load.count(1, rate * pause_s)
    (shown,) = load.means().values()
    assert shown == pytest.approx(rate, rel=0.03)
    clock.now += HALF_LIFE_S
    assert load.means()[1] == pytest.approx(shown / 2, rel=0.01)


def test_databases_are_told_apart_and_forgotten_when_they_do_nothing() -> None:
    clock = Clock()
    load = Load(clock)
    load.count(1, 1e6)
    load.count(2, 4e6)
    assert load.means()[2] == pytest.approx(4 * load.means()[1], rel=0.01)
    clock.now += 40 * HALF_LIFE_S
    load.count(2, 1e6)
    assert {*load.means()} == {2}
    assert {*load._counted} == {2}


def test_a_scan_counts_by_the_blocks_that_are_left_to_it() -> None:
    assert work_of(ScanStatistics()) == SCAN_US
    found = ScanStatistics(blocks_total=10, blocks_pruned_time=3, blocks_pruned_tags=2, blocks_pruned_fields=1)
    assert work_of(found) == SCAN_US + 4 * BLOCK_US


def counted(setting: Setting) -> float:
    """Microseconds of work of all databases, as counted up to now."""
    return sum(count for count, _ in setting.node.engine._shard.load._counted.values())


def test_rows_that_are_applied_and_scans_count_and_nothing_else_does(tmp_path: Path) -> None:
    with Setting(tmp_path / "data") as setting:
        # No time passes, however busy the machine is: nothing fades.
        setting.node.engine._shard.load = Load(Clock())
        assert counted(setting) == 0
        setting.write(list(range(20_000)))
        assert counted(setting) == 20_000 * ROW_US
        assert setting.node.loads() == {setting.database.number: 46}
        setting.node.flush()
        assert counted(setting) == 20_000 * ROW_US
        assert len(setting.values()) == 20_000
        assert counted(setting) >= 20_000 * ROW_US + SCAN_US + BLOCK_US
        setting.write(list(range(1_000)), start=START + 100_000 * SECOND)
        # As a crash leaves it: what is read from the log again is no work that anybody asks for now.
        shutil.copytree(tmp_path / "data", tmp_path / "crashed")
    with Setting(tmp_path / "crashed") as setting:
        assert setting.metric("head_bytes") > 0
        assert counted(setting) == 0


def test_rows_are_counted_by_location_until_the_database_is_dropped(tmp_path: Path) -> None:
    with Setting(tmp_path / "data") as setting:
        setting.node.engine._shard.written = Load(Clock(), WRITTEN_HALF_LIFE_S)
        setting.write(list(range(20_000)))
        number = setting.database.number
        written = setting.node.written(number)
        assert sum(written.values()) == 20_000
        assert {*written} <= {each.number for each in setting.database.locations}
        assert len(written) > 16, "66 buckets"
        shutil.copytree(tmp_path / "data", tmp_path / "crashed")
        setting.node.change(DropDatabase("tsdb"))
        assert setting.node.written(number) == {}
        assert setting.node.engine._shard.written._counted == {}
        assert setting.node.engine._shard.load._counted == {}
    with Setting(tmp_path / "crashed") as setting:
        assert setting.node.written(number) == {}
