"""Summaries: cells of sorted rows, their statistics, and the packed form of both."""

from __future__ import annotations

import functools
import math
import operator
import statistics
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage_formats.values import every_flip_is_found, floats, int64s
from tsdb.errors import DataCorrupted
from tsdb.model.time import NS_PER_SECOND
from tsdb.storage.block import _HEAD_1, BlockHeader, encode_block
from tsdb.storage.frame import seal
from tsdb.storage.rows import Rows
from tsdb.storage.summaries import packed
from tsdb.storage.summaries.layout import FIRST_TIME, LAST_TIME, ROWS, TAGSET, choose_span, layout_of
from tsdb.storage.summaries.measure import COUNT, FIRST, HIGH, LAST, LOW, M2, MAX, MIN, STATISTICS, VALID, measure


@given(st.data())
def test_packed_tables_come_back(data: st.DataObject) -> None:
    statistics_ = data.draw(st.integers(1, 9))
    made = [
        np.array(
            data.draw(
                st.lists(
                    st.lists(int64s | st.integers(0, 300), min_size=cells, max_size=cells),
                    min_size=statistics_,
                    max_size=statistics_,
                )
            ),
            np.int64,
        )
        for cells in data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    ]
    wanted = data.draw(st.lists(st.integers(0, statistics_ - 1), min_size=1))
    payloads = [packed.opened(packed.pack(table), statistics_, table.shape[1], "a table") for table in made]
    joined = packed.Joined.of(payloads)
    assert joined.cells.tolist() == [table.shape[1] for table in made]
    assert joined.unpack(wanted).tolist() == np.concatenate(made, axis=1)[wanted].tolist()


def test_a_small_statistic_takes_few_bytes() -> None:
    table = np.array([[7] * 100, [*range(100)], [1000 + i * 600 for i in range(100)]], np.int64)
    assert len(packed.pack(table)) == 7 + packed.HEAD_BYTES + 3 * packed.STATISTIC_BYTES + 0 + 100 + 200


def test_any_changed_byte_is_found() -> None:
    table = np.array([[1, 2, 3], [-5, 2**40, 9]], np.int64)
    every_flip_is_found(packed.pack(table), lambda data: packed.opened(data, 2, 3, "a summary"))


def test_a_value_of_other_cells_or_statistics_is_refused() -> None:
    data = packed.pack(np.array([[1, 2, 3], [-5, 2**40, 9]], np.int64))
    for statistics_, cells in ((2, 4), (1, 3), (3, 3)):
        with pytest.raises(DataCorrupted, match="a summary"):
            packed.opened(data, statistics_, cells, "a summary")


times_of_rows = st.lists(st.tuples(st.integers(0, 3), st.integers(-9000, 9000)), min_size=1, max_size=50).map(sorted)


@given(times_of_rows, st.sampled_from([300, 3600, 86_400]))
def test_cells_are_the_rows_of_a_tag_set_in_a_span(rows: list[tuple[int, int]], span: int) -> None:
    tagset = np.array([row[0] for row in rows], np.int32)
    times = np.array([row[1] * NS_PER_SECOND + 7 for row in rows], np.int64)
    starts, table = layout_of(tagset, times, span)
    cells: dict[tuple[int, int], list[int]] = {}
    for at, (tags, time) in enumerate(rows):
        cells.setdefault((tags, time // span), []).append(at)
    assert starts.tolist() == [each[0] for each in cells.values()] + [len(rows)]
    assert table[TAGSET].tolist() == [tags for tags, _ in cells]
    assert table[ROWS].tolist() == [len(each) for each in cells.values()]
    assert table[FIRST_TIME].tolist() == [times[each[0]] for each in cells.values()]
    assert table[LAST_TIME].tolist() == [times[each[-1]] for each in cells.values()]


@pytest.mark.parametrize(
    ("tagsets", "rows", "every_s", "span"),
    [
        (3, 1000, 1, 300), (3, 1000, 2, 300), (3, 1000, 10, 3600), (22, 720, 10, 3600), (10, 1440, 60, 86_400),
        (10, 120, 60, 86_400), (10, 60, 60, 0), (1, 1, 60, 0), (200, 3, 10, 0),
    ],
)  # fmt: skip
def test_a_span_is_as_short_as_pays(tagsets: int, rows: int, every_s: int, span: int) -> None:
    tagset = np.repeat(np.arange(tagsets, dtype=np.int32), rows)
    times = np.tile(np.arange(rows, dtype=np.int64) * every_s * NS_PER_SECOND, tagsets)
    assert choose_span(tagset, times) == span


def as_float(bits: np.int64) -> float:
    return float(np.array([bits]).view(np.float64)[0])


@given(st.lists(st.lists(st.none() | int64s | st.integers(-5, 5), min_size=1, max_size=9), min_size=1, max_size=5))
def test_statistics_of_integers(cells: list[list[int | None]]) -> None:
    table = measured(cells, pa.int64())
    for cell, column in zip(cells, table.T, strict=True):
        there = [value for value in cell if value is not None]
        assert column[COUNT] == len(there)
        assert (int(column[HIGH]) << 32) + int(column[LOW]) == sum(there)
        assert 0 <= column[LOW] < 2**32
        if there:
            assert (column[MIN], column[MAX]) == (min(there), max(there))
            assert math.isclose(as_float(column[M2]), statistics.pvariance(there) * len(there), rel_tol=1e-6)
            check_ends(cell, column, lambda bits: int(bits))


@given(st.lists(st.lists(st.none() | floats, min_size=1, max_size=9), min_size=1, max_size=5))
def test_statistics_of_floats(cells: list[list[float | None]]) -> None:
    table = measured(cells, pa.float64())
    for cell, column in zip(cells, table.T, strict=True):
        there = [value for value in cell if value is not None]
        assert column[COUNT] == len(there)
        if not there:
            continue
        numbers = [value for value in there if value == value]
        least, most = as_float(column[MIN]), as_float(column[MAX])
        assert least == min(numbers) if numbers else least != least
        assert most == max(numbers) if len(numbers) == len(there) else most != most
        assert same(as_float(column[LOW]), functools.reduce(operator.add, there))
        check_ends(cell, column, as_float)


def measured(cells: list[list[Any]], kind: pa.DataType) -> np.ndarray[Any, np.dtype[np.int64]]:
    starts = np.cumsum([0] + [len(cell) for cell in cells])
    table = measure(pa.array([value for cell in cells for value in cell], kind), starts)
    assert table.shape == (STATISTICS, len(cells))
    return table


def check_ends(cell: list[Any], column: Any, value: Any) -> None:
    for statistic, at, bit in ((FIRST, 0, 1), (LAST, -1, 2)):
        assert bool(column[VALID] & bit) == (cell[at] is not None)
        if cell[at] is not None:
            assert same(value(column[statistic]), cell[at])


def same(a: float, b: float) -> bool:
    return a == b or (a != a and b != b)


def test_a_header_from_before_summaries_is_read() -> None:
    rows = Rows(np.zeros(200, np.int32), np.arange(200, dtype=np.int64), np.arange(1, 201, dtype=np.int64), {})
    header = encode_block(1, 0, 7, rows).header
    assert header.summary_span == 300
    payload = header.to_bytes()[3:-4]
    fixed = payload[: _HEAD_1.size - 4]
    old = seal(b"TB", 1, fixed, payload[_HEAD_1.size + 4 :])
    read = BlockHeader.from_bytes(header.key, old)
    assert (read.rows, read.unique, read.summary_span, read.summary_bytes) == (200, True, 0, 0)
