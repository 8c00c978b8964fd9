"""Blocks left out because no value lies within a bound: the wanted rows are those of a scan that reads everything."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.cluster.model import Seen, scan
from tests.cluster.random_node import World as RandomNode
from tests.cluster.setting import SECOND, START
from tsdb.model.points import Points
from tsdb.model.schema import (
    DropSeries,
)
from tsdb.model.store import FieldBound, RangeDeletion, ScanRequest, TimeRange
from tsdb.model.time import WINDOW_NS

FLOATS = [None, math.nan, -math.inf, math.inf, 0.0, -0.0, 5.0, 50.5, 90.0, 95.0]


class World(RandomNode):
    """A random node whose writes are often all of one level, and what a scan of it leaves out by bounds."""

    def __init__(self, path: Path, seed: int, *, keyed: bool) -> None:
        super().__init__(path, seed, keyed=keyed, rows_per_block=(2, 8, 40))
        self.pruned = 0

    def write(self) -> None:
        random, series = self.random, self.series
        rows = random.choice([1, 3, 20])
        # A batch is often all of one level, so that a bound leaves out whole blocks.
        level = random.choice([0, 0, 50, 90])
        fields: dict[int, pa.Array] = {}
        for column in series.fields:
            if random.random() < 0.7:
                odd = column.kind.arrow == pa.float64() and random.random() < 0.3
                values: list[Any] = [
                    random.choice(FLOATS) if odd else random.choice([None, level, level + random.randrange(8)])
                    for _ in range(rows)
                ]
                fields[column.number] = pa.array(values, column.kind.arrow)
        start = START + random.randrange(3) * WINDOW_NS
        times = np.array([start + random.randrange(12) * SECOND for _ in range(rows)], np.int64)
        tagsets = [self.tags(name) for name in "abc"]
        tagset = np.array([random.randrange(3) for _ in range(rows)], np.int32)
        self.node.write(self.database, [Points(series, times, tagsets, tagset, fields)]).result(60)

    def delete(self) -> None:
        low = START + self.random.randrange(3) * WINDOW_NS + self.random.randrange(12) * SECOND
        self.node.delete(self.database, RangeDeletion(self.series, TimeRange(low, low + 2 * SECOND))).result(60)

    def step(self) -> None:
        steps = {
            self.write: 10,
            self.node.flush: 4,
            self.delete: 1,
            self.change: 0.5,
            self.restart: 0.5,
            self.compact: 0.5,
        }
        self.random.choices(list(steps), list(steps.values()))[0]()

    def check(self) -> None:
        """The rows within random bounds, by a scan with pruning and by one without."""
        random, series = self.random, self.series
        if not series.fields:
            return
        limits = [None, -math.inf, 0, 3, 6.5, 49, 60, 91, 97, math.inf]
        bounds = tuple(
            FieldBound(random.choice(series.fields).number, random.choice(limits), random.choice(limits))
            for _ in range(random.choice([1, 1, 2]))
        )
        view = self.node.view()
        try:
            by_number = {column.number: at for at, column in enumerate(series.fields)}
            rows = [scan(view, series, bounds=bounds, prune=prune) for prune in (True, False)]
            pruned, every = (Counter(map(_comparable, each)) for each in rows)
            wanted = Counter(
                _comparable(s) for s in rows[1] if all(_within(s.fields[by_number[b.column]], b) for b in bounds)
            )
            assert not wanted - pruned, (bounds, wanted - pruned)
            # What else is there must be as it is: a bound never shows an older value.
            assert not pruned - every, (bounds, pruned - every)
            request = ScanRequest(series, (), bounds=bounds)
            running = view.scan(request)
            list(running.batches)
            self.pruned += running.statistics.blocks_pruned_fields
        finally:
            view.close()


def _within(value: Any, bound: FieldBound) -> bool:
    if value is None:
        return False
    if math.isnan(value):
        return bound.high is None
    return (bound.low is None or value >= bound.low) and (bound.high is None or value <= bound.high)


def _comparable(seen: Seen) -> tuple[Any, ...]:
    return (seen.tags, seen.time, *map(repr, seen.fields), seen.sequence)


def run(path: Path, seed: int, *, keyed: bool, steps: int) -> None:
    world = World(path, seed, keyed=keyed)
    try:
        for at in range(steps):
            world.step()
            for _ in range(4):
                try:
                    world.check()
                except AssertionError as error:
                    error.add_note(f"seed {seed}, after step {at}")
                    raise
        assert world.pruned > 0, "no block was ever left out"
    finally:
        world.node.close()


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("seed", range(1, 4))
def test_bounds_leave_out_no_row_that_is_wanted_and_show_no_older_value(tmp_path: Path, seed: int, keyed: bool) -> None:
    run(tmp_path, seed, keyed=keyed, steps=30)


@pytest.mark.nightly
@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("seed", range(100, 106))
def test_bounds_leave_out_no_row_that_is_wanted_for_long(tmp_path: Path, seed: int, keyed: bool) -> None:
    run(tmp_path, seed, keyed=keyed, steps=150)


def test_a_block_that_a_newer_one_overlaps_is_left_out_with_it_or_not_at_all(tmp_path: Path) -> None:
    world = World(tmp_path, 1, keyed=True)
    try:
        number = world.series.column("f").number

        def write(value: float, *, at: int = START) -> None:
            tagsets = [world.tags("a")]
            values = {number: pa.array([value], pa.float64())}
            points = Points(world.series, np.array([at], np.int64), tagsets, np.zeros(1, np.int32), values)
            world.node.write(world.database, [points]).result(60)

        def found(low: float) -> tuple[list[Any], int]:
            view = world.node.view()
            running = view.scan(ScanRequest(world.series, (number,), bounds=(FieldBound(number, low),)))
            values = [value for batch in running.batches for value in batch.column(0).to_pylist()]
            view.close()
            return values, running.statistics.blocks_pruned_fields

        write(95)
        write(1, at=START + WINDOW_NS)
        world.node.flush()
        assert found(90) == ([95], 1)
        # The newer version lies in the head, then in a block of its own that is outside by itself.
        write(5)
        assert found(90) == ([5], 1)
        world.node.flush()
        assert found(90) == ([5], 1)
        assert found(96) == ([], 3)
        world.node.change(DropSeries("tsdb", "cpu"))
    finally:
        world.node.close()
