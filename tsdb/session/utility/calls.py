"""CALL as text: the one procedure that there is.

Source: TimescaleDB's reference, refresh_continuous_aggregate.
"""

from __future__ import annotations

from tsdb.errors import UndefinedFunction
from tsdb.session.utility.command import RefreshContinuous
from tsdb.sql.catalog.names import parts
from tsdb.sql.reader import Reader

_PROCEDURE = "refresh_continuous_aggregate"


def call(reader: Reader) -> RefreshContinuous:
    """What follows CALL. Whatever window is given: what is dirty or new is stored, and nothing else needs it."""
    name = reader.name()
    while reader.accept_sign("."):
        name = reader.name()
    if name != _PROCEDURE:
        raise UndefinedFunction(f"procedure {name}() does not exist", hint=f"The only procedure is {_PROCEDURE}().")
    again = Reader(reader.fragment, reader.at)
    reader.parenthesized()
    again.expect_sign("(")
    named = parts(again.string())
    return RefreshContinuous(named[-2] if len(named) > 1 else "", named[-1])
