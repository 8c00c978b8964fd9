"""Points of the series ``cpu`` (host, usage, n) in memory, and random ones with what queries stumble over."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from tests.sql.memory_view import MemoryView, table_of
from tests.sql.samples import catalog

SECOND = 1_000_000
START_US = 1_767_225_600 * SECOND  # 2026-01-01 00:00:00 UTC


@dataclass(frozen=True)
class Point:
    time: int  # µs
    host: str | None
    usage: float | None
    n: int | None = None


def view_of(points: Sequence[Point]) -> MemoryView:
    made = catalog()
    columns = {
        "host": pa.array([p.host for p in points], pa.string()),
        "usage": pa.array([p.usage for p in points], pa.float64(), from_pandas=False),
        "n": pa.array([p.n for p in points], pa.int64()),
    }
    number, table = table_of(made, "tsdb", "cpu", [p.time * 1000 for p in points], columns)
    return MemoryView(made, {number: table}, batch_rows=17)


def random_points(chance: random.Random, count: int, *, nan: bool = False, span_seconds: int = 3600) -> list[Point]:
    """Unsorted, with NULLs, equal times and counters (n) that begin again."""
    times = [chance.randrange(span_seconds * 4) * SECOND // 4 for _ in range(count)]
    if count > 4:
        times[1], times[3] = times[0], times[2]

    def maybe(value: float) -> float | None:
        return None if chance.random() < 0.15 else value

    points = []
    for time in times:
        usage = math.nan if nan and chance.random() < 0.05 else round(chance.uniform(-50, 100), 2)
        n = maybe(chance.randrange(1000))
        host = chance.choice(["a", "b", "c", None])
        points.append(Point(START_US + time, host, maybe(usage), None if n is None else int(n)))
    return points
