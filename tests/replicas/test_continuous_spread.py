"""Continuous views of databases in several arcs: four nodes in one process, of which none has all points."""

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
from tests.replicas.replicated_views import ARCS, LEVELS, SpreadHistory
from tests.replicas.replicated_world import begun
from tsdb.cluster.routing.messages import LookAtChanges, LookAtProgress, Question
from tsdb.cluster.routing.scatter import ScatterView
from tsdb.errors import CannotConnectNow, LocationElsewhere, SerializationFailure, TsdbError
from tsdb.model.places import places_in
from tsdb.model.points import Points
from tsdb.model.refreshing import Held
from tsdb.model.schema import SetRetention
from tsdb.model.store import RangeDeletion, TimeRange, Write
from tsdb.session.continuous import Refresher, Stored
from tsdb.sql.continuous.reading import cut
from tsdb.sql.query import Queries


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Together]:
    made = Together(
        tmp_path_factory.mktemp("spread"), replace(OPTIONS, compaction=False, rows_per_block=40, replica_log_bytes=0)
    )
    try:
        begun(made)
        made.start(4, join=1)
        until(lambda: made.roles(1).get(4) is not None)
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def queries() -> Iterator[Queries]:
    made = Queries(memory_limit_bytes=1 << 28, threads=1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def history(together: Together, queries: Queries) -> SpreadHistory:
    """Ten hours, of which all is stored."""
    made = SpreadHistory(together, queries, 50, "by_host")
    made.clock = START + 600 * MINUTE
    until(lambda: _put(made, [START + minute * MINUTE for minute in range(600)], [0] * 600))
    assert _refreshed(made).rows > 0
    until(lambda: _computed(made, "by_host") == 0)
    return made


def _put(history: SpreadHistory, times: list[int], hosts: list[int]) -> bool:
    """Whether a client need not try again: leads may just be on their way to where they are to be."""
    try:
        history.put(times, hosts)
    except TsdbError:
        return False
    return True


def _refreshed(history: SpreadHistory) -> Stored:
    """As REFRESH, tried again where leads are on their way."""
    refresher = Refresher(history.leader(), history.queries, history.refreshes, history.context())

    def try_it() -> Stored | None:
        try:
            return refresher.refresh(history.view("by_host"), lag=False)
        except (CannotConnectNow, SerializationFailure):
            return None

    done = until(try_it)
    assert done is not None
    return done


def _go(history: SpreadHistory, steps: int) -> None:
    for _ in range(steps):
        history.step()
        history.check()


def _computed(history: SpreadHistory, name: str) -> int:
    """How many spans before the watermark a reader of any node has to compute, at most."""
    most = 0
    for node in history.together.nodes.values():
        node.catch_up()
        view = node.view()
        try:
            database = node.catalog.find(history.name)
            found = cut(view, database.find(name), database.find("cpu"))
            most = max(most, len(found.dirty) + (found.watermark <= found.low))
        finally:
            view.close()
    return most


def test_reads_are_the_plain_query_at_every_node_and_level(together: Together, queries: Queries) -> None:
    _go(SpreadHistory(together, queries, 0, "by_host"), 8)


def test_what_one_node_stored_is_read_at_all_of_them_and_by_who_leads_next(history: SpreadHistory) -> None:
    for node in history.together.nodes.values():
        history.check_at(node, *LEVELS)
    # One bucket of one arc has to be computed, wherever its points are.
    history.put([START + 7 * MINUTE], [1])
    until(lambda: _computed(history, "by_host") == 1)
    history.check()
    history.elect()
    assert 2 <= _refreshed(history).rows < 10
    until(lambda: _computed(history, "by_host") == 0)
    history.check()


def test_what_comes_to_a_node_that_has_counted_less_than_others_is_known_to_be_new(history: SpreadHistory) -> None:
    times = {arc: _minutes_in(history, arc) for arc in range(ARCS)}
    for first in range(ARCS):
        # One node has no replica of this arc, and has not seen how far its leader has counted.
        history.put([times[first][0]] * 300, [2] * 300)
        _refreshed(history)
        history.put([minutes[1] for minutes in times.values()], [first % 3] * ARCS)
        history.check()


def test_a_node_that_is_behind_makes_others_compute_what_it_does_not_show(history: SpreadHistory) -> None:
    _refreshed(history)
    until(lambda: _computed(history, "by_host") == 0)
    series = history.view("by_host")
    for behind in {each.leader for each in history.records()}:
        engine = history.together.nodes[behind].engine
        shown = engine.call(lambda: engine.progress_shown(series.number))  # noqa: B023
        assert shown is not None
        engine.call(lambda: engine.show_progress(series.number, replace(shown, counter=1, stored=1)))  # noqa: B023
        for node in history.together.nodes.values():
            view = node.view()
            assert view.progress(series) == replace(shown, counter=1, stored=1)
            view.close()
        engine.call(lambda: engine.show_progress(series.number, shown))  # noqa: B023


def test_what_left_a_node_makes_nothing_dirty_of_what_it_has(history: SpreadHistory) -> None:
    _refreshed(history)
    until(lambda: _computed(history, "by_host") == 0)
    for place, node in history.together.nodes.items():
        away = [each.location for each in history.records() if place not in each.voters]
        assert len(away) == len(history.records()) // ARCS
        node.engine.call(lambda: node.engine.mask_locations(history.database.number, away))  # noqa: B023
    assert _computed(history, "by_host") == 0, "hidden"
    for node in history.together.nodes.values():
        node.flush()
        node.compact([history.series, history.view("by_host")], full=True)
        assert not node.engine.is_masked(history.database.number, [each.location for each in history.records()])
    assert _computed(history, "by_host") == 0, "and carried out"
    history.check()


def test_who_has_not_heard_that_a_view_was_dropped_is_told_that_nothing_is_stored(history: SpreadHistory) -> None:
    history.node.catch_up()
    view = history.node.view()
    assert isinstance(view, ScatterView)
    series, gone = history.series, 10**6
    here = history.node.engine.node
    other = next(each for each in history.records() if each.leader != here)
    looks, locations = view._looks(other.leader), (other.location,)
    asked: list[tuple[int, Question]] = [
        (other.leader, LookAtProgress(looks, gone, False, locations)),
        (other.leader, LookAtChanges(looks, gone, 0, 100, 200, 10, locations)),
    ]
    assert view._numbers(series, asked) == [(), (100, 200)]
    view.close()


def test_rows_of_a_refresh_that_another_one_has_taken_over_are_taken_by_nobody(history: SpreadHistory) -> None:
    leader = history.leader()
    early = leader.refreshing(history.view("by_host"))
    _refreshed(history)
    series = history.view("by_host")
    buckets = np.arange(START // (5 * MINUTE), START // (5 * MINUTE) + 12) * 5 * MINUTE
    late = Points(series, buckets, [history.tags_of(series, "late")], np.zeros(len(buckets), np.int32), {})
    with pytest.raises(SerializationFailure, match="refreshed by somebody else"):
        early.commit([Write(late)])
    early.close()
    # Nor does it say how far it has come: the other one may have replaced but a part of a bucket.
    early, later = (leader.refreshing(series) for _ in range(2))
    with pytest.raises(SerializationFailure, match="refreshed by somebody else"):
        early.advance(START)
    later.commit([RangeDeletion(series, TimeRange(START, START + 10 * MINUTE))])
    early.close()
    later.close()
    _refreshed(history)
    with pytest.raises(SerializationFailure):
        leader.commit_held([Write(late)], Held(series.number, 1)).result(10)
    until(lambda: _computed(history, "by_host") == 0)
    history.check()
    other = next(node for node in history.together.nodes.values() if node is not leader)
    with pytest.raises(LocationElsewhere):
        Refresher(other, history.queries, history.refreshes, history.context()).refresh(series)


def test_a_floor_stays_when_points_below_it_came_at_any_node_since_they_were_stored(history: SpreadHistory) -> None:
    leader, counter, floor = history.leader(), _refreshed(history).counter, START + 30 * MINUTE
    for bucket in range(6):
        # Whichever arc it is in: not only what the proposing node has is looked at.
        history.node = leader
        history.put([START + (bucket * 5 + 1) * MINUTE], [3])
        with pytest.raises(SerializationFailure, match="was changed while its floor was to rise"):
            leader.change(SetRetention(history.name, "cpu", None, floor, (counter, floor)))
        counter = _refreshed(history).counter
    before = [row for row in history.rows("SELECT * FROM by_host") if history._bucket("by_host", row) < floor]
    leader.change(SetRetention(history.name, "cpu", None, floor, (counter, floor)))
    assert history.series.floor_ns == floor
    assert {"a", "d"} <= {row[1] for row in before}
    assert [row for row in history.rows("SELECT * FROM by_host") if history._bucket("by_host", row) < floor] == before


def _minutes_in(history: SpreadHistory, arc: int) -> list[int]:
    """The firsts of the buckets that are in an arc, of those that are stored."""
    database, series = history.database, history.series
    numbers = {each.location for each in history.arcs()[arc]}
    starts = [START + minute * MINUTE for minute in range(10, 590, 5)]
    at = places_in(database, series.number).indexes(database.locations, np.array(starts))
    return [
        start for start, each in zip(starts, at.tolist(), strict=True) if database.locations[each].number in numbers
    ]


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(300, 330))
def test_reads_are_the_plain_query_in_long_histories(together: Together, queries: Queries, seed: int) -> None:
    history = SpreadHistory(together, queries, seed, list(QUERIES)[seed % len(QUERIES)])
    history.kills = 1.0
    _go(history, 80)
