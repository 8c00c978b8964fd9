"""The disk of a node that leads is full: another one leads, and takes the writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.setting import START
from tests.fixtures.waiting import until
from tests.group.together import OPTIONS, Together
from tests.replicas.replicated import HOUR, Replicated, replicated
from tsdb.errors import DiskFull

ROOM, RESERVE = 10_000, 1_000


class Filled(Replicated):
    """``full``: the directories on whose disks there is less than what is kept free."""

    full: set[Path]

    def fill(self, *places: int) -> None:
        self.full.update(self.together.data(place) for place in places)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Filled]:
    full: set[Path] = set()
    options = replace(OPTIONS, disk_reserve=RESERVE, free_bytes=lambda path: RESERVE - 1 if path in full else ROOM)
    with replicated(Together(tmp_path, options), Filled) as cluster:
        cluster.full = full
        yield cluster


@pytest.mark.parametrize("count", [1, 2])
def test_who_has_room_leads_and_takes_writes(cluster: Filled, count: int) -> None:
    cluster.write([1, 2, 3])
    leader = cluster.leader().engine.node
    # The leads may come to another one that is full as well, and go on from there.
    cluster.fill(leader, *sorted({1, 2, 3} - {leader})[: count - 1])
    cluster.write([4, 5, 6], start=START + HOUR)
    assert cluster.together.data(cluster.leader().engine.node) not in cluster.full
    cluster.everywhere([1, 2, 3, 4, 5, 6])


def test_where_all_are_full_nothing_is_written_until_there_is_room(cluster: Filled) -> None:
    cluster.write([1])
    leader = cluster.leader()
    cluster.fill(1, 2, 3)
    with pytest.raises(DiskFull):
        leader.write(cluster.database(leader), [cluster.points(leader, [2], START + HOUR)]).result(30)
    until(lambda: cluster.leader() is not leader)
    cluster.full.clear()
    cluster.write([3], start=START + 2 * HOUR)
    cluster.everywhere([1, 3])
