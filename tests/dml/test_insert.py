"""INSERT: what is written is what is read."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import errors
from psycopg.types.json import Jsonb

from tests.session.conftest import Server
from tests.session.raw import SYNC, bind, execute, parse

UTC = dt.UTC


@pytest.fixture
def table(connection: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """A keyed series ``m`` and an event log ``e``."""
    connection.execute("CREATE TABLE m (time timestamptz, host text, v float8, n int, PRIMARY KEY (host, time))")
    connection.execute("CREATE TABLE e (at timestamptz DEFAULT now(), kind text DEFAULT 'info' TAG, note text)")
    yield connection
    connection.execute("DROP TABLE IF EXISTS m, e")


def rows(connection: psycopg.Connection, text: LiteralString, *values: object) -> list[tuple[Any, ...]]:
    return connection.execute(text, values or None).fetchall()


def test_rows_of_values_are_written_in_one_statement(table: psycopg.Connection) -> None:
    cursor = table.execute("INSERT INTO m VALUES ('2026-01-01', 'a', 1.5, -1), ('2026-01-02', 'b', NULL, 2)")
    assert cursor.statusmessage == "INSERT 0 2"
    assert rows(table, "SELECT * FROM m ORDER BY time") == [
        (dt.datetime(2026, 1, 1, tzinfo=UTC), "a", 1.5, -1),
        (dt.datetime(2026, 1, 2, tzinfo=UTC), "b", None, 2),
    ]


def test_inserting_into_a_keyed_series_merges_field_by_field(table: psycopg.Connection) -> None:
    table.execute("INSERT INTO m VALUES ('2026-01-01', 'a', 1, 1)")
    table.execute("INSERT INTO m (time, host, n) VALUES ('2026-01-01', 'a', 2)")
    assert rows(table, "SELECT v, n FROM m") == [(1.0, 2)]


def test_a_series_without_a_key_keeps_every_row(table: psycopg.Connection) -> None:
    for _ in range(2):
        table.execute("INSERT INTO e (at, note) VALUES ('2026-01-01', 'same')")
    assert rows(table, "SELECT kind, note FROM e") == [("info", "same")] * 2


def test_defaults_fill_what_is_not_given(table: psycopg.Connection) -> None:
    before = dt.datetime.now(UTC)
    table.execute("INSERT INTO e DEFAULT VALUES")
    table.execute("INSERT INTO e VALUES (DEFAULT, DEFAULT, 'x')")
    table.execute("INSERT INTO e SELECT now(), 'k'")
    table.execute("INSERT INTO m (host) VALUES ('now')")
    found = rows(table, "SELECT at, kind, note FROM e ORDER BY kind, note NULLS FIRST")
    assert [row[1:] for row in found] == [("info", None), ("info", "x"), ("k", None)]
    times = [row[0] for row in found] + [rows(table, "SELECT time FROM m")[0][0]]
    assert all(before <= time <= dt.datetime.now(UTC) for time in times)


def test_expressions_and_queries_are_evaluated_like_any_other(table: psycopg.Connection) -> None:
    table.execute(
        "INSERT INTO m VALUES (timestamptz '2026-01-01' + interval '1 day', 'a' || 'b', 1 + 1, length('xyz'))"
    )
    table.execute("INSERT INTO m SELECT time + interval '1 h', host, v * 2, n FROM m")
    table.execute(
        "WITH w AS (SELECT max(v) AS top FROM m) INSERT INTO m (time, host, v) SELECT '2026-02-01', 'w', top FROM w"
    )
    assert rows(table, "SELECT extract(day FROM time)::int, host, v, n FROM m ORDER BY time") == [
        (2, "ab", 2.0, 3), (2, "ab", 4.0, 3), (1, "w", 4.0, None),
    ]  # fmt: skip


def test_parameters_take_the_types_of_their_columns(table: psycopg.Connection) -> None:
    at = dt.datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    table.execute("INSERT INTO m VALUES (%s, %s, %s, %s)", (at, "p", 7, 8))
    table.execute("INSERT INTO m VALUES (%b, %b, %b, %b)", (at + dt.timedelta(1), "b", 7.5, None))
    table.execute("INSERT INTO m (host, time, v) VALUES (%s, %s::timestamptz, %s + 1)", ("x", "2026-03-03", 1))
    assert rows(table, "SELECT time, host, v, n FROM m ORDER BY time") == [
        (at, "p", 7.0, 8), (at + dt.timedelta(1), "b", 7.5, None),
        (dt.datetime(2026, 3, 3, tzinfo=UTC), "x", 2.0, None),
    ]  # fmt: skip


def test_returning_gives_what_was_inserted(table: psycopg.Connection) -> None:
    cursor = table.execute(
        "INSERT INTO m (host, time) VALUES ('a', '2026-01-01'), ('b', '2026-01-02') RETURNING host AS h, time_ns, v"
    )
    assert cursor.statusmessage == "INSERT 0 2"
    assert [c.name for c in cursor.description or ()] == ["h", "time_ns", "v"]
    assert cursor.fetchall() == [("a", 1767225600 * 10**9, None), ("b", 1767312000 * 10**9, None)]


def test_time_ns_takes_exact_times(table: psycopg.Connection) -> None:
    table.execute("INSERT INTO m (time_ns, host) VALUES (1767225600000000001, 'a'), (-1, 'b')")
    assert rows(table, "SELECT time_ns, time FROM m ORDER BY time_ns") == [
        (-1, dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        (1767225600000000001, dt.datetime(2026, 1, 1, tzinfo=UTC)),
    ]


ALL_TYPES = (
    "CREATE TABLE a (time timestamptz, b bool, i2 smallint, i4 int, i8 bigint, f4 real, f8 float8, t text,"
    " vc varchar(4), nu numeric(10,2), d date, tm time, ts timestamp, tz timestamptz, iv interval, u uuid, j jsonb,"
    " by bytea, ia int[], ta text[])"
)
ROW: list[object] = [
    True, -2, 3, 2**62, 0.5, 1e-300, "ü'\\", "abcd", Decimal("12345678.91"), dt.date(1950, 2, 3),
    dt.time(23, 59, 59, 1), dt.datetime(1901, 2, 3, 4, 5, 6, 7), dt.datetime(2026, 1, 1, 1, tzinfo=UTC),
    dt.timedelta(days=3, seconds=5), uuid.UUID(int=7), {"a": [1, None]}, b"\x00\xff\\", [1, None, 3],
    ["a,b", '"', None],
]  # fmt: skip


@pytest.mark.parametrize("how", ["%s", "%b", "%t"])
def test_every_type_comes_back(connection: psycopg.Connection, how: str) -> None:
    connection.execute(ALL_TYPES)
    try:
        values: list[object] = [Jsonb(each) if isinstance(each, dict) else each for each in ROW]
        places = ", ".join([how] * len(values))
        connection.execute(f"INSERT INTO a VALUES (now(), {places})", values)
        connection.execute("INSERT INTO a (time) VALUES (now())")
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            found = cursor.execute("SELECT * FROM a ORDER BY i4").fetchall()
            assert list(found[0][1:]) == ROW
            assert found[1][1:] == (None,) * len(ROW)
    finally:
        connection.execute("DROP TABLE a")


@pytest.mark.parametrize(
    ("statement", "error", "text"),
    [
        ("INSERT INTO nope VALUES (1)", errors.UndefinedTable, 'relation "nope" does not exist'),
        ("INSERT INTO m (nope) VALUES (1)", errors.UndefinedColumn, 'column "nope" of relation "m" does not exist'),
        ("INSERT INTO m (v) VALUES (1)", errors.NotNullViolation, 'null value in column "host"'),
        ("INSERT INTO m VALUES (NULL, 'a')", errors.NotNullViolation, 'null value in column "time"'),
        ("INSERT INTO m (host, v) VALUES ('a', 'x')", errors.InvalidTextRepresentation, "double precision"),
        ("INSERT INTO m (host, n) VALUES ('a', 3000000000)", errors.NumericValueOutOfRange, "out of range"),
        ("INSERT INTO m (host, n) SELECT 'a', 3000000000", errors.NumericValueOutOfRange, "out of range"),
        ("INSERT INTO m (time, host) VALUES ('soon', 'a')", errors.InvalidDatetimeFormat, "soon"),
        ("INSERT INTO m (time, host) VALUES ('2999-01-01', 'a')", errors.DatetimeFieldOverflow, "time is out of range"),
        ("INSERT INTO m (host, host) VALUES ('a', 'b')", errors.DuplicateColumn, "specified more than once"),
        ("INSERT INTO m (host) VALUES ('a', 'b')", errors.SyntaxError, "more expressions than target columns"),
        ("INSERT INTO m (host, v) VALUES ('a')", errors.SyntaxError, "more target columns than expressions"),
        ("INSERT INTO m VALUES (now(), 'a'), (now())", errors.SyntaxError, "same length"),
        ("INSERT INTO m (host, v) SELECT 'a', true", errors.DatatypeMismatch, "is of type double precision"),
    ],
)
def test_what_cannot_be_written_is_refused(
    table: psycopg.Connection, statement: LiteralString, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        table.execute(statement)
    assert rows(table, "SELECT count(*) FROM m") == [(0,)]


def test_on_conflict_do_nothing_keeps_what_is_there(table: psycopg.Connection) -> None:
    table.execute("INSERT INTO m VALUES ('2026-01-01', 'a', 1, 1)")
    cursor = table.execute(
        "INSERT INTO m VALUES ('2026-01-01', 'a', 9, 9), ('2026-01-01', 'b', 2, 2), ('2026-01-01', 'b', 3, 3)"
        " ON CONFLICT (host, time) DO NOTHING RETURNING host, v"
    )
    assert cursor.statusmessage == "INSERT 0 1"
    assert cursor.fetchall() == [("b", 2.0)]
    assert rows(table, "SELECT host, v FROM m ORDER BY host") == [("a", 1.0), ("b", 2.0)]


def test_on_conflict_do_update_writes_the_columns_it_names(table: psycopg.Connection) -> None:
    table.execute("INSERT INTO m VALUES ('2026-01-01', 'a', 1, 1)")
    table.execute(
        "INSERT INTO m VALUES ('2026-01-01', 'a', 9, 9), ('2026-01-01', 'b', 2, 2)"
        " ON CONFLICT (time, host) DO UPDATE SET n = EXCLUDED.n"
    )
    assert rows(table, "SELECT host, v, n FROM m ORDER BY host") == [("a", 1.0, 9), ("b", 2.0, 2)]
    with pytest.raises(errors.InvalidColumnReference):
        table.execute("INSERT INTO m (host) VALUES ('a') ON CONFLICT (v) DO NOTHING")
    with pytest.raises(errors.InvalidColumnReference):
        table.execute("INSERT INTO e (note) VALUES ('a') ON CONFLICT (at) DO NOTHING")
    assert table.execute("INSERT INTO e (note) VALUES ('a') ON CONFLICT DO NOTHING").rowcount == 1


def test_many_rows_come_in_by_executemany(table: psycopg.Connection) -> None:
    start = dt.datetime(2026, 1, 1, tzinfo=UTC)
    values = [(start + dt.timedelta(seconds=i), f"h{i % 10}", float(i), i) for i in range(2000)]
    table.cursor().executemany("INSERT INTO m VALUES (%s, %s, %s, %s)", values)
    assert rows(table, "SELECT count(*), sum(n), count(DISTINCT host) FROM m") == [(2000, sum(range(2000)), 10)]


def test_a_table_comes_from_a_query(table: psycopg.Connection) -> None:
    table.execute("INSERT INTO m VALUES ('2026-01-01', 'a', 1, 1), ('2026-01-02', 'b', 2, 2)")
    try:
        assert table.execute("CREATE TABLE c (who, when_) AS SELECT host, time, v FROM m").statusmessage == "SELECT 2"
        assert rows(table, "SELECT who, v FROM c ORDER BY when_") == [("a", 1.0), ("b", 2.0)]
        assert table.execute("SELECT v, n INTO i FROM m").statusmessage == "SELECT 2"
        assert rows(table, "SELECT n FROM i ORDER BY v") == [(1,), (2,)]
        table.execute("CREATE TABLE empty AS SELECT * FROM m WITH NO DATA")
        assert rows(table, "SELECT * FROM empty") == []
    finally:
        table.execute("DROP TABLE IF EXISTS c, i, empty")


def test_parameters_and_dollar_quotes_need_no_blanks(server: Server) -> None:
    with server.raw() as raw:
        raw.simple("CREATE TABLE tight (time timestamptz, a text, b text)")
        text = "INSERT INTO tight(a,b)VALUES($1,$2),($2,$$it's$$),($x$a$$b$x$,$1)RETURNING a,b"
        assert raw.ask(parse(text), bind([b"x", b"y"]), execute(), SYNC)[2:5] == [
            "DataRow x|y", "DataRow y|it's", "DataRow a$$b|x",
        ]  # fmt: skip
        raw.simple("DROP TABLE tight")


def test_dates_that_never_come_are_values(table: psycopg.Connection) -> None:
    table.execute("CREATE TABLE ends (time timestamptz, d date, many date[])")
    try:
        table.execute("INSERT INTO ends VALUES ('2026-01-01', 'infinity', '{-infinity,2026-01-01}')")
        table.execute("INSERT INTO ends VALUES ('2026-01-02', %s, NULL)", ["-infinity"])
        table.execute("INSERT INTO ends SELECT '2026-01-03', 'infinity'::date")
        with table.cursor().copy("COPY ends (time, d) FROM STDIN") as copy:
            copy.write(b"2026-01-04\t-infinity\n2026-01-05\t2026-01-01\n")
        shown = rows(table, "SELECT d::text, many::text FROM ends ORDER BY time")
        assert shown[0] == ("infinity", "{-infinity,2026-01-01}")
        assert [d for d, _ in shown] == ["infinity", "-infinity", "infinity", "-infinity", "2026-01-01"]
        assert rows(table, "SELECT count(*) FROM ends WHERE d = 'infinity'") == [(2,)]
        assert rows(table, "SELECT count(*) FROM ends WHERE d < '2026-01-01'") == [(2,)]
        table.execute("UPDATE ends SET d = 'infinity' WHERE d = '-infinity'")
        assert table.execute("DELETE FROM ends WHERE d = 'infinity'").rowcount == 4
    finally:
        table.execute("DROP TABLE ends")
