"""Continuous views of replicated databases: three nodes in one process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.cluster.random_node import MINUTE
from tests.cluster.setting import START
from tests.continuous.history import QUERIES
from tests.fixtures.waiting import until
from tests.group.together import OPTIONS, Together
from tests.replicas.replicated_views import LEVELS, GrownHistory, ReplicatedHistory
from tests.replicas.replicated_world import begun
from tsdb.cluster.group.control import Done, Replicate
from tsdb.cluster.metadata.records import ContinuousRecord
from tsdb.errors import LocationElsewhere
from tsdb.model.points import Points
from tsdb.model.schema import DropDatabase
from tsdb.model.store import RangeDeletion, TimeRange, Write
from tsdb.session.continuous import Refresher
from tsdb.sql.query import Queries


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Together]:
    made = Together(
        tmp_path_factory.mktemp("views"), replace(OPTIONS, compaction=False, rows_per_block=40, replica_log_bytes=0)
    )
    try:
        begun(made)
        yield made
    finally:
        made.end()


@pytest.fixture
def queries() -> Iterator[Queries]:
    """Of one history: plans are kept by the version of its catalog."""
    made = Queries(memory_limit_bytes=1 << 28, threads=1)
    yield made
    made.close()


def _run(together: Together, queries: Queries, seed: int, steps: int, *views: str, kills: float = 0.0) -> None:
    history = ReplicatedHistory(together, queries, seed, *views)
    history.kills = kills
    _go(history, steps)


def _go(history: ReplicatedHistory, steps: int) -> None:
    for _ in range(steps):
        history.step()
        history.check()


def test_reads_are_the_plain_query_at_every_node_and_level(together: Together, queries: Queries) -> None:
    _run(together, queries, 0, 10, "by_host")


def test_what_is_stored_is_read_at_every_node_and_by_who_leads_next(together: Together, queries: Queries) -> None:
    """A follower computes nothing anew, and the next leader goes on where the one before stopped."""
    history = ReplicatedHistory(together, queries, 51, "by_host")
    history.put([START + minute * MINUTE for minute in range(600)], [0] * 600)
    for _ in range(2):
        leader = history.leader()
        done = Refresher(leader, queries, history.refreshes, history.context()).refresh(history.view("by_host"))
        for node in together.nodes.values():
            until(lambda: not history.dirty(node, "by_host"))  # noqa: B023
            history.check_at(node, *LEVELS)
        heir = next(place for place, node in together.nodes.items() if node is not leader)
        history.elect(heir)
        until(lambda: history.leader() is together.nodes[heir])  # noqa: B023
        again = Refresher(history.leader(), queries, history.refreshes, history.context())
        assert again.refresh(history.view("by_host")).rows == 0 < done.rows
        history.put([START + 7 * MINUTE], [1])


def test_rows_that_somebody_stored_late_are_not_read(together: Together, queries: Queries) -> None:
    """As those of a leader that was deposed while it refreshed."""
    history = ReplicatedHistory(together, queries, 54, "by_host")
    history.put([START + minute * MINUTE for minute in range(60)], [0] * 60)
    leader = history.leader()
    refresher = Refresher(leader, queries, history.refreshes, history.context())
    refresher.refresh(history.view("by_host"))
    series = history.view("by_host")
    bucket = START // (5 * MINUTE) * 5 * MINUTE
    points = Points(series, np.array([bucket], np.int64), [history.tags_of(series, "late")], np.zeros(1, np.int32), {})
    leader.commit([Write(points)]).result(60)
    for node in together.nodes.values():
        history.check_at(node, *LEVELS)
    refresher.refresh(series)
    assert not history.dirty(leader, "by_host")
    history.check()


def test_a_refresh_is_for_who_leads(together: Together, queries: Queries) -> None:
    history = ReplicatedHistory(together, queries, 52, "by_host")
    follower = next(node for node in together.nodes.values() if node is not history.leader())
    with pytest.raises(LocationElsewhere, match="which does not lead it"):
        Refresher(follower, queries, history.refreshes, history.context()).refresh(history.view("by_host"))


def test_nothing_is_left_of_a_view_that_is_dropped(together: Together, queries: Queries) -> None:
    history = ReplicatedHistory(together, queries, 53, "by_host")
    history.put([START], [0])
    leader = history.leader()
    series = history.view("by_host")
    Refresher(leader, queries, history.refreshes, history.context()).refresh(series)
    assert leader.metadata.get(ContinuousRecord, series.number) is not None
    leader.change(DropDatabase(history.name))
    assert leader.metadata.get(ContinuousRecord, series.number) is None


def test_a_node_that_gets_a_copy_does_not_know_what_was_deleted_before(together: Together, queries: Queries) -> None:
    history = ReplicatedHistory(together, queries, 50, "by_host")
    history.put([START + minute * MINUTE for minute in range(60)], [0] * 60)
    leader = history.leader()
    Refresher(leader, queries, history.refreshes, history.context()).refresh(history.view("by_host"))
    span = TimeRange(START + 10 * MINUTE, START + 30 * MINUTE)
    leader.delete(history.database, RangeDeletion(history.series, span)).result(60)
    for node in together.nodes.values():
        history.everywhere(node)
        node.flush()
        node.compact([history.series], full=True)
    together.start(4, join=1)
    until(lambda: together.roles(1).get(4) is not None)
    assert isinstance(together.ask(1, Replicate(4, history.name)), Done)
    until(lambda: all(4 in each.voters and each.active_epoch == each.epoch for each in history.records()))
    copied = together.nodes[4]
    until(lambda: copied.agreement.gauges()["replica_copies_received_total"])
    history.check_at(copied, *LEVELS)
    assert history.dirty(copied, "by_host")
    Refresher(leader, queries, history.refreshes, history.context()).refresh(history.view("by_host"))
    until(lambda: not history.dirty(copied, "by_host"))
    history.check_at(copied, *LEVELS)
    history.elect(4)
    until(lambda: history.leader() is copied)
    history.put([START + 15 * MINUTE], [0])
    Refresher(copied, queries, history.refreshes, history.context()).refresh(history.view("by_host"))
    history.check()


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 130))
def test_reads_are_the_plain_query_in_long_histories(together: Together, queries: Queries, seed: int) -> None:
    _run(together, queries, seed, 100, list(QUERIES)[seed % len(QUERIES)], kills=1.0)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(200, 220))
def test_reads_are_the_plain_query_while_one_replica_becomes_several(
    together: Together, queries: Queries, seed: int
) -> None:
    history = GrownHistory(together, queries, seed, list(QUERIES)[seed % len(QUERIES)])
    _go(history, 60)
    assert history.is_shared
