"""Session and utility statements: from tokens to commands, as frozen dataclasses. Nothing is done here.

Source of the grammar: PostgreSQL 15 manual, part VI (SQL commands); gram.y.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tsdb.errors import FeatureNotSupported, InvalidParameterValue
from tsdb.session.settings import hours_zone
from tsdb.sql import intervals
from tsdb.sql.reader import Reader
from tsdb.sql.statement import Fragment, Utility


@dataclass(frozen=True, slots=True)
class Begin:
    tag: str
    modes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Commit:
    chain: bool = False


@dataclass(frozen=True, slots=True)
class Rollback:
    chain: bool = False


@dataclass(frozen=True, slots=True)
class SetSavepoint:
    name: str


@dataclass(frozen=True, slots=True)
class ReleaseSavepoint:
    name: str


@dataclass(frozen=True, slots=True)
class RollbackTo:
    name: str


@dataclass(frozen=True, slots=True)
class Set:
    """``value`` None is DEFAULT. Several only for SET TRANSACTION and the like."""

    pairs: tuple[tuple[str, str | None], ...]
    local: bool = False
    tag: str = "SET"


@dataclass(frozen=True, slots=True)
class Reset:
    """``name`` None is ALL."""

    name: str | None


@dataclass(frozen=True, slots=True)
class Show:
    """``name`` None is ALL."""

    name: str | None


@dataclass(frozen=True, slots=True)
class Discard:
    what: str


@dataclass(frozen=True, slots=True)
class PrepareStatement:
    name: str
    types: tuple[str, ...]
    body: Fragment


@dataclass(frozen=True, slots=True)
class ExecuteStatement:
    """``arguments`` is the text between the parentheses."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Deallocate:
    """``name`` None is ALL."""

    name: str | None


@dataclass(frozen=True, slots=True)
class Declare:
    name: str
    hold: bool
    body: Fragment


@dataclass(frozen=True, slots=True)
class Fetch:
    """``count`` None is ALL; ``move`` gives no rows."""

    name: str
    count: int | None
    move: bool = False


@dataclass(frozen=True, slots=True)
class CloseCursor:
    """``name`` None is ALL."""

    name: str | None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Write recent points to blocks now."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Done by doing nothing: LISTEN, LOCK, ANALYZE …; a ``notice`` says so where it matters."""

    tag: str
    notice: str = ""


Command = (
    Begin
    | Commit
    | Rollback
    | SetSavepoint
    | ReleaseSavepoint
    | RollbackTo
    | Set
    | Reset
    | Show
    | Discard
    | PrepareStatement
    | ExecuteStatement
    | Deallocate
    | Declare
    | Fetch
    | CloseCursor
    | Checkpoint
    | Accepted
)


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


# --- transactions ---


def _begin(reader: Reader) -> Command:
    reader.accept_any("transaction", "work")
    return Begin("BEGIN", _modes(reader))


def _start(reader: Reader) -> Command:
    reader.expect("transaction")
    return Begin("START TRANSACTION", _modes(reader))


def _modes(reader: Reader) -> tuple[tuple[str, str], ...]:
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


def _commit(reader: Reader) -> Command:
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


def _rollback(reader: Reader) -> Command:
    if reader.at_words("prepared"):
        raise FeatureNotSupported("ROLLBACK PREPARED is not supported")
    reader.accept_any("transaction", "work")
    if reader.accept("to"):
        reader.accept("savepoint")
        return RollbackTo(reader.name())
    return Rollback(_chain(reader))


def _savepoint(reader: Reader) -> Command:
    return SetSavepoint(reader.name())


def _release(reader: Reader) -> Command:
    reader.accept("savepoint")
    return ReleaseSavepoint(reader.name())


# --- settings ---


def _set(reader: Reader) -> Command:
    local = False
    if reader.accept("session", "characteristics", "as", "transaction"):
        return Set(tuple(("default_" + name, value) for name, value in _modes(reader)))
    if reader.accept_any("session", "local") == "local":
        local = True
    if reader.accept("transaction"):
        return Set(_modes(reader), local=True)
    if reader.accept("time", "zone"):
        return Set((("TimeZone", _zone(reader)),), local)
    if reader.at_words("role") or reader.at_words("authorization") or reader.at_words("constraints"):
        word = reader.take().value
        reader.rest()
        return Accepted("SET CONSTRAINTS" if word == "constraints" else "SET")
    if reader.accept("names"):
        return Set((("client_encoding", reader.string()),), local)
    name = _setting_name(reader)
    if not reader.accept_sign("="):
        reader.expect("to")
    if name == "timezone":
        return Set((("TimeZone", _zone(reader)),), local)
    return Set(((name, _value(reader)),), local)


def _setting_name(reader: Reader) -> str:
    name = reader.name()
    while reader.accept_sign("."):
        name += "." + reader.name()
    return name


