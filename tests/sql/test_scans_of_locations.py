"""A scan of some of a database's locations gives the points of these and no others, whichever way it goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.cluster.random_node import MINUTE, World
from tests.model.test_places import place
from tests.sql.answers import CONTEXT, ask
from tests.sql.test_random_statements import bag
from tsdb.model.ring import Intervals, intervals_of
from tsdb.model.store import TIME_NS, Scan, ScanRequest, View
from tsdb.sql.query import Queries
from tsdb.storage import view as storage_view
from tsdb.storage.newest import keeping
from tsdb.storage.summaries import layout

UNPRUNED = replace(CONTEXT, settings={"timezone": "UTC", "tsdb.prune": "off"})
BUCKETS = ("1 minute", "5 minutes", "7 minutes", "15 minutes", "1 hour", "1 day")
AGGREGATES = (
    "count(*)", "count({})", "sum({})", "avg({})", "min({})", "max({})", "min(time)", "max(time)",
    "max(time) - min(time)",
)  # fmt: skip
ENDS = ("first({}, time)", "last({}, time)")
WHERE = (
    "", "", "WHERE host = 'a'", "WHERE host IN ('a', 'b')", "WHERE host <> 'c'",
    "WHERE time >= '2023-11-14 22:30:00+00'", "WHERE time < '2023-11-14 23:30:00+00'",
    "WHERE time >= '2023-11-14 22:15:01+00' AND time < '2023-11-15 00:07:00+00'", "WHERE i > 50",
    "WHERE i > 50 AND host = 'b'", "WHERE i IS NULL",
)  # fmt: skip
NEWEST = (
    "SELECT DISTINCT ON (host) host, time, f, i FROM cpu {} ORDER BY host, time DESC, f, i",
    "SELECT DISTINCT ON (host) host, time, i FROM cpu {} ORDER BY host, time, i",
    "SELECT time, host, f, i FROM cpu {} ORDER BY time DESC, host, f, i LIMIT 3",
    "SELECT time, host, f, i FROM cpu {} ORDER BY time, host, f, i LIMIT 7",
    "SELECT max(time) FROM cpu {}",
    "SELECT host, max(time) FROM cpu {} GROUP BY host",
)


class Used:
    """How often which way was gone."""

    def __init__(self) -> None:
        self.groups = self.cells = self.kept = 0


class Some:
    """A view of the points in some intervals of the ring: ``judged`` row by row here, or by the scan."""

    def __init__(self, view: View, world: World, ring: Intervals, used: Used, *, judged: bool) -> None:
        self._view = view
        self._world = world
        self._ring = ring
        self._used = used
        self._judged = judged
        self._scans: list[Scan] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)

    def scan(self, request: ScanRequest) -> Scan:
        if self._judged:
            columns = (*request.columns, TIME_NS)
            scan = self._view.scan(replace(request, columns=columns, newest=None, cells=None))
            schema = pa.schema([scan.schema.field(at) for at in range(len(request.columns))])
            return replace(scan, schema=schema, batches=map(self._kept, scan.batches))
        scan = self._view.scan(replace(request, ring=self._ring))
        self._used.groups += scan.groups is not None
        self._scans.append(scan)
        return scan

    def count(self) -> None:
        self._used.cells += sum(scan.statistics.cells_used > 0 for scan in self._scans)

    def _kept(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        database, series = self._world.database.number, self._world.series
        times = np.asarray(batch.column(batch.num_columns - 1)).tolist()
        places = {time: place(database, series.number, series.slots, time) for time in set(times)}
        wanted = {each for each, at in places.items() if any(low <= at < high for low, high in self._ring)}
        kept = batch.filter(pa.array([time in wanted for time in times], pa.bool_()))
        return kept.select(range(batch.num_columns - 1))


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Used:
    made, plain = Used(), keeping.Keeping._found

    def found(self: keeping.Keeping) -> Any:
        kept = plain(self)
        made.kept += kept is not None
        return kept

    monkeypatch.setattr(keeping.Keeping, "_found", found)
    return made


@pytest.fixture
def queries() -> Iterator[Queries]:
    """Of one world: plans are kept by their catalog's version, and worlds have the same."""
    made = Queries(memory_limit_bytes=1 << 30, threads=2)
    yield made
    made.close()


