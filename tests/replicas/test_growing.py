"""One ``tsdb start`` with data becomes three nodes that have it, and is killed on the way, while it is written to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.server import Process
from tests.fixtures.waiting import until
from tests.group.nodes import Nodes
from tests.replicas.clients import Clients

VOTERS = "SELECT DISTINCT array_to_string(voters, ',') FROM tsdb.locations WHERE datname = 'shared'"
TICKETS = 5
PAUSE_S = 0.05


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """A server that was by itself, and is the first node of a cluster now."""
    nodes = Nodes(tmp_path)
    alone = Process(nodes.data(1))
    try:
        with contextlib.closing(alone.connect()) as connection:
            connection.execute("CREATE DATABASE shared")
        fill(alone)
    finally:
        alone.kill()
    try:
        nodes.start(1)
        yield nodes
    finally:
        nodes.end()


def fill(process: Process) -> None:
    with process.connect("shared") as connection:
        connection.execute("CREATE TABLE orders (id int8 PRIMARY KEY, item text)")
        connection.execute("INSERT INTO orders SELECT n, 'item ' || n FROM generate_series(1, 100) n")
        connection.execute("CHECKPOINT")
        connection.execute("DELETE FROM orders WHERE id > 90")
        connection.execute("CREATE SEQUENCE tickets")
        connection.execute(f"SELECT nextval('tickets') FROM generate_series(1, {TICKETS})")


def check(nodes: Nodes) -> None:
    """What it had when it was by itself, at each node."""
    for process in nodes.running.values():
        with process.connect("shared") as connection:
            rows = connection.execute("SELECT id, item FROM orders ORDER BY id").fetchall()
            assert rows == [(number, f"item {number}") for number in range(1, 91)]
    tickets = [taken(process) for process in nodes.running.values()]
    assert len({*tickets}) == len(tickets)
    assert min(tickets) > TICKETS


def taken(process: Process) -> int:
    with process.connect("shared") as connection:
        ((ticket,),) = connection.execute("SELECT nextval('tickets')").fetchall()
        return int(ticket)


def grow(nodes: Nodes, clients: Clients) -> None:
    """Two more come, and all three are to have it."""
    for place in (2, 3):
        nodes.start(place, join=1)
    until(lambda: nodes.roles(1) == {1: "voter", 2: "voter", 3: "voter"})
    said = nodes.done("cluster", "replication", "3", "--database", "shared", at=2)
    assert 'database "shared" will have 3 replicas' in said


def further(clients: Clients) -> None:
    seen = clients.acknowledged
    until(lambda: clients.acknowledged > seen + 10 or clients.noticed)


def three_have_it(nodes: Nodes) -> None:
    until(lambda: nodes.sql(2, VOTERS) == [("1,2,3",)])
    until(lambda: "32 locations, 32 compared, 0 of them different" in nodes.done("cluster", "check", "shared", at=3))


def test_one_server_becomes_three_nodes_that_have_its_data_and_one_has_it_alone_again(nodes: Nodes) -> None:
    with Clients(nodes, "grown", PAUSE_S) as clients:
        grow(nodes, clients)
        three_have_it(nodes)
        check(nodes)
        nodes.done("cluster", "replication", "1", "--database", "shared", at=3)
        until(lambda: nodes.sql(2, VOTERS) in ([("1",)], [("2",)], [("3",)]))
        further(clients)
    check(nodes)
    clients.check()


@pytest.mark.nightly
@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0])
def test_it_is_killed_on_the_way(nodes: Nodes, seconds: float) -> None:
    with Clients(nodes, "killed", PAUSE_S) as clients:
        grow(nodes, clients)
        clients.wait(seconds)
        nodes.kill(1)
        nodes.start(1)
        three_have_it(nodes)
        further(clients)
    check(nodes)
    clients.check()


@pytest.mark.nightly
@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.0, 1.5, 2.0, 3.0])
def test_one_of_three_is_killed_on_the_way_back_to_one(nodes: Nodes, seconds: float) -> None:
    with Clients(nodes, "killed", PAUSE_S) as clients:
        grow(nodes, clients)
        three_have_it(nodes)
        nodes.done("cluster", "replication", "1", "--database", "shared", at=3)
        clients.wait(seconds)
        nodes.kill(1)
        nodes.start(1)
        until(lambda: nodes.sql(2, VOTERS) in ([("1",)], [("2",)], [("3",)]))
        further(clients)
    check(nodes)
    clients.check()
