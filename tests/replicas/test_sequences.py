"""Sequences of a database that three nodes have: no value twice, at whichever node and whoever leads."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest

from tests.fixtures.waiting import until
from tests.group.together import Together
from tests.replicas.replicated import Replicated, replicated
from tests.routing.spread import SqlPorts
from tsdb.cluster.metadata.records import Counted
from tsdb.cluster.node import Node


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    with replicated(Together(tmp_path_factory.mktemp("sequences")), Replicated) as cluster:
        yield cluster


@pytest.fixture
def connections(cluster: Replicated, ports: SqlPorts) -> Iterator[list[psycopg.Connection]]:
    """One at each node."""
    found = [ports.connect(node, "shared") for node in cluster.nodes.values()]
    yield found
    for each in found:
        each.close()


def values(connection: psycopg.Connection, statement: str) -> list[int]:
    return [int(value) for (value,) in connection.execute(statement.encode()).fetchall()]


def everywhere(cluster: Replicated, name: str) -> None:
    for node in cluster.nodes.values():
        until(lambda: name in cluster.database(node).sequences)  # noqa: B023


def test_values_rise_at_all_nodes_and_are_put_and_looked_at_as_on_one(
    cluster: Replicated, connections: list[psycopg.Connection]
) -> None:
    connections[0].execute("CREATE SEQUENCE s START 5 INCREMENT 2 MAXVALUE 1000")
    everywhere(cluster, "s")
    found = [values(connections[at % 3], "SELECT nextval('s')")[0] for at in range(30)]
    assert found == [*range(5, 65, 2)]
    assert values(connections[1], "SELECT last_value FROM s") == [63]
    assert [values(each, "SELECT currval('s')") for each in connections] == [[59], [61], [63]]
    assert [values(each, "SELECT lastval()") for each in connections] == [[59], [61], [63]]
    assert values(connections[2], "SELECT setval('s', 101)") == [101]
    assert values(connections[0], "SELECT nextval('s') FROM generate_series(1, 100)") == [*range(103, 303, 2)]
    assert values(connections[1], "SELECT setval('s', 201, false)") == [201]
    assert values(connections[2], "SELECT nextval('s')") == [201]
    connections[0].execute("ALTER SEQUENCE s RESTART WITH 7")
    assert values(connections[1], "SELECT nextval('s')") == [7]
    connections[1].execute("SELECT setval('s', 999)")
    with pytest.raises(psycopg.errors.SequenceGeneratorLimitExceeded, match="reached maximum value"):
        connections[2].execute("SELECT nextval('s')")
    connections[2].execute("DROP SEQUENCE s")
    until(lambda: not any(list(node.metadata.all(Counted)) for node in cluster.nodes.values()))


def test_columns_count_by_themselves(cluster: Replicated, connections: list[psycopg.Connection]) -> None:
    columns = "id serial, no int GENERATED ALWAYS AS IDENTITY, label text PRIMARY KEY"
    connections[0].execute(f"CREATE TABLE orders ({columns})".encode())
    for node in cluster.nodes.values():
        until(lambda: "orders" in cluster.database(node).series)  # noqa: B023
    for at in range(6):
        (row,) = connections[at % 3].execute("INSERT INTO orders (label) VALUES (%s) RETURNING id, no", (f"o{at}",))
        assert row == (at + 1, at + 1)
    connections[1].execute("TRUNCATE orders RESTART IDENTITY")
    (row,) = connections[2].execute("INSERT INTO orders (label) VALUES ('again') RETURNING id, no")
    assert row == (1, 1)
    connections[2].execute("DROP TABLE orders")
    until(lambda: not any(list(node.metadata.all(Counted)) for node in cluster.nodes.values()))


def test_no_value_is_given_twice_while_the_leader_goes(cluster: Replicated, ports: SqlPorts) -> None:
    with ports.connect(cluster.leader(), "shared") as connection:
        connection.execute("CREATE SEQUENCE IF NOT EXISTS ids")
    ports.shut()
    everywhere(cluster, "ids")
    every: list[list[int]] = []

    def take(node: Node, mine: list[int], stopping: threading.Event) -> None:
        sequence = cluster.database(node).sequences["ids"]
        while not stopping.is_set():
            try:
                mine += node.take_values(sequence, 1 + len(mine) % 5).tolist()
            except Exception:
                # Its node has gone, or the one that it asked.
                continue

    nodes, stopping = dict(cluster.nodes), threading.Event()
    got: dict[int, list[int]] = {place: [] for place in nodes}
    every += got.values()
    taking = [threading.Thread(target=take, args=(node, got[place], stopping)) for place, node in nodes.items()]
    for thread in taking:
        thread.start()
    until(lambda: all(len(mine) > 60 for mine in got.values()))
    leader = cluster.leader()
    first = next(place for place, node in nodes.items() if node is leader)
    cluster.together.stop(first)
    before = {place: len(mine) for place, mine in got.items() if place != first}
    until(lambda: all(len(got[place]) > count + 60 for place, count in before.items()))
    stopping.set()
    for thread in taking:
        thread.join(60)
    cluster.together.start(first)
    values = [value for mine in every for value in mine]
    assert len(values) == len(set(values)) > 180
