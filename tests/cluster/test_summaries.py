"""Summary cells and the points beside them say what all points say, whatever was written, hidden or restarted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.cluster.random_node import MINUTE, World
from tests.cluster.setting import START
from tsdb.model.store import TIME_NS, ScanRequest, TagMatch, TimeRange, View
from tsdb.model.summaries import CellRequest
from tsdb.model.time import NS_MAX, NS_MIN
from tsdb.storage.summaries import layout
from tsdb.types import Kind

INTEGERS = ("count", "low", "high", "m2", "min", "max", "first", "last", "first there", "last there")
FLOATS = ("count", "sum", "m2", "min", "max", "first", "last", "first there", "last there")


@pytest.fixture(autouse=True)
def small_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "CELL_ROWS", 2)


@dataclass
class Group:
    """What is known of one field in one group. ``values`` in no order."""

    count: int = 0
    total: float | int = 0
    least: Any = None
    most: Any = None
    moments: list[tuple[int, float, float]] = field(default_factory=list)  # count, mean, squares
    # The outermost times and the values there: points of a keyless series may have equal times.
    first: tuple[int, frozenset[str]] = (NS_MAX, frozenset())
    last: tuple[int, frozenset[str]] = (NS_MIN, frozenset())

    def end(self, time: int, value: Any, *, first: bool) -> None:
        if first and time <= self.first[0]:
            self.first = (time, frozenset({repr(value)}) | (self.first[1] if time == self.first[0] else frozenset()))
        if not first and time >= self.last[0]:
            self.last = (time, frozenset({repr(value)}) | (self.last[1] if time == self.last[0] else frozenset()))

    def values(self, count: int, total: Any, least: Any, most: Any, squares: float) -> None:
        if count:
            self.count += count
            self.total += total
            self.least = least if self.least is None or above(self.least, least) else self.least
            self.most = most if self.most is None or above(most, self.most) else self.most
            self.moments.append((count, float(total) / count, squares))

    @property
    def squares(self) -> float:
        mean = math.fsum(n * m for n, m, _ in self.moments) / self.count
        return math.fsum(s + n * (m - mean) ** 2 for n, m, s in self.moments)


def above(a: Any, b: Any) -> bool:
    """NaN is above every number."""
    return bool(b == b and (a != a or a > b))


Groups = dict[tuple[str | None, int, int], Group]


def check(world: World) -> tuple[int, int]:
    """(cells used, points taken back from cells)"""
    random, series = world.random, world.series
    width = random.choice([None, 5 * MINUTE, 7 * MINUTE, 60 * MINUTE, 24 * 60 * MINUTE])
    origin = random.choice([0, -13 * MINUTE, 90 * MINUTE, 10**18])
    span = TimeRange(
        random.choice([NS_MIN, START + random.randrange(300) * MINUTE]),
        random.choice([NS_MAX, START + random.randrange(400) * MINUTE + 1]),
    )
    host = series.column("host").number
    tags = random.choice([(), (), (TagMatch(host, lambda name: name in ("a", None)),)])
    request = ScanRequest(
        series, (TIME_NS, host, *(c.number for c in series.fields)), span, tags
    )  # fmt: skip
    names = {c.number: FLOATS if c.kind is Kind.FLOAT8 else INTEGERS for c in series.fields}
    view = world.node.view()
    try:
        plain = gathered(view, request, None, width, origin)
        found = gathered(view, request, CellRequest(width, origin, names), width, origin)
        compare(plain[0], found[0])
        assert plain[1:] == (0, 0)
        return found[1], check_sums(view, request, width, origin, random)
    finally:
        view.close()


def check_sums(view: View, request: ScanRequest, width: int | None, origin: int, random: Random) -> int:
    """Where sums are all that is wanted points out of range may be taken back from cells: how many were."""
    series = request.series
    names = {c.number: ("count",) if c.kind is Kind.FLOAT8 else ("count", "low", "high") for c in series.fields}
    taken = 0
    for _ in range(4):
        low, high = (START + random.randrange(300) * MINUTE + random.randrange(3) for _ in range(2))
        span = TimeRange(random.choice([low, NS_MIN]), high + random.randrange(2) * 60 * MINUTE)
        asked = replace(request, range=span)
        plain = sums(view, asked, None, width, origin)
        found = sums(view, asked, CellRequest(width, origin, names, times=False), width, origin)
        assert found[0] == plain[0]
        taken += found[1]
    return taken


def sums(
    view: View, request: ScanRequest, cells: CellRequest | None, width: int | None, origin: int
) -> tuple[dict[tuple[str | None, int, int], tuple[int, int]], int]:
    """((values, of integers their sum) of each group and field, but for those of no point; points taken back)."""
    scan = view.scan(replace(request, cells=cells))
    taken = 0
    found: dict[tuple[str | None, int, int], tuple[int, int]] = {}

    def add(host: str | None, time: int, column: int, count: int, total: int) -> None:
        key = (host, 0 if width is None else (time - origin) // width, column)
        before = found.get(key, (0, 0))
        found[key] = (before[0] + count, before[1] + total)

    for cell in scan.cells:
        taken -= int(cell.rows[cell.rows < 0].sum())
        for at, host in enumerate(cell.tags[0].to_pylist()):
            time = int(cell.first_times[at])
            assert request.range.low <= time < request.range.high
            add(host, time, 0, int(cell.rows[at]), 0)
            for number, names in cell.fields.items():
                total = (int(names["high"][at]) << 32) + int(names["low"][at]) if "high" in names else 0
                add(host, time, number, int(names["count"][at]), total)
    for batch in scan.batches:
        for time, host, *fields in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            add(host, time, 0, 1, 0)
            for column, value in zip(request.series.fields, fields, strict=True):
                if value is not None:
                    add(host, time, column.number, 1, value if column.kind is Kind.INT8 else 0)
    return {key: each for key, each in found.items() if each != (0, 0)}, taken


def gathered(
    view: View, request: ScanRequest, cells: CellRequest | None, width: int | None, origin: int
) -> tuple[Groups, int, int]:
    """(groups, cells used, rows in them)"""
    scan = view.scan(ScanRequest(request.series, request.columns, request.range, request.tags, cells=cells))
    groups: Groups = {}

    def group(host: str | None, time: int, column: int) -> Group:
        bucket = 0 if width is None else (time - origin) // width
        return groups.setdefault((host, bucket, column), Group())

    for found in scan.cells:
        hosts = found.tags[0].to_pylist()
        for at in range(len(found)):
            first, last = int(found.first_times[at]), int(found.last_times[at])
            rows = group(hosts[at], first, 0)
            rows.count += int(found.rows[at])
            for number in (c.number for c in request.series.fields):
                names = found.fields.get(number, {})
                s = {name: values[at].item() for name, values in names.items()}
                into = group(hosts[at], first, number)
                there = bool(s and s["count"])
                into.end(first, s["first"] if there and s["first there"] else None, first=True)
                into.end(last, s["last"] if there and s["last there"] else None, first=False)
                if there:
                    total = s["sum"] if "sum" in s else (s["high"] << 32) + s["low"]
                    into.values(s["count"], total, s["min"], s["max"], s["m2"])
    for batch in scan.batches:
        for time, host, *fields in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            group(host, time, 0).count += 1
            for column, each in zip(request.series.fields, fields, strict=True):
                into = group(host, time, column.number)
                into.end(time, each, first=True)
                into.end(time, each, first=False)
                if each is not None:
                    into.values(1, each, each, each, 0.0)
    return groups, scan.statistics.cells_used, scan.statistics.rows_in_cells


def compare(plain: Groups, found: Groups) -> None:
    assert plain.keys() == found.keys()
    for key, want in plain.items():
        have = found[key]
        assert (want.count, repr(want.least), repr(want.most)) == (have.count, repr(have.least), repr(have.most)), key
        for one, other in ((want.first, have.first), (want.last, have.last)):
            assert other[0] == one[0], key
            assert other[1] <= one[1], key
        if want.count and key[2]:
            scale = max(abs(want.least), abs(want.most)) if math.isfinite(want.total) else 0.0
            assert close(want.total, have.total, scale), key
            if math.isfinite(want.total):
                assert close(want.squares, have.squares, scale**2), key


def close(a: float, b: float, scale: float) -> bool:
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    return a == b or (a != a and b != b) or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9 * scale)


def run(path: Path, seed: int, *, keyed: bool, steps: int) -> tuple[int, int]:
    """(cells used, points taken back)"""
    world, cells, taken = World(path, seed, keyed=keyed), 0, 0
    try:
        for at in range(steps):
            world.step()
            if at % 4 == 3 or at == steps - 1:
                found = check(world)
                cells, taken = cells + found[0], taken + found[1]
    finally:
        world.node.close()
    return cells, taken


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_cells_and_points_say_what_all_points_say(tmp_path: Path, seed: int, keyed: bool) -> None:
    cells, _ = run(tmp_path, seed, keyed=keyed, steps=60)
    assert cells > 20


@pytest.mark.nightly
@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("seed", range(100, 140))
def test_cells_and_points_say_what_all_points_say_for_long(tmp_path: Path, seed: int, keyed: bool) -> None:
    cells, taken = run(tmp_path, seed, keyed=keyed, steps=300)
    assert cells > 100
    assert taken > 0
