"""Twenty million points go to another node in several copies, of which the receiver and the sender are killed in the
middle; nobody's points are lost, and all replicas have the same in the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import psycopg
import pytest

from tests.fixtures.waiting import until
from tests.replicas.clients import Clients
from tests.replicas.test_rebuilding import START_NS, Forgetful

HOSTS, TIMES, STEP_NS = 2_000, 10_000, 10_000_000_000
LINES = 40_000
PATIENCE_S = 600.0
KILLS = 8

pytestmark = pytest.mark.nightly


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Forgetful]:
    with Forgetful.three(tmp_path) as nodes:
        yield nodes


def fill(nodes: Forgetful) -> None:
    """``HOSTS`` × ``TIMES`` points, twenty times of all hosts in each request."""
    each = LINES // HOSTS

    def write(first: int) -> None:
        chance = Random(first)
        lines = [
            f"big,host=h{host} v={chance.random():.4f} {START_NS + at * STEP_NS}"
            for at in range(first, first + each)
            for host in range(HOSTS)
        ]
        body = "\n".join(lines)
        until(lambda: nodes.running[1].write(body, "db=shared")[0] == 204)

    with ThreadPoolExecutor(2) as pool:
        for number, _ in enumerate(pool.map(write, range(0, TIMES, each))):
            if number % 50 == 0:
                print(f"{number * LINES:,} points", file=sys.stderr, flush=True)


def there(nodes: Forgetful, place: int) -> set[int]:
    """The holders, as far as the node answers."""
    try:
        return nodes.holders(place)
    except psycopg.Error:
        return set()


def counted(nodes: Forgetful, place: int) -> tuple[object, ...]:
    """What this node has itself."""
    url = nodes.running[place].pg_url.rpartition("/")[0] + "/shared"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET tsdb.read_level = 'any'")
        found = connection.execute(
            "SELECT count(*), count(DISTINCT host), min(time), max(time), sum(round(v * 10000)::int8) FROM big"
        )
        return found.fetchall()[0]


def test_twenty_million_points_come_to_another_node_whoever_is_killed(nodes: Forgetful) -> None:
    fill(nodes)
    nodes.forget()
    nodes.start(4, join=1)
    chance = Random(7)
    with Clients(nodes, "meanwhile", pause_s=0.05) as clients:
        assert "go to other nodes" in nodes.done("cluster", "drain", "3", at=1)
        began = time.monotonic()
        killed = {1: 0, 2: 0, 4: 0}
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.5, 5.0))
            if there(nodes, 2) == {1, 2, 4}:
                break
            place = chance.choice([1, 2, 4, 4])
            nodes.kill(place)
            killed[place] += 1
            nodes.start(place)
        until(lambda: there(nodes, 2) == {1, 2, 4}, PATIENCE_S)
        took = time.monotonic() - began
        seen = clients.acknowledged
        until(lambda: clients.acknowledged > seen + 10)
    clients.check()
    print(f"\n{HOSTS * TIMES:,} points in {took:.0f} s, killed meanwhile: {killed}, {clients.again} writes again")
    assert sum(killed.values()) >= 3, "it was too fast to be killed"
    found = [counted(nodes, place) for place in (1, 2, 4)]
    assert found[0][:2] == (HOSTS * TIMES, HOSTS)
    assert found[0] == found[1] == found[2]
    until(lambda: "32 compared, 0 of them different" in nodes.done("cluster", "check", "shared", at=4), PATIENCE_S)
