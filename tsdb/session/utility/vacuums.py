"""VACUUM as text.

Source of the grammar: PostgreSQL 15 manual, VACUUM; gram.y.
"""

from __future__ import annotations

from tsdb.errors import SqlSyntaxError
from tsdb.session.utility.command import Vacuum
from tsdb.sql.reader import Reader

# Those that mean something here, and those that are PostgreSQL's own affairs.
_OPTIONS = ("full", "verbose")
_IGNORED = (
    "freeze", "analyze", "analyse", "disable_page_skipping", "skip_locked", "index_cleanup", "process_toast",
    "truncate", "parallel",
)  # fmt: skip
_OFF = ("off", "false", "0", "no")


def vacuum(reader: Reader) -> Vacuum:
    """What follows VACUUM. Raises SqlSyntaxError."""
    found: set[str] = set()
    if reader.accept_sign("("):
        while True:
            found |= _option(reader)
            if not reader.accept_sign(","):
                break
        reader.expect_sign(")")
    else:
        for word in ("full", "freeze", "verbose", "analyze"):
            if reader.accept(word):
                found.add(word)
    relations: list[tuple[str, str]] = []
    while not reader.at_end:
        relations.append(_relation(reader))
        if not reader.accept_sign(","):
            break
    return Vacuum(tuple(relations), "full" in found, "verbose" in found)


def _option(reader: Reader) -> set[str]:
    name = reader.name()
    if name not in (*_OPTIONS, *_IGNORED):
        raise SqlSyntaxError(f'unrecognized VACUUM option "{name}"')
    given = reader.peek()
    value = "on"
    if given is not None and given.value not in (",", ")"):
        value = reader.take().value
    return set() if value in _OFF else {name}


def _relation(reader: Reader) -> tuple[str, str]:
    """(schema or "", name); columns to be analyzed may follow."""
    parts = [reader.name()]
    while reader.accept_sign("."):
        parts.append(reader.name())
    if reader.at_sign("("):
        reader.names()
    return (parts[-2] if len(parts) > 1 else "", parts[-1])
