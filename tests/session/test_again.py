"""A query whose node dies before it has given a row is run again, as a whole; one that has given rows is 57P01."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.session.conftest import Server
from tsdb.cluster.node import Node
from tsdb.errors import CannotConnectNow
from tsdb.model.store import Scan, ScanRequest

ROWS = 300_000


class Lossy:
    """A view of which scans fail: ``failures`` of them, each before its batch ``at``. ``passes``: another node may
    answer."""

    def __init__(self) -> None:
        self.failures = 0
        self.at = 0
        self.passes = True
        self.scans = 0
        self.refused: Callable[[], None] = lambda: None

    def error(self) -> CannotConnectNow:
        self.refused()
        made = CannotConnectNow("a node did not answer to its end")
        made.passes = self.passes
        return made


class LossyView:
    def __init__(self, view: Any, lossy: Lossy) -> None:
        self._view = view
        self._lossy = lossy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)

    def scan(self, request: ScanRequest) -> Scan:
        lossy = self._lossy
        lossy.scans += 1
        if not lossy.failures:
            whole: Scan = self._view.scan(request)
            return whole
        lossy.failures -= 1
        if not lossy.at:
            raise lossy.error()
        # Rows, and no summaries of them.
        found: Scan = self._view.scan(replace(request, cells=None))
        return replace(found, batches=self._broken(iter(found.batches), lossy.at))

    def _broken(self, batches: Iterator[Any], at: int) -> Iterator[Any]:
        for _ in range(at):
            batch = next(batches, None)
            if batch is None:
                break
            yield batch
        raise self._lossy.error()


@pytest.fixture(scope="module")
def filled(server: Server) -> Server:
    with server.connect() as connection:
        connection.execute("CREATE TABLE lost (time timestamptz, v int8)")
        connection.execute(
            "INSERT INTO lost SELECT '2026-01-01'::timestamptz + i * interval '1 s', i "
            f"FROM generate_series(1, {ROWS}) i"
        )
    return server


@pytest.fixture
def lossy(filled: Server, monkeypatch: pytest.MonkeyPatch) -> Lossy:
    lossy, view = Lossy(), Node.view
    monkeypatch.setattr(Node, "view", lambda self, *levels: LossyView(view(self, *levels), lossy))
    return lossy


@pytest.fixture
def client(filled: Server, lossy: Lossy) -> Iterator[psycopg.Connection]:
    with filled.connect() as connection:
        yield connection


SUM = "SELECT count(*), sum(v) FROM lost WHERE v % 2 = 0"
EXPECTED = (ROWS // 2, ROWS // 2 * (ROWS // 2 + 1))


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("prepare", [False, True])
def test_a_query_begins_anew_and_what_was_read_of_it_counts_for_nothing(
    client: psycopg.Connection, lossy: Lossy, at: int, *, prepare: bool
) -> None:
    lossy.failures, lossy.at = 3, at
    assert client.execute(SUM, prepare=prepare).fetchone() == EXPECTED
    assert not lossy.failures


def test_copy_and_rows_in_portions_begin_anew(client: psycopg.Connection, lossy: Lossy) -> None:
    lossy.failures = 2
    with client.cursor().copy("COPY (SELECT v FROM lost WHERE v < 3 ORDER BY v) TO STDOUT") as copy:
        assert [*copy.rows()] == [("1",), ("2",)]
    lossy.failures = 2
    with client.cursor() as cursor:
        assert list(cursor.stream("SELECT v FROM lost WHERE v < 3 ORDER BY v")) == [(1,), (2,)]
    assert not lossy.failures


def test_a_block_goes_on_and_sees_what_it_has_written(client: psycopg.Connection, lossy: Lossy) -> None:
    with client.transaction(force_rollback=True):
        client.execute("INSERT INTO lost VALUES ('2027-01-01', -7)")
        lossy.failures = 2
        assert client.execute("SELECT v FROM lost WHERE v < 0").fetchall() == [(-7,)]
    assert not lossy.failures


def test_rows_that_went_out_are_not_taken_back(client: psycopg.Connection, lossy: Lossy) -> None:
    lossy.failures, lossy.at = 1, 3
    with pytest.raises(errors.AdminShutdown, match="after it had given rows"):
        for _ in client.cursor().stream("SELECT time, v FROM lost"):
            pass
    assert lossy.scans == 1
    assert client.execute(SUM).fetchone() == EXPECTED


def test_where_nobody_else_can_answer_it_is_an_error_at_once(client: psycopg.Connection, lossy: Lossy) -> None:
    lossy.failures, lossy.passes = 2, False
    with pytest.raises(errors.CannotConnectNow):
        client.execute(SUM)
    assert lossy.scans == 1


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT v, pg_advisory_lock(1) FROM lost WHERE v < 3",
        "INSERT INTO lost SELECT time, -v FROM lost",
        "DELETE FROM lost WHERE v % 7 = 3",
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT sum(v) FROM lost; COMMIT",
    ],
)
def test_what_must_not_be_done_twice_is_not(client: psycopg.Connection, lossy: Lossy, statement: str) -> None:
    lossy.failures = 2
    with pytest.raises(errors.CannotConnectNow):
        client.execute(statement.encode())
    assert lossy.scans == 1
    lossy.failures = 0
    client.rollback()
    assert client.execute(SUM).fetchone() == EXPECTED


@pytest.mark.parametrize("query", ["SELECT count(*) FROM lost", "SELECT v + 0 FROM lost ORDER BY v % 7, v DESC"])
@pytest.mark.parametrize("at", [0, 1])
def test_a_cursor_shows_the_moment_when_it_was_declared_or_nothing(
    client: psycopg.Connection, lossy: Lossy, query: str, at: int
) -> None:
    expected = client.execute(query.encode()).fetchone()
    with client.transaction(force_rollback=True):
        lossy.failures, lossy.at = 1, at
        client.execute(f"DECLARE c CURSOR FOR {query}".encode())
        begun = not lossy.failures
        client.execute("INSERT INTO lost VALUES ('2027-01-01', 7000000)")
        if begun:
            assert client.execute("FETCH c").fetchone() == expected
        else:
            with pytest.raises(errors.CannotConnectNow):
                client.execute("FETCH c")
    lossy.failures = 0


def test_who_waits_is_cancelled_and_its_time_runs_out(client: psycopg.Connection, lossy: Lossy) -> None:
    lossy.failures = 1_000_000
    client.execute("SET statement_timeout = '300ms'")
    with pytest.raises(errors.QueryCanceled, match="timeout"):
        client.execute(SUM)
    client.execute("SET statement_timeout = 0")
    times = 0

    def refused() -> None:
        nonlocal times
        times += 1
        if times == 3:
            client.cancel_safe()  # PQcancel would keep the GIL, which the server needs

    lossy.refused = refused
    with pytest.raises(errors.QueryCanceled, match="user request"):
        client.execute(SUM)
    lossy.failures = 0
    assert client.execute(SUM).fetchone() == EXPECTED


def test_patience_ends(client: psycopg.Connection, lossy: Lossy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.session.patience.WAIT_S", 0.3)
    lossy.failures = 1_000_000
    with pytest.raises(errors.CannotConnectNow):
        client.execute(SUM)
    assert 3 <= lossy.scans < 20
