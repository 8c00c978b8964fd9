"""Plans, carried out on rows in plain Python: nothing is lost, they come to an end, and what is left lies well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count, pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tsdb.model.schema import Column, Role, Series
from tsdb.model.time import WINDOW_NS
from tsdb.storage.block import BlockHeader, cut_rows
from tsdb.storage.compaction.plan import FAN, Reason, Situation, Task, plan, rectangle
from tsdb.storage.overlap import overlaps
from tsdb.storage.rows import Rows
from tsdb.types import TIMESTAMPTZ

LIMIT = 8
TIME = Column(1, "time", Role.TIME, TIMESTAMPTZ)
# (tag set, time in quarters of a window)
Point = tuple[int, int]
QUARTER = WINDOW_NS // 4
LATER = 10_000 * WINDOW_NS


def series(*, keyed: bool = True, floor_ns: int | None = None) -> Series:
    return replace(Series(7, "s", (TIME,), keyed), floor_ns=floor_ns)


@dataclass
class Disk:
    """Blocks and their rows."""

    keyed: bool = True
    rows: dict[int, list[Point]] = field(default_factory=dict)
    headers: dict[int, BlockHeader] = field(default_factory=dict)
    ids: count[int] = field(default_factory=lambda: count(1))

    def add(self, points: Sequence[Point], window: int | None = None) -> None:
        """Blocks as a flush (or, with ``window``, a merge) makes them of points."""
        if self.keyed:
            points = list(set(points))
        points = sorted(points)
        windows = {time // 4 for _, time in points} if window is None else {window}
        for each in sorted(windows):
            inside = [p for p in points if window is not None or p[1] // 4 == each]
            tagset = np.array([p[0] for p in inside], np.int32)
            times = np.array([p[1] for p in inside], np.int64) * QUARTER
            for piece in cut_rows(Rows(tagset, times, times, {}), LIMIT):
                number = next(self.ids)
                self.rows[number] = inside[piece]
                low, high = times[piece].min(), times[piece].max()
                self.headers[number] = BlockHeader(
                    7, each, number, piece.stop - piece.start, int(low), int(high), int(tagset[piece][0]),
                    int(tagset[piece][-1]), 1, 1, len(set(inside[piece])) == piece.stop - piece.start, {},
                )  # fmt: skip

    def situation(self, **given: object) -> Situation:
        blocks = sorted(self.headers.values(), key=lambda h: (h.window, h.block_id))
        none = np.zeros(len(blocks), np.bool_)
        known: dict[str, object] = {"hit": none, "covered": none, "now_ns": LATER, **given}
        return Situation(series(keyed=self.keyed), blocks, rows_per_block=LIMIT, **known)  # type: ignore[arg-type]

    def carry_out(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            points = [point for header in task.blocks for point in self.rows.pop(header.block_id)]
            for header in task.blocks:
                del self.headers[header.block_id]
            self.add(points, task.window)


def _fits_blocks(flushes: list[list[Point]]) -> bool:
    """Whether no point is there more often than a block has rows: see the test below of those that are."""
    return max(Counter(point for each in flushes for point in each).values()) <= LIMIT


points = st.lists(st.tuples(st.integers(0, 12), st.integers(-300, 3000)), min_size=1, max_size=60)
close = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), min_size=1, max_size=60)


@given(st.lists(points | close, min_size=1, max_size=8).filter(_fits_blocks), st.booleans())
@example([[(0, 4), *[(4, 0)] * 3, (6, 4)], [(1, 4), *[(4, 0)] * 4, (4, 4), (5, 4)]], False)
@settings(max_examples=300, deadline=None)
def test_plans_end_lose_nothing_and_leave_full_blocks_apart(flushes: list[list[Point]], keyed: bool) -> None:
    disk = Disk(keyed)
    for each in flushes:
        disk.add(each)
    expected = sorted(point for rows in disk.rows.values() for point in rows)
    if keyed:
        expected = sorted(set(expected))
    for _ in range(8):
        tasks = plan(disk.situation())
        if not tasks:
            break
        named = [header.block_id for task in tasks for header in task.blocks]
        assert len(named) == len(set(named)), "a block is in two tasks"
        disk.carry_out(tasks)
    assert tasks == [], "the plan never ends"
    found = sorted(point for rows in disk.rows.values() for point in rows)
    assert sorted(set(found)) == sorted(set(expected))
    assert keyed is False or found == expected
    headers = sorted(disk.headers.values(), key=lambda h: (h.min_time // WINDOW_NS, h.min_tagset))
    if keyed:
        assert set(overlaps([rectangle(h) for h in headers]).group) <= {-1}
    for first, second in pairwise(headers):
        in_one = first.max_time // WINDOW_NS == second.min_time // WINDOW_NS == second.max_time // WINDOW_NS
        # None reaches over a tag set that has blocks of its own, wherever in time these begin.
        one_tagset = any(
            each.min_tagset == each.max_tagset and first.min_tagset <= each.min_tagset <= second.max_tagset
            for each in headers
        )
        if in_one and first.min_time // WINDOW_NS == second.min_time // WINDOW_NS and not one_tagset:
            assert first.rows + second.rows > LIMIT


@pytest.mark.parametrize("last", [[(5, 4)], [(5, 4), (6, 4)]])
def test_more_equal_rows_than_a_block_holds_are_merged_once_by_a_process(last: list[Point]) -> None:
    """A merge leaves them as they were: what one has written is not planned again while it is known."""
    disk = Disk(keyed=False)
    disk.add([(0, 0), *[(4, 0)] * 9, *last])
    settled: dict[int, int] = {}
    for number in range(8):
        tasks = plan(disk.situation(settled=settled))
        if not tasks:
            break
        before = set(disk.headers)
        disk.carry_out(tasks)
        settled |= dict.fromkeys(set(disk.headers) - before, number)
    assert tasks == [], "the plan never ends"


def test_little_data_is_joined_by_days_and_by_more_when_they_are_over() -> None:
    disk = Disk()
    for window in range(24):
        disk.add([(0, window * 4), (1, window * 4 + 2)])
    assert plan(disk.situation(now_ns=11 * WINDOW_NS)) == []
    (task,) = plan(disk.situation(now_ns=12 * WINDOW_NS))
    assert (task.reason, task.window, len(task.blocks), task.rows) == (Reason.SMALL, 0, 12, 24)
    disk.carry_out([task])
    (task,) = plan(disk.situation())
    # Three blocks a day are not little.
    assert (task.window, len(task.blocks)) == (12, 12)
    disk.carry_out([task])
    assert plan(disk.situation()) == []
    disk = Disk()
    for day in range(32):
        disk.add([(0, day * 48)])
    assert plan(disk.situation(now_ns=383 * WINDOW_NS)) == []
    (task,) = plan(disk.situation(now_ns=384 * WINDOW_NS))
    disk.carry_out([task])
    assert plan(disk.situation()) == []
    assert len(disk.headers) == 4


def test_a_late_point_of_one_tag_set_rewrites_its_block_and_no_other() -> None:
    disk = Disk()
    disk.add([(tagset, time) for tagset in range(16) for time in (0, 1, 2)])
    assert plan(disk.situation()) == []
    disk.add([(5, 3)])
    (task,) = plan(disk.situation())
    assert [(h.min_tagset, h.max_tagset) for h in task.blocks] == [(4, 5), (5, 5)]
    disk.carry_out([task])
    assert plan(disk.situation()) == []


def test_what_is_new_or_not_over_waits_until_many_blocks_lie_on_each_other() -> None:
    disk = Disk(keyed=False)
    for flush in range(FAN - 1):
        disk.add([(tagset, flush % 4) for tagset in range(4)])
    assert plan(disk.situation(fresh=frozenset(disk.headers))) == []
    assert plan(disk.situation(now_ns=WINDOW_NS - 1)) == []
    assert [task.reason for task in plan(disk.situation())] == [Reason.SPREAD]
    assert [task.reason for task in plan(disk.situation(now_ns=0, now=True))] == [Reason.SPREAD]
    disk.add([(tagset, 3) for tagset in range(4)])
    assert [task.reason for task in plan(disk.situation(fresh=frozenset(disk.headers)))] == [Reason.SPREAD]


def test_blocks_go_unread_below_the_floor_or_when_all_of_them_is_hidden() -> None:
    disk = Disk()
    for window in range(3):
        disk.add([(tagset, window * 4 + 1) for tagset in range(8)])
    covered = np.array([False, True, False])
    situation = replace(disk.situation(covered=covered), series=series(floor_ns=WINDOW_NS))
    gone = [(task.reason, task.window) for task in plan(situation) if task.drops]
    assert gone == [(Reason.RETENTION, 0), (Reason.DELETED, 1)]
    on_the_floor = replace(disk.situation(), series=series(floor_ns=QUARTER))
    assert plan(on_the_floor) == []


def test_blocks_that_tombstones_may_hit_are_looked_through_and_neighbours_together() -> None:
    disk = Disk()
    disk.add([(tagset, time) for tagset in range(40) for time in (0, 1)])
    hit = np.array([at not in (3, 4) for at in range(10)])
    tasks = plan(disk.situation(hit=hit))
    assert [task.reason for task in tasks] == [Reason.TOMBSTONES] * 2
    assert sorted(len(task.blocks) for task in tasks) == [3, 5]


def test_versions_are_not_merged_again_while_somebody_holds_a_moment_between_them() -> None:
    disk = Disk(keyed=True)
    disk.add([(0, 0)])
    (number,) = disk.headers
    disk.headers[number] = replace(disk.headers[number], unique=False, low_counter=5, high_counter=9)
    assert plan(disk.situation(moments=(5,))) == []
    assert plan(disk.situation(moments=(8,))) == []
    assert [task.reason for task in plan(disk.situation(moments=(4, 9)))] == [Reason.VERSIONS]
    assert [task.reason for task in plan(disk.situation(moments=(8,), full=True, now=True))] == [Reason.FULL]
