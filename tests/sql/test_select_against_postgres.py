"""Every statement of the corpus, and random ones, here and on a real PostgreSQL: the same columns, types, modifiers,
rows as text, and SQLSTATEs. What differs is marked in the corpus and explained in ``docs/sql.md``, and does differ.

The server is the wheel's (PostgreSQL 16). What it knows beyond 15, which we report, is marked ``newer-version``.
"""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from tests.sql import corpus, random_expressions, samples
from tests.sql.corpus import Case
from tests.sql.memory_view import MemoryView
from tests.sql.outcomes import difference, ours, theirs
from tsdb.sql.query import Queries

pytestmark = pytest.mark.postgres

CASES = list(corpus.cases())
DOCUMENT = Path(__file__).parents[2] / "docs" / "sql.md"
VERSIONS = (15, 16)
# Functions that we have and PostgreSQL has from 16 on: Debian's server, which stands in for the wheel's, is a 15.
SINCE_16 = ("SELECT any_value(",)

Connection = psycopg.Connection[tuple[object, ...]]


@pytest.fixture(scope="module")
def view() -> MemoryView:
    return samples.view(250)


@pytest.fixture(scope="module")
def tables(view: MemoryView, queries: Queries, postgres: Connection) -> Connection:
    assert postgres.info.server_version // 10_000 in VERSIONS
    postgres.execute("DROP TABLE IF EXISTS cpu, mem")
    corpus.load(postgres, queries, view)
    return postgres


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.topic}: {case.text[:80]}")
def test_a_statement_answers_as_postgres_does(
    case: Case, queries: Queries, view: MemoryView, tables: Connection
) -> None:
    real = theirs(tables, case.text)
    if case.differs == "newer-version" and tables.info.server_version < 160_000:
        pytest.skip("an older server answers as we do")
    if tables.info.server_version < 160_000 and case.text.startswith(SINCE_16):
        pytest.skip("an older server does not have the function")
    found = difference(ours(queries, view, case.text), real, ordered=case.ordered)
    if case.differs:
        assert found, "this difference is gone: take its mark away"
    else:
        assert not found


@pytest.mark.parametrize("group", range(10))
def test_random_expressions_answer_as_postgres_does(
    group: int, queries: Queries, view: MemoryView, tables: Connection
) -> None:
    _compare(range(group * 20, group * 20 + 20), queries, view, tables)


@pytest.mark.nightly
@pytest.mark.parametrize("group", range(40))
def test_thousands_of_random_expressions_answer_as_postgres_does(
    group: int, queries: Queries, view: MemoryView, tables: Connection
) -> None:
    _compare(range(1000 + group * 100, 1100 + group * 100), queries, view, tables)


def _compare(seeds: range, queries: Queries, view: MemoryView, tables: Connection) -> None:
    for seed in seeds:
        text = random_expressions.statement(seed)
        found = difference(ours(queries, view, text), theirs(tables, text), ordered=False)
        assert not found, f"seed {seed}: {text}"


def test_every_difference_is_explained_in_the_manual_and_shown_by_a_statement() -> None:
    section = DOCUMENT.read_text().partition("### Answers that differ from PostgreSQL's")[2].partition("\n## ")[0]
    explained = re.findall(r"^- \*\*([a-z-]+)\*\*: \S", section, re.MULTILINE)
    assert len(explained) == len(set(explained))
    assert set(explained) == {case.differs for case in CASES if case.differs}


def test_the_corpus_is_large_and_mostly_equal() -> None:
    assert len(CASES) >= 1000
    assert len([case for case in CASES if case.differs]) <= len(CASES) // 20
