"""Writes at any of three nodes: each part is stored at the node that leads its location, once, and seen from all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from tests.group.together import Together
from tests.routing.spread import SqlPorts, three
from tsdb.cluster.node import Node
from tsdb.errors import CannotConnectNow
from tsdb.ingest.faults import Limits
from tsdb.ingest.write import WriteRequest, submit
from tsdb.model.points import Points, encode_tagset
from tsdb.model.store import SEQUENCE, TIME_NS, Producer, ScanRequest, Write
from tsdb.storage.rows import COUNTER_MASK

MINUTE = 60 * 10**9
START = 1_767_225_600 * 10**9


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Together, SqlPorts]]:
    with three(tmp_path_factory.mktemp("writes")) as found:
        yield found


def send(node: Node, lines: list[str], producer: Producer | None = None) -> list[bool]:
    """Whether each part was there already."""
    request = WriteRequest("tsdb", producer=producer)
    submitted = submit(node, request, "\n".join(lines).encode(), START + 10**18, Limits(), False)
    return [future.result(30).duplicate for future in submitted.futures]


def times_at(node: Node, name: str, *, own: bool = False) -> list[int]:
    """The times of a series' points, as all nodes have them, or of a node's ``own``."""
    view = node.own_view() if own else node.view()
    try:
        series = view.catalog.find("tsdb").find(name)
        batches = view.scan(ScanRequest(series, (TIME_NS,))).batches
        return sorted(time for batch in batches for time in batch.column(0).to_pylist())
    finally:
        view.close()


def lines_of(name: str, count: int, step: int = MINUTE) -> list[str]:
    return [f"{name},host=h{at % 7} v={at}i {START + at * step}" for at in range(count)]


def test_lines_at_any_node_are_cut_by_location_and_seen_from_all(nodes: tuple[Together, SqlPorts]) -> None:
    cluster, _ = nodes
    lines = lines_of("cut", 600)
    for place in (1, 2, 3):
        send(cluster.nodes[place], lines[place - 1 :: 3])
    expected = [START + at * MINUTE for at in range(600)]
    held = [times_at(node, "cut", own=True) for node in cluster.nodes.values()]
    assert all(held), "each node leads some of the buckets"
    assert sorted(time for times in held for time in times) == expected, "and no point is at two"
    for node in cluster.nodes.values():
        assert times_at(node, "cut") == expected


def test_a_numbered_batch_counts_once_at_whichever_node_it_is_sent_again(nodes: tuple[Together, SqlPorts]) -> None:
    cluster, _ = nodes
    with nodes[1].connect(cluster.nodes[1]) as sql:
        sql.execute("CREATE TABLE counted (time timestamptz, host text TAG, v int8)")
    lines = lines_of("counted", 300)
    first = [send(cluster.nodes[2], lines, Producer("meter", 1))]
    again = [send(cluster.nodes[place], lines, Producer("meter", 1)) for place in (1, 2, 3)]
    assert first == [[False]]
    assert again == [[True]] * 3
    assert len(times_at(cluster.nodes[3], "counted")) == 300


def test_sequences_of_points_name_the_node_that_stored_them_and_are_unique(nodes: tuple[Together, SqlPorts]) -> None:
    cluster, _ = nodes
    send(cluster.nodes[1], lines_of("numbered", 400))
    view = cluster.nodes[2].view()
    series = view.catalog.find("tsdb").find("numbered")
    found = np.concatenate([np.asarray(b.column(0)) for b in view.scan(ScanRequest(series, (SEQUENCE,))).batches])
    view.close()
    assert len(np.unique(found)) == 400
    assert {*(found >> 48).tolist()} == {1, 2, 3}
    assert (found & COUNTER_MASK).min() > 0


@pytest.mark.parametrize("seed", range(3))
def test_transactions_of_many_kinds_at_any_node_are_what_they_are_at_one(
    nodes: tuple[Together, SqlPorts], seed: int
) -> None:
    """A keyed table of minutes, by INSERT, ON CONFLICT, UPDATE of values and times, DELETE by keys and by ranges."""
    cluster, ports = nodes
    random, table = Random(seed), f"kinds_{seed}"
    connections = [ports.connect(node) for node in cluster.nodes.values()]
    random.choice(connections).execute(
        f"CREATE TABLE {table} (time timestamptz, host text, v int8, PRIMARY KEY (host, time))".encode()
    )
    begin = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    rows: dict[tuple[dt.datetime, str], int] = {}
    for _ in range(25):
        sql = random.choice(connections)
        at = begin + dt.timedelta(minutes=random.randrange(200))
        until_ = at + dt.timedelta(minutes=random.randrange(1, 60))
        match random.randrange(6):
            case 0 | 1:
                keys = [(begin + dt.timedelta(minutes=random.randrange(200)), random.choice("abc")) for _ in range(30)]
                new = {key: random.randrange(100) for key in keys}
                values = ", ".join(f"('{time}', '{host}', {v})" for (time, host), v in new.items())
                upsert = "ON CONFLICT (host, time) DO UPDATE SET v = excluded.v + 1"
                sql.execute(f"INSERT INTO {table} VALUES {values} {upsert}".encode())
                rows.update({key: v + 1 if key in rows else v for key, v in new.items()})
            case 2:
                done = sql.execute(f"DELETE FROM {table} WHERE time >= '{at}' AND time < '{until_}'".encode())
                gone = [key for key in rows if at <= key[0] < until_]
                assert done.rowcount == len(gone)
                for key in gone:
                    del rows[key]
            case 3:
                sql.execute(f"UPDATE {table} SET v = v * 2 WHERE host = 'b' AND v < 40".encode())
                rows.update({key: v * 2 for key, v in rows.items() if key[1] == "b" and v < 40})
            case 4:
                sql.execute(f"DELETE FROM {table} WHERE v % 10 = 3".encode())
                rows = {key: v for key, v in rows.items() if v % 10 != 3}
            case _:
                # The points go to other buckets, and so to other nodes.
                sql.execute(f"UPDATE {table} SET time = time + interval '1 day' WHERE host = 'c' AND v < 20".encode())
                moved = {(k[0] + dt.timedelta(days=1), k[1]): v for k, v in rows.items() if k[1] == "c" and v < 20}
                rows = {key: v for key, v in rows.items() if not (key[1] == "c" and v < 20)} | moved
        found = random.choice(connections).execute(f"SELECT time, host, v FROM {table}".encode()).fetchall()
        assert {(time, host): v for time, host, v in found} == rows
        assert len(found) == len(rows)
    for connection in connections:
        connection.close()


def test_serial_columns_and_reference_tables_are_one_for_all_nodes(nodes: tuple[Together, SqlPorts]) -> None:
    cluster, ports = nodes
    connections = [ports.connect(node) for node in cluster.nodes.values()]
    connections[0].execute("CREATE TABLE sites (id serial PRIMARY KEY, name text UNIQUE)")
    for at, sql in enumerate(connections * 4):
        sql.execute("INSERT INTO sites (name) VALUES (%s)", [f"site {at}"])
    for sql in connections:
        assert sql.execute("SELECT count(DISTINCT id), count(*) FROM sites").fetchall() == [(12, 12)]
        with pytest.raises(psycopg.errors.UniqueViolation):
            sql.execute("INSERT INTO sites (name) VALUES ('site 3')")
        with sql.transaction():
            sql.execute("DELETE FROM sites WHERE name = 'site 5'")
            sql.execute("INSERT INTO sites (name) VALUES ('site 5')")
    for sql in connections:
        assert sql.execute("SELECT count(*) FROM sites").fetchall() == [(12,)]
        sql.close()


def test_a_row_that_another_has_changed_since_it_was_read_refuses_the_transaction(
    nodes: tuple[Together, SqlPorts],
) -> None:
    cluster, ports = nodes
    one, two = ports.connect(cluster.nodes[1]), ports.connect(cluster.nodes[2])
    one.execute("CREATE TABLE seen (time timestamptz, host text, v int8, PRIMARY KEY (host, time))")
    rows = ", ".join(f"('2026-01-01 {hour:02}:00+00', 'a', {hour})" for hour in range(24))
    one.execute(f"INSERT INTO seen VALUES {rows}".encode())
    for hour in range(24):
        at = f"2026-01-01 {hour:02}:00+00"
        one.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        one.execute("UPDATE seen SET v = v + 100 WHERE time = %s", [at])
        two.execute("UPDATE seen SET v = v + 1000 WHERE time = %s", [at])
        with pytest.raises(psycopg.errors.SerializationFailure):
            one.execute("COMMIT")
    assert two.execute("SELECT sum(v) FROM seen").fetchall() == [(sum(range(24)) + 24_000,)]
    one.close()
    two.close()


def test_what_is_lost_with_a_node_is_said_and_comes_back_with_it(tmp_path: Path) -> None:
    with three(tmp_path) as (cluster, ports):
        lines = lines_of("away", 300)
        send(cluster.nodes[1], lines)
        with ports.connect(cluster.nodes[1]) as sql:
            cluster.stop(2)
            with pytest.raises(psycopg.errors.CannotConnectNow, match=r"node 2 \(n2\) cannot be reached"):
                sql.execute("SELECT count(*) FROM away")
            with pytest.raises(CannotConnectNow, match=r"node 2 \(n2\) cannot be reached") as error:
                send(cluster.nodes[3], [line.replace("away", "away2") for line in lines])
            assert error.value.detail is not None
            assert "points are stored, at other nodes" in error.value.detail
            cluster.start(2)
            assert sql.execute("SELECT count(*) FROM away").fetchall() == [(300,)]
            # What was refused is sent again as a whole.
            send(cluster.nodes[3], [line.replace("away", "away2") for line in lines])
            assert sql.execute("SELECT count(*) FROM away2").fetchall() == [(300,)]


def test_a_write_of_many_pieces_is_whole(nodes: tuple[Together, SqlPorts]) -> None:
    """Longer than a message between nodes: its body goes in pieces."""
    cluster, _ = nodes
    with nodes[1].connect(cluster.nodes[1]) as sql:
        sql.execute("CREATE TABLE long (time timestamptz, host text TAG, t text)")
    node = cluster.nodes[1]
    database = node.catalog.find("tsdb")
    series = database.find("long")
    random = Random(1)
    texts = [random.randbytes(40_000).hex() for _ in range(120)]
    points = Points(
        series, np.arange(120, dtype=np.int64) * MINUTE + START, [encode_tagset([])], np.zeros(120, np.int32),
        {series.column("t").number: pa.array(texts)},
    )  # fmt: skip
    assert node.commit([Write(points)]).result(60).points == 120
    with nodes[1].connect(cluster.nodes[2]) as sql:
        found = sql.execute("SELECT t FROM long ORDER BY time").fetchall()
    assert [text for (text,) in found] == texts
