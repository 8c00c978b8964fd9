"""Which lines have which tag: against the lines themselves, and in time that grows as the body does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from tsdb.ingest.bind import bind, missing
from tsdb.ingest.lineprotocol import parse
from tsdb.ingest.tagged import Tagged
from tsdb.model import schema
from tsdb.model.schema import MAX_COLUMNS, Catalog, CreateDatabase, CreateSeries

T = TypeVar("T")

sets_of_tags = st.lists(st.dictionaries(st.sampled_from("abcde"), st.sampled_from("xy")), min_size=1, max_size=12)


@given(sets_of_tags)
def test_lines_are_found_by_their_tags(written: list[dict[str, str]]) -> None:
    lines = ["".join(["m", *(f",{name}={value}" for name, value in tags.items()), " f=1"]) for tags in written]
    (found,) = parse("\n".join(lines).encode(), now_ns=0).lines
    tagged = Tagged(found)
    for name in "abcde":
        rows = [row for row, tags in enumerate(written) if name in tags]
        assert tagged.rows(name).tolist() == rows
        if rows:
            assert tagged.first(name) == rows[0]
    assert tagged.rows("nobody's").tolist() == []


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """With the seconds of CPU that it took."""
    begin = time.thread_time()
    return work(), time.thread_time() - begin


def test_a_body_of_as_many_tag_keys_as_lines_is_bound_in_time_that_grows_with_it() -> None:
    empty = schema.apply(Catalog(), [CreateDatabase("db")]).databases["db"]
    count = 40_000
    parsed = parse(b"".join(b"m,t%x=1 f=1 1\n" % i for i in range(count)), now_ns=0)
    (made,), seconds = timed(lambda: missing(parsed, empty))
    assert seconds < 4
    assert isinstance(made, CreateSeries)
    assert [column.name for column in made.columns[1:]] == [
        "f" if i == 1 else f"t{max(i - 1, 0):x}" for i in range(MAX_COLUMNS - 1)
    ]
    catalog = schema.apply(Catalog(), [CreateDatabase("db"), made])
    bind(parse(b"m,t1=1 f=1 1\n", now_ns=0), catalog.databases["db"])  # its kernels may have to be compiled
    bound, seconds = timed(lambda: bind(parsed, catalog.databases["db"]))
    assert seconds < 4
    # The time and the field are columns, too.
    assert sum(map(len, bound.points)) == MAX_COLUMNS - 2
    assert bound.error_count == count - (MAX_COLUMNS - 2)
    assert [error.line_number for error in bound.errors] == list(range(MAX_COLUMNS - 1, MAX_COLUMNS + 99))


def test_a_body_of_as_many_measurements_as_lines_is_parsed_in_time_that_grows_with_it() -> None:
    lines = [b"m%x,t=1 f=1 1\n" % i for i in range(50_000)]
    parse(b"".join(lines[:10]), now_ns=0)
    _, few_seconds = timed(lambda: parse(b"".join(lines[:12_500]), now_ns=0))
    parsed, seconds = timed(lambda: parse(b"".join(lines), now_ns=0))
    assert len(parsed.lines) == 50_000
    # A fourth of the lines takes a fourth of the time, not a sixteenth; machines are not the same all the time.
    assert seconds < 10 * few_seconds
