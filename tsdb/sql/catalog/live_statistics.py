"""Live rows of the statistics views: pg_stat_…, pg_statio_….

Rows and live tuples are what the store counts; what nobody counts here (scans, blocks read, transactions) is 0, as in a
PostgreSQL whose statistics were just reset, and never NULL: monitors add these columns up.

Source: PostgreSQL 15 manual, 28.2 (the cumulative statistics system).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from tsdb.model.catalog import Database, Series
from tsdb.sql.catalog.live import Fresh, Glance, live
from tsdb.sql.catalog.live_databases import Template, database_oid, databases
from tsdb.sql.catalog.live_views import of_kind, schema_name
from tsdb.sql.catalog.outline import Entry, IndexEntry
from tsdb.sql.catalog.server_start import STARTED_US
from tsdb.sql.session_relations import COLUMNS
from tsdb.types import TIMESTAMPTZ

PG = "pg_catalog"
_KINDS = ("all", "user")


def _rows(e: Entry, glance: Glance) -> int:
    return glance.statistics(e.model).rows if isinstance(e.model, Series) else 0


def _of_index(e: Entry, glance: Glance) -> int | None:
    """What counts uses of a table's indexes: NULL where it has none."""
    return 0 if e.has_index else None


def _tables(glance: Glance) -> Sequence[Entry]:
    return of_kind(glance, "r", "m")


def _indexes(glance: Glance) -> Sequence[IndexEntry]:
    return glance.outline.indexes


def _sequences(glance: Glance) -> Sequence[Entry]:
    return of_kind(glance, "S")


_RELATION = {"relid": lambda e, m: e.oid, "schemaname": schema_name, "relname": lambda e, m: e.name}
_SCANS = {"seq_scan": 0, "seq_tup_read": 0, "idx_scan": _of_index, "idx_tup_fetch": _of_index, "n_tup_ins": 0,
          "n_tup_upd": 0, "n_tup_del": 0, "n_tup_hot_upd": 0}  # fmt: skip
_TABLE = _RELATION | _SCANS | {
    "n_live_tup": Fresh(_rows), "n_dead_tup": 0, "n_mod_since_analyze": 0, "n_ins_since_vacuum": 0, "vacuum_count": 0,
    "autovacuum_count": 0, "analyze_count": 0, "autoanalyze_count": 0,
}  # fmt: skip
_INDEX = {
    "relid": lambda i, m: i.table.oid, "indexrelid": lambda i, m: i.oid,
    "schemaname": lambda i, m: schema_name(i.table, m), "relname": lambda i, m: i.table.name,
    "indexrelname": lambda i, m: i.name,
}  # fmt: skip

for _kind in _KINDS:
    live(PG, f"pg_stat_{_kind}_tables", _TABLE)(_tables)
    live(PG, f"pg_stat_xact_{_kind}_tables", _RELATION | _SCANS)(_tables)
    live(PG, f"pg_statio_{_kind}_tables", _RELATION | {
        "heap_blks_read": 0, "heap_blks_hit": 0, "idx_blks_read": _of_index, "idx_blks_hit": _of_index,
    })(_tables)  # fmt: skip
    live(PG, f"pg_stat_{_kind}_indexes", _INDEX | {"idx_scan": 0, "idx_tup_read": 0, "idx_tup_fetch": 0})(_indexes)
    live(PG, f"pg_statio_{_kind}_indexes", _INDEX | {"idx_blks_read": 0, "idx_blks_hit": 0})(_indexes)
    live(PG, f"pg_statio_{_kind}_sequences", _RELATION | {"blks_read": 0, "blks_hit": 0})(_sequences)


# --- databases ---


def _sessions(d: Database | Template, glance: Glance) -> int:
    """How many sessions are in a database."""
    session = glance.context.session
    place = next(i for i, (name, _) in enumerate(COLUMNS["pg_stat_activity"]) if name == "datid")
    return 0 if session is None else sum(row[place] == database_oid(d) for row in session.rows("pg_stat_activity"))


_DATABASE = {"datid": lambda d, m: database_oid(d), "datname": lambda d, m: d.name}
_COUNTED = (
    "xact_commit", "xact_rollback", "blks_read", "blks_hit", "tup_returned", "tup_fetched", "tup_inserted",
    "tup_updated", "tup_deleted", "conflicts", "temp_files", "temp_bytes", "deadlocks", "blk_read_time",
    "blk_write_time", "session_time", "active_time", "idle_in_transaction_time", "sessions", "sessions_abandoned",
    "sessions_fatal", "sessions_killed",
)  # fmt: skip
_CONFLICTS = ("confl_tablespace", "confl_lock", "confl_snapshot", "confl_bufferpin", "confl_deadlock")


@live(PG, "pg_stat_database", {**_DATABASE, **dict.fromkeys(_COUNTED, 0), "numbackends": Fresh(_sessions)})
def database_statistics(glance: Glance) -> Sequence[Database | Template]:
    return databases(glance)


@live(PG, "pg_stat_database_conflicts", {**_DATABASE, **dict.fromkeys(_CONFLICTS, 0)})
def database_conflicts(glance: Glance) -> Sequence[Database | Template]:
    return databases(glance)


# --- the server ---


@dataclass(frozen=True, slots=True)
class Server:
    """The one row of a view about the server."""

    started: pa.Scalar


def _server(glance: Glance) -> Sequence[Server]:
    return (Server(pa.scalar(STARTED_US, TIMESTAMPTZ.arrow)),)


_SINCE = {"stats_reset": lambda s, m: s.started}
_WRITER = (
    "checkpoints_timed", "checkpoints_req", "checkpoint_write_time", "checkpoint_sync_time", "buffers_checkpoint",
    "buffers_clean", "maxwritten_clean", "buffers_backend", "buffers_backend_fsync", "buffers_alloc",
)  # fmt: skip
_LOG = (
    "wal_records", "wal_fpi", "wal_bytes", "wal_buffers_full", "wal_write", "wal_sync", "wal_write_time",
    "wal_sync_time",
)  # fmt: skip

live(PG, "pg_stat_bgwriter", _SINCE | dict.fromkeys(_WRITER, 0))(_server)
live(PG, "pg_stat_archiver", _SINCE | {"archived_count": 0, "failed_count": 0})(_server)
live(PG, "pg_stat_wal", _SINCE | dict.fromkeys(_LOG, 0))(_server)
