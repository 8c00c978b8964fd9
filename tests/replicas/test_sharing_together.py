"""A database of one replica gets more of them, and one again, while it is written to; and moves to another node."""

from __future__ import annotations

import contextlib
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.waiting import until
from tests.group.together import Together
from tests.routing.spread import SqlPorts
from tsdb.cluster.group.control import Check, Checked, Done, Drain, Rebalance, Remove, Replicate
from tsdb.cluster.metadata.commands import SetReplication
from tsdb.cluster.metadata.records import LocationRecord, Ring
from tsdb.cluster.node import Node
from tsdb.cluster.replicas import sharing
from tsdb.errors import CannotConnectNow, TsdbError
from tsdb.session.continuous import Refresher, Refreshes
from tsdb.sql.context import Context

SCHEMA = (
    "CREATE TABLE cpu (time timestamptz NOT NULL, host text, v int8, PRIMARY KEY (host, time))",
    "CREATE TABLE payments (time timestamptz, batch int8)",
    "CREATE TABLE people (id serial, name text PRIMARY KEY, mail text UNIQUE)",
    "CREATE SEQUENCE tickets START 5 INCREMENT 3",
    "CREATE SEQUENCE untouched START 70",
)
HOURLY = (
    "SELECT time_bucket('1h', time) AS hour, host, count(*) AS n, sum(v) AS v, sum(v) FILTER (WHERE v > 3) AS large "
    "FROM cpu GROUP BY 1, 2"
)
QUERIES = (
    "SELECT time, host, v FROM cpu ORDER BY time, host",
    "SELECT host, count(*), sum(v) FROM cpu GROUP BY host ORDER BY host",
    "SELECT time, batch FROM payments ORDER BY time, batch",
    "SELECT id, name, mail FROM people ORDER BY id",
    "SELECT * FROM hourly ORDER BY hour, host",
)
CONTEXT = Context("d", now_us=1_780_000_000_000_000, settings={"timezone": "UTC"})


