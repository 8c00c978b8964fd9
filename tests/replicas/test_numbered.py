"""Numbered batches of a database that three nodes have: once, at whichever node and whoever leads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from tests.cluster.setting import START
from tests.fixtures.waiting import until
from tests.group.together import Together
from tests.replicas.replicated import HOUR, Replicated, replicated
from tests.routing.spread import SqlPorts
from tsdb.cluster.metadata.records import ClientSession
from tsdb.cluster.node import Node
from tsdb.errors import CannotConnectNow, ObjectNotInPrerequisiteState, StatementCompletionUnknown
from tsdb.model.store import Producer, Write, Written

DAY_S = 86_400.0
ROWS = "('2026-01-01', 1), ('2026-03-01', 2), ('2026-06-01', 3)"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    with replicated(Together(tmp_path_factory.mktemp("numbered")), Replicated) as cluster:
        yield cluster


def send(cluster: Replicated, node: Node, producer: Producer, hours: int = 40) -> Written:
    """A point an hour, so that many locations get some; tried again as a client does."""
    batches = [cluster.points(node, [at], START + at * HOUR) for at in range(hours)]

    def try_it() -> Written | None:
        try:
            return node.write(cluster.database(node), batches, producer).result(30)
        except (CannotConnectNow, StatementCompletionUnknown):
            return None

    found = until(try_it)
    assert found is not None
    return found


def test_a_batch_counts_once_at_every_node_as_points_and_as_a_transaction(cluster: Replicated) -> None:
    for at, first in enumerate(cluster.nodes.values(), 1):
        producer = Producer("each", at, digest=at)
        # As if it had got to some locations only: what is missing is written.
        assert not send(cluster, first, producer, 3).duplicate
        assert not send(cluster, cluster.any(), producer).duplicate
        for node in cluster.nodes.values():
            again = send(cluster, node, producer)
            assert (again.points, again.duplicate) == (40, True)
        transaction = replace(producer, name="transactions")
        done = [node.commit([Write(cluster.points(node, [7, 8]))], transaction).result(30) for node in (first, first)]
        assert [each.duplicate for each in done] == [False, True]


def test_numbers_have_the_window_and_the_digests_of_a_single_node(cluster: Replicated) -> None:
    for node in cluster.nodes.values():
        name = f"window {node.engine.node}"
        send(cluster, node, Producer(name, 5000, digest=1))
        with pytest.raises(ObjectNotInPrerequisiteState, match=f'batch 4000 of producer "{name}" is too old: its last'):
            send(cluster, node, Producer(name, 4000))
        assert not send(cluster, node, Producer(name, 4001)).duplicate
        with pytest.raises(ObjectNotInPrerequisiteState, match="with other content"):
            send(cluster, node, Producer(name, 5000, digest=2))
        assert send(cluster, node, Producer(name, 5000)).duplicate


def test_statements_are_numbered_and_a_row_is_there_once_whoever_leads(cluster: Replicated, ports: SqlPorts) -> None:
    def connect(node: Node) -> psycopg.Connection:
        connection = ports.connect(node, "shared")
        connection.execute("SET tsdb.producer = 'loader'")
        return connection

    def count() -> int:
        with ports.connect(cluster.leader(), "shared") as connection:
            ((found,),) = connection.execute("SELECT count(*) FROM once").fetchall()
        return int(found)

    with connect(cluster.leader()) as connection:
        connection.execute("CREATE TABLE once (time timestamptz, a int8)")
        connection.execute("CREATE TABLE state (k text PRIMARY KEY, n int8)")
        connection.execute("INSERT INTO state VALUES ('a', 1)")
    for node in cluster.nodes.values():
        until(lambda: "state" in cluster.database(node).series)  # noqa: B023
        with connect(node) as connection:
            connection.execute("SET tsdb.batch = 1")
            assert connection.execute(f"INSERT INTO once VALUES {ROWS}").statusmessage == "INSERT 0 3"
            with connection.transaction():
                connection.execute("SET LOCAL tsdb.batch = 2")
                connection.execute("UPDATE state SET n = n + 1")
                connection.execute("INSERT INTO once VALUES ('2026-02-02', 4)")
            with connection.cursor() as cursor:
                with cursor.copy("COPY once FROM STDIN WITH (PRODUCER 'copier', BATCH 3)") as copy:
                    copy.write("2026-01-01\t5\n2026-04-01\t6\n")
                assert cursor.statusmessage == "COPY 2"
            assert connection.execute("SELECT n FROM state").fetchall() == [(2,)]
    assert count() == 6
    ports.shut()
    first = cluster.leader().engine.node
    cluster.together.stop(first)
    try:
        with connect(cluster.leader()) as connection:
            connection.execute("SET tsdb.batch = 1")
            connection.execute(f"INSERT INTO once VALUES {ROWS}")
            connection.execute("SET tsdb.batch = 4")
            connection.execute("INSERT INTO once VALUES ('2026-05-05', 7)")
        assert count() == 7
    finally:
        ports.shut()
        cluster.together.start(first)


def test_a_producer_that_has_not_written_for_long_is_forgotten(cluster: Replicated) -> None:
    node = cluster.leader()
    producer = Producer("seldom", 1)
    send(cluster, node, producer)
    sessions = [each for each in node.metadata.all(ClientSession) if each.name == "seldom"]
    assert [each.database for each in sessions] == [cluster.database(node).number]
    for clock in cluster.together.clocks:
        clock.ahead_s += 5 * DAY_S
    # Half of its time is over: it is heard of again.
    assert send(cluster, node, producer).duplicate
    assert [each for each in node.metadata.all(ClientSession) if each.name == "seldom"] != sessions
    for clock in cluster.together.clocks:
        clock.ahead_s += 5 * DAY_S
    assert send(cluster, node, producer).duplicate
    for clock in cluster.together.clocks:
        clock.ahead_s += 8 * DAY_S
    assert not send(cluster, node, producer).duplicate
