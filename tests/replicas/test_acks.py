"""On how many replicas a write is when it is acknowledged, who says so, and what became of one that was lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from tests.cluster.setting import START
from tests.fixtures.waiting import until
from tests.http.test_write import Client
from tests.replicas.replicated import HOUR, Replicated
from tests.routing.spread import SqlPorts
from tsdb.clock import SystemClock
from tsdb.cluster.node import Node
from tsdb.flight.requests import read_put
from tsdb.flight.writing import Incoming, WriteOptions
from tsdb.http.options import HttpOptions
from tsdb.lines.tcp import TcpLines
from tsdb.lines.udp import UdpLines
from tsdb.lines.writer import LineOptions, LineWriter
from tsdb.model.access import Access
from tsdb.model.acks import ALL, QUORUM, Fate, acks_of
from tsdb.model.roles import FIRST
from tsdb.model.schema import SetAcks
from tsdb.model.store import Written
from tsdb.sql.query import Queries

LEVELS = ("quorum", "all", "0", "1", "2", "3", "9")


def shown(connection: psycopg.Connection, text: str) -> str:
    found = connection.execute(text).fetchone()
    assert found is not None
    return str(found[0])


def put(cluster: Replicated, node: Node, value: int, acks: int | None = None) -> Written:
    points = cluster.points(node, [value], START + value * HOUR)
    return node.write(cluster.database(node), [points], acks=acks).result(30)


def by_tcp(node: Node, _: Queries, acks: str) -> bool:
    """Whether fewer replicas had it in time than were asked for: by the answer, and by what is counted."""

    async def write(lines: LineWriter) -> bool:
        listener = TcpLines(lines, "127.0.0.1", 0)
        await listener.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(f"# tsdb: producer={acks} batch=1 acks={acks}\ncpu,host=t v=1i {START}\n# tsdb: end\n".encode())
        answer = await reader.readline()
        writer.close()
        await listener.stop(10)
        assert answer.startswith(b"204 batch 1: 1 points"), answer
        assert (b"majority" in answer) == bool(lines.counts.fell_short)
        return bool(lines.counts.fell_short)

    return _by_lines(node, write, None)


def by_udp(node: Node, _: Queries, acks: str) -> bool:
    async def write(lines: LineWriter) -> bool:
        listener = UdpLines(lines, "127.0.0.1", 0)
        listener.datagram_received(f"cpu,host=u v=1i {START}".encode(), ("127.0.0.1", 1))
        await listener.stop(10)
        assert lines.counts.points == 1
        return bool(lines.counts.fell_short)

    return _by_lines(node, write, acks_of(acks))


def _by_lines(node: Node, write: Callable[[LineWriter], Coroutine[Any, Any, bool]], acks: int | None) -> bool:
    with ThreadPoolExecutor(1) as pool:
        options = LineOptions("shared", acks=acks)
        return asyncio.run(write(LineWriter(node, SystemClock(), pool, Access(), options, "a test")))


def by_flight(node: Node, queries: Queries, acks: str) -> bool:
    put = read_put(json.dumps({"series": "cpu", "database": "shared", "tags": ["host"], "acks": acks}).encode())
    rows = {"time": pa.array([START], pa.timestamp("ns", "UTC")), "host": ["f"], "v": pa.array([1], pa.int64())}
    with ThreadPoolExecutor(1) as pool:
        incoming = Incoming(node, queries, SystemClock(), pool, WriteOptions(1 << 20, False), put, FIRST)
        batch = pa.RecordBatch.from_pydict(rows)
        incoming.begin(batch.schema)
        incoming.add(batch)
        assert incoming.finish() == 1
    return incoming.fell_short


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
    with ports.connect(cluster.nodes[second], "shared") as connection, ThreadPoolExecutor(4) as pool:
        sent = pool.submit(Client(leader, HttpOptions()).write, f"cpu,host=b v=1i {START}", "/write?db=shared")
        # All that wait for three replicas wait side by side.
        others = [pool.submit(each, leader, ports.queries, "all") for each in (by_tcp, by_udp, by_flight)]
        for each in (by_tcp, by_udp, by_flight):
            assert not each(leader, ports.queries, "quorum"), "the write says it, and not the table"
        notices: list[str | None] = []
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        connection.execute("SET tsdb.acks = 'all'")
        connection.execute("INSERT INTO cpu VALUES ('2026-01-01', 'z', 1)")
        assert len(notices) == 1
        assert "a majority of the replicas" in (notices[0] or "")
        answer = sent.result()
        assert [each.result() for each in others] == [True] * 3
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
