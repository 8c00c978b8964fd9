"""The live part of the catalog describes our tables as PostgreSQL would."""

from __future__ import annotations

import psycopg
import pytest

from tests.catalog.conftest import SCHEMA
from tests.fixtures.postgres import Connection

# Each of them compares names, never OIDs.
QUESTIONS = [
    "SELECT relname, relkind, relnatts, relhasindex, relpersistence, relchecks, am.amname FROM pg_class c"
    " LEFT JOIN pg_am am ON am.oid = relam WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
    "SELECT c.relname, attname, format_type(atttypid, atttypmod), attnum, attnotnull, atthasdef, attlen, attndims,"
    " attcollation, attidentity FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid"
    " WHERE attnum > 0 AND relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1, attnum",
    "SELECT indexrelid::regclass, indrelid::regclass, indkey, indclass, indoption, indcollation, indisprimary,"
    " pg_get_indexdef(indexrelid), pg_get_indexdef(indexrelid, 1, true), pg_get_indexdef(indexrelid, 0, true)"
    " FROM pg_index WHERE indrelid = 'metrics'::regclass",
    "SELECT conname, contype, conkey, conrelid::regclass, conindid::regclass, pg_get_constraintdef(oid, true)"
    " FROM pg_constraint WHERE conrelid = 'metrics'::regclass",
    "SELECT adrelid::regclass, adnum, pg_get_expr(adbin, adrelid) FROM pg_attrdef",
    "SELECT typname, typtype, typcategory, typrelid::regclass, typelem::regtype, typarray::regtype FROM pg_type"
    " WHERE typnamespace = 'public'::regnamespace ORDER BY 1",
    "SELECT * FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
    "SELECT table_schema, table_name, table_type, is_insertable_into FROM information_schema.tables"
    " WHERE table_schema = 'public' ORDER BY 1, 2",
    "SELECT constraint_name, table_name, constraint_type FROM information_schema.table_constraints"
    " WHERE constraint_schema = 'public' AND constraint_type <> 'CHECK' ORDER BY 1, 2",
    "SELECT constraint_name, column_name, ordinal_position, position_in_unique_constraint"
    " FROM information_schema.key_column_usage WHERE table_schema = 'public' ORDER BY 1, 3",
    "SELECT table_name, constraint_type FROM information_schema.table_constraints"
    " WHERE constraint_schema = 'public' ORDER BY 1, 2",
    "SELECT check_clause FROM information_schema.check_constraints"
    " WHERE constraint_schema = 'public' AND constraint_name LIKE '%_not_null' ORDER BY 1",
    "SELECT * FROM information_schema.tables WHERE table_schema <> 'tsdb' ORDER BY table_schema, table_name",
    "SELECT * FROM information_schema.columns WHERE table_schema NOT IN ('public', 'tsdb')"
    " ORDER BY table_schema, table_name, ordinal_position",
    "SELECT * FROM information_schema.views WHERE table_schema NOT IN ('public', 'tsdb')"
    " ORDER BY table_schema, table_name",
    "SELECT * FROM information_schema.routines WHERE routine_schema <> 'public' ORDER BY specific_name",
    "SELECT * FROM information_schema.parameters WHERE specific_schema <> 'public' AND parameter_default IS NULL"
    " AND specific_name NOT IN (SELECT specific_name FROM information_schema.parameters"
    " WHERE parameter_default IS NOT NULL) AND specific_name LIKE 'a%' ORDER BY specific_name, ordinal_position",
    *(
        f"SELECT * FROM information_schema.{name} ORDER BY 2, 3, 4, 5, 6"
        for name in ("domains", "domain_constraints", "domain_udt_usage")
    ),
    "SELECT * FROM information_schema.udt_privileges WHERE udt_schema <> 'tsdb' ORDER BY 2, 3, 4, 5, 6",
    "SELECT * FROM information_schema.column_udt_usage WHERE table_schema <> 'tsdb' ORDER BY table_name, column_name",
    "SELECT * FROM information_schema.applicable_roles WHERE grantee = 'pg_monitor' ORDER BY 2",
    "SELECT * FROM information_schema.column_privileges WHERE table_schema = 'public' ORDER BY 2, 5, 6, 7",
    "SELECT schemaname, tablename, tableowner FROM pg_tables ORDER BY 1, 2",
    "SELECT schemaname, viewname, viewowner FROM pg_views WHERE schemaname <> 'tsdb' ORDER BY 1, 2",
    "SELECT schemaname, tablename, tableowner, hasindexes FROM pg_tables WHERE schemaname = 'public' ORDER BY 2",
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT c.relname, relacl FROM pg_class c WHERE relname = 'metrics'",
    "SELECT has_table_privilege('reader', 'metrics', 'SELECT'), has_table_privilege('reader', 'metrics', 'INSERT'),"
    " has_table_privilege('metrics', 'DELETE')",
    "SELECT pg_table_is_visible('metrics'::regclass), pg_table_is_visible('information_schema.tables'::regclass)",
    "SELECT acldefault('r', 10), acldefault('d', 10), acldefault('n', 10), acldefault('f', 10)",
    "SELECT obj_description('pg_class'::regclass, 'pg_class'), obj_description(2200, 'pg_namespace')",
    "SELECT rolname, rolsuper, rolcanlogin FROM pg_roles WHERE rolname IN ('tsdb', 'reader', 'pg_monitor') ORDER BY 1",
    "SELECT word, catcode FROM pg_get_keywords() WHERE word LIKE 'a%' ORDER BY 1",
    "SELECT * FROM pg_options_to_table(ARRAY['a=1', 'b', 'c=d=e'])",
    "SELECT (information_schema._pg_expandarray(indkey)).n FROM pg_index WHERE indrelid = 'metrics'::regclass",
    "SELECT current_schemas(true), current_schemas(false)",
    "SELECT tableoid::regclass FROM pg_am LIMIT 1",
    "SELECT relname::text, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid"
    " WHERE pg_class.oid = 'pg_index'::regclass AND attnum > 0 ORDER BY attnum",
]


