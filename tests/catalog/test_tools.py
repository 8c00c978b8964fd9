"""What administration and business-intelligence tools ask has PostgreSQL's columns and types: pgAdmin, DBeaver,
Metabase, Superset, Tableau and Power BI, by the relations and functions that their statements use."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.catalog.conftest import database_of
from tests.fixtures.postgres import Connection

RELATIONS = [
    *(f"pg_stat_{kind}_{what}" for kind in ("all", "user") for what in ("tables", "indexes")),
    *(f"pg_statio_{kind}_{what}" for kind in ("all", "user") for what in ("tables", "indexes", "sequences")),
    "pg_stat_sys_tables", "pg_stat_xact_user_tables", "pg_stat_user_functions", "pg_stat_activity", "pg_stat_database",
    "pg_stat_database_conflicts", "pg_stat_bgwriter", "pg_stat_archiver", "pg_stat_wal", "pg_stat_replication",
    "pg_stat_wal_receiver", "pg_stat_ssl", "pg_stat_gssapi", "pg_stat_slru", "pg_stat_subscription",
    "pg_stat_progress_vacuum", "pg_locks", "pg_settings", "pg_stats", "pg_prepared_xacts", "pg_replication_slots",
    "pg_policies", "pg_rules", "pg_publication_tables", "pg_seclabels", "pg_file_settings", "pg_hba_file_rules",
    "information_schema.role_column_grants", "information_schema.column_privileges", "information_schema.triggers",
    "information_schema.routines", "information_schema.parameters", "information_schema.view_column_usage",
    "information_schema.usage_privileges", "information_schema.applicable_roles", "information_schema.domains",
    "information_schema.constraint_table_usage", "information_schema.referential_constraints",
]  # fmt: skip

STATEMENTS = [
    # Dashboards: sessions, what they wait for, charts as JSON, locks.
    "SELECT pid, usename, client_addr, to_char(backend_start, 'YYYY-MM-DD HH24:MI:SS TZ') AS since, state,"
    " wait_event_type || ': ' || wait_event AS waits, pg_blocking_pids(pid) AS blocked_by, backend_type"
    " FROM pg_stat_activity WHERE datname = (SELECT datname FROM pg_database WHERE oid = 1) ORDER BY pid",
    "SELECT 'sessions' AS chart, row_to_json(t)::jsonb AS data FROM (SELECT (SELECT count(*) FROM pg_stat_activity"
    " WHERE state = 'idle') AS \"Idle\") t UNION ALL SELECT 'transactions', row_to_json(t)::jsonb FROM (SELECT (SELECT"
    ' sum(xact_commit) + sum(xact_rollback) FROM pg_stat_database) AS "All", (SELECT sum(blks_hit) FROM'
    ' pg_stat_database) AS "Hits") t',
    "SELECT pid, locktype, datname, relation::regclass, classid::regclass, virtualxid, mode, granted, fastpath FROM"
    " pg_locks l LEFT OUTER JOIN pg_database d ON l.database = d.oid ORDER BY pid, locktype",
    "SELECT pg_last_xact_replay_timestamp(), pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()",
    # Statistics of a table and its indexes.
    "SELECT n_live_tup, n_dead_tup, pg_size_pretty(pg_total_relation_size(relid) - pg_relation_size(relid))"
    " FROM pg_stat_all_tables WHERE relname = 'metrics'",
    "SELECT pg_stat_get_numscans(indexrelid), pg_stat_get_tuples_inserted(indrelid),"
    " pg_stat_get_last_autovacuum_time(indrelid), pg_stat_get_dead_tuples(indrelid) FROM pg_index"
    " WHERE indrelid = 'metrics'::regclass",
    "SELECT pg_relation_filenode('metrics'::regclass), pg_relation_filepath('metrics'::regclass),"
    " pg_indexes_size('metrics'::regclass), pg_table_size('metrics')",
    # What a role may do: columns called like verbs, each form of the privilege functions.
    "WITH p AS (SELECT NULL AS role, schemaname AS schema, tablename AS table, has_any_column_privilege(current_user,"
    " quote_ident(schemaname) || '.' || quote_ident(tablename), 'update') AS update, has_any_column_privilege("
    " current_user, quote_ident(schemaname) || '.' || quote_ident(tablename), 'select') AS select,"
    " has_table_privilege(current_user, quote_ident(schemaname) || '.' || quote_ident(tablename), 'delete') AS delete"
    " FROM pg_tables WHERE schemaname = 'public') SELECT p.* FROM p WHERE p.select OR p.update OR p.delete",
    "SELECT has_column_privilege('metrics', 1::int2, 'SELECT'), has_column_privilege('metrics', 'host', 'SELECT'),"
    " has_column_privilege('reader', 'metrics', 'host', 'INSERT'), has_any_column_privilege('reader', oid, 'UPDATE'),"
    " has_column_privilege('reader', oid, 'host', 'SELECT'), has_column_privilege('reader', oid, 1::int2, 'SELECT')"
    " FROM pg_class WHERE relname = 'metrics'",
    "SELECT pg_is_other_temp_schema(relnamespace), pg_relation_is_updatable(oid, false), pg_column_is_updatable(oid,"
    " 1::int2, false), pg_has_role(relowner, 'USAGE') FROM pg_class WHERE relname = 'metrics'",
    # Trees of objects.
    "SELECT c.oid, c.*, d.description, pg_get_expr(c.relpartbound, c.oid) AS bound, pg_get_partkeydef(c.oid) AS parts"
    " FROM pg_class c LEFT OUTER JOIN pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid ="
    " 'pg_class'::regclass WHERE c.relnamespace = 2200 AND c.relkind NOT IN ('i', 'I', 'c')",
    "SELECT i.*, i.indkey AS keys, c.relname, pg_get_expr(i.indpred, i.indrelid) AS predicate, pg_get_expr(i.indexprs,"
    " i.indrelid, true) AS expression FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid ORDER BY c.relname",
    "SELECT c.*, array_position(i.indkey, a.attnum) AS place FROM pg_constraint c JOIN pg_index i ON i.indexrelid ="
    " c.conindid JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (i.indkey)",
    "SELECT d.oid, d.*, s.spcname, has_database_privilege(d.oid, 'CREATE') AS may FROM pg_database d LEFT JOIN"
    " pg_tablespace s ON d.dattablespace = s.oid WHERE d.datallowconn ORDER BY d.datname",
    'SELECT c.column_name AS name, c.udt_name AS kind, k.column_name IS NOT NULL AS "pk?", col_description(format('
    "'%I.%I', c.table_schema::text, c.table_name::text)::regclass::oid, c.ordinal_position) AS comment, column_default"
    " LIKE '%nextval(%' OR is_identity <> 'NO' AS counted FROM information_schema.columns c LEFT JOIN (SELECT"
    " kc.* FROM information_schema.table_constraints tc JOIN information_schema.key_column_usage kc USING"
    " (constraint_name, table_schema, table_name) WHERE tc.constraint_type = 'PRIMARY KEY') k ON c.table_schema ="
    " k.table_schema AND c.table_name = k.table_name AND c.column_name = k.column_name WHERE c.table_schema !~"
    " '^information_schema|pg_'",
]


@pytest.fixture(scope="module")
def theirs(postgres_15: Connection) -> Iterator[Connection]:
    with database_of(postgres_15, "tools") as connection:
        connection.execute(b"CREATE TABLE metrics (time timestamptz, host text, PRIMARY KEY (time, host))")
        connection.execute(b"DO $$ BEGIN CREATE ROLE reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        yield connection


@pytest.mark.postgres
@pytest.mark.parametrize("text", [*(f"SELECT * FROM {name} LIMIT 5" for name in RELATIONS), *STATEMENTS])
def test_a_tools_statement_has_postgres_columns(text: str, ours: psycopg.Connection, theirs: Connection) -> None:
    mine, wanted = ours.execute(text.encode()), theirs.execute(text.encode())
    assert mine.description is not None
    assert wanted.description is not None
    assert [(c.name, c.type_code) for c in mine.description] == [(c.name, c.type_code) for c in wanted.description]


def test_statistics_count_live_rows_and_sessions(ours: psycopg.Connection) -> None:
    ours.execute("INSERT INTO metrics (time, host) VALUES ('2026-01-01', 'a'), ('2026-01-01', 'b')")
    question = b"SELECT n_live_tup, seq_scan, idx_scan FROM pg_stat_user_tables WHERE relname = 'metrics'"
    assert ours.execute(question).fetchall() == [(2, 0, 0)]
    question = b"SELECT pg_stat_get_live_tuples('metrics'::regclass), pg_stat_get_dead_tuples('metrics'::regclass)"
    assert ours.execute(question).fetchall() == [(2, 0)]
    sessions = b"SELECT numbackends > 0, xact_commit FROM pg_stat_database WHERE datname = current_database()"
    assert ours.execute(sessions).fetchall() == [(True, 0)]


def test_a_view_about_the_server_has_one_row(ours: psycopg.Connection) -> None:
    for name in ("pg_stat_bgwriter", "pg_stat_archiver", "pg_stat_wal"):
        rows = ours.execute(f"SELECT stats_reset = pg_postmaster_start_time() FROM {name}".encode()).fetchall()
        assert rows == [(True,)], name
