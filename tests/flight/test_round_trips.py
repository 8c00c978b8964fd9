"""Values of every type go in and come out as they were: new series by Arrow types, tables by SQL types."""

from __future__ import annotations

import datetime
import decimal
import itertools
import json
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tsdb import errors
from tsdb.client import Client

UTC = datetime.UTC
_names = itertools.count()
_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_int64 = st.integers(-(2**63), 2**63 - 1)
_instants = st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1))
_floats = st.floats(allow_nan=False)

# Arrow type → values, for fields that a write makes.
MADE: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.float64(): _floats,
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.int64(): _int64,
    pa.int8(): st.integers(-128, 127),
    pa.uint32(): st.integers(0, 2**32 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.bool_(): st.booleans(),
    pa.string(): _texts,
    pa.large_string(): _texts,
    pa.string_view(): _texts,
    pa.dictionary(pa.int8(), pa.string()): st.sampled_from(["a", "b", ""]),
    pa.binary(): st.binary(max_size=20),
    pa.large_binary(): st.binary(max_size=20),
    pa.timestamp("us", "UTC"): _instants.map(lambda t: t.replace(tzinfo=UTC)),
    pa.timestamp("us"): _instants,
    pa.timestamp("s", "UTC"): _instants.map(lambda t: t.replace(microsecond=0, tzinfo=UTC)),
    pa.date32(): st.dates(),
    pa.time64("us"): st.times(),
    pa.time32("s"): st.times().map(lambda t: t.replace(microsecond=0)),
    pa.decimal128(20, 4): st.decimals(-(10**15), 10**15, places=4),
    pa.list_(pa.int64()): st.lists(st.none() | _int64, max_size=4),
    pa.list_(pa.string()): st.lists(st.none() | _texts, max_size=4),
}


def some_columns() -> st.SearchStrategy[list[tuple[pa.DataType, list[Any]]]]:
    """Some columns of random types, with as many values each."""
    column = st.sampled_from(list(MADE)).flatmap(
        lambda arrow: st.tuples(st.just(arrow), st.lists(st.none() | MADE[arrow], min_size=8, max_size=8))
    )
    return st.lists(column, min_size=1, max_size=5)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(columns=some_columns(), rows=st.integers(1, 8), per_batch=st.integers(1, 8))
def test_what_is_written_is_read(
    db: Client, columns: list[tuple[pa.DataType, list[Any]]], rows: int, per_batch: int
) -> None:
    series = f"made{next(_names)}"
    arrays = {"time": pa.array(range(rows), pa.int64())}
    for i, (arrow, values) in enumerate(columns):
        arrays[f"c{i}"] = pa.array(values[:rows], arrow)
    assert db.write(pa.table(arrays), series, rows_per_batch=per_batch) == rows
    listed = ", ".join(f"c{i}" for i in range(len(columns)))
    found = db.query(f"SELECT {listed} FROM {series} ORDER BY time_ns").to_pylist()
    wanted = pa.table({f"c{i}": arrays[f"c{i}"] for i in range(len(columns))}).to_pylist()
    assert found == wanted


# SQL type → texts of values, as PostgreSQL shows them: what a query gives is written again.
DECLARED = {
    "smallint": st.integers(-(2**15), 2**15 - 1).map(str),
    "integer": st.integers(-(2**31), 2**31 - 1).map(str),
    "bigint": _int64.map(str),
    "real": st.floats(width=32, allow_nan=False).map(repr),
    "double precision": _floats.map(repr),
    "boolean": st.sampled_from(["true", "false"]),
    "text": _texts,
    "varchar(20)": _texts.map(lambda t: t[:20]),
    "numeric(12,3)": st.decimals(-(10**8), 10**8, places=3).map(str),
    "numeric": st.decimals(-(10**8), 10**8, places=5).map(str),
    "bytea": st.binary(max_size=9).map(lambda octets: "\\x" + octets.hex()),
    "date": st.dates().map(str),
    "time": st.times().map(str),
    "timestamp": _instants.map(str),
    "timestamptz": _instants.map(lambda t: f"{t}+00"),
    "interval": st.sampled_from(["1 mon", "2 days 03:04:05.678", "-00:00:01"]),
    "uuid": st.uuids().map(str),
    "json": st.dictionaries(st.sampled_from("ab"), st.integers()).map(json.dumps),
    "jsonb": st.sampled_from(['{"a": 1}', "[]", "null"]),
    "inet": st.ip_addresses(v=4).map(str),
    "int4range": st.sampled_from(["[1,5)", "empty", "(,7)"]),
    "bigint[]": st.sampled_from(["{}", "{1,NULL,3}"]),
    "text[]": st.sampled_from(["{}", '{a,"b c",NULL}']),
    "mood": st.sampled_from(["sad", "happy"]),
}


