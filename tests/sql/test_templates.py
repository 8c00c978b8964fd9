"""Plans of statements whose texts were lifted: answer, columns and error are those of the statement itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sql import samples
from tests.sql.answers import CONTEXT, _values
from tests.sql.memory_view import MemoryView
from tests.sql.test_random_statements import bag
from tsdb.errors import TsdbError
from tsdb.sql.context import Context
from tsdb.sql.lifting import lift
from tsdb.sql.query import Queries
from tsdb.sql.statement import LiftedSelect, Select, parse, split

BERLIN = replace(CONTEXT, settings={"timezone": "Europe/Berlin"})
TIMES = (
    "2026-01-01", "2026-01-01 00:30:00+00", "2026-01-01T01:00:00Z", "1970-01-01", "infinity", "-infinity", "now",
    "2026-01-01 00:40", "20260101T010000", "nonsense", "", "2026-13-01", "epoch", "2026-01-01 01:00 Europe/Berlin",
)  # fmt: skip
TEXTS = ("host_1", "host_2", "a_b", "", "it''s", "ü", "%", "nobody", "$1", "\\", "today", "null")
OTHERS = ("5", "-3", "1.5", "x", "NaN", "t", "2026-01-02", "99999999999999999999", " 7 ")
SHAPES = (
    "SELECT host, n FROM cpu WHERE time >= '{t}' AND time < '{t}'",
    "SELECT host, n, time FROM cpu WHERE time BETWEEN '{t}' AND '{t}' AND host = '{s}'",
    "SELECT count(*), max(n) FROM cpu WHERE host IN ('{s}', '{s}', '{s}') AND time > '{t}'",
    "SELECT time_bucket('1 hour', time) AS h, host, avg(usage) FROM cpu WHERE host <> '{s}' GROUP BY h, host",
    "SELECT host = '{s}' AS is_it, n FROM cpu WHERE region IN ('{s}') ORDER BY n, host LIMIT 5",
    "SELECT host > '{s}', count(*) FROM cpu GROUP BY host > '{s}'",
    "SELECT n FROM cpu WHERE n > '{o}' AND small <= '{o}'",
    "SELECT usage FROM cpu WHERE usage >= '{o}' OR price = '{o}' OR day = '{o}'",
    "SELECT a.n, b.used FROM cpu a JOIN mem b ON a.host = b.host AND b.host > '{s}' WHERE a.time < '{t}'",
    "WITH x AS (SELECT host, n FROM cpu WHERE host >= '{s}') SELECT host, sum(n) FROM x GROUP BY 1 HAVING host < '{s}'",
    "SELECT n FROM cpu WHERE time >= '{t}'::timestamptz AND time < timestamptz '{t}'",
    "SELECT CASE WHEN host = '{s}' THEN 'one' ELSE '{s}' END FROM cpu WHERE ok = '{o}'",
    "SELECT host FROM cpu WHERE host > '{s}' || 'b' AND (host, region) = ('{s}', '{s}')",
    "SELECT host FROM cpu WHERE host = '{s}' AND host LIKE '{s}' AND n BETWEEN '{o}' AND '{o}'",
    "SELECT (SELECT max(used) FROM mem WHERE mem.host = '{s}') FROM cpu WHERE time > '{t}' AND nothing = '{s}'",
    "SELECT '{s}' = '{s}', '{o}' < '{o}', n FROM cpu WHERE note = '{s}'",
    "SELECT n FROM cpu WHERE time > '{t}' AT TIME ZONE 'UTC' AND time_bucket('{o}', time) = '{t}'",
    "SELECT interval '1 day' > '{o}', date '2026-01-01' = '{t}', '{t}' < now() FROM cpu WHERE n IN (1, 2)",
    "SELECT host FROM cpu WHERE 'host_1' = '{s}' AND host = $${s}$$ AND host = E'{s}' AND host IN (lower('{s}'), 'x')",
)  # fmt: skip


@st.composite
def statements(draw: st.DrawFn) -> str:
    shape = draw(st.sampled_from(SHAPES))
    made = shape
    for mark, values in (("{t}", TIMES), ("{s}", TEXTS), ("{o}", OTHERS)):
        while mark in made:
            made = made.replace(mark, draw(st.sampled_from(values)), 1)
    return made


@pytest.fixture(scope="module")
def lifting(queries: Queries) -> Iterator[Queries]:
    """An instance of its own: what it has learned comes from this module's statements."""
    made = Queries(memory_limit_bytes=1 << 28, threads=1)
    yield made
    made.close()


