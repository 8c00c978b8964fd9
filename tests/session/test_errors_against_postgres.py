"""What is wrong with a statement, and where: the same SQLSTATE and position as PostgreSQL's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest

from tests.fixtures.postgres import Connection
from tests.session.conftest import Server

TABLES: list[LiteralString] = [
    "CREATE TABLE wrong (id int PRIMARY KEY, n int, x float8, t text, b bool, d date, ts timestamptz)",
    "CREATE TABLE beside (id int PRIMARY KEY, n int, label text)",
    "CREATE SEQUENCE wrong_seq",
    "CREATE VIEW wrong_view AS SELECT id, n FROM wrong",
]
DROPS: list[LiteralString] = ["DROP VIEW wrong_view", "DROP TABLE wrong, beside", "DROP SEQUENCE wrong_seq"]
STATEMENTS: list[LiteralString] = [
    # names
    "SELECT nope FROM wrong",
    "SELECT w.nope FROM wrong w",
    "SELECT x.id FROM wrong w",
    "SELECT wrong.id FROM wrong w",
    "SELECT id FROM wrong, beside",
    "SELECT id FROM nobody",
    "SELECT id FROM nowhere.wrong",
    "SELECT * FROM wrong JOIN beside USING (label)",
    "SELECT * FROM wrong w JOIN wrong w ON true",
    "SELECT nothing(1)",
    "SELECT lower(1, 2)",
    "SELECT abs('a'::text)",
    "SELECT 1::nothing",
    "SELECT CAST(id AS nothing) FROM wrong",
    "SELECT nobody.* FROM wrong",
    "SELECT id FROM wrong ORDER BY nope",
    "SELECT id FROM wrong GROUP BY nope",
    "SELECT id FROM wrong WHERE nope = 1",
    "SELECT id FROM wrong HAVING nope > 1",
    "WITH w AS (SELECT 1 AS a) SELECT b FROM w",
    "SELECT n FROM wrong_view WHERE x = 1",
    "SELECT nextval('nobody_seq')",
    "SELECT 'nobody'::regclass",
    # syntax
    "SELEC 1",
    "SELECT",
    "SELECT FROM WHERE",
    "SELECT 1 +",
    "SELECT (1",
    "SELECT 1)",
    "SELECT 1 FROM wrong WHERE",
    "SELECT * FROM wrong ORDER id",
    "SELECT * FROM",
    "SELECT 'abc",
    'SELECT "abc',
    "SELECT 1 /* never",
    "INSERT INTO wrong VALUES",
    "INSERT wrong VALUES (1)",
    "UPDATE wrong",
    "UPDATE wrong SET",
    "UPDATE wrong SET n WHERE id = 1",
    "DELETE wrong",
    "CREATE TABLE",
    "CREATE TABLE broken (id int,)",
    "CREATE TABLE broken (id)",
    "DROP TABLE",
    "ALTER TABLE wrong ADD",
    "SELECT CASE WHEN true THEN 1",
    "SELECT ARRAY[1, 2",
    "SELECT 1 2",
    "BEGIN TRANSACTIONS",
    "SET",
    "FETCH",
    "COPY wrong",
    "EXPLAIN",
    # types
    "SELECT id + t FROM wrong",
    "SELECT t + 1 FROM wrong",
    "SELECT b + 1 FROM wrong",
    "SELECT NOT id FROM wrong",
    "SELECT id FROM wrong WHERE n",
    "SELECT id FROM wrong WHERE id AND b",
    "SELECT id = t FROM wrong",
    "SELECT d = 1 FROM wrong",
    "SELECT id IN ('a', 'b') FROM wrong",
    "SELECT 'abc'::int",
    "SELECT '1.5'::int",
    "SELECT 'maybe'::bool",
    "SELECT '2026-13-01'::date",
    "SELECT 'yesterdayish'::timestamptz",
    "SELECT '1 parsec'::interval",
    "SELECT 'x'::uuid",
    "SELECT '{1,2'::int[]",
    "SELECT '{'::json",
    "SELECT id FROM wrong WHERE id = 'abc'",
    "SELECT CASE WHEN 1 THEN 2 END",
    "SELECT CASE WHEN b THEN 1 ELSE t END FROM wrong",
    "SELECT COALESCE(id, t) FROM wrong",
    "SELECT id FROM wrong UNION SELECT t FROM wrong",
    "SELECT id FROM wrong UNION SELECT id, n FROM wrong",
    "SELECT ARRAY[1, 'a'::text]",
    "SELECT 9223372036854775807::int",
    "SELECT 99999999999",
    "SELECT 1::bool::date",
    # grouping, aggregates, windows
    "SELECT id, count(*) FROM wrong",
    "SELECT t, max(n) FROM wrong GROUP BY id + 1",
    "SELECT count(*) FROM wrong WHERE count(*) > 1",
    "SELECT sum(sum(n)) FROM wrong",
    "SELECT sum(t) FROM wrong",
    "SELECT row_number() FROM wrong",
    "SELECT id FROM wrong WHERE row_number() OVER () = 1",
    "SELECT rank() OVER w FROM wrong",
    "SELECT id FROM wrong GROUP BY 3",
    "SELECT id FROM wrong ORDER BY 3",
    "SELECT DISTINCT id FROM wrong ORDER BY n",
    "SELECT DISTINCT ON (n) id FROM wrong ORDER BY id",
    # subqueries, limits
    "SELECT (SELECT id, n FROM wrong)",
    "SELECT id FROM wrong WHERE id IN (SELECT id, n FROM wrong)",
    "SELECT * FROM (SELECT 1) x(a, b)",
    "SELECT 1 LIMIT 'a'",
    "SELECT 1 LIMIT -1",
    "SELECT 1 OFFSET -1",
    "VALUES (1, 2), (3)",
    # at run time
    "SELECT 1 / 0",
    "SELECT 1 % 0",
    "SELECT 2147483647 + 1",
    "SELECT sqrt(-1)",
    "SELECT ln(0)",
    "SELECT (SELECT g FROM generate_series(1, 2) g)",
    "SELECT repeat('x', -1) || chr(0)",
    # modifications
    "INSERT INTO wrong (id, nope) VALUES (1, 2)",
    "INSERT INTO wrong (id, id) VALUES (1, 2)",
    "INSERT INTO wrong (id) VALUES (1, 2)",
    "INSERT INTO wrong (id, n) VALUES (1)",
    "INSERT INTO wrong VALUES ('a')",
    "INSERT INTO wrong (id, b) VALUES (1, 5)",
    "INSERT INTO wrong (id) VALUES (NULL)",
    "INSERT INTO nobody VALUES (1)",
    "INSERT INTO wrong (id) SELECT t FROM wrong",
    "INSERT INTO wrong (id) VALUES (1) RETURNING nope",
    "INSERT INTO wrong (id) VALUES (1) ON CONFLICT (n) DO NOTHING",
    "INSERT INTO wrong_view VALUES (1, 2, 3)",
    "UPDATE wrong SET nope = 1",
    "UPDATE wrong SET n = 1, n = 2",
    "UPDATE wrong SET n = t",
    "UPDATE wrong SET n = 'a'",
    "UPDATE wrong SET n = count(*)",
    "UPDATE nobody SET n = 1",
    "UPDATE wrong SET n = 1 WHERE nope = 2",
    "UPDATE wrong SET n = 1 RETURNING nope",
    "DELETE FROM nobody",
    "DELETE FROM wrong WHERE nope = 1",
    "DELETE FROM wrong WHERE n",
    "DELETE FROM wrong USING nobody WHERE true",
    "TRUNCATE nobody",
    # schema
    "CREATE TABLE wrong (id int)",
    "CREATE TABLE broken (id nothing)",
    "CREATE TABLE broken (id int, id int)",
    "CREATE TABLE broken (id int, PRIMARY KEY (nope))",
    "CREATE TABLE nowhere.broken (id int)",
    "CREATE VIEW broken AS SELECT nope FROM wrong",
    "CREATE SEQUENCE wrong_seq",
    "DROP TABLE nobody",
    "DROP VIEW wrong",
    "DROP TABLE wrong_view",
    "ALTER TABLE nobody ADD COLUMN a int",
    "ALTER TABLE wrong ADD COLUMN n int",
    "ALTER TABLE wrong DROP COLUMN nope",
    "ALTER TABLE wrong RENAME nope TO n2",
    "DROP SEQUENCE nobody",
    "COMMENT ON TABLE nobody IS 'x'",
    # sessions
    "SET nothing = 1",
    "SHOW nothing",
    "SET work_mem = 'much'",
    "SET TimeZone = 'Moon/Base'",
    "EXECUTE nobody",
    "DEALLOCATE nobody",
    "CLOSE nobody",
    "FETCH 1 FROM nobody",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "DECLARE c CURSOR FOR SELECT 1",
    "LISTEN",
    # parameters
    "SELECT $1",
    "SELECT id FROM wrong WHERE id = $2",
    "SELECT $1 + 1",
    "COPY (SELECT $1) TO STDOUT",
    "COPY nobody TO STDOUT",
    "COPY wrong (nope) TO STDOUT",
    "COPY wrong FROM STDIN (FORMAT nothing)",
    "PREPARE p AS SELECT nope FROM wrong",
]


# The code is the same; we tell a place where PostgreSQL does not, or none where it does.
OTHER_PLACE: dict[LiteralString, str] = {
    "SELECT * FROM wrong w JOIN wrong w ON true": "the second name",
    "SELECT 'nobody'::regclass": "names of the catalog are looked up when a statement runs",
    "SELECT id FROM wrong WHERE id IN (SELECT id, n FROM wrong)": "the operand",
    "INSERT INTO wrong VALUES ('a')": "constants of VALUES are read when the statement runs",
    "UPDATE wrong SET n = count(*)": "of what DML makes of a statement",
    "CREATE TABLE broken (id int, PRIMARY KEY (nope))": "DDL",
    "CREATE TABLE nowhere.broken (id int)": "DDL",
    "COPY wrong FROM STDIN (FORMAT nothing)": "options",
}
# Views are not written to, whatever is wrong besides.
OTHER_CODE: dict[LiteralString, str] = {"INSERT INTO wrong_view VALUES (1, 2, 3)": "0A000"}


@pytest.fixture(scope="module")
def both(server: Server, postgres: Connection) -> Iterator[tuple[Connection, Connection]]:
    with server.connect() as connection:
        for each in (connection, postgres):
            for statement in TABLES:
                each.execute(statement, prepare=False)
        yield connection, postgres
        for each in (connection, postgres):
            for statement in DROPS:
                each.execute(statement, prepare=False)


def told(connection: Connection, statement: LiteralString) -> tuple[str | None, str | None]:
    """SQLSTATE and position, as a simple query's error tells them."""
    result = connection.pgconn.exec_(statement.encode())
    state, position = (
        result.error_field(psycopg.pq.DiagnosticField.SQLSTATE),
        result.error_field(psycopg.pq.DiagnosticField.STATEMENT_POSITION),
    )
    if connection.pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        connection.pgconn.exec_(b"ROLLBACK")
    return (state.decode() if state else None, position.decode() if position else None)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_an_error_has_the_code_and_the_place_of_postgresql(
    both: tuple[Connection, Connection], statement: LiteralString
) -> None:
    ours, theirs = told(both[0], statement), told(both[1], statement)
    if statement in OTHER_CODE:
        assert ours[0] == OTHER_CODE[statement]
    elif statement in OTHER_PLACE:
        assert ours[0] == theirs[0]
        assert ours != theirs
    else:
        assert ours == theirs
