"""Enumerated types are PostgreSQL's: every statement of the script gives there what it gives here."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg.types.enum import EnumInfo, register_enum

from tests.ddl.conftest import Run
from tests.fixtures.postgres import Connection
from tests.session.conftest import Server
from tsdb.config import load
from tsdb.server import EmbeddedServer

SCRIPT = """
create type mood as enum ('sad', 'ok', 'happy')
select 'ok'::mood, 'ok'::mood < 'happy', '{sad,happy}'::mood[], null::mood, cast('sad' as mood)
select 'nok'::mood
select 'nok'::text::mood
select 1::mood
create type mood as enum ('a')
create type nowhere.mood as enum ('a')
create table people (name text primary key, m mood, ms mood[] default '{ok}', d mood default 'sad')
insert into people values ('a', 'happy', '{sad,ok}'), ('b', 'sad', null), ('c', 'ok', '{}')
insert into people values ('d', 'zz')
insert into people (name, m) select 'e', 'ok'
insert into people (name, m) select 'f', x from (values ('ok')) v(x)
insert into people (name, m) select 'f', x::mood from (values ('ok')) v(x)
select column_default from information_schema.columns where table_name = 'people' order by column_name
select * from people order by m desc nulls last, name
select m, count(*) from people group by m order by m
select min(m), max(m), min(d) from people
select min(m) over (), max(m) over (order by name) from people order by name
select * from people where m > 'sad' order by name
select name from people where m = 'ok' or m in ('happy', 'sad') order by name
select name from people where m = any ('{ok,happy}'::mood[]) order by 1
select m::text || 'x', ms[1], array_agg(m order by m) from people group by m, ms, name order by name
alter type mood add value 'great' after 'happy'
alter type mood add value 'great'
alter type mood add value if not exists 'great'
alter type mood add value 'meh' before 'ok'
alter type mood add value 'x' before 'nothing'
insert into people values ('g', 'great'), ('m', 'meh')
select name, m from people order by m, name
select enumlabel, enumsortorder from pg_enum order by 2
select typname, typtype, typcategory, typlen, typbyval, typalign, typstorage, typinput, typoutput, typreceive, typsend,
 typdelim, typelem::regtype, typarray::regtype from pg_type where typname in ('mood', '_mood') order by 1
select attname, format_type(atttypid, atttypmod), attlen, attbyval, attalign, attstorage from pg_attribute
 where attrelid = 'people'::regclass and attnum > 0 order by attnum
select column_name, data_type, udt_schema, udt_name from information_schema.columns where table_name = 'people'
 order by 1
select data_type, udt_schema, udt_name from information_schema.element_types where object_name = 'people'
select enum_range(null::mood), enum_first(null::mood), enum_last(null::mood), enum_range('meh'::mood, 'happy'::mood)
select enum_range(null, 'ok'::mood), enum_range('ok'::mood, null)
select enum_first(1)
update people set m = 'great' where name = 'a' returning *
drop type nothing
drop type if exists nothing
comment on type mood is 'how one feels'
select obj_description('mood'::regtype, 'pg_type'), to_regtype('mood[]')::text,
 'mood'::regtype::oid = to_regtype('mood')
