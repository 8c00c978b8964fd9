"""Expressions that run here and on a real PostgreSQL 15: values, types and names are equal."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.sql import samples
from tests.sql.answers import ask, ask_postgres
from tsdb.sql.query import Queries

pytestmark = pytest.mark.postgres

FIXTURE = Path(__file__).parent / "fixtures" / "expressions.sql"
EXPRESSIONS = [line for line in FIXTURE.read_text().splitlines() if line and not line.startswith("--")]


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-14) or (math.isnan(ours) and math.isnan(theirs))
    return type(ours) is type(theirs) and bool(ours == theirs)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_has_postgres_value_type_and_name(
    expression: str, queries: Queries, postgres: psycopg.Connection[tuple[object, ...]]
) -> None:
    text = f"SELECT {expression}"
    columns, theirs = ask_postgres(postgres, text)
    ours_columns, ours = ask(queries, samples.view(10), text)
    assert [(c.name, c.type.oid) for c in ours_columns] == columns
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert all(map(same, a, b)), f"{a} is not PostgreSQL's {b}"
