"""Names, types and errors of queries before they run."""

from __future__ import annotations

import pytest

from tests.sql import samples
from tests.sql.answers import CONTEXT, ask
from tsdb.errors import TsdbError
from tsdb.sql.query import Prepared, Queries
from tsdb.sql.statement import Explain, Select, parse, split
from tsdb.types import INT4, SqlType

VIEW = samples.view(100)


def prepare(queries: Queries, text: str, types: tuple[SqlType | None, ...] = ()) -> Prepared:
    statement = parse(split(text)[-1])
    assert isinstance(statement, Select | Explain)
    return queries.prepare(statement, CONTEXT, VIEW.catalog, types)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("select 1, 'a', null", ["?column?"] * 3),
        ("select count(*), avg(usage), host, HOST, n::text, 'x'::text", ["count", "avg", "host", "host", "n", "text"]),
        ("select a.usage u, \"Free\" from cpu a, mem", ["u", "Free"]),
        ("select case when true then 1 end, coalesce(1), array[1], exists(select 1)",
         ["case", "coalesce", "array", "exists"]),
        ("select (select host from cpu limit 1), now(), current_date, extract(year from now())",
         ["host", "now", "current_date", "extract"]),
        ("select * from mem", ["time", "host", "used", "Free"]),
        ("select m.*, 1 as \"X\" from mem m", ["time", "host", "used", "Free", "X"]),
        ("select * from cpu join mem using (time, host)", ["time", "host", "region", "usage", "n", "ok", "note", "big",
                                                          "day", "price", "small", "used", "Free"]),
        ("select * from (values (1, 2)) v(a)", ["a", "column2"]),
        ("values (1, 2)", ["column1", "column2"]),
        ("select time_bucket('1 day', time), last(usage, time) from cpu group by 1", ["time_bucket", "last"]),
        ("explain select 1", ["QUERY PLAN"]),
    ],
)  # fmt: skip
def test_columns_are_named_as_postgres_names_them(text: str, names: list[str], queries: Queries) -> None:
    if "avg(usage), host" in text:
        text += " from cpu group by host, n"
    assert [c.name for c in prepare(queries, text).columns] == names


def test_a_plain_column_names_its_table_and_place(queries: Queries) -> None:
    columns = prepare(queries, "select host, host || '' from cpu").columns
    assert columns[0].table_oid > 16384
    assert columns[0].attnum == 2
    assert (columns[1].table_oid, columns[1].attnum) == (0, 0)


@pytest.mark.parametrize(
    ("text", "state", "message", "position"),
    [
        ("select nothere from cpu", "42703", 'column "nothere" does not exist', 8),
        ("select 1; select nothere from cpu", "42703", 'column "nothere" does not exist', 18),
        ("select c.nothere from cpu c", "42703", "column c.nothere does not exist", 8),
        ("select * from nothere", "42P01", 'relation "nothere" does not exist', 15),
        ("select * from Mixed", "42P01", 'relation "mixed" does not exist', 15),
        ("select free from mem", "42703", 'column "free" does not exist', 8),
        ("select x.a from cpu", "42P01", 'missing FROM-clause entry for table "x"', 8),
        ("select time from cpu, mem", "42702", 'column reference "time" is ambiguous', 8),
        ("select foo(1, 'a')", "42883", "function foo(integer, unknown) does not exist", 8),
        ("select length(1)", "42883", "function length(integer) does not exist", 8),
        ("select host + 1 from cpu", "42883", "operator does not exist: text + integer", 13),
        ("select 1 where 'a'::text = 1", "42883", "operator does not exist: text = integer", None),
        ("select 1 where 1", "42804", "argument of WHERE must be type boolean, not type integer", 16),
        ("select 'x'::int", "22P02", 'invalid input syntax for type integer: "x"', 8),
        ("select small = 'x' from cpu", "22P02", 'invalid input syntax for type integer: "x"', 16),
        ("select time > 'soon' from cpu", "22007",
         'invalid input syntax for type timestamp with time zone: "soon"', 15),
        ("select '2026-02-30'::date", "22008", 'date/time field value out of range: "2026-02-30"', 8),
        ("select host from cpu group by region", "42803",
         'column "cpu.host" must appear in the GROUP BY clause or be used in an aggregate function', 8),
        ("select host, count(*) from cpu", "42803",
         'column "cpu.host" must appear in the GROUP BY clause or be used in an aggregate function', 8),
        ("select 1 from cpu where count(*) > 1", "42803", "aggregate functions are not allowed in WHERE", 25),
        ("select sum(count(*)) from cpu", "42803", "aggregate function calls cannot be nested", 12),
        ("select 1 from cpu where row_number() over () = 1", "42P20", "window functions are not allowed in WHERE", 25),
        ("select rank()", "42809", "window function rank requires an OVER clause", 8),
        *((f"select distinct on ({on}) n from cpu order by {order}", "42P10",
           "SELECT DISTINCT ON expressions must match initial ORDER BY expressions", None)
          for on, order in (("host", "n"), ("host", "n, host"), ("host, region", "host, n"),
                            ("host, region", "host, host, n, region"))),
        ("select distinct on (3) n from cpu", "42P10", "DISTINCT ON position 3 is not in select list", None),
        ("select host from cpu order by 2", "42P10", "ORDER BY position 2 is not in select list", None),
        ("select distinct host from cpu order by usage", "42P10",
         "for SELECT DISTINCT, ORDER BY expressions must appear in select list", None),
        ("select case when true then 1 else true end", "42804",
         "CASE types boolean and integer cannot be matched", None),
        ("select 1 union select true", "42804", "UNION types integer and boolean cannot be matched", None),
        ("select 1, 2 union select 1", "42601", "each UNION query must have the same number of columns", None),
        ("select 1 limit -1", "2201W", "LIMIT must not be negative", None),
        ("select 'a'::nothere", "42704", 'type "nothere" does not exist', None),
        ("select true::timestamptz", "42846", "cannot cast type boolean to timestamp with time zone", None),
        ("select * from cpu tablesample system (1)", "0A000", "TABLESAMPLE is not supported", None),
        ("select * from cpu at (version => 1)", "0A000", "AT after a table is not supported", None),
        ("select * from cpu for system_time as of 'x'", "0A000",
         "FOR SYSTEM_TIME after a table is not supported", None),
        ("select * from cpu with (nolock)", "0A000", "WITH after a table is not supported", None),
        *((f"select * from cpu {word} join cpu b", "42601", "syntax error: JOIN needs ON or USING", None)
          for word in ("", "positional", "inner", "left", "a full outer")),
        ("select U&'\\00g1'", "42601", "invalid Unicode escape", 8),
        ("select U&'\\D800'", "42601", "invalid Unicode surrogate pair", 8),
        ("select U&'a' uescape '1'", "42601", "invalid Unicode escape character", 22),
        (f'select "{"x" * 100_000}" from cpu', "42703", f'column "{"x" * 63}…" does not exist', 8),
        ("select * from other.cpu", "42P01", 'relation "other.cpu" does not exist', 15),
        ("select * from x.public.cpu", "0A000",
         'cross-database references are not implemented: "x.public.cpu"', 24),
        ("select * from cpu, cpu", "42712", 'table name "cpu" specified more than once', 20),
        ("select " + "9" * 300, "22003", "numeric value has more than 38 digits", 8),
        ("select locf(max(n)) from cpu", "0A000", "locf can only be used with time_bucket_gapfill", None),
    ],
)  # fmt: skip
def test_an_error_has_postgres_state_text_and_place(
    text: str, state: str, message: str, position: int | None, queries: Queries
) -> None:
    with pytest.raises(TsdbError) as caught:
        prepare(queries, text)
    assert (caught.value.sqlstate, caught.value.message) == (state, message)
    if position is not None:
        assert caught.value.position == position


