"""Aggregates of few rows of hot columns: the same as without that way, and only where no row has to be judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.cluster.random_node import MINUTE, World
from tests.cluster.setting import START
from tests.sql.answers import CONTEXT, ask
from tests.sql.test_random_statements import bag
from tsdb.model.changes import SetRetention
from tsdb.model.store import RangeDeletion, TimeRange
from tsdb.sql.query import Queries
from tsdb.storage import view as storage_view
from tsdb.storage.hot_groups import groups

MOMENT = "2023-11-15 00:00:00+00"
UNPRUNED = replace(CONTEXT, settings={"timezone": "UTC", "tsdb.prune": "off"})
BUCKETS = ("1 minute", "5 minutes", "7 minutes", "1 hour", "1 day")
AGGREGATES = (
    "count(*)", "count({})", "sum({})", "avg({})", "min({})", "max({})", "min(time)", "max(time)",
)  # fmt: skip
ENDS = ("first({}, time)", "last({}, time)")
WHERE = (
    "", "WHERE host = 'a'", "WHERE host IN ('a', 'b', 'nobody')", "WHERE host <> 'c'", "WHERE host IS NULL",
    "WHERE time >= '2023-11-14 22:30:00+00'", "WHERE time < '2023-11-14 22:30:00+00' AND host > 'b'",
    "WHERE time >= '2023-11-14 22:15:01+00' AND time < '2023-11-15 00:07:00+00'",
    "WHERE host = 'b' AND time BETWEEN '2023-11-14 23:15:00+00' AND '2023-11-15 00:07:30+00'",
    "WHERE time > '2030-01-01'",
)  # fmt: skip


class Used:
    """How often groups were made by the kernel."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        monkeypatch.setattr(storage_view, "hot_groups", self._hot_groups)

    def _hot_groups(self, *given: Any) -> Any:
        found = groups.hot_groups(*given)
        self.count += found is not None
        return found


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Used:
    return Used(monkeypatch)


@pytest.fixture
def queries() -> Iterator[Queries]:
    """Of one world: plans are kept by their catalog's version, and worlds have the same."""
    made = Queries(memory_limit_bytes=1 << 30, threads=2)
    yield made
    made.close()


def statement(random: Random, *, keyed: bool) -> str:
    """First and last where no two points have one time."""
    keys = random.choice([[], ["host"], ["bucket"], ["bucket", "host"]])
    shown = [f"time_bucket('{random.choice(BUCKETS)}', time) AS bucket" if k == "bucket" else k for k in keys]
    aggregates = (*AGGREGATES, *ENDS) if keyed and "host" in keys else AGGREGATES
    chosen = [random.choice(aggregates).format(random.choice("fi")) for _ in range(random.choice([1, 3, 6]))]
    having = random.choice(["", "", " HAVING max(i) > 0"]) if keys else ""
    group = f" GROUP BY {', '.join(keys)}{having}" if keys else ""
    order = f" ORDER BY {', '.join(f'{at + 1} DESC' for at in range(len(keys)))}" if keys else ""
    return f"SELECT {', '.join(shown + chosen)} FROM cpu {random.choice(WHERE)}{group}{order}"


def write(world: World) -> None:
    """Minutes of hosts, some of them late."""
    random, rows = world.random, world.random.choice([5, 30, 60])
    hosts = random.sample(range(7), random.choice([1, 3, 7]))
    late = 0 if random.random() < 0.7 else random.randrange(world.clock - START + 1)
    times = [world.clock - late + at * MINUTE for at in range(rows) for _ in hosts]
    world.put(times, [host for _ in range(rows) for host in hosts])
    world.clock += 0 if late else rows * MINUTE


def check(queries: Queries, world: World, statements: int) -> None:
    view = world.node.view()
    try:
        for _ in range(statements):
            text = statement(world.random, keyed=world.series.keyed)
            _, found = ask(queries, view, text)
            _, plain = ask(queries, view, text, context=UNPRUNED)
            assert bag(found) == bag(plain), text
            assert "ORDER BY" not in text or list(map(repr, found)) == list(map(repr, plain)), text
    finally:
        view.close()


def run(used: Used, queries: Queries, path: Path, seed: int, *, keyed: bool, rounds: int) -> None:
    world = World(path, seed, keyed=keyed, odd=0.0)
    world.full = True
    try:
        for _ in range(rounds):
            write(world)
            world.node.flush()
            check(queries, world, 5)
        assert used.count > rounds
    finally:
        world.node.close()


def run_whatever_happens(used: Used, queries: Queries, path: Path, seed: int, *, keyed: bool, steps: int) -> None:
    world = World(path, seed, keyed=keyed)
    try:
        for at in range(steps):
            world.full = at < 20 or world.random.random() < 0.5
            world.step()
            if at % 2 and {"f", "i"} <= set(world.series.by_name):
                check(queries, world, 2)
        assert used.count > 0
    finally:
        world.node.close()