select to_json('ok'::mood), row('ok'::mood, 1), json_agg('ok'::mood), format('%s', 'ok'::mood), concat('ok'::mood, 1)
select 'ok'::mood in ('ok', 'sad'), 'ok'::mood between 'sad' and 'happy', nullif('ok'::mood, 'ok'), 'ok' <> 'sad'::mood
select array['ok'::mood, 'sad'], '{ok}'::mood[] @> array['ok'::mood], 'ok' = any('{ok,sad}'::mood[])
select coalesce(null, 'ok'::mood), case when true then 'ok'::mood else 'sad' end, greatest('ok'::mood, 'sad')
select x from (values ('ok'::mood), ('sad')) v(x) union all select 'happy' order by 1
select distinct on (m) m, name from people order by m, name
select lag(m) over (order by m, name) from people order by m, name
select upper('ok'::mood)
select 'ok'::mood = 'ok'::text
select 1 + 'ok'::mood
alter type mood rename to feeling
select pg_typeof(m) from people limit 1
select 'ok'::mood
prepare p(feeling) as select count(*) from people where m >= $1
execute p('ok')
create table t2 as select m, d from people
alter table t2 alter column m type text
select * from t2 order by 1
alter table t2 alter column m type feeling
create schema s
create type s."Odd Type" as enum ('it''s', 'b"c', '')
select 'it''s'::s."Odd Type", '{"b\\"c",""}'::s."Odd Type"[], to_regtype('s."Odd Type"')
select 'it''s'::"Odd Type"
set search_path = s
select 'b"c'::"Odd Type", pg_typeof(''::s."Odd Type")
create table t (n int primary key, k "Odd Type")
insert into t values (1, 'it''s'), (2, ''), (3, 'b"c')
select k, n from t where k >= 'b"c' order by k
select k || 'x' from t order by k
drop type "Odd Type" cascade
select * from t order by n
reset search_path
alter type feeling set schema s
select 'ok'::s.feeling
drop schema s
drop schema s cascade
select name from people order by name
create table defaults (a text default 'x', b varchar(9) default 'it''s', c int default -5, d bigint default 7,
 e char(2) default 'a', k int[] default '{1,2}', f bool default true, g float8 default 1.5,
 h timestamptz default now(), i int2 default 0, j json default '{}')
select attname, pg_get_expr(adbin, adrelid) from pg_attrdef join pg_attribute on adrelid = attrelid and adnum = attnum
 where adrelid = 'defaults'::regclass order by adnum
select column_name, column_default from information_schema.columns where table_name = 'defaults'
 order by ordinal_position
