"""Views: what they show, what they depend on, and that the planner sees through them."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.ddl.conftest import Run
from tests.session.conftest import Server

Refused = Callable[[str], str]

CPU = "CREATE TABLE cpu (time timestamptz, host text TAG, usage float8, n int, PRIMARY KEY (host, time))"
ROWS = (
    "INSERT INTO cpu SELECT '2026-01-01 00:00+00'::timestamptz + (g || ' min')::interval, 'h' || (g % 3), g / 10.0, g"
    " FROM generate_series(1, 300) g"
)


@pytest.fixture
def cpu(run: Run) -> Run:
    run(CPU, ROWS)
    return run


def test_a_view_over_views_and_several_series_gives_what_its_query_gives(cpu: Run) -> None:
    cpu(
        "CREATE TABLE hosts (name text PRIMARY KEY, owner text)",
        "INSERT INTO hosts VALUES ('h0', 'ann'), ('h1', 'bob')",
        "CREATE VIEW named (at, host, n) AS SELECT time, host, n FROM cpu WHERE usage > 1",
        "CREATE VIEW owned AS SELECT at, owner, n FROM named JOIN hosts ON name = host",
    )
    query = "SELECT owner, count(*), sum(n) FROM {} GROUP BY 1 ORDER BY 1"
    inner = "(SELECT time, owner, n FROM cpu JOIN hosts ON name = host WHERE usage > 1) s"
    assert cpu(query.format("owned")) == cpu(query.format(inner)) != []


def test_conditions_on_time_and_tags_prune_through_views(cpu: Run) -> None:
    cpu("CREATE VIEW v AS SELECT time AS t, host AS h, usage FROM cpu", "CREATE VIEW vv AS SELECT * FROM v")
    plan = "\n".join(line for (line,) in cpu("EXPLAIN SELECT * FROM vv WHERE h = 'h1' AND t >= '2026-01-01 03:00+00'"))
    assert "Time: from 2026-01-01T03:00:00+00:00" in plan
    assert "Tags: host" in plan


def test_renames_and_new_columns_change_nothing_in_a_view(cpu: Run) -> None:
    cpu("CREATE VIEW v AS SELECT * FROM cpu", "CREATE VIEW w AS SELECT host, usage FROM v")
    before, other = cpu("SELECT * FROM v ORDER BY 1"), cpu("SELECT * FROM w ORDER BY 2")
    cpu(
        "ALTER TABLE cpu RENAME COLUMN usage TO load",
        "ALTER TABLE cpu ADD COLUMN usage text",
        "ALTER TABLE cpu RENAME TO processors",
        "ALTER VIEW v RENAME COLUMN usage TO used",
        "ALTER VIEW v RENAME TO renamed",
    )
    assert cpu("SELECT * FROM renamed ORDER BY 1") == before
    assert cpu("SELECT * FROM w ORDER BY 2") == other


def test_what_a_view_uses_goes_only_with_cascade(cpu: Run, refused: Refused) -> None:
    cpu("CREATE VIEW v AS SELECT time, usage FROM cpu", "CREATE VIEW w AS SELECT * FROM v")
    for statement in ("DROP TABLE cpu", "ALTER TABLE cpu DROP COLUMN usage", "DROP VIEW v"):
        assert refused(statement) == "2BP01"
    assert refused("ALTER TABLE cpu ALTER COLUMN usage TYPE int") == "0A000"
    cpu("ALTER TABLE cpu DROP COLUMN n")
    cpu("DROP VIEW v, w")
    cpu("CREATE VIEW v AS SELECT time, usage FROM cpu", "ALTER TABLE cpu DROP COLUMN usage CASCADE")
    assert refused("SELECT * FROM v") == "42P01"


def test_or_replace_keeps_columns_and_never_makes_a_circle(cpu: Run, refused: Refused) -> None:
    cpu("CREATE VIEW v AS SELECT host, n FROM cpu", "CREATE VIEW w AS SELECT * FROM v")
    cpu("CREATE OR REPLACE VIEW v AS SELECT host, n, usage FROM cpu WHERE n > 299")
    assert cpu("SELECT * FROM w") == [("h0", 300)]
    assert refused("CREATE OR REPLACE VIEW v AS SELECT host FROM cpu") == "42P16"
    assert refused("CREATE OR REPLACE VIEW v AS SELECT n AS host, n, usage FROM cpu") == "42P16"
    assert refused("CREATE OR REPLACE VIEW v AS SELECT w.host, w.n, 1.0::float8 AS usage FROM w") == "42P16"
    assert refused("CREATE VIEW v AS SELECT 1") == "42P07"
    assert refused("CREATE VIEW cpu AS SELECT 1") == "42P07"
    assert refused("CREATE OR REPLACE VIEW cpu AS SELECT 1") == "42809"


def test_a_view_does_not_depend_on_the_session_that_made_it(server: Server, database: str) -> None:
    with server.connect(database=database) as maker:
        maker.execute("CREATE SCHEMA telemetry")
        maker.execute("SET search_path = telemetry")
        maker.execute("SET timezone = 'Asia/Tokyo'")
        maker.execute("CREATE TABLE events (time timestamptz, kind text)")
        maker.execute("INSERT INTO events VALUES ('2026-01-01 09:00', 'a'), ('2026-01-01 08:59', 'b')")
        maker.execute("CREATE VIEW public.v AS SELECT kind FROM events WHERE time >= '2026-01-01 09:00'")
    with server.connect(database=database) as reader:
        reader.execute("CREATE TABLE events (time timestamptz, kind text)")
        assert reader.execute("SELECT * FROM v").fetchall() == [("a",)]


def test_what_views_refuse(cpu: Run, refused: Refused) -> None:
    cpu("CREATE VIEW v AS SELECT * FROM cpu")
    assert refused("INSERT INTO v VALUES (now(), 'x', 1, 1)") == "0A000"
    assert refused("UPDATE v SET n = 1") == "0A000"
    assert refused("DELETE FROM v") == "0A000"
    assert refused("DROP TABLE v") == "42809"
    assert refused("DROP VIEW cpu") == "42809"
    assert refused("CREATE VIEW w AS SELECT nothing FROM cpu") == "42703"
    assert refused("CREATE VIEW w (a, b) AS SELECT n FROM cpu") == "42601"
    assert refused("CREATE VIEW w AS SELECT n, n FROM cpu") == "42701"
    assert refused("DROP VIEW nothing") == "42P01"


def test_names_in_with_and_subqueries_of_a_view_are_its_own(cpu: Run) -> None:
    cpu(
        "CREATE VIEW v AS WITH top AS (SELECT host, max(n) AS n FROM cpu GROUP BY 1)"
        " SELECT top.host, (SELECT count(*) FROM cpu c WHERE c.host = top.host AND c.n > 290) AS late FROM top"
    )
    assert cpu("WITH top AS (SELECT 1), cpu AS (SELECT 2) SELECT * FROM v ORDER BY host") == [
        ("h0", 4), ("h1", 3), ("h2", 3),
    ]  # fmt: skip


def test_line_protocol_cannot_write_into_a_view(cpu: Run, server: Server, database: str) -> None:
    from tsdb.ingest.bind import bind, missing
    from tsdb.ingest.lineprotocol import parse

    cpu("CREATE VIEW v AS SELECT * FROM cpu")
    parsed = parse(b"v,host=a usage=1 1\ncpu,host=a usage=1 1\n", now_ns=0)
    found = server.node.catalog.find(database)
    assert missing(parsed, found) == ()
    bound = bind(parsed, found)
    assert [len(points) for points in bound.points] == [1]
    assert bound.error_count == 1


def test_a_view_is_there_after_psycopg_prepared_it(connection: psycopg.Connection, cpu: Run) -> None:
    cpu("CREATE VIEW v AS SELECT host, n FROM cpu")
    for n in (1, 2, 3):
        found = connection.execute("SELECT host FROM v WHERE n = %s", (n,), prepare=True).fetchall()
        assert found == [(f"h{n % 3}",)]
