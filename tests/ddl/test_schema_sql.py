"""The schema of ``shared/clients/schema.sql``, statement by statement, here and after a restart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from tests.ddl.conftest import Run
from tests.session.conftest import Server

SCHEMA = (
    "CREATE TABLE metrics (time timestamptz NOT NULL, host text NOT NULL, region varchar(20), cpu double precision,"
    " mem real, n bigint, i integer, s smallint, ok boolean, d date, num numeric(12,3), tags jsonb, arr text[],"
    " PRIMARY KEY (time, host))",
    "CREATE INDEX metrics_host_idx ON metrics (host, time DESC)",
    "CREATE TABLE devices (id serial PRIMARY KEY, name text UNIQUE NOT NULL, created timestamp DEFAULT now())",
    "CREATE TABLE readings (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, device_id int REFERENCES devices(id),"
    " ts timestamptz, v float8 CHECK (v > -1e9))",
    "CREATE VIEW v_cpu AS SELECT time, host, cpu FROM metrics",
    "CREATE MATERIALIZED VIEW mv_cpu AS SELECT host, avg(cpu) a FROM metrics GROUP BY 1",
    "CREATE SCHEMA telemetry",
    "CREATE TABLE telemetry.events (ts timestamptz, kind text, payload jsonb)",
    "COMMENT ON TABLE metrics IS 'main metrics'",
    "INSERT INTO metrics SELECT '2026-01-01'::timestamptz + (g||' sec')::interval, 'h'||(g%3), 'eu', random()*100, 1.5,"
    """ g, g%1000, 1, true, '2026-01-01', 1.234, '{"a":1}', '{a,b}' FROM generate_series(1,5000) g""",
    "INSERT INTO devices(name) VALUES ('a'),('b')",
    "INSERT INTO readings(device_id, ts, v) VALUES (1, now(), 1.0)",
)


def test_the_schema_of_the_clients_runs_and_is_remembered(run: Run, server: Server, database: str) -> None:
    run(*SCHEMA)
    assert run("SELECT count(*) FROM v_cpu") == [(5000,)]
    assert run("SELECT id, name FROM devices ORDER BY 1") == [(1, "a"), (2, "b")]
    found = server.node.catalog.find(database)
    metrics, readings = found.find("metrics"), found.find("readings")
    assert metrics.comment == "main metrics"
    assert [(index.name, [key.descending for key in index.keys]) for index in metrics.indexes] == [
        ("metrics_host_idx", [False, True])
    ]
    assert [(c.name, c.kind, c.text) for c in readings.constraints] == [
        ("readings_device_id_fkey", "f", ""),
        ("readings_v_check", "c", "v > -1e9"),
    ]
    assert readings.constraints[0].references == found.find("devices").number
    assert {s.name for s in found.sequences.values()} == {"devices_id_seq", "readings_id_seq"}


def test_what_is_not_enforced_says_so(connection: psycopg.Connection) -> None:
    notices: list[str] = []
    connection.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary or ""))
    for statement in (
        "CREATE TABLE t (a int UNIQUE, b int CHECK (b > 0), ts timestamptz, EXCLUDE USING gist (a WITH =))"
        " PARTITION BY RANGE (ts)",
        "CREATE UNIQUE INDEX ON t (lower(a::text))",
        "CREATE EXTENSION IF NOT EXISTS timescaledb",
    ):
        connection.execute(statement.encode())
    assert sum("not enforced" in notice for notice in notices) == 3
    assert any("PARTITION BY" in notice for notice in notices)
    assert any("timescaledb" in notice for notice in notices)


def test_declarations_follow_their_table(run: Run, refused: Callable[[str], str]) -> None:
    run(
        "CREATE TABLE p (id int PRIMARY KEY)",
        "CREATE TABLE c (p int REFERENCES p, q int, CONSTRAINT pos CHECK (q > 0))",
    )
    assert refused("DROP TABLE p") == "2BP01"
    assert refused("CREATE TABLE x (a int REFERENCES nothing)") == "42P01"
    run("ALTER TABLE c RENAME CONSTRAINT pos TO positive", "ALTER TABLE c DROP CONSTRAINT positive")
    assert refused("ALTER TABLE c DROP CONSTRAINT positive") == "42704"
    run("ALTER TABLE c DROP CONSTRAINT IF EXISTS positive", "ALTER TABLE c ADD CONSTRAINT u UNIQUE (q)")
    run("CREATE INDEX i ON c (q)", "ALTER INDEX i RENAME TO j", "DROP INDEX j", "DROP INDEX IF EXISTS j")
    assert refused("DROP INDEX j") == "42704"
    run("ALTER TABLE c DROP COLUMN q", "DROP TABLE p CASCADE")


def test_schemas_hold_tables_and_go_with_cascade(run: Run, refused: Callable[[str], str]) -> None:
    run(
        "CREATE SCHEMA IF NOT EXISTS s",
        "CREATE TABLE s.t (a int)",
        "CREATE TABLE t (a int)",
        "INSERT INTO s.t VALUES (1)",
    )
    assert run("SELECT * FROM t") == []
    assert run("SET search_path = s", "SELECT * FROM t") == [(1,)]
    assert run("RESET search_path", "ALTER SCHEMA s RENAME TO s2", "SELECT t.a FROM s2.t") == [(1,)]
    assert refused("CREATE SCHEMA s2") == "42P06"
    assert refused("CREATE SCHEMA pg_mine") == "42939"
    assert refused("DROP SCHEMA s2") == "2BP01"
    run("ALTER TABLE t RENAME TO u", "ALTER TABLE s2.t SET SCHEMA public", "DROP SCHEMA s2")
    assert run("SELECT * FROM t") == [(1,)]
    assert refused("SELECT * FROM s2.t") == "42P01"


def test_create_table_like_and_as_with_schemas(run: Run) -> None:
    run(
        "CREATE TABLE a (time timestamptz, host text TAG, v float8 DEFAULT 1.5, PRIMARY KEY (host, time))",
        "CREATE SCHEMA s",
        "CREATE TABLE s.b (LIKE a INCLUDING ALL)",
        "INSERT INTO s.b (time, host) VALUES ('2026-01-01', 'x')",
        "CREATE TABLE s.c AS SELECT host, v FROM s.b",
        "SELECT host AS h INTO s.d FROM s.b",
    )
    found: list[tuple[Any, ...]] = run("SELECT * FROM s.c")
    assert found == [("x", 1.5)]
    assert run("SELECT h FROM s.d") == [("x",)]


def test_what_has_no_place_here_is_refused_with_a_hint(connection: psycopg.Connection) -> None:
    for statement in (
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TYPE pair AS (a int, b int)",
        "CREATE DOMAIN d AS int",
        "CREATE TRIGGER t AFTER INSERT ON x EXECUTE FUNCTION f()",
    ):
        try:
            connection.execute(statement.encode())
        except psycopg.errors.FeatureNotSupported as error:
            assert error.diag.message_hint
        else:
            raise AssertionError(statement)
