"""Statements that are accepted, and those that are the server's.

Source of the grammar: PostgreSQL 15 manual, part VI; gram.y.
"""

from __future__ import annotations

from collections.abc import Callable

from tsdb.errors import FeatureNotSupported
from tsdb.session.utility.command import Accepted, Checkpoint, Command, Listen, Notify, Unlisten
from tsdb.sql.reader import Reader


def accepted(tag: str, notice: str = "", block: bool | None = None) -> Callable[[Reader], Command]:
    def read(reader: Reader) -> Command:
        if not reader.at_end:
            reader.rest()
        return Accepted(tag, notice, block)

    return read


def load(reader: Reader) -> Command:
    raise FeatureNotSupported("LOAD is not supported", hint="No code is loaded into the server.")


def checkpoint(reader: Reader) -> Command:
    return Checkpoint()


def listen(reader: Reader) -> Command:
    return Listen(reader.name())


def unlisten(reader: Reader) -> Command:
    return Unlisten(None if reader.accept_sign("*") else reader.name())


def notify(reader: Reader) -> Command:
    channel = reader.name()
    return Notify(channel, reader.string() if reader.accept_sign(",") else "")
