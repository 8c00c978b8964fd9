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