@pytest.mark.parametrize(("seed", "keyed"), [(1, True), (3, False)])
def test_groups_are_those_of_the_scan(used: Used, queries: Queries, tmp_path: Path, seed: int, keyed: bool) -> None:
    run(used, queries, tmp_path, seed, keyed=keyed, rounds=7)


@pytest.mark.parametrize(("seed", "keyed"), [(5, True), (6, False)])
def test_groups_are_those_of_the_scan_whatever_happens(
    used: Used, queries: Queries, tmp_path: Path, seed: int, keyed: bool
) -> None:
    run_whatever_happens(used, queries, tmp_path, seed, keyed=keyed, steps=30)


TEXT = "SELECT host, count(*), sum(i), max(f), max(time) FROM cpu GROUP BY host ORDER BY host"


def check_again(queries: Queries, world: World, text: str = TEXT) -> None:
    view = world.node.view()
    try:
        found = [ask(queries, view, text)[1] for _ in range(2)]
        _, plain = ask(queries, view, text, context=UNPRUNED)
    finally:
        view.close()
    assert [bag(each) for each in found] == [bag(plain)] * 2


@pytest.fixture
def world(used: Used, queries: Queries, tmp_path: Path) -> Iterator[World]:
    """An hour of all hosts, on disk, whose columns are hot."""
    made = World(tmp_path, 7, keyed=True, odd=0.0, rows_per_block=(100,))
    made.full = True
    put_hour(made)
    made.node.flush()
    check_again(queries, made)
    assert used.count == 2
    yield made
    made.node.close()


def put_hour(world: World, later: int = 0) -> None:
    world.put([START + (at + later) * MINUTE for at in range(60) for _ in range(7)], [*range(7)] * 60)


def test_what_was_deleted_is_in_no_group(used: Used, queries: Queries, world: World) -> None:
    span = TimeRange(START + 10 * MINUTE, START + 20 * MINUTE)
    world.node.delete(world.database, RangeDeletion(world.series, span)).result(60)
    check_again(queries, world)
    assert used.count == 2


def test_what_is_below_retentions_floor_is_in_no_group(used: Used, queries: Queries, world: World) -> None:
    world.node.change(SetRetention("tsdb", "cpu", None, START + 30 * MINUTE))
    check_again(queries, world)
    assert used.count == 4


def test_versions_of_one_point_in_two_blocks_count_once(used: Used, queries: Queries, world: World) -> None:
    put_hour(world, later=30)
    world.node.flush()
    check_again(queries, world)
    assert used.count == 2


def test_points_in_the_head_are_in_groups(used: Used, queries: Queries, world: World) -> None:
    put_hour(world, later=200)
    check_again(queries, world)
    assert used.count == 4
    ended = f"SELECT max(i), first(f, time) FROM cpu WHERE time < '{MOMENT}'"
    check_again(queries, world, ended)
    assert used.count == 6


def test_points_of_the_head_between_those_of_blocks_are_in_groups(used: Used, queries: Queries, world: World) -> None:
    """Some hosts' are late, and no host has a time twice: then nothing has to be merged."""
    put_hour(world, later=61)
    world.put([START + 121 * MINUTE, START + 30 * MINUTE + 1], [1, 2])
    check_again(queries, world)
    assert used.count == 2, "a time of host c lies between two of its own in a block"
    world.node.flush()
    world.node.compact([world.series], full=True)
    check_again(queries, world)
    assert used.count == 4
    world.put([START + 130 * MINUTE, START + 135 * MINUTE], [2, 2])
    world.put([START + 136 * MINUTE, START + 129 * MINUTE], [2, 1])
    check_again(queries, world)
    assert used.count == 6
    world.put([START + 132 * MINUTE], [2])
    check_again(queries, world)
    assert used.count == 6, "runs of the head overlap"


def test_values_that_are_absent_in_the_head_are_left_to_the_scan(used: Used, queries: Queries, world: World) -> None:
    world.full = False
    for later in range(70, 100):
        world.put([START + later * MINUTE] * 3, [0, 1, 2])
    check_again(queries, world)
    check_again(queries, world, "SELECT host, count(*) FROM cpu GROUP BY host")
    assert used.count >= 4


@pytest.mark.nightly
@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("seed", range(20, 30))
def test_groups_are_those_of_the_scan_for_long(
    used: Used, queries: Queries, tmp_path: Path, seed: int, keyed: bool
) -> None:
    run(used, queries, tmp_path / "full", seed, keyed=keyed, rounds=20)
    run_whatever_happens(used, queries, tmp_path / "any", seed, keyed=keyed, steps=100)