class OneThenThree:
    """One node with data, and two that join it later."""

    def __init__(self, folder: Path) -> None:
        self.together = Together(folder)
        self.ports = SqlPorts(folder)
        self.refreshes = defaultdict[int, Refreshes](Refreshes)
        self.together.found()
        self.together.start(1)
        with self.connect(1, "tsdb") as connection:
            connection.execute("CREATE DATABASE d")

    def close(self) -> None:
        self.ports.close()
        self.together.end()

    @property
    def nodes(self) -> dict[int, Node]:
        return self.together.nodes

    def connect(self, place: int, database: str = "d") -> psycopg.Connection:
        return self.ports.connect(self.nodes[place], database)

    def fill(self) -> None:
        with self.connect(1) as connection:
            for statement in SCHEMA:
                connection.execute(statement.encode())
            connection.execute(f"CREATE MATERIALIZED VIEW hourly WITH (continuous) AS {HOURLY}".encode())
            for hour in range(40):
                rows = ", ".join(f"({stamp(hour, minute)}, 'h{minute % 3}', {minute})" for minute in range(9))
                connection.execute(f"INSERT INTO cpu VALUES {rows}".encode())
                if hour == 20:
                    # Half of it is in blocks, and the rest in a head.
                    self.nodes[1].flush()
                if hour in (5, 20, 30):
                    connection.execute("REFRESH MATERIALIZED VIEW hourly")
            connection.execute(f"DELETE FROM cpu WHERE time < {stamp(3, 0)} OR host = 'h1' AND v = 4".encode())
            connection.execute("UPDATE cpu SET v = v + 1000 WHERE host = 'h2' AND v = 5")
            for name in ("ann", "bob", "cid"):
                connection.execute("INSERT INTO people (name, mail) VALUES (%s, %s)", (name, f"{name}@x"))
            connection.execute("DELETE FROM people WHERE name = 'bob'")
            connection.execute("SELECT nextval('tickets') FROM generate_series(1, 10)")
        self.pay(1, 1)
        self.pay(1, 2)

    def pay(self, place: int, batch: int) -> None:
        """Numbered: however often it is sent, it counts once."""
        rows = ", ".join(f"({stamp(hour, 0)}, {batch})" for hour in range(4))
        with self.connect(place) as connection:
            connection.execute(f"SET tsdb.producer = 'till'; SET tsdb.batch = {batch}".encode())
            connection.execute(f"INSERT INTO payments VALUES {rows}".encode())

    def join(self, *places: int) -> None:
        for place in places:
            self.together.start(place, join=1)
        until(
            lambda: {*self.together.roles(1).values()} == {"voter"} and len(self.together.roles(1)) == len(self.nodes)
        )

    def answers(self, place: int) -> list[list[tuple[object, ...]]]:
        with self.connect(place) as connection:
            found = [connection.execute(query.encode()).fetchall() for query in QUERIES]
            assert found[-1] == connection.execute(f"{HOURLY} ORDER BY 1, 2".encode()).fetchall()
            return found

    def stored(self, place: int) -> tuple[object, ...] | None:
        """How far the view is stored, and what of that is dirty."""
        with self.connect(place) as connection:
            look = "SELECT watermark, dirty FROM tsdb.continuous_aggregates WHERE relname = 'hourly'"
            return connection.execute(look).fetchone()

    def refresh(self, place: int, check: Callable[[], None] = lambda: None) -> None:
        node = self.nodes[place]
        Refresher(node, self.ports.queries, self.refreshes[place], CONTEXT, check).refresh(
            node.catalog.find("d").find("hourly")
        )

    @contextlib.contextmanager
    def refreshed(self, place: int) -> Iterator[None]:
        """A client of a node refreshes the view all the time, and is never refused."""
        stopping, errors = threading.Event(), list[str]()

        def refresh() -> None:
            with self.connect(place) as connection:
                connection.execute("SET statement_timeout = '30s'")
                while not stopping.is_set():
                    try:
                        connection.execute("REFRESH MATERIALIZED VIEW hourly")
                    except psycopg.Error as error:
                        errors.append(f"{error.sqlstate}: {error}")

        thread = threading.Thread(target=refresh)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()
        assert not errors

    def refresh_where_it_is_led(self) -> None:
        for place, node in self.nodes.items():
            with contextlib.suppress(TsdbError):
                if node.leads(node.catalog.find("d")):
                    self.refresh(place)

    def replicate(self, factor: int) -> None:
        assert isinstance(self.together.ask(1, Replicate(factor, "d")), Done)

    def holders(self, place: int = 1) -> set[int]:
        """The nodes of a database all of whose locations have the same ones and are settled; none otherwise."""
        state = self.nodes[place].metadata
        number = state.catalog.databases["d"].number
        own = [each for each in state.all(LocationRecord) if each.database == number]
        voters = {each.voters for each in own}
        settled = all(each.active_epoch == each.epoch and not each.learners for each in own)
        ring = state.get(Ring, number)
        return {*voters.pop()} if len(voters) == 1 and settled and ring is not None and ring.is_shared else set()

    def check_equal(self) -> None:
        """By the replicas themselves."""
        asked = [self.together.ask(place, Check("d", 30.0)) for place in self.nodes]
        found = [each for each in asked if isinstance(each, Checked)]
        assert len(found) == len(asked), asked
        assert {each for answer in found for each in answer.compared} == {each.location for each in self.own()}, found
        assert not any(answer.different for answer in found), found

    def own(self) -> list[LocationRecord]:
        state = self.nodes[1].metadata
        number = state.catalog.databases["d"].number
        return [each for each in state.all(LocationRecord) if each.database == number]


def stamp(hour: int, minute: int) -> str:
    return f"timestamptz '2026-01-01 00:00Z' + interval '{hour} hours {minute} minutes'"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[OneThenThree]:
    found = OneThenThree(tmp_path)
    try:
        yield found
    finally:
        found.close()


