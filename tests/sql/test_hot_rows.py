"""Few rows of hot columns, and last points that are kept: the same as without these ways."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.cluster.random_node import MINUTE, World
from tests.cluster.setting import START
from tests.sql.answers import ask
from tests.sql.test_hot_groups import UNPRUNED, WHERE, put_hour, queries, write
from tests.sql.test_random_statements import bag
from tsdb.model.changes import SetRetention
from tsdb.model.store import RangeDeletion, TimeRange
from tsdb.sql.query import Queries
from tsdb.storage import view as storage_view
from tsdb.storage.hot_groups import rows as hot_rows
from tsdb.storage.newest import keeping

__all__ = ["queries"]

CONDITIONS = (
    "i > 90", "i <= 3", "i = 17", "i > 99", "f > 40.125", "f < -60", "f >= 1e300", "f <= 'NaN'", "i > 50 AND f < 0",
    "i BETWEEN 10 AND 20", "f = 0.125",
)  # fmt: skip
COLUMNS = ("*", "i", "host, f", "time, host, i, f", "time_ns, i", "host, time")
KEPT = (
    "SELECT DISTINCT ON (host) {} FROM cpu {} ORDER BY host, time DESC",
    "SELECT DISTINCT ON (host) {} FROM cpu {} ORDER BY host DESC, time DESC, i",
    "SELECT DISTINCT ON (host) {} FROM cpu {} ORDER BY host NULLS FIRST, time DESC LIMIT 3 OFFSET 1",
)
GROUPED = (
    "SELECT host, max(time), last(i, time), last(f, time) FROM cpu {} GROUP BY host ORDER BY host",
    "SELECT host, last(f, time) FROM cpu {} GROUP BY host HAVING last(i, time) > 20",
    "SELECT DISTINCT host FROM cpu {}",
)
SINCE = ("", "", "WHERE time > '2023-11-14 22:20:00+00'", "WHERE time >= '2023-11-15 00:00:00+00'",
         "WHERE time < '2023-11-14 23:00:00+00'")  # fmt: skip


class Used:
    """How often rows were made by the kernel, and last points were those that are kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows = self.kept = 0
        monkeypatch.setattr(storage_view, "hot_rows", self._hot_rows)
        monkeypatch.setattr(keeping.Keeping, "_found", self._found_of(keeping.Keeping._found))

    def _hot_rows(self, *given: Any) -> Any:
        found = hot_rows.hot_rows(*given)
        self.rows += found is not None
        return found

    def _found_of(self, original: Any) -> Any:
        def found(asked: keeping.Keeping) -> Any:
            kept = original(asked)
            self.kept += kept is not None
            return kept

        return found


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Used:
    return Used(monkeypatch)


def some_rows(random: Random) -> str:
    where = random.choice(WHERE)
    more = random.sample(CONDITIONS, random.choice([0, 1, 1, 2]))
    conditions = [where.removeprefix("WHERE ")] * bool(where) + more
    text = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {random.choice(COLUMNS)} FROM cpu{text}"


def last_points(random: Random) -> str:
    if random.random() < 0.5:
        return random.choice(KEPT).format(random.choice(COLUMNS[:4]), random.choice(SINCE))
    return random.choice(GROUPED).format(random.choice(SINCE))


def check(queries: Queries, world: World, text: str) -> None:
    view = world.node.view()
    try:
        _, plain = ask(queries, view, text, context=UNPRUNED)
        for _ in range(2):
            _, found = ask(queries, view, text)
            assert bag(found) == bag(plain), text
            assert "ORDER BY" not in text or list(map(repr, found)) == list(map(repr, plain)), text
    finally:
        view.close()


def run(queries: Queries, path: Path, seed: int, *, keyed: bool, rounds: int) -> None:
    """Minutes of hosts, of which no value is absent, partly in the head."""
    world = World(path, seed, keyed=keyed, odd=0.0)
    world.full = True
    try:
        for at in range(rounds):
            write(world)
            if at % 3:
                world.node.flush()
            for _ in range(3):
                check(queries, world, some_rows(world.random))
                if keyed:
                    check(queries, world, last_points(world.random))
    finally:
        world.node.close()


