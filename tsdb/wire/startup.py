"""Startup packets: the only messages without a type letter, and the first that a client sends.

    length int32 | code int32 | …        code 3.x: a startup message, 1234.567x: a request

``parse_packet`` takes the packet without its length. The ``options`` parameter (``-c name=value …``, what psql
makes of PGOPTIONS) is split into settings here, since its rules belong to the protocol, not to SQL.

Source: PostgreSQL 15 manual, 55.2.1, 55.2.10-11, 55.7; src/backend/postmaster/postmaster.c (ProcessStartupPacket),
src/backend/utils/init/postinit.c (pg_split_opts).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tsdb.errors import (
    FeatureNotSupported,
    InvalidAuthorizationSpecification,
    ProtocolViolation,
    SqlSyntaxError,
)
from tsdb.wire.messages import Body

STARTUP_BYTES_MAX = 10_000

_CANCEL_REQUEST = (1234, 5678)
_SSL_REQUEST = (1234, 5679)
_GSSENC_REQUEST = (1234, 5680)


@dataclass(frozen=True, slots=True)
class SslRequest:
    """Answered by ``Connection.refuse_encryption`` or ``accept_encryption``."""


@dataclass(frozen=True, slots=True)
class GssRequest:
    """Answered by ``Connection.refuse_encryption``."""


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Never answered: the connection closes whether it matched a session or not."""

    process_id: int
    secret_key: int


@dataclass(frozen=True, slots=True)
class Startup:
    """A client's wish for a session.

    ``database`` is the user's name when the client names none. ``parameters`` are the other parameters as sent
    (``application_name``, ``client_encoding``, ``DateStyle`` …), without ``options``, which became ``settings``:
    pairs in their order. ``minor`` is the protocol's minor version asked for; 3.0 is what is spoken.
    """

    user: str
    database: str
    parameters: Mapping[str, str]
    settings: tuple[tuple[str, str], ...]
    minor: int
    unknown_protocol_options: tuple[str, ...]


Packet = SslRequest | GssRequest | CancelRequest | Startup


def parse_packet(data: bytes) -> Packet:
    """The packet without its length field. Raises ``ProtocolViolation`` and the errors of a refused startup."""
    body = Body(data, "startup")
    code = (body.unsigned(2), body.unsigned(2))
    if code == _SSL_REQUEST:
        body.end()
        return SslRequest()
    if code == _GSSENC_REQUEST:
        body.end()
        return GssRequest()
    if code == _CANCEL_REQUEST:
        request = CancelRequest(body.unsigned(4), body.unsigned(4))
        body.end()
        return request
    major, minor = code
    if major != 3:
        raise FeatureNotSupported(f"unsupported frontend protocol {major}.{minor}: server supports 3.0")
    return _startup(body, minor)


def _startup(body: Body, minor: int) -> Startup:
    parameters: dict[str, str] = {}
    while name := body.string():
        parameters[name] = body.string()
    if not body.at_end:
        raise ProtocolViolation("invalid startup packet layout: expected terminator as last byte")
    if parameters.pop("replication", "false").lower() not in ("false", "off", "no", "0"):
        raise FeatureNotSupported("replication connections are not supported")
    user = parameters.pop("user", "")
    if not user:
        raise InvalidAuthorizationSpecification("no PostgreSQL user name specified in startup packet")
    database = parameters.pop("database", "") or user
    settings = parse_options(parameters.pop("options", ""))
    unknown = tuple(name for name in parameters if name.startswith("_pq_."))
    for name in unknown:
        del parameters[name]
    return Startup(user, database, MappingProxyType(parameters), settings, minor, unknown)


def parse_options(options: str) -> tuple[tuple[str, str], ...]:
    """``-c name=value``, ``-cname=value`` and ``--name=value`` as pairs; anything else is refused.

    >>> parse_options(r"-c statement_timeout=5000 --search-path=a\\ b")
    (('statement_timeout', '5000'), ('search_path', 'a b'))
    """
    words = iter(_split(options))
    settings: list[tuple[str, str]] = []
    for word in words:
        if word == "-c":
            assignment = next(words, "")
        elif word.startswith(("-c", "--")):
            assignment = word[2:]
        else:
            raise SqlSyntaxError(f"invalid command-line argument for server process: {word}")
        name, equals, value = assignment.partition("=")
        if not name or not equals:
            raise SqlSyntaxError(f"{word} {assignment} requires a value".replace("  ", " "))
        settings.append((name.replace("-", "_"), value))
    return tuple(settings)


def _split(options: str) -> list[str]:
    """Words between white space; a backslash takes the next character as it is."""
    words: list[str] = []
    word: list[str] | None = None
    characters = iter(options)
    for character in characters:
        if character.isspace():
            if word is not None:
                words.append("".join(word))
            word = None
            continue
        word = [] if word is None else word
        word.append(next(characters, "") if character == "\\" else character)
    if word is not None:
        words.append("".join(word))
    return words
