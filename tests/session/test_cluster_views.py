"""The system views of the cluster, as psql's users meet them."""

from __future__ import annotations

import psycopg


def test_one_node_has_and_leads_all_locations(connection: psycopg.Connection) -> None:
    (member,) = connection.execute(
        "SELECT node, length(uuid::text), draining, locations, leads, addresses, zone FROM tsdb.members"
    ).fetchall()
    count = connection.execute("SELECT count(*) FROM tsdb.locations").fetchone()
    assert count is not None
    assert member == (1, 36, False, count[0], count[0], [], "")
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
