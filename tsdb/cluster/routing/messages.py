"""What nodes say to each other about points: questions and replies, as bytes. Pure; docs/format/transport.md.

A message is a byte that says whose it is (``CHANNEL``), the length of a msgpack array, that array, and a body.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

import msgspec

from tsdb import errors
from tsdb.cluster.transport.frames import Octets
from tsdb.errors import ProtocolViolation, TsdbError
from tsdb.model.acks import QUORUM, Fate
from tsdb.model.freshness import Level

CHANNEL = 1
"""The first byte of all of these: snapshots of the metadata begin otherwise (``tsdb.cluster.pieces``)."""

FATES = (Fate.UNKNOWN, Fate.COMMITTED, Fate.REVERTED)
LEVELS = (Level.LINEARIZABLE, Level.SESSION, Level.BOUNDED, Level.ANY)

_HEAD = struct.Struct(">BI")


class Led(msgspec.Struct, frozen=True, array_like=True):
    """A location that the asked node is said to lead, in which epoch."""

    location: int
    epoch: int


class Numbered(msgspec.Struct, frozen=True, array_like=True):
    """A producer, its number for a batch, the digest of what it sent, and the number of its session (0: none)."""

    producer: str
    batch: int
    digest: int
    session: int = 0


SeenOp: TypeAlias = tuple[int, int, int]
"""(location, epoch, sequence): all through that op is to be seen, or was."""

# Questions


class PartSent(msgspec.Struct, frozen=True, array_like=True):
    """One location's part of a write: so many bytes of the body are its op's body, whose CRC-32 is ``checksum``."""

    led: Led
    size: int
    checksum: int


class WriteParts(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Answered by ``Stored``."""

    catalog: int
    database: int
    parts: tuple[PartSent, ...]
    numbered: Numbered | None = None
    acks: int = QUORUM


SlotsKnown: TypeAlias = tuple[tuple[int, int, bool, int], ...]
"""A series' slots as who asks knows them, which locations it chose by: the fields of ``Slots``."""