insert into defaults (c) values (1) returning a, b, c, d, e, f, g, i, j
select count(*) from pg_enum
"""
STATEMENTS = [" ".join(s.split("\n ")) for s in re.split(r"\n(?! )", SCRIPT.strip())]


def _answer(connection: Connection | psycopg.Connection, statement: str) -> object:
    """Names, types (the system's), rows and the tag; of an error SQLSTATE and message."""
    try:
        cursor = connection.execute(statement.encode())
    except psycopg.Error as error:
        return error.sqlstate, error.diag.message_primary
    if cursor.description is None:
        return cursor.statusmessage
    columns = [(c.name, c.type_code if c.type_code < 16384 else "own") for c in cursor.description]
    return columns, [tuple(map(str, row)) for row in cursor.fetchall()]


@pytest.mark.postgres
def test_enumerated_types_are_postgres(connection: psycopg.Connection, postgres: Connection) -> None:
    postgres.execute("CREATE DATABASE types")
    theirs: Connection
    with psycopg.connect(postgres.info.dsn, dbname="types", autocommit=True) as theirs:
        for statement in STATEMENTS:
            assert _answer(connection, statement) == _answer(theirs, statement), statement


def test_a_tag_of_labels_is_pruned_and_ordered_by_their_order(run: Run) -> None:
    run("CREATE TYPE size AS ENUM ('s', 'm', 'l', 'xl')")
    run("CREATE TABLE shirts (time timestamptz, size size TAG, n int8, PRIMARY KEY (size, time))")
    run("INSERT INTO shirts SELECT '2026-01-01', x::size, 1 FROM unnest(ARRAY['xl', 's', 'm', 'l']) x")
    assert run("SELECT size FROM shirts ORDER BY size") == [("s",), ("m",), ("l",), ("xl",)]
    assert run("SELECT size FROM shirts WHERE size > 'm' ORDER BY size") == [("l",), ("xl",)]
    assert run("SELECT size, sum(n)::int FROM shirts WHERE size IN ('l', 's') GROUP BY size ORDER BY size") == [
        ("s", 1), ("l", 1),
    ]  # fmt: skip
    read = "\n".join(row[0] for row in run("EXPLAIN ANALYZE SELECT * FROM shirts WHERE size = 'm'"))
    assert "Tag sets: 1 of 4" in read


def test_labels_that_columns_hold_are_not_renamed_and_those_of_none_are(
    run: Run, refused: Callable[[str], str]
) -> None:
    run("CREATE TYPE colour AS ENUM ('red', 'green')")
    run("ALTER TYPE colour RENAME VALUE 'red' TO 'blue'")
    assert run("SELECT enum_range(NULL::colour)::text") == [("{blue,green}",)]
    run("CREATE TABLE flags (id int PRIMARY KEY, colour colour)")
    assert refused("ALTER TYPE colour RENAME VALUE 'blue' TO 'red'") == "0A000"
    assert refused("CREATE TYPE pair AS (a int, b int)") == "0A000"
    assert refused("CREATE TYPE twice AS ENUM ('a', 'a')") == "23505"
    assert refused(f"CREATE TYPE long AS ENUM ('{'x' * 64}')") == "42602"


def test_only_the_owner_alters_a_type(server: Server, database: str, run: Run) -> None:
    run("CREATE TYPE owned AS ENUM ('a')", "CREATE ROLE someone LOGIN")
    with server.connect(database=database) as other:
        other.execute("SET ROLE someone")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute("ALTER TYPE owned ADD VALUE 'b'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute("DROP TYPE owned")
    run("ALTER TYPE owned OWNER TO someone")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        run("DROP ROLE someone")
    run("DROP TYPE owned", "DROP ROLE someone")


def test_copy_and_values_of_labels_in_text_and_binary(connection: psycopg.Connection, run: Run) -> None:
    run("CREATE TYPE size AS ENUM ('s', 'm')", "CREATE TABLE c (id int PRIMARY KEY, size size, sizes size[])")
    found = EnumInfo.fetch(connection, "size")
    assert found is not None
    register_enum(found, connection)
    with connection.cursor() as cursor, cursor.copy("COPY c FROM STDIN") as copy:
        copy.write(b"1\tm\t{s,m}\n2\t\\N\t{}\n")
    wrong = pytest.raises(psycopg.errors.InvalidTextRepresentation, match='invalid input value for enum size: "q"')
    with wrong, connection.cursor() as cursor, cursor.copy("COPY c FROM STDIN") as copy:
        copy.write(b"3\tq\t{}\n")
    assert found.enum is not None
    large = found.enum["m"]
    for binary in (False, True):
        cursor = connection.execute(
            "SELECT * FROM c WHERE size = %s OR size IS NULL ORDER BY id", (large,), binary=binary
        )
        assert cursor.fetchall() == [(1, large, [found.enum["s"], large]), (2, None, [])]


async def _by_asyncpg(dsn: dict[str, Any]) -> list[Any]:
    connection = await asyncpg.connect(**dsn)
    try:
        row = await connection.fetchrow("SELECT $1::size AS one, $2::size[] AS more", "m", ["s", "m"])
        return [row["one"], row["more"]]
    finally:
        await connection.close()


def test_asyncpg_finds_out_about_the_type(server: Server, database: str, run: Run) -> None:
    run("CREATE TYPE size AS ENUM ('s', 'm')")
    dsn = {"host": "127.0.0.1", "port": server.port, "user": "tsdb", "database": database, "ssl": False}
    assert asyncio.run(_by_asyncpg(dsn)) == ["m", ["s", "m"]]


def test_types_are_there_after_a_restart(tmp_path: Path) -> None:
    settings = load({"data": tmp_path / "data", "pg_port": 0, "http_port": 0})
    with EmbeddedServer(settings) as first, psycopg.connect(_dsn(first.pg_port), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA s")
        connection.execute("CREATE TYPE s.size AS ENUM ('s', 'l')")
        connection.execute("ALTER TYPE s.size ADD VALUE 'm' BEFORE 'l'")
        connection.execute("CREATE TABLE shirts (time timestamptz, size s.size TAG, other s.size[])")
        connection.execute("CREATE VIEW sizes AS SELECT size FROM shirts")
        connection.execute("INSERT INTO shirts VALUES (now(), 'l', '{m}'), (now(), 's', NULL), (now(), 'm', '{}')")
        before = connection.execute("SELECT 's.size'::regtype::oid").fetchall()
    with EmbeddedServer(settings) as second, psycopg.connect(_dsn(second.pg_port), autocommit=True) as connection:
        assert connection.execute("SELECT 's.size'::regtype::oid").fetchall() == before
        rows = connection.execute("SELECT size::text, other::text FROM shirts ORDER BY shirts.size").fetchall()
        assert rows == [("s", None), ("m", "{}"), ("l", "{m}")]
        assert connection.execute("SELECT max(size)::text FROM sizes").fetchall() == [("l",)]


def _dsn(port: int) -> str:
    return f"host=127.0.0.1 port={port} user=tsdb dbname=tsdb"
