"""The SQL functions that look into the catalog, by their signatures, in the form of ``tsdb.sql.expressions.signature``.

``catalog_text('question', @, a, b, t)``, ``catalog_number`` and ``catalog_flag`` ask what ``functions`` answers; ``@``
stands for the statement's glance. What we never have (triggers, partitions, rules) is an expression that gives NULL.

Source: PostgreSQL 15 manual, 9.26 (system information functions) and 9.27.7 (sizes of objects).
"""

from __future__ import annotations

from collections.abc import Mapping

from tsdb.sql.catalog.calls import MARKER
from tsdb.sql.expressions import signature
from tsdb.types import REFERENCES

_VISIBLE = (
    "pg_function", "pg_operator", "pg_opclass", "pg_opfamily", "pg_collation", "pg_conversion", "pg_ts_config",
    "pg_ts_dict", "pg_ts_parser", "pg_ts_template",
)  # fmt: skip

_LINES = """
format_type(oid, int4) text: catalog_text('format_type', @, {0}, {1}, NULL)
pg_get_userbyid(oid) name: catalog_text('owner', @, {0}, NULL, NULL)
pg_get_expr(pg_node_tree, oid) text: {0}
pg_get_expr(pg_node_tree, oid, bool) text: CASE WHEN {2} THEN catalog_text('pretty expression', @, {1}, NULL, {0})
    ELSE {0} END
pg_get_indexdef(oid) text: catalog_text('index', @, {0}, NULL, NULL)
pg_get_indexdef(oid, int4, bool) text: catalog_text('index', @, {0}, {1}, CASE WHEN {2} THEN 'short' END)
pg_get_constraintdef(oid) text: catalog_text('constraint', @, {0}, NULL, NULL)
pg_get_constraintdef(oid, bool) text: catalog_text('constraint', @, {0}, NULL, CASE WHEN {1} THEN 'pretty' END)
pg_get_viewdef(oid) text: catalog_text('view', @, {0}, NULL, NULL)
pg_get_viewdef(oid, bool) text: catalog_text('view', @, {0}, NULL, CASE WHEN {1} THEN 'pretty' END)
pg_get_viewdef(oid, int4) text: catalog_text('view', @, {0}, NULL, CASE WHEN {1} IS NOT NULL THEN 'pretty' END)
pg_get_viewdef(text) text: catalog_text('view by name', @, NULL, NULL, {0})
pg_get_viewdef(text, bool) text: catalog_text('view by name', @, CAST({1} AS BIGINT), NULL, {0})
pg_get_functiondef(oid) text: catalog_text('function', @, {0}, NULL, NULL)
pg_get_function_arguments(oid) text: catalog_text('function part', @, {0}, 1, NULL)
pg_get_function_identity_arguments(oid) text: catalog_text('function part', @, {0}, 2, NULL)
pg_get_function_result(oid) text: catalog_text('function part', @, {0}, 3, NULL)
pg_get_function_sqlbody(oid) text: CASE WHEN {0} < 0 THEN '' END
pg_get_function_arg_default(oid, int4) text: CASE WHEN {0} < 0 AND {1} < 0 THEN '' END
pg_get_triggerdef(oid) text: CASE WHEN {0} < 0 THEN '' END
pg_get_triggerdef(oid, bool) text: CASE WHEN {0} < 0 THEN '' END
pg_get_ruledef(oid) text: CASE WHEN {0} < 0 THEN '' END
pg_get_ruledef(oid, bool) text: CASE WHEN {0} < 0 THEN '' END
pg_get_partkeydef(oid) text: CASE WHEN {0} < 0 THEN '' END
pg_get_statisticsobjdef(oid) text: CASE WHEN {0} < 0 THEN '' END
pg_get_statisticsobjdef_columns(oid) text: CASE WHEN {0} < 0 THEN '' END
pg_get_serial_sequence(text, text) text: catalog_text('sequence of', @, NULL, NULL, {0} || chr(31) || {1})
obj_description(oid, name) text: catalog_text('comment', @, {0}, NULL, {1})
obj_description(oid) text: catalog_text('comment', @, {0}, NULL, NULL)
col_description(oid, int4) text: catalog_text('column comment', @, {0}, {1}, NULL)
shobj_description(oid, name) text: catalog_text('shared comment', @, {0}, NULL, {1})
pg_table_is_visible(oid) bool: catalog_flag('relation is visible', @, {0}, NULL, NULL)
pg_type_is_visible(oid) bool: catalog_flag('type is visible', @, {0}, NULL, NULL)
pg_statistics_obj_is_visible(oid) bool: CASE WHEN {0} < 0 THEN false END
pg_table_size(regclass) int8: catalog_number('size', @, {0}, NULL, NULL)
pg_relation_size(regclass) int8: catalog_number('size', @, {0}, NULL, NULL)
pg_relation_size(regclass, text) int8: CASE WHEN {1} = 'main' THEN catalog_number('size', @, {0}, NULL, NULL) ELSE 0
    END
pg_total_relation_size(regclass) int8: catalog_number('size', @, {0}, NULL, NULL)
pg_indexes_size(regclass) int8: CASE WHEN {0} IS NOT NULL THEN CAST(0 AS BIGINT) END
pg_database_size(oid) int8: catalog_number('database size', @, {0}, NULL, NULL)
pg_database_size(name) int8: catalog_number('database size', @, NULL, NULL, {0})
pg_tablespace_size(oid) int8: CASE WHEN {0} IS NOT NULL THEN CAST(0 AS BIGINT) END
pg_tablespace_size(name) int8: CASE WHEN {0} IS NOT NULL THEN CAST(0 AS BIGINT) END
pg_tablespace_location(oid) text: CASE WHEN {0} IS NOT NULL THEN '' END
pg_size_pretty(int8) text: catalog_text('pretty', @, {0}, NULL, NULL)
has_table_privilege(oid, text) bool: catalog_flag('may use relation', @, {0}, NULL, {1})
has_table_privilege(text, text) bool: catalog_flag('may use relation', @, catalog_number('regclass number', @, NULL,
    NULL, {0}), NULL, {1})
has_table_privilege(oid, oid, text) bool: catalog_flag('may use relation', @, {1}, {0}, {2})
has_table_privilege(name, oid, text) bool: catalog_flag('may use relation', @, {1}, catalog_number('regrole number',
    @, NULL, NULL, {0}), {2})
has_table_privilege(name, text, text) bool: catalog_flag('may use relation', @, catalog_number('regclass number', @,
    NULL, NULL, {1}), catalog_number('regrole number', @, NULL, NULL, {0}), {2})
has_any_column_privilege(oid, text) bool: catalog_flag('may use relation', @, {0}, NULL, {1})
has_any_column_privilege(text, text) bool: catalog_flag('may use relation', @, catalog_number('regclass number', @,
    NULL, NULL, {0}), NULL, {1})
has_any_column_privilege(name, oid, text) bool: catalog_flag('may use relation', @, {1},
    catalog_number('regrole number', @, NULL, NULL, {0}), {2})
has_any_column_privilege(name, text, text) bool: catalog_flag('may use relation', @, catalog_number('regclass number',
    @, NULL, NULL, {1}), catalog_number('regrole number', @, NULL, NULL, {0}), {2})
has_column_privilege(oid, int2, text) bool: CASE WHEN {1} IS NOT NULL THEN catalog_flag('may use relation', @, {0},
    NULL, {2}) END
has_column_privilege(text, text, text) bool: CASE WHEN {1} IS NOT NULL THEN catalog_flag('may use relation', @,
    catalog_number('regclass number', @, NULL, NULL, {0}), NULL, {2}) END
has_column_privilege(oid, text, text) bool: CASE WHEN {1} IS NOT NULL THEN catalog_flag('may use relation', @, {0},
    NULL, {2}) END
has_sequence_privilege(oid, text) bool: catalog_flag('may use relation', @, {0}, NULL, {1})
has_sequence_privilege(text, text) bool: catalog_flag('may use relation', @, catalog_number('regclass number', @,
    NULL, NULL, {0}), NULL, {1})
has_database_privilege(oid, text) bool: catalog_flag('may use database', @, {0}, NULL, {1})
has_database_privilege(text, text) bool: catalog_flag('may use database', @, catalog_number('database number', @,
    NULL, NULL, {0}), NULL, {1})
has_database_privilege(name, text, text) bool: catalog_flag('may use database', @, catalog_number('database number',
    @, NULL, NULL, {1}), catalog_number('regrole number', @, NULL, NULL, {0}), {2})
has_database_privilege(name, oid, text) bool: catalog_flag('may use database', @, {1}, catalog_number('regrole
    number', @, NULL, NULL, {0}), {2})
has_schema_privilege(oid, text) bool: catalog_flag('may use schema', @, {0}, NULL, {1})
has_schema_privilege(text, text) bool: catalog_flag('may use schema', @, catalog_number('regnamespace number', @, NULL,
    NULL, {0}), NULL, {1})
has_schema_privilege(name, oid, text) bool: catalog_flag('may use schema', @, {1}, catalog_number('regrole number', @,
    NULL, NULL, {0}), {2})
has_schema_privilege(name, text, text) bool: catalog_flag('may use schema', @, catalog_number('regnamespace number', @,
    NULL, NULL, {1}), catalog_number('regrole number', @, NULL, NULL, {0}), {2})
has_schema_privilege(oid, oid, text) bool: catalog_flag('may use schema', @, {1}, {0}, {2})
has_database_privilege(oid, oid, text) bool: catalog_flag('may use database', @, {1}, {0}, {2})
has_table_privilege(oid, text, text) bool: catalog_flag('may use relation', @, catalog_number('regclass number', @,
    NULL, NULL, {1}), {0}, {2})
has_function_privilege(oid, text) bool: catalog_flag('may call', @, {0}, NULL, {1})
has_function_privilege(text, text) bool: catalog_flag('may call', @, catalog_number('regprocedure number', @, NULL,
    NULL, {0}), NULL, {1})
has_function_privilege(name, oid, text) bool: catalog_flag('may call', @, {1}, catalog_number('regrole number', @,
    NULL, NULL, {0}), {2})
has_function_privilege(name, text, text) bool: catalog_flag('may call', @, catalog_number('regprocedure number', @,
    NULL, NULL, {1}), catalog_number('regrole number', @, NULL, NULL, {0}), {2})
has_foreign_data_wrapper_privilege(any, text) bool: CASE WHEN {0} IS NOT NULL AND {1} IS NOT NULL THEN true END
has_server_privilege(any, text) bool: CASE WHEN {0} IS NOT NULL AND {1} IS NOT NULL THEN true END
pg_has_role(oid, text) bool: CASE WHEN {1} IS NOT NULL THEN catalog_flag('has role', @, {0}, NULL, NULL) END
pg_has_role(name, text) bool: CASE WHEN {1} IS NOT NULL THEN catalog_flag('has role', @, catalog_number('regrole
    number', @, NULL, NULL, {0}), NULL, NULL) END
pg_has_role(name, oid, text) bool: CASE WHEN {2} IS NOT NULL THEN catalog_flag('has role', @, {1},
    catalog_number('regrole number', @, NULL, NULL, {0}), NULL) END
pg_has_role(oid, oid, text) bool: CASE WHEN {2} IS NOT NULL THEN catalog_flag('has role', @, {1}, {0}, NULL) END
pg_encoding_to_char(int4) name: CASE WHEN {0} = 6 THEN 'UTF8' WHEN {0} = 0 THEN 'SQL_ASCII' WHEN {0} IS NOT NULL
    THEN '' END
pg_char_to_encoding(name) int4: CASE WHEN upper(replace({0}, '-', '')) = 'UTF8' THEN 6 WHEN {0} IS NOT NULL THEN -1
    END
pg_relation_is_publishable(regclass) bool: CASE WHEN {0} IS NOT NULL THEN {0} >= 16384 END
pg_relation_is_updatable(regclass, bool) int4: CASE WHEN {0} IS NOT NULL AND {1} IS NOT NULL THEN 28 END
pg_last_xact_replay_timestamp() timestamptz: CAST(NULL AS TIMESTAMPTZ)
pg_last_wal_receive_lsn() pg_lsn: CAST(NULL AS VARCHAR)
pg_last_wal_replay_lsn() pg_lsn: CAST(NULL AS VARCHAR)
pg_stat_get_live_tuples(oid) int8: catalog_number('rows', @, {0}, NULL, NULL)
pg_stat_get_snapshot_timestamp() timestamptz: CAST(NULL AS TIMESTAMPTZ)
pg_relation_filepath(regclass) text: CASE WHEN {0} >= 16384 THEN 'base/' || CAST({0} AS VARCHAR) END
has_column_privilege(text, int2, text) bool: CASE WHEN {1} IS NOT NULL THEN catalog_flag('may use relation', @,
    catalog_number('regclass number', @, NULL, NULL, {0}), NULL, {2}) END
has_column_privilege(name, oid, text, text) bool: CASE WHEN {2} IS NOT NULL THEN catalog_flag('may use relation', @,
    {1}, catalog_number('regrole number', @, NULL, NULL, {0}), {3}) END
has_column_privilege(name, oid, int2, text) bool: CASE WHEN {2} IS NOT NULL THEN catalog_flag('may use relation', @,
    {1}, catalog_number('regrole number', @, NULL, NULL, {0}), {3}) END
has_column_privilege(name, text, text, text) bool: CASE WHEN {2} IS NOT NULL THEN catalog_flag('may use relation', @,
    catalog_number('regclass number', @, NULL, NULL, {1}), catalog_number('regrole number', @, NULL, NULL, {0}), {3})
    END
pg_describe_object(oid, oid, int4) text: catalog_text('describe', @, {0}, {1}, CAST({2} AS VARCHAR))
pg_filenode_relation(oid, oid) regclass: CASE WHEN {0} < 0 AND {1} < 0 THEN CAST(0 AS BIGINT) END
pg_relation_filenode(regclass) oid: CASE WHEN {0} IS NOT NULL THEN {0} END
pg_column_is_updatable(regclass, int2, bool) bool: CASE WHEN {0} IS NOT NULL AND {1} IS NOT NULL AND {2} IS NOT NULL
    THEN {0} >= 16384 END
acldefault("char", oid) _aclitem: string_split(catalog_text('default acl', @, {1}, NULL, {0}), chr(31))
getdatabaseencoding() name: 'UTF8'
pg_my_temp_schema() oid: catalog_number('temporary schema', @, NULL, NULL, NULL)
pg_is_other_temp_schema(oid) bool: catalog_flag('is temporary for others', @, {0}, NULL, NULL)
pg_is_in_recovery() bool: false
pg_is_wal_replay_paused() bool: false
pg_jit_available() bool: false
pg_postmaster_start_time() timestamptz: make_timestamptz(catalog_number('start', @, NULL, NULL, NULL))
pg_conf_load_time() timestamptz: make_timestamptz(catalog_number('start', @, NULL, NULL, NULL))
txid_current() int8: catalog_number('catalog version', @, NULL, NULL, NULL)
pg_current_xact_id() xid8: catalog_number('catalog version', @, NULL, NULL, NULL)
txid_current_if_assigned() int8: CAST(NULL AS BIGINT)
pg_current_xact_id_if_assigned() xid8: CAST(NULL AS BIGINT)
age(xid) int4: CASE WHEN {0} IS NOT NULL THEN 2147483647 END
mxid_age(xid) int4: CASE WHEN {0} IS NOT NULL THEN 2147483647 END
row_security_active(regclass) bool: CASE WHEN {0} IS NOT NULL THEN false END
pg_get_replica_identity_index(regclass) regclass: CASE WHEN {0} < 0 THEN CAST(0 AS BIGINT) END
pg_blocking_pids(int4) _int4: CASE WHEN {0} IS NOT NULL THEN CAST([] AS INTEGER[]) END
pg_get_viewdef(regclass) text: catalog_text('view', @, {0}, NULL, NULL)
pg_tablespace_location(regclass) text: CASE WHEN {0} IS NOT NULL THEN '' END
nameconcatoid(name, oid) name: substring({0}, 1, 62 - length(CAST({1} AS VARCHAR))) || '_' || CAST({1} AS VARCHAR)
_pg_char_max_length(oid, int4) int4: CASE WHEN {0} IN (1042, 1043) AND {1} >= 0 THEN {1} - 4
    WHEN {0} IN (1560, 1562) AND {1} >= 0 THEN {1} END
_pg_char_octet_length(oid, int4) int4: CASE WHEN {0} NOT IN (25, 1042, 1043) OR {1} IS NULL THEN NULL
    WHEN {1} < 0 OR {0} = 25 THEN 1073741824 ELSE 4 * ({1} - 4) END
_pg_numeric_precision(oid, int4) int4: CASE {0} WHEN 21 THEN 16 WHEN 23 THEN 32 WHEN 20 THEN 64 WHEN 700 THEN 24
    WHEN 701 THEN 53 WHEN 1700 THEN CASE WHEN {1} >= 0 THEN (({1} - 4) >> 16) & 65535 END END
_pg_numeric_precision_radix(oid, int4) int4: CASE WHEN {1} IS NULL THEN NULL WHEN {0} IN (20, 21, 23, 700, 701) THEN 2
    WHEN {0} = 1700 THEN 10 END
_pg_numeric_scale(oid, int4) int4: CASE WHEN {1} IS NULL THEN NULL WHEN {0} IN (20, 21, 23) THEN 0
    WHEN {0} = 1700 AND {1} >= 0 THEN ({1} - 4) & 65535 END
_pg_datetime_precision(oid, int4) int4: CASE WHEN {1} IS NULL THEN NULL WHEN {0} = 1082 THEN 0
    WHEN {0} IN (1083, 1114, 1184, 1266) THEN CASE WHEN {1} < 0 THEN 6 ELSE {1} END
    WHEN {0} = 1186 THEN CASE WHEN {1} < 0 OR {1} & 65535 = 65535 THEN 6 ELSE {1} & 65535 END END
_pg_interval_type(oid, int4) text: CASE WHEN {0} = 1186 THEN nullif(upper(regexp_extract(catalog_text('format_type', @,
    {0}, {1}, NULL), '^interval[()0-9]* (.+)$', 1)), '') END
"""