class RangeSent(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """DELETE by time and tags; (column, values, is one of them the absent tag, negated)."""

    series: int
    low: int
    high: int
    tags: tuple[tuple[int, tuple[str, ...], bool, bool], ...]
    if_empty: bool = False
    slots: SlotsKnown | None = None


class KeysSent(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Named points. Blobs: op body of a key's columns. ``views`` of the asked node in which they were seen."""

    series: int
    has_sequences: bool
    views: tuple[int, ...]


class FreeSent(msgspec.Struct, frozen=True, array_like=True):
    """Blobs: ``since`` and ``again``."""

    views: tuple[int, ...]


class EffectSent(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A write; its points are a blob, then those of what it names, in this order."""

    replaces: KeysSent | None = None
    updates: KeysSent | None = None
    depends: KeysSent | None = None
    free: FreeSent | None = None


class CommitEffects(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """All of them or none, at one node. ``sizes`` are those of the blobs in the body; ``held``: the fields of ``Held``,
    for a refresh. Answered by ``Stored``."""

    catalog: int
    led: tuple[Led, ...]
    effects: tuple[RangeSent | KeysSent | EffectSent, ...]
    sizes: tuple[int, ...]
    numbered: Numbered | None = None
    acks: int = QUORUM
    held: tuple[int, int] | None = None


class Tag(msgspec.Struct, frozen=True, array_like=True):
    """A condition on a tag: these values pass, and the absent tag or not."""

    column: int
    values: tuple[str, ...]
    absent: bool


class Bound(msgspec.Struct, frozen=True, array_like=True):
    column: int
    low: int | float | None
    high: int | float | None


class NewestRows(msgspec.Struct, frozen=True, array_like=True):
    rows: int
    by: tuple[int, ...]
    oldest: bool
    ties: bool
    slack_us: int


class CellsWanted(msgspec.Struct, frozen=True, array_like=True):
    width_ns: int | None
    origin_ns: int
    statistics: dict[int, tuple[str, ...]]
    times: bool


class Conditions(msgspec.Struct, frozen=True, array_like=True):
    """A ``tsdb.model.store.ScanRequest``."""

    series: int
    columns: tuple[int | str, ...]
    low: int
    high: int
    tags: tuple[Tag, ...] = ()
    bounds: tuple[Bound, ...] = ()
    prune: bool = True
    newest: NewestRows | None = None
    cells: CellsWanted | None = None
    within: tuple[tuple[int, int], ...] | None = None


class Looks(msgspec.Struct, frozen=True, array_like=True):
    """In which view of the asked node, numbered by who asks, and by which schema. ``again``: there is that view."""

    view: int
    again: bool
    catalog: int


class RunScan(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Answered by a stream of ``Part``, and ``Ended``. ``follows``: who has a vote in the locations may answer.
    ``slots``: None where it does not matter whether the asked node knows of others."""

    looks: Looks
    led: tuple[Led, ...]
    conditions: Conditions
    follows: bool = False
    slots: SlotsKnown | None = None


class TagValues(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The distinct values of tags of a series: answered by ``Texts``, whose body has an Arrow column for each. At least
    those of points in ``locations``, by number; in (): in all."""

    looks: Looks
    series: int
    columns: tuple[int, ...]
    locations: tuple[int, ...] = ()


class Newness(msgspec.Struct, frozen=True, array_like=True):
    """How new what is read has to be (``Freshness``): the level's place in ``LEVELS``, and what it is about."""

    level: int = 0
    staleness_ns: int = 0
    seen: tuple[SeenOp, ...] = ()


class OpenView(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Answered by ``Opened``."""

    looks: Looks
    newness: Newness = Newness()


class CloseViews(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Answered by ``Done``."""

    views: tuple[int, ...]


class TakeValues(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """The next values of an SQL sequence. Answered by ``Values``."""

    catalog: int
    database: int
    path: str
    count: int


class PutValue(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Answered by ``Done``."""

    catalog: int
    database: int
    path: str
    value: int
    called: bool


class LookAtSequence(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Answered by ``Values``: last, left, called."""

    catalog: int
    database: int
    path: str


class LookAtProgress(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """How far a continuous view is stored. Answered by ``Values``: the fields of ``Progress``, or nothing. ``whole``:
    all that is read of it is read there; or in these ``locations``, by number."""

    looks: Looks
    series: int
    whole: bool = True
    locations: tuple[int, ...] = ()


class LookAtChanges(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Answered by ``Values``: lows and highs in turn. ``locations``: by number, that are asked for; (): all of them.
    ``slots``: see ``RunScan``."""

    looks: Looks
    series: int
    since: int
    low: int
    high: int
    quantum_ns: int
    locations: tuple[int, ...] = ()
    slots: SlotsKnown | None = None


class SendCopy(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """A copy of locations of a database, for replicas of who asks that have nothing: (location, replica).

    Answered by a stream of chunks (docs/format/copy.md) and ``CopySent``."""

    catalog: int
    database: int
    wanted: tuple[tuple[int, int], ...]


class ConfirmOps(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """What became of ops, as far as the asked node knows. Answered by ``Values``: of each its place in ``FATES``."""

    ops: tuple[SeenOp, ...]


LOADS = -1


class LookAtSizes(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """How many bytes the node has on disk, by database. Answered by ``Values``: database, bytes, database, …

    ``loads``: and how many microseconds of work a second they make there; answered by ``LOADS``, database, bytes,
    microseconds, database, …, or as without by a node of an older version."""

    loads: bool = False


class WantRefresh(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """Have a continuous view refreshed by the node that leads its database (``ticket`` 0), or hear whether that was
    done. Answered by ``Values``: the ticket, and 1 if it was."""

    catalog: int
    series: int
    ticket: int


class LookAtWaiting(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """Which replicas the node is to have and cannot yet, since what it had of them before is not cleaned. Answered by
    ``Values``: locations."""


class LookAtHints(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """How many batches wait at the node for one that leads. Answered by ``Values``: one number."""


class HoldView(msgspec.Struct, frozen=True, array_like=True, tag=18):
    """For a refresh, at who leads these locations: ``Shared.hold``. Answered by ``Values``: the counter, and for each
    location its number, its epoch and what is applied; or by ``NotLeader``."""

    catalog: int
    held: tuple[int, int]
    counter: int | None
    led: tuple[Led, ...]


class LookAtWritten(msgspec.Struct, frozen=True, array_like=True, tag=19):
    """How many rows were written of late to the locations of a database, each counting half after some hours. Answered
    by ``Values``: location, rows, location, …"""

    database: int


Question: TypeAlias = (
    WriteParts
    | CommitEffects
    | RunScan
    | TagValues
    | OpenView
    | CloseViews
    | TakeValues
    | PutValue
    | LookAtSequence
    | LookAtProgress
    | LookAtChanges
    | SendCopy
    | ConfirmOps
    | LookAtSizes
    | WantRefresh
    | LookAtWaiting
    | LookAtHints
    | HoldView
    | LookAtWritten
)

# Replies


class Stored(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """``acks``: what came about of those that were asked for. ``counter``: none that it was given is higher."""

    points: int
    duplicate: bool = False
    token: tuple[SeenOp, ...] = ()
    acks: int = QUORUM
    counter: int = 0


class NotLeader(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The asked node does not lead a location; who does by what it knows (0: nobody)."""

    location: int
    epoch: int
    leader: int


class Texts(msgspec.Struct, frozen=True, array_like=True, tag=3):
    pass


class Opened(msgspec.Struct, frozen=True, array_like=True, tag=4):
    counter: int


class Done(msgspec.Struct, frozen=True, array_like=True, tag=5):
    pass


class Values(msgspec.Struct, frozen=True, array_like=True, tag=6):
    numbers: tuple[int, ...]


class Ended(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """The end of a stream: how many parts it had, what the scan has counted, by name, and what it could see."""

    parts: int
    statistics: dict[str, int]
    micros: int
    token: tuple[SeenOp, ...] = ()


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The error's class in ``tsdb.errors``, and its texts."""

    error: str
    message: str
    detail: str | None = None
    hint: str | None = None


class CopySent(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """The end of a copy: what its sender has counted, and by location what its replicas were when it began."""

    chunks: int
    rows: int
    digest: bytes
    states: tuple[tuple[int, bytes], ...]


Reply: TypeAlias = Stored | NotLeader | Texts | Opened | Done | Values | Ended | Failed | CopySent


# Envelopes


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """``size``: of the whole body, of which pieces may have come before."""

    number: int
    question: Question
    size: int = 0


class Answer(msgspec.Struct, frozen=True, array_like=True, tag=2):
    number: int
    reply: Reply


class Part(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The ``place``-th of the stream that answers a question, from 0. ``cells``: its batch is of cells.

    Without a body it only says that the answer is being worked on. The first says what all of it could see."""

    number: int
    place: int
    cells: bool = False
    token: tuple[SeenOp, ...] = ()


class More(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """So many bytes of parts were taken: others may be sent."""

    number: int
    size: int


class Stop(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Nobody waits for the answer to this question any more."""

    number: int


class Piece(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """A piece of the body of a question that is still to come."""

    number: int


Envelope: TypeAlias = Ask | Answer | Part | More | Stop | Piece

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Envelope] = msgspec.msgpack.Decoder(Envelope)


def encode(envelope: Envelope, body: Octets = b"") -> bytes:
    head = _ENCODER.encode(envelope)
    return b"".join((_HEAD.pack(CHANNEL, len(head)), head, body))


def decode(payload: memoryview) -> tuple[Envelope, memoryview]:
    """The message and its body, a view of the payload. Raises ProtocolViolation."""
    try:
        channel, size = _HEAD.unpack_from(payload)
        start = _HEAD.size + size
        if channel != CHANNEL or start > len(payload):
            raise ProtocolViolation(f"a message of {len(payload)} bytes about points has not the form of one")
        return _DECODER.decode(payload[_HEAD.size : start]), payload[start:]
    except (struct.error, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation(f"a message of {len(payload)} bytes about points cannot be read: {error}") from None


def failed(error: TsdbError) -> Failed:
    return Failed(type(error).__name__, error.message, error.detail, error.hint)


def error_of(reply: Failed) -> TsdbError:
    kind = getattr(errors, reply.error, None)
    if not (isinstance(kind, type) and issubclass(kind, TsdbError)):
        kind = errors.InternalError
    return kind(reply.message, detail=reply.detail, hint=reply.hint)
