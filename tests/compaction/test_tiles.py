"""Tiles: every row is in exactly one, and none holds more than it may."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsdb.storage.compaction.tiles import Lying, tiles

Row = tuple[int, int]
BLOCK_ROWS = 10

block = st.lists(st.tuples(st.integers(0, 6), st.integers(-20, 60)), min_size=1, max_size=BLOCK_ROWS).map(sorted)


def lying(rows: list[Row], weight: float) -> Lying:
    ids, counts = np.unique([tagset for tagset, _ in rows], return_counts=True)
    return Lying(ids.astype(np.int32), counts, min(time for _, time in rows), weight)


@given(st.lists(block, min_size=1, max_size=12), st.integers(1, 4), st.sampled_from([0.1, 0.25, 1.0, 3.0]))
def test_each_row_is_in_one_tile_in_the_order_of_tag_sets_and_times(
    blocks: list[list[Row]], together: int, weight: float
) -> None:
    found = list(tiles([lying(rows, weight) for rows in blocks], together))
    rows = [row for each in blocks for row in each]
    seen: list[list[Row]] = []
    for tile in found:
        inside = [r for r in rows if tile.low <= r[0] < tile.high and tile.low_time <= r[1] < tile.high_time]
        seen.append(sorted(inside))
        tagsets = {tagset for tagset, _ in inside}
        if len(tagsets) > 1:
            assert len(inside) * weight <= together + 1e-6
    assert [row for inside in seen for row in inside] == sorted(rows)


def test_a_tag_set_that_is_too_large_is_cut_where_blocks_begin() -> None:
    blocks = [lying([(1, 100 * i + j) for j in range(10)], 0.1) for i in range(6)]
    found = list(tiles(blocks, 2))
    assert [(tile.low, tile.high) for tile in found] == [(1, 2)] * 3
    assert [tile.low_time for tile in found[1:]] == [200, 400]
    assert [tile.high_time for tile in found[:-1]] == [200, 400]
