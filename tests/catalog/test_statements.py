"""Statements that clients were seen to send give PostgreSQL's columns and types, and its rows where both have them.

``not_yet.json`` lists the ids that do not yet, by what is missing; ``same_rows.json`` those whose rows are PostgreSQL's
for the objects of the clients' schema. The first may only shrink, the second only grow.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

from tests.catalog import statements
from tests.catalog.statements import Outcome
from tsdb.config import load
from tsdb.server import EmbeddedServer

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Outcome]:
    if not statements.STATEMENTS.exists():
        pytest.skip(f"the statements of clients are not there: {statements.STATEMENTS}")
    settings = load({"data": tmp_path_factory.mktemp("clients") / "data", "pg_port": 0, "http_port": 0})
    with EmbeddedServer(settings) as server:
        dsn = f"host=127.0.0.1 port={server.pg_port} user=tsuser dbname=tsdb"
        with psycopg.connect(dsn.replace("tsuser", "tsdb"), autocommit=True) as connection:
            statements.create_schema(connection)
        return list(statements.run_all(dsn))


def test_all_statements_give_postgres_columns_and_types_but_for_a_list_that_shrinks(
    outcomes: Sequence[Outcome],
) -> None:
    not_yet = {int(i) for ids in json.loads((HERE / "not_yet.json").read_text()).values() for i in ids}
    wrong = {o.id: o.difference for o in outcomes if o.difference}
    assert {i: d for i, d in wrong.items() if i not in not_yet} == {}
    assert sorted(not_yet - set(wrong)) == [], "right now: run python -m tests.catalog.statements --rewrite"


def test_rows_of_what_both_have_are_postgres(outcomes: Sequence[Outcome]) -> None:
    same = set(json.loads((HERE / "same_rows.json").read_text()))
    assert sorted(same - {o.id for o in outcomes if o.rows_equal}) == []
