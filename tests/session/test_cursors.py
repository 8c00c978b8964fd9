"""Cursors: where FETCH and MOVE go, compared with PostgreSQL; what outlives a transaction; what is refused."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import errors

from tests.session.conftest import Server
from tests.session.raw import SYNC, RawClient, bind, execute, parse

COUNTS = st.integers(-7, 7)
WORDS = ["ABSOLUTE", "RELATIVE", "FORWARD", "BACKWARD", ""]
MOTIONS = st.one_of(
    st.sampled_from(["NEXT", "PRIOR", "FIRST", "LAST", "ALL", "FORWARD", "BACKWARD", "FORWARD ALL", "BACKWARD ALL"]),
    st.builds(lambda word, n: f"{word} {n}", st.sampled_from(WORDS), COUNTS),
)  # fmt: skip
STEPS = st.lists(st.tuples(st.sampled_from(["FETCH", "MOVE"]), MOTIONS), min_size=1, max_size=8)
QUERY = "SELECT g FROM generate_series(1, 5) AS t(g) ORDER BY g"


def walk(connection: psycopg.Connection[tuple[object, ...]], kind: str, steps: list[tuple[str, str]]) -> list[object]:
    """What each step gives: its tag and its rows, or its error, which ends the walk."""
    seen: list[object] = []
    connection.execute("BEGIN")
    try:
        connection.execute(f"DECLARE w {kind} CURSOR FOR {QUERY}")
        for verb, motion in steps:
            done = connection.execute(f"{verb} {motion} FROM w")
            seen.append((done.statusmessage, done.fetchall() if verb == "FETCH" else None))
    except psycopg.Error as error:
        seen.append((error.sqlstate, error.diag.message_primary))
    finally:
        connection.execute("ROLLBACK")
    return seen


@pytest.mark.postgres
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_a_scroll_cursor_goes_where_postgresqls_goes(
    connection: psycopg.Connection, postgres: psycopg.Connection, steps: list[tuple[str, str]]
) -> None:
    assert walk(connection, "SCROLL", steps) == walk(postgres, "SCROLL", steps)


@pytest.mark.postgres
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_a_forward_cursor_goes_where_postgresqls_goes_or_refuses(
    connection: psycopg.Connection, postgres: psycopg.Connection, steps: list[tuple[str, str]]
) -> None:
    theirs = walk(postgres, "NO SCROLL", steps)
    ours = walk(connection, "NO SCROLL", steps)
    refused = [("55000", "cursor can only scan forward")]
    # PostgreSQL starts again from the first row where that needs no step back; here that is refused.
    assert ours == theirs or (ours[-1:] == refused and ours[:-1] == theirs[: len(ours) - 1])


def test_a_held_cursor_outlives_its_transaction(connection: psycopg.Connection) -> None:
    with connection.transaction():
        connection.execute(f"DECLARE held SCROLL CURSOR WITH HOLD FOR {QUERY}")
        assert connection.execute("FETCH 2 FROM held").fetchall() == [(1,), (2,)]
    assert connection.execute("FETCH 2 FROM held").fetchall() == [(3,), (4,)]
    assert connection.execute("FETCH PRIOR FROM held").fetchall() == [(3,)]
    found = connection.execute("SELECT name, is_holdable, is_scrollable, is_binary FROM pg_cursors")
    assert found.fetchall() == [("held", True, True, False)]
    connection.execute("CLOSE held")
    with pytest.raises(errors.InvalidCursorName):
        connection.execute("FETCH held")


def test_a_held_cursor_of_a_failed_transaction_is_gone(connection: psycopg.Connection) -> None:
    connection.execute(f"BEGIN; DECLARE h CURSOR WITH HOLD FOR {QUERY}; ROLLBACK")
    with pytest.raises(errors.InvalidCursorName):
        connection.execute("FETCH h")


def test_rolling_back_to_a_savepoint_closes_what_came_after_it(connection: psycopg.Connection) -> None:
    connection.execute(f"BEGIN; DECLARE a CURSOR FOR {QUERY}; SAVEPOINT s; DECLARE b CURSOR FOR {QUERY}")
    connection.execute("ROLLBACK TO s")
    assert connection.execute("FETCH a").fetchall() == [(1,)]
    with pytest.raises(errors.InvalidCursorName):
        connection.execute("FETCH b")
    connection.execute("ROLLBACK")


def test_a_binary_cursor_gives_binary_rows(raw: RawClient) -> None:
    shown = raw.simple("BEGIN; DECLARE b BINARY CURSOR FOR SELECT 258; FETCH b; COMMIT")
    assert "RowDescription ?column?:23/b" in shown
    assert "DataRow 00000102" in shown


def test_a_portal_that_bind_made_can_be_moved_and_fetched(raw: RawClient) -> None:
    raw.simple("BEGIN")
    raw.ask(parse(QUERY, "s"), bind(portal="p", statement="s"), SYNC)
    assert "CommandComplete MOVE 2" in raw.simple("MOVE 2 FROM p")
    assert "DataRow 3" in raw.simple("FETCH p")
    assert "DataRow 4" in raw.ask(execute("p", 1), SYNC)
    assert "DataRow 5" in raw.simple("FETCH p")
    raw.simple("COMMIT")


def test_what_a_scroll_cursor_keeps_is_bounded(server: Server) -> None:
    with server.connect() as connection:
        connection.execute("BEGIN")
        connection.execute(
            "DECLARE c SCROLL CURSOR FOR SELECT g, repeat('x', 99) FROM generate_series(1, 1000000) t(g)"
        )
        assert connection.execute("FETCH 1000 FROM c").fetchall()[-1][0] == 1000
        with pytest.raises(errors.ProgramLimitExceeded, match="SCROLL cursor keeps at most"):
            connection.execute("FETCH LAST FROM c")


def test_contradictions_are_refused(connection: psycopg.Connection) -> None:
    with pytest.raises(errors.InvalidCursorDefinition):
        connection.execute("DECLARE c SCROLL NO SCROLL CURSOR WITH HOLD FOR SELECT 1")
    with pytest.raises(errors.NoActiveSqlTransaction):
        connection.execute("DECLARE c CURSOR FOR SELECT 1")
