"""Whole statements over the same rows here and on a real PostgreSQL 15."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.sql import samples
from tests.sql.answers import ask, ask_postgres
from tests.sql.memory_view import MemoryView
from tsdb.sql.query import Queries

pytestmark = pytest.mark.postgres

FIXTURE = Path(__file__).parent / "fixtures" / "statements.sql"
STATEMENTS = [line for line in FIXTURE.read_text().splitlines() if line and not line.startswith("--")]


@pytest.fixture(scope="module")
def view() -> MemoryView:
    return samples.view(250)


@pytest.fixture(scope="module")
def tables(
    view: MemoryView, queries: Queries, postgres: psycopg.Connection[tuple[object, ...]]
) -> psycopg.Connection[tuple[object, ...]]:
    """cpu and mem with their rows; PostgreSQL has no hidden columns, so ``sequence`` is an ordinary last one."""
    for name in ("cpu", "mem"):
        columns, rows = ask(queries, view, f"select *, sequence from {name}")
        definitions = ", ".join(f'"{c.name}" {c.type.name}' for c in columns)
        postgres.execute(f"CREATE TABLE {name} ({definitions})")
        with postgres.cursor() as cursor, cursor.copy(f"COPY {name} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    return postgres


def key(row: tuple[Any, ...]) -> str:
    return repr([f"{v:.10g}" if isinstance(v, float) else v for v in row])


def same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(a, Decimal) and isinstance(b, Decimal):
        # A quotient has at least 16 digits; PostgreSQL may have more.
        return abs(a - b) <= abs(b) * Decimal("1e-15") + Decimal("1e-15")
    return type(a) is type(b) and bool(a == b)


@pytest.mark.parametrize("text", STATEMENTS)
def test_a_statement_has_postgres_rows(
    text: str, queries: Queries, view: MemoryView, tables: psycopg.Connection[tuple[object, ...]]
) -> None:
    theirs_text = text.replace("select *", 'select time, host, used, "Free"') if text == "select * from mem" else text
    columns, theirs = ask_postgres(tables, theirs_text)
    ours_columns, ours = ask(queries, view, text)
    assert [(c.name, c.type.oid) for c in ours_columns] == columns
    assert len(ours) == len(theirs)
    if " order by " not in text.rpartition(")")[2]:
        ours, theirs = sorted(ours, key=key), sorted(theirs, key=key)
    for a, b in zip(ours, theirs, strict=True):
        assert all(map(same, a, b)), f"{a} is not PostgreSQL's {b}"
