"""Tombstones against plain Python: which versions are hidden."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.test_places import place
from tsdb.model.points import encode_tagset
from tsdb.model.ring import RING_SIZE, Slots
from tsdb.model.schema import Series
from tsdb.model.store import TagIn
from tsdb.model.time import BUCKET_NS, NS_PER_SECOND
from tsdb.storage.overlap import Rectangle
from tsdb.storage.rows import COUNTER_BITS
from tsdb.storage.rules import KeptRules, Rules, rules_of
from tsdb.storage.tagsets import TagSetIndex, TagSets
from tsdb.storage.tombstone import AnyTombstone, KeyTombstone, Tombstone
from tsdb.storage.visibility import Visibility

DATABASE, SERIES, TAG = 3, 7, 1
NODE = 1 << COUNTER_BITS
VALUES = ["a", "b", None]
TAGSETS = [encode_tagset([(TAG, value)] if value is not None else []) for value in VALUES]
HALF = RING_SIZE // 2

# The first of a bucket or a few seconds into it.
times = st.tuples(st.integers(-3, 3), st.integers(0, 3)).map(lambda at: at[0] * BUCKET_NS + at[1] * NS_PER_SECOND)
slots = st.sampled_from([(), (Slots(-3, 4),), (Slots(0, 2),), (Slots(-1, 1), Slots(1, 3)), (Slots(-2, 3), Slots(1, 0))])
counters = st.integers(1, 12).map(lambda counter: NODE | counter)
intervals = st.sampled_from([(0, RING_SIZE), (0, HALF), (HALF, RING_SIZE), (5, 6)])
Row = tuple[int, int, int]
rows = st.lists(st.tuples(st.integers(0, 2), times, counters), min_size=1, max_size=30)


@st.composite
def ranges(draw: st.DrawFn) -> Tombstone:
    low, high = draw(intervals)
    values = draw(st.lists(st.sampled_from(VALUES), max_size=2))
    tags = (TagIn(TAG, frozenset(values), draw(st.booleans())),) if values else ()
    # Few distinct ranges, so that several tombstones make one rule.
    range_low = draw(st.sampled_from([-(2**63), -BUCKET_NS, 0]))
    range_high = draw(st.sampled_from([2**63 - 1, 1, 2 * BUCKET_NS]))
    return Tombstone(SERIES, low, high, draw(counters), range_low, range_high, tags)


@st.composite
def named(draw: st.DrawFn) -> KeyTombstone:
    keys = draw(st.lists(st.tuples(st.integers(0, 2), times, st.one_of(st.just(0), counters)), min_size=1, max_size=5))
    sequences = np.array([key[2] for key in keys], np.int64) if draw(st.booleans()) else None
    return KeyTombstone(
        SERIES,
        0,
        RING_SIZE,
        draw(counters),
        (*TAGSETS, b"\x01\x01z"),
        np.array([key[0] for key in keys], np.int32),
        np.array([key[1] for key in keys], np.int64),
        sequences,
    )


def series(keyed: bool, cut: tuple[Slots, ...] = ()) -> Series:
    return Series(SERIES, "m", (), keyed, slots=cut)


def added_in_turn(of: Series, stones: list[AnyTombstone], tagsets: TagSets) -> Rules:
    """As reads between the DELETEs make them: a rule is added to those that are kept."""
    kept = KeptRules()
    for count in range(len(stones)):
        kept.rules(of, tuple(stones[:count]), tagsets)
    return kept.rules(of, tuple(stones), tagsets)


def is_hidden(row: Row, stone: AnyTombstone, keyed: bool, cut: tuple[Slots, ...]) -> bool:
    tagset, time, sequence = row
    if sequence >= stone.counter:
        return False
    if isinstance(stone, KeyTombstone):
        return any(
            stone.tagset[i] == tagset
            and stone.times[i] == time
            and (
                stone.sequences is None
                or stone.sequences[i] in (0, sequence)
                or (keyed and sequence <= stone.sequences[i])
            )
            for i in range(len(stone))
        )
    own = place(DATABASE, SERIES, cut, time)
    tags = all((VALUES[tagset] in tag.values) != tag.negated for tag in stone.tags)
    return stone.low <= own < stone.high and stone.range_low <= time < stone.range_high and tags


@given(rows, st.lists(st.one_of(ranges(), named()), max_size=6), st.booleans(), slots)
@settings(max_examples=400, deadline=None)
def test_a_tombstone_hides_exactly_the_older_versions_in_its_interval_range_and_tags(
    history: list[Row], stones: list[AnyTombstone], keyed: bool, cut: tuple[Slots, ...]
) -> None:
    index = TagSetIndex()
    assert index.ids(TAGSETS).tolist() == [0, 1, 2]
    visibility = Visibility(DATABASE, series(keyed, cut), added_in_turn(series(keyed), stones, index.snapshot()))
    tagset = np.array([row[0] for row in history], np.int32)
    at = np.array([row[1] for row in history], np.int64)
    sequences = np.array([row[2] for row in history], np.int64)
    hidden = visibility.hidden(tagset, at, sequences)
    expected = [any(is_hidden(row, stone, keyed, cut) for stone in stones) for row in history]
    assert (hidden.tolist() if hidden is not None else [False] * len(history)) == expected
    if any(expected):
        part = _Part(Rectangle(int(at.min()), int(at.max()), 0, 2), int((sequences - NODE).min()))
        assert visibility.touches(part, -(2**63), 2**63 - 1)


@given(rows, st.lists(ranges(), max_size=4), slots)
@settings(max_examples=400, deadline=None)
def test_bounds_that_are_covered_hold_nothing_that_is_not_hidden(
    history: list[Row], stones: list[Tombstone], cut: tuple[Slots, ...]
) -> None:
    index = TagSetIndex()
    index.ids(TAGSETS)
    visibility = Visibility(DATABASE, series(True, cut), rules_of(series(True), stones, index.snapshot()))
    tagset, at = [row[0] for row in history], [row[1] for row in history]
    bounds = Rectangle(min(at), max(at), min(tagset), max(tagset))
    if visibility.covers(bounds, max(row[2] - NODE for row in history)):
        assert all(any(is_hidden(row, stone, True, cut) for stone in stones) for row in history)


def test_what_one_deletion_hides_in_all_locations_is_covered() -> None:
    index = TagSetIndex()
    index.ids(TAGSETS)
    halves = [Tombstone(SERIES, 0, HALF, NODE | 8), Tombstone(SERIES, HALF, RING_SIZE, NODE | 9)]
    both, one = (
        Visibility(DATABASE, series(True), rules_of(series(True), stones, index.snapshot()))
        for stones in (halves, halves[:1])
    )
    bounds = Rectangle(0, 40 * BUCKET_NS, 0, 2)
    assert both.covers(bounds, 7)
    assert not both.covers(bounds, 8)
    assert not one.covers(bounds, 7)


def test_versions_in_slots_are_hidden_second_by_second() -> None:
    index, cut = TagSetIndex(), (Slots(0, 3), Slots(2, 0))
    index.ids(TAGSETS)
    stone = Tombstone(SERIES, 0, HALF, NODE | 8)
    visibility = Visibility(DATABASE, series(True, cut), rules_of(series(True), [stone], index.snapshot()))
    at = np.arange(-BUCKET_NS, 4 * BUCKET_NS, NS_PER_SECOND)
    hidden = visibility.hidden(np.zeros(len(at), np.int32), at, np.full(len(at), NODE | 7))
    assert hidden is not None
    assert hidden.tolist() == [is_hidden((0, time, NODE | 7), stone, True, cut) for time in at.tolist()]


def test_a_bucket_in_slots_is_covered_where_all_its_slots_are() -> None:
    index, cut = TagSetIndex(), (Slots(0, 3),)
    index.ids(TAGSETS)
    own = sorted({place(DATABASE, SERIES, cut, second * NS_PER_SECOND) for second in range(300)})
    assert len(own) == 8
    for hidden in (own, own[:-1], own[1:]):
        stones = [Tombstone(SERIES, each, each + 1, NODE | 8) for each in hidden]
        visibility = Visibility(DATABASE, series(True, cut), rules_of(series(True), stones, index.snapshot()))
        assert visibility.covers(Rectangle(0, BUCKET_NS - 1, 0, 2), 7) == (hidden == own)
        assert not visibility.covers(Rectangle(0, BUCKET_NS - 1, 0, 2), 8)
        assert not visibility.covers(Rectangle(0, BUCKET_NS, 0, 2), 7)


class _Part:
    def __init__(self, rectangle: Rectangle, min_counter: int) -> None:
        self.rectangle = rectangle
        self.min_counter = min_counter


def test_a_tag_set_that_is_newer_than_the_view_is_not_hidden() -> None:
    index = TagSetIndex()
    index.ids(TAGSETS[:1])
    stone = Tombstone(SERIES, 0, RING_SIZE, NODE | 9, tags=(TagIn(TAG, frozenset(["zz"]), True),))
    visibility = Visibility(DATABASE, series(True), rules_of(series(True), [stone], index.snapshot()))
    hidden = visibility.hidden(np.array([0, 5], np.int32), np.zeros(2, np.int64), np.array([NODE | 1, NODE | 2]))
    assert hidden is not None
    assert hidden.tolist() == [True, False]
