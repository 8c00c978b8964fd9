"""Sessions among each other: notifications, cancelling, terminating, pg_stat_activity, timeouts; set_config()."""

from __future__ import annotations

import threading
import time
from ipaddress import ip_address

import psycopg
import pytest
from psycopg import errors

from tests.session.conftest import Server
from tsdb.session.sessions import Activity


def heard(connection: psycopg.Connection, count: int = 1) -> list[tuple[str, str]]:
    """The next notifications, at most so many, within two seconds."""
    return [(n.channel, n.payload) for n in connection.notifies(timeout=30, stop_after=count)]


def silent(connection: psycopg.Connection) -> bool:
    return not list(connection.notifies(timeout=0.1))


def test_an_idle_session_hears_a_notification_at_once(server: Server, connection: psycopg.Connection) -> None:
    with server.connect() as other:
        other.execute("LISTEN news")
        connection.execute("NOTIFY news, 'hello'")
        assert heard(other) == [("news", "hello")]
        connection.execute("SELECT pg_notify('news', 'a' || 'b')")
        assert heard(other) == [("news", "ab")]
        found = list(other.notifies(timeout=0.1))
        other.execute("UNLISTEN news")
        connection.execute("NOTIFY news")
        assert found == []
        assert silent(other)


def test_notifications_wait_for_commit_and_come_once(server: Server, connection: psycopg.Connection) -> None:
    with server.connect() as other:
        other.execute("LISTEN a")
        with connection.transaction():
            connection.execute("NOTIFY a, '1'")
            connection.execute("NOTIFY a, '1'")
            connection.execute("SAVEPOINT s")
            connection.execute("NOTIFY a, 'undone'")
            connection.execute("ROLLBACK TO s")
            connection.execute("NOTIFY a, '2'")
            assert silent(other)
        assert heard(other, 2) == [("a", "1"), ("a", "2")]
        connection.execute("BEGIN; NOTIFY a, 'never'; ROLLBACK")
        assert silent(other)


def test_a_session_in_a_transaction_hears_after_it(server: Server, connection: psycopg.Connection) -> None:
    with server.connect() as other:
        other.execute("LISTEN late")
        other.execute("BEGIN")
        connection.execute("NOTIFY late")
        assert silent(other)
        other.execute("COMMIT")
        assert heard(other) == [("late", "")]


def test_a_session_hears_itself_and_other_databases_do_not(server: Server, connection: psycopg.Connection) -> None:
    with server.connect(database="postgres") as elsewhere:
        elsewhere.execute("LISTEN own")
        connection.execute("LISTEN own")
        connection.execute("NOTIFY own, 'me'")
        assert heard(connection) == [("own", "me")]
        assert silent(elsewhere)


def test_a_queue_of_notifications_is_bounded(server: Server, connection: psycopg.Connection) -> None:
    with server.connect() as other:
        other.execute("LISTEN much")
        other.execute("BEGIN")
        with pytest.raises(errors.ProgramLimitExceeded, match="too many notifications"):
            for i in range(1000):
                connection.execute("SELECT pg_notify('much', %s || repeat('x', 7900))", (str(i),))
        other.execute("COMMIT")
        assert len(heard(other, 100)) > 400
    with pytest.raises(errors.InvalidParameterValue, match="payload string too long"):
        connection.execute("SELECT pg_notify('much', repeat('x', 8000))")
    with pytest.raises(errors.InvalidParameterValue, match="channel name cannot be empty"):
        connection.execute("SELECT pg_notify('', 'x')")


def test_a_backend_is_cancelled_by_its_pid(server: Server, connection: psycopg.Connection) -> None:
    with server.connect() as other:
        caught: list[BaseException] = []

        def sleep() -> None:
            try:
                other.execute("SELECT pg_sleep(20)")
            except psycopg.Error as error:
                caught.append(error)

        thread = threading.Thread(target=sleep)
        thread.start()
        while connection.execute(
            "SELECT state FROM pg_stat_activity WHERE pid = %s", (other.info.backend_pid,)
        ).fetchone() != ("active",):
            time.sleep(0.01)
        started = time.monotonic()
        assert connection.execute("SELECT pg_cancel_backend(%s)", (other.info.backend_pid,)).fetchone() == (True,)
        thread.join(30)
        assert time.monotonic() - started < 10
        assert isinstance(caught[0], errors.QueryCanceled)
        assert other.execute("SELECT 1").fetchone() == (1,)


def test_backends_are_terminated_by_a_query(server: Server, connection: psycopg.Connection) -> None:
    other = server.connect()
    other.execute("SET application_name = 'victim'")
    found = connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'"
    ).fetchall()
    assert found == [(True,)]
    with pytest.raises(errors.AdminShutdown):
        other.execute("SELECT 1")
    notices: list[str | None] = []
    connection.add_notice_handler(lambda each: notices.append(each.message_primary))
    assert connection.execute("SELECT pg_terminate_backend(999999)").fetchone() == (False,)
    assert notices == ["PID 999999 is not a PostgreSQL server process"]


