"""Queries that run: streams, cancel, deadlines, memory, errors of scans, statistics."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa
import pytest

from tests.fixtures.waiting import until
from tests.sql import samples
from tests.sql.answers import CONTEXT, ask
from tests.sql.memory_view import MemoryView
from tsdb.errors import DataCorrupted, QueryCanceled, TsdbError
from tsdb.model.store import Scan, ScanRequest
from tsdb.sql.context import Cancellable, Context
from tsdb.sql.newest.widening import WideningExecution
from tsdb.sql.query import Queries
from tsdb.sql.result import Rows
from tsdb.sql.statement import Explain, Select, parse, split

VIEW = samples.view(200)


def start(queries: Queries, view: MemoryView, text: str, context: Context = CONTEXT) -> Rows:
    statement = parse(split(text)[0])
    assert isinstance(statement, Select | Explain)
    return queries.run(queries.prepare(statement, context, view.catalog), view, [], context)


class EndlessView(MemoryView):
    """A view whose scan never ends and counts its batches; ``fail_after`` batches it fails."""

    served = 0
    fail_after: int | None = None

    def scan(self, request: ScanRequest) -> Scan:
        scan = super().scan(replace(request, prune=False))
        (batch, *_) = list(scan.batches)

        def batches() -> Iterator[pa.RecordBatch]:
            while True:
                self.served += 1
                if self.served == self.fail_after:
                    raise DataCorrupted("block 7 does not hold")
                yield batch

        return Scan(scan.schema, batches(), scan.statistics)


def endless() -> EndlessView:
    return EndlessView(VIEW.catalog, VIEW.tables)


def test_the_first_rows_come_before_the_last_are_read(queries: Queries) -> None:
    view = endless()
    rows = start(queries, view, "select host, usage from cpu")
    assert len(next(rows)) > 0
    rows.close()


def test_a_limit_ends_the_scan_early(queries: Queries) -> None:
    view = endless()
    _, rows = ask(queries, view, "select host from cpu limit 5")
    assert len(rows) == 5
    assert view.served < 20_000


def test_cancel_ends_a_query_from_another_thread(queries: Queries) -> None:
    view = endless()
    caught: list[BaseException] = []
    started = threading.Event()
    holder: list[Rows] = []

    def work() -> None:
        try:
            made = start(queries, view, "select host from cpu")
            holder.append(made)
            started.set()
            for _ in made:
                pass
        except QueryCanceled as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(10)
    time.sleep(0.05)
    holder[0].cancel()
    thread.join(10)
    holder[0].close()
    assert not thread.is_alive()
    assert str(caught[0]) == "canceling statement due to user request"


@pytest.mark.parametrize(
    "text", ["select sum(usage) from cpu", "select pg_sleep(60)", "select host from cpu order by 1"]
)
def test_a_deadline_ends_a_query(text: str, queries: Queries) -> None:
    context = replace(CONTEXT, deadline=time.monotonic() + 0.3)
    began = time.monotonic()
    with pytest.raises(QueryCanceled, match="canceling statement due to statement timeout"):
        ask(queries, endless(), text, context=context)
    assert time.monotonic() - began < 10


class PartsWithoutEnd(EndlessView):
    """What the newest points are is known, and reading any of them has no end."""

    def scan(self, request: ScanRequest) -> Scan:
        return MemoryView.scan(self, request) if request.newest is not None else super().scan(request)


def test_cancel_ends_a_part_that_gives_no_row_for_long(queries: Queries) -> None:
    view = PartsWithoutEnd(VIEW.catalog, VIEW.tables)
    text = "select time_bucket('1 day', time) t, string_agg(host, ',') from cpu group by t order by t desc limit 5"
    rows = start(queries, view, text, replace(CONTEXT, deadline=time.monotonic() + 60))
    assert isinstance(rows, WideningExecution)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(next, rows)
        until(lambda: view.served > 10)
        rows.cancel()
        with pytest.raises(QueryCanceled, match="canceling statement due to user request"):
            running.result()
    rows.close()


@pytest.mark.parametrize("how", ["user request", "statement timeout"])
def test_a_cancel_that_comes_before_duckdb_has_begun_ends_the_query(how: str, queries: Queries) -> None:
    begun: list[Cancellable] = []

    def running(execution: Cancellable) -> None:
        begun.append(execution)
        if how == "user request":
            execution.cancel()

    text = "select count(*) from generate_series(1, 1000000) a(x), generate_series(1, 1000000) b(y) where x * y % 7 = 8"
    began = time.monotonic()
    rescue = threading.Timer(60, lambda: begun[-1].cancel())  # or a defect would have no end
    rescue.start()
    for _ in range(5):
        deadline = None if how == "user request" else time.monotonic()
        with pytest.raises(QueryCanceled, match=f"canceling statement due to {how}"):
            ask(queries, VIEW, text, context=replace(CONTEXT, deadline=deadline, running=running))
    rescue.cancel()
    assert time.monotonic() - began < 60


def test_an_error_inside_a_scan_reaches_the_client_as_it_is(queries: Queries) -> None:
    view = endless()
    view.fail_after = 3
    with pytest.raises(DataCorrupted, match="block 7 does not hold"):
        ask(queries, view, "select count(usage) from cpu")


@pytest.mark.parametrize(
    ("text", "state", "message"),
    [
        ("select 1 / 0", "22012", "division by zero"), ("select 1 % 0", "22012", "division by zero"),
        ("select n / 0 from cpu", "22012", "division by zero"),
        ("select usage / 0 from cpu", "22012", "division by zero"),
        ("select 1.5 / 0", "22012", "division by zero"), ("select 2147483647 + 1", "22003", "integer out of range"),
        ("select 9223372036854775807 + 1", "22003", "bigint out of range"),
        ("select 32767::int2 + 1::int2", "22003", "smallint out of range"),
        ("select 1e10::float8::int", "22003", "integer out of range"),
        ("select 'NaN'::float8::int", "22003", "integer out of range"),
        ("select note::int from cpu", "22P02", None), ("select (note || '')::timestamptz from cpu", "22007", None),
        ("select (note || '')::bool from cpu where note = 'x\\y'", "22P02",
         'invalid input syntax for type boolean: "x\\y"'),
        ("select sqrt(-1)", "2201F", "cannot take square root of a negative number"),
        ("select ln(0)", "2201E", "cannot take logarithm of zero"),
        ("select (select host from cpu)", "21000", "more than one row returned by a subquery used as an expression"),
        ("select * from generate_series(1, 2, 0)", "22023", "step size cannot equal zero"),
        ("select 'a' ~ '('", "2201B", "invalid regular expression"),
        ("select split_part('a', 'b', 0)", "22023", "field position must not be zero"),
        ("select now() at time zone 'Mars/Phobos'", "22023", 'time zone "Mars/Phobos" not recognized'),
        ("select generate_series(1, 100000000000)", "5", None),
    ],
)  # fmt: skip
def test_a_run_time_error_has_postgres_state_and_no_word_of_duckdb(
    text: str, state: str, message: str | None, queries: Queries
) -> None:
    with pytest.raises(TsdbError) as caught:
        ask(queries, VIEW, text)
    assert caught.value.sqlstate.startswith(state)
    assert message is None or caught.value.message == message
    for word in ("DuckDB", "LINE 1", "INT64", "VARCHAR", "c1"):
        assert word not in caught.value.message


def test_after_an_error_the_cursor_serves_the_next_query(queries: Queries) -> None:
    for _ in range(20):
        with pytest.raises(TsdbError):
            ask(queries, VIEW, "select 1 / 0")
        assert ask(queries, VIEW, "select count(*) from cpu")[1] == [(200,)]


def test_a_sessions_time_zone_is_its_own(queries: Queries) -> None:
    berlin = replace(CONTEXT, settings={"timezone": "Europe/Berlin"})
    text = "select '2026-07-01 12:00:00'::timestamptz::text, date_trunc('day', timestamptz '2026-07-01 23:00+00')::text"
    assert ask(queries, VIEW, text, context=berlin)[1] == [("2026-07-01 12:00:00+02", "2026-07-02 00:00:00+02")]
    assert ask(queries, VIEW, text)[1] == [("2026-07-01 12:00:00+00", "2026-07-01 00:00:00+00")]


def test_batches_have_exactly_the_promised_types(queries: Queries) -> None:
    rows = start(queries, VIEW, "select *, count(*) over (), sum(n) over (), n::int2, array[n], time::date from cpu")
    for batch in rows:
        for column, array in zip(rows.columns, batch.columns, strict=True):
            if column.type.typname == "numeric":
                assert pa.types.is_decimal128(array.type)
            else:
                assert array.type == column.type.arrow
    rows.close()


def test_a_series_read_twice_is_scanned_twice_over_one_view(queries: Queries) -> None:
    view = samples.view(50)
    _, rows = ask(
        queries, view, "select count(*) from cpu a join cpu b on a.time_ns = b.time_ns and a.sequence = b.sequence"
    )
    assert rows == [(50,)]
    assert len(view.requests) == 2


def test_explain_analyze_names_scans_and_what_they_read(queries: Queries) -> None:
    text = "explain analyze select max(usage) from cpu where time >= '2026-01-01' and host = 'host_1' and n > 10"
    _, rows = ask(queries, VIEW, text)
    lines = "\n".join(row[0] for row in rows)
    for part in ("Scan on cpu", "Columns: time, host, n, usage", "from 2026-01-01T00:00:00+00:00", "Tags: host",
                 "Field: 10 <= n", "Blocks: 1 total", "Execution Time", "prune_by_time", "actual rows=1"):  # fmt: skip
        assert part in lines


def test_the_second_preparation_is_the_first(queries: Queries) -> None:
    plain = parse(split("select now() - interval '1 day', 'a' from cpu")[0])
    assert isinstance(plain, Select)
    assert queries.prepare(plain, CONTEXT, VIEW.catalog) is queries.prepare(plain, CONTEXT, VIEW.catalog)


def test_a_numeric_parameter_keeps_its_scale(queries: Queries) -> None:
    (fragment,) = split("select $1::numeric as a, $1::numeric / 3 as b, $1::numeric::text as c")
    view = samples.view(20)
    statement = parse(fragment)
    assert isinstance(statement, Select)
    prepared = queries.prepare(statement, CONTEXT, view.catalog)
    rows = queries.run(prepared, view, ["1.50"], CONTEXT)
    assert [batch.to_pylist() for batch in rows] == [[{"a": "1.50", "b": "0.50000000000000000000", "c": "1.50"}]]
    rows.close()
