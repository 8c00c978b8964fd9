"""Gathered rows against concatenating, sorting and merging them as a whole; and runs that are not worth joining."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdb.storage.apply import add_rows
from tsdb.storage.gather import gather
from tsdb.storage.head import CELLS_FREE, Runs, folded
from tsdb.storage.merge import concat, merge_versions, sort
from tsdb.storage.rows import Rows


@st.composite
def parts(draw: st.DrawFn) -> list[Rows]:
    made: list[Rows] = []
    counter = 1
    for _ in range(draw(st.integers(1, 5))):
        count = draw(st.integers(1, 8))
        small = st.lists(st.integers(0, 2), min_size=count, max_size=count)
        columns = {
            number: pa.array(draw(st.lists(st.none() | st.integers(0, 9), min_size=count, max_size=count)), pa.int64())
            for number in draw(st.sets(st.integers(1, 4)))
        }
        sequences = np.arange(counter, counter + count, dtype=np.int64)
        made.append(Rows(np.array(draw(small), np.int32), np.array(draw(small), np.int64), sequences, columns))
        counter += count
    return made


@given(parts(), st.booleans(), st.lists(st.integers(0, 30), max_size=3))
@settings(max_examples=300, deadline=None)
def test_gathered_columns_are_those_of_rows_sorted_and_merged(
    made: list[Rows], merges: bool, counters: list[int]
) -> None:
    moments = sorted(set(counters))
    found = gather(made, merges=merges, moments=moments)
    ordered, _ = sort(concat(made))
    expected = ordered
    if merges:
        # What lies between two moments is merged on its own.
        place = np.searchsorted(np.array(moments, np.int64), ordered.sequences)
        pieces = [_at(ordered, np.flatnonzero(place == at)) for at in range(len(moments) + 1)]
        expected, _ = sort(concat([merge_versions(piece) for piece in pieces if len(piece)]))
    assert found.tagset.tolist() == expected.tagset.tolist()
    assert found.times.tolist() == expected.times.tolist()
    assert found.sequences.tolist() == expected.sequences.tolist()
    assert sorted(found.columns) == sorted(expected.columns)
    assert len(found.columns) == len(expected.columns)
    for number, values in expected.columns.items():
        assert found.columns[number].to_pylist() == values.to_pylist()


def _at(rows: Rows, index: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Rows:
    columns = {number: values.take(pa.array(index)) for number, values in rows.columns.items()}
    return Rows(rows.tagset[index], rows.times[index], rows.sequences[index], columns)


def _wide(first: int, rows: int, columns: int) -> Rows:
    values = pa.array(np.arange(rows, dtype=np.int64))
    zeros = np.zeros(rows, np.int64)
    fields = {first * columns + i: values for i in range(columns)}
    return Rows(zeros.astype(np.int32), np.arange(rows, dtype=np.int64) + first * rows, zeros + 1 + first, fields)


def test_rows_of_a_wide_series_without_common_columns_are_not_filled_up_with_nulls() -> None:
    together = [_wide(i, 300, 300) for i in range(20)]
    for runs in (add_rows({}, {1: together})[1], _one_by_one(together)):
        assert sum(len(run.rows) for run in runs) == 20 * 300
        cells = [len(run.rows) * len(run.rows.columns) for run in runs]
        assert max(cells) <= CELLS_FREE
        assert sum(cells) <= 20 * 300 * 300 * 4


def _one_by_one(parts: list[Rows]) -> Runs:
    live: dict[int, Runs] = {}
    for part in parts:
        live = {1: folded(add_rows(live, {1: [part]})[1])}
    return live[1]


def test_small_rows_of_any_columns_become_few_runs() -> None:
    runs = _one_by_one([_wide(i, 1, 2) for i in range(500)])
    assert len(runs) < 40
    assert sum(len(run.rows) for run in runs) == 500
