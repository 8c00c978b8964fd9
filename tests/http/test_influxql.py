"""InfluxQL's start-up statements, and a clear word for all others."""

from __future__ import annotations

import pytest

from tsdb.errors import InvalidCatalogName, SqlSyntaxError
from tsdb.http.influxql import MAX_QUERY_CHARACTERS, answer
from tsdb.model.schema import LINE_PROTOCOL_TIME, Catalog, ColumnDefinition, CreateDatabase, CreateSeries, Role, apply
from tsdb.types import TEXT

TAG = ColumnDefinition("host", Role.TAG, TEXT)
CATALOG = apply(Catalog(), [CreateDatabase("d"), CreateSeries("d", "cpu", (LINE_PROTOCOL_TIME, TAG), keyed=True)])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('CREATE DATABASE "telegraf"', "telegraf"),
        ("create database telegraf;", "telegraf"),
        ('CREATE DATABASE "a\\"b;c"', 'a"b;c'),
        ("CREATE DATABASE x WITH DURATION 30d REPLICATION 1", "x"),
    ],
)
def test_create_database_asks_for_one_that_may_exist(text: str, name: str) -> None:
    (only,) = answer(text, None, CATALOG)
    assert only.changes == (CreateDatabase(name, if_not_exists=True),)


def test_several_statements_get_an_answer_each() -> None:
    first, second = answer("SHOW DATABASES; SHOW MEASUREMENTS", "d", CATALOG)
    assert first.series[0]["values"] == [["d"]]
    assert second.series[0]["values"] == [["cpu"]]


def test_show_tag_keys_and_retention_policies() -> None:
    assert answer("SHOW TAG KEYS ON d", None, CATALOG)[0].series[0]["values"] == [["host"]]
    assert answer('SHOW RETENTION POLICIES ON "d"', None, CATALOG)[0].series[0]["values"][0][0] == "autogen"


def test_an_unknown_database_is_named() -> None:
    with pytest.raises(InvalidCatalogName, match="database not found: nope"):
        answer("SHOW MEASUREMENTS", "nope", CATALOG)


@pytest.mark.parametrize("text", ["SELECT * FROM cpu", "DROP SERIES FROM cpu", 'CREATE DATABASE ""', "SHOW"])
def test_anything_else_points_to_sql(text: str) -> None:
    with pytest.raises(SqlSyntaxError, match="SQL over the PostgreSQL port"):
        answer(text, "d", CATALOG)


@pytest.mark.parametrize(
    "text", ['SHOW DATABASES"', "SHOW DATABASES 'x", '"' + '\\"' * (MAX_QUERY_CHARACTERS // 2 - 1)]
)
def test_unterminated_quotes_are_an_error_at_once(text: str) -> None:
    with pytest.raises(SqlSyntaxError, match="unterminated"):
        answer(text, "d", CATALOG)


def test_semicolons_in_quotes_and_empty_statements_end_nothing() -> None:
    assert len(answer(""";; SHOW MEASUREMENTS ON "d" ;\n; SHOW DATABASES;""", None, CATALOG)) == 2
    (only,) = answer('CREATE DATABASE "a\'; b"', None, CATALOG)
    assert only.changes == (CreateDatabase("a'; b", if_not_exists=True),)


def test_a_query_has_a_length_limit() -> None:
    with pytest.raises(SqlSyntaxError, match="longer than"):
        answer("S" * (MAX_QUERY_CHARACTERS + 1), "d", CATALOG)
