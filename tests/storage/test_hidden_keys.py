"""Many key tombstones of one series are few levels of distinct keys: a read does not pay for each of them."""

from __future__ import annotations

import numpy as np

from tsdb.model.points import encode_tagset
from tsdb.model.ring import RING_SIZE
from tsdb.model.schema import Series
from tsdb.storage.rules import KEPT_SERIES, KeptRules
from tsdb.storage.tagsets import TagSetIndex
from tsdb.storage.tombstone import AnyTombstone, KeyTombstone

TAGSETS = [encode_tagset([])]


def stone(counter: int, time: int, series: int = 7) -> KeyTombstone:
    times, none = np.array([time], np.int64), np.zeros(1, np.int32)
    return KeyTombstone(series, 0, RING_SIZE, counter, (TAGSETS[0],), none, times, np.array([counter - 1]))


def test_thousands_of_deletions_of_a_row_each_are_few_levels() -> None:
    index, kept, stones = TagSetIndex(), KeptRules(), list[AnyTombstone]()
    index.ids(TAGSETS)
    for counter in range(2, 3002):
        stones.append(stone(counter, counter))
        rules = kept.rules(Series(7, "m", (), True), tuple(stones), index.snapshot())
    assert len(rules.levels) <= 12
    assert sum(map(len, rules.levels)) == 3000
    assert kept.rules(Series(7, "m", (), True), rules.stones, index.snapshot()) is rules


def test_a_row_that_is_updated_again_and_again_is_one_key() -> None:
    index, kept, stones = TagSetIndex(), KeptRules(), list[AnyTombstone]()
    index.ids(TAGSETS)
    for counter in range(2, 1002):
        stones.append(stone(counter, 5))
        rules = kept.rules(Series(7, "m", (), True), tuple(stones), index.snapshot())
    assert sum(map(len, rules.levels)) <= 2
    assert max(level.max_limit for level in rules.levels) == 1000


def test_rules_of_a_bounded_number_of_series_are_kept() -> None:
    index, kept = TagSetIndex(), KeptRules()
    index.ids(TAGSETS)
    stones = [(stone(2, 5, number),) for number in range(KEPT_SERIES + 5)]
    first = [
        kept.rules(Series(number, "m", (), True), stones[number], index.snapshot()) for number in range(len(stones))
    ]
    again = [
        kept.rules(Series(number, "m", (), True), stones[number], index.snapshot()) is first[number]
        for number in reversed(range(len(stones)))
    ]
    assert again[0]
    assert not again[-1]
