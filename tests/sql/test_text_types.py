"""Types that are texts inside: what PostgreSQL says to each statement is said here, in text and in binary."""

from __future__ import annotations

import re

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import pq

from tests.fixtures.postgres import Connection
from tsdb.sql.computed import text_types
from tsdb.wire import text_binary

SCRIPT = """
select '10:00 America/Bogota'::timetz
select '{1,2}'::int[], '{a}'::text[], row(1,2), '1 day'::interval, 'a=>1'::text, '(1,2)'::point
select '[1,2)'::int4range, 1::oid, 'pg_class'::regclass, '12.34'::numeric, '{}'::json, '{}'::jsonb, 'x'::name,
 '10.0.0.0/8'::cidr, 'a'::"char", 1.5::money
select '1,2'::point, ' ( 1.5 , -2e10 ) '::point, '(1e300,1e-5)'::point, '(inf,nan)'::point,
 '(0.0001,123456789012345678)'::point, '(1e15,123456.7)'::point
select '(1)'::point
select '(1,2'::point
select '[1,5]'::int4range, '(1,5)'::int4range, '(,5]'::int4range, '[,]'::int4range, 'empty'::int4range,
 '[3,3)'::int4range, '(1,2)'::int4range, ' [ 1 , 2 ] '::int4range
select '[5,1]'::int4range
select '[1,2'::int4range
select '[1,99999999999]'::int4range
select '[a,2]'::int4range
select '[1.50,2)'::numrange, '(,)'::numrange, '[2026-01-01,2026-01-31]'::daterange, '[2026-01-01 10:00,
 2026-01-02)'::tsrange, '["2026-01-01 10:00:00.5",)'::tsrange, '[1,9223372036854775806]'::int8range
select '12:00+01'::timetz, '12:00:00.5-03:30'::timetz, '23:59:59Z'::timetz, '10:00'::timetz,
 '3:00 pm +02'::timetz, time with time zone '01:02:03+04'
select '25:00+01'::timetz
select 'x'::timetz
select '10.0.0.1'::inet, '10.0.0.1/24'::inet, '::1'::inet, '::ffff:1.2.3.4'::inet, '10.0.0.0/8'::cidr,
 '10.0.0.1'::cidr, 'fe80::/10'::cidr
select '10.0.0.1/8'::cidr
select '300.0.0.1'::inet
select 1.5::money, '$1,234.567'::money, '-3'::money, '(2.5)'::money, '$-1'::money, 1000000::money,
 (12.34::money)::numeric, 7::int8::money
select 'abc'::money
select '(1,2)'::point = '(1,2)'::point
select '[1,2)'::int4range = '[1,1]'::int4range, '10.0.0.1'::inet = '10.0.0.1/32',
 '12:00+01'::timetz = '12:00:00+01', 1::money = '$1.00', 1::money <> 2::money
select '(1,2)'::point::text, '[1,2)'::int4range::text || 'x', '12:00+01'::timetz::text,
 '10.0.0.0/8'::cidr::inet, '10.0.0.0/8'::cidr::text
select pg_typeof('(1,2)'::point), pg_typeof('12:00+01'::timetz), pg_typeof('{"(1,2)"}'::point[]),
 '{"(1,2)","(3,4)"}'::point[], '{"[1,2)"}'::int4range[], '{12:00+01}'::timetz[]
create table shapes (id int primary key, p point, r int4range, d daterange, t timetz, tz time with time zone,
 i inet, m money, ps point[])
insert into shapes values (1, '(1,2)', '[1,5]', '[2026-01-01,]', '12:00+01', '12:00', '10.0.0.1', 5,
 '{"(1,2)"}'), (2, null, 'empty', null, null, null, null, '1.5', null)
insert into shapes (id, p) select 3, x::point from (values ('(7, 8)')) v(x)
insert into shapes (id, p) select 3, x::point from (values ('(7; 8)')) v(x)
insert into shapes (id, p) values (4, 'zz')
select * from shapes order by id
select id from shapes where r = '[1,6)' or i = '10.0.0.1'
update shapes set p = '(9,9)' where id = 2 returning p
select count(distinct r), count(p) from shapes
select format_type(atttypid, atttypmod), attlen,
 attstorage from pg_attribute where attrelid = 'shapes'::regclass and attnum > 0 order by attnum
select data_type, udt_name from information_schema.columns where table_name = 'shapes' order by ordinal_position
select coalesce(null, '(1,2)'::point), case when true then '[1,2)'::int4range end
select to_json('(1,2)'::point), row('(1,2)'::point, '[1,2)'::int4range), array['(1,2)'::point]
select '(1,2)'::point < '(1,2)'::point
select null::point, null::int4range
"""
STATEMENTS = [" ".join(s.split("\n ")) for s in re.split(r"\n(?! )", SCRIPT.strip())]