# What nobody counts here (``live_statistics`` says so as well).
_COUNTED = (
    "numscans", "tuples_returned", "tuples_fetched", "tuples_inserted", "tuples_updated", "tuples_deleted",
    "tuples_hot_updated", "dead_tuples", "mod_since_analyze", "ins_since_vacuum", "blocks_fetched", "blocks_hit",
    "vacuum_count", "autovacuum_count", "analyze_count", "autoanalyze_count", "db_xact_commit", "db_xact_rollback",
    "db_blocks_fetched", "db_blocks_hit", "db_tuples_returned", "db_tuples_fetched", "db_tuples_inserted",
    "db_tuples_updated", "db_tuples_deleted", "db_conflict_all", "db_temp_files", "db_temp_bytes", "db_deadlocks",
)  # fmt: skip
_NEVER = (
    "last_vacuum_time", "last_autovacuum_time", "last_analyze_time", "last_autoanalyze_time", "db_stat_reset_time",
)  # fmt: skip


def _privileges(what: str, number: str) -> list[str]:
    """has_…_privilege in its six forms: an object by name or OID, of oneself or of a role by name or OID."""
    role = "catalog_number('regrole number', @, NULL, NULL, {0})"

    def line(arguments: str, object_: str, who: str, wanted: str) -> str:
        asked = f"catalog_flag('may use {what}', @, {object_}, {who}, {wanted})"
        return f"has_{what}_privilege({arguments}, text) bool: {asked}"

    first, second = (f"catalog_number('{number} number', @, NULL, NULL, {place})" for place in ("{0}", "{1}"))
    return [
        line("text", first, "NULL", "{1}"), line("oid", "{0}", "NULL", "{1}"), line("name, text", second, role, "{2}"),
        line("name, oid", "{1}", role, "{2}"), line("oid, text", second, "{0}", "{2}"),
        line("oid, oid", "{1}", "{0}", "{2}"),
    ]  # fmt: skip


def _table() -> Mapping[str, tuple[signature.Signature, ...]]:
    visible = [f"{k}_is_visible(oid) bool: CASE WHEN {{0}} IS NOT NULL THEN true END" for k in _VISIBLE]
    counted = [f"pg_stat_get_{k}(oid) int8: CASE WHEN {{0}} IS NOT NULL THEN CAST(0 AS BIGINT) END" for k in _COUNTED]
    never = [f"pg_stat_get_{k}(oid) timestamptz: CASE WHEN {{0}} < 0 THEN make_timestamptz(0) END" for k in _NEVER]
    named = [
        f"to_{t.typname}(text) {t.typname}: catalog_number('to {t.typname}', @, NULL, NULL, {{0}})" for t in REFERENCES
    ]
    named += [*_privileges("type", "regtype"), *_privileges("language", "language")]
    named += _privileges("tablespace", "tablespace")
    return signature.read("\n".join([_LINES.strip(), *visible, *counted, *never, *named]).replace("@", MARKER))


TABLE = dict(_table())
