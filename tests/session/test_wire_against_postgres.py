"""The same bytes to a real PostgreSQL and to us: the same messages come back, with the same contents.

Left out: ParameterStatus and BackendKeyData, numbers of tables in row descriptions, and of errors all but severity,
code, message and position. What differs and has no script: an unsupported format code is refused at Bind, constants
are computed at Execute (PostgreSQL: at Bind), and a binary value that is too short is told with its type.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from tests.fixtures.postgres import Connection
from tests.session.conftest import Server
from tests.session.raw import FLUSH, SYNC, RawClient, bind, close, cstring, describe, execute, message, parse, query

SETUP = """
DROP TABLE IF EXISTS wired;
CREATE TABLE wired (id int PRIMARY KEY, x float8, t varchar(10), n numeric(8,2), ts timestamptz, b bool);
INSERT INTO wired VALUES (1, 1.5, 'one', 1.50, '2026-01-01 00:00:00+00', true), (2, NULL, 'two', NULL, NULL, false),
                         (3, -0.1, NULL, 12345.67, '1999-12-31 23:59:59.123456+00', NULL);
"""
ALL = "SELECT * FROM wired ORDER BY id"
INT4, INT8, TEXT, FLOAT8, BOOL = 23, 20, 25, 701, 16


def whole(sql: str, *values: bytes | None, results: tuple[int, ...] = (), rows: int = 0) -> bytes:
    return parse(sql) + bind(values, results=results) + describe("P") + execute(rows=rows) + SYNC


def copy_data(octets: bytes) -> bytes:
    return message(b"d", octets)


COPY_DONE = message(b"c")
# Name → what is sent, step by step; each step is answered up to as many ReadyForQuery as it has Query and Sync.
SCRIPTS: dict[str, list[bytes]] = {
    # simple
    "empty": [query(""), query(";"), query(" -- nothing")],
    "select": [query(ALL), query("SELECT 1 AS one, 'x'::text, NULL, 1.50, now() IS NULL")],
    "types": [query("SELECT 1::int2, 2::int8, 1.5::float4, 'a'::bpchar(3), 'v'::varchar(5), 1.5::numeric(6,3), "
                    "'{1,2}'::int[], '1 day'::interval, '2026-01-01'::date, '10:00'::time, '\\x00ff'::bytea, "
                    "'00000000-0000-0000-0000-000000000001'::uuid, '{\"a\": 1}'::jsonb")],
    "no rows": [query("SELECT id FROM wired WHERE false")],
    "several": [query("SELECT 1; SELECT 2; SELECT 3")],
    "several, the middle fails": [query("SELECT 1; SELECT 1/0; SELECT 3"), query("SELECT 4")],
    "several are one transaction": [
        query("INSERT INTO wired (id) VALUES (10); SELECT 1/0"), query("SELECT count(*) FROM wired"),
    ],
    "several with begin": [
        query("BEGIN; INSERT INTO wired (id) VALUES (11)"), query("SELECT count(*) FROM wired"),
        query("ROLLBACK; SELECT count(*) FROM wired"),
    ],
    "a failed block": [query("BEGIN"), query("SELECT nope"), query("SELECT 1"), query("COMMIT"), query("SELECT 1")],
    "savepoints": [
        query("BEGIN"), query("SAVEPOINT a"), query("SELECT 1/0"), query("SELECT 1"), query("ROLLBACK TO a"),
        query("SELECT 1"), query("RELEASE a"), query("COMMIT"),
    ],
    "warnings": [query("COMMIT"), query("ROLLBACK"), query("BEGIN"), query("BEGIN"), query("END")],
    "tags": [
        query("INSERT INTO wired (id) VALUES (20), (21)"), query("UPDATE wired SET x = 1 WHERE id > 19"),
        query("INSERT INTO wired (id, t) VALUES (22, 'x') RETURNING *, id + 1, t AS u"),
        query("UPDATE wired SET t = 'y', n = 2 WHERE id = 22 RETURNING *, n AS m"),
        query("DELETE FROM wired WHERE id > 19 RETURNING id, t"), query("DELETE FROM wired WHERE id = 99"),
    ],
    "session statements": [
        query("SET application_name = 'me'"), query("SHOW application_name"), query("RESET application_name"),
        query("DISCARD ALL"), query("LISTEN x"), query("UNLISTEN *"), query("SET nothing.at_all = 'x'"),
    ],
    "sql prepared": [
        query("PREPARE p (int) AS SELECT id, t FROM wired WHERE id = $1"), query("EXECUTE p (2)"), query("EXECUTE p"),
        query("EXECUTE p (1, 2)"), query("DEALLOCATE p"), query("EXECUTE p (1)"),
    ],
    "one that executes itself": [
        parse("EXECUTE n", "n") + SYNC, query("EXECUTE n"), query("SELECT 1"),
        bind(statement="n") + execute() + SYNC, parse("EXECUTE b", "a") + parse("EXECUTE a", "b") + SYNC,
        query("BEGIN"), query("EXECUTE b"), query("ROLLBACK"),
    ],
    "one that executes itself, described": [parse("EXECUTE n", "n") + describe("S", "n") + SYNC],
    "executed by way of others": [
        parse("SELECT 1 AS one", "a") + parse("EXECUTE a", "b") + parse("EXECUTE b", "c") + describe("S", "c") + SYNC,
        query("EXECUTE b"), query("EXECUTE c; EXECUTE a"), query("DEALLOCATE a"), query("EXECUTE c"),
    ],
    "a cursor that fetches from itself": [
        query("BEGIN"), parse("FETCH c", "s") + bind(portal="c", statement="s") + execute("c") + SYNC,
        query("ROLLBACK"),
    ],
    "cursors": [
        query("BEGIN"), query(f"DECLARE c CURSOR FOR {ALL}"), query("FETCH 2 FROM c"), query("FETCH c"),
        query("FETCH c"), query("MOVE 1 FROM c"), query("CLOSE c"), query("FETCH c"), query("ROLLBACK"),
    ],
    "scroll cursors": [
        query("BEGIN"), query("DECLARE c SCROLL CURSOR FOR SELECT id FROM wired ORDER BY id"), query("FETCH LAST c"),
        query("FETCH PRIOR c"), query("FETCH FIRST c"), query("FETCH BACKWARD 5 c"), query("MOVE FORWARD ALL IN c"),
        query("FETCH ABSOLUTE 2 c"), query("COMMIT"),
    ],
    "cursors with hold": [
        query("BEGIN"), query("DECLARE h CURSOR WITH HOLD FOR SELECT id FROM wired ORDER BY id"), query("COMMIT"),
        query("FETCH ALL h"), query("CLOSE h"), query("CLOSE h"),
    ],
    "a binary cursor": [
        query("BEGIN; DECLARE c BINARY CURSOR FOR SELECT id, x, t FROM wired ORDER BY id"), query("FETCH ALL c"),
        query("END"),
    ],
    # extended
    "extended": [whole(ALL), whole("SELECT $1::int + 1", b"41"), whole("SELECT $1::text", None)],
    "binary results": [whole(ALL, results=(1,)), whole("SELECT 1, 'a'::text, 2.5::float8", results=(1, 0, 1))],
    "wrong number of formats": [whole("SELECT 1, 2, 3", results=(1, 0))],
    "binary parameters": [
        parse("SELECT $1, $2", "", (INT4, TEXT))
        + bind((struct.pack("!i", 7), b"seven"), formats=(1, 0)) + describe("P") + execute() + SYNC,
    ],
    "too few and too many parameters": [
        parse("SELECT $1::int") + bind(()) + execute() + SYNC,
        parse("SELECT $1::int") + bind((b"1", b"2")) + execute() + SYNC,
    ],
    "a bad parameter": [parse("SELECT $1::int") + bind((b"x",)) + execute() + SYNC],
    "describe": [
        parse("SELECT id, t FROM wired WHERE id = $1 AND t = $2", "s") + describe("S", "s") + SYNC,
        parse("INSERT INTO wired VALUES ($1, $2, $3, $4, $5, $6)", "i") + describe("S", "i") + SYNC,
        parse("UPDATE wired SET x = $1 WHERE id = $2 RETURNING x", "u") + describe("S", "u") + SYNC,
        parse("SET application_name = 'x'", "set") + describe("S", "set") + SYNC,
        parse("", "nothing") + describe("S", "nothing") + SYNC,
        parse("SHOW TimeZone", "show") + describe("S", "show") + SYNC,
        parse("BEGIN", "begin") + describe("S", "begin") + SYNC,
        describe("S", "nobody") + SYNC, describe("P", "nobody") + SYNC,
    ],
    "named statements": [
        parse("SELECT 1", "s") + SYNC, parse("SELECT 2", "s") + SYNC,
        bind(statement="s") + execute() + SYNC, close("S", "s") + SYNC, bind(statement="s") + SYNC,
        close("S", "s") + SYNC,
    ],
    "the unnamed statement": [
        parse("SELECT 1") + parse("SELECT 2") + bind() + execute() + SYNC, bind() + execute() + SYNC,
        query("SELECT 3") + bind() + execute() + SYNC,
    ],
    "several in one statement": [parse("SELECT 1; SELECT 2") + SYNC],
    "limits and suspended portals": [
        parse(ALL) + bind(portal="c") + execute("c", 2) + execute("c", 2) + execute("c", 2) + SYNC,
        parse(ALL) + bind() + execute(rows=3) + execute() + SYNC,
        execute("c", 1) + SYNC,
    ],
    "portals live to the end of the transaction": [
        query("BEGIN"), parse(ALL) + bind(portal="c") + execute("c", 1) + SYNC, execute("c", 1) + SYNC,
        close("P", "c") + SYNC, execute("c", 1) + SYNC, query("ROLLBACK"),
    ],
    "portals by name": [
        query("BEGIN"), parse("SELECT 1") + bind(portal="c") + SYNC, parse("SELECT 1") + bind(portal="c") + SYNC,
        query("ROLLBACK"),
    ],
    "a portal is a cursor": [
        query("BEGIN"), parse(ALL) + bind(portal="c") + execute("c", 1) + SYNC, query("FETCH 1 FROM c"), query("END"),
    ],
    "a cursor is a portal": [
        query(f"BEGIN; DECLARE c CURSOR FOR {ALL}"), describe("P", "c") + SYNC, execute("c", 2) + SYNC, query("END"),
    ],
    "an error skips to sync": [
        parse("SELECT nope") + bind() + describe("P") + execute() + parse("SELECT 1") + SYNC, whole("SELECT 2"),
        parse("SELECT 1/(SELECT $1::int)") + bind((b"0",)) + execute() + bind((b"1",)) + execute() + SYNC,
    ],
    "a pipeline": [whole("SELECT 1") + whole("SELECT 1/(SELECT 0)") + whole("SELECT 3")],
    "a pipeline in one transaction": [
        parse("INSERT INTO wired (id) VALUES (30)") + bind() + execute()
        + parse("SELECT 1/(SELECT 0)") + bind() + execute() + SYNC, query("SELECT count(*) FROM wired"),
        parse("INSERT INTO wired (id) VALUES (31)") + bind() + execute()
        + parse("DELETE FROM wired WHERE id = 31") + bind() + execute() + SYNC,
    ],
    "begin in a pipeline": [
        parse("BEGIN") + bind() + execute() + parse("SELECT 1") + bind() + execute() + SYNC,
        parse("SELECT 1/(SELECT 0)") + bind() + execute() + SYNC, whole("SELECT 1"), whole("ROLLBACK"),
    ],
    "flush": [parse("SELECT 1") + FLUSH + bind() + FLUSH + execute() + FLUSH + SYNC],
    "nothing extended": [parse("") + bind() + describe("P") + execute() + SYNC, parse(" -- x") + bind() + SYNC],
    "utility extended": [
        whole("SHOW TimeZone"), whole("SET TimeZone = 'UTC'"), whole("BEGIN"), whole("COMMIT"), whole("DEALLOCATE ALL"),
    ],
    "modifications extended": [
        whole("INSERT INTO wired (id, t) VALUES ($1, $2)", b"40", b"forty"),
        whole("UPDATE wired SET t = $1 WHERE id = $2 RETURNING id, t", b"fourty", b"40"),
        whole("DELETE FROM wired WHERE id = $1", b"40"),
    ],
    "explain": [parse("EXPLAIN SELECT 1") + describe("S") + SYNC],
    # COPY
    "copy out": [
        query("COPY wired TO STDOUT"),
        query("COPY (SELECT id, t FROM wired ORDER BY id) TO STDOUT (FORMAT csv, HEADER)"),
        query("COPY (SELECT id FROM wired ORDER BY id) TO STDOUT (FORMAT binary)"), query("COPY nobody TO STDOUT"),
        query("SELECT 1; COPY (SELECT 2) TO STDOUT; SELECT 3"),
    ],
    "copy in": [
        query("COPY wired (id, t) FROM STDIN") + copy_data(b"50\tfifty\n") + copy_data(b"51\t\\N\n") + COPY_DONE,
        query("SELECT id, t FROM wired WHERE id >= 50 ORDER BY id"),
        query("COPY wired (id) FROM STDIN") + copy_data(b"52\nx\n") + COPY_DONE,
        query("COPY wired (id) FROM STDIN") + copy_data(b"53\n") + message(b"f", cstring("enough")),
        query("COPY wired (id, t) FROM STDIN (FORMAT csv)") + copy_data(b'60,"a,b"\n') + COPY_DONE,
        query("DELETE FROM wired WHERE id >= 50"),
    ],
    "copy extended": [
        parse("COPY (SELECT 1) TO STDOUT") + bind() + describe("P") + execute() + SYNC,
        parse("COPY wired (id) FROM STDIN") + bind() + execute() + copy_data(b"70\n") + COPY_DONE + SYNC,
        query("DELETE FROM wired WHERE id = 70"),
    ],
    "copy among others": [
        query("COPY wired (id) FROM STDIN; SELECT 5") + copy_data(b"80\n") + COPY_DONE,
        query("DELETE FROM wired WHERE id = 80"),
    ],
}  # fmt: skip


class Client(RawClient):
    """Shows all that is compared."""

    def _show(self, letter: bytes, body: bytes) -> str:
        if letter == b"T":
            return f"RowDescription {_columns(body)}"
        if letter in (b"d", b"G", b"H"):
            return f"{letter.decode()} {body!r}"
        if letter == b"V":
            return "FunctionCallResponse"
        return super()._show(letter, body)

    def __enter__(self) -> Client:
        return self

    def answers(self, step: bytes) -> list[str]:
        """What comes back for a step, up to its last ReadyForQuery."""
        self.send(step)
        left = _readies(step)
        shown: list[str] = []
        while left:
            shown.append(self._next())
            left -= shown[-1].startswith("ReadyForQuery")
        return [each for each in shown if not each.startswith("ParameterStatus")]


def _readies(step: bytes) -> int:
    """How many Query and Sync messages are in it."""
    count = at = 0
    while at < len(step):
        count += step[at : at + 1] in (b"Q", b"S")
        at += 1 + struct.unpack("!i", step[at + 1 : at + 5])[0]
    return count


def _columns(body: bytes) -> list[str]:
    """Name, type, length, modifier and format of each column, and whether it is a table's."""
    shown: list[str] = []
    at = 2
    for _ in range(struct.unpack("!h", body[:2])[0]):
        end = body.index(b"\0", at)
        table, number, oid, length, typmod, code = struct.unpack("!IhIhih", body[end + 1 : end + 19])
        shown.append(f"{body[at:end].decode()} {oid} {length} {typmod} {code} {bool(table)} {number}")
        at = end + 19
    return shown


@pytest.fixture(scope="module")
def both(server: Server, postgres: Connection) -> Iterator[tuple[Client, Client]]:
    with (
        Client("127.0.0.1", server.port, "tsdb", {}) as ours,
        Client("127.0.0.1", postgres.info.port, "postgres", {"user": "tsdb"}) as theirs,
    ):
        yield ours, theirs
        for each in (ours, theirs):
            each.simple("DROP TABLE wired")


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_same_bytes_have_the_same_answers(both: tuple[Client, Client], name: str) -> None:
    ours, theirs = both
    for each in both:
        each.simple("SET client_min_messages = error")
        each.simple(SETUP)
        each.simple("RESET ALL")
        each.simple("DEALLOCATE ALL")
    for step in SCRIPTS[name]:
        assert ours.answers(step) == theirs.answers(step), step
