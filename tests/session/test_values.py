"""Values on their way: Bind's to queries, statements' effects to the store."""

from __future__ import annotations

import datetime as dt
import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb import datetimes
from tsdb.errors import InvalidTextRepresentation
from tsdb.model.points import Points, encode_tagset
from tsdb.model.schema import Catalog, ColumnDefinition, CreateDatabase, CreateSeries, Role, apply
from tsdb.session import effects, parameters
from tsdb.sql import literal
from tsdb.sql.context import Context
from tsdb.sql.dml.modification import Write
from tsdb.sql.dml.to_points import tagsets_of
from tsdb.types import DATE, FLOAT8, INT4, INTERVAL, TEXT, TIME, TIMESTAMP, TIMESTAMPTZ, SqlType, array_of
from tsdb.wire import Bind
from tsdb.zones import zone

UTC = datetimes.Context(zone("UTC"), 0)
EPOCH_2000_US = 946_684_800_000_000


def bound(raw: bytes | None, sql_type: SqlType, code: int) -> object:
    return parameters.values_of(Bind("", "", (code,), (raw,), ()), [sql_type], UTC)[0]


def read(value: object, sql_type: SqlType) -> object:
    """As ``Queries`` reads it."""
    return literal.of_python(sql_type, value, Context("tsdb"))


@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999), st.sampled_from([TIMESTAMP, TIMESTAMPTZ]))
def test_a_binary_instant_reaches_the_query_to_the_microsecond(us: int, sql_type: SqlType) -> None:
    assert read(bound(struct.pack("!q", us - EPOCH_2000_US), sql_type, 1), sql_type) == us


@given(st.dates())
def test_a_binary_date_reaches_the_query(date: dt.date) -> None:
    days = (date - dt.date(2000, 1, 1)).days
    assert read(bound(struct.pack("!i", days), DATE, 1), DATE) == (date - dt.date(1970, 1, 1)).days


@given(st.integers(0, 86_399_999_999))
def test_a_binary_time_reaches_the_query(us: int) -> None:
    assert read(bound(struct.pack("!q", us), TIME, 1), TIME) == us


@given(st.integers(-(10**5), 10**5), st.integers(-(10**5), 10**5), st.integers(-(10**15), 10**15))
def test_a_binary_interval_reaches_the_query(months: int, days: int, us: int) -> None:
    assert read(bound(struct.pack("!qii", us, days, months), INTERVAL, 1), INTERVAL) == (months, days, us)


def test_infinity_reaches_the_query() -> None:
    assert bound(struct.pack("!q", 2**63 - 1), TIMESTAMPTZ, 1) == "infinity"
    assert bound(struct.pack("!q", -(2**63)), TIMESTAMP, 1) == "-infinity"


@given(st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))))
def test_a_binary_array_reaches_the_query(items: list[str | None]) -> None:
    body = struct.pack("!iii", 1 if items else 0, 0, TEXT.oid)
    body += struct.pack("!ii", len(items), 1) if items else b""
    for item in items:
        raw = None if item is None else item.encode()
        body += struct.pack("!i", -1) if raw is None else struct.pack("!i", len(raw)) + raw
    assert read(bound(body, array_of(TEXT), 1), array_of(TEXT)) == items


def test_a_text_goes_on_as_it_came_once_it_is_right() -> None:
    assert bound(b" 42 ", INT4, 0) == " 42 "
    assert bound(None, INT4, 0) is None
    with pytest.raises(InvalidTextRepresentation):
        bound(b"x", INT4, 0)


def points(times: list[int], hosts: list[str | None], values: list[float | None]) -> Points:
    change = CreateSeries(
        "d", "s", (ColumnDefinition("time", Role.TIME, TIMESTAMPTZ), ColumnDefinition("h", Role.TAG, TEXT),
                   ColumnDefinition("v", Role.FIELD, FLOAT8)), True,
    )  # fmt: skip
    series = apply(Catalog(), [CreateDatabase("d"), change]).databases["d"].find("s")
    tagsets, tagset = tagsets_of([(2, pa.array(hosts, pa.string()))], len(times))
    return Points(series, np.array(times, np.int64), tagsets, tagset, {3: pa.array(values, pa.float64())})


HOSTS = st.sampled_from([None, "", "a", "b"])
BATCHES = st.lists(st.lists(st.tuples(st.integers(0, 9), HOSTS, st.one_of(st.none(), st.floats(0, 1)))), min_size=1)


@given(BATCHES)
def test_joined_batches_are_their_rows_in_order(batches: list[list[tuple[int, str | None, float | None]]]) -> None:
    joined = effects.concatenated(
        [points([t for t, _, _ in rows], [h for _, h, _ in rows], [v for _, _, v in rows]) for rows in batches]
    )
    expected = [row for rows in batches for row in rows]
    assert joined.times.tolist() == [t for t, _, _ in expected]
    assert joined.fields[3].to_pylist() == [v for _, _, v in expected]
    assert len(set(joined.tagsets)) == len(joined.tagsets)
    found = [joined.tagsets[i] for i in joined.tagset.tolist()]
    assert found == [encode_tagset([] if h is None else [(2, h)]) for _, h, _ in expected]


def test_an_effect_knows_about_how_large_it_is() -> None:
    small, large = points([1], ["a"], [1.0]), points([1] * 1000, ["a"] * 1000, [1.0] * 1000)
    assert effects.size_of(Write(small)) < 1000 < 8000 < effects.size_of(Write(large)) < 50_000
