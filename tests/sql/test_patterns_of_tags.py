"""Patterns that tags are tested with: as DuckDB and PostgreSQL read them, and never long at one value."""

from __future__ import annotations

import time

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sql import samples
from tests.sql.answers import ask
from tests.sql.memory_view import MemoryView, table_of
from tests.sql.test_rules import UNPRUNED
from tsdb.model.store import ScanRequest
from tsdb.sql.query import Queries

# No pattern ends in the escape character.
LIKE = st.text("ab%_\\", max_size=9).map(lambda text: text.replace("\\", "\\_"))
REGEX = st.builds(
    lambda start, ways, end: start + "|".join(map("".join, ways)) + end,
    st.sampled_from(["", "^"]),
    st.lists(st.lists(st.sampled_from(["a", "b", ".", ".*", ".+", ".?"]), max_size=5), min_size=1, max_size=3),
    st.sampled_from(["", "$"]),
)


def view_of(hosts: list[str]) -> MemoryView:
    catalog = samples.catalog()
    times = [samples.BASE_NS + at for at in range(len(hosts))]
    return MemoryView(catalog, dict([table_of(catalog, "tsdb", "cpu", times, {"host": pa.array(hosts)})]))


def request_of(queries: Queries, hosts: list[str], text: str) -> ScanRequest:
    view = view_of(hosts)
    ask(queries, view, text)
    return view.requests[0]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text("ab", max_size=9), max_size=20), st.one_of(
    LIKE.map(lambda text: f"LIKE '{text}'"), REGEX.map(lambda text: f"~ '{text}'")
))  # fmt: skip
def test_a_pattern_lets_in_the_tags_that_it_matches(queries: Queries, hosts: list[str], condition: str) -> None:
    text = f"SELECT host FROM cpu WHERE host {condition} ORDER BY 1"
    found = ask(queries, view_of(hosts), text)[1]
    assert found == ask(queries, view_of(hosts), text, context=UNPRUNED)[1], text


@pytest.mark.parametrize(
    "condition",
    [f"LIKE '{'%a' * 20}%b'", f"LIKE '{'%_a' * 20}b'", f"~ '{'.*a' * 20}.*b'", f"~ '{'.?' * 40}{'a' * 200}b'"],
)
def test_no_pattern_takes_long_at_a_value(queries: Queries, condition: str) -> None:
    started = time.process_time()
    assert ask(queries, view_of(["a" * 200, "b"]), f"SELECT host FROM cpu WHERE host {condition}")[1] == []
    assert time.process_time() - started < 5.0


@pytest.mark.parametrize(
    ("pattern", "passing"),
    [(".*web.*", ["a-web-1", "web"]), ("^web.*1$", ["web-1"]), ("^.*web|db.*", ["a-web-1", "db", "web", "web-1"])],
)
def test_usual_patterns_are_decided_by_the_tags(queries: Queries, pattern: str, passing: list[str]) -> None:
    hosts = ["a-web-1", "db", "web", "web-1", "x"]
    request = request_of(queries, hosts, f"SELECT host FROM cpu WHERE host ~ '{pattern}'")
    assert set(passing) <= {host for host in hosts if request.tags[0].test(host)} < set(hosts)
