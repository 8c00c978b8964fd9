"""Bounds of a statement. Each is checked before the step that it bounds: what is refused has cost little.

The numbers keep one statement within a few seconds and some hundred MB; where PostgreSQL has a limit, ours is as wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from tsdb.errors import StatementTooComplex

T = TypeVar("T")

MAX_STATEMENT_CHARACTERS = 16 * 1024 * 1024
MAX_TOKENS = 500_000  # 1 kB each while it is parsed
MAX_NESTING = 200
MAX_SHOWN = 200  # characters of a token in an error's text
MAX_TERMS = 5_000  # of one AND, OR or CASE, or arguments of a function; DuckDB plans 6,000 in a second
MAX_ITEMS = 65_535  # of an IN that are no literals: as many as there can be parameters
MAX_CELLS = 100_000  # of VALUES that are no literals
MAX_JOINED = 100  # relations in one FROM; the order of 100 joins takes DuckDB 3 s, of 200 a minute


def check_tokens(count: int) -> None:
    if count > MAX_TOKENS:
        raise StatementTooComplex(
            f"statement has more than {MAX_TOKENS} words and signs", hint="Send several statements, or COPY the rows."
        )


def check_terms(count: int) -> None:
    if count > MAX_TERMS:
        raise StatementTooComplex(
            f"an expression has at most {MAX_TERMS} terms", hint="Compare with a list: x IN (…), or x = ANY ($1)."
        )


def terms(nodes: Sequence[T]) -> Sequence[T]:
    check_terms(len(nodes))
    return nodes


def items(nodes: Sequence[T]) -> Sequence[T]:
    if len(nodes) > MAX_ITEMS:
        raise StatementTooComplex(
            f"IN takes at most {MAX_ITEMS} expressions that are not literals", hint="Use x = ANY ($1) with an array."
        )
    return nodes


def check_cells(count: int) -> None:
    if count > MAX_CELLS:
        raise StatementTooComplex(
            f"VALUES takes at most {MAX_CELLS} expressions that are not literals", hint="Send several statements."
        )


def check_joined(count: int) -> None:
    if count > MAX_JOINED:
        raise StatementTooComplex(
            f"a FROM clause has at most {MAX_JOINED} relations", hint="Join some of them in a WITH … AS MATERIALIZED."
        )
