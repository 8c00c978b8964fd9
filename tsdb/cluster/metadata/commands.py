"""Commands: what is agreed on, a type for each thing that can be done, and their bytes.

A command is an *action* in an envelope: what its sender *expected* (records as it had seen them: a decision taken on
stale state is refused), its time (by which sessions end), and, from a client with a session, its number, by which
it counts once. A command's bytes are a frame with magic ``TM``; who does not know its version or kind must stop, since
others do. Diagram: docs/format/group.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from tsdb.cluster.metadata.packing import pack_changes, unpack_changes
from tsdb.cluster.metadata.records import BY_NAME, CATALOG, Intent, Interval
from tsdb.errors import DataCorrupted, ProgramLimitExceeded
from tsdb.model.catalog import Catalog
from tsdb.model.changes import SchemaChange
from tsdb.storage.frame import seal, unseal

MAGIC = b"TM"
VERSION = 1
COMMAND_BYTES_MAX = 16 << 20


class NewMember(msgspec.Struct, frozen=True, array_like=True):
    """A node as it presents itself: see ``records.Member``."""

    uuid: bytes
    addresses: tuple[tuple[str, str], ...] = ()
    zone: str = ""
    capacity_bytes: int = 0
    machine: str = ""
    name: str = ""


class Found(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The cluster gets its id and its first member. Gives the node id."""

    cluster: bytes
    member: NewMember
    replication_factor: int = 1


