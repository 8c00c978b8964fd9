"""The same COPY on a real PostgreSQL 15 and here: same rows, or same SQLSTATE, message and context."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.copy.outcome import Connection, copy_out, outcome

# A table without a time keeps every row as PostgreSQL does.
TABLES = ("CREATE TABLE t (k int, a text, b float8, c bool, d timestamptz)", "CREATE TABLE p (k int, a text)")
TEXT = "COPY t FROM STDIN"
CSV = "COPY t FROM STDIN CSV"
PAIR = "COPY p (k, a) FROM STDIN"
PAIR_CSV = "COPY p (k, a) FROM STDIN CSV"

# Statement and data: everything odd that the two formats can hold.
CORPUS: list[tuple[str, bytes]] = [
    (TEXT, b""),
    (TEXT, b"1\tx\t1.5\tt\t2026-01-01 00:00:00+00\n"),
    (TEXT, b"1\tx\t1.5\tt\t2026-01-01 00:00:00+00"),
    (TEXT, b"1\t\\N\t\\N\t\\N\tepoch\n\\N\t\t1\tf\t2026-01-01 10:11:12.123456+05:30\n"),
    (TEXT, b"1\tx\t1.5\tt\n"),
    (TEXT, b"1\tx\t1.5\tt\t2026-01-01\tmore\n"),
    (TEXT, b"1\tx\tabc\tt\t2026-01-01\n"),
    (TEXT, b"1\tx\t1.5\tt\t2026-01-01\n2\ty\t1.5\tmaybe\t2026-01-01\n"),
    (TEXT, b"1\tx\t1.5\tt\t2026-13-01\n"),
    (TEXT, b"1.5\tx\t1.5\tt\t2026-01-01\n"),
    (TEXT, b"99999999999\tx\t1.5\tt\t2026-01-01\n"),
    (TEXT, b" 7 \tx\t 1.5 \t t \t 2026-01-01 \n"),
    (TEXT, b"+7\tx\t+1.5e3\tYES\t2026-01-01T10:00:00Z\n-7\ty\t-.5\toff\t2026-01-01 10:00\n0\tz\t5.\t1\t20260101\n"),
    (TEXT, b"1\tx\tNaN\tt\tepoch\n2\tx\t-Infinity\tt\tJan 2 2026 10:00 UTC\n3\tx\tinf\tt\tepoch\n"),
    (TEXT, b"1\tx\t1e400\tt\t2026-01-01\n"),
    (TEXT, b"1\tx\t0.1234567890123456789\tt\t2026-01-01 00:00:00.9999999+00\n"),
    (TEXT, b"2\tx\t123456789012345678901\tt\t2026-06-01\n3\tx\t1e-310\tt\t2026-06-01\n"),
    (TEXT, b"1\tx\t1\tt\t2024-02-29 23:59:59-08\n2\tx\t1\tt\t2023-02-29\n"),
    (PAIR, b"1\ta\\tb\\nc\\\\d\\re\\bf\\fg\\vh\n"),
    (PAIR, b"1\t\\101\\x42\\x4\\12z\\q\\.x\n"),
    (PAIR, b"1\t\\101\\x42\\x4\\12z\\q\n2\t\\377\n"),
    (PAIR, b"1\t\\xc3\\xa9\n"),
    (PAIR, b"1\t\\000\n"),
    (PAIR, b"1\ta\\\nb\n"),
    (PAIR, b"1\ta\\\tb\n"),
    (PAIR, b"1\ta\r\n2\tb\r\n"),
    (PAIR, b"1\ta\r2\tb\r"),
    (PAIR, b"1\ta\r\n2\tb\n"),
    (PAIR, b"1\ta\n2\tb\r\n"),
    (PAIR, b"1\ta\r2\tb\n"),
    (PAIR, b"1\ta\n\\.\n2\tb\n"),
    (PAIR, b"1\ta\n2\tb\\.\n3\tc\n"),
    (PAIR, b"1\ta\r\n\\.\r\n2\tb\r\n"),
    (PAIR, b"1\ta\r\n\\.\n"),
    (PAIR, b"1\ta\n\\.\r\n"),
    (PAIR, b"1\ta\n\\.x\n"),
    (PAIR, b"1\ta\n\\."),
    (PAIR, b"\\.\n"),
    (PAIR, b"\n"),
    (PAIR, b"1\ta\n\n"),
    (PAIR, b"1\ta\\"),
    (PAIR, b"1\t\\N\\"),
    (PAIR, b"1\t\\NX\n2\tX\\N\n3\t\\\\N\n"),
    (PAIR, b"1\t\xff\n"),
    (PAIR, b"1\ta\n2\t\xc3(\n"),
    (PAIR, b"1\ta\x00b\n"),
    (PAIR, b"1\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\n"),
    (PAIR, b"x\t" + b"y" * 300 + b"\n"),
    (PAIR, b"y" * 150 + b"\ta\n"),
    (PAIR, b"1\n"),
    ("COPY p (a) FROM STDIN", b"\n\nx\n"),
    ("COPY p (a) FROM STDIN CSV", b"\n\"\"\nx\n\\.\n"),
    ("COPY p (k, a) FROM STDIN DELIMITER '|' NULL 'nil'", b"1|nil\n2|a\tb\nnil|x\\|y\n"),
    ("COPY p (k, a) FROM STDIN WITH (DELIMITER ',', NULL '')", b"1,\n2,a\\,b\n"),
    ("COPY p (k, a) FROM STDIN WITH (HEADER)", b"k\ta\n1\tx\n"),
    ("COPY p (k, a) FROM STDIN WITH (HEADER MATCH)", b"k\ta\n1\tx\n"),
    ("COPY p (k, a) FROM STDIN WITH (HEADER MATCH)", b"k\tb\n1\tx\n"),
    ("COPY p (k, a) FROM STDIN WITH (HEADER MATCH)", b"k\n1\tx\n"),
    ("COPY p (k, a) FROM STDIN WITH (HEADER MATCH)", b"k\ta\tb\n1\tx\n"),
    ("COPY p (k, a) FROM STDIN WITH (HEADER MATCH)", b"k\t\\N\n1\tx\n"),
    ("COPY p (k, a) FROM STDIN WITH (HEADER)", b"only\n1\tx\nz\ty\n"),
    ("COPY p (k, a) FROM STDIN WITH (HEADER)", b""),
    (CSV, b"1,x,1.5,t,2026-01-01 00:00:00+00\n"),
    (CSV, b'1,"a,b",,"f",epoch\n2,"a ""q"" b",1,t,"2026-01-01"\n'),
    (PAIR_CSV, b'1,\n2,""\n3,"x"y"z"\n4, "a" \n'),
    (PAIR_CSV, b'1,"a\nb"\n2,"c\r\nd"\nx,y\n'),
    (PAIR_CSV, b'1,"a\r\nb"\r\n2,b\r\nx,y\r\n'),
    (PAIR_CSV, b'1,"open\n2,x\n'),
    (PAIR_CSV, b'1,a,b\n'),
    (PAIR_CSV, b'1\n'),
    (PAIR_CSV, b'\n'),
    (PAIR_CSV, b'1,a\n\\.\n2,b\n'),
    (PAIR_CSV, b'1,\\.\n2,\\N\n'),
    (PAIR_CSV, b'1,a\n\\.'),
    (PAIR_CSV, b'1,a\\nb\\\n'),
    (PAIR_CSV, b'1,a\r\n2,b\n'),
    (PAIR_CSV, b'1,a\n2,b\r\n'),
    (PAIR_CSV, b'"1","a"\n" 2 ","b"\n"",c\n'),
    (PAIR_CSV, b'\xef\xbb\xbf1,a\n'),
    ("COPY p (k, a) FROM STDIN CSV HEADER", b'k,a\n1,x\n'),
    ("COPY p (k, a) FROM STDIN CSV HEADER", b'"k\nmore",a\n1,x\ny,z\n'),
    ("COPY p (k, a) FROM STDIN (FORMAT csv, HEADER MATCH)", b'"k",a\n1,x\n'),
    ("COPY p (k, a) FROM STDIN (FORMAT csv, QUOTE '''', ESCAPE '\\')", b"1,'a\\'b\\\\c\\d'\n2,'x'\n"),
    ("COPY p (k, a) FROM STDIN (FORMAT csv, ESCAPE '\\')", b'1,"a\\"b\\\\c\\d"\n2,a\\"b"\n'),
    ("COPY p (k, a) FROM STDIN (FORMAT csv, NULL 'nil')", b'1,nil\n2,"nil"\n3,\nnil,x\n'),
    ("COPY p (k, a) FROM STDIN (FORMAT csv, NULL 'nil', FORCE_NULL (a))", b'1,nil\n2,"nil"\n'),
    ("COPY p (k, a) FROM STDIN (FORMAT csv, FORCE_NOT_NULL (a))", b'1,\n2,""\n'),
    ("COPY p (k, a) FROM STDIN (FORMAT csv, FORCE_NOT_NULL (a), FORCE_NULL (a))", b'1,\n2,""\n'),
    ("COPY p (k, a) FROM STDIN (FORMAT csv, FORCE_NOT_NULL (k))", b',a\n'),
    ("COPY p (k, a) FROM STDIN (FORMAT csv, DELIMITER ';', ENCODING 'LATIN1')", b"1;caf\xe9\n"),
    ("COPY p (k, a) FROM STDIN (ENCODING 'WIN1252')", b"1\t\x80\n"),
    ("COPY p (k, a) FROM STDIN (FREEZE false)", b"1\tx\n"),
    ("COPY p (a, k) FROM STDIN USING DELIMITERS '|' WITH NULL AS 'x'", b"y|1\nx|2\n"),
]  # fmt: skip

# Statements that are wrong whatever the data.
REFUSED = [
    "COPY t FROM STDIN (FORMAT xml)",
    "COPY t FROM STDIN (FORMAT CSV)x",
    "COPY t FROM STDIN (nothing)",
    "COPY t FROM STDIN (DELIMITER 'ab')",
    "COPY t FROM STDIN (DELIMITER 'a')",
    "COPY t FROM STDIN (DELIMITER E'\\n')",
    "COPY t FROM STDIN (NULL E'\\n')",
    "COPY t FROM STDIN (DELIMITER ',', NULL 'a,b')",
    "COPY t FROM STDIN (QUOTE '|')",
    "COPY t FROM STDIN (FORMAT csv, QUOTE 'ab')",
    "COPY t FROM STDIN (FORMAT csv, DELIMITER '|', QUOTE '|')",
    "COPY t FROM STDIN (FORMAT csv, NULL '\"')",
    "COPY t FROM STDIN (ESCAPE '|')",
    "COPY t FROM STDIN (FORMAT csv, ESCAPE 'ab')",
    "COPY t FROM STDIN (FORMAT binary, DELIMITER ',')",
    "COPY t FROM STDIN (FORMAT binary, NULL 'x')",
    "COPY t FROM STDIN (FORMAT binary, HEADER)",
    "COPY t FROM STDIN (FORCE_NULL (a))",
    "COPY t FROM STDIN (FORMAT csv, FORCE_QUOTE (a))",
    "COPY t TO STDOUT (FORMAT csv, FORCE_NULL (a))",
    "COPY t TO STDOUT (FORMAT csv, FORCE_NOT_NULL (a))",
    "COPY t FROM STDIN (FORMAT csv, FORCE_NULL (nope))",
    "COPY t (k) FROM STDIN (FORMAT csv, FORCE_NULL (a))",
    "COPY t FROM STDIN (FORMAT csv, FORCE_NULL 'a')",
    "COPY t TO STDOUT (HEADER match)",
    "COPY t FROM STDIN (HEADER maybe)",
    "COPY t FROM STDIN (ENCODING 'nope')",
    "COPY t FROM STDIN (FORMAT csv, FORMAT text)",
    "COPY t FROM STDIN CSV BINARY",
    "COPY t (nope) FROM STDIN",
    "COPY t (a, a) FROM STDIN",
    "COPY t (nope) TO STDOUT",
    "COPY nope FROM STDIN",
    "COPY nope TO STDOUT",
    "COPY (SELECT nope FROM t) TO STDOUT",
    "COPY t FROM",
    "COPY t STDIN",
    "COPY (SELECT 1) FROM STDIN",
    "COPY (DELETE FROM t) TO STDOUT",
]


@pytest.fixture(scope="module")
def both(postgres: Connection, server: Any) -> Iterator[tuple[Connection, Connection]]:
    with server.connect() as ours:
        for connection in (postgres, ours):
            connection.execute("SET timezone = 'UTC'")
            connection.execute("DROP TABLE IF EXISTS t, p")
            for table in TABLES:
                connection.execute(table.encode())
        yield postgres, ours


@pytest.mark.parametrize(("statement", "data"), CORPUS, ids=[str(i) for i in range(len(CORPUS))])
def test_the_same_input_gives_the_same_rows_or_the_same_error(
    both: tuple[Connection, Connection], statement: str, data: bytes
) -> None:
    found = []
    for connection in both:
        connection.execute("DELETE FROM t")
        connection.execute("DELETE FROM p")
        result = outcome(connection, statement, data)
        rows = connection.execute("SELECT k, a, b::text, c, d::text FROM t ORDER BY k, a").fetchall()
        rows += connection.execute("SELECT k, a FROM p ORDER BY k, a").fetchall()
        found.append((result, rows))
    assert found[1] == found[0]


@pytest.mark.parametrize("statement", REFUSED)
def test_a_wrong_statement_has_the_same_sqlstate_and_message(
    both: tuple[Connection, Connection], statement: str
) -> None:
    found = []
    for connection in both:
        with pytest.raises(psycopg.Error) as error:
            (copy_out if " TO " in statement else outcome_raised)(connection, statement)
        found.append((error.value.sqlstate, error.value.diag.message_primary))
    assert found[1] == found[0]


def outcome_raised(connection: Connection, statement: str) -> None:
    with connection.cursor() as cursor, cursor.copy(statement.encode()):
        pass


TEXTS = (
    "plain", "", None, "tab\there", "new\nline", "back\\slash", 'quo"te', "com,ma;semi|bar", "\\.", "\\N", "nil",
    "c\rr\b\f\v\x01", "é€😀", " sp ", "it's",
)  # fmt: skip

OUT = [
    "COPY t TO STDOUT",
    "COPY t TO STDOUT CSV",
    "COPY t TO STDOUT CSV HEADER",
    "COPY t TO STDOUT (HEADER)",
    "COPY t (a, k) TO STDOUT (FORMAT csv, FORCE_QUOTE *)",
    "COPY t (a, k) TO STDOUT (FORMAT csv, FORCE_QUOTE (a), NULL 'nil', DELIMITER ';')",
    "COPY t (a) TO STDOUT CSV",
    "COPY t (a) TO STDOUT (DELIMITER '|', NULL '')",
    "COPY t TO STDOUT (FORMAT csv, QUOTE '''', ESCAPE '\\')",
    "COPY t TO STDOUT (FORMAT binary)",
    "COPY BINARY t TO STDOUT",
    'COPY t TO STDOUT (FORMAT "binary")',
    "COPY (SELECT k, a FROM t WHERE k > 3 ORDER BY k) TO STDOUT WITH BINARY",
    'COPY (SELECT 1 AS "a b", \'x"y\' AS "q""", NULL::int) TO STDOUT (FORMAT csv, HEADER)',
    "COPY (SELECT 1 WHERE false) TO STDOUT (FORMAT binary)",
    "COPY (SELECT 1 WHERE false) TO STDOUT (FORMAT csv, HEADER)",
    "COPY (VALUES (true, 1::int2, 2::int4, 3::int8, 1.5::float4, -2.5::float8)) TO STDOUT (FORMAT binary)",
    "COPY (VALUES (12345.678::numeric, 0::numeric(10,2), -0.0001::numeric)) TO STDOUT (FORMAT binary)",
    "COPY (VALUES (date '2026-01-01', time '10:11:12.5', timestamp '1999-12-31 23:59:59')) TO STDOUT (FORMAT binary)",
    "COPY (VALUES (interval '1 mon 2 days 03:04:05', '\\x00ff'::bytea, ARRAY[1,NULL,3])) TO STDOUT (FORMAT binary)",
    "COPY (VALUES ('{\"a\": 1}'::json, '{\"a\": 1}'::jsonb, ARRAY['a b', NULL, 'c,d'])) TO STDOUT (FORMAT binary)",
    "COPY (VALUES ('{\"a\": 1}'::jsonb, ARRAY['a b', NULL, 'c,d'], '\\x00ff'::bytea)) TO STDOUT",
    "COPY (VALUES ('{\"a\": 1}'::jsonb, ARRAY['a b', NULL, 'c,d'], '\\x00ff'::bytea)) TO STDOUT CSV",
    "COPY (SELECT 'é€'::text) TO STDOUT (ENCODING 'UTF8')",
    "COPY (SELECT 'é'::text) TO STDOUT (FORMAT csv, ENCODING 'LATIN1')",
]


@pytest.mark.parametrize("statement", OUT)
def test_the_same_rows_come_out_as_the_same_bytes_in_the_same_messages(
    both: tuple[Connection, Connection], statement: str
) -> None:
    found = []
    for connection in both:
        connection.execute("DELETE FROM t")
        rows = [
            (i, text, i / 7, i % 2 == 0, f"2026-01-{i + 1:02d} 00:00:0{i % 10}.5+00") for i, text in enumerate(TEXTS)
        ]
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO t VALUES (%s, %s, %s, %s, %s)", [*rows, (None,) * 4 + (rows[0][4],)])
        found.append(copy_out(connection, statement))
    ordered = "ORDER BY" in statement
    assert (found[1] if ordered else sorted(found[1])) == (found[0] if ordered else sorted(found[0]))
