"""The index of a series' blocks: its arrays say what its headers say, and which blocks lie alone."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsdb.storage import overlap
from tsdb.storage.block import BlockHeader
from tsdb.storage.overlap import Rectangle, alone, overlapping
from tsdb.storage.version import NOT_JUDGED, SeriesBlocks

small = st.integers(-4, 4)
spans = st.tuples(small, st.integers(0, 3)).map(lambda pair: (pair[0], pair[0] + pair[1]))
rectangles = st.lists(st.builds(lambda t, s: Rectangle(t[0], t[1], s[0] + 4, s[1] + 4), spans, spans), max_size=12)


def columns(parts: list[Rectangle]) -> list[np.ndarray]:
    made = np.array([(p.min_time, p.max_time, p.min_tagset, p.max_tagset) for p in parts], np.int64).reshape(-1, 4)
    return list(np.ascontiguousarray(made.T))


def meet(one: Rectangle, two: Rectangle) -> bool:
    in_time = one.min_time <= two.max_time and two.min_time <= one.max_time
    return in_time and one.min_tagset <= two.max_tagset and two.min_tagset <= one.max_tagset


@given(rectangles)
def test_alone_is_what_meets_no_other(parts: list[Rectangle]) -> None:
    expected = [not any(meet(one, two) for two in parts if two is not one) for one in parts]
    assert alone(*columns(parts)).tolist() == expected


@given(rectangles, rectangles)
def test_what_overlaps_a_few_others(parts: list[Rectangle], others: list[Rectangle]) -> None:
    found = overlapping(others, *columns(parts))
    assert found.tolist() == [any(meet(part, other) for other in others) for part in parts]


def test_where_too_many_lie_at_one_time_none_is_said_to_be_alone_that_is_not() -> None:
    count = 3 * overlap.COMPARED_MAX
    rng = random.Random(5)
    parts = [Rectangle(i, 10**6, 2 * i, 2 * i) for i in range(count)]
    rng.shuffle(parts)
    assert int(alone(*columns(parts)).sum()) < count  # the comparing was given up
    assert not alone(*columns([*parts, *parts])).any()


def header(number: int, window: int) -> BlockHeader:
    return BlockHeader(7, window, number, number + 1, window, window + number, 3, 3 + number, 5, 6, number % 2 == 0, {})


@given(st.lists(st.tuples(st.integers(0, 3), st.lists(small, max_size=4)), max_size=8), st.randoms())
def test_the_arrays_of_an_index_say_what_its_headers_say(
    steps: list[tuple[int, list[int]]], rng: random.Random
) -> None:
    blocks, number = SeriesBlocks(), 0
    judged: dict[int, int] = {}
    for version, windows in steps:
        gone = {h.block_id for h in blocks.headers if rng.random() < 0.3}
        looked = {h.block_id for h in blocks.headers if rng.random() < 0.3} - gone
        new = [header(number + i, window) for i, window in enumerate(windows)]
        number += len(new)
        blocks = blocks.without(gone).with_judged(looked, version).with_added(new, version)
        judged = {i: v for i, v in judged.items() if i not in gone} | dict.fromkeys(looked, version)
        judged |= dict.fromkeys((h.block_id for h in new), version)
        assert [(h.window, h.block_id) for h in blocks.headers] == sorted(
            (h.window, h.block_id) for h in blocks.headers
        )
        for name in ("block_id", "min_time", "max_time", "min_tagset", "max_tagset", "low_counter", "high_counter"):
            assert getattr(blocks, name).tolist() == [getattr(h, name) for h in blocks.headers]
        assert blocks.rows.tolist() == [h.rows for h in blocks.headers]
        assert blocks.unique.tolist() == [h.unique for h in blocks.headers]
        assert blocks.judged_in.tolist() == [judged[h.block_id] for h in blocks.headers]
        assert blocks.ids == judged.keys()
    assert SeriesBlocks().with_added([header(0, 0)]).judged_in.tolist() == [NOT_JUDGED]
