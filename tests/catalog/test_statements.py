"""Statements that clients were seen to send give PostgreSQL's columns, types and rows; ``differences`` have reasons."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

from tests.catalog import statements
from tests.catalog.differences import REASONS
from tests.catalog.statements import Outcome
from tsdb.config import load
from tsdb.server import EmbeddedServer

MANUAL = Path(__file__).parent.parent.parent / "docs" / "sql.md"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Outcome]:
    if not statements.STATEMENTS.exists():
        pytest.skip(f"the statements of clients are not there: {statements.STATEMENTS}")
    settings = load({"data": tmp_path_factory.mktemp("clients") / "data", "pg_port": 0, "http_port": 0})
    with EmbeddedServer(settings) as server:
        dsn = f"host=127.0.0.1 port={server.pg_port} user=tsuser dbname=tsdb"
        with psycopg.connect(dsn.replace("tsuser", "tsdb"), autocommit=True) as connection:
            assert statements.create_schema(connection) == []
        return list(statements.run_all(dsn))


def test_all_statements_give_postgres_columns_and_types(outcomes: Sequence[Outcome]) -> None:
    assert {o.id: o.difference for o in outcomes if o.difference} == {}


def test_rows_are_postgres_but_for_a_list_with_reasons(outcomes: Sequence[Outcome]) -> None:
    listed = {number for numbers in REASONS.values() for number in numbers}
    differ = {o.id: o.rows for o in outcomes if o.rows is not None and any(o.rows)}
    assert {number: rows for number, rows in differ.items() if number not in listed} == {}
    assert sorted(listed - set(differ)) == [], "equal by now: take them out of the list"


def test_every_reason_is_in_the_manual() -> None:
    section = MANUAL.read_text().partition("## The system catalog")[2].partition("\n## ")[0]
    assert set(re.findall(r"^- \*\*([a-z-]+)\*\*:", section, re.MULTILINE)) == set(REASONS)
