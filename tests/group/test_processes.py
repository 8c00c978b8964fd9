"""Three processes are one cluster: what one of them agrees to all of them have, whoever dies."""

from __future__ import annotations

import random
import re

import psycopg
import pytest

from tests.fixtures.waiting import until
from tests.group.nodes import Nodes


def test_any_node_takes_writes_deletions_and_queries(three: Nodes) -> None:
    three.sql(2, "CREATE TABLE cpu (time timestamptz, host text TAG, v float8, PRIMARY KEY (host, time))")
    for place in (1, 2, 3):
        three.sql(place, f"INSERT INTO cpu VALUES ('2026-01-0{place}', 'a', {place})")
        status, body = three.running[place].write(f"cpu,host=b v={place} {1767225600 + place}000000000")
        assert status == 204, body
    for place in (1, 2, 3):
        assert three.sql(place, "SELECT host, count(*), sum(v) FROM cpu GROUP BY 1 ORDER BY 1") == [
            ("a", 3, 6.0), ("b", 3, 6.0),
        ]  # fmt: skip
        assert three.sql(place, "SELECT max(v) FROM cpu WHERE host LIKE 'b%'") == [(3.0,)]
    three.sql(1, "UPDATE cpu SET v = 10 WHERE host = 'a'")
    three.sql(2, "DELETE FROM cpu WHERE host = 'b'")
    three.sql(3, "DELETE FROM cpu WHERE v = 10 AND time = '2026-01-02'")
    for place in (1, 2, 3):
        assert three.sql(place, "SELECT count(*), sum(v) FROM cpu") == [(2, 20.0)]
    three.sql(3, "TRUNCATE cpu")
    assert three.sql(1, "SELECT count(*) FROM cpu") == [(0,)]


def test_what_was_made_at_one_node_is_known_at_the_next_statement_of_another(three: Nodes) -> None:
    with three.connect(1) as one, three.connect(2) as two, three.connect(3) as last:
        for number in range(20):
            made, altered, read = random.Random(number).sample([one, two, last], 3)
            made.execute(f"CREATE TABLE fresh_{number} (time timestamptz, v float8)")
            altered.execute(f"ALTER TABLE fresh_{number} ADD COLUMN w float8")
            assert read.execute(f"SELECT w FROM fresh_{number} WHERE v > %s", [0]).fetchall() == []
            read.execute(f"CREATE DATABASE db_{number}")
            place = next(p for p, connection in ((1, one), (2, two), (3, last)) if connection is made)
            url = three.running[place].pg_url.rpartition("/")[0] + f"/db_{number}"
            psycopg.connect(url, connect_timeout=10).close()
        with pytest.raises(psycopg.errors.UndefinedTable):
            two.execute("SELECT * FROM nowhere")


def at_rest(nodes: Nodes) -> list[str]:
    """What the status says when one leads and reaches all; [] if none does just now."""
    lines = nodes.done("cluster", "status", at=2).splitlines()
    rest = sorted(line.split()[2:5] for line in lines[5:])
    return lines if rest == [["leader", "yes", "0"], ["voter", "yes", "0"], ["voter", "yes", "0"]] else []


def test_the_status_of_a_cluster_can_be_read_and_what_is_wrong_is_said(three: Nodes) -> None:
    lines = until(lambda: at_rest(three))
    assert re.fullmatch(r"cluster [0-9a-f-]{36}, node [123] leads \(term \d+\); seen by node [123]", lines[0])
    assert lines[2] == "a database that is created now has 1 replica"
    head, *words = [line.split() for line in lines[4:]]
    assert head == ["node", "name", "role", "reached", "behind", "silent", "locations", "leads", "addresses"]
    assert [line[:2] for line in words] == [["1", "n1"], ["2", "n2"], ["3", "n3"]]
    refused = three.command("cluster", "remove", "7", at=1)
    assert (refused.returncode, refused.stderr) == (
        1,
        "tsdb: there is no node 7. tsdb cluster status lists the nodes.\n",
    )
    # All nodes say so, and it is said once.
    missing = three.command("cluster", "check", "missing", at=1)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == 'tsdb: database "missing" does not exist.\n'
    other = f"127.0.0.1:{three.running[1].http_port}"
    elsewhere = three.command("cluster", "status", "--at", other, at=1)
    assert elsewhere.stderr.startswith(f"tsdb: what listens on {other} is not a node's port for other nodes (")
    assert three.metric(2, "tsdb_cluster_voters") == 3
    until(lambda: three.metric(3, "tsdb_cluster_has_leader") == 1)


def test_three_nodes_share_schema_users_and_grants_and_survive_their_leader(three: Nodes) -> None:
    for place in (1, 2, 3):
        three.sql(place, f"CREATE TABLE made_at_{place} (time timestamptz, v float8)")
        three.sql(place, f"CREATE ROLE role_of_{place} LOGIN PASSWORD 'secret'")
    three.sql(2, "GRANT SELECT ON made_at_1 TO role_of_3")
    everything = {f"made_at_{place}" for place in (1, 2, 3)}
    for place in (1, 2, 3):
        until(lambda: three.tables(place) >= everything)  # noqa: B023
        until(lambda: three.sql(place, "SELECT has_table_privilege('role_of_3', 'made_at_1', 'SELECT')") == [(True,)])  # noqa: B023
        # Each database is whole at the node that made it: 32 locations, which that node leads.
        members = three.sql(place, "SELECT node, locations, leads FROM tsdb.members ORDER BY node")
        databases = three.sql(place, "SELECT count(*) FROM pg_database WHERE NOT datistemplate")[0][0]
        assert [node for node, _, _ in members] == [1, 2, 3]
        assert all(locations == leads for _, locations, leads in members)
        assert sum(locations for _, locations, _ in members) == 32 * databases
    leader = three.leader(1)
    three.kill(leader)
    left = [place for place in (1, 2, 3) if place != leader]
    # How soon: test_deaths.py, where the machine is ours.
    three.sql(left[0], "CREATE TABLE after_its_death (time timestamptz, v float8)")
    assert "after_its_death" in until(lambda: three.tables(left[1]) & {"after_its_death"})
    three.start(leader)
    assert "after_its_death" in three.tables(leader)
    for place in (1, 2, 3):
        three.kill(place)
    three.start_all([1, 2, 3])
    for place in (1, 2, 3):
        assert three.tables(place) >= {*everything, "after_its_death"}
    three.sql(3, "DROP TABLE after_its_death")
    assert until(lambda: "after_its_death" not in three.tables(1))


def test_a_leader_that_was_stopped_for_a_while_leads_no_more_and_has_lost_nothing(three: Nodes) -> None:
    leader = three.leader(1)
    others = [place for place in (1, 2, 3) if place != leader]
    term = three.report(leader).term
    three.pause(leader)
    try:
        three.sql(others[0], "CREATE TABLE while_it_stood (time timestamptz, v float8)")
    finally:
        three.resume(leader)
    # It wakes up as the leader that it was, and must not act on that.
    three.sql(leader, "CREATE TABLE of_who_was_deposed (time timestamptz, v float8)")
    made = {"while_it_stood", "of_who_was_deposed"}
    for place in (1, 2, 3):
        until(lambda: three.tables(place) >= made)  # noqa: B023
    assert three.report(others[0]).term > term
