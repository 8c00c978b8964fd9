"""Statements that summaries answer: the same as without them, whatever was written, hidden, flushed or restarted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.cluster.random_node import World
from tests.sql.answers import CONTEXT, ask
from tests.sql.test_random_statements import bag
from tsdb.model.store import View
from tsdb.sql.query import Queries
from tsdb.storage.summaries import layout

UNPRUNED = replace(CONTEXT, settings={"timezone": "UTC", "tsdb.prune": "off"})
BUCKETS = ("5 minutes", "7 minutes", "15 minutes", "1 hour", "1 day")
AGGREGATES = (
    "count(*)", "count({})", "sum({})", "avg({})", "min({})", "max({})", "min(time)", "max(time)",
    "max(time) - min(time)",
)  # fmt: skip
WHERE = (
    "", "", "WHERE host = 'a'", "WHERE host IN ('a', 'b')", "WHERE time >= '2023-11-14 22:30:00+00'",
    "WHERE time >= '2023-11-14 22:15:00+00' AND time < '2023-11-15 00:07:00+00'",
)  # fmt: skip


@pytest.fixture(autouse=True)
def small_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "CELL_ROWS", 2)


def statement(random: Random, fields: list[str]) -> str:
    keys = random.choice([[], ["host"], ["bucket"], ["bucket", "host"]])
    shown = [f"time_bucket('{random.choice(BUCKETS)}', time) AS bucket" if k == "bucket" else k for k in keys]
    chosen = [random.choice(AGGREGATES).format(random.choice(fields)) for _ in range(random.choice([1, 3]))]
    group = f" GROUP BY {', '.join(keys)}" if keys else ""
    return f"SELECT {', '.join(shown + chosen)} FROM cpu {random.choice(WHERE)}{group}"


@pytest.fixture
def queries() -> Iterator[Queries]:
    """Of one world: plans are kept by their catalog's version, and worlds have the same."""
    made = Queries(memory_limit_bytes=1 << 30, threads=2)
    yield made
    made.close()


def check_ends(queries: Queries, view: View, random: Random, fields: list[str]) -> None:
    """First, last and spread, by host: no two points of a host have one time."""
    field, bucket = random.choice(fields), random.choice(BUCKETS)
    text = f"""SELECT host, time_bucket('{bucket}', time) AS t, first({field}, time), last({field}, time),
        stddev({field}), var_pop({field}) FROM cpu {random.choice(WHERE)} GROUP BY host, t ORDER BY host, t"""
    _, found = ask(queries, view, text)
    _, plain = ask(queries, view, text, context=UNPRUNED)
    assert [row[:4] for row in found] == [row[:4] for row in plain], text
    for mine, other in zip(found, plain, strict=True):
        for a, b in zip(mine[4:], other[4:], strict=True):
            assert (a is None) == (b is None), text
            assert a is None or math.isclose(float(a), float(b), rel_tol=1e-9, abs_tol=1e-9), text


def run(queries: Queries, path: Path, seed: int, *, keyed: bool, steps: int) -> int:
    world, used = World(path, seed, keyed=keyed, odd=0.0), 0
    try:
        for at in range(steps):
            world.step()
            fields = [column.name for column in world.series.fields]
            if at % 4 != 3 or not fields:
                continue
            text = statement(world.random, fields)
            view = world.node.view()
            try:
                _, found = ask(queries, view, text)
                _, plain = ask(queries, view, text, context=UNPRUNED)
                assert bag(found) == bag(plain), text
                if keyed:
                    check_ends(queries, view, world.random, fields)
                _, plan = ask(queries, view, f"EXPLAIN ANALYZE {text}")
                used += any("Summaries" in line for (line,) in plan)
            finally:
                view.close()
    finally:
        world.node.close()
    return used


@pytest.mark.parametrize(("seed", "keyed"), [(1, True), (2, True), (3, False)])
def test_a_statement_is_answered_as_without_summaries(queries: Queries, tmp_path: Path, seed: int, keyed: bool) -> None:
    assert run(queries, tmp_path, seed, keyed=keyed, steps=60) > 3


@pytest.mark.nightly
@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("seed", range(10, 40))
def test_statements_are_answered_as_without_summaries_for_long(
    queries: Queries, tmp_path: Path, seed: int, keyed: bool
) -> None:
    assert run(queries, tmp_path, seed, keyed=keyed, steps=300) > 10
