"""Who answers a query of a replicated database, and with what, by its read level."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Mapping
from typing import Any

import psycopg
import pytest

from tests.cluster.model import scan
from tests.cluster.setting import START
from tests.fixtures.waiting import until
from tests.http.test_write import Client
from tests.replicas.replicated import HOUR, Replicated
from tests.routing.spread import SqlPorts
from tsdb.cluster.node import Node
from tsdb.cluster.replicas.direct import DirectRounds
from tsdb.cluster.replicas.shared import Shared
from tsdb.cluster.replicas.sights import Sights
from tsdb.errors import CannotConnectNow
from tsdb.http.options import HttpOptions
from tsdb.model.acks import QUORUM
from tsdb.model.freshness import LINEARIZABLE, Freshness, Level, Seen
from tsdb.model.schema import AddColumn, ColumnDefinition, DropSeries, Role
from tsdb.model.store import TIME_NS, RangeDeletion, ScanRequest, TimeRange, View
from tsdb.prompt import MayWait, Run, Validation, Validations
from tsdb.session import patience
from tsdb.types import INT8

ANY = Freshness(Level.ANY)
ANYWHERE = Freshness(anywhere=True)
WITHIN_A_MINUTE = Freshness(Level.BOUNDED, 60 * 10**9)
WITHIN_NO_TIME = Freshness(Level.BOUNDED, 0)


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements that nobody answers are refused at once."""
    monkeypatch.setattr(patience, "WAIT_S", 0.0)


def read(cluster: Replicated, node: Node, fresh: Freshness) -> list[int]:
    return sorted(cluster.values(node.view(fresh)))


def asked(cluster: Replicated, node: Node, fresh: Freshness) -> int:
    """How many other nodes a scan of everything asks."""
    view = node.view(fresh)
    try:
        running = view.scan(ScanRequest(cluster.series(node), (TIME_NS,)))
        assert sum(batch.num_rows for batch in running.batches) == 3
        return len(running.statistics.nodes)
    finally:
        view.close()


def test_a_follower_answers_itself_what_may_be_old_and_asks_the_leader_for_the_rest(cluster: Replicated) -> None:
    cluster.write([1, 2, 3])
    cluster.everywhere([1, 2, 3])
    node = cluster.follower()
    until(lambda: asked(cluster, node, WITHIN_A_MINUTE) == 0)
    assert asked(cluster, node, ANY) == 0
    assert asked(cluster, node, WITHIN_NO_TIME) == 1
    assert asked(cluster, node, LINEARIZABLE) == 1


def test_a_follower_that_makes_sure_of_it_answers_itself_with_all_that_was_acknowledged(cluster: Replicated) -> None:
    cluster.write([1, 2, 3])
    node = cluster.follower()
    until(lambda: asked(cluster, node, ANYWHERE) == 0)
    for number in range(4, 30):
        # Of a location of its own: what is committed there is not said by later ops.
        cluster.write([number], START + number * HOUR)
        for each in cluster.nodes.values():
            assert read(cluster, each, ANYWHERE) == [*range(1, number + 1)]
    # Without the leader it neither knows nor guesses.
    leader = cluster.leader()
    cluster.together.stop(next(place for place, each in cluster.nodes.items() if each is leader))
    assert until(lambda: _read_or_refused(cluster, node)) == [*range(1, 30)]


def _read_or_refused(cluster: Replicated, node: Node) -> list[int] | None:
    try:
        return read(cluster, node, ANYWHERE)
    except CannotConnectNow:
        return None


