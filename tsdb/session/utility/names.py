"""What has a name in the session: PREPARE, EXECUTE, DEALLOCATE, DECLARE, FETCH, MOVE, CLOSE.

Source of the grammar: PostgreSQL 15 manual, part VI; gram.y.
"""

from __future__ import annotations

from tsdb.errors import FeatureNotSupported
from tsdb.session.utility.command import (
    CloseCursor,
    Command,
    Deallocate,
    Declare,
    ExecuteStatement,
    Fetch,
    PrepareStatement,
)
from tsdb.sql.reader import Reader


def prepare(reader: Reader) -> Command:
    if reader.accept("transaction"):
        raise FeatureNotSupported("PREPARE TRANSACTION is not supported")
    name = reader.name()
    types: tuple[str, ...] = ()
    if reader.at_sign("("):
        types = tuple(part.strip().lower() for part in reader.parenthesized().split(","))
    reader.expect("as")
    return PrepareStatement(name, types, reader.rest())


def execute(reader: Reader) -> Command:
    name = reader.name()
    return ExecuteStatement(name, reader.parenthesized() if reader.at_sign("(") else "")


def deallocate(reader: Reader) -> Command:
    reader.accept("prepare")
    return Deallocate(None if reader.accept("all") else reader.name())


def declare(reader: Reader) -> Command:
    name = reader.name()
    while word := reader.accept_any("binary", "asensitive", "insensitive", "no", "scroll"):
        if word == "binary":
            raise FeatureNotSupported("BINARY cursors are not supported", hint="Ask for binary results in Bind.")
    reader.expect("cursor")
    hold = False
    if word := reader.accept_any("with", "without"):
        reader.expect("hold")
        hold = word == "with"
    reader.expect("for")
    return Declare(name, hold, reader.rest())


def fetch(reader: Reader) -> Command:
    return _fetched(reader, move=False)


def move(reader: Reader) -> Command:
    return _fetched(reader, move=True)


def _fetched(reader: Reader, *, move: bool) -> Command:
    count: int | None = 1
    if reader.accept_any("next"):
        pass
    elif reader.accept("all"):
        count = None
    elif reader.accept("forward"):
        count = _count(reader)
    elif reader.accept_any("prior", "first", "last", "absolute", "relative", "backward"):
        raise FeatureNotSupported("cursors can only move forward", hint="Use FETCH NEXT, FETCH n or FETCH ALL.")
    elif (token := reader.peek()) is not None and (token.kind == "number" or token.value == "-"):
        count = _count(reader)
    reader.accept_any("from", "in")
    return Fetch(reader.name(), count, move)


def _count(reader: Reader) -> int | None:
    if reader.accept("all"):
        return None
    token = reader.peek()
    if token is not None and token.value == "-":
        raise FeatureNotSupported("cursors can only move forward")
    return reader.integer() if token is not None and token.kind == "number" else 1


def close(reader: Reader) -> Command:
    return CloseCursor(None if reader.accept("all") else reader.name())