VALUES = [
    ("point", "(1.5,-2e10)"), ("point", "(Infinity,0)"), ("int4range", "[1,5)"), ("int4range", "empty"),
    ("int8range", "(,7)"), ("numrange", "[1.50,2.25]"), ("numrange", "(,)"), ("daterange", "[2026-01-01,)"),
    ("tsrange", '["2026-01-01 10:00:00.5","2026-02-01 00:00:00")'), ("timetz", "12:00:00.25+05:30"),
    ("timetz", "23:59:59-08"), ("inet", "10.0.0.1/24"), ("inet", "::1"), ("cidr", "10.0.0.0/8"), ("cidr", "fe80::/10"),
    ("tstzrange", '["2026-01-01 10:00:00.5+00",)'),
    ("macaddr", "08:00:2b:01:02:03"), ("money", "$1,234.56"), ("money", "-$0.01"),
    ("point[]", '{"(1,2)",NULL}'), ("int4range[]", '{"[1,2)"}'),
]  # fmt: skip


def _answer(connection: Connection | psycopg.Connection, sql: str, *values: bytes, binary: bool = False) -> object:
    pgconn = connection.pgconn
    result = (
        pgconn.exec_params(sql.encode(), values, result_format=int(binary))
        if values or binary
        else pgconn.exec_(sql.encode())
    )
    if result.status == pq.ExecStatus.FATAL_ERROR:
        return [result.error_field(f) for f in (pq.DiagnosticField.SQLSTATE, pq.DiagnosticField.MESSAGE_PRIMARY)]
    columns = [(result.fname(i), result.ftype(i)) for i in range(result.nfields)]
    return columns, [[result.get_value(r, c) for c in range(result.nfields)] for r in range(result.ntuples)]


@pytest.mark.postgres
def test_statements_are_answered_as_postgres_does(ours: psycopg.Connection, theirs: Connection) -> None:
    for statement in STATEMENTS:
        assert _answer(ours, statement) == _answer(theirs, statement), statement


@pytest.mark.postgres
@pytest.mark.parametrize(("sql_type", "text"), VALUES)
def test_binary_values_are_postgres_both_ways(
    sql_type: str, text: str, ours: psycopg.Connection, theirs: Connection
) -> None:
    sql = f"SELECT $1::{sql_type}"
    binary = _answer(theirs, sql, text.encode(), binary=True)
    assert _answer(ours, sql, text.encode(), binary=True) == binary
    assert isinstance(binary, tuple)
    octets = binary[1][0][0]
    sent = [c.pgconn.exec_params(sql.encode(), [octets], None, [pq.Format.BINARY]) for c in (ours, theirs)]
    assert sent[0].get_value(0, 0) == sent[1].get_value(0, 0)


def test_they_are_stored_and_copied(ours: psycopg.Connection) -> None:
    ours.execute("CREATE TABLE texts (id int PRIMARY KEY, p point, r int4range)")
    with ours.cursor() as cursor, cursor.copy("COPY texts FROM STDIN") as copy:
        copy.write(b"1\t1,2\t(1,5]\n2\t\\N\tempty\n")
    wrong = pytest.raises(psycopg.errors.InvalidTextRepresentation)
    with wrong, ours.cursor() as cursor, cursor.copy("COPY texts FROM STDIN") as copy:
        copy.write(b"3\tx\t\\N\n")
    with ours.cursor() as cursor, cursor.copy("COPY (SELECT * FROM texts ORDER BY id) TO STDOUT") as out:
        assert b"".join(bytes(piece) for piece in out) == b"1\t(1,2)\t[2,6)\n2\t\\N\tempty\n"
    ours.execute("DROP TABLE texts")


@given(st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)))
def test_a_point_reads_back_from_both_forms(pair: tuple[float, float]) -> None:
    text = text_types.point("({!r},{!r})".format(*pair))
    assert text_types.point(text) == text
    again = text_binary.text_of("point", text_binary.octets_of("point", text), lambda _, octets: octets.decode())
    assert text_types.point(again) == text


@given(st.binary(max_size=30), st.sampled_from(sorted({t for t, _ in VALUES if "[" not in t})))
def test_any_octets_are_a_value_or_refused(octets: bytes, typname: str) -> None:
    try:
        text_binary.text_of(typname, octets, lambda _, bound: str(int.from_bytes(bound, "big")))
    except Exception as error:
        assert getattr(error, "sqlstate", "") == "22P03", repr(error)
