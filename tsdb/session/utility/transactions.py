"""BEGIN to ROLLBACK TO, and transaction modes.

Source of the grammar: PostgreSQL 15 manual, part VI; gram.y.
"""

from __future__ import annotations

from tsdb.errors import FeatureNotSupported
from tsdb.session.utility.command import Begin, Command, Commit, ReleaseSavepoint, Rollback, RollbackTo, SetSavepoint
from tsdb.sql.reader import Reader


def begin(reader: Reader) -> Command:
    reader.accept_any("transaction", "work")
    return Begin("BEGIN", modes(reader))


def start(reader: Reader) -> Command:
    reader.expect("transaction")
    return Begin("START TRANSACTION", modes(reader))


def modes(reader: Reader) -> tuple[tuple[str, str], ...]:
    """Transaction modes as the settings they are."""
    found: list[tuple[str, str]] = []
    while not reader.at_end:
        if reader.accept("isolation", "level"):
            words = [reader.name()]
            if words[0] in ("repeatable", "read"):
                words.append(reader.name())
            found.append(("transaction_isolation", " ".join(words)))
        elif reader.accept("read", "only"):
            found.append(("transaction_read_only", "on"))
        elif reader.accept("read", "write"):
            found.append(("transaction_read_only", "off"))
        elif reader.accept("not", "deferrable"):
            found.append(("transaction_deferrable", "off"))
        elif reader.accept("deferrable"):
            found.append(("transaction_deferrable", "on"))
        else:
            raise reader.error()
        reader.accept_sign(",")
    return tuple(found)


def commit(reader: Reader) -> Command:
    if reader.at_words("prepared"):
        raise FeatureNotSupported("COMMIT PREPARED is not supported")
    reader.accept_any("transaction", "work")
    return Commit(_chain(reader))


def _chain(reader: Reader) -> bool:
    if not reader.accept("and"):
        return False
    no = reader.accept("no")
    reader.expect("chain")
    return not no


def rollback(reader: Reader) -> Command:
    if reader.at_words("prepared"):
        raise FeatureNotSupported("ROLLBACK PREPARED is not supported")
    reader.accept_any("transaction", "work")
    if reader.accept("to"):
        reader.accept("savepoint")
        return RollbackTo(reader.name())
    return Rollback(_chain(reader))


def savepoint(reader: Reader) -> Command:
    return SetSavepoint(reader.name())


def release(reader: Reader) -> Command:
    reader.accept("savepoint")
    return ReleaseSavepoint(reader.name())
