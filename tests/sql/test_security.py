"""No statement reaches a file, the network, a setting or another database through DuckDB."""

from __future__ import annotations

import re

import pytest

from tests.sql import samples
from tests.sql.answers import ask
from tsdb.errors import InternalError, SqlSyntaxError, TsdbError, UndefinedObject
from tsdb.sql import settings
from tsdb.sql.expressions.functions import aggregates, datetimes, scalar
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
        "select * from cpu cross join read_json('x')",
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
        "INSTALL httpfs", "LOAD httpfs", "LOAD '/tmp/x'", "SET enable_external_access = true", "SELECT * FROM SECRET",
        "SELECT * FROM read_text('/etc/hostname')", "SELECT * FROM glob('/etc/*')", "SELECT getenv('HOME')",
        "EXPORT DATABASE '/tmp/x'", "CREATE SECRET s (TYPE s3)", "SELECT * FROM sniff_csv('/etc/passwd')",
        "SET lock_configuration = false", "RESET lock_configuration", "SET allowed_configs = ['threads']",
        "SET home_directory = '/tmp'", "SET extension_directory = '/tmp'", "SET secret_directory = '/tmp'",
        "SET custom_extension_repository = 'http://x'", "SET temp_directory = '/tmp'", "SET log_query_path = '/tmp/x'",
        "SET python_enable_replacements = true", "SET autoinstall_known_extensions = true", "SET threads = 100",
        "SET memory_limit = '1TB'", "PRAGMA enable_profiling", "CALL enable_logging()",
    ):  # fmt: skip
        with pytest.raises(Exception, match=r"(?i)disabled|permission|does not exist|cannot"):
            cursor.execute(text)


def duckdbs_functions(queries: Queries, kinds: str) -> list[str]:
    found = queries._instance._connection.cursor().execute(
        f"SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type IN ({kinds}) ORDER BY 1"
    )
    return [name for (name,) in found.fetchall()]


# What PostgreSQL has under these names too, or the system relations that stand for it.
SHARED_RELATIONS = {"generate_series", "unnest", "pg_timezone_names", "version"}


def test_no_table_function_of_duckdb_is_reachable(queries: Queries) -> None:
    """Whatever its version adds: readers of files, of its own state, of settings."""
    names = set(duckdbs_functions(queries, "'table', 'pragma', 'table_macro'")) - SHARED_RELATIONS
    assert {"read_csv", "glob", "duckdb_settings", "duckdb_secrets"} <= names
    reached = []
    for name in sorted(names):
        quoted = '"' + name.replace('"', '""') + '"'
        for text in (f"SELECT * FROM {quoted}()", f"SELECT * FROM {quoted}('/etc/passwd')", f"SELECT * FROM {quoted}"):
            try:
                ask(queries, VIEW, text)
                reached.append(text)
            except InternalError:
                reached.append(text)
            except TsdbError:
                pass
    assert reached == []


def test_a_scalar_function_that_only_duckdb_has_does_not_exist(queries: Queries) -> None:
    """Functions come from an allow-list: one that DuckDB has is not ours by itself."""
    names = duckdbs_functions(queries, "'scalar', 'macro', 'aggregate'")
    unreachable, broken = 0, []
    for name in filter(str.isidentifier, names):
        for arguments in ("", "'x'", "'x', 1", "1"):
            try:
                ask(queries, VIEW, f'SELECT "{name}"({arguments})')
            except InternalError:
                broken.append(f"{name}({arguments})")
            except OverflowError:
                pass  # an answer beyond Python's year 9999
            except TsdbError as error:
                unreachable += error.sqlstate == "42883"
    assert broken == [], "DuckDB was asked for something that it does not have"
    assert unreachable > 1_000


@pytest.mark.parametrize(
    "name",
    ["memory_limit", "threads", "enable_external_access", "home_directory", "s3_access_key_id", "extension_directory"],
)
def test_no_setting_of_duckdb_is_a_setting_here(name: str) -> None:
    with pytest.raises(UndefinedObject):
        settings.checked(name, "x")


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
