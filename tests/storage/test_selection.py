"""Row ranges and overlapping rectangles against plain Python."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdb.storage.overlap import PARTS_MAX, Rectangle, overlaps
from tsdb.storage.selection import layout_of, select, take_selected, take_selected_ints

Keys = list[tuple[int, int]]
keys = st.lists(st.tuples(st.integers(0, 5), st.integers(-5, 5)), min_size=1, max_size=40).map(sorted)


@given(
    keys, st.one_of(st.none(), st.lists(st.booleans(), min_size=0, max_size=6)), st.integers(-6, 6), st.integers(-6, 6)
)
@settings(max_examples=200, deadline=None)
def test_a_selection_holds_the_wanted_tag_sets_in_the_time_range(
    rows: Keys, wanted: list[bool] | None, low: int, high: int
) -> None:
    tagset = np.array([row[0] for row in rows], np.int32)
    times = np.array([row[1] for row in rows], np.int64)
    mask = None if wanted is None else np.array(wanted, np.bool_)
    selection = select(layout_of(tagset), mask, times, low, high)
    expected = [
        i
        for i, (tags, time) in enumerate(rows)
        if low <= time < high and (wanted is None or (tags < len(wanted) and wanted[tags]))
    ]
    assert selection.rows == len(expected)
    assert selection.index().tolist() == expected
    assert selection.tagset_column().tolist() == [rows[i][0] for i in expected]
    assert take_selected_ints(times, selection).tolist() == [rows[i][1] for i in expected]
    assert take_selected(pa.array(times), selection).to_pylist() == [rows[i][1] for i in expected]


@given(keys, st.lists(st.booleans(), min_size=40, max_size=40), st.integers(-6, 6))
@settings(max_examples=200, deadline=None)
def test_of_the_rows_of_a_selection_some_are_kept(rows: Keys, chosen: list[bool], low: int) -> None:
    tagset = np.array([row[0] for row in rows], np.int32)
    selection = select(layout_of(tagset), None, np.array([row[1] for row in rows], np.int64), low, 6)
    kept = np.array(chosen[: selection.rows], np.bool_)
    left = selection.among(kept)
    expected = selection.index()[kept].tolist()
    assert (left.rows, left.index().tolist()) == (len(expected), expected)
    assert left.tagset_column().tolist() == [rows[i][0] for i in expected]


rectangles = st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 9), st.integers(0, 3)).map(
    lambda r: Rectangle(r[0], r[0] + r[1], r[2], r[2] + r[3])
)


def points_of(r: Rectangle) -> set[tuple[int, int]]:
    return {(t, s) for t in range(r.min_time, r.max_time + 1) for s in range(r.min_tagset, r.max_tagset + 1)}


@given(st.lists(rectangles, min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_every_place_that_two_parts_share_is_in_a_stretch_of_both_and_in_one_group(parts: list[Rectangle]) -> None:
    found = overlaps(parts)
    for i, one in enumerate(parts):
        shared: set[tuple[int, int]] = set()
        for j, other in enumerate(parts):
            if i != j and points_of(one) & points_of(other):
                shared |= points_of(one) & points_of(other)
                assert found.group[i] == found.group[j] >= 0
        for time, _ in shared:
            assert any(low <= time <= high for low, high in found.stretches[i])
        assert (found.group[i] < 0) == (not shared)
        assert all(a[1] < b[0] for a, b in zip(found.stretches[i], found.stretches[i][1:], strict=False))


def test_beyond_a_number_of_parts_all_are_one_group() -> None:
    found = overlaps([Rectangle(i, i, 0, 0) for i in range(PARTS_MAX + 1)])
    assert set(found.group) == {0}
    assert found.stretches[7] == [(7, 7)]
