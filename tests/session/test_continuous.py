"""Continuous views as clients meet them: always the plain query's rows, whatever was written, deleted or refreshed."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.session.conftest import Server

QUERY = """SELECT time_bucket('1 hour', time) AS bucket, host, avg(v) AS mean, count(*) AS n, max(v) AS top
           FROM cpu GROUP BY bucket, host"""


@pytest.fixture
def connection(server: Server) -> Iterator[psycopg.Connection]:
    with server.connect() as made:
        made.execute("DROP TABLE IF EXISTS cpu CASCADE")
        made.execute("CREATE TABLE cpu (time timestamptz, host text TAG, v float8, PRIMARY KEY (host, time))")
        made.execute(
            """INSERT INTO cpu SELECT '2026-01-01 00:00+00'::timestamptz + i * interval '7 minutes', 'h' || i % 3, i
               FROM generate_series(0, 99) AS i"""
        )
        yield made
        made.execute("DROP TABLE IF EXISTS cpu CASCADE")


def _rows(connection: psycopg.Connection, query: str) -> list[tuple[object, ...]]:
    return sorted(connection.execute(query).fetchall(), key=repr)


def _same(connection: psycopg.Connection) -> None:
    assert _rows(connection, "SELECT * FROM hourly") == _rows(connection, QUERY)


def _spans(connection: psycopg.Connection) -> list[str]:
    lines = [row[0] for row in connection.execute("EXPLAIN SELECT * FROM hourly").fetchall()]
    return [line.strip() for line in lines if "Spans" in line]


def test_a_view_is_the_plain_query_while_it_is_stored_and_changed(connection: psycopg.Connection) -> None:
    connection.execute(f"CREATE MATERIALIZED VIEW hourly WITH (continuous) AS {QUERY}")
    assert "Spans: before" in _spans(connection)[0]
    _same(connection)
    for change in (
        "INSERT INTO cpu VALUES ('2026-01-01 01:00:01+00', 'late', 5)",
        "INSERT INTO cpu VALUES ('2026-01-01 00:00:00+00', 'h0', 500)",
        "UPDATE cpu SET v = v + 1 WHERE host = 'h1' AND time < '2026-01-01 02:00+00'",
        "DELETE FROM cpu WHERE time BETWEEN '2026-01-01 03:00+00' AND '2026-01-01 04:30+00'",
        "DELETE FROM cpu WHERE host = 'h2'",
        "DELETE FROM cpu WHERE v > 90",
        "INSERT INTO cpu VALUES (now(), 'new', 1)",
        "TRUNCATE cpu",
    ):
        connection.execute(change)
        _same(connection)
        connection.execute("REFRESH MATERIALIZED VIEW hourly")
        _same(connection)


def _one(connection: psycopg.Connection, query: str) -> tuple[object, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row


def _refused(connection: psycopg.Connection, statement: str) -> str:
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(statement)
    return str(caught.value.sqlstate)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT host, count(*) FROM cpu GROUP BY host",
        "SELECT time_bucket('1 hour', time) AS b FROM cpu",
        "SELECT count(*) FROM cpu GROUP BY time_bucket('1 hour', time)",
        "SELECT time_bucket('1 hour', c.time) AS b, count(*) FROM cpu c JOIN cpu d USING (time) GROUP BY b",
        "SELECT time_bucket('1 hour', time) AS b, count(*) FROM (SELECT * FROM cpu) AS c GROUP BY b",
        "SELECT time_bucket('1 hour', time) AS b, count(*) FROM cpu GROUP BY b HAVING count(*) > 1",
        "SELECT DISTINCT time_bucket('1 hour', time) AS b, count(*) FROM cpu GROUP BY b",
        "SELECT time_bucket('1 hour', time) AS b, count(*) FROM cpu GROUP BY b ORDER BY b",
        "SELECT time_bucket('1 hour', time) AS b, count(*) FROM cpu GROUP BY b LIMIT 3",
        "SELECT time_bucket('1 hour', time) AS b, host, count(*) FROM cpu GROUP BY ROLLUP (b, host)",
        "SELECT time_bucket('1 hour', time) AS b, sum(count(*)) OVER () FROM cpu GROUP BY b",
        "SELECT time_bucket('1 hour', time) AS b, count(*) FROM cpu WHERE time > now() - interval '1 d' GROUP BY b",
        "SELECT time_bucket('1 hour', time) AS b, max(v + random()) FROM cpu GROUP BY b",
        "SELECT time_bucket('1 hour', time) AS b, max(current_user) FROM cpu GROUP BY b",
        "SELECT time_bucket('1 hour', time) AS b, max(time::text) FROM cpu GROUP BY b",
        "SELECT time_bucket('1 hour', time) AS b, max(extract(hour from time)) FROM cpu GROUP BY b",
        "SELECT time_bucket('1 hour', time) AS b, time::date AS d, count(*) FROM cpu GROUP BY b, d",
        "SELECT time_bucket('1 hour', time) AS b, json_agg(time) FROM cpu GROUP BY b",
        "SELECT time_bucket('1 hour', time) AS b, json_object_agg(host, time) FROM cpu GROUP BY b",
        "SELECT time_bucket('1 hour', time) AS b, string_agg(time::text, ',') FROM cpu GROUP BY b",
        "SELECT time_bucket('1 hour', time) AS b, count(*) FROM cpu WHERE v > (SELECT 1) GROUP BY b",
        "SELECT date_trunc('hour', time) AS b, count(*) FROM cpu GROUP BY b",
        "SELECT time_bucket('1 hour', time + interval '1 h') AS b, count(*) FROM cpu GROUP BY b",
        "SELECT time_bucket(v * interval '1 h', time) AS b, v, count(*) FROM cpu GROUP BY b, v",
    ],
)
def test_what_cannot_be_kept_by_buckets_is_refused(connection: psycopg.Connection, query: str) -> None:
    assert _refused(connection, f"CREATE MATERIALIZED VIEW hourly WITH (continuous) AS {query}") == "0A000"


ANY = (
    "last(t, time)", "first(j, time)", "last(t, time) FILTER (WHERE v > 3)", "string_agg(t, ',' ORDER BY time)",
    "max(time) - min(time)", "extract(epoch from max(time) - min(time))", "jsonb_agg(v ORDER BY v)", "rate(v, time)",
    "time_weighted_average(v, time, 'locf')", "histogram(v, 0, 100, 4)", "approx_percentile(v, 0.5)",
    "approx_count_distinct(host)", "corr(v, v * v)", "array_agg(t ORDER BY time)",
    "percentile_cont(0.5) WITHIN GROUP (ORDER BY v)",
)  # fmt: skip


def test_any_aggregate_is_kept(connection: psycopg.Connection) -> None:
    connection.execute("ALTER TABLE cpu ADD COLUMN t text, ADD COLUMN j jsonb")
    connection.execute("UPDATE cpu SET t = 't' || v, j = to_jsonb(v)")
    query = f"SELECT time_bucket('1 hour', time) AS bucket, {', '.join(f'{a} AS a{n}' for n, a in enumerate(ANY))} "
    query += "FROM cpu GROUP BY bucket"
    connection.execute(f"CREATE MATERIALIZED VIEW hourly WITH (continuous) AS {query}")
    for change in ("", "DELETE FROM cpu WHERE v = 77", "INSERT INTO cpu VALUES ('2026-01-01 02:30+00', 'z', 1, 'x')"):
        if change:
            connection.execute(change)
        assert _rows(connection, "SELECT * FROM hourly") == _rows(connection, query)
        connection.execute("REFRESH MATERIALIZED VIEW hourly")
        assert _rows(connection, "SELECT * FROM hourly") == _rows(connection, query)


def test_conditions_reach_the_stored_rows(connection: psycopg.Connection) -> None:
    connection.execute(f"CREATE MATERIALIZED VIEW hourly WITH (continuous) AS {QUERY}")
    where = "WHERE bucket >= '2026-01-01 04:00+00' AND host = 'h1'"
    lines = [row[0].strip() for row in connection.execute(f"EXPLAIN SELECT * FROM hourly {where}").fetchall()]
    stored = lines.index("->  Scan on hourly")
    assert lines[stored + 2 : stored + 5 : 2] == ["Time: from 2026-01-01T04:00:00+00:00", "Tags: host"]
    assert _rows(connection, f"SELECT * FROM hourly {where}") == [
        row
        for row in _rows(connection, QUERY)
        if row[1] == "h1" and row[0].hour >= 4  # type: ignore[attr-defined]
    ]


def test_a_transaction_sees_its_own_changes_in_a_view(connection: psycopg.Connection) -> None:
    connection.execute(f"CREATE MATERIALIZED VIEW hourly WITH (continuous) AS {QUERY}")
    with connection.transaction(force_rollback=True):
        connection.execute("INSERT INTO cpu VALUES ('2026-01-01 00:30:00+00', 'mine', 1)")
        connection.execute("DELETE FROM cpu WHERE host = 'h0'")
        _same(connection)
        assert ("mine",) in connection.execute("SELECT host FROM hourly").fetchall()
    _same(connection)
    assert ("mine",) not in connection.execute("SELECT host FROM hourly").fetchall()


def test_materialized_only_gives_what_was_stored(connection: psycopg.Connection) -> None:
    connection.execute(f"CREATE MATERIALIZED VIEW hourly WITH (timescaledb.continuous) AS {QUERY}")
    connection.execute("ALTER MATERIALIZED VIEW hourly SET (timescaledb.materialized_only = true)")
    before = _rows(connection, QUERY)
    connection.execute("INSERT INTO cpu VALUES ('2026-01-01 00:30:00+00', 'late', 1), (now(), 'new', 1)")
    assert _rows(connection, "SELECT * FROM hourly") == before
    connection.execute("CALL refresh_continuous_aggregate('hourly', NULL, now() - INTERVAL '1 hour')")
    assert len(_rows(connection, "SELECT * FROM hourly")) == len(before) + 1
    connection.execute("ALTER MATERIALIZED VIEW hourly SET (materialized_only = false)")
    _same(connection)


def test_a_view_says_how_it_stands(connection: psycopg.Connection) -> None:
    connection.execute(f"CREATE MATERIALIZED VIEW hourly WITH (continuous, refresh_lag = '1 day') AS {QUERY}")
    query = """SELECT source, watermark < now(), dirty, runs, failures, error, refresh_lag::text
               FROM tsdb.continuous_aggregates"""
    assert _one(connection, query) == ("cpu", True, [], 1, 0, None, "24:00:00")
    connection.execute("DELETE FROM cpu WHERE time = '2026-01-01 03:30:00+00'")
    assert _one(connection, query)[2] == ["[2026-01-01 03:00:00+00,2026-01-01 04:00:00+00)"]
    assert _one(connection, "SELECT matviewname, ispopulated FROM pg_matviews WHERE matviewname = 'hourly'")[1]


def test_what_a_view_needs_cannot_go_without_it(connection: psycopg.Connection) -> None:
    connection.execute(f"CREATE MATERIALIZED VIEW hourly WITH (continuous) AS {QUERY}")
    connection.execute("CREATE VIEW above AS SELECT bucket, mean FROM hourly")
    for statement in ("DROP TABLE cpu", "ALTER TABLE cpu DROP COLUMN v", "DROP MATERIALIZED VIEW hourly"):
        assert _refused(connection, statement) == "2BP01"
    assert _refused(connection, "ALTER TABLE cpu ALTER COLUMN v TYPE int") == "0A000"
    for statement in ("INSERT INTO hourly DEFAULT VALUES", "DELETE FROM hourly", "TRUNCATE hourly"):
        assert _refused(connection, statement) == "42809"
    assert _refused(connection, "REFRESH MATERIALIZED VIEW hourly WITH NO DATA") == "0A000"
    assert _refused(connection, "CALL refresh_continuous_aggregate('cpu', NULL, NULL)") == "42809"
    connection.execute("ALTER TABLE cpu ADD COLUMN w int")
    connection.execute("ALTER TABLE cpu RENAME COLUMN v TO value")
    connection.execute("ALTER TABLE cpu RENAME TO cpus")
    connection.execute("ALTER MATERIALIZED VIEW hourly RENAME COLUMN mean TO middle")
    connection.execute("ALTER MATERIALIZED VIEW hourly RENAME TO by_hour")
    connection.execute("INSERT INTO cpus VALUES ('2026-01-01 02:00:01+00', 'later', 7)")
    connection.execute("REFRESH MATERIALIZED VIEW by_hour")
    plain = QUERY.replace("(v)", "(value)").replace("FROM cpu", "FROM cpus")
    assert _rows(connection, "SELECT * FROM by_hour") == _rows(connection, plain)
    assert len(_rows(connection, "SELECT mean FROM above")) == len(_rows(connection, plain))
    connection.execute("DROP TABLE cpus CASCADE")
    assert _refused(connection, "SELECT * FROM by_hour") == "42P01"
    assert connection.execute("SELECT * FROM tsdb.continuous_aggregates").fetchall() == []


def test_whoever_may_read_the_view_needs_no_right_on_its_source(server: Server, connection: psycopg.Connection) -> None:
    connection.execute(f"CREATE MATERIALIZED VIEW hourly WITH (continuous) AS {QUERY}")
    connection.execute("DROP ROLE IF EXISTS reader")
    connection.execute("CREATE ROLE reader LOGIN")
    connection.execute("SET ROLE reader")
    assert _refused(connection, "SELECT * FROM hourly") == "42501"
    assert _refused(connection, "REFRESH MATERIALIZED VIEW hourly") == "42501"
    connection.execute("RESET ROLE")
    connection.execute("GRANT SELECT ON hourly TO reader")
    connection.execute("SET ROLE reader")
    assert _refused(connection, "SELECT * FROM cpu") == "42501"
    assert _rows(connection, "SELECT * FROM hourly")
    connection.execute("RESET ROLE")
    connection.execute("DROP OWNED BY reader")
    connection.execute("DROP ROLE reader")


def test_history_outlives_the_retention_of_its_source(connection: psycopg.Connection) -> None:
    connection.execute("INSERT INTO cpu VALUES (now() - interval '40 days', 'old', 9), (now(), 'new', 1)")
    before = _rows(connection, QUERY)
    connection.execute(f"CREATE MATERIALIZED VIEW hourly WITH (continuous) AS {QUERY}")
    connection.execute("ALTER TABLE cpu SET (retention = '30 days')")
    assert _one(connection, "SELECT count(*) FROM cpu WHERE host = 'old'") == (0,)
    assert _rows(connection, "SELECT * FROM hourly") == before
    connection.execute("DELETE FROM cpu")
    connection.execute("REFRESH MATERIALIZED VIEW hourly")
    kept = _rows(connection, "SELECT * FROM hourly")
    assert kept
    assert "new" not in {row[1] for row in kept}
    connection.execute("ALTER MATERIALIZED VIEW hourly SET (retention = '35 days')")
    assert "old" not in {row[1] for row in _rows(connection, "SELECT * FROM hourly")}


@pytest.mark.parametrize(
    "option", ["refresh_interval = '10 ms'", "refresh_lag = '-1 h'", "continuous = maybe", "x = 1"]
)
def test_wrong_options_are_named(connection: psycopg.Connection, option: str) -> None:
    assert _refused(connection, f"CREATE MATERIALIZED VIEW hourly WITH (continuous, {option}) AS {QUERY}") == "22023"
