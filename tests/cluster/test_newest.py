"""Scans of the newest rows of each group: right (with ``test_histories``), and reading little."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.model import Seen, scan
from tests.cluster.setting import SECOND, START, Setting
from tsdb.model.store import Newest, RangeDeletion, ScanRequest, ScanStatistics, TagIn, TagMatch, TimeRange, View
from tsdb.model.time import WINDOW_NS
from tsdb.storage.newest import scan as newest_scan

HOSTS = [f"h{i}" for i in range(8)]


def filled(setting: Setting, windows: int = 6) -> None:
    """Eight hosts over some windows, a point every ten minutes, in blocks of two hosts."""
    for window in range(windows):
        for host in HOSTS:
            setting.write(list(range(12)), start=START + window * WINDOW_NS, step=600 * SECOND, host=host)
    setting.node.flush()


def read(setting: Setting, **request: Any) -> tuple[list[Seen], ScanStatistics]:
    view: View = setting.node.view()
    try:
        seen = scan(view, setting.series, **request)
        counted = view.scan(ScanRequest(setting.series, ("time",), **request))
        for _ in counted.batches:
            pass
        return seen, counted.statistics
    finally:
        view.close()


@pytest.mark.parametrize("oldest", [False, True])
def test_last_points_are_read_from_the_blocks_that_hold_them(tmp_path: Path, oldest: bool) -> None:
    with Setting(tmp_path, rows_per_block=24) as setting:
        filled(setting)
        by = (setting.series.column("host").number,)
        seen, statistics = read(setting, newest=Newest(1, by, oldest))
        time = START if oldest else START + 5 * WINDOW_NS + 11 * 600 * SECOND
        assert sorted(s.tags[0][1] for s in seen) == HOSTS
        assert {s.time for s in seen} == {time}
        assert statistics.blocks_read <= 2 * len(HOSTS) < statistics.blocks_total
        assert statistics.blocks_read + statistics.blocks_older == statistics.blocks_total
        # What was found once is kept.
        assert statistics.bytes_read == 0


def test_a_tag_set_that_ended_long_ago_is_found_in_its_own_blocks(tmp_path: Path) -> None:
    with Setting(tmp_path, rows_per_block=12) as setting:
        for window in range(20):
            for host in ("a", "gone", "z") if window == 2 else ("a", "z"):
                setting.write(list(range(12)), start=START + window * WINDOW_NS, step=600 * SECOND, host=host)
            setting.node.flush()
        seen, _ = read(setting, newest=Newest(1, (setting.series.column("host").number,)))
        times = {s.tags[0][1]: s.time for s in seen}
        last = 11 * 600 * SECOND
        assert times == {
            "a": START + 19 * WINDOW_NS + last, "gone": START + 2 * WINDOW_NS + last,
            "z": START + 19 * WINDOW_NS + last,
        }  # fmt: skip


def test_what_a_tag_set_is_not_in_is_looked_at_once(tmp_path: Path) -> None:
    with Setting(tmp_path, rows_per_block=1000, compaction=False) as setting:
        for window in range(30):
            for host in ("a", "gone", "z") if window <= 2 else ("a", "z"):
                setting.write(list(range(12)), start=START + window * WINDOW_NS, step=600 * SECOND, host=host)
            setting.node.flush()
        newest = Newest(1, (setting.series.column("host").number,))
        first, looked = read_once(setting, newest)
        again, known = read_once(setting, newest)
        assert first == again
        assert looked > 25
        assert known <= 4
        setting.write([5], start=START + 3 * WINDOW_NS, host="gone")
        setting.node.flush()
        seen, _ = read_once(setting, newest)
        assert seen["gone"] == START + 3 * WINDOW_NS


def read_once(setting: Setting, newest: Newest) -> tuple[dict[str, int], int]:
    """The time of each host's point, and how many blocks were looked at."""
    view: View = setting.node.view()
    try:
        tag = setting.series.column("host").number
        running = view.scan(ScanRequest(setting.series, (tag, "time_ns"), newest=newest))
        rows = [row for batch in running.batches for row in zip(*batch.to_pydict().values(), strict=True)]
        return dict(rows), running.statistics.blocks_read
    finally:
        view.close()


