"""What goes into storage comes out the same, for every type."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.errors import InvalidDatetimeFormat, NumericValueOutOfRange, StringDataRightTruncation
from tsdb.intervals import US_MAX
from tsdb.model.schema import Column, Role
from tsdb.sql import array_text, intervals, storage_form
from tsdb.sql.intervals import Interval
from tsdb.types import (
    BOOL,
    BPCHAR,
    BYTEA,
    DATE,
    FLOAT4,
    FLOAT8,
    INT2,
    INT4,
    INT8,
    INTERVAL,
    JSONB,
    NUMERIC,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    UINT8,
    UUID,
    VARCHAR,
    SqlType,
    array_of,
)

VALUES: list[tuple[SqlType, list[Any]]] = [
    (BOOL, [True, False]),
    (INT2, [-32768, 32767]),
    (INT4, [-(2**31), 0]),
    (INT8, [-(2**63), 2**63 - 1]),
    (UINT8, [0, 2**64 - 1]),
    (FLOAT4, [1.5, -0.25, float("inf")]),
    (FLOAT8, [0.1, -1e300, float("-inf")]),
    (TEXT, ["", "a\u00e9\U0001f600", "NULL"]),
    (VARCHAR, ["x"]),
    (JSONB, ['{"a": 1}']),
    (UUID, ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    (DATE, [dt.date(1969, 12, 31), dt.date(2262, 1, 1)]),
    (TIME, [dt.time(23, 59, 59, 999999)]),
    (TIMESTAMP, [dt.datetime(1900, 1, 1, 0, 0, 0, 1)]),
    (TIMESTAMPTZ, [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)]),
    (NUMERIC, [Decimal("-12345678901234567890.000001"), Decimal("0.500000")]),
    (BYTEA, [b"", b"\x00\xff", b"abc"]),
    (INTERVAL, [pa.MonthDayNano([14, -3, 4_005_000]), pa.MonthDayNano([0, 0, 0])]),
    (array_of(INT4), [[1, None, 3], []]),
    (array_of(TEXT), [["a,b", '"\\', "", "NULL", None], ["x y"]]),
    (array_of(BYTEA), [[b"\\", b"a"]]),
    (array_of(BOOL), [[True, None]]),
]


@pytest.mark.parametrize(("sql_type", "values"), VALUES, ids=[t.name for t, _ in VALUES])
@pytest.mark.parametrize("role", [Role.FIELD, Role.TAG])
def test_every_type_comes_back_as_it_was(sql_type: SqlType, values: list[Any], role: Role) -> None:
    column = Column(1, "c", role, sql_type)
    array = pa.array([*values, None, values[0]], sql_type.arrow)
    stored = storage_form.to_stored(array, column)
    assert stored.type == storage_form.stored_type(column)
    assert stored.null_count == 1
    assert storage_form.from_stored(stored, column).to_pylist() == array.to_pylist()
    assert storage_form.from_stored(stored.slice(1), column).to_pylist() == array.to_pylist()[1:]
    assert storage_form.to_stored(array.slice(1), column).to_pylist() == stored.to_pylist()[1:]
    empty = storage_form.to_stored(array.slice(0, 0), column)
    assert storage_form.from_stored(empty, column).to_pylist() == []


def test_a_dictionary_of_tags_stays_a_dictionary() -> None:
    column = Column(1, "c", Role.TAG, INT4)
    back = storage_form.from_stored(pa.array(["7", "8", "7"]).dictionary_encode(), column)
    assert pa.types.is_dictionary(back.type)
    assert back.to_pylist() == [7, 8, 7]


def test_negative_zero_is_the_same_tag_as_zero() -> None:
    stored = storage_form.to_stored(pa.array([0.0, -0.0]), Column(1, "c", Role.TAG, FLOAT8))
    assert len(stored.unique()) == 1


def test_the_type_modifier_is_applied() -> None:
    varchar = Column(1, "v", Role.FIELD, VARCHAR, storage_form.length_typmod(3))
    assert storage_form.to_stored(pa.array(["abc", "ab   "]), varchar).to_pylist() == ["abc", "ab "]
    with pytest.raises(StringDataRightTruncation, match="too long for type character varying"):
        storage_form.to_stored(pa.array(["abcd"]), varchar)
    char = Column(1, "v", Role.FIELD, BPCHAR, storage_form.length_typmod(3))
    assert storage_form.to_stored(pa.array(["a"]), char).to_pylist() == ["a  "]
    numeric = Column(1, "n", Role.FIELD, NUMERIC, storage_form.numeric_typmod(5, 2))
    assert storage_form.to_stored(pa.array([Decimal("1.234")]), numeric).to_pylist() == ["1.23"]
    with pytest.raises(NumericValueOutOfRange):
        storage_form.to_stored(pa.array([Decimal("12345.00")]), numeric)
    stamp = Column(1, "t", Role.FIELD, TIMESTAMP, 3)
    assert storage_form.to_stored(pa.array([1500, -1500], pa.timestamp("us")), stamp).to_pylist() == [2000, -2000]


def test_an_integer_out_of_range_is_refused() -> None:
    with pytest.raises(NumericValueOutOfRange, match="smallint"):
        storage_form.to_stored(pa.array([40_000]), Column(1, "c", Role.FIELD, INT2))


@given(st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"])))))
def test_array_text_comes_back(elements: list[str | None]) -> None:
    lists = pa.array([elements], pa.list_(pa.string()))
    assert array_text.split(array_text.join(lists, lists.flatten())).to_pylist() == [elements]


@pytest.mark.parametrize(
    ("text", "interval", "shown"),
    [
        ("1 year 2 mons 3 days 04:05:06.7", Interval(14, 3, 14_706_700_000), "1 year 2 mons 3 days 04:05:06.7"),
        ("@ 1 minute ago", Interval(0, 0, -60_000_000), "-00:01:00"),
        ("-1 day +2:00", Interval(0, -1, 7_200_000_000), "-1 days +02:00:00"),
        ("P1Y2M3DT4H5M6S", Interval(14, 3, 14_706_000_000), "1 year 2 mons 3 days 04:05:06"),
        ("30d", Interval(0, 30, 0), "30 days"),
        ("1.5 months", Interval(1, 15, 0), "1 mon 15 days"),
        ("0", Interval(0, 0, 0), "00:00:00"),
        ("2 weeks", Interval(0, 14, 0), "14 days"),
    ],
)
def test_intervals_are_read_and_shown_as_postgresql_does(text: str, interval: Interval, shown: str) -> None:
    assert intervals.parse(text) == interval
    assert intervals.format(interval) == shown


@given(st.integers(-(10**5), 10**5), st.integers(-(10**6), 10**6), st.integers(-US_MAX, US_MAX))
def test_an_interval_shown_is_read_as_the_same(months: int, days: int, us: int) -> None:
    interval = Interval(months, days, us)
    assert intervals.parse(intervals.format(interval)) == interval


@pytest.mark.parametrize("text", ["", "x", "1 parsec", "1 2 3", "P", "@", "ago"])
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(InvalidDatetimeFormat):
        intervals.parse(text)