@pytest.fixture(scope="module")
def mood(flying: Any) -> None:
    flying.run("CREATE TYPE mood AS ENUM ('sad', 'happy')")


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_a_query_gives_can_be_written_again(
    db: Client, sql: psycopg.Connection, mood: None, data: st.DataObject
) -> None:
    number = next(_names)
    columns = ", ".join(f'"v {name}" {name}' for name in DECLARED)
    for table in (f"one{number}", f"two{number}"):
        sql.execute(
            f"CREATE TABLE {table} (time timestamptz, host text TAG, {columns}, PRIMARY KEY (host, time))".encode()
        )
    for row in range(2):
        values = [data.draw(st.none() | texts) for texts in DECLARED.values()]
        sql.execute(
            f"INSERT INTO one{number} VALUES ({', '.join(['%s'] * (len(values) + 2))})".encode(),
            [f"2026-01-0{row + 1}", "h", *values],
        )
    found = db.query(f"SELECT * FROM one{number}", numeric="text")
    assert found.num_rows == 2
    assert db.write(found, f"two{number}") == 2
    assert db.query(f"SELECT * FROM two{number}", numeric="text").equals(found)


def test_every_type_of_a_catalog_comes_out(db: Client) -> None:
    """regclass, names, vectors, "char", oid arrays: what pg_catalog has."""
    for relation in ("pg_class", "pg_attribute", "pg_type", "pg_proc", "pg_index", "pg_settings", "pg_stat_activity"):
        assert db.query(f"SELECT * FROM {relation} LIMIT 50").num_rows > 0 or relation == "pg_index"
    assert db.query("SELECT 'pg_class'::regclass AS c, 23::regtype AS t").to_pylist() == [
        {"c": "pg_class", "t": "integer"}
    ]


def test_times_are_exact_to_the_nanosecond(db: Client) -> None:
    times = [-(2**63) + 2, -1001, -1, 0, 1, 999, 2**63 - 3]
    for unit in (pa.int64(), pa.timestamp("ns"), pa.timestamp("ns", "Europe/Berlin")):
        series = f"exact{next(_names)}"
        db.write(pa.table({"time": pa.array(times, pa.int64()).cast(unit), "v": times}), series)
        assert db.query(f"SELECT time_ns, v FROM {series} ORDER BY 1").to_pydict() == {"time_ns": times, "v": times}


@pytest.mark.parametrize("time", [2**63 - 1, -(2**63)])
def test_a_time_beyond_the_range_is_refused(db: Client, time: int) -> None:
    with pytest.raises(errors.DatetimeFieldOverflow):
        db.write(pa.table({"time": [time], "v": [1]}), "beyond")


