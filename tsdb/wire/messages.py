"""Frontend messages: what a client sends after its startup packet, as frozen dataclasses.

``parse(type, body)`` turns one whole message into its class. Every read is bounded by the message's own length: a
body that is too short, too long or not what its type demands is a ``ProtocolViolation``, text that is not UTF-8 a
``CharacterNotInRepertoire``, and nothing else is ever raised.

Lengths of whole messages are the connection's matter (``tsdb.wire.connection``), startup packets have a form of
their own (``tsdb.wire.startup``), and what the server sends is in ``tsdb.wire.backend``.

Source: PostgreSQL 15 manual, 55.7 (message formats).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tsdb.encodings import UTF8, decoded
from tsdb.errors import InvalidParameterValue, ProtocolViolation, TsdbError

TEXT_FORMAT = 0
BINARY_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Query:
    """A simple query: the text may hold any number of statements, or none."""

    text: str


@dataclass(frozen=True, slots=True)
class Parse:
    """``name`` is empty for the unnamed statement; a parameter OID of 0 leaves that type to the server."""

    name: str
    text: str
    parameter_oids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bind:
    """Parameters are raw bytes, None for NULL; ``format_codes`` spreads the format lists over columns."""

    portal: str
    statement: str
    parameter_formats: tuple[int, ...]
    parameters: tuple[bytes | None, ...]
    result_formats: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Describe:
    """``kind`` is 'S' for a prepared statement, 'P' for a portal."""

    kind: Literal["S", "P"]
    name: str


@dataclass(frozen=True, slots=True)
class Execute:
    """``max_rows`` 0 means all rows."""

    portal: str
    max_rows: int


@dataclass(frozen=True, slots=True)
class Close:
    kind: Literal["S", "P"]
    name: str


@dataclass(frozen=True, slots=True)
class Flush:
    pass


@dataclass(frozen=True, slots=True)
class Sync:
    pass


@dataclass(frozen=True, slots=True)
class CopyData:
    data: bytes


@dataclass(frozen=True, slots=True)
class CopyDone:
    pass


@dataclass(frozen=True, slots=True)
class CopyFail:
    reason: str


@dataclass(frozen=True, slots=True)
class Password:
    """The answer to a request for a password in clear text."""

    password: str


@dataclass(frozen=True, slots=True)
class SaslInitialResponse:
    """The client's choice of a mechanism, with its first data if the mechanism has any."""

    mechanism: str
    data: bytes | None


@dataclass(frozen=True, slots=True)
class SaslResponse:
    data: bytes


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """The fast-path interface, obsolete since PostgreSQL 7.4: recognised so that it can be refused."""


@dataclass(frozen=True, slots=True)
class Terminate:
    pass


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message that arrived whole but whose body is wrong. The session answers ``error`` like any other error."""

    error: TsdbError


Frontend = (
    Query
    | Parse
    | Bind
    | Describe
    | Execute
    | Close
    | Flush
    | Sync
    | CopyData
    | CopyDone
    | CopyFail
    | Password
    | SaslInitialResponse
    | SaslResponse
    | FunctionCall
    | Terminate
)


def format_codes(formats: tuple[int, ...], count: int) -> tuple[int, ...]:
    """One format code for each of ``count`` parameters or columns.

    No codes mean text for all, one code holds for all; any other number must be ``count`` (manual, Bind).
    """
    if len(formats) == 0:
        return (TEXT_FORMAT,) * count
    if len(formats) == 1:
        return formats * count
    if len(formats) != count:
        raise ProtocolViolation(f"bind message has {len(formats)} result formats but query has {count} columns")
    return formats


class Body:
    """A cursor over a message's body. Every method moves on, or raises ``ProtocolViolation``."""

    __slots__ = ("_at", "_codec", "_data", "_what")

    def __init__(self, data: bytes, what: str, codec: str = UTF8) -> None:
        self._data = data
        self._at = 0
        self._what = what
        self._codec = codec

    def octets(self, count: int) -> bytes:
        end = self._at + count
        if count < 0 or end > len(self._data):
            raise ProtocolViolation(f"insufficient data left in {self._what} message")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def rest(self) -> bytes:
        return self.octets(len(self._data) - self._at)

    def integer(self, size: int) -> int:
        return int.from_bytes(self.octets(size), "big", signed=True)

    def unsigned(self, size: int) -> int:
        return int.from_bytes(self.octets(size), "big")

    def string(self) -> str:
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise ProtocolViolation(f"invalid string in {self._what} message: its terminator is missing")
        raw = self._data[self._at : end]
        self._at = end + 1
        return decoded(raw, self._codec)

    def end(self) -> None:
        if self._at != len(self._data):
            raise ProtocolViolation(f"invalid message format: {self._what} message has data after its end")

    @property
    def at_end(self) -> bool:
        return self._at == len(self._data)


