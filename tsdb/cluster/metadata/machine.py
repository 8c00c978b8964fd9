"""The state machine: a function of the commands in their order, with no clock and no chance.

``apply`` gives what became of a command and the bytes of the records that it changed; whoever keeps the state writes
them in the batch that says that the command is applied (``durable``). A command is refused by an error of
``tsdb.errors`` that changes nothing but what the group remembers of its sender. Any other error is no refusal: the node
must stop, since others may have gone on.

The *digest* is a hash over all changes so far, so nodes that are equal at an index have equal digests there, and the
first command that was applied differently is where they part.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from dataclasses import replace as replaced
from functools import cache
from typing import Any

import msgspec
from msgspec.structs import astuple, replace

from tsdb import errors
from tsdb.cluster.metadata import arcs, clients, continuous, counted, locations, members, rings
from tsdb.cluster.metadata.commands import (
    Action,
    Activate,
    AddMember,
    Advance,
    Assign,
    ChangeMember,
    ChangeRing,
    ChangeSchema,
    CloseClient,
    Command,
    Count,
    Expected,
    Found,
    KeepClients,
    OpenClient,
    OpenProducer,
    PassTime,
    Recover,
    RemoveMember,
    SetGoals,
    SetIntent,
    SetLearners,
    SetReplication,
    Share,
    SpreadDatabase,
    decode,
)
from tsdb.cluster.metadata.records import BY_NAME, CATALOG, LATER, NAMES, Answer, Group, Record
from tsdb.cluster.metadata.state import Change, Draft, State
from tsdb.cluster.metadata.watch import History
from tsdb.errors import DataCorrupted, SerializationFailure, TsdbError
from tsdb.model.catalog import Catalog, Database
from tsdb.model.schema import Applied
from tsdb.storage import keys, metadata
from tsdb.storage.frame import seal, unseal

MAGIC = b"TN"
VERSION = 1
FAMILY = "state"
DIGEST_BYTES = 16
MESSAGE_MAX = 1_000

_ENCODER = msgspec.msgpack.Encoder()
_SNAPSHOT = msgspec.msgpack.Decoder(list[tuple[bytes, bytes]])
_INDEX = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the command at ``index``.

    ``writes`` are records by key, None for those that are gone. ``applied``: what happened to the catalog, if
    anything. ``error`` is the refusal as it was raised here; ``answer`` says it to others. ``repeated``: the command
    came before. ``client`` and ``number`` are the command's.
    """

    index: int
    answer: Answer
    error: TsdbError | None
    repeated: bool
    before: Catalog
    applied: Applied | None
    changes: tuple[Change, ...]
    writes: tuple[tuple[bytes, bytes | None], ...]
    client: int = 0
    number: int = 0


class Machine:
    """The state of one group. ``history`` is for watchers."""

    def __init__(self, state: State | None = None) -> None:
        self.state = state or State()
        self.history = History(self.state.group.applied)

    def apply(self, index: int, body: bytes) -> Outcome | None:
        """Apply a command; None if it is applied already. Raises DataCorrupted for one that cannot be read."""
        if index <= self.state.group.applied:
            return None
        command = decode(body)
        before = self.state.catalog
        draft = Draft(self.state, index)
        group = draft.group
        now = max(group.time_ns, command.time_ns)
        draft.put(replace(group, time_ns=now, applied=index))
        clients.expire(draft, now)
        answer, error, repeated = _answered(draft, command)
        changes = tuple(_changes(draft))
        writes = _writes(draft)
        digest = _digest(group.digest, index, writes)
        last = replace(draft.group, digest=digest)
        draft.put(last)
        writes.append((_key(Group, 0), _encode(replace(last, changed=index))))
        self._take(draft)
        self.history.add(index, changes)
        return Outcome(
            index,
            answer,
            error,
            repeated,
            before,
            draft.applied,
            changes,
            tuple(writes),
            command.client,
            command.number,
        )

    def _take(self, draft: Draft) -> None:
        put = draft.records()
        tables = {**self.state.tables, **{kind: dict(self.state.tables[kind]) for kind, _ in put}}
        for (kind, number), record in put.items():
            if record is None:
                tables[kind].pop(number, None)
            else:
                tables[kind][number] = record
        self.state = State(draft.catalog, tables)

    # Whole

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """All records by key, sorted."""
        return records_of(self.state)

    def snapshot(self) -> bytes:
        """The state, whole: equal states have equal bytes."""
        return snapshot_of(self.state)

    def restore(self, body: bytes) -> list[tuple[bytes, bytes]]:
        """Become what a snapshot says. Its records by key. Raises DataCorrupted."""
        records = read_snapshot(body)
        self.state = state_of(records)
        self.history.restart(self.state.group.applied)
        return records


