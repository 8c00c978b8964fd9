"""Messages in any order: each Sync and each Query is answered once, and the session stays usable."""

from __future__ import annotations

import psycopg
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.session.conftest import Server
from tests.session.raw import FLUSH, SYNC, bind, close, describe, execute, parse, query

TEXTS = [
    "SELECT g FROM generate_series(1, 3) AS t(g)",
    "SELECT $1::int",
    "INSERT INTO any_order (v) VALUES ($1)",
    "INSERT INTO any_order (v) SELECT v + 1 FROM any_order RETURNING v",
    "UPDATE any_order SET v = v + 1 WHERE v < 2",
    "DELETE FROM any_order WHERE time > now() - interval '1 hour'",
    "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT s", "ROLLBACK TO s", "RELEASE s", "ROLLBACK AND CHAIN",
    "SET application_name = 'a'", "SHOW application_name", "RESET ALL", "DISCARD ALL", "DEALLOCATE ALL",
    "DECLARE c CURSOR FOR SELECT 1", "FETCH c", "MOVE ALL c", "CLOSE c", "CLOSE ALL", "PREPARE n AS SELECT 2",
    "EXECUTE n",
    "SELECT nope", "SELEC", "", "TRUNCATE any_order", "SELECT 1 / 0",
]  # fmt: skip
NAMES = st.sampled_from(["", "n", "c"])
MESSAGES = st.one_of(
    st.builds(query, st.sampled_from([*TEXTS, "SELECT 1; SELECT 2", "BEGIN; SELECT 1"])),
    st.builds(lambda text, name: parse(text, name), st.sampled_from(TEXTS), NAMES),
    st.builds(lambda values, portal, name: bind(values, portal=portal, statement=name),
              st.sampled_from([(), (b"1",), (None,), (b"x",)]), NAMES, NAMES),
    st.builds(describe, st.sampled_from("SP"), NAMES),
    st.builds(execute, NAMES, st.integers(0, 2)),
    st.builds(close, st.sampled_from("SP"), NAMES),
    st.sampled_from([SYNC, SYNC, FLUSH]),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(MESSAGES, max_size=25))
def test_every_sync_and_every_query_is_answered_once(server: Server, messages: list[bytes]) -> None:
    with server.connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS any_order (time timestamptz, v int)")
    with server.raw() as raw:
        raw.send(*messages, SYNC)
        # A Query after an error of the extended protocol is skipped with everything else up to Sync.
        syncs = sum(1 for each in messages if each == SYNC) + 1
        queries = sum(1 for each in messages if each[:1] == b"Q")
        raw.send(query("SHOW server_encoding"))
        ready, shown = 0, ""
        while shown != "DataRow UTF8" and not ("25P02" in shown and ready >= syncs):
            (shown,) = raw.read(1)
            ready += shown.startswith("ReadyForQuery")
            assert "XX000" not in shown
        assert syncs <= ready <= syncs + queries
        raw.read(1)


def test_the_table_of_the_property_goes(connection: psycopg.Connection) -> None:
    connection.execute("DROP TABLE IF EXISTS any_order")
