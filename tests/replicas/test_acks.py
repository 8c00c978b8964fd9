"""On how many replicas a write is when it is acknowledged, who says so, and what became of one that was lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.cluster.setting import START
from tests.fixtures.waiting import until
from tests.http.test_write import Client
from tests.replicas.replicated import HOUR, Replicated
from tests.routing.spread import SqlPorts
from tsdb.cluster.node import Node
from tsdb.http.options import HttpOptions
from tsdb.model.acks import ALL, QUORUM, Fate
from tsdb.model.schema import SetAcks
from tsdb.model.store import Written

LEVELS = ("quorum", "all", "0", "1", "2", "3", "9")


def shown(connection: psycopg.Connection, text: str) -> str:
    found = connection.execute(text).fetchone()
    assert found is not None
    return str(found[0])


def put(cluster: Replicated, node: Node, value: int, acks: int | None = None) -> Written:
    points = cluster.points(node, [value], START + value * HOUR)
    return node.write(cluster.database(node), [points], acks=acks).result(30)


def test_a_session_and_a_request_say_how_many_replicas_they_wait_for(cluster: Replicated, ports: SqlPorts) -> None:
    leader, other = cluster.leader(), cluster.follower()
    count = 0
    for node in (leader, other):
        http = Client(node, HttpOptions())
        with ports.connect(node, "shared") as connection:
            for level in LEVELS:
                notices: list[str | None] = []
                connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))  # noqa: B023
                connection.execute(f"SET tsdb.acks = '{level}'")
                connection.execute(f"INSERT INTO cpu VALUES ('2026-01-01 00:{count:02}:00', 'a', {count})")
                token = shown(connection, "SHOW tsdb.write_token")
                confirmed = f"SELECT confirm_write('{token}')"
                # What a majority has any node can tell at once: one of them knows it.
                assert level in ("0", "1") or shown(connection, confirmed) == "committed"
                until(lambda: shown(connection, confirmed) == "committed")  # noqa: B023
                assert notices == []
                line, headers = f"cpu,host=b v={count}i {START + count * HOUR}", {"X-Tsdb-Acks": level}
                answer = http.write(line, "/write?db=shared", headers)
                assert (answer.status_code, answer.headers.get("x-tsdb-acked")) == (204, None), answer.text
                where = f"/confirm?token={answer.headers['x-tsdb-token']}"
                until(lambda: http.request("GET", where).json() == {"fate": "committed"})  # noqa: B023
                count += 1
            until(lambda: shown(connection, "SELECT count(*) FROM cpu") == str(2 * count))  # noqa: B023
            with pytest.raises(psycopg.errors.CantChangeRuntimeParam):
                connection.execute("SET tsdb.write_token = '1:1.1'")
        refused = http.write("cpu v=1i 1", "/write?db=shared", {"X-Tsdb-Acks": "most"})
        assert refused.status_code == 400
        assert "X-Tsdb-Acks" in refused.text
        assert http.request("GET", "/confirm?token=").status_code == 400
    place = cluster.database(leader).locations[0].number
    # What is not there yet may still come.
    assert [node.confirm(((place, 9, 1_000),)) for node in (leader, other)] == [Fate.UNKNOWN] * 2


def test_what_fewer_have_than_were_asked_for_says_so_and_what_is_lost_is_told(
    cluster: Replicated, ports: SqlPorts
) -> None:
    leader = cluster.leader()
    places = {place: node for place, node in cluster.nodes.items() if node is not leader}
    (first, _), (second, _) = places.items()
    cluster.together.stop(first)
    # A write says it, else the session, else the table.
    leader.change(SetAcks("shared", "cpu", ALL))
    with ports.connect(cluster.nodes[second], "shared") as connection, ThreadPoolExecutor(1) as pool:
        sent = pool.submit(Client(leader, HttpOptions()).write, f"cpu,host=b v=1i {START}", "/write?db=shared")
        notices: list[str | None] = []
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        connection.execute("SET tsdb.acks = 'all'")
        connection.execute("INSERT INTO cpu VALUES ('2026-01-01', 'z', 1)")
        assert len(notices) == 1
        assert "a majority of the replicas" in (notices[0] or "")
        answer = sent.result()
    ports.shut()
    assert (answer.status_code, answer.headers["x-tsdb-acked"]) == (204, "quorum")
    assert not put(cluster, leader, 7, QUORUM).fell_short
    # For a moment the leader does not know that nobody follows it.
    cluster.together.stop(second)
    lost = put(cluster, leader, 8, acks=1)
    ops = lost.token
    assert leader.confirm(ops) is Fate.UNKNOWN
    (mine,) = cluster.nodes
    cluster.together.stop(mine)
    for place in (first, second):
        cluster.together.start(place)
    other = cluster.leader()
    until(lambda: other.confirm(ops) is Fate.REVERTED)
    back = cluster.together.start(mine)
    until(lambda: back.confirm(ops) is Fate.REVERTED)
    found = until(lambda: back.reverted())
    assert [((each.location, each.epoch, each.sequence),) for each in found] == [ops]
    with ports.connect(back, "shared") as connection:
        rows = connection.execute("SELECT location, datname, epoch, sequence, rows FROM tsdb.reverted").fetchall()
        assert rows == [(*ops[0][:1], "shared", *ops[0][1:], 1)]