def test_a_near_name_is_hinted(queries: Queries) -> None:
    with pytest.raises(TsdbError) as caught:
        prepare(queries, "select usag from cpu")
    assert caught.value.hint == 'Perhaps you meant to reference the column "cpu.usage".'


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("select $1", ["text"]),
        ("select $1::int + $2", ["int4", "int4"]),
        ("select * from cpu where time > $1 and host = $2 and n in ($3, $4)", ["timestamptz", "text", "int8", "int8"]),
        ("select * from cpu where usage between $1 and $2", ["float8", "float8"]),
        ("select * from cpu where host = any($1)", ["_text"]),
        ("select * from cpu where n = any($1) limit $2 offset $3", ["_int8", "int8", "int8"]),
        ("select time_bucket($1, time), date_trunc($2, time) from cpu", ["interval", "text"]),
        ("select time + $1, time - $2 from cpu", ["interval", "timestamptz"]),
        ("select coalesce(n, $1), case when $2 then 1 end from cpu", ["int8", "bool"]),
        ("select lower($1), host || $2, host like $3 from cpu", ["text", "text", "text"]),
        ("select * from cpu where host = $1 or region = $1", ["text"]),
        ("select $2::int", ["text", "int4"]),
        ("values (1, $1), ($2, 'a')", ["text", "int4"]),
        ("select n + $1, usage * $2 from cpu", ["int8", "float8"]),
    ],
)
def test_a_parameter_takes_the_type_its_surroundings_ask_for(text: str, types: list[str], queries: Queries) -> None:
    assert [t.typname for t in prepare(queries, text).parameters] == types


def test_the_clients_parameter_types_come_first(queries: Queries) -> None:
    prepared = prepare(queries, "select $1, n + $2 from cpu", (INT4, INT4))
    assert [t.typname for t in prepared.parameters] == ["int4", "int4"]
    assert [c.type.typname for c in prepared.columns] == ["int4", "int8"]


def test_a_parameters_text_is_read_by_its_type(queries: Queries) -> None:
    text = "select count(*) from cpu where time >= $1 and host = any($2) and n > $3"
    _, given = ask(queries, VIEW, text, ["2026-01-01T00:30:00Z", "{host_1,host_2}", "5"])
    _, literal = ask(
        queries, VIEW,
        "select count(*) from cpu where time >= '2026-01-01 00:30:00+00' and host in ('host_1', 'host_2') and n > 5",
    )  # fmt: skip
    assert given == literal


def test_hidden_columns_come_only_when_named(queries: Queries) -> None:
    columns, rows = ask(queries, VIEW, "select *, time_ns, sequence from mem order by time_ns limit 1")
    assert [c.name for c in columns] == ["time", "host", "used", "Free", "time_ns", "sequence"]
    assert rows[0][4] == min(samples.EARLY_NS) + 500


def test_the_clock_in_a_constant_is_not_remembered(queries: Queries) -> None:
    later = type(CONTEXT)("tsdb", now_us=CONTEXT.now_us + 86_400_000_000, settings=CONTEXT.settings)
    (first,), (second,) = (ask(queries, VIEW, "select 'today'::date", context=c)[1][0] for c in (CONTEXT, later))
    assert first != second