@pytest.fixture(scope="module")
def theirs(postgres_15: Connection) -> Connection:
    """The same tables in PostgreSQL; the database is called as ours is."""
    for statement in SCHEMA:
        postgres_15.execute(statement.encode())
    return postgres_15


@pytest.mark.postgres
@pytest.mark.parametrize("text", QUESTIONS)
def test_it_answers_as_postgres_does(text: str, ours: psycopg.Connection, theirs: Connection) -> None:
    mine, wanted = ours.execute(text.encode()), theirs.execute(text.encode())
    assert mine.description is not None
    assert wanted.description is not None
    assert [(c.name, c.type_code) for c in mine.description] == [(c.name, c.type_code) for c in wanted.description]
    rows = [tuple("tsdb" if v == "postgres" else v for v in row) for row in wanted.fetchall()]
    assert mine.fetchall() == rows


def test_oids_stay_when_a_table_is_renamed(ours: psycopg.Connection) -> None:
    before = ours.execute("SELECT '\"Odd name\"'::regclass::oid").fetchone()
    ours.execute('ALTER TABLE "Odd name" RENAME TO odder')
    try:
        assert ours.execute("SELECT 'odder'::regclass::oid").fetchone() == before
    finally:
        ours.execute('ALTER TABLE odder RENAME TO "Odd name"')


def test_a_change_of_the_schema_is_seen_at_once(ours: psycopg.Connection) -> None:
    text = "SELECT count(*) FROM pg_class WHERE relname = 'passing'"
    assert ours.execute(text).fetchone() == (0,)
    ours.execute("CREATE TABLE passing (time timestamptz, v float8)")
    assert ours.execute(text).fetchone() == (1,)
    ours.execute("DROP TABLE passing")
    assert ours.execute(text).fetchone() == (0,)


def test_rows_and_sizes_are_live(ours: psycopg.Connection) -> None:
    ours.execute("CREATE TABLE counted (time timestamptz, v float8)")
    ours.execute("INSERT INTO counted SELECT now(), g FROM generate_series(1, 1000) g")
    text = "SELECT reltuples::int, pg_total_relation_size(oid) >= 0 FROM pg_class WHERE relname = 'counted'"
    assert ours.execute(text).fetchone() == (1000, True)
    ours.execute("DROP TABLE counted")


def test_what_line_protocol_made_is_described(ours: psycopg.Connection) -> None:
    rows = ours.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'Odd name' ORDER BY 1"
    ).fetchall()
    assert rows == [("select", "text"), ("time", "timestamp with time zone"), ("v", "double precision")]


def test_our_system_views_are_described_and_no_name_without_a_schema_means_them(ours: psycopg.Connection) -> None:
    found = ours.execute(
        "SELECT table_name, count(*) FROM information_schema.columns JOIN information_schema.tables"
        " USING (table_schema, table_name) WHERE table_schema = 'tsdb' GROUP BY 1 ORDER BY 1"
    ).fetchall()
    ours_now = [
        ("blocks", 13), ("compactions", 15), ("continuous_aggregates", 15), ("hints", 10), ("locations", 14),
        ("members", 9), ("replica_differences", 13), ("reverted", 6),
    ]  # fmt: skip
    assert found == ours_now
    shown = ours.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'tsdb.blocks'::regclass AND attnum > 0 ORDER BY attnum"
    ).fetchall()
    described = ours.execute("SELECT * FROM tsdb.blocks LIMIT 0").description
    assert [name for (name,) in shown] == [column.name for column in described or ()]
    assert ours.execute("SELECT to_regclass('blocks'), current_schemas(true)").fetchone() == (
        None,
        ["pg_catalog", "public"],
    )
    with pytest.raises(psycopg.errors.DuplicateSchema):
        ours.execute("CREATE SCHEMA tsdb")