def _value(reader: Reader) -> str | None:
    """One value or a list, as the text that is kept; None is DEFAULT."""
    if reader.accept("default"):
        return None
    values = [_one_value(reader)]
    while reader.accept_sign(","):
        values.append(_one_value(reader))
    return ", ".join(values)


def _one_value(reader: Reader) -> str:
    sign = "-" if reader.accept_sign("-") else ""
    reader.accept_sign("+")
    token = reader.take()
    if token.kind not in ("word", "quoted", "string", "number"):
        reader.at -= 1
        raise reader.error()
    if token.kind == "quoted" and not token.value.replace("_", "a").isalnum():
        return f'"{token.value}"'
    return sign + token.value


def _zone(reader: Reader) -> str | None:
    if reader.accept_any("default", "local"):
        return None
    if reader.accept("interval"):
        text = reader.string()
        if reader.accept("hour"):
            reader.accept("to", "minute")
        interval = intervals.parse(text)
        if interval.months or interval.days:
            raise InvalidParameterValue(f'time zone interval "{text}" must not include months or days')
        return hours_zone(interval.microseconds / 3_600_000_000)
    return _one_value(reader)


def _reset(reader: Reader) -> Command:
    if reader.accept("all"):
        return Reset(None)
    if reader.accept("time", "zone"):
        return Reset("TimeZone")
    if reader.accept("transaction", "isolation", "level"):
        return Reset("transaction_isolation")
    if reader.accept_any("role") or reader.accept("session", "authorization"):
        return Accepted("RESET")
    return Reset(_setting_name(reader))


def _show(reader: Reader) -> Command:
    if reader.accept("all"):
        return Show(None)
    if reader.accept("time", "zone"):
        return Show("TimeZone")
    if reader.accept("transaction", "isolation", "level"):
        return Show("transaction_isolation")
    if reader.accept("session", "authorization"):
        return Show("session_authorization")
    return Show(_setting_name(reader))


def _discard(reader: Reader) -> Command:
    word = reader.accept_any("all", "plans", "sequences", "temp", "temporary")
    if word is None:
        raise reader.error()
    return Discard("temp" if word == "temporary" else word)


# --- prepared statements and cursors ---


def _prepare(reader: Reader) -> Command:
    if reader.accept("transaction"):
        raise FeatureNotSupported("PREPARE TRANSACTION is not supported")
    name = reader.name()
    types: tuple[str, ...] = ()
    if reader.at_sign("("):
        types = tuple(part.strip().lower() for part in reader.parenthesized().split(","))
    reader.expect("as")
    return PrepareStatement(name, types, reader.rest())


def _execute(reader: Reader) -> Command:
    name = reader.name()
    return ExecuteStatement(name, reader.parenthesized() if reader.at_sign("(") else "")


def _deallocate(reader: Reader) -> Command:
    reader.accept("prepare")
    return Deallocate(None if reader.accept("all") else reader.name())


def _declare(reader: Reader) -> Command:
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


def _fetch(reader: Reader) -> Command:
    return _fetched(reader, move=False)


def _move(reader: Reader) -> Command:
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


def _close(reader: Reader) -> Command:
    return CloseCursor(None if reader.accept("all") else reader.name())


# --- accepted ---


def _accepted(tag: str, notice: str = "") -> Callable[[Reader], Command]:
    def read(reader: Reader) -> Command:
        if not reader.at_end:
            reader.rest()
        return Accepted(tag, notice)

    return read


def _load(reader: Reader) -> Command:
    raise FeatureNotSupported("LOAD is not supported", hint="No code is loaded into the server.")


def _checkpoint(reader: Reader) -> Command:
    return Checkpoint()


def _unlisten(reader: Reader) -> Command:
    reader.take()
    return Accepted("UNLISTEN")


_READERS: dict[str, Callable[[Reader], Command]] = {
    "begin": _begin,
    "start": _start,
    "commit": _commit,
    "end": _commit,
    "rollback": _rollback,
    "abort": _rollback,
    "savepoint": _savepoint,
    "release": _release,
    "set": _set,
    "reset": _reset,
    "show": _show,
    "discard": _discard,
    "prepare": _prepare,
    "execute": _execute,
    "deallocate": _deallocate,
    "declare": _declare,
    "fetch": _fetch,
    "move": _move,
    "close": _close,
    "listen": _accepted("LISTEN", "notifications are not sent"),
    "notify": _accepted("NOTIFY", "notifications are not sent"),
    "unlisten": _unlisten,
    "lock": _accepted("LOCK TABLE"),
    "checkpoint": _checkpoint,
    "vacuum": _accepted("VACUUM"),
    "analyze": _accepted("ANALYZE"),
    "reindex": _accepted("REINDEX"),
    "cluster": _accepted("CLUSTER"),
    "load": _load,
}
