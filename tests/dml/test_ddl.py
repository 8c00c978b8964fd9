"""DDL: what statements make of a catalog."""

from __future__ import annotations

import pytest

from tsdb.errors import (
    DatatypeMismatch,
    DuplicateColumn,
    DuplicateTable,
    FeatureNotSupported,
    InvalidParameterValue,
    InvalidSchemaName,
    InvalidTableDefinition,
    SqlSyntaxError,
    TsdbError,
    UndefinedColumn,
    UndefinedObject,
    UndefinedTable,
)
from tsdb.model.schema import Catalog, CreateDatabase, Role, Series, apply
from tsdb.sql.context import Context
from tsdb.sql.ddl import statement as ddl
from tsdb.sql.ddl.statement import SchemaPlan
from tsdb.sql.statement import Ddl, parse, split

DAY_NS = 86_400 * 10**9


class Schema:
    """A catalog that statements are run on, one after the other."""

    def __init__(self) -> None:
        self.catalog = apply(Catalog(), [CreateDatabase("tsdb")])

    def plan(self, text: str) -> SchemaPlan:
        (fragment,) = split(text)
        statement = parse(fragment)
        assert isinstance(statement, Ddl)
        return ddl.plan(statement, Context("tsdb"), self.catalog)

    def run(self, text: str) -> list[str]:
        plan = self.plan(text)
        self.catalog = apply(self.catalog, plan.changes)
        return [notice.condition.message for notice in plan.notices]

    def __getitem__(self, name: str) -> Series:
        return self.catalog.databases["tsdb"].find(name)


@pytest.fixture
def schema() -> Schema:
    return Schema()


def shape(series: Series) -> list[str]:
    return [
        f"{c.name} {c.role.name.lower()} {c.type.name}"
        + (f" {c.typmod}" if c.typmod >= 0 else "")
        + (" not null" if c.not_null else "")
        + (f" default {c.default}" if c.default is not None else "")
        for c in series.columns
    ]


def test_a_table_with_tags_and_a_primary_key_merges_like_line_protocol(schema: Schema) -> None:
    notices = schema.run(
        "CREATE TABLE cpu (time timestamptz, host text TAG, usage float8 DEFAULT 1.5 NOT NULL,"
        " PRIMARY KEY (host, time))"
    )
    assert notices == []
    assert shape(schema["cpu"]) == [
        "time time timestamp with time zone not null",
        "host tag text not null",
        "usage field double precision not null default 1.5",
    ]
    assert schema["cpu"].keyed
    assert not schema["cpu"].reference
    assert [schema["cpu"].by_number[n].name for n in schema["cpu"].key] == ["host", "time"]


def test_a_table_without_a_primary_key_keeps_every_point(schema: Schema) -> None:
    schema.run("CREATE TABLE log (ts timestamp, level text TAG, message text) WITH (retention = '30 days')")
    assert shape(schema["log"])[0] == "ts time timestamp without time zone not null"
    assert not schema["log"].keyed
    assert schema["log"].retention_ns == 30 * DAY_NS


@pytest.mark.parametrize(
    ("columns", "time"),
    [
        ("a timestamp, time timestamptz, primary key (a, time)", "time"),
        ("a timestamp, b timestamptz, primary key (b)", "b"),
        ("a timestamptz, b timestamptz, c int", "a"),
        ("a timestamptz, b timestamptz, c int, primary key (c)", None),
        ("time timestamptz, c int, primary key (c)", "time"),
        ("id int primary key, name text", None),
        ("a text, b timestamptz tag, c timestamp", "c"),
    ],
)
def test_the_time_column_is_found_by_name_then_key_then_type(schema: Schema, columns: str, time: str | None) -> None:
    schema.run(f"CREATE TABLE t ({columns})")
    found = schema["t"].time
    assert (found.name if found else None) == time
    assert schema["t"].reference == (time is None)


def test_every_type_can_be_declared(schema: Schema) -> None:
    schema.run(
        'create table t (v character varying(20) collate "C", n decimal(5), n2 numeric(12,3), r real, w bytea, u uuid,'
        " j jsonb, k json, i interval day to second, d date, tt time, b bool, s smallint, q int4, q8 int8, f float(24),"
        " g float(53), h double precision, c char(3), c1 char, a int[], a2 text[3], a3 integer array, o oid, "
        "ts timestamp(3) with time zone, nm name, p pg_catalog.int4, bare numeric)"
    )
    assert shape(schema["t"]) == [
        "v field character varying 24", "n field numeric 327684", "n2 field numeric 786439", "r field real",
        "w field bytea", "u field uuid", "j field jsonb", "k field json", "i field interval", "d field date",
        "tt field time without time zone", "b field boolean", "s field smallint", "q field integer",
        "q8 field bigint", "f field real", "g field double precision", "h field double precision",
        "c field character 7", "c1 field character 5", "a field integer[]", "a2 field text[]", "a3 field integer[]",
        "o field oid", "ts time timestamp with time zone 3 not null", "nm field name", "p field integer",
        "bare field numeric",
    ]  # fmt: skip


def test_what_is_not_enforced_says_so(schema: Schema) -> None:
    notices = schema.run(
        "CREATE TABLE r (id bigint PRIMARY KEY, d int REFERENCES r (id) ON DELETE SET NULL, ts timestamptz,"
        " v float8 CHECK (v > -1e9), name text UNIQUE NOT NULL, FOREIGN KEY (d) REFERENCES r, UNIQUE (d, v),"
        " CONSTRAINT c CHECK (v > (1)))"
    )
    assert len(notices) == 2
    assert all("not enforced" in n for n in notices)
    assert "time column" in schema.run("CREATE TABLE s (time timestamptz, id int PRIMARY KEY)")[-1]
    assert schema.run("CREATE UNIQUE INDEX IF NOT EXISTS i ON r USING btree (v DESC)") != []


