"""tsdb.client against a real server: frames of each library, parameters, errors, what statements give."""

from __future__ import annotations

import datetime
import decimal
import uuid

import numpy as np
import pandas as pd
import polars as pl
import psycopg
import pyarrow as pa
import pytest

from tsdb import errors
from tsdb.client import Client, connect

T0 = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def frame(rows: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "time": pd.date_range(T0, periods=rows, freq="1s"),
            "host": [f"h{i % 3}" for i in range(rows)],
            "usage": np.linspace(0.0, 1.0, rows),
            "count": np.arange(rows),
            "ok": np.arange(rows) % 2 == 0,
        }
    )


def test_a_pandas_frame_comes_back_as_it_was_written(db: Client) -> None:
    written = frame(1000)
    assert db.write(written, "p1", tags=["host"]) == 1000
    table = db.query("SELECT time, host, usage, count, ok FROM p1 ORDER BY time")
    assert table.to_pylist() == pa.Table.from_pandas(written, preserve_index=False).to_pylist()


def test_the_index_of_a_frame_may_be_the_time(db: Client) -> None:
    assert db.write(frame(10).set_index("time"), "p2", tags=["host"]) == 10
    assert db.write(frame(10).drop(columns="time").set_index(pd.date_range(T0, periods=10)), "p3", tags=["host"]) == 10
    assert db.query("SELECT count(*) AS n FROM p2").to_pylist() == [{"n": 10}]
    assert db.query("SELECT max(time) AS t FROM p3").to_pylist() == [{"t": T0 + datetime.timedelta(days=9)}]


def test_a_level_of_the_index_numbers_of_its_name_and_days_may_be_the_time(db: Client) -> None:
    levels = frame(4).assign(at=frame(4)["time"]).drop(columns="time").set_index(["host", "at"])
    assert db.write(levels, "p5", time="at", tags=["host"]) == 4
    numbers = pd.DataFrame({"v": [1.5, 2.5]}, index=pd.Index([7, 9], name="time"))
    assert db.write(numbers, "p6") == 2
    unnamed = frame(4).drop(columns="time").set_index(pd.date_range("2026-01-01", periods=4))
    assert db.write(unnamed, "p7", time="at", tags=["host"]) == 4
    days = pd.DataFrame({"v": [1.5, 2.5]}, index=[T0.date(), T0.date() + datetime.timedelta(days=1)])
    assert db.write(days, "p9") == 2
    assert db.query("SELECT min(time) AS t FROM p9").to_pylist() == [{"t": T0}]
    assert db.query("SELECT max(at) AS t FROM p5").to_pylist() == [{"t": T0 + datetime.timedelta(seconds=3)}]
    assert db.query("SELECT time_ns FROM p6 ORDER BY 1").to_pydict() == {"time_ns": [7, 9]}
    assert db.query("SELECT max(at) AS t FROM p7").to_pylist() == [{"t": T0 + datetime.timedelta(days=3)}]


@pytest.mark.parametrize(
    ("written", "time"),
    [
        (frame(4).drop(columns="time"), "time"),
        (frame(4), "tt"),
        # What a selection leaves is no RangeIndex.
        (frame(4).drop(columns="time").iloc[[1, 3]], "time"),
        (frame(4).drop(columns="time").set_index(pd.Index(["a", "b", "c", "d"])), "time"),
        (frame(4).set_index("time"), "tt"),
        (frame(4).set_index(["host", "time"]), "tt"),
        (pl.DataFrame({"v": [1.5]}), "time"),
        (pa.table({"time": [1], "v": [1.5]}), "tt"),
    ],
)
def test_row_numbers_are_no_times(db: Client, written: object, time: str) -> None:
    with pytest.raises(errors.UndefinedColumn, match=f'there is no column "{time}" for the time'):
        db.write(written, "p8", time=time)
    with pytest.raises(errors.UndefinedTable):
        db.query("SELECT * FROM p8")


def test_categories_are_texts_and_missing_values_are_null(db: Client) -> None:
    written = frame(6).astype({"host": "category"})
    written.loc[2, "usage"] = None
    written["host"] = written["host"].where(written["count"] != 3)
    db.write(written, "p4", tags=["host"])
    table = db.query("SELECT host, usage, count FROM p4 ORDER BY time").to_pylist()
    assert [row["host"] for row in table] == ["h0", "h1", "h2", None, "h1", "h2"]
    assert [row["count"] for row in table if row["usage"] is None] == [2]


def test_a_polars_frame_goes_in_and_a_result_becomes_one(db: Client) -> None:
    written = pl.DataFrame(
        {
            "time": [T0, T0 + datetime.timedelta(seconds=1)],
            "host": pl.Series(["a", "b"], dtype=pl.Categorical),
            "note": ["x", None],
            "usage": [0.5, 1.5],
        }
    )
    assert db.write(written, "q1", tags=["host"]) == 2
    found = pl.DataFrame(db.query("SELECT host, note, usage FROM q1 ORDER BY time"))
    assert found.to_dicts() == [
        {"host": "a", "note": "x", "usage": 0.5},
        {"host": "b", "note": None, "usage": 1.5},
    ]


def test_tables_batches_and_readers_go_in(db: Client) -> None:
    table = pa.table({"time": pa.array([1, 2, 3]), "v": [1.0, 2.0, 3.0]})
    assert db.write(table, "r1") == 3
    assert db.write(table.to_batches()[0], "r1") == 3
    assert db.write(table.to_reader(1), "r1") == 3
    assert db.query("SELECT time_ns, v FROM r1 ORDER BY 1").to_pydict() == {"time_ns": [1, 2, 3], "v": [1.0, 2.0, 3.0]}
    with pytest.raises(TypeError, match="not dict"):
        db.write({"time": [1]}, "r1")


