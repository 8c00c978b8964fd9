"""Grafana's PostgreSQL data source, statement by statement, as its two drivers send them: one simple query a panel.

Source of the statements: grafana/pkg/tsdb/grafana-postgresql-datasource (macros.go, sqleng) and
public/app/plugins/datasource/grafana-postgresql-datasource/postgresMetaQuery.ts. They run on PostgreSQL 15 too.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import psycopg
import pytest
from psycopg.pq import ExecStatus

from tests.fixtures.postgres import DEBIAN, cluster
from tests.fixtures.server import Start

FILTER = "time BETWEEN '2026-01-01T00:00:00Z' AND '2026-01-01T01:00:00.123456789Z'"
SEARCH_PATH = """SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
  FROM generate_series(array_lower(string_to_array(current_setting('search_path'),','),1),
    array_upper(string_to_array(current_setting('search_path'),','),1)) as i,
    string_to_array(current_setting('search_path'),',') s"""
TABLES = f"""SELECT CASE WHEN quote_ident(table_schema) IN ({SEARCH_PATH}) THEN quote_ident(table_name)
    ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS "table"
  FROM information_schema.tables
  WHERE quote_ident(table_schema) NOT IN ('information_schema','pg_catalog','_timescaledb_cache')
  ORDER BY CASE WHEN quote_ident(table_schema) IN ({SEARCH_PATH}) THEN 0 ELSE 1 END, 1"""
COLUMNS = f"""SELECT quote_ident(column_name) AS "column", data_type AS "type" FROM information_schema.columns
  WHERE CASE WHEN array_length(parse_ident('panel'),1) = 2
    THEN quote_ident(table_schema) = (parse_ident('panel'))[1] AND quote_ident(table_name) = (parse_ident('panel'))[2]
    ELSE quote_ident(table_name) = 'panel' AND quote_ident(table_schema) IN ({SEARCH_PATH}) END"""

# What a data source is asked on its way from "Save & test" to a dashboard.
STATEMENTS = {
    "ping of pgx": "-- ping",
    "ping of lib/pq": ";",
    "version": "SELECT current_setting('server_version_num')::int/100 as version",
    "timescale": "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'",
    "tables": TABLES,
    "columns": COLUMNS,
    "schemas": """SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT LIKE 'pg_%'
        AND schema_name != 'information_schema' ORDER BY schema_name""",
    "values": """SELECT 'host' AS col_name, "host"::text AS val FROM
        (SELECT DISTINCT "host" FROM "public"."panel" WHERE "host" IS NOT NULL ORDER BY "host" LIMIT 100) sub_0""",
    "$__time": f'SELECT time AS "time", cpu FROM panel WHERE {FILTER} ORDER BY time, host',
    "$__timeEpoch": f'SELECT extract(epoch from time) as "time", cpu FROM panel WHERE {FILTER} ORDER BY 1, 2',
    "$__timeFrom": "SELECT time, cpu FROM panel WHERE time >= '2026-01-01T00:00:00Z' ORDER BY time, host LIMIT 5",
    "$__timeGroup": f"""SELECT floor(extract(epoch from time)/300)*300 AS "time", host AS metric, avg(cpu) AS "v"
        FROM panel WHERE {FILTER} GROUP BY 1, 2 ORDER BY 1, 2""",
    "$__unixEpochFilter": """SELECT n AS "time", cpu FROM panel WHERE n >= 1767225600 AND n <= 1767225660
        ORDER BY n, host""",
    "$__unixEpochNanoFilter": "SELECT count(*) FROM panel WHERE n * 1000000000 >= 1767225600000000000",
    "$__unixEpochGroup": 'SELECT floor((n)/60)*60 AS "time", sum(i) FROM panel GROUP BY 1 ORDER BY 1',
    "several statements": """SET TIME ZONE -7; SELECT time, host FROM panel ORDER BY time, host LIMIT 2;
        SET TIME ZONE DEFAULT""",
    "several frames": """SELECT max(time) AS time, max(cpu) AS v FROM panel;
        SELECT min(time) AS time, min(cpu) AS v FROM panel""",
    "variable": """SELECT DISTINCT host AS __text, host AS __value FROM panel WHERE host ~* '^H' OR host ~ 'h1'
        ORDER BY 1""",
    "percentile": f"""SELECT date_trunc('hour', time) AS time, percentile_cont(0.95) WITHIN GROUP (ORDER BY cpu) AS p95
        FROM panel WHERE {FILTER} GROUP BY 1 ORDER BY 1""",
    "annotation": f"""SELECT time as time, 'x' as text, host as tags FROM panel WHERE {FILTER}
        ORDER BY time, host LIMIT 3""",
    "table": "SELECT host, count(*), sum(i), max(n), bool_and(ok) FROM panel GROUP BY host ORDER BY host",
    "alert": "SELECT host, avg(cpu) FROM panel GROUP BY host HAVING avg(cpu) > 10 ORDER BY host",
    "no such column": "SELECT nothing FROM panel",
}

CREATE = """CREATE TABLE panel (time timestamptz NOT NULL, host text NOT NULL, cpu float8, n int8, i int4, ok bool,
    PRIMARY KEY (time, host))"""
FILL = """INSERT INTO panel SELECT '2026-01-01T00:00:00Z'::timestamptz + g * interval '10 seconds', 'h' || g % 3,
    (g * 37 % 100) / 4.0, 1767225600 + g * 10, g % 7, g % 2 = 0 FROM generate_series(0, 719) g"""

TIMESTAMPTZ, TEXT_TYPES, NUMBERS = 1184, {19, 25, 1043}, {16, 20, 21, 23, 700, 701, 1700}


@dataclass(frozen=True)
class Frame:
    tag: str
    columns: list[tuple[str, int]]
    rows: list[tuple[str | None, ...]]


def frames(connection: psycopg.Connection, statement: str) -> list[Frame]:
    """Everything a simple query answers; an error is a frame with its SQLSTATE."""
    raw = connection.pgconn
    raw.send_query(statement.encode())
    found = []
    while (result := raw.get_result()) is not None:
        if result.status == ExecStatus.FATAL_ERROR:
            found.append(Frame((result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) or b"").decode(), [], []))
            continue
        columns = [((result.fname(k) or b"").decode(), result.ftype(k)) for k in range(result.nfields)]
        rows = [
            tuple(None if (v := result.get_value(r, k)) is None else v.decode() for k in range(result.nfields))
            for r in range(result.ntuples)
        ]
        found.append(Frame((result.command_status or b"").decode(), columns, rows))
    return found


@pytest.fixture(scope="module")
def theirs() -> Iterator[psycopg.Connection]:
    if not (DEBIAN / "initdb").exists():
        pytest.skip("PostgreSQL 15 (package postgresql) is not installed")
    with cluster(DEBIAN) as address, psycopg.connect(address, autocommit=True) as connection:
        connection.execute(CREATE)
        connection.execute(FILL)
        yield connection


@pytest.fixture
def ours(start: Start) -> Iterator[psycopg.Connection]:
    with start().connect() as connection:
        connection.execute(CREATE)
        connection.execute(FILL)
        yield connection


def test_every_statement_gives_what_postgresql_gives(theirs: psycopg.Connection, ours: psycopg.Connection) -> None:
    wrong = {}
    for name, statement in STATEMENTS.items():
        expected, found = frames(theirs, statement), frames(ours, statement)
        if name in ("tables", "schemas"):
            # The system views may be chosen, too; Grafana shows the user ``tsdb`` their names without the schema.
            (listed,) = found
            views = ours.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'tsdb'")
            system = {"tsdb", *(view for (view,) in views)}
            rows = [row for row in listed.rows if row[0] not in system]
            assert len(rows) < len(listed.rows)
            found = [replace(listed, tag=f"SELECT {len(rows)}", rows=rows)]
        if expected != found:
            wrong[name] = (expected, found)
    assert wrong == {}


def test_a_panel_has_its_time_its_numbers_and_its_labels_in_types_grafana_knows(ours: psycopg.Connection) -> None:
    (frame,) = frames(
        ours,
        f"""SELECT time_bucket('300.000s',time) AS "time", host AS metric, avg(cpu), sum(i), count(*), max(n)
            FROM panel WHERE {FILTER} GROUP BY 1, 2 ORDER BY 1, 2""",
    )
    assert frame.tag.startswith("SELECT ")
    assert frame.columns[0] == ("time", TIMESTAMPTZ)
    assert frame.columns[1][1] in TEXT_TYPES
    assert {oid for _, oid in frame.columns[2:]} <= NUMBERS
    assert len(frame.rows) == 13 * 3 - 2


def test_a_hundred_panels_at_once_are_all_answered(start: Start) -> None:
    server = start()
    with server.connect() as connection:
        connection.execute(CREATE)
        connection.execute(FILL)
        expected = frames(connection, STATEMENTS["$__timeGroup"])

    def panel(number: int) -> list[Frame]:
        with server.connect() as connection:
            return frames(connection, STATEMENTS["$__timeGroup"])

    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(panel, range(100)))
    assert all(answer == expected for answer in answers)