@pytest.mark.parametrize(
    ("declared", "values", "error", "text"),
    [
        ("double precision", pa.array(["x"]), errors.DatatypeMismatch, "is type string, already exists as type double"),
        ("bigint", pa.array([1.5]), errors.DatatypeMismatch, "is type double, already exists as type bigint"),
        ("text", pa.array([1]), errors.DatatypeMismatch, "is type int64, already exists as type text"),
        ("boolean", pa.array([1]), errors.DatatypeMismatch, "is type int64, already exists as type boolean"),
        ("timestamp", pa.array([1]), errors.DatatypeMismatch, "is type int64, already exists as type timestamp"),
        ("bigint", pa.array([{"a": 1}]), errors.DatatypeMismatch, "is type struct"),
        ("smallint", pa.array([40000]), errors.NumericValueOutOfRange, "out of range for type smallint"),
        ("numeric(5,2)", pa.array([1000]), errors.NumericValueOutOfRange, "out of range for type numeric"),
        ("numeric(5,2)", pa.array([decimal.Decimal("1.005")]), errors.NumericValueOutOfRange, "out of range"),
        ("uuid", pa.array(["x"]), errors.InvalidTextRepresentation, 'invalid input syntax for type uuid: "x"'),
        ("json", pa.array(["{"]), errors.InvalidTextRepresentation, "json"),
        ("varchar(2)", pa.array(["abc"]), errors.StringDataRightTruncation, "too long"),
        ("text", pa.array(["a\0b"]), errors.CharacterNotInRepertoire, "0x00"),
        ("bigint CHECK (v < 5)", pa.array([1, 7]), errors.CheckViolation, "violates check constraint"),
        ("double precision NOT NULL", pa.array([None, 1.0]), errors.NotNullViolation, "null value"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_both_types_and_nothing_is_stored(
    db: Client, sql: psycopg.Connection, declared: str, values: pa.Array, error: type[Exception], text: str
) -> None:
    table = f"fits{next(_names)}"
    sql.execute(f"CREATE TABLE {table} (time timestamptz, v {declared}, PRIMARY KEY (time))".encode())
    with pytest.raises(error, match=text):
        db.write(pa.table({"time": range(len(values)), "v": values}), table)
    assert db.query(f"SELECT count(*) AS n FROM {table}").to_pylist() == [{"n": 0}]


@pytest.mark.parametrize(
    ("columns", "tags", "time", "text"),
    [
        ({"v": [1]}, [], "time", 'there is no column "time" for the time'),
        ({"time": [1], "v": [1]}, ["host"], "time", 'there is no column "host" for the tag'),
        ({"time": [1], "host": [1]}, ["host"], "time", "a tag is a text"),
        ({"time": ["x"], "v": [1]}, [], "time", 'column "time" is of type string: a time is'),
        ({"time": [None, 1], "v": [1, 2]}, [], "time", "null value"),
        ({"time": [1], "v": [{"a": 1}]}, [], "time", "for which there is no type of a field"),
    ],
)
def test_a_table_that_cannot_be_placed_says_why(
    db: Client, columns: dict[str, list[Any]], tags: list[str], time: str, text: str
) -> None:
    with pytest.raises(errors.TsdbError, match=text):
        db.write(pa.table(columns), f"placed{next(_names)}", tags=tags, time=time)


def test_what_is_no_series_takes_no_rows(db: Client, sql: psycopg.Connection) -> None:
    sql.execute(b"CREATE TABLE plain (id int PRIMARY KEY, v int)")
    sql.execute(b"CREATE VIEW seen AS SELECT 1 AS v")
    for name, error in (("plain", errors.FeatureNotSupported), ("seen", errors.WrongObjectType)):
        with pytest.raises(error):
            db.write(pa.table({"time": [1], "v": [1]}), name)


def test_points_beyond_retention_refuse_their_batch(db: Client, sql: psycopg.Connection) -> None:
    sql.execute(b"CREATE TABLE kept (time timestamptz, v float8, PRIMARY KEY (time)) WITH (retention = '30 days')")
    with pytest.raises(errors.DataError, match="points beyond retention policy: 1 of 2 rows"):
        db.write(pa.table({"time": [1, 2**62], "v": [1.0, 2.0]}), "kept")


def test_the_batches_before_a_refused_one_stay_and_are_counted(db: Client) -> None:
    table = pa.table({"time": range(10), "v": [1] * 9 + [None]})
    db.write(table.slice(0, 0), "counted")
    db.query("ALTER TABLE counted ALTER COLUMN v SET NOT NULL")
    with pytest.raises(errors.NotNullViolation) as caught:
        db.write(table, "counted", rows_per_batch=3)
    assert caught.value.detail == "9 rows had been stored before and stay."
    assert db.query("SELECT count(*) AS n FROM counted").to_pylist() == [{"n": 9}]