def _answered(draft: Draft, command: Command) -> tuple[Answer, TsdbError | None, bool]:
    """(the answer, the refusal, whether it was given before)"""
    try:
        known = clients.given(draft, command) if command.client else None
    except TsdbError as error:
        return answer_of(error), error, False
    if known is not None:
        clients.note(draft, command, known)
        return known, error_of(known), True
    inner = Draft(draft, draft.index)
    refused: TsdbError | None = None
    try:
        _check_expected(inner, command.expected)
        answer = Answer(_carried_out(inner, command.action))
    except DataCorrupted:
        raise
    except TsdbError as error:
        answer, refused = answer_of(error), error
    else:
        draft.take(inner)
    if command.client:
        clients.note(draft, command, answer)
    return answer, refused, False


def _check_expected(draft: Draft, expected: Iterable[Expected]) -> None:
    for each in expected:
        if each.record == CATALOG:
            now = draft.catalog.version
        else:
            found: Any = draft.get(BY_NAME[each.record], each.number)
            now = 0 if found is None else found.changed
        if now != each.changed:
            raise SerializationFailure(
                f"{each.record} {each.number} was changed at {now}, and the decision was taken on what it was at "
                f"{each.changed}",
                hint="Look again, and decide again.",
            )


def _carried_out(draft: Draft, action: Action) -> tuple[int, ...]:
    match action:
        case Found():
            values = members.found(draft, action)
            # A directory from before there was a group has databases already.
            rings.follow(draft, sorted(draft.catalog.databases_by_number))
            return values
        case AddMember():
            return members.add(draft, action)
        case ChangeMember():
            return members.change(draft, action)
        case RemoveMember():
            return members.remove(draft, action)
        case ChangeSchema():
            return rings.change_schema(draft, action)
        case SetReplication():
            return rings.set_replication(draft, action)
        case ChangeRing():
            return rings.change_ring(draft, action)
        case Assign():
            return locations.assign(draft, action)
        case Activate():
            return locations.activate(draft, action)
        case SetIntent():
            return locations.set_intent(draft, action)
        case OpenClient():
            return clients.open_session(draft, action)
        case KeepClients():
            return clients.keep(draft, action)
        case CloseClient():
            return clients.close(draft, action)
        case PassTime():
            return ()
        case SetLearners():
            return locations.set_learners(draft, action)
        case SetGoals():
            return rings.set_goals(draft, action)
        case Share():
            return rings.share(draft, action)
        case SpreadDatabase():
            return arcs.spread(draft, action)
        case Recover():
            return members.recover(draft, action)
        case OpenProducer():
            return clients.open_producer(draft, action)
        case Count():
            return counted.count(draft, action)
        case Advance():
            return continuous.advance(draft, action)


def answer_of(error: TsdbError) -> Answer:
    """A refusal as the group remembers it."""
    return Answer((), type(error).__name__, error.message[:MESSAGE_MAX])


def error_of(answer: Answer) -> TsdbError | None:
    """The refusal that an answer tells of; None if it tells of none."""
    if not answer.error:
        return None
    kind = getattr(errors, answer.error, None)
    if not (isinstance(kind, type) and issubclass(kind, TsdbError)):
        kind = errors.InternalError
    return kind(answer.message)


# Records and their bytes


def _key(kind: type[Record], number: int) -> bytes:
    return keys.state_key(NAMES[kind], number)


def _encode(record: Record) -> bytes:
    """What nodes of an older version do not know is left out while it says nothing, so that their digests are the same
    until it does."""
    later = LATER.get(type(record), 0)
    if later:
        fields, defaults = astuple(record), _defaults(type(record))
        if fields[-later:] == defaults[-later:]:
            return seal(MAGIC, VERSION, _ENCODER.encode(fields[:-later]))
    return seal(MAGIC, VERSION, _ENCODER.encode(record))


@cache
def _defaults(kind: type[Record]) -> tuple[Any, ...]:
    return tuple(each.default for each in msgspec.structs.fields(kind))


class _Recorder:
    """A batch that only remembers."""

    def __init__(self) -> None:
        self.writes: dict[bytes, bytes | None] = {}

    def put(self, family: str, key: bytes, value: bytes) -> None:
        self.writes[key] = value

    def delete(self, family: str, key: bytes) -> None:
        self.writes[key] = None


