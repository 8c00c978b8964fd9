"""Session and utility statements: from tokens to commands. Nothing is done here; ``tsdb.session.commands`` does it.

``command`` looks at a statement's first word; the readers by subject are in ``transactions``, ``settings``,
``names`` and ``others``; what they make is in ``command``.
"""

from __future__ import annotations

from collections.abc import Callable

from tsdb.errors import FeatureNotSupported
from tsdb.session.utility import calls, names, others, settings, transactions, vacuums
from tsdb.session.utility.command import (
    Accepted,
    Begin,
    Checkpoint,
    CloseCursor,
    Command,
    Commit,
    Deallocate,
    Declare,
    Discard,
    ExecuteStatement,
    Fetch,
    Listen,
    Notify,
    PrepareStatement,
    RefreshContinuous,
    ReleaseSavepoint,
    Reset,
    Rollback,
    RollbackTo,
    Set,
    SetRole,
    SetSavepoint,
    SetSessionAuthorization,
    Show,
    ShowTokens,
    Unlisten,
    Vacuum,
)
from tsdb.sql.reader import Reader
from tsdb.sql.statement import Utility

__all__ = [
    "Accepted",
    "Begin",
    "Checkpoint",
    "CloseCursor",
    "Command",
    "Commit",
    "Deallocate",
    "Declare",
    "Discard",
    "ExecuteStatement",
    "Fetch",
    "Listen",
    "Notify",
    "Unlisten",
    "PrepareStatement",
    "RefreshContinuous",
    "ReleaseSavepoint",
    "Reset",
    "Rollback",
    "RollbackTo",
    "Set",
    "SetRole",
    "SetSavepoint",
    "SetSessionAuthorization",
    "Show",
    "ShowTokens",
    "Vacuum",
    "command",
]


def command(statement: Utility) -> Command:
    """Raises SqlSyntaxError, FeatureNotSupported."""
    reader = Reader(statement.fragment)
    verb = reader.take().value
    read = _READERS.get(verb)
    if read is None:
        raise FeatureNotSupported(f"{verb.upper()} is not supported")
    found = read(reader)
    reader.finish()
    return found


_READERS: dict[str, Callable[[Reader], Command]] = {
    "begin": transactions.begin,
    "start": transactions.start,
    "commit": transactions.commit,
    "end": transactions.commit,
    "rollback": transactions.rollback,
    "abort": transactions.rollback,
    "savepoint": transactions.savepoint,
    "release": transactions.release,
    "set": settings.set_,
    "reset": settings.reset,
    "show": settings.show,
    "discard": settings.discard,
    "prepare": names.prepare,
    "execute": names.execute,
    "deallocate": names.deallocate,
    "declare": names.declare,
    "fetch": names.fetch,
    "move": names.move,
    "close": names.close,
    "listen": others.listen,
    "notify": others.notify,
    "unlisten": others.unlisten,
    "lock": others.accepted("LOCK TABLE", block=True),
    "checkpoint": others.checkpoint,
    "vacuum": vacuums.vacuum,
    "call": calls.call,
    "analyze": others.accepted("ANALYZE", "ANALYZE has nothing to do: statistics are always there"),
    "reindex": others.accepted("REINDEX", "REINDEX has nothing to do: there are no indexes to rebuild"),
    "cluster": others.accepted("CLUSTER", "CLUSTER has nothing to do: points are always sorted"),
    "load": others.load,
}