class AddMember(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Gives the node id, of a member that is there already as well."""

    member: NewMember


class ChangeMember(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """None: as it was."""

    node: int
    addresses: tuple[tuple[str, str], ...] | None = None
    zone: str | None = None
    capacity_bytes: int | None = None
    draining: bool | None = None
    machine: str | None = None
    name: str | None = None


class RemoveMember(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """A node that holds no location any more. Its id and its uuid are never used again.

    ``accept_loss``: it may hold some; the others get them, in new epochs, without what only this node had.
    """

    node: int
    accept_loss: bool = False


class ChangeSchema(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Changes of databases, series, roles and all that the catalog has, all or none. See ``packing``."""

    packed: bytes

    @classmethod
    def of(cls, changes: Iterable[SchemaChange]) -> ChangeSchema:
        return cls(pack_changes(changes))

    def changes(self, catalog: Catalog) -> list[SchemaChange]:
        """Raises DataCorrupted, UndefinedObject."""
        return unpack_changes(self.packed, catalog)


class SetReplication(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Of a database by its number; 0: of new ones. No replica is made or dropped by it: that takes new epochs.

    Of a database that is not shared it says what it is to have when it is (``Share``), also where that is one replica.
    """

    database: int
    factor: int


class ChangeRing(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """A database's next map, for buckets from ``from_bucket`` on; the sender knows that none of them was written.

    ``version`` is the last map's and one. An interval with location 0 is a new location. Gives the new numbers in the
    order of the intervals.
    """

    database: int
    version: int
    from_bucket: int
    intervals: tuple[Interval, ...]


class Assignment(msgspec.Struct, frozen=True, array_like=True):
    """A location's next epoch, which is the last and one."""

    location: int
    epoch: int
    leader: int
    voters: tuple[int, ...]
    learners: tuple[int, ...] = ()


class Assign(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Each location for itself, since one that has changed meanwhile must not hold up a dead node's others.

    Gives the locations that were assigned; an error if there is none.
    """

    assignments: tuple[Assignment, ...]


class Activate(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Epochs, as (location, epoch), whose beginning a majority of their voters has on disk. Each for itself."""

    epochs: tuple[tuple[int, int], ...]


class SetIntent(msgspec.Struct, frozen=True, array_like=True, tag=10):
    location: int
    intent: Intent


class OpenClient(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Gives the client's number."""

    name: str
    ttl_ns: int


class KeepClients(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """Something was heard of these clients. Gives those that there are."""

    clients: tuple[int, ...]


class CloseClient(msgspec.Struct, frozen=True, array_like=True, tag=13):
    client: int


class PassTime(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """Nothing but the envelope's time."""


class SetLearners(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """Who gets a location's log without counting, in the epoch that there is: it needs no other one for that."""

    location: int
    epoch: int
    learners: tuple[int, ...]


class Recover(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """An operator gives up all nodes but one, whatever only they had. The cluster gets another id: none of them, should
    it still run somewhere, is taken for one of its nodes."""

    node: int
    cluster: bytes


class OpenProducer(msgspec.Struct, frozen=True, array_like=True, tag=18):
    """The session of a producer in a database, by its name: the one that there is is heard of, or it is opened. Gives
    the client's number."""

    database: int
    name: str
    ttl_ns: int


class Count(msgspec.Struct, frozen=True, array_like=True, tag=19):
    """The values of a sequence before ``following`` are given or reserved; see ``records.Counted``. Gives the index of
    the command."""

    database: int
    sequence: int
    following: str
    called: bool


class SetGoals(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """Where arcs of databases (``records.goal_number``) are to be, each's leader first; (): where they are.
    A database that is not shared will be."""

    goals: tuple[tuple[int, tuple[int, ...]], ...]


class Share(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """The logs of a database that one node has for itself are such as others can have as well, from now on: what the
    metadata keep of such a database, its sequences and producers, they know already."""

    database: int


class Advance(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """How far a continuous view is stored: see ``records.ContinuousRecord``. Gives the index of the command.

    ``epochs``: of all locations of the database, in which they were led when the source was looked at; if they are one
    arc, by ``leader``.
    """

    database: int
    series: int
    counter: int
    stored: int
    watermark_ns: int
    applied: tuple[tuple[int, int], ...]
    leader: int
    epochs: tuple[tuple[int, int], ...]


class SpreadDatabase(msgspec.Struct, frozen=True, array_like=True, tag=23):
    """Into how many arcs the ring of a database is cut, and where (``cuts``; (): into equal ones); see
    ``records.Ring``. What becomes one has to be at the same nodes: until it is it is said where it is to be."""

    database: int
    arcs: int
    cuts: tuple[int, ...] = ()


Action: TypeAlias = (
    Found
    | AddMember
    | ChangeMember
    | RemoveMember
    | ChangeSchema
    | SetReplication
    | ChangeRing
    | Assign
    | Activate
    | SetIntent
    | OpenClient
    | KeepClients
    | CloseClient
    | PassTime
    | SetLearners
    | Recover
    | OpenProducer
    | Count
    | SetGoals
    | Share
    | Advance
    | SpreadDatabase
)


class Expected(msgspec.Struct, frozen=True, array_like=True):
    """A record as it was seen: by what index it was changed last (0: it was not there).

    Of the catalog (number 0) it is the version.
    """

    record: str
    number: int
    changed: int


class Command(msgspec.Struct, frozen=True, array_like=True):
    """An action and its envelope. ``client`` 0: nobody's, and not numbered.

    ``acknowledged``: the client asks for no answer up to this number again.
    """

    action: Action
    time_ns: int = 0
    expected: tuple[Expected, ...] = ()
    client: int = 0
    number: int = 0
    acknowledged: int = 0


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Command)


def encode(command: Command) -> bytes:
    """Raises ProgramLimitExceeded."""
    body = seal(MAGIC, VERSION, _ENCODER.encode(command))
    if len(body) > COMMAND_BYTES_MAX:
        raise ProgramLimitExceeded(
            f"a change of the cluster's metadata takes {len(body)} bytes, and at most {COMMAND_BYTES_MAX} are allowed",
            hint="Make it in several steps.",
        )
    return body


def decode(body: bytes) -> Command:
    """Raises DataCorrupted."""
    if len(body) > COMMAND_BYTES_MAX:
        raise DataCorrupted(f"a command of {len(body)} bytes")
    try:
        command = _DECODER.decode(unseal(body, MAGIC, VERSION, "a command of the group"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataCorrupted(f"a command of the group: {error}") from error
    unknown = [each.record for each in command.expected if each.record != CATALOG and each.record not in BY_NAME]
    if unknown:
        raise DataCorrupted(f"a command of the group expects something of records that are not known: {unknown}")
    return command
