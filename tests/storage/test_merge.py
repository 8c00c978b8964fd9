"""The merge kernels against plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdb.storage.head import FAN, Run, folded, run_of
from tsdb.storage.merge import concat, merge_versions, sort
from tsdb.storage.rows import COUNTER_MASK, Rows

KINDS = {1: pa.float64(), 2: pa.int64(), 3: pa.uint64(), 4: pa.bool_(), 5: pa.string()}
VALUES: dict[int, st.SearchStrategy[Any]] = {
    1: st.one_of(st.none(), st.floats(allow_nan=False)),
    2: st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    3: st.one_of(st.none(), st.integers(0, 2**64 - 1)),
    4: st.one_of(st.none(), st.booleans()),
    5: st.one_of(st.none(), st.text(max_size=4)),
}
Row = tuple[int, int, int, dict[int, Any]]


@st.composite
def histories(draw: st.DrawFn, max_size: int = 40) -> list[Row]:
    """Rows with distinct sequences of two nodes; few tag sets and times, so that keys meet."""
    count = draw(st.integers(1, max_size))
    counters = draw(st.permutations(range(1, count + 1)))
    wide = draw(st.sampled_from([3, 3, 100_000_000]))
    return [
        (
            draw(st.integers(0, wide)),
            draw(st.integers(-3, 3)),
            draw(st.integers(1, 2)) << 48 | counter,
            {number: draw(values) for number, values in VALUES.items()},
        )
        for counter in counters
    ]


def rows_of(history: list[Row]) -> Rows:
    return Rows(
        np.array([r[0] for r in history], np.int32),
        np.array([r[1] for r in history], np.int64),
        np.array([r[2] for r in history], np.int64),
        {number: pa.array([r[3][number] for r in history], kind) for number, kind in KINDS.items()},
    )


def history_of(rows: Rows) -> list[Row]:
    columns = {number: values.to_pylist() for number, values in rows.columns.items()}
    return [
        (
            int(rows.tagset[i]),
            int(rows.times[i]),
            int(rows.sequences[i]),
            {number: columns[number][i] if number in columns else None for number in KINDS},
        )
        for i in range(len(rows))
    ]


def order(row: Row) -> tuple[int, int, int, int]:
    return row[0], row[1], row[2] & COUNTER_MASK, row[2] >> 48


def merged(history: list[Row]) -> list[Row]:
    out: list[Row] = []
    for row in sorted(history, key=order):
        if out and out[-1][:2] == row[:2]:
            fields = {n: row[3][n] if row[3][n] is not None else out[-1][3][n] for n in KINDS}
            out[-1] = (*row[:3], fields)
        else:
            out.append(row)
    return out


@given(histories())
@settings(max_examples=150, deadline=None)
def test_rows_are_sorted_by_tag_set_time_and_version(history: list[Row]) -> None:
    ordered, unique = sort(rows_of(history))
    assert history_of(ordered) == sorted(history, key=order)
    assert unique == (len({row[:2] for row in history}) == len(history))


@given(histories())
@settings(max_examples=150, deadline=None)
def test_the_highest_version_wins_field_by_field(history: list[Row]) -> None:
    assert history_of(merge_versions(sort(rows_of(history))[0])) == merged(history)


@given(histories(), st.data())
@settings(max_examples=80, deadline=None)
def test_the_cut_of_rows_into_parts_changes_nothing(history: list[Row], data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(history)))
    parts = [rows_of(part) for part in (history[:at], history[at:]) if part]
    assert history_of(merge_versions(sort(concat(parts))[0])) == merged(history)


@given(histories(max_size=120), st.sampled_from([1, 2, 5]))
@settings(max_examples=50, deadline=None)
def test_a_head_keeps_every_version_in_few_runs(history: list[Row], size: int) -> None:
    runs: tuple[Run, ...] = ()
    for at in range(0, len(history), size):
        runs = folded((*runs, run_of(rows_of(history[at : at + size]))))
    assert len(runs) <= FAN * 4
    assert sorted(history_of(concat([run.rows for run in runs])), key=order) == sorted(history, key=order)
    for run in runs:
        times = [row[1] for row in history_of(run.rows)]
        assert (run.min_time, run.max_time) == (min(times), max(times))


def test_columns_that_a_part_lacks_are_null_there() -> None:
    one, two = rows_of([(1, 1, 1, dict.fromkeys(KINDS))]), rows_of([(1, 2, 2, dict.fromkeys(KINDS) | {2: 7})])
    both = concat([Rows(one.tagset, one.times, one.sequences, {}), two])
    assert both.columns[2].to_pylist() == [None, 7]
