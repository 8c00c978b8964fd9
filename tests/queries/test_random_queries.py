"""Random queries on random data, changed, deleted from, compacted and restarted in between, are DuckDB's over one plain
table. Source of the idea: differential testing, W. M. McKeeman, 1998."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.queries.generator import Queries
from tests.queries.world import World
from tsdb.storage.summaries import layout

STEPS, QUERIES = 5, 5


@pytest.fixture(autouse=True)
def small_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows have summaries too."""
    monkeypatch.setattr(layout, "CELL_ROWS", 2)


def shown(value: Any) -> str:
    """Numbers by their value: sums of floats may differ in their last digits."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int | float | Decimal):
        number = float(value)
        nearest = round(number) if math.isfinite(number) else number
        if abs(number - nearest) <= 1e-9 * max(1.0, abs(number)):
            return str(nearest)
        # Quarters squared and divided end in a five often enough: the factor takes numbers off the edge of rounding.
        return f"{number * 1.000137:.9g}"
    return str(value.astimezone(dt.UTC)) if isinstance(value, dt.datetime) else repr(value)


def comparable(rows: list[tuple[Any, ...]], ordered: bool) -> Any:
    """As they came, or as a bag."""
    texts = [tuple(map(shown, row)) for row in rows]
    return texts if ordered else Counter(texts)


def run(directory: Path, seed: int, rounds: int, kind: type[World] = World) -> None:
    """Steps, then queries, again and again."""
    world = kind(directory, seed)
    queries = Queries(world.random)
    try:
        for _ in range(rounds):
            for _ in range(world.random.randrange(1, 2 * STEPS)):
                world.step()
            for _ in range(QUERIES):
                ours, plain, ordered = queries.one()
                found, expected = world.ours(ours), world.plain(plain)
                said = f"seed {seed}, after {world.steps}: {ours}"
                assert comparable(found, ordered) == comparable(expected, ordered), said
    finally:
        world.close()


@pytest.mark.parametrize("seed", range(10))
def test_queries_are_those_of_a_plain_table(seed: int, tmp_path: Path) -> None:
    run(tmp_path, seed, 10)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(1000, 1200))
def test_queries_are_those_of_a_plain_table_at_length(seed: int, tmp_path: Path) -> None:
    run(tmp_path, seed, 20)
