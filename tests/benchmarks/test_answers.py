"""Comparing finds what differs, and nothing else; the expected answers are those of a plain loop."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict

import numpy as np
import pytest

from benchmarks import truth
from benchmarks.answers import Answer, difference, from_columns, from_rows
from benchmarks.queries import BY_NAME, LIMIT, THRESHOLD, Query, draw
from benchmarks.workload import Workload, generate


@pytest.fixture(scope="module")
def workload() -> Workload:
    return generate(12, 2, 21)


@pytest.fixture
def query(workload: Workload) -> Query:
    return draw(BY_NAME["double-groupby-1"], workload)[0]


@pytest.fixture
def answer(query: Query, workload: Workload) -> Answer:
    return truth.answer(query, workload)


def changed(answer: Answer, name: str, row: int, value: object) -> Answer:
    copy = {key: column.copy() for key, column in answer.items()}
    copy[name][row] = value
    return copy


def test_an_answer_equals_itself_in_any_order(answer: Answer) -> None:
    assert difference(answer, answer, ordered=True) is None
    backwards = {name: column[::-1] for name, column in answer.items()}
    assert difference(answer, backwards, ordered=False) is None


def test_the_wrong_order_is_a_difference_where_order_counts(answer: Answer) -> None:
    backwards = {name: column[::-1] for name, column in answer.items()}
    assert "values differ" in (difference(answer, backwards, ordered=True) or "")


@pytest.mark.parametrize("ordered", [True, False])
def test_a_single_wrong_value_is_found(answer: Answer, ordered: bool) -> None:
    value = answer["mean_usage_user"][3]
    assert difference(answer, changed(answer, "mean_usage_user", 3, value * (1 + 1e-12)), ordered=ordered) is None
    wrong = difference(answer, changed(answer, "mean_usage_user", 3, value * (1 + 1e-8)), ordered=ordered)
    assert wrong is not None
    assert "column mean_usage_user: 1 of" in wrong
    assert difference(answer, changed(answer, "hostname", 3, "host_x"), ordered=ordered) is not None
    assert difference(answer, changed(answer, "hour", 3, 0), ordered=ordered) is not None
    assert difference(answer, changed(answer, "mean_usage_user", 3, np.nan), ordered=ordered) is not None


def test_a_missing_row_is_a_difference(answer: Answer) -> None:
    shorter = {name: column[1:] for name, column in answer.items()}
    assert (
        difference(answer, shorter, ordered=False) == f"{len(answer['hour']) - 1} rows, expected {len(answer['hour'])}"
    )


def test_a_missing_column_is_named(query: Query) -> None:
    with pytest.raises(ValueError, match="mean_usage_user"):
        from_columns({"hour": [], "hostname": []}, query)


def test_datetimes_become_exact_nanoseconds(query: Query) -> None:
    moment = dt.datetime(2016, 1, 1, 0, 0, 0, 123457, dt.UTC)
    answer = from_rows(["hostname", "mean_usage_user", "hour"], [("host_1", None, moment)], query)
    assert answer["hour"].tolist() == [1_451_606_400_123_457_000]
    assert np.isnan(answer["mean_usage_user"][0])
    assert list(answer) == list(query.columns)


def points(query: Query, workload: Workload) -> list[tuple[int, str, list[int]]]:
    """The window's points of the query's hosts, by plain loops."""
    return [
        (time, tags[0], workload.values[tick, host].tolist())
        for tick, time in enumerate(workload.times_ns.tolist())
        for host, tags in enumerate(workload.tags)
        if query.start_ns <= time < query.end_ns and (not query.hosts or tags[0] in query.hosts)
    ]


@pytest.mark.parametrize("name", ["single-groupby-1-1-1", "single-groupby-5-8-1", "cpu-max-all-8"])
def test_maxima_are_those_of_a_plain_loop(name: str, workload: Workload) -> None:
    for query in draw(BY_NAME[name], workload):
        groups: dict[int, list[list[int]]] = defaultdict(list)
        for time, _, values in points(query, workload):
            groups[time // query.bucket_ns * query.bucket_ns].append(values[: len(query.fields)])
        expected = [(bucket, *map(max, zip(*rows, strict=True))) for bucket, rows in sorted(groups.items())]
        answer = truth.answer(query, workload)
        assert list(zip(*(column.tolist() for column in answer.values()), strict=True)) == expected


def test_means_are_those_of_a_plain_loop(query: Query, workload: Workload, answer: Answer) -> None:
    groups: dict[tuple[int, str], list[int]] = defaultdict(list)
    for time, host, values in points(query, workload):
        groups[time // query.bucket_ns * query.bucket_ns, host].append(values[0])
    expected = [(*key, sum(values) / len(values)) for key, values in sorted(groups.items())]
    assert list(zip(*(column.tolist() for column in answer.values()), strict=True)) == expected


def test_the_last_minutes_come_backwards(workload: Workload) -> None:
    query = draw(BY_NAME["groupby-orderby-limit"], workload)[0]
    answer = truth.answer(query, workload)
    minutes = answer["minute"].tolist()
    assert minutes == sorted(minutes, reverse=True)
    assert len(minutes) == LIMIT
    last = max(time for time, _, _ in points(query, workload))
    assert minutes[0] == last // query.bucket_ns * query.bucket_ns


def test_high_cpu_has_exactly_the_rows_above_the_threshold(workload: Workload) -> None:
    query = draw(BY_NAME["high-cpu-all"], workload)[0]
    answer = truth.answer(query, workload)
    expected = [(time, host) for time, host, values in points(query, workload) if values[0] > THRESHOLD]
    assert list(zip(answer["time"].tolist(), answer["hostname"], strict=True)) == expected
    assert (answer["usage_user"] > THRESHOLD).all()


def test_lastpoint_has_the_last_tick_of_every_host(workload: Workload) -> None:
    query = draw(BY_NAME["lastpoint"], workload)[0]
    answer = truth.answer(query, workload)
    assert set(answer["time"].tolist()) == {workload.times_ns[-1]}
    assert answer["hostname"].tolist() == [tags[0] for tags in workload.tags]
    assert answer["usage_guest_nice"].tolist() == workload.values[-1, :, -1].tolist()