def test_defaults_keep_their_text(schema: Schema) -> None:
    schema.run("CREATE TABLE t (a timestamptz DEFAULT now(), b text DEFAULT ('x,' || 'y') TAG, c int DEFAULT -1)")
    assert [c.default for c in schema["t"].columns] == ["now()", "('x,' || 'y')", "-1"]
    assert schema["t"].column("b").role is Role.TAG


def test_if_exists_and_if_not_exists_skip_with_a_notice(schema: Schema) -> None:
    schema.run("CREATE TABLE t (time timestamptz)")
    assert schema.run("CREATE TABLE IF NOT EXISTS t (x int)") == ['relation "t" already exists, skipping']
    assert schema.run("DROP TABLE IF EXISTS u, t CASCADE") == ['table "u" does not exist, skipping']
    assert schema.run("DROP DATABASE IF EXISTS nope") == ['database "nope" does not exist, skipping']
    assert schema.run("ALTER TABLE IF EXISTS t ADD x int") == ['relation "t" does not exist, skipping']


def test_alter_table_runs_its_actions_in_order(schema: Schema) -> None:
    schema.run("CREATE TABLE t (time timestamptz, a text, b int, c float8)")
    schema.run(
        "ALTER TABLE ONLY t ADD COLUMN d text TAG, ADD e numeric(4,1) DEFAULT 0, DROP COLUMN b,"
        " ALTER COLUMN a SET DATA TYPE float8 USING a::float8, ALTER c SET NOT NULL, ALTER c SET DEFAULT 3 + 1"
    )
    schema.run("ALTER TABLE t RENAME COLUMN a TO z")
    schema.run("ALTER TABLE t SET (retention = '1w')")
    assert shape(schema["t"])[1:] == [
        "z field double precision",
        "c field double precision not null default 3 + 1",
        "d tag text",
        "e field numeric 262149 default 0",
    ]
    assert schema["t"].retention_ns == 7 * DAY_NS
    schema.run("ALTER TABLE t ALTER c DROP NOT NULL, ALTER c DROP DEFAULT, DROP IF EXISTS nope")
    schema.run("ALTER TABLE t RESET (retention)")
    schema.run('ALTER TABLE public.t RENAME TO "T"')
    assert shape(schema["T"])[2] == "c field double precision"
    assert schema["T"].retention_ns is None


def test_databases_are_created_renamed_and_dropped(schema: Schema) -> None:
    assert schema.run("CREATE DATABASE a WITH OWNER = tsdb ENCODING 'UTF8'") == [
        "the options of CREATE DATABASE but OWNER are ignored"
    ]
    schema.run("ALTER DATABASE a RENAME TO b")
    schema.run("DROP DATABASE b WITH (FORCE)")
    assert list(schema.catalog.databases) == ["tsdb"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("CREATE TABLE t (time text)", InvalidTableDefinition),
        ("CREATE TABLE t (time timestamptz TAG)", InvalidTableDefinition),
        ("CREATE TABLE t (a int, a int)", DuplicateColumn),
        ("CREATE TABLE t (a int primary key, b int primary key)", InvalidTableDefinition),
        ("CREATE TABLE t (a int, primary key (b))", UndefinedColumn),
        ("CREATE TABLE t (a foo)", UndefinedObject),
        ("CREATE TABLE t (a numeric(50))", FeatureNotSupported),
        ("CREATE TABLE t (a varchar(0))", InvalidParameterValue),
        ("CREATE TABLE t (a int) WITH (retention = '1d')", InvalidTableDefinition),
        ("CREATE TABLE t (time timestamptz) WITH (retention = '-1d')", InvalidParameterValue),
        ("CREATE TABLE other.t (a int)", InvalidSchemaName),
        ("CREATE TABLE t (a int", SqlSyntaxError),
        ("CREATE TABLE t (a int) garbage", SqlSyntaxError),
        ("CREATE TABLE x (a int)", DuplicateTable),
        ("ALTER TABLE x ALTER d TYPE timestamp", DatatypeMismatch),
        ("ALTER TABLE x ALTER nope TYPE int", UndefinedColumn),
        ("ALTER TABLE x ADD PRIMARY KEY (d)", FeatureNotSupported),
        ("ALTER TABLE nope ADD a int", UndefinedTable),
        ("DROP TABLE nope", UndefinedTable),
        ("ALTER TABLE x FROBNICATE", FeatureNotSupported),
        ("GRANT ALL ON x TO y", FeatureNotSupported),
    ],
)
def test_what_cannot_be_is_refused(schema: Schema, text: str, error: type[TsdbError]) -> None:
    schema.run("CREATE TABLE x (time timestamptz, d date)")
    with pytest.raises(error):
        schema.run(text)


def test_a_syntax_error_points_at_its_token(schema: Schema) -> None:
    with pytest.raises(SqlSyntaxError, match='syntax error at or near "nul"') as caught:
        schema.run("CREATE TABLE t (a int not nul)")
    assert caught.value.position == 27


def test_create_table_as_names_its_query(schema: Schema) -> None:
    plan = schema.plan("CREATE TABLE t (a, b) WITH (retention='1d') AS SELECT 1, 2 WITH NO DATA")
    assert plan.source is not None
    assert (plan.source.name, plan.source.columns, plan.source.empty) == ("t", ("a", "b"), True)
    assert plan.source.text.text.strip() == "SELECT 1, 2"
