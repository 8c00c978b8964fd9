"""Tombstones added to those there are: one that hides all that an older one hides takes its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsdb.model.store import TagIn
from tsdb.storage.apply import add_tombstones
from tsdb.storage.tombstone import AnyTombstone, KeyTombstone, Tombstone

RANGES = st.builds(
    Tombstone,
    st.integers(1, 2),
    st.sampled_from([0, 10]),
    st.just(20),
    st.just(0),
    st.sampled_from([0, 1]),
    st.sampled_from([5, 6]),
    st.sampled_from([(), (TagIn(1, frozenset({"a", None})),)]),
)
KEYS = st.builds(
    lambda series: KeyTombstone(series, 0, 20, 0, (b"",), np.zeros(1, np.int32), np.zeros(1, np.int64)),
    st.integers(1, 2),
)


def one_by_one(stones: list[AnyTombstone]) -> dict[int, list[AnyTombstone]]:
    expected: dict[int, list[AnyTombstone]] = {}
    for stone in stones:
        of_series = expected.setdefault(stone.series, [])
        if isinstance(stone, Tombstone):
            of_series[:] = [
                old
                for old in of_series
                if not (isinstance(old, Tombstone) and replace(old, counter=stone.counter) == stone)
            ]
        of_series.append(stone)
    return expected


@given(st.lists(st.lists(st.one_of(RANGES, KEYS), max_size=6), max_size=6))
def test_groups_of_tombstones_are_added_as_if_one_by_one(groups: list[list[AnyTombstone]]) -> None:
    all_stones: list[AnyTombstone] = []
    tombstones: dict[int, tuple[AnyTombstone, ...]] = {}
    for counter, group in enumerate(groups, 1):
        stones = [replace(stone, counter=counter) for stone in group]
        tombstones = add_tombstones(tombstones, stones)
        all_stones += stones
    assert {series: list(map(id, found)) for series, found in tombstones.items()} == {
        series: list(map(id, found)) for series, found in one_by_one(all_stones).items()
    }