def test_what_one_node_has_three_have_and_one_again(cluster: OneThenThree) -> None:
    cluster.fill()
    before = cluster.answers(1)
    cluster.join(2, 3)
    with cluster.refreshed(1):
        cluster.replicate(3)
        until(lambda: cluster.holders() == {1, 2, 3})
    for place in (1, 2, 3):
        assert cluster.answers(place) == before
    cluster.check_equal()
    # What was counted by the one node alone goes on.
    with cluster.connect(2) as connection:
        assert connection.execute("SELECT nextval('tickets')").fetchall() == [(35,)]
        assert connection.execute("SELECT nextval('untouched')").fetchall() == [(70,)]
        row = connection.execute("INSERT INTO people (name, mail) VALUES ('dot', 'dot@x') RETURNING id").fetchone()
        assert row == (4,)
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO people (name, mail) VALUES ('eve', 'ann@x')")
        connection.execute("DELETE FROM people WHERE name = 'dot'")
    cluster.pay(3, 2)
    cluster.pay(1, 1)
    assert cluster.answers(1) == before
    cluster.pay(2, 3)
    after = cluster.answers(2)
    assert len(after[2]) == 12
    cluster.replicate(1)
    until(lambda: len(cluster.holders()) == 1)
    for place in (1, 2, 3):
        assert cluster.answers(place) == after
    assert "one replica" in str(cluster.together.ask(1, Replicate(1, "d")))
    cluster.replicate(2)
    until(lambda: len(cluster.holders()) == 2)
    assert cluster.answers(3) == after


def test_nothing_is_lost_or_doubled_of_what_is_written_meanwhile(cluster: OneThenThree) -> None:
    cluster.fill()
    before = cluster.answers(1)
    cluster.join(2, 3)
    stopping, taken, errors = threading.Event(), dict[str, list[int]](), list[str]()
    again: list[str] = []

    def each(name: str, place: int, connection: psycopg.Connection) -> None:
        """One row after the other, each acknowledged before the next."""
        mine = taken[name] = []
        with connection:
            connection.execute(f"SET tsdb.producer = '{name}'".encode())
            while not stopping.is_set():
                number = len(mine) + 1
                try:
                    if name == "refreshes":
                        cluster.refresh_where_it_is_led()
                        stopping.wait(0.05)
                    elif name.startswith("numbered"):
                        connection.execute(f"SET tsdb.batch = {number}".encode())
                        connection.execute(f"INSERT INTO payments VALUES ({stamp(number, place)}, {number})".encode())
                    elif name.startswith("plain"):
                        row = f"({stamp(number, place)}, '{name}', {number})"
                        connection.execute(f"RESET tsdb.producer; INSERT INTO cpu VALUES {row}".encode())
                    elif name == "updates":
                        connection.execute("RESET tsdb.producer; UPDATE people SET mail = mail || '!' WHERE id = 1")
                    else:
                        ((found,),) = connection.execute("SELECT nextval('tickets')").fetchall()
                        mine.append(int(found))
                        continue
                    mine.append(number)
                except psycopg.Error as error:
                    if error.sqlstate not in ("40003", "57P03"):
                        errors.append(f"{name} {number}: {error.sqlstate} {error}")
                        return
                    again.append(name)

    names = {"numbered1": 1, "numbered2": 2, "plain1": 1, "plain3": 3, "tickets1": 1, "tickets2": 2, "updates": 1}
    names["refreshes"] = 1
    threads = [
        threading.Thread(target=each, args=(name, place, cluster.connect(place))) for name, place in names.items()
    ]
    for thread in threads:
        thread.start()
    try:
        more(taken, names, errors)
        # It stays at its node, and nobody notices anything but a pause.
        number = cluster.nodes[1].catalog.databases["d"].number
        cluster.nodes[1].agreement.propose(SetReplication(number, 1))
        until(lambda: cluster.holders() == {1} or errors)
        more(taken, names, errors)
        errors += again
        cluster.replicate(3)
        until(lambda: cluster.holders() == {1, 2, 3} or errors)
        more(taken, names, errors)
        cluster.replicate(1)
        until(lambda: len(cluster.holders()) == 1 or errors)
        more(taken, names, errors)
    finally:
        stopping.set()
        for thread in threads:
            thread.join(60)
    assert not errors, errors
    runs, failures, _ = cluster.refreshes[1].totals()
    assert runs > failures
    for place in (1, 2, 3):
        cluster.answers(place)
        with cluster.connect(place) as connection:
            for name in ("plain1", "plain3"):
                rows = connection.execute("SELECT v FROM cpu WHERE host = %s ORDER BY v", (name,)).fetchall()
                assert rows == [(value,) for value in taken[name]]
            rows = connection.execute("SELECT batch FROM payments").fetchall()
            paid = sorted([int(str(batch)) for (_, batch) in before[2]] + taken["numbered1"] + taken["numbered2"])
            assert sorted(int(batch) for (batch,) in rows) == paid
            ((mail,),) = connection.execute("SELECT mail FROM people WHERE id = 1").fetchall()
            assert 0 <= len(mail) - len("ann@x") - len(taken["updates"]) <= again.count("updates")
    tickets = taken["tickets1"] + taken["tickets2"]
    assert len({*tickets}) == len(tickets)
    assert min(tickets) == 35

    print("sent again while voters came and went:", again)


