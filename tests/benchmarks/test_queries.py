"""Parameters are drawn from the seed, within the data; texts say what was drawn."""

from __future__ import annotations

import pytest

from benchmarks import influxql, promql, sql
from benchmarks.queries import BY_NAME, FETCH, HOUR_NS, MILLISECOND_NS, SECOND_NS, TYPES, Kind, QueryType, draw
from benchmarks.workload import FIELDS, Workload, generate


@pytest.fixture(scope="module")
def workload() -> Workload:
    return generate(40, 13, 9)


every_type = pytest.mark.parametrize("query_type", BY_NAME.values(), ids=BY_NAME)


def test_the_fifteen_types_have_tsbs_names() -> None:
    assert len(TYPES) == 15
    assert {"single-groupby-5-8-1", "cpu-max-all-8", "double-groupby-all", "high-cpu-all", "lastpoint"} <= set(BY_NAME)


@every_type
def test_the_same_seed_draws_the_same_parameters(query_type: QueryType, workload: Workload) -> None:
    assert draw(query_type, workload) == draw(query_type, workload)


def test_variants_of_a_type_differ(workload: Workload) -> None:
    for query_type in TYPES:
        queries = draw(query_type, workload)
        without_parameters = query_type.kind is Kind.LAST_POINT
        assert len(queries) == query_type.variants
        assert len(set(queries)) == (1 if without_parameters else len(queries))


@every_type
def test_windows_lie_in_the_data_and_hosts_do_not_repeat(query_type: QueryType, workload: Workload) -> None:
    for query in draw(query_type, workload):
        assert workload.start_ns <= query.start_ns < query.end_ns <= workload.end_ns + SECOND_NS
        assert query.start_ns % MILLISECOND_NS == query.end_ns % MILLISECOND_NS == 0
        assert len(set(query.hosts)) == query_type.hosts
        assert set(query.hosts) <= {tags[0] for tags in workload.tags}
        assert query.fields == FIELDS[: query_type.fields]


def test_windows_have_their_types_length(workload: Workload) -> None:
    assert {q.end_ns - q.start_ns for q in draw(BY_NAME["single-groupby-1-1-1"], workload)} == {HOUR_NS}
    assert {q.end_ns - q.start_ns for q in draw(BY_NAME["cpu-max-all-1"], workload)} == {8 * HOUR_NS}
    assert {q.end_ns - q.start_ns for q in draw(BY_NAME["double-groupby-5"], workload)} == {12 * HOUR_NS}


def test_a_window_longer_than_the_data_is_cut_to_it() -> None:
    short = generate(2, 1, 1)
    assert {q.end_ns - q.start_ns for q in draw(BY_NAME["double-groupby-1"], short)} == {HOUR_NS}
    assert draw(FETCH, short)[0].end_ns == short.end_ns


def test_more_hosts_than_there_are_become_all_hosts() -> None:
    assert all(len(query.hosts) == 2 for query in draw(BY_NAME["cpu-max-all-8"], generate(2, 1, 1)))


@every_type
def test_a_prepared_statement_has_one_text_for_all_variants(query_type: QueryType, workload: Workload) -> None:
    written = [sql.with_parameters(query, sql.POSTGRESQL) for query in draw(query_type, workload)]
    assert len({text for text, _ in written}) == 1
    for text, parameters in written:
        assert text.count("%s") == len(parameters)


def test_literals_stand_where_the_placeholders_are(workload: Workload) -> None:
    query = draw(BY_NAME["single-groupby-5-8-1"], workload)[0]
    text = sql.with_literals(query, sql.TSDB)
    assert "%s" not in text
    assert all(f"'{host}'" in text for host in query.hosts)
    assert "time_bucket('1 minute', time) AS minute" in text
    assert "max(usage_iowait) AS max_usage_iowait" in text


@every_type
def test_every_query_has_an_influxql_text(query_type: QueryType, workload: Workload) -> None:
    query = draw(query_type, workload)[0]
    assert influxql.statement(query).startswith("SELECT ")


@every_type
def test_metricsql_has_a_request_or_a_reason(query_type: QueryType, workload: Workload) -> None:
    query = draw(query_type, workload)[0]
    if query.kind is Kind.HIGH_CPU:
        assert "no rows" in (promql.not_comparable(query) or "")
    else:
        assert promql.not_comparable(query) is None
        assert promql.request(query, workload.end_ns)[0].startswith("/api/v1/")


def test_another_seed_draws_other_parameters() -> None:
    one, other = generate(40, 13, 1), generate(40, 13, 2)
    assert draw(BY_NAME["single-groupby-1-8-1"], one) != draw(BY_NAME["single-groupby-1-8-1"], other)
