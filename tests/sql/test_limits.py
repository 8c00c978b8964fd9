"""Long lists answer as short ones do, and what is too long or too deep is refused in good time."""

from __future__ import annotations

import time

import pytest

from tests.sql import samples
from tests.sql.answers import CONTEXT, ask
from tests.sql.memory_view import MemoryView
from tsdb.errors import StatementTooComplex
from tsdb.sql import limits
from tsdb.sql.bind import literal_lists
from tsdb.sql.query import Queries
from tsdb.sql.statement import Select, parse, split


@pytest.fixture(scope="module")
def view() -> MemoryView:
    return samples.view(250)


LISTS = [
    "select sequence from cpu where n in (1, 2, 3, 40, 50) order by 1",
    "select sequence from cpu where n not in (1, -2, 3, 40) order by 1",
    "select sequence from cpu where n in (1, null, 3) is null order by 1",
    "select sequence, n not in (1, null, 3) from cpu order by 1",
    "select sequence from cpu where usage in (1.5, 2, 42.21, 1e3) order by 1",
    "select sequence from cpu where price in (1.25, 2, 3.5, 10) order by 1",
    "select sequence, big in (1, 9223372036854775807, null) from cpu order by 1",
    "select sequence from cpu where host in ('host_1', 'host_3', 'x''y') and region not in ('eu') order by 1",
    "select sequence from cpu where time in ('2026-01-01 00:00:00+00', 'infinity') order by 1",
    "select sequence from cpu where time in ('2026-01-01 00:00:00+00', '2026-01-01 00:00:10+00') order by 1",
    "select sequence from cpu where day in ('2026-01-01', '2026-01-02', null) order by 1",
    "select sequence from cpu where ok in ('true', 'f') order by 1",
    "select host, count(*) filter (where n in (1, 2, 3, 4)) from cpu group by host having count(*) in (1, 50, 42) "
    "or max(n) in (57, 58, 59) order by 1",
    "select sum(case when n in (1, 2, 30) then 1 else 0 end), max(host) in ('host_3', 'host_5') from cpu",
    "select sequence, lag(n) over (order by sequence) in (3, 4, 5) from cpu order by 1",
    "select c.sequence, m.used from cpu c left join mem m on c.sequence = m.sequence and c.n in (1, 2) order by 1, 2",
    "select sequence from cpu c where exists (select 1 from mem m where m.host = c.host and c.n in (4, 5)) order by 1",
    "select '3' in ('1', '2', '3'), 3 in (1, 2, 3), 3.0 in (1, 2, 3), null in (1, 2)",
    "select * from (values (1, 'a', 1.5, null), (-2, null, 22, null), (30000000000, 'c', 0.125, null)) v order by 1",
    "values (1), (2), (null)",
    "select * from (values (true), (false)) v",
    "select v.b, c.sequence from (values ('host_1', 1), ('host_2', 2)) v(a, b) join cpu c on c.host = v.a order by 2",
]


@pytest.mark.parametrize("text", LISTS)
def test_a_long_list_answers_as_a_short_one(
    text: str, queries: Queries, view: MemoryView, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_columns, short = ask(queries, view, text)
    monkeypatch.setattr(literal_lists, "MIN_LONG", 1)
    fresh = Queries(threads=1)
    try:
        columns, rows = ask(fresh, view, text)
    finally:
        fresh.close()
    assert (columns, rows) == (short_columns, short)


def test_a_wrong_text_in_a_long_list_is_refused(queries: Queries, view: MemoryView) -> None:
    listed = ", ".join(f"'{i}'" for i in range(600))
    for name, state in (("n", "22P02"), ("time", "22007")):
        with pytest.raises(Exception, match="invalid input syntax") as raised:
            ask(queries, view, f"select 1 from cpu where {name} in ({listed}, 'soon')")
        assert getattr(raised.value, "sqlstate", None) == state


def test_a_list_of_a_hundred_thousand_is_planned_at_once(queries: Queries, view: MemoryView) -> None:
    (fragment,) = split(f"select count(*) from cpu where n in ({','.join(map(str, range(100_000)))})")
    statement = parse(fragment)
    assert isinstance(statement, Select)
    started = time.process_time()
    rows = queries.run(queries.prepare(statement, CONTEXT, view.catalog), view, (), CONTEXT)
    list(rows)
    rows.close()
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "text",
    [
        "select 1 from cpu where " + " and ".join(["n <> 0"] * (limits.MAX_TERMS + 1)),
        "select 1 from cpu where " + " or ".join(["n <> 0"] * (limits.MAX_TERMS + 1)),
        "select 1 from cpu c0" + "".join(f" join mem c{i} on true" for i in range(1, limits.MAX_JOINED + 1)),
        "select 1 from " + ", ".join(f"mem c{i}" for i in range(limits.MAX_JOINED + 1)),
        "select " + "," * (limits.MAX_TOKENS + 1),
        "values " + ",".join(["(random(), 1)"] * (limits.MAX_CELLS // 2 + 1)),
        "select 1 where 1 in (" + ",".join(["2+1"] * (limits.MAX_ITEMS + 1)) + ")",
        "with c0 as (select 1 x)" + "".join(f", c{i} as (select x+1 as x from c{i - 1})" for i in range(1, 1000))
        + " select * from c999",
        "select " + "+".join(["1"] * 5000),
        "select " + "(" * 5000 + "1" + ")" * 5000,
        "select case " + "".join(f"when n = {i} then {i} " for i in range(200)) * 60 + "end from cpu",
        " union all ".join(["select 1"] * 3000),
        ";" * (limits.MAX_TOKENS + 1),
    ],
    ids=["and", "or", "join", "comma", "tokens", "values", "in", "with", "plus", "paren", "case", "union", "empty"],
)  # fmt: skip
def test_what_is_too_long_or_too_deep_is_refused_in_good_time(text: str, queries: Queries, view: MemoryView) -> None:
    started = time.process_time()
    with pytest.raises(StatementTooComplex):
        ask(queries, view, text)
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "values",
    [[1, None, -3], [1.5, None, float("inf")], ["a", "b,'\"[]", ""], ["a", None], ["a\x1fb", "c\x01"]],
    ids=["integers", "floats", "texts", "null", "separator"],
)
def test_a_long_array_parameter_is_the_same_array(values: list[object], queries: Queries, view: MemoryView) -> None:
    name = "int8" if values[0] == 1 else "float8" if values[0] == 1.5 else "text"
    long = values * 200
    _, rows = ask(queries, view, f"select $1::{name}[], cardinality($1::{name}[])", [long])
    assert rows == [(long, len(long))]


def test_an_array_of_fifty_thousand_is_compared_at_once(queries: Queries, view: MemoryView) -> None:
    for values in (list(range(50_000)), "{" + ",".join(map(str, range(50_000))) + "}"):
        started = time.process_time()
        _, rows = ask(queries, view, "select count(*) from cpu where n = any ($1::int4[])", [values])
        assert rows
        assert time.process_time() - started < 2