def more(taken: dict[str, list[int]], names: Iterable[str], errors: list[str]) -> None:
    """All of them come some steps further."""
    counts = {name: len(taken.get(name, [])) for name in names}
    until(lambda: errors or all(len(taken.get(name, [])) > count + 3 for name, count in counts.items()))


def test_a_drained_node_gives_away_what_only_it_has_and_can_be_removed(cluster: OneThenThree) -> None:
    cluster.fill()
    before = cluster.answers(1)
    cluster.join(2, 3)
    assert isinstance(cluster.together.ask(2, Drain(1, True)), Done)
    state = cluster.nodes[2]
    until(lambda: not any(1 in (*each.voters, *each.learners) for each in state.metadata.all(LocationRecord)))
    until(lambda: len(cluster.holders(2)) == 1)
    assert cluster.answers(2) == cluster.answers(3) == before
    assert isinstance(cluster.together.ask(2, Remove(1, accept_loss=False)), Done)
    cluster.pay(3, 2)
    assert cluster.answers(3) == before


def test_a_rebalance_moves_what_one_node_has_to_those_that_have_joined(cluster: OneThenThree) -> None:
    cluster.fill()
    before = cluster.answers(1)
    with cluster.connect(1) as connection:
        for number in range(4):
            connection.execute(f"CREATE DATABASE d{number}".encode())
    cluster.join(2, 3)
    busy = cluster.nodes[1].catalog.find("d0").number
    cluster.nodes[1].engine._shard.load.count(busy, 1e9)
    # Whoever is asked for the plan has asked who has it what work it makes there.
    planned = cluster.together.ask(2, Rebalance(True))
    assert isinstance(planned, Done)
    assert re.search(r"^1 .* \d{4} → ", planned.text, re.MULTILINE)
    asked = cluster.together.ask(2, Rebalance(False))
    assert isinstance(asked, Done)
    assert "on their way" in asked.text
    state = cluster.nodes[2]
    until(lambda: len({each.leader for each in state.metadata.all(LocationRecord)}) == 3)
    assert cluster.answers(3) == before


