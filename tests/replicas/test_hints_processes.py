"""Three ``tsdb start``, two of them killed: the third one keeps numbered batches, and each is stored once afterwards,
however often it is killed meanwhile and its client sends them again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psycopg
import pytest

from tests.fixtures.waiting import until
from tests.group.nodes import Nodes

START_NS = 1_767_225_600_000_000_000
HOUR_NS = 3_600_000_000_000
ROWS = 4
"""Of one batch, each an hour after the one before, so that several locations get some."""
BATCHES = 30


class Keeping(Nodes):
    """Nodes that queue."""

    def variables(self, place: int) -> dict[str, str]:
        return {**super().variables(place), "TSDB_HINTS_BYTES_MAX": "1MiB"}

    def send(self, place: int, batch: int, **headers: str) -> tuple[int, str]:
        lines = "".join(f"payments batch={batch}i {START_NS + hour * HOUR_NS}\n" for hour in range(ROWS))
        return self.running[place].write(
            lines, "db=shared", X_Tsdb_Producer="till", X_Tsdb_Batch=str(batch), **({"X_Tsdb_Queue": "true"} | headers)
        )

    def payments(self, place: int) -> list[tuple[int, int]]:
        url = self.running[place].pg_url.rpartition("/")[0] + "/shared"
        with psycopg.connect(url, connect_timeout=10, autocommit=True) as connection:
            return connection.execute("SELECT batch, count(*) FROM payments GROUP BY batch ORDER BY batch").fetchall()

    def restart(self, place: int) -> None:
        self.kill(place)
        self.start(place)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Keeping]:
    nodes = Keeping(tmp_path)
    try:
        nodes.begin()
        assert "3 replicas" in nodes.done("cluster", "replication", "3", at=2)
        nodes.sql(1, "CREATE DATABASE shared")
        url = nodes.running[1].pg_url.rpartition("/")[0] + "/shared"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE payments (time timestamptz, batch int8)")
        yield nodes
    finally:
        nodes.end()


@pytest.mark.nightly
def test_what_is_queued_is_stored_once_though_its_node_is_killed_again_and_again(nodes: Keeping) -> None:
    until(lambda: nodes.send(1, 1)[0] == 204)
    nodes.kill(1)
    nodes.kill(2)
    began = time.monotonic()
    status, text = nodes.send(3, 2)
    print(f"the first was queued after {time.monotonic() - began:.1f} s")
    assert (status, "not visible yet" in text) == (202, True)
    chance = Random(3)
    for batch in range(3, BATCHES + 1):
        until(lambda: nodes.send(3, batch)[0] == 202)  # noqa: B023
        if batch % 10 == 0:
            nodes.restart(3)
    until(lambda: nodes.send(3, 2)[0] == 202)
    assert nodes.metric(3, "tsdb_hints") == BATCHES - 1
    listed = nodes.sql(3, "SELECT batch, state, datname FROM tsdb.hints ORDER BY file")
    assert listed == [(batch, "waiting", "shared") for batch in range(2, BATCHES + 1)]
    nodes.start_all([1, 2])
    left = [BATCHES - 1]
    while left[-1]:
        # Some have been delivered by this life of the node, and others not.
        until(lambda: nodes.metric(3, "tsdb_hints") < left[-1])
        time.sleep(chance.uniform(0, 0.05))
        nodes.restart(3)
        listed = nodes.sql(3, "SELECT count(*) FROM tsdb.hints")
        left.append(listed[0][0])
        # Its client has not heard of the last one, and asks somebody else.
        with contextlib.suppress(OSError):
            nodes.send(chance.choice([1, 2]), BATCHES)
    print("waiting at each start after that:", left)
    assert len(left) > 4
    assert nodes.payments(3) == [(batch, ROWS) for batch in range(1, BATCHES + 1)]
    assert nodes.send(3, 2)[0] == 204
    assert nodes.metric(3, "tsdb_hints_kept") == 0
