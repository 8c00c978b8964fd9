"""``tsdb start`` on loopback: a node whose disk is wiped is rebuilt, another one takes the place of a killed one.

Afterwards each node's directory is opened by itself, and what is in it is compared, point by point.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psycopg
import pytest

from tests.fixtures.waiting import until
from tests.group.nodes import Nodes
from tsdb.storage.copies.sending import Tally, chunks_of, decode_chunk
from tsdb.storage.engine import Engine
from tsdb.storage.options import Options

START_NS = 1_767_225_600_000_000_000
MINUTE_NS = 60_000_000_000


class Forgetful(Nodes):
    """They keep next to nothing of their logs, and wait for a lost node for five seconds."""

    def variables(self, place: int) -> dict[str, str]:
        return {**super().variables(place), "TSDB_REPLICA_LOG_BYTES": "1KiB", "TSDB_LOST_NODE_TIMEOUT": "5s"}

    @classmethod
    @contextlib.contextmanager
    def three(cls, folder: Path) -> Iterator[Self]:
        """With a database that all of them have."""
        nodes = cls(folder)
        try:
            nodes.begin()
            assert "3 replicas" in nodes.done("cluster", "replication", "3", at=2)
            nodes.sql(1, "CREATE DATABASE shared")
            yield nodes
        finally:
            nodes.end()

    def shared_sql(self, place: int, text: str) -> list[tuple[object, ...]]:
        url = self.running[place].pg_url.rpartition("/")[0] + "/shared"
        with psycopg.connect(url, connect_timeout=10, autocommit=True) as connection:
            return connection.execute(text).fetchall()

    def holders(self, place: int) -> set[int]:
        """Who votes in all locations, all of them settled; nobody otherwise."""
        text = (
            "SELECT DISTINCT voters::text, learners::text, epoch = active_epoch FROM tsdb.locations "
            "WHERE datname = 'shared'"
        )
        found = self.sql(place, text)
        if len(found) != 1 or found[0][1] != "{}" or not found[0][2]:
            return set()
        return {int(each) for each in found[0][0].strip("{}").split(",")}

    def write(self, place: int, first: int, count: int) -> None:
        """A point a minute of two hosts, until all are acknowledged."""
        for start in range(first, first + count, 500):
            lines = "\n".join(
                f"n,host=h{number % 2} v={number} {START_NS + number * MINUTE_NS}"
                for number in range(start, min(start + 500, first + count))
            )
            until(lambda: self.running[place].write(lines, "db=shared")[0] == 204)  # noqa: B023

    def forget(self) -> None:
        """All is in blocks, and in no log any more."""
        for place in self.running:
            self.sql(place, "CHECKPOINT")

    def level(self) -> bool:
        """Everybody has applied the same."""
        applied = {self.metric(place, "tsdb_replica_sequences_applied") for place in self.running}
        return len(applied) == 1


def points_in(path: Path) -> tuple[int, str]:
    """How many points of the database a directory has, and a hash of all of them, by value."""
    rows: list[str] = []
    with Engine.open(path, Options(disk_reserve=0)) as engine:
        view = engine.view()
        database = view.catalog.find("shared")
        for chunk in chunks_of(view, database, {each.number for each in database.locations}, Tally()):
            bodies, sequences = decode_chunk(chunk)
            at = 0
            for body in bodies:
                fields = {number: values.to_pylist() for number, values in body.fields.items()}
                for row in range(len(body)):
                    values = {number: column[row] for number, column in sorted(fields.items())}
                    tagset = bytes(body.tagsets[int(body.tagset[row])])
                    rows.append(f"{tagset!r} {body.times[row]} {sequences[at + row]} {values}")
                at += len(body)
        view.close()
    return len(rows), hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Forgetful]:
    with Forgetful.three(tmp_path) as nodes:
        yield nodes


@pytest.mark.nightly
def test_a_node_whose_disk_was_wiped_is_rebuilt_also_if_it_dies_again_and_again(nodes: Forgetful) -> None:
    nodes.write(1, 0, 20_000)
    nodes.forget()
    nodes.kill(3)
    shutil.rmtree(nodes.data(3))
    nodes.data(3).mkdir()
    nodes.done("cluster", "remove", "3", "--accept-loss", at=1)
    nodes.write(1, 20_000, 500)
    nodes.start(3, join=1)
    for seconds in (0.3, 1.2, 2.0):
        # Wherever it is: waiting, in the middle of a copy, behind it.
        time.sleep(seconds)
        nodes.kill(3)
        nodes.start(3)
    nodes.write(2, 20_500, 500)
    until(lambda: nodes.holders(1) == {1, 2, 4})
    nodes.write(2, 21_000, 500)
    until(nodes.level)
    assert nodes.shared_sql(3, "SELECT count(*), count(DISTINCT v) FROM n") == [(21_500, 21_500)]
    for place in (1, 2, 3):
        nodes.stop(place)
    found = {place: points_in(nodes.data(place)) for place in (1, 2, 3)}
    assert found[1][0] == 21_500
    assert found[1] == found[2] == found[3]


def test_a_fourth_node_takes_the_place_of_one_that_was_killed_and_the_drained_one_goes(nodes: Forgetful) -> None:
    nodes.write(1, 0, 3_000)
    nodes.forget()
    nodes.start(4, join=1)
    nodes.kill(2)
    nodes.write(1, 3_000, 500)
    until(lambda: nodes.holders(1) == {1, 3, 4})
    assert nodes.metric(4, "tsdb_replica_copies_received_total") >= 1
    nodes.write(4, 3_500, 500)
    nodes.start(2)
    assert "go to other nodes" in nodes.done("cluster", "drain", "1", at=3)
    until(lambda: nodes.holders(3) == {2, 3, 4})
    nodes.write(2, 4_000, 500)
    assert nodes.shared_sql(1, "SELECT count(*), count(DISTINCT v) FROM n") == [(4_500, 4_500)]
    until(lambda: nodes.metric(1, "tsdb_replicas") == 0)
    # The databases of one replica that node 1 had are at one of the others now, so sums of all differ.
    until(lambda: "32 compared, 0 of them different" in nodes.done("cluster", "check", "shared", at=3))
    for place in (2, 3, 4, 1):
        nodes.stop(place)
    found = {place: points_in(nodes.data(place)) for place in (1, 2, 3, 4)}
    assert found[2][0] == 4_500
    assert found[2] == found[3] == found[4]
    assert found[1][0] == 0, "what it had has gone"
