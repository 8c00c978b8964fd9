"""Two servers, ours and a real PostgreSQL, with the same tables: what a statement does on each.

Nothing is prepared: tables of the same names have other columns in the next test.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg

from tests.fixtures.postgres import Connection


def outcome(connection: Connection, statement: LiteralString, values: Sequence[object] = ()) -> tuple[Any, ...]:
    """The tag, the names and rows that RETURNING gives, or the error's code."""
    try:
        cursor = connection.execute(statement, values or None, prepare=False)
    except psycopg.Error as error:
        connection.rollback()
        return (error.sqlstate,)
    names = [column.name for column in cursor.description or ()]
    return (cursor.statusmessage, names, ordered(cursor.fetchall()) if names else [])


def ordered(rows: list[Any]) -> list[str]:
    return sorted(map(repr, rows))


def held(connection: Connection, tables: Sequence[LiteralString]) -> list[list[str]]:
    """What tables hold."""
    return [ordered(connection.execute(f"SELECT * FROM {table}", prepare=False).fetchall()) for table in tables]
