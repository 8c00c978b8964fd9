"""Four nodes, three of which have a database: what the fourth is asked when the node dies that it asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.fixtures.waiting import until
from tests.group.together import Together
from tests.replicas.replicated_world import leader_of
from tests.routing.spread import SqlPorts
from tsdb.cluster.fragments import listener
from tsdb.cluster.group.control import Done, Replicate
from tsdb.cluster.group.group import Group
from tsdb.cluster.metadata.records import LocationRecord
from tsdb.cluster.node import Node
from tsdb.cluster.routing import arrow, remote, router
from tsdb.session import patience

ROWS = 200_000
SUM = "SELECT count(*), sum(v) FROM many WHERE v % 2 = 0"
EXPECTED = (ROWS // 2, ROWS // 2 * (ROWS // 2 + 1))


class Four:
    """``asked`` has no replica of the database ``shared``."""

    def __init__(self, together: Together, ports: SqlPorts) -> None:
        self.together = together
        self.ports = ports

    @property
    def nodes(self) -> dict[int, Node]:
        return self.together.nodes

    def asked(self) -> Node:
        any_node = next(iter(self.nodes.values()))
        number = any_node.catalog.find("shared").number
        voters = {voter for each in any_node.metadata.all(LocationRecord) if each.database == number
                  for voter in each.voters}  # fmt: skip
        (place,) = {*self.nodes} - voters
        return self.nodes[place]

    def connect(self) -> psycopg.Connection:
        return self.ports.connect(self.asked(), "shared")

    def leader(self) -> int:
        """As a node knows it that does not go."""
        return until(lambda: leader_of(self.asked(), "shared"))

    def stop_leader(self) -> int:
        place = self.leader()
        self.together.stop(place)
        return place

    def stop_all_but_one(self) -> list[int]:
        """Of the nodes that have it: nobody leads it then, for good."""
        asked = self.asked()
        leader = self.leader()
        others = [place for place, node in self.nodes.items() if node is not asked and place != leader]
        stopped = [leader, others[0]]
        # A majority is enough for what was read, and the one that stays need not be of it.
        until(lambda: len({str(self._log_ends(place)) for place in (leader, *others)}) == 1)
        for place in stopped:
            self.together.stop(place)
        return stopped

    def stop_followers(self) -> list[int]:
        """Of the nodes that have it all but the leader: no majority answers that one."""
        asked, leader = self.asked(), self.leader()
        stopped = [place for place, node in self.nodes.items() if node is not asked and place != leader]
        for place in stopped:
            self.together.stop(place)
        return stopped

    def _log_ends(self, place: int) -> list[tuple[int, tuple[int, int, int, int]]]:
        group = self.nodes[place].agreement
        assert isinstance(group, Group)
        return sorted(group.replicas.host.log_ends().items())

    def start(self, place: int) -> None:
        self.together.start(place)
        self.caught_up(place)

    def caught_up(self, place: int) -> None:
        """Until it has all that the others have."""
        assert self.leader()
        with self.ports.connect(self.nodes[place], "shared") as connection:
            connection.execute("SET tsdb.read_level = 'any'")
            until(lambda: connection.execute(SUM).fetchone() == EXPECTED)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Four]:
    folder: Path = tmp_path_factory.mktemp("four")
    together, ports = Together(folder), SqlPorts(folder)
    try:
        together.found()
        for place in (1, 2, 3, 4):
            together.start(place, join=1 if place > 1 else None)
        until(lambda: together.roles(1) == dict.fromkeys((1, 2, 3, 4), "voter"))
        assert isinstance(together.ask(1, Replicate(3)), Done)
        with ports.connect(together.nodes[1]) as connection:
            connection.execute("CREATE DATABASE shared")
        for node in together.nodes.values():
            until(lambda: "shared" in node.catalog.databases)  # noqa: B023
        four = Four(together, ports)
        with four.connect() as connection:
            for name in ("many", "few"):
                connection.execute(f"CREATE TABLE {name} (time timestamptz, v int8)".encode())
            connection.execute("SET tsdb.acks = 'all'")
            connection.execute("INSERT INTO few VALUES ('2026-01-01', 1), ('2026-01-02', 2), ('2026-01-03', 3)")
            connection.execute(
                "INSERT INTO many SELECT '2026-01-01'::timestamptz + i * interval '1 ms', i "
                f"FROM generate_series(1, {ROWS}) i"
            )
        yield four
    finally:
        ports.close()
        together.end()


@pytest.fixture
def when_a_part_comes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have something done when a part of an answer has come to whoever asked, and no later one."""
    monkeypatch.setattr(arrow, "BATCH_BYTES_MAX", 1 << 17)

    def then(call: Callable[[], object], part: int = 1) -> None:
        take, send, parts = remote.RemoteScan._take, listener._Sending.part, count(1)

        def taken(scan: remote.RemoteScan, size: int) -> None:
            if next(parts) == part:
                call()
                done.append(part)
            take(scan, size)

        def sent(sending: listener._Sending, *arguments: Any) -> None:
            # Whoever is asked after that answers to its end.
            if sending.count > part and not asked and not done:
                asked.append(sending)
                assert sending._ending.wait(60)
            send(sending, *arguments)

        asked: list[listener._Sending] = []
        done: list[int] = []
        monkeypatch.setattr(remote.RemoteScan, "_take", taken)
        monkeypatch.setattr(listener._Sending, "part", sent)

    return then


