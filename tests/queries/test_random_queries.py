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
# Of numbers, relatively to them.
CLOSE = 1e-9
NUMBERS = (int, float, Decimal)


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
        if abs(number - nearest) <= CLOSE * max(1.0, abs(number)):
            return str(nearest)
        # Quarters squared and divided end in a five often enough: the factor takes numbers off the edge of rounding.
        return f"{number * 1.000137:.9g}"
    return str(value.astimezone(dt.UTC)) if isinstance(value, dt.datetime) else repr(value)


def alike(ours: tuple[Any, ...], plain: tuple[Any, ...]) -> bool:
    """Whether two rows are equal, their numbers up to the last digits."""
    for one, other in zip(ours, plain, strict=True):
        if shown(one) == shown(other):
            continue
        if isinstance(one, bool) or not (isinstance(one, NUMBERS) and isinstance(other, NUMBERS)):
            return False
        if not math.isclose(one, other, rel_tol=CLOSE, abs_tol=CLOSE):
            return False
    return True


def texts(row: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(map(shown, row))


def taken(rows: list[tuple[Any, ...]], wanted: Counter[tuple[str, ...]]) -> list[tuple[Any, ...]]:
    """As many of each as are wanted."""
    chosen = []
    for row in rows:
        if wanted[texts(row)] > 0:
            wanted[texts(row)] -= 1
            chosen.append(row)
    return chosen


def without_equals(found: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> tuple[list[Any], list[Any]]:
    """What is in one and not in the other, as bags. What only falls on two sides of a rounding is in neither."""
    left, right = Counter(map(texts, found)), Counter(map(texts, expected))
    ours, plain = taken(found, left - right), taken(expected, right - left)
    for row in list(ours):
        like = next((each for each in plain if alike(row, each)), None)
        if like is not None:
            ours.remove(row)
            plain.remove(like)
    return ours, plain


def check_same(found: list[tuple[Any, ...]], expected: list[tuple[Any, ...]], ordered: bool, said: str) -> None:
    """The rows as they came, or as a bag."""
    if ordered:
        unlike = [rows for rows in zip(found, expected, strict=False) if not alike(*rows)]
        assert (len(found), unlike) == (len(expected), []), said
    else:
        assert without_equals(found, expected) == ([], []), said


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(1, 0.25)], [(1, 0.26)]),
        ([(1, 0.25)], [(1, 0.25), (1, 0.25)]),
        ([(1, 0.25), (1, 0.25)], [(1, 0.25)]),
        ([(1, None)], [(1, 0.0)]),
        ([("a", 0.1)], [("b", 0.1)]),
        ([(True,)], [(1.5,)]),
        ([(1e30,)], [(1.0000001e30,)]),
    ],
)
@pytest.mark.parametrize("ordered", [False, True])
def test_rows_that_differ_are_told_apart(found: list[Any], expected: list[Any], ordered: bool) -> None:
    with pytest.raises(AssertionError):
        check_same(found, expected, ordered, "")


@pytest.mark.parametrize("ordered", [False, True])
def test_the_last_digits_of_a_number_do_not_count(ordered: bool) -> None:
    edge = 50.75 / 1.000137 + 2e-9
    rows = [("eu", edge), ("eu", edge), ("us", 3.0)]
    digits = [("eu", math.nextafter(edge, 51)), ("eu", math.nextafter(edge, 50)), ("us", 3.0 + 1e-12)]
    check_same(rows, digits, ordered, "")


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
                check_same(found, expected, ordered, said)
    finally:
        world.close()


@pytest.mark.parametrize("seed", range(10))
def test_queries_are_those_of_a_plain_table(seed: int, tmp_path: Path) -> None:
    run(tmp_path, seed, 10)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(1000, 1200))
def test_queries_are_those_of_a_plain_table_at_length(seed: int, tmp_path: Path) -> None:
    run(tmp_path, seed, 20)
