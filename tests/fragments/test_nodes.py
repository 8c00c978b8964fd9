"""Nodes that fetch rows from each other, some of which cannot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from tests.group.together import Together
from tests.routing.spread import SqlPorts, spread, three
from tsdb.cluster.group.group import Group
from tsdb.cluster.group.joining import ROWS
from tsdb.cluster.metadata.records import Member
from tsdb.errors import StartupError

ROWS_WRITTEN = 60_000
CREATE = "CREATE TABLE t (time timestamptz, v int8)"
# Buckets of many locations.
INSERT = (
    f"INSERT INTO t SELECT '2026-01-01'::timestamptz + i * interval '1 s', i FROM generate_series(1, {ROWS_WRITTEN}) i"
)
QUERY = "SELECT count(*), sum(v), count(DISTINCT v % 1000) FROM t"
EXPECTED = (ROWS_WRITTEN, ROWS_WRITTEN * (ROWS_WRITTEN + 1) // 2, 1000)
NAMES = ("fetched_total", "not_fetched_total", "sent_total", "being_sent")


def counts(together: Together, place: int) -> Mapping[str, int]:
    gauges = together.nodes[place].agreement.gauges()
    return {name: int(gauges[f"fragments_{name}"]) for name in NAMES}


def addresses(together: Together, place: int, at: int = 1) -> dict[str, str]:
    """Where a node says that another one is."""
    members = together.nodes[at].metadata.all(Member)
    return next((dict(each.addresses) for each in members if each.name == f"n{place}"), {})


def know(together: Together, *places: int) -> bool:
    """Whether all nodes know where to fetch rows of these."""
    return all(ROWS in addresses(together, place, at) for place in places for at in together.nodes)


def filled(together: Together, ports: SqlPorts) -> None:
    with ports.connect(together.nodes[1]) as connection:
        connection.execute(CREATE)
        connection.execute(INSERT.encode())


def test_rows_of_other_nodes_are_fetched(tmp_path: Path) -> None:
    with three(tmp_path) as (together, ports):
        until(lambda: know(together, 1, 2, 3))
        filled(together, ports)
        before = counts(together, 1)
        sent = {place: counts(together, place) for place in (2, 3)}
        with ports.connect(together.nodes[1]) as connection:
            assert connection.execute(QUERY).fetchone() == EXPECTED
        after = counts(together, 1)
        assert after["fetched_total"] == before["fetched_total"] + 2
        assert after["not_fetched_total"] == 0
        for place in (2, 3):
            now = counts(together, place)
            assert now["sent_total"] == sent[place]["sent_total"] + 1
            until(lambda: counts(together, place)["being_sent"] == 0)  # noqa: B023


def test_rows_of_a_node_that_does_not_listen_for_that_come_all_the_same(tmp_path: Path) -> None:
    together, ports = Together(tmp_path), SqlPorts(tmp_path)
    try:
        together.found()
        for place in (1, 2, 3):
            together.rows_port = None if place == 2 else 0
            together.start(place, join=1 if place > 1 else None)
        until(lambda: together.roles(1) == {1: "voter", 2: "voter", 3: "voter"})
        until(lambda: know(together, 1, 3))
        assert ROWS not in addresses(together, 2)
        spread(together)
        filled(together, ports)
        for place, others in ((1, 1), (2, 2), (3, 1)):
            before = counts(together, place)["fetched_total"]
            with ports.connect(together.nodes[place]) as connection:
                assert connection.execute(QUERY).fetchone() == EXPECTED
            assert counts(together, place)["fetched_total"] == before + others
        assert counts(together, 2)["sent_total"] == 0
    finally:
        ports.close()
        together.end()


def test_a_node_that_comes_back_listens_where_it_did(tmp_path: Path) -> None:
    together = Together(tmp_path)
    try:
        together.found()
        together.start(1)
        until(lambda: ROWS in addresses(together, 1))
        before = addresses(together, 1)[ROWS]
        together.stop(1)
        together.start(1)
        group = together.nodes[1].agreement
        assert isinstance(group, Group)
        assert group._addresses[ROWS] == addresses(together, 1)[ROWS] == before
        # Two nodes on a machine cannot have the same port.
        together.rows_port = int(before.rpartition(":")[2])
        with pytest.raises(StartupError, match=r"cannot listen on 127\.0\.0\.1:\d+ for rows that other nodes ask for"):
            together.start(2, join=1)
    finally:
        together.end()