def statement(random: Random, *, keyed: bool) -> str:
    where = random.choice(WHERE)
    kind = random.random()
    if kind < 0.3:
        return random.choice(NEWEST).format(where)
    if kind < 0.45:
        return f"SELECT {random.choice(['*', 'i', 'host, time', 'count(*) OVER ()'])} FROM cpu {where}"
    keys = random.choice([[], ["host"], ["bucket"], ["bucket", "host"]])
    shown = [f"time_bucket('{random.choice(BUCKETS)}', time) AS bucket" if k == "bucket" else k for k in keys]
    aggregates = (*AGGREGATES, *ENDS) if keyed and "host" in keys else AGGREGATES
    chosen = [random.choice(aggregates).format(random.choice("fi")) for _ in range(random.choice([1, 1, 3]))]
    group = f" GROUP BY {', '.join(keys)}" if keys else ""
    return f"SELECT {', '.join(shown + chosen)} FROM cpu {where}{group}"


def check(queries: Queries, world: World, used: Used, view: View, ring: Intervals, text: str) -> None:
    mine = Some(view, world, ring, used, judged=False)
    _, found = ask(queries, mine, text)
    _, plain = ask(queries, Some(view, world, ring, used, judged=True), text, context=UNPRUNED)
    assert bag(found) == bag(plain), (text, ring)
    mine.count()


def check_sums(queries: Queries, world: World, used: Used, view: View, rings: list[Intervals]) -> None:
    """What complementary parts say adds up to what all of it says."""
    text = "SELECT count(*), coalesce(sum(i), 0), coalesce(sum(f), 0), count(f) FROM cpu"
    _, ((*whole,),) = ask(queries, view, text)
    parts = [ask(queries, Some(view, world, ring, used, judged=False), text)[1][0] for ring in rings]
    assert [sum(each) for each in zip(*parts, strict=True)] == whole