def run_whatever_happens(queries: Queries, path: Path, seed: int, *, keyed: bool, steps: int) -> None:
    world = World(path, seed, keyed=keyed)
    try:
        for at in range(steps):
            world.full = at < 20 or world.random.random() < 0.5
            world.step()
            if at % 2 and {"f", "i"} <= set(world.series.by_name):
                check(queries, world, some_rows(world.random))
                if keyed:
                    check(queries, world, last_points(world.random))
    finally:
        world.node.close()


@pytest.mark.parametrize(("seed", "keyed"), [(1, True), (3, False)])
def test_rows_are_those_of_the_scan(used: Used, queries: Queries, tmp_path: Path, seed: int, keyed: bool) -> None:
    run(queries, tmp_path, seed, keyed=keyed, rounds=8)
    assert used.rows > 10
    assert used.kept > 10 or not keyed


@pytest.mark.parametrize(("seed", "keyed"), [(5, True), (6, False)])
def test_rows_are_those_of_the_scan_whatever_happens(
    used: Used, queries: Queries, tmp_path: Path, seed: int, keyed: bool
) -> None:
    run_whatever_happens(queries, tmp_path, seed, keyed=keyed, steps=40)
    assert used.rows > 0


@pytest.mark.nightly
@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("seed", range(40, 50))
def test_rows_are_those_of_the_scan_for_long(queries: Queries, tmp_path: Path, seed: int, keyed: bool) -> None:
    run(queries, tmp_path / "full", seed, keyed=keyed, rounds=20)
    run_whatever_happens(queries, tmp_path / "any", seed, keyed=keyed, steps=120)


# --- what is kept ---

LAST = "SELECT DISTINCT ON (host) time, host, i, f FROM cpu ORDER BY host, time DESC"
ROWS = "SELECT time, host, i, f FROM cpu WHERE host = 'a' AND i > -10"


@pytest.fixture
def world(used: Used, queries: Queries, tmp_path: Path) -> Any:
    """An hour of all hosts, on disk, of which last points were asked."""
    made = World(tmp_path, 7, keyed=True, odd=0.0, rows_per_block=(100,))
    made.full = True
    put_hour(made)
    made.node.flush()
    check(queries, made, LAST)
    check(queries, made, ROWS)
    assert (used.kept, used.rows) == (1, 2)
    yield made
    made.node.close()


def test_what_was_deleted_is_no_last_point(used: Used, queries: Queries, world: World) -> None:
    span = TimeRange(START + 50 * MINUTE, START + 60 * MINUTE)
    world.node.delete(world.database, RangeDeletion(world.series, span)).result(60)
    check(queries, world, LAST)
    check(queries, world, ROWS)
    assert (used.kept, used.rows) == (1, 2)
    world.node.compact([world.series], full=True)
    check(queries, world, LAST)
    check(queries, world, ROWS)


def test_what_is_below_retentions_floor_is_no_last_point(queries: Queries, world: World) -> None:
    for minute in (30, 59, 60, 70):
        world.node.change(SetRetention("tsdb", "cpu", None, START + minute * MINUTE))
        check(queries, world, LAST)
        check(queries, world, ROWS)


def test_kept_rows_of_a_later_time_are_none_of_an_earlier_one(queries: Queries, world: World) -> None:
    world.put([START + 90 * MINUTE] * 3, [0, 1, 2])
    world.node.flush()
    for since in ("23:00:00", "22:00:00", "23:20:00", "23:59:00", "22:00:00"):
        check(queries, world, LAST.replace("cpu", f"cpu WHERE time > '2023-11-14 {since}+00'"))


@pytest.mark.parametrize("minute", [59, 60, 30])
def test_versions_and_points_of_the_head_count_beside_what_is_kept(
    used: Used, queries: Queries, world: World, minute: int
) -> None:
    """Fields of a version that has them, of the kept one otherwise."""
    world.full = False
    for host in (0, 1, 1, 2, 6):
        world.put([START + minute * MINUTE] * 2, [host, host])
    check(queries, world, LAST)
    assert used.kept > 1
    world.node.flush()
    check(queries, world, LAST)


def test_rows_of_the_head_are_among_those_of_the_kernel(used: Used, queries: Queries, world: World) -> None:
    before = used.rows
    put_hour(world, later=61)
    check(queries, world, ROWS)
    assert used.rows == before + 2
    # Versions of points that are there already.
    put_hour(world, later=100)
    check(queries, world, ROWS)
    assert used.rows == before + 2