def test_what_is_stored_of_a_continuous_view_goes_along_also_what_is_history(cluster: OneThenThree) -> None:
    cluster.fill()
    stored = cluster.stored(1)
    assert stored is not None
    assert all(stored), "it is stored, and some of it is dirty"
    before = cluster.answers(1)
    cluster.join(2, 3)
    cluster.replicate(3)
    until(lambda: cluster.holders() == {1, 2, 3})
    assert cluster.stored(1) == stored
    assert cluster.answers(1) == before
    cluster.refresh(1)
    for place in (1, 2, 3):
        assert cluster.answers(place) == before
    with cluster.connect(1) as connection:
        connection.execute("ALTER TABLE cpu SET (retention = '1 day')")
    cluster.replicate(1)
    until(lambda: len(cluster.holders()) == 1)
    for place in (1, 2, 3):
        with cluster.connect(place) as connection:
            until(lambda: not connection.execute("TABLE cpu").fetchall())
            assert connection.execute(QUERIES[-1].encode()).fetchall() == before[-1]


@pytest.mark.nightly
def test_history_of_one_node_is_history_of_three(cluster: OneThenThree) -> None:
    cluster.fill()
    before = cluster.answers(1)
    with cluster.connect(1) as connection:
        connection.execute("ALTER TABLE cpu SET (retention = '1 day')")
        assert not connection.execute("TABLE cpu").fetchall()
    cluster.join(2, 3)
    cluster.replicate(3)
    until(lambda: cluster.holders() == {1, 2, 3})
    for place in (1, 2, 3):
        with cluster.connect(place) as connection:
            assert connection.execute(QUERIES[-1].encode()).fetchall() == before[-1]


@pytest.mark.parametrize("step", [3, 5])
def test_a_refresh_during_which_its_database_is_shared_leaves_the_view_right(cluster: OneThenThree, step: int) -> None:
    cluster.fill()
    node, left = cluster.nodes[1], step
    number = node.catalog.databases["d"].number

    def check() -> None:
        nonlocal left
        left -= 1
        if not left:
            node.agreement.propose(SetReplication(number, 1))
            until(lambda: cluster.holders() == {1})
            with cluster.connect(1) as connection:
                connection.execute(f"INSERT INTO cpu VALUES ({stamp(4, 30)}, 'h9', 7)".encode())
                connection.execute(f"DELETE FROM cpu WHERE time < {stamp(4, 4)}".encode())

    if step == 5:
        # All of it is new; else some is dirty.
        with cluster.connect(1) as connection:
            connection.execute("DROP MATERIALIZED VIEW hourly")
            connection.execute(f"CREATE MATERIALIZED VIEW hourly WITH (continuous) AS {HOURLY} WITH NO DATA".encode())
    with contextlib.suppress(CannotConnectNow):
        cluster.refresh(1, check)
    assert left <= 0, "the refresh had fewer steps"
    cluster.answers(1)
    cluster.refresh(1)
    cluster.answers(1)
    stored = cluster.stored(1)
    assert stored is not None
    assert not stored[1]


def test_one_with_more_producers_than_the_cluster_remembers_goes_on_at_its_node(
    cluster: OneThenThree, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.fill()
    before = cluster.answers(1)
    cluster.join(2)
    with monkeypatch.context() as patch:
        patch.setattr(sharing, "PRODUCERS_MAX", 0)
        cluster.replicate(2)
        number = cluster.nodes[1].catalog.databases["d"].number
        for node in cluster.nodes.values():
            until(lambda: (ring := node.metadata.get(Ring, number)) is not None and ring.is_coming)  # noqa: B023
        # Numbered batches, values of sequences and refreshes wait for nothing.
        cluster.pay(1, 3)
        cluster.pay(2, 4)
        for place, ticket in ((1, 35), (2, 38)):
            with cluster.connect(place) as connection:
                assert connection.execute("SELECT nextval('tickets')").fetchall() == [(ticket,)]
        cluster.refresh(1)
        stored = cluster.stored(1)
        assert stored is not None
        assert not stored[1]
        assert not cluster.holders()
    until(lambda: cluster.holders() == {1, 2})
    for batch in (1, 2, 3, 4):
        cluster.pay(2, batch)
    after = cluster.answers(2)
    assert len(after[2]) == len(before[2]) + 8
    with cluster.connect(2) as connection:
        assert connection.execute("SELECT nextval('tickets')").fetchall() == [(41,)]