def outcome(queries: Queries, statement: Select, view: MemoryView, context: Context) -> tuple[Any, ...]:
    try:
        prepared = queries.prepare(statement, context, view.catalog)
        rows = queries.run(prepared, view, (), context)
        try:
            types = [c.type for c in prepared.columns]
            found = [
                row for batch in rows
                for row in zip(*(_values(c, t) for c, t in zip(batch.columns, types, strict=True)), strict=True)
            ]  # fmt: skip
        finally:
            rows.close()
    except TsdbError as error:
        return type(error), error.message, error.position
    return prepared.columns, prepared.parameters, bag(found)


VIEW = samples.view(200)


@settings(max_examples=400, deadline=None)
@given(statements(), st.sampled_from([CONTEXT, BERLIN]))
def test_a_lifted_statement_is_what_it_is_without_lifting(
    lifting: Queries, queries: Queries, text: str, context: Context
) -> None:
    try:
        (fragment,) = split(text)
        statement = parse(fragment)
    except TsdbError:
        return
    assert isinstance(statement, Select)
    plain = Select(fragment, statement.tree)
    expected = outcome(queries, plain, VIEW, context)
    # Twice: the first may learn the template.
    for _ in range(2):
        assert outcome(lifting, statement, VIEW, context) == expected, text


def planned(queries: Queries, text: str) -> bool:
    """Whether a statement got its plan from a template."""
    (fragment,) = split(text)
    statement = parse(fragment)
    assert isinstance(statement, Select)
    return bool(queries.prepare(statement, CONTEXT, VIEW.catalog).lifted)


@pytest.mark.parametrize("shape", SHAPES[:5])
def test_what_a_dashboard_asks_is_planned_once(queries: Queries, shape: str) -> None:
    texts = [
        shape.replace("{t}", f"2026-01-01 00:{i:02}:00").replace("{s}", f"host_{i}").replace("{o}", str(i))
        for i in range(10, 20)
    ]
    assert [planned(queries, text) for text in texts] == [False] + [True] * 9


def test_a_text_that_chooses_the_digits_of_a_number_is_planned_each_time(queries: Queries) -> None:
    shape = "SELECT count(*) FROM cpu WHERE price > '{}'"
    assert not any(planned(queries, shape.format(each)) for each in ("5", "6", "7.25", "8.000000000000000001"))


def test_a_statement_whose_texts_must_be_equal_is_planned_as_it_stands(queries: Queries) -> None:
    """With parameters in their place GROUP BY would not know them to be."""
    text = "SELECT host = 'host_1' AS is_it, count(*) FROM cpu GROUP BY host = 'host_1'"
    for _ in range(3):
        assert not planned(queries, text)


def test_a_lifted_statement_is_not_parsed() -> None:
    (fragment,) = split("SELECT n FROM cpu WHERE host = 'a'")
    statement = parse(fragment)
    assert isinstance(statement, LiftedSelect)
    assert "tree" not in statement.__dict__
    assert statement.texts == ("a",)


def test_a_text_that_chooses_the_plan_is_planned_each_time(queries: Queries) -> None:
    width = "SELECT n FROM cpu WHERE time_bucket('{}', time) = '2026-01-01'"
    for each in ("1 hour", "1 month", "5 minutes"):
        (fragment,) = split(width.format(each))
        statement = parse(fragment)
        assert isinstance(statement, LiftedSelect)
        assert statement.texts == ("2026-01-01",), "the width stays in the statement"


@pytest.mark.parametrize(
    "text",
    [
        "SELECT n FROM cpu WHERE time > 'now'", "SELECT n FROM cpu WHERE time > 'today' AND host = 'a'",
        "SELECT n FROM cpu WHERE host = $1 AND region = 'x'", "SELECT n FROM cpu WHERE host LIKE 'a'",
        "SELECT n FROM cpu WHERE host = E'a'", "SELECT n FROM cpu WHERE n IN (1, 2)", "SELECT 'a', 'b'",
        "SELECT n FROM cpu WHERE host = X'1F'", "SELECT n FROM cpu WHERE host = $$a$$",
    ],
)  # fmt: skip
def test_what_is_not_lifted(text: str) -> None:
    (fragment,) = split(text)
    assert lift(fragment.text, fragment.tokens) is None


def test_an_error_in_a_lifted_text_is_told_at_its_place(queries: Queries) -> None:
    good, bad = (f"SELECT n FROM cpu WHERE host = 'a' AND time > '{t}'" for t in ("2026-01-01", "2026-99-01"))
    assert not planned(queries, good)
    (fragment,) = split("  " + bad)
    statement = parse(fragment)
    assert isinstance(statement, Select)
    with pytest.raises(TsdbError) as told:
        queries.prepare(statement, CONTEXT, VIEW.catalog)
    assert told.value.position == len("  SELECT n FROM cpu WHERE host = 'a' AND time > ") + 1
