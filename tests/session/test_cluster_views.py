"""The system views of the cluster, as psql's users meet them."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

from tsdb.cluster.node import Node
from tsdb.model.cluster import ReplicaDifference


def test_one_node_has_and_leads_all_locations(connection: psycopg.Connection) -> None:
    (member,) = connection.execute(
        "SELECT node, name, length(uuid::text), draining, locations, leads, addresses, zone FROM tsdb.members"
    ).fetchall()
    count = connection.execute("SELECT count(*) FROM tsdb.locations").fetchone()
    assert count is not None
    assert member == (1, None, 36, False, count[0], count[0], [], "")
    assert connection.execute(
        "SELECT count(*), min(first_place), max(last_place), min(leader), max(epoch), max(active_epoch), "
        "max(map_version) FROM tsdb.locations WHERE datname = current_database()"
    ).fetchone() == (32, "0" * 16, "f" * 16, 1, 1, 1, 1)
    assert connection.execute(
        "SELECT DISTINCT voters, learners, active_voters, intent FROM tsdb.locations"
    ).fetchall() == [([1], [], [1], "none")]


def test_locations_come_and_go_with_their_database(connection: psycopg.Connection) -> None:
    def locations() -> list[int]:
        found = connection.execute("SELECT location FROM tsdb.locations WHERE datname = 'located' ORDER BY 1")
        return [row[0] for row in found]

    connection.execute("CREATE DATABASE located")
    first = locations()
    assert len(first) == 32
    connection.execute("ALTER DATABASE located RENAME TO relocated")
    assert locations() == []
    connection.execute("ALTER DATABASE relocated RENAME TO located")
    assert locations() == first
    connection.execute("DROP DATABASE located")
    assert locations() == []
    connection.execute("CREATE DATABASE located")
    # Their numbers are never given again.
    assert min(locations()) > max(first)
    connection.execute("DROP DATABASE located")


def test_a_table_says_on_how_many_nodes_its_writes_are_to_be(connection: psycopg.Connection) -> None:
    def options() -> object:
        found = connection.execute("SELECT reloptions FROM pg_class WHERE relname = 'acknowledged'").fetchone()
        return found and found[0]

    connection.execute("CREATE TABLE acknowledged (time timestamptz PRIMARY KEY, v int) WITH (acks = all)")
    assert options() == ["acks=all"]
    connection.execute("ALTER TABLE acknowledged SET (retention = '30 days', acks = 2)")
    assert options() == ["retention=2592000s", "acks=2"]
    connection.execute("ALTER TABLE acknowledged RESET (acks)")
    assert options() == ["retention=2592000s"]
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="most"):
        connection.execute("ALTER TABLE acknowledged SET (acks = most)")
    connection.execute("CREATE MATERIALIZED VIEW of_acknowledged AS SELECT v FROM acknowledged")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="acks"):
        connection.execute("ALTER MATERIALIZED VIEW of_acknowledged SET (acks = all)")
    connection.execute("DROP TABLE acknowledged CASCADE")


def test_a_node_by_itself_knows_of_no_token_and_loses_nothing(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE kept (time timestamptz PRIMARY KEY, v int); SET tsdb.acks = 0")
    connection.execute("INSERT INTO kept VALUES (now(), 1)")
    assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1,)
    assert connection.execute("SELECT current_setting('tsdb.write_token')").fetchone() == ("",)
    assert connection.execute("SELECT confirm_write('1:1.1'), confirm_write(NULL)").fetchone() == ("unknown", None)
    for text in ("", "nonsense"):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="no token"):
            connection.execute("SELECT confirm_write(%s)", (text,))
    assert connection.execute("SELECT * FROM tsdb.reverted").fetchall() == []
    connection.execute("DROP TABLE kept; RESET tsdb.acks")


def test_what_replicas_had_and_others_had_not(connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    assert connection.execute("SELECT * FROM tsdb.replica_differences").fetchall() == []
    second = 10**9
    found = [
        ReplicaDifference(second, 7, 2, (1, 3), 4, 50, "points", None, 2 * second, 8, "0a", 9, "0b"),
        ReplicaDifference(second, 8, 2, (1, 3), 4, 51, "unreadable", 2 * second, None, None, None, None, None),
    ]
    monkeypatch.setattr(Node, "replica_differences", lambda self: found)
    assert connection.execute(
        "SELECT location, node, agreed, epoch, marker, what, points, digest, agreed_points, agreed_digest, found_at, "
        "min_time, max_time FROM tsdb.replica_differences ORDER BY location"
    ).fetchall() == [
        (7, 2, [1, 3], 4, 50, "points", 8, "0a", 9, "0b", datetime.fromtimestamp(1, UTC), None,
         datetime.fromtimestamp(2, UTC)),
        (8, 2, [1, 3], 4, 51, "unreadable", None, None, None, None, datetime.fromtimestamp(1, UTC),
         datetime.fromtimestamp(2, UTC), None),
    ]  # fmt: skip