def test_newer_rows_of_the_head_leave_blocks_unread(tmp_path: Path) -> None:
    with Setting(tmp_path, rows_per_block=24) as setting:
        filled(setting)
        for host in HOSTS:
            setting.write([99], start=START + 9 * WINDOW_NS, host=host)
        seen, statistics = read(setting, newest=Newest(1, (setting.series.column("host").number,)))
        assert [s.fields[0] for s in seen] == [99] * len(HOSTS)
        assert statistics.blocks_read == 0


def test_without_ties_one_block_is_enough_for_the_newest_rows(tmp_path: Path) -> None:
    with Setting(tmp_path, rows_per_block=24) as setting:
        filled(setting)
        seen, statistics = read(setting, newest=Newest(2, ties=False))
        assert len(seen) == 2
        assert len({s.time for s in seen}) == 1
        assert statistics.blocks_read == 1
        seen, _ = read(setting, newest=Newest(2))
        assert len(seen) == len(HOSTS), "all as new as the second"


def test_versions_of_a_last_point_are_merged_whatever_they_lie_in(tmp_path: Path) -> None:
    with Setting(tmp_path) as setting:
        setting.write([1, 2, 3])
        setting.node.flush()
        setting.write([7], start=START + 2 * SECOND)
        for _ in range(2):
            for newest in (Newest(1), Newest(1, ties=False), Newest(1, (setting.series.column("host").number,))):
                (last,), _ = read(setting, newest=newest)
                assert (last.time, last.fields) == (START + 2 * SECOND, (7,))
            setting.node.flush()


def test_deleted_points_are_not_the_last_ones(tmp_path: Path) -> None:
    with Setting(tmp_path, rows_per_block=24) as setting:
        filled(setting)
        tag, later = setting.series.column("host").number, START + 5 * WINDOW_NS
        deletion = RangeDeletion(setting.series, TimeRange(low=later), (TagIn(tag, frozenset({"h3"})),))
        setting.node.delete(setting.database, deletion).result(10)
        seen, _ = read(setting, newest=Newest(1, (tag,)))
        times = {s.tags[0][1]: s.time for s in seen}
        assert times.pop("h3") == START + 4 * WINDOW_NS + 11 * 600 * SECOND
        assert set(times.values()) == {later + 11 * 600 * SECOND}


def test_range_and_tags_say_which_rows_there_are(tmp_path: Path) -> None:
    with Setting(tmp_path, rows_per_block=24) as setting:
        filled(setting)
        tag = setting.series.column("host").number
        tags = (TagMatch(tag, lambda value: value in ("h1", "h6")),)
        middle = TimeRange(START + 600 * SECOND, START + 2 * WINDOW_NS + 1)
        for newest, time in ((Newest(1, (tag,)), START + 2 * WINDOW_NS), (Newest(1, (tag,), True), middle.low)):
            seen, _ = read(setting, newest=newest, range=middle, tags=tags)
            assert {(s.tags[0][1], s.time) for s in seen} == {("h1", time), ("h6", time)}
        assert read(setting, newest=Newest(1, (tag,)), range=TimeRange(high=START))[0] == []


@pytest.mark.parametrize("oldest", [False, True])
def test_blocks_say_together_what_each_of_them_says(
    tmp_path: Path, oldest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions in several blocks, points in the head, a deletion, flushes and compactions in between."""
    rng = random.Random(7)
    with Setting(tmp_path, rows_per_block=10) as setting:
        tag = setting.series.column("host").number
        looked = []
        for step in range(24):
            for host in rng.sample(HOSTS, 5):
                start = START + rng.randrange(3) * WINDOW_NS + rng.randrange(4) * SECOND
                setting.write([rng.randrange(100) for _ in range(rng.randint(1, 6))], start=start, host=host)
            if step % 3 == 2:
                setting.node.flush()
            if step % 10 == 9:
                deletion = RangeDeletion(
                    setting.series, TimeRange(START, START + 2 * SECOND), (TagIn(tag, frozenset(HOSTS[:2])),)
                )
                setting.node.delete(setting.database, deletion).result(10)
            if step == 16:
                setting.node.compact([setting.series], full=True)
            span = TimeRange(high=START + WINDOW_NS * rng.randint(1, 3))
            seen = []
            for least in (1, 10**6, 1):
                monkeypatch.setattr(newest_scan, "JOINED_MIN", least)
                rows, statistics = read(setting, newest=Newest(1, (tag,), oldest), range=span)
                seen.append(sorted(rows, key=lambda row: (row.tags, row.time)))
                looked.append(statistics.blocks_read)
            assert seen[0] == seen[1] == seen[2]
        assert max(looked) > 3
