"""psycopg 3: text and binary, pipelines, named cursors, prepared statements."""

from __future__ import annotations

from datetime import date, datetime

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Json, Jsonb

from tests.clients.values import INSTANT, UTC, VALUES
from tests.session.conftest import Server


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(("name", "value"), VALUES)
def test_a_value_goes_and_comes_back(connection: psycopg.Connection, name: str, value: object, binary: bool) -> None:
    placeholder = "%b" if binary else "%t"
    found = connection.cursor(binary=binary).execute(f"SELECT {placeholder}::{name}", (value,)).fetchone()
    assert found == (value,)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
ANY = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), TEXTS, st.binary(max_size=20), st.booleans(),
    st.dates(date(1, 1, 1)), st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC)),
    st.lists(st.one_of(st.none(), TEXTS), min_size=1, max_size=4).filter(any), st.uuids(),
)  # fmt: skip
CASTS = {"int": "int8", "float": "float8", "str": "text", "bytes": "bytea", "bool": "bool", "date": "date",
         "datetime": "timestamptz", "list": "text[]", "UUID": "uuid"}  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=ANY, into=st.sampled_from("tb"), out=st.booleans())
def test_any_value_is_the_same_both_ways_in_text_and_binary(
    connection: psycopg.Connection, value: object, into: str, out: bool
) -> None:
    cast = CASTS[type(value).__name__]
    assert connection.cursor(binary=out).execute(f"SELECT %{into}::{cast}", (value,)).fetchone() == (value,)


def test_infinity_is_refused_by_the_driver_and_sent_by_us(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.DataError, match="too large"):
        connection.execute("SELECT 'infinity'::timestamptz").fetchone()


def test_json(connection: psycopg.Connection) -> None:
    found = connection.execute("SELECT %s::json, %s::jsonb", (Json({"a": 1}), Jsonb([1, {"b": None}]))).fetchone()
    assert found == ({"a": 1}, [1, {"b": None}])


def test_executemany_with_returning_and_a_pipeline(connection: psycopg.Connection) -> None:
    connection.execute("DROP TABLE IF EXISTS pg3")
    connection.execute("CREATE TABLE pg3 (time timestamptz, host text TAG, n int8)")
    cursor = connection.cursor()
    cursor.executemany(
        "INSERT INTO pg3 VALUES (%s, %s, %s) RETURNING n", [(INSTANT, "a", i) for i in range(5)], returning=True
    )
    assert cursor.fetchone() == (0,)
    with connection.pipeline():
        first = connection.execute("SELECT count(*) FROM pg3")
        second = connection.execute("SELECT %s::int", (3,))
    assert (first.fetchone(), second.fetchone()) == ((5,), (3,))
    connection.execute("DROP TABLE pg3")


def test_statements_are_prepared_after_five_uses(connection: psycopg.Connection) -> None:
    for i in range(8):
        assert connection.execute("SELECT %s::int + 1", (i,)).fetchone() == (i + 1,)
    found = connection.execute("SELECT count(*) FROM pg_prepared_statements WHERE NOT from_sql").fetchone()
    assert found == (1,)


def test_named_cursors_read_scroll_and_are_closed(server: Server) -> None:
    with server.connect(autocommit=False) as connection:
        with connection.cursor("named", scrollable=True) as cursor:
            cursor.itersize = 7
            cursor.execute("SELECT g FROM generate_series(1, %s::int) AS t(g) ORDER BY g", (20,))
            assert cursor.fetchmany(3) == [(1,), (2,), (3,)]
            cursor.scroll(-2)
            assert cursor.fetchone() == (2,)
            assert [row[0] for row in cursor] == list(range(3, 21))
        assert connection.execute("SELECT count(*) FROM pg_cursors").fetchone() == (0,)


def test_errors_carry_their_class_and_position(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.UndefinedColumn) as caught:
        connection.execute("SELECT  nope")
    assert caught.value.diag.statement_position == "9"


def test_arrays_of_oids_are_written_as_any_other(connection: psycopg.Connection) -> None:
    text = "SELECT '{1,2}'::oid[], 2 = ANY ('{1,2}'::oid[]), CAST(ARRAY[3] AS oid[])"
    assert connection.execute(text).fetchone() == ([1, 2], True, [3])
