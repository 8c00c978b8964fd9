"""Hot columns and what is kept of them, against the columns they were made of."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdb.storage.cache import FOUND_MIN, FOUND_MIN_FULL, HotColumns
from tsdb.storage.codec import INTEGERS, StoredColumn, encode_column, encode_integers
from tsdb.storage.hot import HotColumn, hot_of, locate, read_columns
from tsdb.storage.pages import Spans
from tsdb.storage.selection import in_time, layout_of, of_tagsets
from tsdb.types import Kind

_INT = np.iinfo(np.int64)
integers = st.one_of(
    st.integers(0, 255), st.integers(-3, 300), st.integers(-70_000, 70_000), st.integers(_INT.min, _INT.max)
)
floats = st.one_of(st.integers(-2000, 2000).map(lambda n: n / 100), st.floats(width=64))


def spans_over(rows: int, data: st.DataObject) -> Spans:
    edges = sorted(data.draw(st.sets(st.integers(0, rows), min_size=2, max_size=8))) if rows else [0, 0]
    starts, stops = np.array(edges[:-1:2], np.int64), np.array(edges[1::2], np.int64)
    starts = starts[: len(stops)]
    return Spans(starts, stops, int((stops - starts).sum()))


@given(st.data(), st.sampled_from([Kind.INT8, Kind.UINT8, Kind.FLOAT8]))
@settings(max_examples=300, deadline=None)
def test_a_hot_column_has_the_bits_of_its_values(data: st.DataObject, kind: Kind) -> None:
    values = {
        Kind.INT8: integers,
        Kind.UINT8: st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1)),
        Kind.FLOAT8: floats,
    }[kind]
    array = pa.array(data.draw(st.lists(values, min_size=1, max_size=60)), kind.arrow)
    hot = hot_of(StoredColumn(encode_column(array, kind), kind, len(array)))
    assert hot is not None
    spans = spans_over(len(array), data)
    expected = np.frombuffer(array.buffers()[1], np.int64)[: len(array)]
    assert hot.values(spans).tolist() == spans.take(expected).tolist()


@given(st.data(), st.lists(st.sampled_from([Kind.INT8, Kind.FLOAT8]), min_size=1, max_size=3))
@settings(max_examples=300, deadline=None)
def test_columns_of_many_blocks_are_read_at_once_as_one_by_one(data: st.DataObject, kinds: list[Kind]) -> None:
    sizes = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=4))
    spans = [spans_over(size, data) for size in sizes]
    columns: list[list[HotColumn]] = []
    for kind in kinds:
        columns.append([])
        for size in sizes:
            values = st.lists(floats if kind is Kind.FLOAT8 else integers, min_size=size, max_size=size)
            array = pa.array(data.draw(values), kind.arrow)
            hot = hot_of(StoredColumn(encode_column(array, kind), kind, size))
            assert hot is not None
            columns[-1].append(hot)
    counts = np.array([len(each.starts) for each in spans], np.int64)
    starts, stops = np.concatenate([s.starts for s in spans]), np.concatenate([s.stops for s in spans])
    found = read_columns(columns, counts, starts, stops)
    for column, values in zip(columns, found, strict=True):
        one_by_one = [hot.values(each).tolist() for hot, each in zip(column, spans, strict=True)]
        assert values.tolist() == [value for each in one_by_one for value in each]


def test_numbers_take_the_bytes_that_they_need() -> None:
    def width(values: list[int]) -> int:
        hot = hot_of(StoredColumn(encode_integers(np.array(values)), INTEGERS, len(values)))
        assert hot is not None
        return hot.numbers.itemsize

    second = 1_000_000_000
    assert width([0, 255]) == 1
    assert width([-300, -100]) == 1
    assert width([i * 10 * second for i in range(720)]) == 2
    assert width([10**18 + i * second // 1000 for i in range(70_000)]) == 4
    assert width([_INT.min, _INT.max, 1]) == 8


@pytest.mark.parametrize("kind", [Kind.INT8, Kind.TEXT, Kind.BOOL])
def test_absent_values_texts_and_booleans_are_not_kept_hot(kind: Kind) -> None:
    values = {Kind.INT8: [1, None, 3], Kind.TEXT: ["a", "b", "c"], Kind.BOOL: [True, False, True]}[kind]
    assert hot_of(StoredColumn(encode_column(pa.array(values, kind.arrow), kind), kind, 3)) is None


keys = st.lists(st.tuples(st.integers(0, 5), st.integers(-5, 5)), min_size=1, max_size=40).map(sorted)


@given(
    st.lists(st.tuples(keys, st.integers(-6, 6), st.integers(-6, 6), st.booleans()), min_size=1, max_size=4),
    st.one_of(st.none(), st.lists(st.booleans(), max_size=6)), st.sampled_from([1, 7, 1000, 10**9, 10**17]),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_rows_of_blocks_are_located_as_a_plain_selection_finds_them(
    blocks: list[tuple[list[tuple[int, int]], int, int, bool]], wanted: list[bool] | None, step: int
) -> None:
    mask = None if wanted is None else np.array(wanted, np.bool_)
    runs, hot, ranges, expected = [], [], [], []
    for rows, low, high, covered in blocks:
        times = np.array([row[1] * step + 3 for row in rows], np.int64)
        layout = layout_of(np.array([row[0] for row in rows], np.int32))
        bound, until = (-(2**62), 2**62) if covered else (low * step, high * step + 1)
        selection = of_tagsets(layout, mask)
        expected.append(in_time(selection, selection.spans.take(times), bound, until)[0])
        runs.append((layout.ids, layout.offsets))
        hot.append(None if covered else hot_of(StoredColumn(encode_integers(times), INTEGERS, len(times))))
        ranges.append((bound, until))
    found = locate(runs, hot, ranges, mask)
    assert found.rows.tolist() == [each.rows for each in expected]
    assert found.counts.tolist() == [len(each.starts) for each in expected]
    total = int(found.counts.sum())
    assert found.starts[:total].tolist() == np.concatenate([each.starts for each in expected]).tolist()
    assert found.stops[:total].tolist() == np.concatenate([each.stops for each in expected]).tolist()
    assert found.tagsets[:total].tolist() == np.concatenate([each.tagsets for each in expected]).tolist()


def test_the_cache_is_bounded_and_asks_more_of_newcomers_when_it_is_full() -> None:
    cache = HotColumns(10_000)
    assert cache.admits(FOUND_MIN)
    assert not cache.admits(FOUND_MIN - 1)
    for i in range(20):
        cache.put(i, HotColumn(np.zeros(1000, np.uint8), 0, 1, -1))
        assert cache.bytes <= 10_000
    assert len(cache) == 6
    assert cache.get(19) is not None
    assert cache.get(0) is None
    assert not cache.admits(FOUND_MIN)
    assert cache.admits(FOUND_MIN_FULL)
    assert not HotColumns(0).admits(FOUND_MIN_FULL)
