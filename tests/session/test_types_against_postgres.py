"""Every type that clients need, in text and binary, as results and as parameters, beside a real PostgreSQL: what one
server sends in binary, both take back, alone and in an array.

The list is that of the drivers: psycopg, asyncpg, pgx, JDBC, ADBC ask for binary; psql, pg8000, node-postgres for text.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import pq

from tests.fixtures.postgres import Connection
from tests.session.conftest import Server

TEXT, BINARY = 0, 1

VALUES: dict[str, list[str]] = {
    "bool": ["t", "f"],
    "int2": ["-32768", "7"],
    "int4": ["-2147483648", "0"],
    "int8": ["9223372036854775807", "-1"],
    "float4": ["1.5", "-Infinity", "NaN", "1e-30"],
    "float8": ["0.1", "Infinity", "NaN", "1e300", "-0"],
    "numeric": ["1.500", "-12345678901234567890.5", "0", "10000", "0.00001"],
    "text": ["", "hé 'x'", "NULL", '{a,"b"\\}'],
    "varchar": ["v", "a b"],
    "bpchar": ["c", "two words"],
    "name": ["n"],
    '"char"': ["c"],
    "bytea": ["\\x", "\\x00ff5c"],
    "date": ["2020-02-29", "infinity", "0001-01-01"],
    "time": ["23:59:59.999999", "00:00:00"],
    "timetz": ["10:00:00+05:30", "23:59:59.5-08"],
    "timestamp": ["2020-02-29 23:59:58.000005", "-infinity"],
    "timestamptz": ["2020-02-29 23:59:58.000005+00", "infinity"],
    "interval": ["1 year 2 mons -3 days 04:05:06.000007", "00:00:00"],
    "uuid": ["00000000-0000-0000-0000-0000000000ff"],
    "json": ['{"a": [1, null]}', "1"],
    "jsonb": ['{"a": [1, null]}', '"x"'],
    "oid": ["4294967295", "0"],
    "xid": ["3"],
    "regclass": ["pg_class"],
    "regtype": ["integer"],
    "point": ["(1.5,-2)"],
    "int4range": ["[1,5)", "empty", "(,)"],
    "int8range": ["[1,5)", "[,7)"],
    "numrange": ["[1.5,2.50]"],
    "daterange": ["[2020-01-01,2020-02-01)"],
    "tsrange": ['["2020-01-01 00:00:00","2020-02-01 00:00:00.5")'],
    "tstzrange": ['["2020-01-01 00:00:00+00",)'],
    "inet": ["10.0.0.1", "10.1.2.3/8", "2001:db8::1"],
    "cidr": ["10.0.0.0/8", "2001:db8::/32"],
    "macaddr": ["08:00:2b:01:02:03"],
    "money": ["$1,234.50", "-$0.01"],
}
CASES = [(name, value) for name, values in VALUES.items() for value in values]


@pytest.fixture(scope="module")
def both(server: Server, postgres: Connection) -> Iterator[tuple[psycopg.Connection, Connection]]:
    with server.connect() as ours:
        for each in (ours, postgres):
            each.execute("SET timezone = 'UTC'")
        yield ours, postgres


def answer(
    connection: psycopg.Connection | Connection,
    sql: str,
    value: bytes | None = None,
    given: int = TEXT,
    asked: int = TEXT,
) -> list[tuple[int, bytes | None]]:
    """Type and value of each column of the only row; ``given`` and ``asked`` are format codes."""
    values = None if value is None else [value]
    formats = None if value is None else [given]
    result = connection.pgconn.exec_params(sql.encode(), values, None, formats, asked)
    assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message.decode(errors="replace")
    return [(result.ftype(i), result.get_value(0, i)) for i in range(result.nfields)]


@pytest.mark.postgres
@pytest.mark.parametrize(("name", "value"), CASES)
def test_a_value_goes_and_comes_in_text_and_binary(
    both: tuple[psycopg.Connection, Connection], name: str, value: str
) -> None:
    ours, theirs = both
    # Numerics in an array have one scale here (docs/sql.md, numeric-scale).
    sql = f"SELECT $1::{name}, ARRAY[$1::{name}, NULL]" if name != "numeric" else "SELECT $1::numeric, NULL"
    for asked in (TEXT, BINARY):
        assert answer(ours, sql, value.encode(), TEXT, asked) == answer(theirs, sql, value.encode(), TEXT, asked)
    [(_, alone), (_, listed)] = answer(theirs, sql, value.encode(), TEXT, BINARY)
    for octets, query in ((alone, f"SELECT $1::{name}"), (listed, f"SELECT $1::{name}[]")):
        if octets is None:
            continue
        for asked in (TEXT, BINARY):
            expected = answer(theirs, query, octets, BINARY, asked)
            assert answer(ours, query, octets, BINARY, asked) == expected


ROWS = [
    "SELECT ROW(1, 2.50, 'x'::text, NULL, '{1,NULL}'::int[], '2020-01-01'::date, true)",
    "SELECT ROW(), ROW(NULL), ROW('', 'a\"b', E'c\\\\d', 'e f', '(g,h)')",
    "SELECT ROW(1, ROW('a b', ROW(2)))",
    "SELECT x FROM (VALUES (1, 'a', '2020-01-01'::timestamptz), (2, NULL, NULL)) AS x (n, t, at) ORDER BY n LIMIT 1",
    "SELECT array_agg(x ORDER BY n) FROM (VALUES (1, 'a b'), (2, NULL)) AS x (n, t)",
    "SELECT ARRAY[ROW(1, '10 days'::interval), ROW(2, NULL::interval)]",
    "SELECT ROW('integer'::regtype, '{\"a\": 1}'::jsonb, '10.0.0.1'::inet, '[1,3)'::int4range)",
    "SELECT CASE WHEN true THEN ROW(1, 2) END, coalesce(NULL, ROW(3, 'x'::text)), NULL::record",
    "SELECT '1 2'::int2vector, '3 4'::oidvector, pg_sleep(0), NULL",
    "SELECT unnest(ARRAY[ROW(1, 'x'::text)]), (SELECT ROW(1.50, 2))",
]  # fmt: skip


@pytest.mark.postgres
@pytest.mark.parametrize("sql", ROWS)
@pytest.mark.parametrize("asked", [TEXT, BINARY])
def test_rows_are_records(both: tuple[psycopg.Connection, Connection], sql: str, asked: int) -> None:
    ours, theirs = both
    assert answer(ours, sql, asked=asked) == answer(theirs, sql, asked=asked)
