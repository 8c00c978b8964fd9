"""What clients ask for: tickets and descriptors, read strictly; and errors as they are told.

    ticket, command of a descriptor   JSON of ``Query``, or the text of a statement as it is
    command of a DoPut's descriptor   JSON of ``Put``
    path of a descriptor              series, or database and series

Words of the JSON are the fields below; what is unknown is refused.
"""

from __future__ import annotations

import json
from typing import TypeVar

import msgspec

from tsdb.errors import InvalidName, InvalidParameterValue, TsdbError
from tsdb.model.acks import acks_of
from tsdb.model.store import Producer

DATABASE = "tsdb"
_PRODUCER_BYTES_MAX = 64
NUMERICS = ("float64", "text")

T = TypeVar("T", bound=msgspec.Struct)


class Query(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A statement. ``parameters`` are in PostgreSQL's text form; ``numeric`` is what a numeric without a declared scale
    comes as, ``float64`` or ``text``; ``settings`` hold for the statement, as in a startup packet."""

    sql: str
    database: str = DATABASE
    parameters: tuple[str | None, ...] = ()
    numeric: str = "float64"
    settings: dict[str, str] = {}


class Put(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where the batches of a DoPut go. ``tags`` are the columns that become tags if the series lacks them; ``time`` is
    the column of the points' times. With ``producer`` and ``batch`` all ``rows`` of the stream are one numbered batch.
    ``acks``: on how many replicas each batch is to be before it is acknowledged; without it as the series says.
    """

    series: str
    database: str = DATABASE
    tags: tuple[str, ...] = ()
    time: str = "time"
    producer: str = ""
    batch: int = 0
    rows: int = -1
    acks: str | int | None = None

    @property
    def acks_wanted(self) -> int | None:
        """Raises InvalidParameterValue."""
        try:
            return None if self.acks is None else acks_of(str(self.acks))
        except ValueError:
            raise InvalidParameterValue(f"acks is quorum, all or a number from 0 to 99, not {self.acks!r}") from None

    @property
    def numbered(self) -> Producer | None:
        return Producer(self.producer, self.batch) if self.batch else None


def read_query(octets: bytes) -> Query:
    """A ticket or command. Raises InvalidParameterValue."""
    if not octets.lstrip().startswith(b"{"):
        return Query(_text(octets))
    query = _decoded(octets, Query)
    if query.numeric not in NUMERICS:
        raise InvalidParameterValue(f'numeric is one of {", ".join(NUMERICS)}, not "{query.numeric}"')
    return query


def read_put(octets: bytes) -> Put:
    """The command of a DoPut. Raises InvalidParameterValue."""
    put = _decoded(octets, Put)
    if put.batch < 0 or bool(put.batch) != bool(put.producer):
        raise InvalidParameterValue("producer and batch go together: a name and a number from 1")
    if len(put.producer.encode()) > _PRODUCER_BYTES_MAX:
        raise InvalidParameterValue(f"a producer's name has at most {_PRODUCER_BYTES_MAX} bytes")
    if put.batch and put.rows < 0:
        raise InvalidParameterValue("a numbered batch says how many rows it has: a stream that breaks off is none")
    _ = put.acks_wanted
    return put


def read_path(path: list[bytes]) -> tuple[str, str]:
    """(database, series) of a path. Raises InvalidName."""
    names = [_text(each) for each in path]
    if len(names) == 1:
        return DATABASE, names[0]
    if len(names) == 2:
        return names[0], names[1]
    raise InvalidName("a path is a series, or a database and a series")


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise InvalidParameterValue("the request is not UTF-8") from None


def _decoded(octets: bytes, wanted: type[T]) -> T:
    try:
        return msgspec.json.decode(octets, type=wanted)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidParameterValue(f"the request is not right: {error}") from None


def extra_of(error: TsdbError) -> bytes:
    """What a Flight error carries beside its text."""
    found = {
        "sqlstate": error.sqlstate,
        "message": error.message,
        "detail": error.detail,
        "hint": error.hint,
        "position": error.position,
    }
    return json.dumps({name: value for name, value in found.items() if value is not None}).encode()
