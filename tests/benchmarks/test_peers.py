"""The peers' documents become the same answers as SQL's rows; what they cannot say is cut on both sides."""

from __future__ import annotations

import pytest

from benchmarks import influxql, promql, truth
from benchmarks.answers import rows_of
from benchmarks.queries import BY_NAME, HOUR_NS, MINUTE_NS, Query, draw
from benchmarks.workload import START_NS, Workload, generate


@pytest.fixture(scope="module")
def workload() -> Workload:
    return generate(4, 3, 5)


def drawn(name: str, workload: Workload) -> Query:
    return draw(BY_NAME[name], workload)[0]


def test_influxdbs_series_by_tag_become_rows_with_the_tag(workload: Workload) -> None:
    series = [
        {
            "name": "cpu",
            "tags": {"hostname": host},
            "columns": ["time", "mean_usage_user"],
            "values": [[START_NS, mean]],
        }
        for host, mean in (("host_0", 1.5), ("host_1", None))
    ]
    answer = influxql.answer(drawn("double-groupby-1", workload), {"results": [{"series": series}]})
    assert answer["hostname"].tolist() == ["host_0", "host_1"]
    assert answer["hour"].tolist() == [START_NS, START_NS]
    assert answer["mean_usage_user"][0] == 1.5


def test_influxdbs_empty_answer_has_no_rows(workload: Workload) -> None:
    assert rows_of(influxql.answer(drawn("high-cpu-1", workload), {"results": [{"statement_id": 0}]})) == 0


def test_influxdbs_errors_are_errors(workload: Workload) -> None:
    with pytest.raises(ValueError, match="out of order"):
        influxql.answer(drawn("lastpoint", workload), {"results": [{"error": "out of order"}]})


def test_victoriametrics_steps_become_the_buckets_that_end_there(workload: Workload) -> None:
    query = drawn("single-groupby-1-1-1", workload)
    end_of_first = (START_NS + MINUTE_NS) // 10**6 - 1
    result = [{"metric": {"__name__": "cpu_usage_user"}, "values": [[end_of_first / 1000, "58"]]}]
    answer = promql.answer(query, result)
    assert answer["minute"].tolist() == [START_NS]
    assert answer["max_usage_user"].tolist() == [58.0]


def test_only_whole_buckets_are_compared_with_victoriametrics(workload: Workload) -> None:
    query = drawn("single-groupby-1-1-1", workload)
    whole = promql.comparable(query, truth.answer(query, workload))
    assert whole["minute"][0] >= query.start_ns
    assert whole["minute"][-1] + MINUTE_NS <= query.end_ns
    assert rows_of(whole) >= HOUR_NS // MINUTE_NS - 1


def test_a_bucket_that_ends_with_the_window_is_asked_for_once(workload: Workload) -> None:
    for query in draw(BY_NAME["groupby-orderby-limit"], workload):
        _, parameters = promql.request(query, workload.end_ns)
        steps = (float(parameters["end"]) - float(parameters["start"])) / 60
        assert round(steps) == 4
        assert float(parameters["end"]) * 10**9 < workload.end_ns


def test_a_field_whose_times_differ_is_refused(workload: Workload) -> None:
    result = [
        {"metric": {"__name__": f"cpu_{field}", "hostname": "host_0"}, "values": [1], "timestamps": [time]}
        for field, time in (("usage_user", 1000), ("usage_system", 2000))
    ]
    with pytest.raises(ValueError, match="different times"):
        promql.answer(drawn("fetch", workload), result)
