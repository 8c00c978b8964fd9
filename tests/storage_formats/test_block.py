"""Blocks: headers, row runs, cuts, and reading back what was written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.storage_formats.values import every_flip_is_found
from tsdb.errors import DataCorrupted
from tsdb.storage import block as block_module
from tsdb.storage import keys
from tsdb.storage.block import (
    ROWS_MAX,
    SEQUENCE_COLUMN,
    TIME_COLUMN,
    BlockHeader,
    BlockReader,
    Bound,
    ColumnStats,
    bounds,
    cut_rows,
    decode_runs,
    delete_values,
    encode_block,
    encode_runs,
)
from tsdb.storage.cache import RunsCache
from tsdb.storage.rocks import Rocks
from tsdb.storage.rows import Rows
from tsdb.types import Kind

NODE = 1 << 48


@pytest.fixture
def rocks(tmp_path: Path) -> Iterator[Rocks]:
    with Rocks.open(tmp_path) as opened:
        yield opened


def sample(tagsets: int = 3, per_tagset: int = 40) -> Rows:
    rows = tagsets * per_tagset
    rng = np.random.default_rng(5)
    return Rows(
        np.repeat(np.arange(tagsets, dtype=np.int32) * 2 + 1, per_tagset),
        np.tile(np.arange(per_tagset, dtype=np.int64) * 10 - 100, tagsets),
        rng.permutation(rows).astype(np.int64) + NODE + 500,
        {
            7: pa.array(rng.integers(0, 100, rows)),
            8: pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.5),
            9: pa.array(["x", "y"] * (rows // 2)),
            10: pa.nulls(rows, pa.bool_()),
        },
    )


def test_a_block_reads_back(rocks: Rocks) -> None:
    rows = sample(per_tagset=200)
    block = encode_block(4, -3, 11, rows)
    batch = rocks.batch()
    block.put_values(batch)
    block.put_header(batch)
    rocks.write(batch, sync=False)
    ((key, value),) = rocks.scan("blocks")
    header = BlockHeader.from_bytes(key, value)
    assert header == block.header
    assert (header.series, header.window, header.block_id, header.rows) == (4, -3, 11, 600)
    assert (header.min_time, header.max_time, header.min_tagset, header.max_tagset) == (-100, 1890, 1, 5)
    assert (header.low_counter, header.high_counter, header.unique) == (500, 1099, True)
    assert sorted(header.columns) == [7, 8, 9]
    reader = BlockReader(rocks, header, RunsCache(1 << 20))
    ids, offsets = reader.runs()
    assert (ids.tolist(), offsets.tolist()) == ([1, 3, 5], [0, 200, 400, 600])
    stored = reader.stored((TIME_COLUMN, SEQUENCE_COLUMN))
    assert stored[TIME_COLUMN].integers().tolist() == rows.times.tolist()
    assert stored[SEQUENCE_COLUMN].integers().tolist() == rows.sequences.tolist()
    found = reader.stored([9, 7, 10, 99])
    assert list(found) == [9, 7]
    assert found[7].values().equals(rows.columns[7])
    whole = reader.rows()
    assert whole.tagset.tolist() == rows.tagset.tolist()
    assert whole.tagset.dtype == np.int32
    assert whole.columns[8].equals(rows.columns[8])
    stored_bytes = sum(len(v) for family in ("columns", "runs", "summaries") for _, v in rocks.scan(family))
    assert header.value_bytes == stored_bytes
    assert sorted(block.summaries) == [0, 7, 8]
    assert len(list(rocks.scan("summaries"))) == 3
    batch = rocks.batch()
    delete_values(batch, header)
    rocks.write(batch, sync=False)
    assert not [*rocks.scan("columns"), *rocks.scan("runs"), *rocks.scan("summaries")]


@pytest.mark.parametrize("family", ["runs", "columns"])
def test_a_missing_value_is_named(rocks: Rocks, family: str) -> None:
    block = encode_block(4, 0, 11, sample())
    batch = rocks.batch()
    block.put_values(batch)
    batch.delete_range(family, b"", b"\xff")
    rocks.write(batch, sync=False)
    with pytest.raises(DataCorrupted, match="block 11 of series 4"):
        BlockReader(rocks, block.header, RunsCache(1 << 20)).rows()


def test_columns_that_are_kept_are_read_once_and_within_the_limit(rocks: Rocks) -> None:
    cache = RunsCache(1 << 20, 24_000)
    blocks = [encode_block(1, 0, block_id, sample()) for block_id in range(4)]
    for block in blocks:
        batch = rocks.batch()
        block.put_values(batch)
        rocks.write(batch, sync=False)
    first = BlockReader(rocks, blocks[0].header, cache)
    expected = first.stored((TIME_COLUMN, 7))
    assert len(cache.columns) == 0, "nothing is kept unless that is asked for"
    for _ in range(2):
        found = BlockReader(rocks, blocks[0].header, cache).stored((TIME_COLUMN, 7, 99), keep=True)
        assert list(found) == [TIME_COLUMN, 7]
        assert found[TIME_COLUMN].integers().tolist() == expected[TIME_COLUMN].integers().tolist()
        assert found[7].values().equals(expected[7].values())
    assert (len(cache.columns), cache.columns.hits) == (2, 2)
    reader = BlockReader(rocks, blocks[0].header, cache)
    reader.stored((TIME_COLUMN, 7))
    assert reader.bytes_read == 0
    for block in blocks:
        BlockReader(rocks, block.header, cache).stored(block.header.columns, keep=True)
    assert 0 < cache.columns.bytes <= 24_000
    assert len(cache.columns) < 4 * len(blocks[0].header.columns)


def test_runs_are_read_once_and_kept_within_the_limit(rocks: Rocks) -> None:
    cache = RunsCache(1600)
    readers = []
    for block_id in range(4):
        block = encode_block(1, 0, block_id, sample())
        batch = rocks.batch()
        block.put_values(batch)
        rocks.write(batch, sync=False)
        readers.append(BlockReader(rocks, block.header, cache))
    for reader in (readers[0], readers[1], readers[0], readers[2]):
        reader.runs()
    # Room for two: the least recently used went.
    assert (len(cache), cache.hits, cache.misses) == (2, 1, 3)
    assert cache.bytes <= 1600
    assert cache.get(keys.runs_key(1, 0)) is not None
    assert cache.get(keys.runs_key(1, 1)) is None
    cache.remove(keys.runs_key(1, 0))
    cache.remove(keys.runs_key(1, 2))
    assert cache.bytes == 0


sorted_ids = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=30).map(sorted)


@given(sorted_ids)
def test_runs_come_back(tagset: list[int]) -> None:
    ids, offsets = decode_runs(encode_runs(np.array(tagset, np.int32)))
    assert np.repeat(ids, np.diff(offsets)).tolist() == tagset
    assert len(ids) == len(set(tagset))


def test_any_changed_byte_of_runs_or_header_is_found() -> None:
    every_flip_is_found(encode_runs(np.array([1, 1, 2, 9, 9], np.int32)), decode_runs)
    header = encode_block(1, 2, 3, sample()).header
    every_flip_is_found(header.to_bytes(), lambda data: BlockHeader.from_bytes(header.key, data))


uint32s = st.integers(0, 2**32 - 1)
BOUNDS: list[tuple[Kind, Bound, Bound]] = [
    (Kind.FLOAT8, -1.5, math.inf),
    (Kind.FLOAT8, None, None),
    (Kind.INT8, -(2**63), 2**63 - 1),
    (Kind.UINT8, 0, 2**64 - 1),
    (Kind.BOOL, False, True),
    (Kind.TEXT, None, None),
]


@st.composite
def stats(draw: st.DrawFn) -> ColumnStats:
    kind, low, high = draw(st.sampled_from(BOUNDS))
    return ColumnStats(kind, draw(uint32s), low, high, draw(uint32s))


int64s = st.integers(-(2**63), 2**63 - 1)
uint64s = st.integers(0, 2**64 - 1)
headers = st.builds(
    BlockHeader, uint64s, int64s, uint64s, uint32s, int64s, int64s, uint32s, uint32s, uint64s, uint64s, st.booleans(),
    st.dictionaries(uint32s, stats(), max_size=5), uint32s, uint32s, uint32s, uint32s, uint32s,
)  # fmt: skip


@given(headers)
def test_a_header_comes_back(header: BlockHeader) -> None:
    assert BlockHeader.from_bytes(header.key, header.to_bytes()) == header


def test_nan_is_above_every_number_in_bounds() -> None:
    assert bounds(pa.array([1.0, None, -2.0]), Kind.FLOAT8) == (-2.0, 1.0)
    low, high = bounds(pa.array([1.0, math.nan, -2.0]), Kind.FLOAT8)
    assert low == -2.0
    assert isinstance(high, float)
    assert math.isnan(high)
    assert all(isinstance(b, float) and math.isnan(b) for b in bounds(pa.array([math.nan]), Kind.FLOAT8))
    assert bounds(pa.array([True, False]), Kind.BOOL) == (False, True)
    assert bounds(pa.array(["a"]), Kind.TEXT) == (None, None)


def test_unique_means_no_two_rows_of_one_point() -> None:
    def unique(tagset: list[int], times: list[int]) -> bool:
        rows = Rows(np.array(tagset, np.int32), np.array(times), np.arange(len(times)) + NODE, {})
        return encode_block(1, 0, 1, rows).header.unique

    assert unique([1, 1, 2], [5, 6, 6])
    assert not unique([1, 1, 2], [5, 5, 6])


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=0, max_size=60).map(sorted),
    st.integers(1, 12),
)
@settings(max_examples=300)
def test_cuts_cover_all_rows_within_the_limit_and_never_part_a_point_without_need(
    points: list[tuple[int, int]], limit: int
) -> None:
    rows = Rows(
        np.array([p[0] for p in points], np.int32),
        np.array([p[1] for p in points], np.int64),
        np.arange(len(points)),
        {},
    )
    slices = cut_rows(rows, limit)
    assert [i for s in slices for i in range(s.start, s.stop)] == list(range(len(points)))
    assert all(0 < s.stop - s.start <= limit for s in slices)
    for s in slices[:-1]:
        parted_tagset = points[s.stop - 1][0] == points[s.stop][0]
        if parted_tagset:
            # Only a tag set that fills the block from its start is cut inside.
            assert points[s.start][0] == points[s.stop][0]
        if points[s.stop - 1] == points[s.stop]:
            assert points[s.start] == points[s.stop]
    corners = [(points[s.start], points[s.stop - 1]) for s in slices]
    for (low, high), (next_low, next_high) in pairwise(corners):
        # One tag set's block after another of it, or other tag sets: no point of the rectangle is in both.
        assert high[0] < next_low[0] or low[0] == next_high[0]


def test_reserved_columns_are_never_given() -> None:
    assert TIME_COLUMN == 0
    assert SEQUENCE_COLUMN == 2**32 - 1
    assert ROWS_MAX == 65_536


def test_encoding_can_be_ended_between_two_columns() -> None:
    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise TimeoutError

    columns = {number: pa.array([1.0, 2.0]) for number in range(1, 9)}
    rows = Rows(np.zeros(2, np.int32), np.arange(2, dtype=np.int64), np.arange(1, 3, dtype=np.int64), columns)
    with pytest.raises(TimeoutError):
        encode_block(4, -3, 11, rows, check)
    assert len(asked) == 3


@given(st.data())
def test_a_block_of_one_row_has_the_bytes_that_any_other_would_have(data: st.DataObject) -> None:
    columns = {
        1: pa.array([data.draw(st.none() | st.floats())], pa.float64()),
        2: pa.array([data.draw(st.none() | st.integers(-(2**63), 2**63 - 1))], pa.int64()),
        3: pa.array([data.draw(st.none() | st.integers(0, 2**64 - 1))], pa.uint64()),
        4: pa.array([data.draw(st.none() | st.booleans())], pa.bool_()),
        5: pa.array([data.draw(st.none() | st.text())], pa.string()),
    }
    rows = Rows(
        np.array([data.draw(st.integers(0, 2**31 - 1))], np.int32),
        np.array([data.draw(st.integers(-(2**63), 2**63 - 1))], np.int64),
        np.array([data.draw(st.integers(0, 2**62))], np.int64),
        columns,
    )
    one, other = encode_block(4, -3, 11, rows), block_module._encode_rows(4, -3, 11, rows, lambda: None)
    assert (one.columns, one.runs, one.header.to_bytes()) == (other.columns, other.runs, other.header.to_bytes())