def test_what_is_visible_when_a_round_is_won_is_read_at_once(
    cluster: Replicated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replicas have no turn for it, unless something is just becoming visible."""
    cluster.write([1, 2, 3])
    cluster.everywhere([1, 2, 3])
    leader, other = cluster.leader(), cluster.follower()
    turns: list[Shared] = []
    open_at = Shared._open_at

    def counted(shared: Shared, *arguments: Any) -> None:
        turns.append(shared)
        open_at(shared, *arguments)

    monkeypatch.setattr(Shared, "_open_at", counted)

    def turns_of(node: Node) -> int:
        before = len(turns)
        assert read(cluster, node, ANYWHERE) == [1, 2, 3]
        return len(turns) - before

    for node in (leader, other):
        until(lambda: turns_of(node) == 0)  # noqa: B023
        shared = node.agreement.shared
        assert isinstance(shared, Shared)
        shared._host.version += 1
        assert turns_of(node) == 1
        shared._host.version += 1
        assert turns_of(node) == 0


def begin_at_once(cluster: Replicated, node: Node) -> tuple[list[int], Validation]:
    waiting: Validations = []
    with Run(parts_max=10_000, validations=waiting):
        found = read(cluster, node, ANYWHERE)
    (validation,) = waiting
    return found, validation


def at_once_in_thread(cluster: Replicated, node: Node) -> tuple[list[int], bool]:
    """What is read where nobody may wait, and whether that was valid."""
    found, validation = begin_at_once(cluster, node)
    said = threading.Event()
    validation.when_said(said.set)
    assert said.wait(60)
    return found, validation.holds is True


@pytest.mark.parametrize("over_lines", [False, True])
def test_what_is_read_before_its_round_is_won_is_valid_if_nothing_was_missing(
    cluster: Replicated, ports: SqlPorts, monkeypatch: pytest.MonkeyPatch, *, over_lines: bool
) -> None:
    cluster.write([1, 2, 3])
    cluster.everywhere([1, 2, 3])
    leader, other = cluster.leader(), cluster.follower()

    async def on_loop(node: Node) -> tuple[list[int], bool]:
        found, validation = begin_at_once(cluster, node)
        said, loop = asyncio.Event(), asyncio.get_running_loop()
        validation.when_said(lambda: loop.call_soon_threadsafe(said.set))
        await asyncio.wait_for(said.wait(), 60)
        return found, validation.holds is True

    def at_once(cluster: Replicated, node: Node) -> tuple[list[int], bool]:
        if over_lines:
            return asyncio.run_coroutine_threadsafe(on_loop(node), ports.loop).result(60)
        return at_once_in_thread(cluster, node)

    if over_lines:
        begun: list[bool] = []
        begin = DirectRounds.begin

        def noted(*arguments: Any, **named: Any) -> bool:
            begun.append(begin(*arguments, **named))
            return begun[-1]

        monkeypatch.setattr(DirectRounds, "begin", noted)
        for node in (leader, other):
            until(lambda: at_once(cluster, node)[1] and begun[-1])  # noqa: B023
    for node in (leader, other):
        until(lambda: at_once(cluster, node)[1])  # noqa: B023
        assert at_once(cluster, node)[0] == [1, 2, 3]
    locations = [each.number for each in cluster.database(other).locations]
    with monkeypatch.context() as patch:
        # What a follower shows that has not heard of the next write.
        shared = other.agreement.shared
        assert isinstance(shared, Shared)
        sight = shared._sights.see(locations, locations)
        cluster.write([4], START + HOUR)
        patch.setattr(Sights, "see", lambda *_: sight)
        assert at_once(cluster, other) == ([1, 2, 3], False)
    cluster.everywhere([1, 2, 3, 4])
    for node in (leader, other):
        assert until(lambda: (found := at_once(cluster, node))[1] and found[0]) == [1, 2, 3, 4]  # noqa: B023
    # While something is just becoming visible nobody looks.
    shared._host.version += 1
    with pytest.raises(MayWait):
        at_once(cluster, other)
    shared._host.version += 1
    assert not over_lines or begun[-1]
    for place in [place for place, each in cluster.nodes.items() if each is not other]:
        cluster.together.stop(place)
    assert at_once(cluster, other) == ([1, 2, 3, 4], False)


def test_small_queries_of_any_node_need_no_thread_and_see_all_that_was_acknowledged(
    cluster: Replicated, ports: SqlPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "SELECT time, v FROM cpu WHERE host = 'a' AND v > 0 AND time < '2030-01-01'"
    trips: list[object] = []
    submit = ports._pool.submit

    def counted(*arguments: Any) -> Any:
        trips.append(arguments)
        return submit(*arguments)

    monkeypatch.setattr(ports._pool, "submit", counted)
    cluster.write([1, 2, 3])
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(ports.connect(node, "shared")) for node in cluster.nodes.values()]

        def trips_of(connection: psycopg.Connection, expected: int) -> int:
            before = len(trips)
            assert len(connection.execute(text).fetchall()) == expected
            return len(trips) - before

        for number in range(4, 10):
            for connection in connections:
                until(lambda: trips_of(connection, number - 1) == 0)  # noqa: B023
            cluster.write([number], START + number * HOUR)
            # Whoever has not heard of it yet finds that out.
            for connection in connections:
                trips_of(connection, number)


def test_what_may_be_old_is_read_without_waiting_where_it_is_known_to_be_new_enough(cluster: Replicated) -> None:
    """Or else the replicas have a turn for it, for which somebody waits."""
    cluster.write([1, 2, 3])
    cluster.everywhere([1, 2, 3])
    locations = [each.number for each in cluster.database(cluster.leader()).locations]

    def without_waiting(node: Node, fresh: Freshness) -> list[int] | None:
        try:
            with Run(parts_max=10_000):
                return read(cluster, node, fresh)
        except MayWait:
            return None

    for node in cluster.nodes.values():
        shared = node.agreement.shared
        assert isinstance(shared, Shared)
        seen = Seen()
        for fresh in (ANY, WITHIN_A_MINUTE, Freshness(Level.SESSION, seen=seen)):
            assert until(lambda: without_waiting(node, fresh)) == [1, 2, 3]  # noqa: B023
            shared._host.version += 1
            assert without_waiting(node, fresh) is None
            shared._host.version += 1
        assert without_waiting(node, WITHIN_NO_TIME) is None
        # What it has read it has seen, and one op more is not there, nor is what is of another epoch.
        token = {each: op for each, op in seen.token.items() if op[1]}
        assert token
        assert token.keys() <= {*locations}
        for epoch, sequence in ((0, 1), (1, 0), (-1, 0)):
            other = Seen()
            other.add({each: (op[0] + epoch, op[1] + sequence) for each, op in token.items()})
            assert without_waiting(node, Freshness(Level.SESSION, seen=other)) is None


def test_a_node_that_is_left_alone_answers_what_may_be_old(cluster: Replicated) -> None:
    cluster.write([1, 2, 3])
    cluster.everywhere([1, 2, 3])
    node = cluster.follower()
    until(lambda: asked(cluster, node, WITHIN_A_MINUTE) == 0)
    for place in [place for place, other in cluster.nodes.items() if other is not node]:
        cluster.together.stop(place)
    assert read(cluster, node, ANY) == [1, 2, 3]
    assert read(cluster, node, Freshness(Level.BOUNDED, 3600 * 10**9)) == [1, 2, 3]
    for fresh in (WITHIN_NO_TIME, LINEARIZABLE, ANYWHERE):
        with pytest.raises(CannotConnectNow):
            read(cluster, node, fresh)


def test_a_commit_that_another_node_leads_by_now_is_tried_there(cluster: Replicated) -> None:
    """It is not begun, and may be told to whoever leads."""
    cluster.write([1])
    node = cluster.follower()
    deletion = RangeDeletion(cluster.series(node), TimeRange())
    locations = frozenset(each.number for each in cluster.database(node).locations)
    with pytest.raises(CannotConnectNow):
        node.commit_here([deletion], locations, None, QUORUM).result(10)


def test_a_view_from_before_a_takeover_shows_what_was_acknowledged_before_it_is_read(cluster: Replicated) -> None:
    cluster.write([1])
    leader = cluster.leader().engine.node
    followers = [node for node in cluster.nodes.values() if node.engine.node != leader]
    cluster.write([2, 3], START + HOUR)
    # They have not heard yet that it is committed, or have just heard it.
    views = {node.engine.node: node.view() for node in followers}
    cluster.write([4], START + 2 * HOUR)
    cluster.together.stop(leader)
    until(lambda: cluster.leader().engine.node != leader)
    try:
        found = until(lambda: _tried(cluster, views))
        assert found == [1, 2, 3, 4]
    finally:
        for view in views.values():
            view.close()


def _tried(cluster: Replicated, views: Mapping[int, View]) -> list[int] | None:
    """What the view shows of the node that leads, as soon as it does."""
    leader = cluster.leader()
    try:
        return sorted(seen.fields[0] for seen in scan(views[leader.engine.node], cluster.series(leader)))
    except CannotConnectNow:
        return None


def test_a_view_is_renewed_where_its_statement_still_means_the_same(cluster: Replicated) -> None:
    cluster.write([1, 2, 3])
    leader = cluster.leader()
    views = [leader.view(), leader.view()]
    series = cluster.series(leader)
    more = ColumnDefinition("more", Role.FIELD, INT8)
    leader.change(AddColumn("shared", "cpu", more))
    assert sorted(seen.fields[0] for seen in scan(views[0], series)) == [1, 2, 3]
    leader.change(DropSeries("shared", "cpu"))
    with pytest.raises(CannotConnectNow, match="was changed while"):
        scan(views[1], series)
    # What was read is read again as it was.
    assert sorted(seen.fields[0] for seen in scan(views[0], series)) == [1, 2, 3]
    for view in views:
        view.close()


def test_a_session_says_how_old_its_queries_may_be(cluster: Replicated, ports: SqlPorts) -> None:
    cluster.write([1, 2, 3])
    cluster.everywhere([1, 2, 3])
    node = cluster.follower()
    until(lambda: asked(cluster, node, WITHIN_A_MINUTE) == 0)
    with ports.connect(node, "shared") as connection:
        for place in [place for place, other in cluster.nodes.items() if other is not node]:
            cluster.together.stop(place)
        with pytest.raises(psycopg.OperationalError):
            connection.execute(COUNT)
        connection.execute("SET tsdb.read_level = 'any'")
        assert counted(connection) == 3
        connection.execute("SET tsdb.read_level = 'bounded'; SET tsdb.read_staleness = '1h'")
        assert counted(connection) == 3
        # A block that may change what it reads reads the newest, whatever the level.
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            with pytest.raises(psycopg.OperationalError), connection.transaction():
                connection.execute(COUNT)
        connection.execute("SET tsdb.read_staleness = 0")
        with pytest.raises(psycopg.OperationalError):
            connection.execute(COUNT)


def test_levels_are_those_that_there_are(cluster: Replicated, ports: SqlPorts) -> None:
    with ports.connect(cluster.any(), "shared") as connection:
        shown = connection.execute("SHOW tsdb.read_level; SHOW tsdb.read_staleness")
        assert shown.fetchone() == ("linearizable",)
        assert shown.nextset()
        assert shown.fetchone() == ("10s",)
        with pytest.raises(psycopg.errors.InvalidParameterValue) as refused:
            connection.execute("SET tsdb.read_level = 'dirty'")
        assert refused.value.diag.message_hint == "Available values: linearizable, session, bounded, any."
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="read_token"):
            connection.execute("SET tsdb.read_token = '1:2'")


COUNT = "SELECT count(*) FROM cpu"


def counted(connection: psycopg.Connection) -> int:
    found = connection.execute(COUNT).fetchone()
    assert found is not None
    return int(found[0])


def test_a_session_sees_what_it_has_written_at_whatever_node(cluster: Replicated, ports: SqlPorts) -> None:
    node = cluster.follower()
    with ports.connect(node, "shared") as connection:
        connection.execute("SET tsdb.read_level = 'session'")
        for minute in range(20):
            connection.execute(f"INSERT INTO cpu VALUES ('2026-01-01 0{minute % 3}:{minute:02}:00', 'a', {minute})")
            assert counted(connection) == minute + 1
        # What others do is seen when it is here.
        cluster.write([77])
        until(lambda: counted(connection) == 21)
        token = connection.execute("SHOW tsdb.read_token").fetchone()
        assert token is not None
        assert token[0]
        connection.execute("RESET tsdb.read_token")
        assert connection.execute("SHOW tsdb.read_token").fetchone() == ("",)


def test_a_token_takes_what_a_session_has_seen_to_another_one(cluster: Replicated, ports: SqlPorts) -> None:
    leader = cluster.leader()
    with ports.connect(leader, "shared") as here, ports.connect(cluster.follower(), "shared") as there:
        there.execute("SET tsdb.read_level = 'session'")
        for minute in range(20):
            here.execute(f"INSERT INTO cpu VALUES ('2026-01-01 00:{minute:02}:00', 'a', {minute})")
            (token,) = here.execute("SHOW tsdb.read_token").fetchone() or ("",)
            there.execute(f"SET tsdb.read_token = '{token}'")
            assert counted(there) == minute + 1


def test_what_was_read_is_seen_again(cluster: Replicated, ports: SqlPorts) -> None:
    """Also when the first to answer was another node: its answer has a token."""
    node = cluster.follower()
    with ports.connect(node, "shared") as connection:
        for minute in range(20):
            cluster.write([minute], START + minute * HOUR)
            connection.execute("SET tsdb.read_level = 'linearizable'")
            assert counted(connection) == minute + 1
            connection.execute("SET tsdb.read_level = 'session'")
            assert counted(connection) == minute + 1


def test_a_token_of_what_is_not_here_is_waited_for_nowhere(cluster: Replicated, ports: SqlPorts) -> None:
    cluster.write([1, 2, 3])
    cluster.everywhere([1, 2, 3])
    node = cluster.follower()
    location = cluster.database(node).locations[0].number
    with ports.connect(node, "shared") as connection:
        connection.execute("SET tsdb.read_level = 'session'")
        for place in [place for place, other in cluster.nodes.items() if other is not node]:
            cluster.together.stop(place)
        assert counted(connection) == 3
        connection.execute(f"SET tsdb.read_token = '{location}:1.1000000'")
        with pytest.raises(psycopg.OperationalError):
            counted(connection)
        connection.execute(f"RESET tsdb.read_token; SET tsdb.read_token = '{location}:9.1'")
        with pytest.raises(psycopg.errors.SerializationFailure, match="taken back"):
            counted(connection)
        assert counted(connection) == 3


def test_an_answer_over_http_carries_a_token(cluster: Replicated, ports: SqlPorts) -> None:
    first, second = (node for node in cluster.nodes.values() if node is not cluster.leader())
    http = Client(first, HttpOptions())
    with ports.connect(second, "shared") as connection:
        connection.execute("SET tsdb.read_level = 'session'")
        for minute in range(5):
            answer = http.write(f"cpu,host=a v={minute}i {START + minute * 10**12}", "/write?db=shared")
            assert answer.status_code == 204, answer.text
            connection.execute(f"SET tsdb.read_token = '{answer.headers['x-tsdb-token']}'")
            assert counted(connection) == minute + 1
    assert "x-tsdb-token" not in http.write("cpu v=1 1", "/write?db=tsdb").headers
