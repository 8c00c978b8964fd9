"""Two servers, ours and a real PostgreSQL, with the same tables: what a statement does on each.

Nothing is prepared: tables of the same names have other columns in the next test.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, LiteralString

import psycopg

from tests.fixtures.postgres import Both, Connection


def outcome(connection: Connection, statement: LiteralString, values: Sequence[object] = ()) -> tuple[Any, ...]:
    """The tag, the names and rows that RETURNING gives, or the error's code."""
    try:
        cursor = connection.execute(statement, values or None, prepare=False)
    except psycopg.Error as error:
        connection.rollback()
        return (error.sqlstate,)
    names = [column.name for column in cursor.description or ()]
    return (cursor.statusmessage, names, ordered(cursor.fetchall()) if names else [])


def said(connection: Connection, statement: LiteralString) -> Sequence[object]:
    """What a statement does; of an error all that a driver reads of it."""
    try:
        return outcome_of(connection, statement)
    except psycopg.Error as error:
        diagnostic = error.diag
        return (
            diagnostic.sqlstate, diagnostic.message_primary, diagnostic.message_detail, diagnostic.schema_name,
            diagnostic.table_name, diagnostic.constraint_name, diagnostic.context,
        )  # fmt: skip


def outcome_of(connection: Connection, statement: LiteralString) -> Sequence[object]:
    cursor = connection.execute(statement, prepare=False)
    return cursor.statusmessage, sorted(map(repr, cursor.fetchall())) if cursor.description else []


def ordered(rows: list[Any]) -> list[str]:
    return sorted(map(repr, rows))


def held(connection: Connection, tables: Sequence[LiteralString]) -> list[list[str]]:
    """What tables hold."""
    return [ordered(connection.execute(f"SELECT * FROM {table}", prepare=False).fetchall()) for table in tables]


def check_random_transactions(
    both: Both,
    tables: Sequence[LiteralString],
    statement_of: Callable[[random.Random], str],
    seed: int,
    rounds: int = 5,
) -> None:
    """Blocks of random statements, each behind a savepoint, some rolled back: after each both hold the same."""
    chance = random.Random(seed)
    for _ in range(5):
        commits = chance.random() < 0.6
        statements = [statement_of(chance) for _ in range(chance.randint(1, 8))]
        found = [_history(each, tables, statements, commits=commits) for each in both]
        assert found[0] == found[1], statements


def _history(
    connection: Connection, tables: Sequence[LiteralString], statements: Sequence[str], *, commits: bool
) -> list[object]:
    seen: list[object] = []
    with connection.transaction(force_rollback=not commits):
        for statement in statements:
            try:
                with connection.transaction():
                    seen.append(connection.execute(statement.encode()).statusmessage)
            except psycopg.Error as error:
                seen.append(error.diag.sqlstate)
            seen.append(held(connection, tables))
    return [*seen, held(connection, tables)]