def test_what_sessions_do_is_seen(server: Server, connection: psycopg.Connection) -> None:
    with server.connect() as other:
        other.execute("BEGIN")
        other.execute("SELECT 'look'")
        text = (
            "SELECT datname, usename, state, query, client_addr, wait_event, xact_start <= now(), "
            "query_start <= now(), backend_start <= state_change FROM pg_stat_activity WHERE pid = %s"
        )
        assert connection.execute(text, (other.info.backend_pid,)).fetchone() == (
            "tsdb", "tester", "idle in transaction", "SELECT 'look'", ip_address("127.0.0.1"), "ClientRead",
            True, True, True,
        )  # fmt: skip
        other.execute("COMMIT")
        found = connection.execute(
            "SELECT state, xact_start FROM pg_stat_activity WHERE pid = %s", (other.info.backend_pid,)
        )
        assert found.fetchone() == ("idle", None)


@pytest.mark.parametrize(
    ("setting", "begin", "error"),
    [("idle_session_timeout", "", "57P05"), ("idle_in_transaction_session_timeout", "BEGIN", "25P03")],
)
def test_a_silent_client_is_sent_away(server: Server, setting: str, begin: str, error: str) -> None:
    with server.raw() as raw:
        raw.simple(f"SET {setting} = '100ms'")
        if begin:
            raw.simple(begin)
        assert error in raw.read(1)[0]


def test_set_config_is_set(connection: psycopg.Connection) -> None:
    found = connection.execute("SELECT current_setting('jit') AS cur, set_config('jit', 'off', false) AS new")
    assert found.fetchone() == ("on", "off")
    assert connection.execute("SHOW jit").fetchone() == ("off",)
    with connection.transaction():
        connection.execute("SELECT set_config('my.tenant', 'seven', true)")
        assert connection.execute("SELECT current_setting('my.tenant')").fetchone() == ("seven",)
    assert connection.execute("SELECT current_setting('my.tenant', true)").fetchone() == ("",)
    assert connection.execute("SELECT current_setting('my.other', true)").fetchone() == (None,)
    with pytest.raises(errors.UndefinedObject, match="unrecognized configuration parameter"):
        connection.execute("SELECT current_setting('my.other')")
    with pytest.raises(errors.InvalidParameterValue, match="work_mem"):
        connection.execute("SELECT set_config('work_mem', 'lots', false)")


def test_pg_settings_are_the_settings(connection: psycopg.Connection) -> None:
    connection.execute("SET work_mem = '8MB'")
    text = "SELECT setting, unit, source, boot_val, vartype, min_val FROM pg_settings WHERE name = 'work_mem'"
    assert connection.execute(text).fetchone() == ("8192", "kB", "session", "4096", "integer", "64")
    count = connection.execute("SELECT count(*) FROM pg_settings").fetchone()
    assert count is not None
    assert count[0] > 340
    assert len(connection.execute("SHOW ALL").fetchall()) == count[0]


def test_advisory_locks_are_granted_at_once(connection: psycopg.Connection) -> None:
    found = connection.execute(
        "SELECT pg_advisory_lock(1), pg_try_advisory_lock(1, 2), pg_advisory_unlock(1), pg_advisory_unlock_all()"
    )
    assert found.fetchone() == ("", True, True, "")
    assert [column.type_code for column in found.description or ()] == [2278, 16, 16, 2278]


def test_what_needs_a_block_or_none(connection: psycopg.Connection) -> None:
    with pytest.raises(errors.NoActiveSqlTransaction):
        connection.execute("LOCK TABLE x")
    with pytest.raises(errors.ActiveSqlTransaction), connection.transaction():
        connection.execute("VACUUM")
    assert connection.execute("VACUUM").statusmessage == "VACUUM"


@pytest.mark.parametrize("statement", [b"SELECT $2::int", b"EXPLAIN SELECT $2::int"])
def test_a_parameter_that_nothing_gives_a_type_cannot_be_prepared(server: Server, statement: bytes) -> None:
    with server.connect() as connection:
        result = connection.pgconn.prepare(b"", statement)
        assert result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"42P18"
        assert result.error_field(psycopg.pq.DiagnosticField.MESSAGE_PRIMARY) == (
            b"could not determine data type of parameter $1"
        )
        assert connection.pgconn.exec_(statement).error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"42P02"


def test_activities_are_those_of_one_moment(server: Server, connection: psycopg.Connection) -> None:
    """All columns are of the same sessions, though others come and go while a statement looks."""
    ending = threading.Event()
    number = server.sessions.next_number()

    def nothing() -> None:
        pass

    def come_and_go() -> None:
        while not ending.is_set():
            server.sessions.add(Activity(number, "guest", "tsdb", "", 0, lambda: "guest", nothing, nothing, int))
            server.sessions.remove(number)

    guest = threading.Thread(target=come_and_go)
    guest.start()
    try:
        for _ in range(100):
            seen = connection.execute("SELECT pid, usename, application_name FROM pg_stat_activity").fetchall()
            assert all((pid == number) == (user == "guest") == (name == "guest") for pid, user, name in seen)
    finally:
        ending.set()
        guest.join()
