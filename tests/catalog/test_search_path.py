"""Names, visibility and privileges follow search_path and the grants, statement by statement as in PostgreSQL."""

from __future__ import annotations

import re

import psycopg
import pytest

from tests.fixtures.postgres import Connection

SCRIPT = """
create schema s1
create schema s2
create table s1.a (id int primary key)
create table s2.a (id int primary key, r int references s1.a(id))
create table b (id int primary key)
create table s1.b (id int primary key)
create type s1.mood as enum ('x')
select current_schema, current_schema(), current_schemas(true), current_schemas(false)
select 's1.a'::regclass, 'b'::regclass, 's1.b'::regclass, to_regclass('a'),
 pg_table_is_visible('s1.a'::regclass), pg_table_is_visible('b'::regclass)
set search_path = s1, public
select current_schema, current_schemas(true), current_schemas(false)
select 's1.a'::regclass, 's1.b'::regclass, 'public.b'::regclass, 'b'::regclass = 's1.b'::regclass,
 to_regclass('a') = 's1.a'::regclass, pg_table_is_visible('s1.a'::regclass),
 pg_table_is_visible('public.b'::regclass), pg_table_is_visible('s2.a'::regclass)
select 'mood'::regtype, pg_type_is_visible('s1.mood'::regtype), pg_type_is_visible('int4'::regtype),
 format_type('s1.mood'::regtype, -1), pg_typeof('x'::mood), '{x}'::mood[]::text
select pg_get_constraintdef(oid) from pg_constraint where conrelid = 's2.a'::regclass and contype = 'f'
set search_path = s2
select 'a'::regclass, 's1.a'::regclass, 'public.b'::regclass, 's1.mood'::regtype,
 pg_type_is_visible('s1.mood'::regtype)
select 'b'::regclass
select to_regclass('b'), to_regtype('mood'), pg_typeof('x'::s1.mood),
 array_agg(relname order by relname) from pg_class where pg_table_is_visible(oid)
 and relnamespace in ('s1'::regnamespace,
 's2'::regnamespace, 'public'::regnamespace)
set search_path = public, pg_catalog
select current_schemas(true), 'pg_class'::regclass
set search_path = nothing
select current_schema, current_schemas(true), current_schemas(false), 'pg_class'::regclass, 'public.b'::regclass
set search_path = "$user", public
select 'b'::regclass, 's1.b'::regclass
create role other
select has_schema_privilege('other', 's1', 'USAGE'), has_schema_privilege('s1', 'create'),
 has_schema_privilege('other', 'public', 'USAGE'), has_schema_privilege('other', 'pg_catalog', 'USAGE'),
 has_schema_privilege('other', 'pg_catalog', 'CREATE'), has_schema_privilege('other', 'public', 'CREATE')
grant usage on schema s1 to other
select has_schema_privilege('other', 's1', 'USAGE'), has_schema_privilege('other', 's1', 'CREATE'),
 has_schema_privilege('other', 's1', 'CREATE, USAGE'), has_schema_privilege('other', 's1'::regnamespace,
 'USAGE')
select has_schema_privilege('other', 'none', 'USAGE')
select has_schema_privilege('other', 's1', 'SELECT')
select has_schema_privilege(0::oid, 'USAGE')
select has_function_privilege('other', 'now()', 'EXECUTE'), has_function_privilege('now()', 'execute'),
 has_function_privilege('other', 'pg_ls_logdir()', 'EXECUTE'), has_function_privilege('pg_ls_logdir()',
 'EXECUTE')
select has_function_privilege('other', 'now()', 'SELECT')
select has_database_privilege('other', current_database(), 'CONNECT'), has_database_privilege('other',
 current_database(), 'CREATE'), has_database_privilege('other', 'template0', 'CONNECT'),
 has_database_privilege('template1', 'TEMP')
select grantor::regrole, grantee::regrole, privilege_type,
 is_grantable from aclexplode('{other=r/other,=U*/other}'::aclitem[])
select (aclexplode(acldefault('r', 'other'::regrole))).privilege_type
select a.grantee::regrole, a.privilege_type from pg_namespace n,
 aclexplode(n.nspacl) a where nspname = 's1' and a.grantee = 'other'::regrole order by 1, 2
select count(*) from aclexplode(null::aclitem[])
listen abc
listen "Def"
select * from pg_listening_channels() order by 1
select pg_listening_channels() as c order by 1
unlisten *
select count(*) from pg_listening_channels()
set search_path = public
insert into s1.a values (1), (2)
insert into s2.a values (2, 1) returning s2.a.id, s2.a.r
select s1.a.id, s2.a.r from s1.a join s2.a on s1.a.id = s2.a.id where s1.a.id > 0 order by s1.a.id
select s2.a.*, s1.a.* from s1.a, s2.a where s2.a.r = s1.a.id
select count(s1.a.id) from s1.a group by s1.a.id % 2 order by 1
select (select max(s1.a.id) from s2.a) from s1.a group by ()
select a.id from s1.a, s2.a
select s1.a.id from s2.a
select s1.a.id from s1.a as a
select s1.a.* from s2.a
select s1.a.nope from s1.a
select pg_catalog.pg_class.relname from pg_catalog.pg_class where pg_catalog.pg_class.oid = 's1.a'::regclass
update s2.a set r = s2.a.r + 1 where s2.a.id = 2 returning s2.a.r
create view reads as select s1.a.id from s1.a, s2.a where s1.a.id = s2.a.id
create schema s3
alter table s1.a set schema s3
select * from reads
select s3.a.id from s3.a where s3.a.id = 1
delete from s3.a where s3.a.id = 1 returning s3.a.id
drop view reads
drop schema s3 cascade
drop schema s1 cascade
drop schema s2 cascade
drop table b
drop role other
"""
STATEMENTS = [" ".join(s.split("\n ")) for s in re.split(r"\n(?! )", SCRIPT.strip())]


def _answer(connection: Connection | psycopg.Connection, statement: str) -> object:
    try:
        cursor = connection.execute(statement.encode())
    except psycopg.Error as error:
        return error.sqlstate, error.diag.message_primary
    if cursor.description is None:
        return cursor.statusmessage
    columns = [(c.name, c.type_code if c.type_code < 16384 else "own") for c in cursor.description]
    return columns, [tuple(map(str, row)) for row in cursor.fetchall()]


@pytest.mark.postgres
def test_names_and_privileges_are_postgres(ours: psycopg.Connection, postgres: Connection) -> None:
    # Both have other tables in public: their names are not asked for.
    postgres.execute("CREATE DATABASE named")
    ours.execute("CREATE DATABASE named")
    theirs: Connection
    with (
        psycopg.connect(ours.info.dsn, dbname="named", autocommit=True) as mine,
        psycopg.connect(postgres.info.dsn, dbname="named", autocommit=True) as theirs,
    ):
        for statement in STATEMENTS:
            assert _answer(mine, statement) == _answer(theirs, statement), statement