def test_a_query_whose_node_dies_is_answered_by_the_next_one(
    four: Four, when_a_part_comes: Callable[..., None]
) -> None:
    stopped: list[int] = []
    with four.connect() as connection:
        connection.execute("SET tsdb.read_level = 'linearizable'")
        when_a_part_comes(lambda: stopped.append(four.stop_leader()))
        assert connection.execute("SELECT max(v), count(DISTINCT v % 1000) FROM many").fetchone() == (ROWS, 1000)
        assert stopped
        assert connection.execute(SUM).fetchone() == EXPECTED
    four.start(stopped[0])


def test_rows_of_a_node_that_dies_are_not_taken_back(four: Four, when_a_part_comes: Callable[..., None]) -> None:
    stopped: list[int] = []
    with four.connect() as connection:
        when_a_part_comes(lambda: stopped.append(four.stop_leader()), 12)
        with pytest.raises(errors.AdminShutdown, match="after it had given rows"):
            connection.execute("SELECT time, v FROM many")
        assert connection.execute(SUM).fetchone() == EXPECTED
    four.start(stopped[0])


def test_what_may_be_old_is_asked_of_any_node_that_has_it(four: Four, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "WAIT_S", 0.0)
    with four.connect() as connection:
        # It is seen by this session, at a node that has it.
        connection.execute("SET tsdb.read_level = 'session'")
        assert connection.execute(SUM).fetchone() == EXPECTED
        stopped = four.stop_all_but_one()
        for level in ("any", "session", "bounded"):
            connection.execute(f"SET tsdb.read_level = '{level}'; SET tsdb.read_staleness = '1h'".encode())
            assert until(lambda: _answer(connection)) == EXPECTED
        (token,) = connection.execute("SHOW tsdb.read_token").fetchone() or ("",)
        for refused in (
            "SET tsdb.read_level = 'linearizable'",
            "SET tsdb.read_level = 'bounded'; SET tsdb.read_staleness = 0",
            f"SET tsdb.read_level = 'session'; SET tsdb.read_token = '{token.split('.')[0]}.1000000'",
        ):
            connection.execute(refused.encode())
            with pytest.raises(errors.CannotConnectNow):
                connection.execute(SUM)
    for place in stopped:
        four.together.start(place)
    for place in stopped:
        four.caught_up(place)


def _answer(connection: psycopg.Connection) -> tuple[Any, ...] | None:
    try:
        return connection.execute(SUM).fetchone()
    except errors.CannotConnectNow:
        return None


def test_what_a_later_leader_took_back_is_told_once(four: Four) -> None:
    with four.connect() as connection:
        connection.execute("SET tsdb.read_level = 'session'")
        assert connection.execute(SUM).fetchone() == EXPECTED
        (token,) = connection.execute("SHOW tsdb.read_token").fetchone() or ("",)
        location, _, _ = token.partition(":")
        # Another epoch's op is in its place.
        connection.execute(f"RESET tsdb.read_token; SET tsdb.read_token = '{location}:1000.1'".encode())
        with pytest.raises(errors.SerializationFailure, match="taken back"):
            connection.execute(SUM)
        assert connection.execute(SUM).fetchone() == EXPECTED


READS = (
    SUM,
    "SELECT * FROM few ORDER BY time DESC LIMIT 1",
    "SELECT v + 1 FROM few WHERE v < (SELECT max(v) FROM few)",
    "DELETE FROM few WHERE v = 2",
    "UPDATE few SET v = 5 WHERE v = 3",
)
"""These have to read first, and get no further."""
CREATE = "CREATE TABLE more (time timestamptz, v int8)"
INSERT = "INSERT INTO few VALUES ('2026-02-01', 4)"
FEW = [(1,), (2,), (3,)]


def _ended(connection: psycopg.Connection, text: str) -> tuple[psycopg.Error, float]:
    """With what a statement ends, and after how many seconds."""
    began = time.monotonic()
    with pytest.raises((errors.QueryCanceled, errors.StatementCompletionUnknown, errors.CannotConnectNow)) as ended:
        connection.execute(text.encode())
    return ended.value, time.monotonic() - began


@pytest.mark.parametrize("leader_stays", [True, False])
def test_without_a_majority_a_statement_ends_when_its_time_is_over(
    four: Four, monkeypatch: pytest.MonkeyPatch, *, leader_stays: bool
) -> None:
    stopped = four.stop_followers() if leader_stays else four.stop_all_but_one()
    asked = four.asked()
    is_known = True
    for node in (next(each for each in four.nodes.values() if each is not asked), asked):
        with four.ports.connect(node, "shared") as connection:
            connection.execute("SET statement_timeout = '700ms'")
            for text in READS:
                error, seconds = _ended(connection, text)
                assert isinstance(error, errors.QueryCanceled)
                assert "statement timeout" in str(error)
                assert seconds < 4
            error, seconds = _ended(connection, CREATE)
            assert isinstance(error, errors.QueryCanceled)
            assert seconds < 4
            # Another node may take some seconds to say that it has not taken it.
            error, seconds = _ended(connection, INSERT)
            assert seconds < 9
            is_known = is_known and isinstance(error, errors.QueryCanceled)
            connection.execute("RESET statement_timeout")
            with monkeypatch.context() as patched:
                patched.setattr(router, "WAIT_S", 0.5)
                error, _ = _ended(connection, INSERT)
            assert isinstance(error, errors.CannotConnectNow)
            assert 'database "shared" does not take this write now, so nothing of it is stored' in str(error)
            assert "tsdb cluster status" in (error.diag.message_hint or "")
    for place in stopped:
        four.together.start(place)
    for place in stopped:
        four.caught_up(place)
    with four.connect() as connection:
        found = until(lambda: connection.execute("SELECT v FROM few ORDER BY v").fetchall())
        assert found == FEW or not is_known
        connection.execute("DELETE FROM few WHERE v = 4")
