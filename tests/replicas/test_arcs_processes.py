"""Four ``tsdb start`` and a spread database: nodes die and arcs move and are gathered while clients write and read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.fixtures.waiting import until
from tests.replicas.test_processes import Patient, Shared

FEW_MINUTES_S = 240.0


class Spread(Shared):
    """``kills``: nodes that died so far."""

    def __init__(self, nodes: Patient) -> None:
        super().__init__(nodes)
        self.kills = 0

    def locations(self) -> list[tuple[int, list[int], list[int] | None]]:
        text = "SELECT leader, voters, goal FROM tsdb.locations WHERE datname = 'shared'"
        return list(self.nodes.sql(min(self.nodes.running), text))

    def arcs(self) -> int:
        ((count,),) = self.nodes.sql(
            min(self.nodes.running), "SELECT max(arc) FROM tsdb.locations WHERE datname = 'shared'"
        )
        return int(count)

    def rebalanced(self) -> None:
        self.nodes.done("cluster", "rebalance", at=min(self.nodes.running))
        until(lambda: all(goal is None for _, _, goal in self.locations()), FEW_MINUTES_S)

    def kill_one(self, place: int) -> None:
        self.kills += 1
        self.nodes.kill(place)
        until(lambda: all(leader != place for leader, _, _ in self.locations()))
        self.nodes.start(place)
        until(lambda: self.nodes.metric(place, "tsdb_replicas_behind") == 0)

    def check_view(self, place: int) -> None:
        """It is its query, and what has ended is stored, whichever node is asked."""
        for _ in range(2):
            with self.connect(place) as connection:
                plain = connection.execute(f"{QUERY} ORDER BY bucket".encode()).fetchall()
                assert connection.execute("SELECT * FROM sums ORDER BY bucket").fetchall() == plain
                connection.execute("REFRESH MATERIALIZED VIEW sums")
        with self.connect(place) as connection:
            stands = connection.execute("SELECT watermark, dirty::text FROM tsdb.continuous_aggregates").fetchone()
            print(f"node {place}: {len(plain)} buckets; watermark and dirty: {stands}")

    def read_at(self, place: int) -> list[int]:
        with self.connect(place) as connection:
            found = connection.execute("SELECT v FROM n WHERE v > 0 ORDER BY time").fetchall()
        return [int(v) for (v,) in found]


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Spread]:
    nodes = Patient(tmp_path)
    try:
        nodes.begin()
        assert "3 replicas" in nodes.done("cluster", "replication", "3", at=2)
        nodes.sql(1, "CREATE DATABASE shared")
        nodes.start(4, join=1)
        until(lambda: nodes.roles(1).get(4) is not None)
        yield Spread(nodes)
    finally:
        nodes.end()


PLAIN = "CREATE TABLE n (time timestamptz PRIMARY KEY, v float8)"
SLOTTED = f"{PLAIN} WITH (slots = 16)"
QUERY = "SELECT time_bucket('10 minutes', time) AS bucket, count(*) AS points, sum(v) AS total FROM n GROUP BY bucket"
VIEWED = f"{PLAIN}; CREATE MATERIALIZED VIEW sums WITH (continuous, refresh_interval = '1 second') AS {QUERY}"


@pytest.mark.nightly
@pytest.mark.parametrize("made", ["", SLOTTED, VIEWED], ids=["whole buckets", "slots", "view"])
def test_what_was_acknowledged_is_there_once_wherever_arcs_are(shared: Spread, made: str) -> None:
    chance, nodes, stop = Random(7), shared.nodes, threading.Event()
    for statement in filter(None, made.split("; ")):
        with shared.connect(1) as connection:
            connection.execute(statement.encode())
    if made == SLOTTED:
        shared.step_ns = 10**9

    def write() -> None:
        while not stop.is_set():
            place = chance.choice([*nodes.running] or [1])
            try:
                shared.write(place, 1)
            except (OSError, KeyError):
                continue

    writer = threading.Thread(target=write)
    writer.start()
    try:
        until(lambda: len(shared.acknowledged) > 50)
        assert "has 4 arcs" in nodes.done("cluster", "spread", "shared", "4", at=1)
        shared.rebalanced()
        found = shared.locations()
        assert len({leader for leader, _, _ in found}) > 1
        assert any(4 in voters for _, voters, _ in found)
        assert not all(4 in voters for _, voters, _ in found)
        for place in (2, 4, 1, 3):
            shared.kill_one(place)
        if made == SLOTTED:
            # From the next minutes on, in which there are no points: all leaders have to say so.
            with shared.connect(3) as connection:
                connection.execute("ALTER TABLE n SET (slots = 64)")
        assert "has 8 arcs" in nodes.done("cluster", "spread", "shared", "8", at=2)
        shared.rebalanced()
        shared.kill_one(3)
        assert "has 9 arcs; each goes" in nodes.done("cluster", "split", "shared", at=4)
        shared.rebalanced()
        shared.kill_one(4)
        assert "become one" in nodes.done("cluster", "merge", "shared", at=2)
        shared.kill_one(1)
        until(lambda: shared.arcs() == 8, FEW_MINUTES_S)
        assert "will have 3 arcs when" in nodes.done("cluster", "spread", "shared", "3", at=1)
        shared.kill_one(2)
        until(lambda: "has 3 arcs already" in nodes.done("cluster", "spread", "shared", "3", at=2), FEW_MINUTES_S)
        assert len({(leader, *voters) for leader, voters, _ in shared.locations()}) <= 3
        assert "will have one arc when" in nodes.done("cluster", "spread", "shared", "1", at=3)
        shared.kill_one(1)
        until(lambda: len({(leader, *voters) for leader, voters, _ in shared.locations()}) == 1, FEW_MINUTES_S)
        until(lambda: "has one arc already" in nodes.done("cluster", "spread", "shared", "1", at=2), FEW_MINUTES_S)
    finally:
        stop.set()
        writer.join()
    shared.check()
    for place in (1, 2, 3, 4):
        points = shared.read_at(place)
        assert len(points) == len({*points})
        assert {*shared.acknowledged} <= {*points}
        with shared.connect(place) as connection:
            row = connection.execute("SELECT reloptions FROM pg_class WHERE relname = 'n'").fetchone()
        assert row == ((["slots=64"] if made == SLOTTED else None),)
        if made == VIEWED:
            shared.check_view(place)
    print(f"{shared.kills} kills, {len(shared.acknowledged)} of {shared.sent} points acknowledged")
    assert "32 compared, 0 of them different" in nodes.done("cluster", "check", "shared", at=1)
