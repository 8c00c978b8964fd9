"""psycopg2: simple queries with literals made by the client."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extras
import pytest

from tests.clients.values import INSTANT
from tests.session.conftest import Server


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    connection = psycopg2.connect(
        host="127.0.0.1", port=server.port, user="tester", dbname="tsdb", sslmode="disable",
        options="-c statement_timeout=20s -c application_name=old\\ client",
    )  # fmt: skip
    yield connection
    connection.close()


def test_values_go_and_come_back(client: Any) -> None:
    psycopg2.extras.register_uuid()
    cursor = client.cursor()
    values = (1, "a'b\\", INSTANT, Decimal("1.50"), [1, 2], True, None, uuid.UUID(int=1))
    cursor.execute("SELECT %s, %s, %s, %s, %s, %s, %s, %s", values)
    assert cursor.fetchone() == values
    cursor.execute("SELECT %s, %s::jsonb", (b"\0a", psycopg2.extras.Json({"a": 1})))
    octets, json = cursor.fetchone()
    assert (bytes(octets), json) == (b"\0a", {"a": 1})


def test_options_of_the_startup_packet_hold(client: Any) -> None:
    cursor = client.cursor()
    cursor.execute("SELECT current_setting('statement_timeout'), current_setting('application_name')")
    assert cursor.fetchone() == ("20s", "old client")


def test_batches_and_rollback(client: Any) -> None:
    cursor = client.cursor()
    cursor.execute("DROP TABLE IF EXISTS pg2; CREATE TABLE pg2 (time timestamptz, host text TAG, n int8)")
    client.commit()
    psycopg2.extras.execute_values(cursor, "INSERT INTO pg2 VALUES %s", [(INSTANT, "a", i) for i in range(10)])
    psycopg2.extras.execute_batch(cursor, "INSERT INTO pg2 VALUES (%s, %s, %s)", [(INSTANT, "b", i) for i in range(10)])
    cursor.execute("SELECT count(*) FROM pg2")
    assert cursor.fetchone() == (20,)
    client.rollback()
    cursor.execute("SELECT count(*) FROM pg2")
    assert cursor.fetchone() == (0,)


def test_a_read_only_serializable_session(client: Any) -> None:
    client.set_session(isolation_level="SERIALIZABLE", readonly=True)
    cursor = client.cursor()
    cursor.execute("SHOW transaction_isolation")
    assert cursor.fetchone() == ("serializable",)
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        cursor.execute("CREATE TABLE never (time timestamptz)")


def test_named_and_scrolling_cursors(client: Any) -> None:
    with client.cursor("many") as cursor:
        cursor.itersize = 3
        cursor.execute("SELECT g FROM generate_series(1, 10) AS t(g)")
        assert [value for (value,) in cursor] == list(range(1, 11))
    with client.cursor("back", scrollable=True) as cursor:
        cursor.execute("SELECT g FROM generate_series(1, 10) AS t(g) ORDER BY g")
        cursor.fetchmany(5)
        cursor.scroll(-2)
        assert cursor.fetchone() == (4,)
        cursor.scroll(0, mode="absolute")
        assert cursor.fetchone() == (1,)


def test_notifications_notices_and_rows_as_dictionaries(client: Any) -> None:
    client.set_session(autocommit=True)
    client.set_client_encoding("UTF8")
    cursor = client.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
    cursor.execute("LISTEN pg2_news")
    cursor.execute("NOTIFY pg2_news, 'x'")
    client.poll()
    assert [(each.channel, each.payload) for each in client.notifies] == [("pg2_news", "x")]
    cursor.execute("DROP TABLE IF EXISTS nowhere")
    assert client.notices[-1] == 'NOTICE:  table "nowhere" does not exist, skipping\n'
    cursor.execute("SELECT 1 AS a")
    assert dict(cursor.fetchone()) == {"a": 1}
