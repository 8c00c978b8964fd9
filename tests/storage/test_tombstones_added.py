"""Tombstones added to those there are: one that hides all that an older one hides takes its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsdb.model.store import TagIn
from tsdb.model.time import NS_MAX, NS_MIN
from tsdb.storage.apply import add_tombstones
from tsdb.storage.tombstone import AnyTombstone, KeyTombstone, Tombstone

RANGES = st.builds(
    Tombstone,
    st.integers(1, 2),
    st.sampled_from([0, 10]),
    st.just(20),
    st.just(0),
    st.sampled_from([NS_MIN, 0, 1]),
    st.sampled_from([5, 6, NS_MAX]),
    st.sampled_from([(), (TagIn(1, frozenset({"a", None})),)]),
)
KEYS = st.builds(
    lambda series: KeyTombstone(series, 0, 20, 0, (b"",), np.zeros(1, np.int32), np.zeros(1, np.int64)),
    st.integers(1, 2),
)


def covers(new: AnyTombstone, old: AnyTombstone) -> bool:
    """Does ``new`` hide all that ``old`` hides?"""
    if not isinstance(new, Tombstone) or (new.series, new.low, new.high) != (old.series, old.low, old.high):
        return False
    if isinstance(old, KeyTombstone):
        return (new.range_low, new.range_high, new.tags) == (NS_MIN, NS_MAX, ())
    return new.range_low <= old.range_low and old.range_high <= new.range_high and new.tags in ((), old.tags)


@given(st.lists(st.lists(st.one_of(RANGES, KEYS), max_size=6), max_size=6))
def test_only_what_a_newer_one_covers_is_left_out(groups: list[list[AnyTombstone]]) -> None:
    given_in_order: list[AnyTombstone] = []
    tombstones: dict[int, tuple[AnyTombstone, ...]] = {}
    for counter, group in enumerate(groups, 1):
        stones = [replace(stone, counter=counter) for stone in group]
        tombstones = add_tombstones(tombstones, stones)
        given_in_order += stones
    kept = [id(stone) for stones in tombstones.values() for stone in stones]
    for at, stone in enumerate(given_in_order):
        if id(stone) not in kept:
            assert any(id(new) in kept and covers(new, stone) for new in given_in_order[at + 1 :])
    for series, found in tombstones.items():
        assert list(map(id, found)) == [id(s) for s in given_in_order if s.series == series and id(s) in kept]


@given(st.one_of(RANGES, KEYS), st.one_of(RANGES, KEYS))
def test_one_that_covers_an_older_one_takes_its_place(old: AnyTombstone, new: AnyTombstone) -> None:
    old, new = replace(old, counter=1), replace(new, counter=2)
    tombstones = add_tombstones(add_tombstones({}, [old]), [new])
    assert (old not in tombstones[old.series]) == covers(new, old)
