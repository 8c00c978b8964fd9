"""What came of a COPY, on either side: rows, or SQLSTATE and context."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

Connection = psycopg.Connection[Any]


def copy_in(connection: Connection, statement: str, *parts: bytes) -> str:
    """COPY FROM of some CopyData messages; the tag. Raises what the server says."""
    with connection.cursor() as cursor:
        with cursor.copy(sql.SQL(statement)) as copy:
            for part in parts:
                copy.write(part)
        return cursor.statusmessage or ""


def copy_out(connection: Connection, statement: str) -> list[bytes]:
    """The CopyData messages of a COPY TO."""
    with connection.cursor() as cursor, cursor.copy(sql.SQL(statement)) as copy:
        return [bytes(part) for part in copy]


def outcome(connection: Connection, statement: str, *parts: bytes) -> tuple[Any, ...]:
    """("COPY n",) or (SQLSTATE, message, context)."""
    try:
        return (copy_in(connection, statement, *parts),)
    except psycopg.Error as error:
        return error.sqlstate, error.diag.message_primary, error.diag.context