def _query(body: Body) -> Query:
    return Query(body.string())


def _parse(body: Body) -> Parse:
    name = body.string()
    text = body.string()
    return Parse(name, text, tuple(body.unsigned(4) for _ in range(body.unsigned(2))))


def _formats(body: Body) -> tuple[int, ...]:
    formats = tuple(body.unsigned(2) for _ in range(body.unsigned(2)))
    for code in formats:
        if code not in (TEXT_FORMAT, BINARY_FORMAT):
            raise InvalidParameterValue(f"unsupported format code: {code}")
    return formats


def _bind(body: Body) -> Bind:
    portal = body.string()
    statement = body.string()
    parameter_formats = _formats(body)
    count = body.unsigned(2)
    if len(parameter_formats) > 1 and len(parameter_formats) != count:
        raise ProtocolViolation(f"bind message has {len(parameter_formats)} parameter formats but {count} parameters")
    parameters: list[bytes | None] = []
    for _ in range(count):
        length = body.integer(4)
        parameters.append(None if length == -1 else body.octets(length))
    return Bind(portal, statement, parameter_formats, tuple(parameters), _formats(body))


def _target(body: Body, what: str) -> tuple[Literal["S", "P"], str]:
    kind = body.octets(1)
    if kind == b"S":
        return "S", body.string()
    if kind == b"P":
        return "P", body.string()
    raise ProtocolViolation(f"invalid {what} message subtype {kind[0]}")


def _describe(body: Body) -> Describe:
    return Describe(*_target(body, "DESCRIBE"))


def _close(body: Body) -> Close:
    return Close(*_target(body, "CLOSE"))


def _execute(body: Body) -> Execute:
    # A negative limit means no limit, as in PostgreSQL (postgres.c, exec_execute_message).
    return Execute(body.string(), max(body.integer(4), 0))


def _sasl_initial(body: Body) -> SaslInitialResponse:
    mechanism = body.string()
    length = body.integer(4)
    return SaslInitialResponse(mechanism, None if length == -1 else body.octets(length))


def _function_call(body: Body) -> FunctionCall:
    body.rest()
    return FunctionCall()


def _terminate(body: Body) -> Terminate:
    body.rest()  # whatever else a leaving client says
    return Terminate()


_PARSERS: dict[int, tuple[str, Callable[[Body], Frontend]]] = {
    ord("Q"): ("Query", _query),
    ord("P"): ("Parse", _parse),
    ord("B"): ("Bind", _bind),
    ord("D"): ("Describe", _describe),
    ord("E"): ("Execute", _execute),
    ord("C"): ("Close", _close),
    ord("H"): ("Flush", lambda _: Flush()),
    ord("S"): ("Sync", lambda _: Sync()),
    ord("d"): ("CopyData", lambda body: CopyData(body.rest())),
    ord("c"): ("CopyDone", lambda _: CopyDone()),
    ord("f"): ("CopyFail", lambda body: CopyFail(body.string())),
    ord("F"): ("FunctionCall", _function_call),
    ord("X"): ("Terminate", _terminate),
}

# The letter p carries three messages; which one it is, only the connection's state tells.
_PASSWORD_PARSERS: dict[type[Frontend], tuple[str, Callable[[Body], Frontend]]] = {
    Password: ("PasswordMessage", lambda body: Password(body.string())),
    SaslInitialResponse: ("SASLInitialResponse", _sasl_initial),
    SaslResponse: ("SASLResponse", lambda body: SaslResponse(body.rest())),
}

TYPES = frozenset(_PARSERS) | {ord("p")}


def _run(what: str, parser: Callable[[Body], Frontend], data: bytes, codec: str = UTF8) -> Frontend:
    body = Body(data, what, codec)
    message = parser(body)
    body.end()
    return message


def parse(letter: int, data: bytes, codec: str = UTF8) -> Frontend:
    """The message of type ``letter`` (any of ``TYPES`` but p) with the body ``data``, whose texts are in ``codec``."""
    return _run(*_PARSERS[letter], data, codec)


def parse_password(expected: type[Frontend], data: bytes) -> Frontend:
    """The message of type p that the state of the connection ``expected``."""
    return _run(*_PASSWORD_PARSERS[expected], data)
