"""Relations of pg_catalog about sessions: their columns. The session gives the rows (``Context.session``).

Source: PostgreSQL 15 manual, 54.24 (pg_settings), 28.2.3 (pg_stat_activity), 28.4.3 (pg_stat_progress_vacuum), 54.6
(pg_cursors), 54.16 (pg_prepared_statements).
"""

from __future__ import annotations

from tsdb.types import BOOL, INT4, INT8, NAME, NUMERIC, OID, TEXT, TIMESTAMPTZ, SqlType, array_of

COLUMNS: dict[str, tuple[tuple[str, SqlType], ...]] = {
    "pg_settings": (
        ("name", TEXT), ("setting", TEXT), ("unit", TEXT), ("category", TEXT), ("short_desc", TEXT),
        ("extra_desc", TEXT), ("context", TEXT), ("vartype", TEXT), ("source", TEXT), ("min_val", TEXT),
        ("max_val", TEXT), ("enumvals", array_of(TEXT)), ("boot_val", TEXT), ("reset_val", TEXT),
        ("sourcefile", TEXT), ("sourceline", INT4), ("pending_restart", BOOL),
    ),
    "pg_stat_activity": (
        ("datid", OID), ("datname", NAME), ("pid", INT4), ("leader_pid", INT4), ("usesysid", OID), ("usename", NAME),
        ("application_name", TEXT), ("client_addr", TEXT), ("client_hostname", TEXT), ("client_port", INT4),
        ("backend_start", TIMESTAMPTZ), ("xact_start", TIMESTAMPTZ), ("query_start", TIMESTAMPTZ),
        ("state_change", TIMESTAMPTZ), ("wait_event_type", TEXT), ("wait_event", TEXT), ("state", TEXT),
        ("backend_xid", INT8), ("backend_xmin", INT8), ("query_id", INT8), ("query", TEXT), ("backend_type", TEXT),
    ),
    "pg_stat_progress_vacuum": (
        ("pid", INT4), ("datid", OID), ("datname", NAME), ("relid", OID), ("phase", TEXT), ("heap_blks_total", INT8),
        ("heap_blks_scanned", INT8), ("heap_blks_vacuumed", INT8), ("index_vacuum_count", INT8),
        ("max_dead_tuples", INT8), ("num_dead_tuples", INT8),
    ),
    "pg_stat_ssl": (
        ("pid", INT4), ("ssl", BOOL), ("version", TEXT), ("cipher", TEXT), ("bits", INT4), ("client_dn", TEXT),
        ("client_serial", NUMERIC), ("issuer_dn", TEXT),
    ),
    "pg_stat_gssapi": (("pid", INT4), ("gss_authenticated", BOOL), ("principal", TEXT), ("encrypted", BOOL)),
    "pg_cursors": (
        ("name", TEXT), ("statement", TEXT), ("is_holdable", BOOL), ("is_binary", BOOL), ("is_scrollable", BOOL),
        ("creation_time", TIMESTAMPTZ),
    ),
    "pg_prepared_statements": (
        ("name", TEXT), ("statement", TEXT), ("prepare_time", TIMESTAMPTZ), ("parameter_types", array_of(TEXT)),
        ("from_sql", BOOL), ("generic_plans", INT8), ("custom_plans", INT8),
    ),
}  # fmt: skip
