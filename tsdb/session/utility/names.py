"""What has a name in the session: PREPARE, EXECUTE, DEALLOCATE, DECLARE, FETCH, MOVE, CLOSE.

Source of the grammar: PostgreSQL 15 manual, part VI; gram.y.
"""

from __future__ import annotations

from tsdb.errors import FeatureNotSupported, InvalidCursorDefinition
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
    types = reader.parenthesized() if reader.at_sign("(") else ""
    reader.expect("as")
    return PrepareStatement(name, types, reader.rest(), reader.fragment.text)


def execute(reader: Reader) -> Command:
    name = reader.name()
    return ExecuteStatement(name, reader.parenthesized() if reader.at_sign("(") else "")


def deallocate(reader: Reader) -> Command:
    reader.accept("prepare")
    return Deallocate(None if reader.accept("all") else reader.name())


def declare(reader: Reader) -> Command:
    name = reader.name()
    words: set[str] = set()
    while word := reader.accept_any("binary", "asensitive", "insensitive", "no", "scroll"):
        if word == "no":
            reader.expect("scroll")
            word = "no scroll"
        words.add(word)
    if {"scroll", "no scroll"} <= words:
        raise InvalidCursorDefinition("cannot specify both SCROLL and NO SCROLL")
    if {"asensitive", "insensitive"} <= words:
        raise InvalidCursorDefinition("cannot specify both INSENSITIVE and ASENSITIVE")
    reader.expect("cursor")
    hold = False
    if word := reader.accept_any("with", "without"):
        reader.expect("hold")
        hold = word == "with"
    reader.expect("for")
    return Declare(name, hold, reader.rest(), "scroll" in words, "binary" in words)


def fetch(reader: Reader) -> Command:
    return _fetched(reader, move=False)


def move(reader: Reader) -> Command:
    return _fetched(reader, move=True)


# Words that stand for a motion without a count.
_MOTIONS = {
    "next": ("forward", 1), "prior": ("backward", 1), "first": ("absolute", 1), "last": ("absolute", -1),
    "all": ("forward", None),
}  # fmt: skip


def _fetched(reader: Reader, *, move: bool) -> Command:
    direction, count = _motion(reader)
    reader.accept_any("from", "in")
    return Fetch(reader.name(), count, move, direction)


def _motion(reader: Reader) -> tuple[str, int | None]:
    # A cursor may be called "next": the word is a motion only when something comes after it.
    if reader.peek(1) is None:
        return "forward", 1
    if word := reader.accept_any(*_MOTIONS):
        return _MOTIONS[word]
    if word := reader.accept_any("absolute", "relative"):
        return word, _integer(reader)
    if word := reader.accept_any("forward", "backward"):
        if reader.accept("all"):
            return word, None
        return word, _integer(reader) if _at_integer(reader) else 1
    return "forward", _integer(reader) if _at_integer(reader) else 1


def _at_integer(reader: Reader) -> bool:
    token = reader.peek()
    return token is not None and (token.kind == "number" or token.value in ("-", "+"))


def _integer(reader: Reader) -> int:
    sign = -1 if reader.accept_sign("-") else 1
    if sign > 0:
        reader.accept_sign("+")
    return sign * reader.integer()


def close(reader: Reader) -> Command:
    return CloseCursor(None if reader.accept("all") else reader.name())