def run(used: Used, queries: Queries, path: Path, seed: int, *, keyed: bool, steps: int, cuts: int = 0) -> None:
    """``cuts``: how often buckets are cut into other slots meanwhile."""
    world = World(path, seed, keyed=keyed, odd=0.0)
    random = world.random
    try:
        for at in range(steps):
            world.full = random.random() < 0.5
            world.step()
            if cuts and at % (steps // (cuts + 1)) == 1:
                world.cut(random.choice([0, 1, 3, 6]))
            if at % 4 != 3 or not {"f", "i"} <= set(world.series.by_name):
                continue
            locations, turn = world.database.locations, random.randrange(32)
            run_of_them = [*locations[turn:], *locations[:turn]]
            order = random.sample(locations, 32) if random.random() < 0.7 else run_of_them
            cut = random.choice([0, 1, 8, 16, 24, 31])
            halves = [intervals_of(order[:cut]), intervals_of(order[cut:])]
            view = world.node.view()
            try:
                for ring in halves * 2:
                    check(queries, world, used, view, ring, statement(random, keyed=keyed))
                check_sums(queries, world, used, view, halves)
            finally:
                view.close()
    finally:
        world.node.close()


@pytest.fixture(params=[2, 8])
def cell_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells of a bucket, or of an hour."""
    monkeypatch.setattr(layout, "CELL_ROWS", request.param)


@pytest.mark.usefixtures("cell_rows")
@pytest.mark.parametrize("keyed", [True, False])
def test_a_statement_of_some_locations_is_answered_as_by_their_rows(
    used: Used, queries: Queries, tmp_path: Path, keyed: bool
) -> None:
    run(used, queries, tmp_path, 7, keyed=keyed, steps=24)


@pytest.mark.usefixtures("cell_rows")
@pytest.mark.parametrize("keyed", [True, False])
def test_a_statement_of_some_locations_is_answered_as_by_their_rows_in_slots(
    used: Used, queries: Queries, tmp_path: Path, keyed: bool
) -> None:
    run(used, queries, tmp_path, 8, keyed=keyed, steps=24, cuts=3)


@pytest.mark.nightly
@pytest.mark.usefixtures("cell_rows")
@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("seed", range(30, 50))
def test_statements_of_some_locations_are_answered_as_by_their_rows_in_slots_for_long(
    used: Used, queries: Queries, tmp_path: Path, seed: int, keyed: bool
) -> None:
    run(used, queries, tmp_path, seed, keyed=keyed, steps=300, cuts=9)


@pytest.mark.nightly
@pytest.mark.usefixtures("cell_rows")
@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("seed", range(10, 30))
def test_statements_of_some_locations_are_answered_as_by_their_rows_for_long(
    used: Used, queries: Queries, tmp_path: Path, seed: int, keyed: bool
) -> None:
    run(used, queries, tmp_path, seed, keyed=keyed, steps=300)


@pytest.mark.usefixtures("cell_rows")
def test_the_short_ways_are_gone(used: Used, queries: Queries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, 1, keyed=True, odd=0.0, rows_per_block=(200,))
    world.full, sums = True, "SELECT host, sum(i), max(f) FROM cpu GROUP BY host"
    try:
        for _ in range(4):
            world.put([world.clock + at * MINUTE for at in range(120) for _ in range(7)], list(range(7)) * 120)
            world.clock += 120 * MINUTE
            world.node.flush()
        # Some cells of an hour lie in wanted buckets alone.
        ring = intervals_of(world.database.locations[:28])
        others = intervals_of(world.database.locations[28:])
        view = world.node.view()
        try:
            for text in (sums, NEWEST[0].format(""), NEWEST[1].format("")):
                for some in (ring, ring, others, others):
                    check(queries, world, used, view, some, text)
            assert used.groups == 4
            assert used.kept == 2
            monkeypatch.setattr(storage_view, "hot_groups", lambda *_: None)
            check(queries, world, used, view, ring, sums)
            assert used.cells == 1
        finally:
            view.close()
    finally:
        world.node.close()


def test_what_is_hidden_of_other_locations_is_of_no_concern(used: Used, queries: Queries, tmp_path: Path) -> None:
    world = World(tmp_path, 1, keyed=True, odd=0.0, rows_per_block=(200,))
    world.full = True
    try:
        world.put([world.clock + at * MINUTE for at in range(300) for _ in range(7)], list(range(7)) * 300)
        world.node.flush()
        engine, database = world.node.engine, world.database
        some, others = intervals_of(database.locations[:20]), intervals_of(database.locations[20:])
        left = {each.number for each in database.locations[:4]}
        engine.call(lambda: engine.mask_locations(database.number, left))
        view = world.node.view()
        try:
            assert engine.is_masked(database.number, left)
            for ring, times in ((some, 0), (others, 1), (some, 1), (others, 2)):
                for text in (
                    "SELECT host, sum(i), max(f) FROM cpu GROUP BY host",
                    *(each.format("") for each in NEWEST),
                ):
                    check(queries, world, used, view, ring, text)
                assert used.groups == times
            assert used.kept > 0
        finally:
            view.close()
    finally:
        world.node.close()


def test_buckets_in_slots_are_read_the_short_ways(used: Used, queries: Queries, tmp_path: Path) -> None:
    """Slots begin in the middle of the data, twice; points come late; before and after a flush and a compaction."""
    world = World(tmp_path, 1, keyed=True, odd=0.0, rows_per_block=(200,))
    world.full = True
    texts = (
        "SELECT host, sum(i), max(f) FROM cpu GROUP BY host",
        "SELECT time_bucket('7 minutes', time) AS b, host, sum(i), count(f), max(time) FROM cpu GROUP BY b, host",
        "SELECT time_bucket('5 minutes', time) AS bucket, sum(f), min(f) FROM cpu GROUP BY bucket",
        "SELECT * FROM cpu WHERE i > 50 AND host = 'b'",
        *(each.format("") for each in NEWEST),
    )
    try:
        for bits in (3, 0, 2):
            # Of every tenth second, as points are measured in fact.
            times = [world.clock + at * MINUTE // 6 for at in range(240)]
            world.put([time for time in times for _ in range(7)], list(range(7)) * len(times))
            world.clock = world.latest + 1
            world.cut(bits)
            world.put([world.clock - 9 * MINUTE + at * 10**9 for at in range(1200)], [2] * 1200)
            world.clock = world.latest + 1
        locations = world.database.locations
        rings = [intervals_of(locations[:13]), intervals_of(locations[13:])]
        for act in ("write", "flush", "compact"):
            if act == "flush":
                world.node.flush()
            elif act == "compact":
                world.node.compact([world.series], full=True)
            view = world.node.view()
            try:
                for text in texts:
                    for ring in (*rings, *rings):
                        check(queries, world, used, view, ring, text)
                check_sums(queries, world, used, view, [intervals_of([each]) for each in locations])
            finally:
                view.close()
        assert used.groups
        assert used.kept
    finally:
        world.node.close()
