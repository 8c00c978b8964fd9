"""No statement reaches a file, the network, a setting or another database through DuckDB."""

from __future__ import annotations

import re

import pytest

from tests.sql import samples
from tests.sql.answers import ask
from tsdb.errors import InternalError, SqlSyntaxError, TsdbError
from tsdb.sql.functions import aggregates, datetimes, scalar
from tsdb.sql.query import Queries
from tsdb.sql.statement import parse, split

VIEW = samples.view(20)
SECRET = object()


@pytest.mark.parametrize(
    "text",
    [
        "select * from read_csv('/etc/passwd')", "select * from read_text('/etc/passwd')",
        "select * from '/etc/passwd'",
        'select * from "/etc/passwd"', 'select * from "data.parquet"', "select * from read_parquet('s3://a/b')",
        "select query('select 1')", "select * from query('select 1')", "select * from query_table('t1')",
        "select getenv('HOME')", "select * from duckdb_settings()", "select * from duckdb_secrets()",
        "select current_setting('memory_limit')", "select * from glob('/*')", "select * from sniff_csv('/etc/passwd')",
        "select * from t1", "select * from r1", "select r1.c1 from cpu", "select c1 from cpu", "select * from SECRET",
        "select * from VIEW", "select * from pg_read_file('/etc/passwd')", "select pg_read_file('/etc/passwd')",
        "select lo_import('/etc/passwd')", "select write_log('x')", "select error('x')", "select pg_raise('x')",
        "select system('ls')", "select * from sqlite_master",
        "select * from duckdb_tables", "select * from parquet_scan('x')", "select install('httpfs')",
        "select getvariable('a')", "select * from pragma_table_info('cpu')", "select nextval('a')",
        "select txid_current()", "select * from cpu cross join read_json('x')",
    ],
)  # fmt: skip
def test_nothing_outside_the_database_is_reachable(text: str, queries: Queries) -> None:
    with pytest.raises(TsdbError) as caught:
        ask(queries, VIEW, text)
    assert not isinstance(caught.value, InternalError)
    assert caught.value.sqlstate[:2] in ("42", "0A", "3F")


@pytest.mark.parametrize(
    "text", ["attach 'x' as y", "pragma database_list", "install httpfs", "use x", "export database 'x'"]
)
def test_duckdbs_own_statements_are_syntax_errors(text: str) -> None:
    with pytest.raises(SqlSyntaxError):
        parse(split(text)[0])


@pytest.mark.parametrize(
    "text", ["it's", "\x01now\x02", "\x010\x02", "'; drop table x; --", "\\", "{0}", "{a}{f}", "$1", "é\U0001f600"]
)
def test_a_text_comes_back_as_it_was(text: str, queries: Queries) -> None:
    quoted = "'" + text.replace("'", "''") + "'"
    _, rows = ask(queries, VIEW, f"select {quoted}, {quoted} || '', upper({quoted}) is null, $1", [text])
    assert rows == [(text, text, False, text)]


def test_an_alias_is_only_a_name(queries: Queries) -> None:
    columns, rows = ask(queries, VIEW, 'select 1 as "a""b\'; select 2" union select 1 order by "a""b\'; select 2"')
    assert columns[0].name == "a\"b'; select 2"
    assert rows == [(1,)]


def test_the_instance_has_no_door(queries: Queries) -> None:
    """Even our own text could not open one."""
    cursor = queries._instance._connection.cursor()
    for text in (
        "SELECT * FROM read_csv('/etc/passwd')", "COPY (SELECT 1) TO '/tmp/x'", "ATTACH '/tmp/x.db'",
        "INSTALL httpfs", "LOAD httpfs", "SET enable_external_access = true", "SELECT * FROM SECRET",
    ):  # fmt: skip
        with pytest.raises(Exception, match=r"(?i)disabled|permission|does not exist|cannot"):
            cursor.execute(text)


def test_every_function_of_the_tables_exists_in_duckdb(queries: Queries) -> None:
    """A template that names no function of DuckDB would be XX000 to a client."""
    known = {
        row[0] for row in queries._instance._connection.cursor()
        .execute("SELECT DISTINCT function_name FROM duckdb_functions()").fetchall()
    }  # fmt: skip
    words = {"cast", "case", "when", "in", "as", "and", "or", "nullif", "coalesce", "decimal", "over", "filter",
             "not", "then", "else"}  # fmt: skip
    for table in (scalar.TABLE, scalar.VOLATILE, datetimes.TABLE, aggregates.AGGREGATES, aggregates.WINDOWS):
        for name, signatures in table.items():
            for signature in signatures:
                for called in re.findall(r"([a-z_][a-z0-9_]*)\(", signature.template):
                    assert called in known or called in words or name in aggregates.WINDOWS, (name, called)
