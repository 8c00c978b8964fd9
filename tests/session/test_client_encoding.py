"""Texts come and go in the client's encoding: byte for byte what PostgreSQL takes and sends."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import pq

from tests.fixtures.postgres import Connection
from tests.session.conftest import Server
from tsdb import encodings

Answer = tuple[object, ...]


def _answer(result: pq.abc.PGresult) -> Answer:
    if result.status == pq.ExecStatus.FATAL_ERROR:
        fields = (pq.DiagnosticField.SQLSTATE, pq.DiagnosticField.MESSAGE_PRIMARY)
        return tuple(result.error_field(field) for field in fields)
    columns = [(result.fname(i), result.ftype(i)) for i in range(result.nfields)]
    rows = [[result.get_value(r, c) for c in range(result.nfields)] for r in range(result.ntuples)]
    return (result.command_status, columns, rows)


def _both(
    ours: psycopg.Connection, theirs: Connection, sql: bytes, *values: bytes | None, binary: bool = False
) -> Answer:
    answers = [
        _answer(
            c.pgconn.exec_params(sql, values, result_format=int(binary)) if values or binary else c.pgconn.exec_(sql)
        )
        for c in (ours, theirs)
    ]
    assert answers[0] == answers[1], sql
    return answers[0]


@pytest.fixture
def theirs(postgres: Connection) -> Iterator[Connection]:
    connection: Connection
    with psycopg.connect(postgres.info.dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def ours(server: Server) -> Iterator[psycopg.Connection]:
    with server.connect() as connection:
        yield connection


QUERIES = [
    b"SELECT 'caf\xe9', '\xfc'::text AS \"\xe4\", length('caf\xe9')",
    b"SELECT '\xe9' = chr(233), convert_from('\\xc3a9', 'UTF8')",
    b"SELECT ARRAY['\xe9', NULL, 'a', '\"\xe0'], row('\xe9', 1), '{\"a\": \"\xe9\"}'::jsonb, 'x'::name",
    b"SELECT x FROM (VALUES ('\xe9'), (NULL), (''), ('plain')) v(x)",
    b"SELECT chr(8364)",
    b'SELECT "\xe9"',
    b"SELECT '\xe9'::int",
    b"SELECT 1 AS \"\xe9\" WHERE '\xe9' LIKE '_'",
    b"SHOW client_encoding",
    b"SELECT pg_client_encoding()",
]


@pytest.mark.postgres
@pytest.mark.parametrize("encoding", ["LATIN1", "latin9", "WIN1252", "iso-8859-2", "koi8", "SQL_ASCII"])
def test_texts_are_those_of_postgres(encoding: str, ours: psycopg.Connection, theirs: Connection) -> None:
    _both(ours, theirs, f"SET client_encoding = '{encoding}'".encode())
    for query in QUERIES:
        if encoding != "SQL_ASCII" or query.isascii():
            _both(ours, theirs, query)
    _both(ours, theirs, b"SET client_encoding = 'UTF8'")
    _both(ours, theirs, "SELECT 'é€'".encode())


@pytest.mark.postgres
def test_values_in_both_formats_both_ways(ours: psycopg.Connection, theirs: Connection) -> None:
    _both(ours, theirs, b"SET client_encoding TO LATIN1")
    for binary in (False, True):
        _both(ours, theirs, b"SELECT $1::text, length($1::varchar), $2::jsonb", b"\xe9", b'{"\xe9": 1}', binary=binary)
        _both(ours, theirs, b"SELECT $1::text[]", b'{"\xe9",b}', binary=binary)
    given = [(25, b"\xe9\xff"), (3802, b'\x01{"\xe9": 1}')]
    for oid, value in given:
        answers = [
            _answer(c.pgconn.exec_params(b"SELECT $1", [value], [oid], [pq.Format.BINARY])) for c in (ours, theirs)
        ]
        assert answers[0] == answers[1], oid


def test_a_setting_that_is_rolled_back_is_not_used(ours: psycopg.Connection) -> None:
    execute = ours.pgconn.exec_
    execute(b"BEGIN")
    execute(b"SET client_encoding = LATIN1")
    assert execute(b"SELECT '\xe9'").get_value(0, 0) == b"\xe9"
    assert ours.pgconn.parameter_status(b"client_encoding") == b"LATIN1"
    execute(b"ROLLBACK")
    assert ours.pgconn.parameter_status(b"client_encoding") == b"UTF8"
    assert execute("SELECT 'é'".encode()).get_value(0, 0) == "é".encode()


def test_it_may_be_asked_for_at_the_start(server: Server) -> None:
    with psycopg.connect(server.dsn(), client_encoding="WIN1252", autocommit=True) as connection:
        assert connection.info.encoding == "cp1252"
        assert connection.execute("SELECT '€', %s", ("œ",)).fetchall() == [("€", "œ")]
        with pytest.raises(psycopg.errors.UntranslatableCharacter, match="0xe4 0xb8 0xad"):
            connection.execute("SELECT chr(20013)")
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_what_is_not_had_is_refused(ours: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        ours.execute("SET client_encoding = 'SJIS'")
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        ours.execute("SET client_encoding = 'nothing'")


def test_copy_takes_the_clients_encoding_unless_told_otherwise(server: Server) -> None:
    with server.connect() as connection:
        connection.execute("CREATE TABLE encoded (id int PRIMARY KEY, name text)")
        connection.execute("SET client_encoding = LATIN1")
        with connection.cursor() as cursor, cursor.copy("COPY encoded FROM STDIN") as copy:
            copy.write(b"1\t\xe9\n")
        with connection.cursor() as cursor, cursor.copy("COPY encoded FROM STDIN (ENCODING 'UTF8')") as copy:
            copy.write("2\tü\n".encode())
        with connection.cursor() as cursor, cursor.copy("COPY encoded TO STDOUT") as out:
            assert b"".join(bytes(piece) for piece in out) == b"1\t\xe9\n2\t\xfc\n"
        with connection.cursor() as cursor, cursor.copy("COPY encoded TO STDOUT (FORMAT binary)") as out:
            assert b"\x00\x00\x00\x01\xe9" in b"".join(bytes(piece) for piece in out)
        connection.execute("DROP TABLE encoded")


def test_every_encoding_has_one_byte_a_character_and_holds_ascii() -> None:
    """What the conversion of whole columns rests on."""
    ascii_text = "".join(map(chr, range(128)))
    names = {encodings.name_of(n) for n in ("LATIN1", "latin10", "ISO 8859-8", "win-1258", "KOI8U", "alt", "WIN874")}
    assert None not in names
    for name in names:
        assert name is not None
        codec = encodings.codec_of(name)
        assert ascii_text.encode(codec) == ascii_text.encode()
        for octet in range(128, 256):
            try:
                assert len(bytes([octet]).decode(codec)) == 1
            except UnicodeDecodeError:
                continue