def test_a_later_row_replaces_the_fields_of_the_same_tags_and_time(db: Client) -> None:
    db.write(pa.table({"time": [1, 1], "host": ["a", "a"], "v": [1.0, 2.0], "w": [5, None]}), "m1", tags=["host"])
    db.write(pa.table({"time": [1], "host": ["a"], "x": [True]}), "m1")
    assert db.query("SELECT host, v, w, x FROM m1").to_pylist() == [{"host": "a", "v": 2.0, "w": 5, "x": True}]


def test_line_protocol_and_arrow_write_the_same_series(db: Client, sql: psycopg.Connection) -> None:
    db.write(pa.table({"time": [1], "host": ["a"], "v": [1.0], "n": pa.array([7], pa.uint64())}), "l1", tags=["host"])
    found = sql.execute("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'l1'")
    assert dict(found.fetchall()) == {
        "time": "timestamp with time zone", "host": "text", "v": "double precision", "n": "numeric",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "as_type"),
    [
        (None, "text"), (True, "boolean"), (42, "bigint"), (1.5, "double precision"), (float("inf"), "float8"),
        ("it's \\", "text"), (b"\0\xff", "bytea"), (T0, "timestamptz"), (datetime.date(2026, 2, 3), "date"),
        (datetime.time(1, 2, 3, 4), "time"), (decimal.Decimal("1.250"), "numeric(10,3)"),
        ([1, None, 3], "bigint[]"), (['a"b', "c,d", "", "\\"], "text[]"), (np.int64(7), "bigint"),
    ],
)  # fmt: skip
def test_a_parameter_arrives_as_it_was_given(db: Client, value: object, as_type: str) -> None:
    assert db.query(f"SELECT $1::{as_type} AS v", [value]).to_pylist() == [{"v": value}]


def test_parameters_whose_arrow_form_is_another_type(db: Client) -> None:
    number = uuid.uuid4()
    days = datetime.timedelta(days=3, seconds=5, microseconds=7)
    found = db.query("SELECT $1::uuid AS u, $2::json AS j, $3::interval > '3 days' AS i", [number, {"a": [1]}, days])
    assert found.to_pylist() == [{"u": str(number), "j": '{"a": [1]}', "i": True}]


def test_numbers_without_a_scale_come_as_floats_or_exactly(db: Client) -> None:
    columns = "avg(i) AS a, sum(i::bigint) AS s, 1.10::numeric AS n, 1.10::numeric(5,2) AS d"
    statement = f"SELECT {columns} FROM generate_series(1, 4) AS g(i)"
    exact = db.query(statement, numeric="text").to_pylist()
    assert exact == [{"a": "2.5000000000000000", "s": "10", "n": "1.10", "d": decimal.Decimal("1.10")}]
    assert db.query(statement).to_pylist() == [{"a": 2.5, "s": 10.0, "n": 1.1, "d": decimal.Decimal("1.10")}]


def test_any_single_statement_runs(db: Client) -> None:
    assert db.query("CREATE TABLE t (id int PRIMARY KEY, note text)").num_columns == 0
    assert db.query("INSERT INTO t VALUES (1, 'a'), (2, 'b') RETURNING note").to_pydict() == {"note": ["a", "b"]}
    db.query("UPDATE t SET note = 'c' WHERE id = $1", [2])
    assert db.query("SELECT * FROM t ORDER BY id").to_pydict() == {"id": [1, 2], "note": ["a", "c"]}
    assert db.query("SELECT * FROM t WHERE id > 2").num_rows == 0
    assert db.query("SHOW TimeZone").to_pylist() == [{"TimeZone": "UTC"}]
    assert db.query("EXPLAIN SELECT * FROM t").num_rows > 0


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SELECT 1/0", errors.DivisionByZero), ("SELEC 1", errors.SqlSyntaxError), ("", errors.SqlSyntaxError),
        ("SELECT * FROM nowhere", errors.UndefinedTable), ("SELECT 1; SELECT 2", errors.SqlSyntaxError),
        ("BEGIN", errors.FeatureNotSupported), ("LISTEN x", errors.FeatureNotSupported),
        ("SET TimeZone = 'UTC'", errors.FeatureNotSupported), ("COPY t TO STDOUT", errors.FeatureNotSupported),
        ("DECLARE c CURSOR FOR SELECT 1", errors.FeatureNotSupported),
    ],
)  # fmt: skip
def test_errors_are_the_servers(db: Client, statement: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        db.query(statement)


def test_an_error_has_its_place_and_its_hint(db: Client) -> None:
    with pytest.raises(errors.UndefinedColumn) as caught:
        db.query("SELECT nothing FROM pg_class")
    assert caught.value.position == 8
    with pytest.raises(errors.InvalidCatalogName):
        db.query("SELECT 1", database="nowhere")
    with pytest.raises(errors.ProtocolViolation):
        db.query("SELECT $1::int", [1, 2])
    with pytest.raises(errors.InvalidTextRepresentation):
        db.query("SELECT $1::int", ["x"])


def test_a_write_makes_its_database(db: Client) -> None:
    table = pa.table({"time": [1], "v": [1]})
    assert db.write(table, "s", database="made") == 1
    assert db.query("SELECT v FROM s", database="made").to_pydict() == {"v": [1]}


def test_a_server_that_is_not_there_is_told(tmp_path: object) -> None:
    with connect(port=1) as client, pytest.raises(errors.CannotConnectNow):
        client.query("SELECT 1")


def test_the_version_is_the_servers(db: Client) -> None:
    assert db.version().startswith("tsdb ")