def _catalog_writes(applied: Applied | None) -> list[tuple[bytes, bytes | None]]:
    recorder = _Recorder()
    if applied is not None:
        metadata.store(recorder, applied)
    return sorted(recorder.writes.items())


def _writes(draft: Draft) -> list[tuple[bytes, bytes | None]]:
    """Records that changed, by key, without the group's own."""
    writes = _catalog_writes(draft.applied)
    for (kind, number), record in draft.records().items():
        if kind is not Group:
            writes.append((_key(kind, number), None if record is None else _encode(record)))
    return sorted(writes)


def _digest(before: bytes, index: int, writes: Iterable[tuple[bytes, bytes | None]]) -> bytes:
    packed = _ENCODER.encode(list(writes))
    return hashlib.blake2b(before + _INDEX.pack(index) + packed, digest_size=DIGEST_BYTES).digest()


def _changes(draft: Draft) -> Iterator[Change]:
    """What watchers are told: records by name and number. The history keeps it: nothing may lead from one record to
    all others, or each change would keep the whole schema as it was then."""
    applied = draft.applied
    if applied is not None:
        catalog = applied.catalog
        yield Change(CATALOG, 0, catalog.version)
        for number in sorted(applied.databases):
            yield Change(metadata.DATABASE, number, _alone(catalog.databases_by_number.get(number)))
        for number in sorted(applied.series):
            yield Change(metadata.SERIES, number, catalog.series_by_number.series.get(number))
        for number in sorted(applied.roles):
            yield Change(metadata.ROLE, number, catalog.roles.stored.get(number))
        for number, view in sorted(applied.views.items()):
            yield Change(metadata.VIEW, number, view)
        for number, sequence in sorted(applied.sequences.items()):
            yield Change(metadata.SEQUENCE, number, sequence)
    for (kind, number), record in draft.records().items():
        if kind is not Group:
            yield Change(NAMES[kind], number, record)


def _alone(database: Database | None) -> Database | None:
    """Without its relations, of which watchers are told one by one."""
    return None if database is None else replaced(database, series={}, views={}, sequences={})


# Whole


def records_of(state: State) -> Iterator[tuple[bytes, bytes]]:
    """All records of a state by key, sorted."""
    found = dict(_catalog_writes(metadata.everything(state.catalog)))
    for kind in NAMES:
        found.update((_key(kind, number), _encode(each)) for number, each in state.tables[kind].items())
    return iter(sorted((key, value) for key, value in found.items() if value is not None))


def snapshot_of(state: State) -> bytes:
    """The state, whole: equal states have equal bytes."""
    return seal(MAGIC, VERSION, _ENCODER.encode(list(records_of(state))))


# From bytes


def read_snapshot(body: bytes) -> list[tuple[bytes, bytes]]:
    """Its records by key. Raises DataCorrupted."""
    try:
        return _SNAPSHOT.decode(unseal(body, MAGIC, VERSION, "a snapshot of the group"))
    except msgspec.DecodeError as error:
        raise DataCorrupted(f"a snapshot of the group: {error}") from error


def state_of(records: Iterable[tuple[bytes, bytes]], catalog: Catalog | None = None) -> State:
    """The state whose records these are, or these and a catalog's. Raises DataCorrupted."""
    source = _Source(records)
    state = State(metadata.load(source) if catalog is None else catalog)
    for kind in NAMES:
        prefix = keys.state_key(NAMES[kind])
        for key, value in source.scan(FAMILY, prefix, keys.after(prefix)):
            _, numbers = keys.unpack_state_key(key)
            record = decode_record(kind, value)
            if numbers != (Draft.number_of(record),):
                raise DataCorrupted(f"the {NAMES[kind]} {numbers} of the group is kept under another number")
            state.tables[kind][numbers[0]] = record
    return state


def decode_record(kind: type[Record], value: bytes) -> Record:
    """Raises DataCorrupted."""
    what = f"a {NAMES[kind]} of the group"
    try:
        return msgspec.msgpack.decode(unseal(value, MAGIC, VERSION, what), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataCorrupted(f"{what}: {error}") from error


class _Source:
    """Records to read from, by key."""

    def __init__(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        self._records = dict(records)
        self._keys = sorted(self._records)

    def get(self, family: str, key: bytes) -> bytes | None:
        return self._records.get(key)

    def scan(self, family: str, low: bytes = b"", high: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        for key in self._keys:
            if key >= low and (high is None or key < high):
                yield key, self._records[key]
