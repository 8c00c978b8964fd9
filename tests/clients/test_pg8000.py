"""pg8000: the extended protocol with texts of unspecified type."""

from __future__ import annotations

import pg8000.dbapi
import pg8000.exceptions
import pg8000.native
import pytest

from tests.clients.values import INSTANT
from tests.session.conftest import Server


def test_values_transactions_and_executemany(server: Server) -> None:
    client = pg8000.dbapi.connect(host="127.0.0.1", port=server.port, user="tester", database="tsdb")
    try:
        cursor = client.cursor()
        cursor.execute("SELECT %s, %s::int, %s::float8, %s::timestamptz, %s::bytea", ("a", 1, 1.5, INSTANT, b"\0"))
        assert list(cursor.fetchone()) == ["a", 1, 1.5, INSTANT, b"\0"]
        cursor.execute("DROP TABLE IF EXISTS pg8")
        cursor.execute("CREATE TABLE pg8 (time timestamptz, host text TAG, n int8)")
        client.commit()
        cursor.executemany("INSERT INTO pg8 VALUES (%s, %s, %s)", [(INSTANT, "p", i) for i in range(3)])
        cursor.execute("SELECT count(*), sum(n)::int8 FROM pg8 WHERE host = %s", ("p",))
        assert list(cursor.fetchone()) == [3, 3]
        client.rollback()
        cursor.execute("SELECT count(*) FROM pg8")
        assert list(cursor.fetchone()) == [0]
    finally:
        client.close()


def test_prepared_statements_and_errors(server: Server) -> None:
    client = pg8000.native.Connection("tester", host="127.0.0.1", port=server.port, database="tsdb")
    try:
        statement = client.prepare("SELECT :x::int + 1")
        assert [statement.run(x=x) for x in (4, 5)] == [[[5]], [[6]]]
        statement.close()
        with pytest.raises(pg8000.exceptions.DatabaseError) as caught:
            client.run("SELECT nope")
        assert caught.value.args[0]["C"] == "42703"
        client.run("DROP TABLE IF EXISTS nowhere")
        assert [notice[b"M"] for notice in client.notices] == [b'table "nowhere" does not exist, skipping']
    finally:
        client.close()
