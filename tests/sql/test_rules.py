"""Rules: what a scan is asked for, and that a statement and its plain form give the same rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.sql import samples
from tests.sql.answers import CONTEXT, ask
from tsdb.model.store import TimeRange
from tsdb.model.time import NS_MAX, NS_MIN
from tsdb.sql.query import Queries

UNPRUNED = replace(CONTEXT, settings={"timezone": "UTC", "tsdb.prune": "off"})
FIXTURE = Path(__file__).parent / "fixtures" / "rules.txt"
PAIRS = [
    part.splitlines()
    for part in FIXTURE.read_text().split("\n\n")
    if part.strip() and not part.lstrip().startswith("#")
]


def wanted_range(words: list[str]) -> TimeRange:
    low, high = words[1], words[2]
    return TimeRange(NS_MIN if low == "-" else int(low), NS_MAX if high == "-" else int(high))


@pytest.mark.parametrize(("before", "asked", "after"), PAIRS)
def test_a_statement_and_its_plain_form_agree(before: str, asked: str, after: str, queries: Queries) -> None:
    view = samples.view(300)
    _, rows = ask(queries, view, before)
    words = asked.split()
    # An empty range is not scanned at all.
    if wanted_range(words) == TimeRange(0, 0):
        assert view.requests == []
    else:
        request = view.requests[0]
        assert request.range == wanted_range(words)
        names = {column.number: column.name for column in request.series.columns}
        tags = words[words.index("tags") + 1 :] if "tags" in words else []
        fields = words[words.index("fields") + 1 :] if "fields" in words else []
        assert [names[t.column] for t in request.tags] == [t for t in tags if t not in ("fields", *fields)]
        assert [names[b.column] for b in request.bounds] == fields
    for text in (before, after):
        for context in (CONTEXT, UNPRUNED):
            assert ask(queries, samples.view(300), text, context=context)[1] == rows, text


def test_a_scan_reads_only_the_columns_that_are_used(queries: Queries) -> None:
    view = samples.view(50)
    ask(queries, view, "select max(usage + 1) from cpu where host = 'host_1' group by region")
    (request,) = view.requests
    names = {column.number: column.name for column in request.series.columns}
    assert sorted(names[int(key)] for key in request.columns) == ["host", "region", "usage"]


def test_parameters_prune_like_literals(queries: Queries) -> None:
    view = samples.view(50)
    ask(queries, view, "select 1 from cpu where time >= $1 and host = $2", ["2026-01-01", "host_1"])
    assert view.requests[0].range == TimeRange(samples.BASE_NS, NS_MAX)
    assert view.requests[0].tags[0].test("host_1")
    assert not view.requests[0].tags[0].test("host_2")
    assert not view.requests[0].tags[0].test(None)


@pytest.mark.parametrize(
    ("condition", "bounds"),
    [
        ("usage > 50 and usage < 90 and n > 5", [("usage", 50.0, None), ("usage", None, 90.0), ("n", 5, None)]),
        ("usage = 9007199254740993", [("usage", 2.0**53, 2.0**53)]),
        ("n >= 9007199254740993 and n < 12", [("n", 2**53 + 1, None), ("n", None, 12)]),
        ("n > 1.5 and n <= 2.5", [("n", 1, None), ("n", None, 3)]),
        ("n <= 9007199254740992::float8", []),
        ("n < 5::float8", [("n", None, 5)]),
        ("usage > 'NaN' and usage < 'Infinity'", [("usage", None, float("inf"))]),
        ("usage > null", []),
    ],
)
def test_a_bound_holds_whatever_the_comparison_rounds(
    condition: str, bounds: list[tuple[str, float | None, float | None]], queries: Queries
) -> None:
    view = samples.view(50)
    ask(queries, view, f"select 1 from cpu where {condition}")
    found = [] if not view.requests else view.requests[0].bounds
    names = {column.number: column.name for request in view.requests for column in request.series.columns}
    # Without a bound the rows are looked at, that is all.
    assert [(names[b.column], b.low, b.high) for b in found] in ([], bounds)
    assert found or not condition.startswith("usage > 50")
