"""Points as summary cells: what an aggregate makes of the cells is what it makes of the points."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tsdb.cluster.routing.arrow import batch_of, cells_of, decoded, encoded
from tsdb.cluster.routing.partial import SHORT, cells_of_rows, is_partial, spared
from tsdb.model import summaries
from tsdb.model.schema import Column, Role, Series
from tsdb.model.store import TIME_NS, FieldBound, ScanRequest
from tsdb.model.summaries import CellRequest, SummaryCells
from tsdb.model.time import NS_MAX, NS_MIN
from tsdb.types import FLOAT8, INT8, TEXT, TIMESTAMPTZ

F, N, T = 3, 4, 5
SERIES = Series(
    1, "cpu",
    (
        Column(1, "time", Role.TIME, TIMESTAMPTZ), Column(2, "host", Role.TAG, TEXT),
        Column(F, "f", Role.FIELD, FLOAT8), Column(N, "i", Role.FIELD, INT8), Column(T, "t", Role.FIELD, TEXT),
    ),
    keyed=True,
)  # fmt: skip
EVERYTHING = (
    summaries.COUNT, summaries.MIN, summaries.MAX, summaries.M2, summaries.FIRST, summaries.FIRST_THERE, summaries.LAST,
    summaries.LAST_THERE,
)  # fmt: skip
STATISTICS = {F: (*EVERYTHING, summaries.SUM), N: (*EVERYTHING, summaries.LOW, summaries.HIGH), T: (summaries.COUNT,)}
Group = tuple[str | None, int]


def batch(random: Random, rows: int, *, ordered: bool, near: int) -> pa.RecordBatch:
    hosts = [random.choice(["a", "b", None]) for _ in range(rows)]
    times = [near + random.randrange(5_000) for _ in range(rows)]
    if ordered:
        hosts.sort(key=str)
        times.sort()
        times = [t for _, t in sorted(zip(map(str, hosts), random.sample(times, rows), strict=True))]
    floats = [random.choice([None, math.nan, math.inf, 1.5, -2.25, 0.0]) for _ in range(rows)]
    integers = [random.choice([None, 0, 7, -(2**40), 2**50]) for _ in range(rows)]
    columns = [
        pa.array(times, pa.int64()), pa.array(hosts).dictionary_encode(), pa.array(floats, pa.float64()),
        pa.array(integers, pa.int64()), pa.array([random.choice([None, "x"]) for _ in range(rows)]),
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, names=["time_ns", "2", "3", "4", "5"])


def of_rows(rows: list[dict[str, Any]], wish: CellRequest) -> dict[Group, dict[str, Any]]:
    """By definition: sums, extremes and numbers of values of each group."""
    found: dict[Group, dict[str, Any]] = {}
    for row in rows:
        bucket = 0 if wish.width_ns is None else (row["time_ns"] - wish.origin_ns) // wish.width_ns
        group = found.setdefault((row["2"], bucket), {"rows": 0, "f": [], "i": [], "t": 0})
        group["rows"] += 1
        group["t"] += row["5"] is not None
        group["f"] += [] if row["3"] is None else [row["3"]]
        group["i"] += [] if row["4"] is None else [row["4"]]
    return {
        key: {
            "rows": g["rows"], "t": g["t"], "n": (len(g["f"]), len(g["i"])), "sum": sum(g["i"]),
            "float sum": np.float64(sum(g["f"])) if g["f"] else None,
            "min": (min(map(rank, g["f"]), default=None), min(g["i"], default=None)),
            "max": (max(map(rank, g["f"]), default=None), max(g["i"], default=None)),
        }
        for key, g in found.items()
    }  # fmt: skip


def rank(value: float) -> tuple[bool, float]:
    """NaN is above every number."""
    return (True, 0.0) if math.isnan(value) else (False, value)


def of_cells(cells: SummaryCells, wish: CellRequest) -> dict[Group, dict[str, Any]]:
    found: dict[Group, dict[str, Any]] = {}
    hosts = cells.tags[0].to_pylist()
    for at in range(len(cells)):
        bucket = 0 if wish.width_ns is None else (int(cells.first_times[at]) - wish.origin_ns) // wish.width_ns
        assert cells.first_times[at] <= cells.last_times[at]
        assert wish.width_ns is None or (int(cells.last_times[at]) - wish.origin_ns) // wish.width_ns == bucket
        group = found.setdefault(
            (hosts[at], bucket),
            {"rows": 0, "t": 0, "n": (0, 0), "sum": 0, "float sum": None, "min": (None, None), "max": (None, None)},
        )
        group["rows"] += int(cells.rows[at])
        f, i, t = (cells.fields.get(number, {}) for number in (F, N, T))
        group["t"] += int(t[summaries.COUNT][at]) if t else 0
        n = tuple(int(each[summaries.COUNT][at]) if each else 0 for each in (f, i))
        group["n"] = (group["n"][0] + n[0], group["n"][1] + n[1])
        for place, each in enumerate((f, i)):
            if n[place]:
                for name, choose in (("min", min), ("max", max)):
                    value: Any = rank(float(each[name][at])) if place == 0 else int(each[name][at])
                    known = group[name][place]
                    chosen = value if known is None else choose(known, value)
                    group[name] = (chosen, group[name][1]) if place == 0 else (group[name][0], chosen)
        if n[0]:
            group["float sum"] = (group["float sum"] or 0.0) + f[summaries.SUM][at]
        if n[1]:
            group["sum"] += (int(i[summaries.HIGH][at]) << 32) + int(i[summaries.LOW][at])
    return found


@pytest.mark.parametrize("seed", range(60))
def test_cells_say_of_each_group_what_its_points_say(seed: int) -> None:
    random = Random(seed)
    wish = CellRequest(random.choice([None, 1, 700, 4_999]), random.choice([0, 3, -(10**15)]), STATISTICS)
    request = ScanRequest(SERIES, (TIME_NS, 2, F, N, T), cells=wish)
    assert is_partial(request)
    near = random.choice([0, 10**18, -5_000, NS_MAX - 5_000, NS_MIN])
    made = batch(random, random.choice([1, 2, 40, 400]), ordered=random.random() < 0.5, near=near)
    cells = cells_of_rows(made, request)
    sent = encoded(batch_of(cells))
    arrived = cells_of(decoded(sent))
    found, expected = of_cells(arrived, wish), of_rows(made.to_pylist(), wish)
    assert found.keys() == expected.keys()
    with np.errstate(invalid="ignore"):
        for key, group in expected.items():
            total, ours = group.pop("float sum"), found[key].pop("float sum")
            assert found[key] == group
            assert (total is None) == (ours is None)
            assert total is None or np.isclose(ours, total, equal_nan=True) or math.isinf(total)


def test_times_that_only_say_in_which_bucket_points_are_become_its_begin() -> None:
    random = Random(5)
    for near in (0, -7, 10**18, NS_MAX - 5_000, NS_MIN):
        for width in (None, 1, 700):
            wish = CellRequest(width, 3, {F: (summaries.COUNT, summaries.SUM)}, times=False)
            request = ScanRequest(SERIES, (TIME_NS, 2, F), cells=wish)
            made = batch(random, 40, ordered=False, near=near).select([0, 1, 2])
            cells = cells_of_rows(made, request)
            less = spared(cells, wish)
            assert (less.first_times <= cells.first_times).all() or width is None
            if width is not None:
                before, after = ((int(t) - 3) // width for t in (cells.first_times[0], less.first_times[0]))
                assert before == after
                assert [(int(t) - 3) // width for t in cells.first_times] == [
                    (int(t) - 3) // width for t in less.first_times
                ]


def test_points_of_one_group_in_a_row_are_one_cell_and_scattered_ones_are_sorted_first() -> None:
    wish = CellRequest(10_000, 0, {F: (summaries.COUNT, summaries.SUM)})
    request = ScanRequest(SERIES, (TIME_NS, 2, F), cells=wish)
    rows = 10 * SHORT
    times = pa.array(range(rows))
    floats = pa.array([1.0] * rows)
    together = pa.array(["a"] * (rows // 2) + ["b"] * (rows // 2)).dictionary_encode()
    scattered = pa.array(["a", "b"] * (rows // 2)).dictionary_encode()
    for hosts in (together, scattered):
        cells = cells_of_rows(pa.RecordBatch.from_arrays([times, hosts, floats], names=["time_ns", "2", "3"]), request)
        assert sorted(zip(cells.tags[0].to_pylist(), cells.rows.tolist(), strict=True)) == [("a", 20), ("b", 20)]
        assert cells.fields[F][summaries.SUM].tolist() == [20.0, 20.0]


def test_the_first_and_the_last_value_are_those_of_the_first_and_the_last_point() -> None:
    wish = CellRequest(None, 0, {N: EVERYTHING})
    request = ScanRequest(SERIES, (TIME_NS, N), cells=wish)
    columns = [pa.array([5, 1, 9, 3]), pa.array([50, None, 90, 30])]
    cells = cells_of_rows(pa.RecordBatch.from_arrays(columns, names=["time_ns", "4"]), request)
    (at,) = range(len(cells))
    own = cells.fields[N]
    assert (cells.first_times[at], cells.last_times[at]) == (1, 9)
    assert (own[summaries.FIRST_THERE][at], own[summaries.LAST_THERE][at], own[summaries.LAST][at]) == (0, 1, 90)


def test_what_is_filtered_afterwards_or_is_no_number_goes_as_it_is() -> None:
    wish = CellRequest(None, 0, {F: (summaries.SUM,)})
    assert not is_partial(ScanRequest(SERIES, (F,)))
    assert not is_partial(ScanRequest(SERIES, (F,), cells=wish, bounds=(FieldBound(N, 1, 2),)))
    assert not is_partial(ScanRequest(SERIES, (F,), cells=wish, prune=False))
    assert not is_partial(ScanRequest(SERIES, (T,), cells=CellRequest(None, 0, {T: (summaries.MIN,)})))
    assert is_partial(ScanRequest(SERIES, (T,), cells=CellRequest(None, 0, {T: (summaries.COUNT,)})))
