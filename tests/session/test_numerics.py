"""numeric from the client to storage and back: every number with the scale it was given, in text and binary."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import psycopg
import pytest

GIVEN = ("1.50", "-0.010", "100", "0.000", "12345678901234567890.12345678", "-7", "0.00000000000000000001")


@pytest.fixture
def prices(connection: psycopg.Connection) -> Iterator[psycopg.Connection]:
    connection.execute("CREATE TABLE prices (time timestamptz, price numeric, cents numeric(12,2))")
    yield connection
    connection.execute("DROP TABLE prices")


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("by_parameter", [False, True])
def test_an_unconstrained_numeric_comes_back_as_it_was_given(
    prices: psycopg.Connection, binary: bool, by_parameter: bool
) -> None:
    for number, text in enumerate(GIVEN):
        at = f"2026-01-01 00:00:{number:02d}+00"
        if by_parameter:
            prices.execute("INSERT INTO prices (time, price) VALUES (%s, %s)", (at, Decimal(text)))
        else:
            prices.execute(f"INSERT INTO prices (time, price) VALUES ('{at}', {text})")
    with prices.cursor(binary=binary) as cursor:
        rows = cursor.execute("SELECT price FROM prices ORDER BY time").fetchall()
        assert [str(price) for (price,) in rows] == [str(Decimal(text)) for text in GIVEN]
        sums = cursor.execute("SELECT max(price), sum(price) FROM prices WHERE price BETWEEN -10 AND 1000").fetchall()
        # Sums have 16 digits after the point.
        assert [str(each) for each in sums[0]] == ["100", "94.4900000000000000"]


def test_what_a_query_computes_is_stored_with_its_scale(prices: psycopg.Connection) -> None:
    prices.execute("INSERT INTO prices SELECT '2026-01-01'::timestamptz, 1 / 3.0, 2 / 3.0")
    assert prices.execute("SELECT price::text, cents::text FROM prices").fetchall() == [
        ("0.33333333333333333333", "0.67")
    ]


def test_a_narrower_numeric_rounds_what_is_there(connection: psycopg.Connection, postgres: psycopg.Connection) -> None:
    """As PostgreSQL does, which writes it anew; here it is read so."""
    for each in (connection, postgres):
        each.execute("CREATE TABLE narrower (time timestamptz PRIMARY KEY, v numeric)")
        values = ["12.345", "12.35", "12.25", "-0.05", "-0.049", "999.94", "7", None, "1e-30"]
        for at, value in enumerate(values):
            each.execute("INSERT INTO narrower VALUES (to_timestamp(%s), %s::text::numeric)", (at, value))
        each.execute("ALTER TABLE narrower ALTER COLUMN v TYPE numeric(4,1)")
    query = "SELECT v, v::text, v = 12.4 FROM narrower ORDER BY time"
    assert connection.execute(query).fetchall() == postgres.execute(query).fetchall()
    query = "SELECT sum(v), max(v), count(*) FILTER (WHERE v = 12.3) FROM narrower"
    assert connection.execute(query).fetchall() == postgres.execute(query).fetchall()
    connection.execute("CHECKPOINT")
    for each in (connection, postgres):
        with pytest.raises(psycopg.errors.NumericValueOutOfRange, match="numeric field overflow") as caught:
            each.execute("ALTER TABLE narrower ALTER COLUMN v TYPE numeric(3,1)")
        assert caught.value.diag.message_detail == (
            "A field with precision 3, scale 1 must round to an absolute value less than 10^2."
        )
        each.execute("DROP TABLE narrower")
