"""Metadata: the durable catalog: a record of ``state`` for its numbers, each database, series, role, view and sequence.

A schema change rewrites only the records it touched. Records are msgpack arrays in frames; columns may be appended to
them by a later format version, never reordered: what an older version did not have is read as its default.
Diagram: docs/format/metadata.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Protocol, TypeVar

import msgspec

from tsdb.errors import DataCorrupted
from tsdb.model.relations import PUBLIC, SqlSequence, SqlView, path_of
from tsdb.model.ring import Location, Slots
from tsdb.model.roles import FIRST, FIRST_OWN_NUMBER, FIRST_ROLE, Membership, Role, Roles, RoleSetting, Token
from tsdb.model.schema import Applied, Catalog, Column, Database, Series
from tsdb.model.schema import Role as ColumnRole
from tsdb.storage import keys
from tsdb.storage.frame import seal, unseal
from tsdb.storage.metadata_relations import (
    ConstraintRecord,
    DefinitionRecord,
    Grants,
    IndexRecord,
    NamespaceRecord,
    SequenceRecord,
    TypeRecord,
    ViewRecord,
    constraint_of,
    definition_of,
    grants_of,
    index_of,
    namespace_of,
    packed_constraint,
    packed_definition,
    packed_grants,
    packed_index,
    packed_namespace,
    packed_sequence,
    packed_type,
    packed_view,
    sequence_of,
    sql_type,
    type_of,
    view_of,
)
from tsdb.types import Kind, SqlType

MAGIC = b"TC"
VERSION = 4
VERSIONS_READ = (1, 2, 3, 4)
NUMBERS = "catalog"
DATABASE = "database"
SERIES = "series"
ROLE = "role"
VIEW = "view"
SEQUENCE = "sequence"


class Source(Protocol):
    """Where records are read from: the store, or a snapshot."""

    def get(self, family: str, key: bytes) -> bytes | None: ...

    def scan(self, family: str, low: bytes = b"", high: bytes | None = None) -> Iterator[tuple[bytes, bytes]]: ...


class Target(Protocol):
    """Where changes of records go: a batch."""

    def put(self, family: str, key: bytes, value: bytes) -> None: ...

    def delete(self, family: str, key: bytes) -> None: ...


class _Numbers(msgspec.Struct, array_like=True):
    version: int
    next_database: int
    next_series: int
    next_column: int
    next_location: int
    next_role: int = FIRST_OWN_NUMBER
    secret: bytes = b""
    settings: list[tuple[int, int, str, str]] = []


class _Database(msgspec.Struct, array_like=True):
    name: str
    locations: list[tuple[int, int, int]]
    owner: int = FIRST
    grants: Grants = None
    namespaces: list[NamespaceRecord] = []
    comment: str | None = None
    types: list[TypeRecord] = []


class _Column(msgspec.Struct, array_like=True):
    number: int
    name: str
    role: int
    type_oid: int
    kind: int
    typmod: int
    not_null: bool
    default: str | None
    former: list[tuple[int, int]]
    sequence: int = 0
    identity: str = ""
    comment: str | None = None


class _Series(msgspec.Struct, array_like=True):
    database: int
    name: str
    columns: list[_Column]
    keyed: bool
    reference: bool
    retention_ns: int | None
    floor_ns: int | None
    key: list[int]
    owner: int = FIRST
    grants: Grants = None
    schema: str = PUBLIC
    key_name: str | None = None
    constraints: list[ConstraintRecord] = []
    indexes: list[IndexRecord] = []
    comment: str | None = None
    definition: DefinitionRecord | None = None
    populated: bool = True
    relation: int = 0
    acks: int | None = None
    slots: list[tuple[int, int, bool | int]] = []


class _Role(msgspec.Struct, array_like=True):
    name: str
    flags: int
    connection_limit: int
    verifier: str | None
    valid_until_us: int | None
    member_of: list[tuple[int, bool]]
    tokens: list[tuple[str, bytes, int, int | None]]


# The bits of a role's flags. They are on disk: append only.
ROLE_FLAGS = ("superuser", "inherit", "create_role", "create_database", "login")


S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T")
_encoder = msgspec.msgpack.Encoder()


def load(rocks: Source) -> Catalog:
    """The catalog as it was last stored; an empty one in a new directory. Raises DataCorrupted."""
    stored = rocks.get("state", keys.state_key(NUMBERS))
    if stored is None:
        return Catalog()
    numbers = _decode(stored, _Numbers)
    databases = {number: _database(number, record) for number, record in _records(rocks, DATABASE, _Database)}
    series: dict[int, dict[str, Series]] = {}
    for number, record in _records(rocks, SERIES, _Series):
        path = path_of(record.schema, record.name)
        series.setdefault(record.database, {})[path] = _series(number, record, _own_types(databases, record.database))
    views: dict[int, dict[str, SqlView]] = {}
    for number, stored_view in _records(rocks, VIEW, ViewRecord):
        view = view_of(number, stored_view, _own_types(databases, stored_view.database))
        views.setdefault(stored_view.database, {})[view.path] = view
    sequences: dict[int, dict[str, SqlSequence]] = {}
    for number, stored_sequence in _records(rocks, SEQUENCE, SequenceRecord):
        sequence = sequence_of(number, stored_sequence)
        sequences.setdefault(stored_sequence.database, {})[sequence.path] = sequence
    full = {
        d.name: replace(d, series=series.get(n, {}), views=views.get(n, {}), sequences=sequences.get(n, {}))
        for n, d in databases.items()
    }
    lost = (series.keys() | views.keys() | sequences.keys()) - databases.keys()
    if lost:
        raise DataCorrupted(f"the catalog has series of databases that it does not have: {sorted(lost)}")
    return Catalog(
        numbers.version,
        full,
        numbers.next_database,
        numbers.next_series,
        numbers.next_column,
        numbers.next_location,
        _roles(rocks, numbers),
    )


def _database(number: int, record: _Database) -> Database:
    """A database without what has records of its own."""
    types = [type_of(t) for t in record.types]
    return Database(
        number,
        record.name,
        {},
        tuple(Location(n, low, last + 1) for n, low, last in record.locations),
        record.owner,
        grants_of(record.grants),
        {n.name: namespace_of(n) for n in record.namespaces},
        comment=record.comment,
        types={t.path: t for t in types},
    )


def _own_types(databases: Mapping[int, Database], number: int) -> Mapping[int, SqlType]:
    return databases[number].type_by_oid if number in databases else {}


def _roles(rocks: Source, numbers: _Numbers) -> Roles:
    stored = {number: _role(number, record) for number, record in _records(rocks, ROLE, _Role)}
    # The first role is stored once it was changed.
    settings = tuple(RoleSetting(*each) for each in numbers.settings)
    return Roles({FIRST: FIRST_ROLE} | stored, numbers.next_role, numbers.secret, settings)


def store(batch: Target, changed: Applied) -> None:
    """Put what ``changed`` made different into ``batch``; nothing if nothing is."""
    if not (changed.series or changed.databases or changed.roles or changed.views or changed.sequences):
        return
    n = changed.catalog
    numbers = _Numbers(
        n.version, n.next_database, n.next_series, n.next_column, n.next_location, n.roles.next_number, n.roles.secret,
        [(each.database, each.role, each.name, each.value) for each in n.roles.settings],
    )  # fmt: skip
    batch.put("state", keys.state_key(NUMBERS), _encode(numbers))
    _put_changed(batch, DATABASE, changed.databases, n.databases_by_number, _packed_database)
    _put_changed(batch, SERIES, changed.series, n.series_by_number, _packed_series)
    _put_changed(batch, ROLE, changed.roles, n.roles.stored, _packed_role)
    _put_changed(batch, VIEW, changed.views, _there(changed.views), packed_view)
    _put_changed(batch, SEQUENCE, changed.sequences, _there(changed.sequences), packed_sequence)


def everything(catalog: Catalog) -> Applied:
    """The catalog as if all of it were new; nothing of one that nothing ever happened to."""
    if catalog.version == 0:
        return Applied(catalog, frozenset(), frozenset())
    return Applied(
        catalog,
        frozenset(catalog.series_by_number),
        frozenset(catalog.databases_by_number),
        frozenset(catalog.roles.stored),
        {v.number: (d.number, v) for d in catalog.databases.values() for v in d.views.values()},
        {s.number: (d.number, s) for d in catalog.databases.values() for s in d.sequences.values()},
    )


def _there(changed: Mapping[int, T | None]) -> dict[int, T]:
    return {number: entry for number, entry in changed.items() if entry is not None}


def _put_changed(
    batch: Target, name: str, changed: Iterable[int], after: Mapping[int, T], packed: Callable[[T], msgspec.Struct]
) -> None:
    for number in sorted(changed):
        entry = after.get(number)
        if entry is None:
            batch.delete("state", keys.state_key(name, number))
        else:
            batch.put("state", keys.state_key(name, number), _encode(packed(entry)))


def _packed_database(database: Database) -> _Database:
    locations = [(location.number, location.low, location.high - 1) for location in database.locations]
    namespaces = [packed_namespace(each) for each in database.namespaces.values()]
    return _Database(
        database.name, locations, database.owner, packed_grants(database.grants), namespaces, database.comment,
        [packed_type(each) for each in database.types.values()],
    )  # fmt: skip


def _packed_series(found: tuple[Database, Series]) -> _Series:
    database, s = found
    columns = [
        _Column(
            c.number, c.name, c.role, c.type.oid, c.kind, c.typmod, c.not_null, c.default,
            [(number, int(kind)) for number, kind in c.former], c.sequence, c.identity, c.comment,
        )
        for c in s.columns
    ]  # fmt: skip
    return _Series(
        database.number, s.name, columns, s.keyed, s.reference, s.retention_ns, s.floor_ns, list(s.key), s.owner,
        packed_grants(s.grants), s.schema, s.key_name, [packed_constraint(c) for c in s.constraints],
        [packed_index(i) for i in s.indexes], s.comment, packed_definition(s.definition), s.populated, s.relation,
        s.acks, [(each.from_bucket, each.bits, each.counter or each.settled) for each in s.slots],
    )  # fmt: skip


def _packed_role(role: Role) -> _Role:
    flags = sum(1 << bit for bit, name in enumerate(ROLE_FLAGS) if getattr(role, name))
    member_of = [(m.role, m.admin) for m in role.member_of]
    tokens = [(t.name, t.digest, t.created_us, t.valid_until_us) for t in role.tokens]
    return _Role(role.name, flags, role.connection_limit, role.verifier, role.valid_until_us, member_of, tokens)


def _role(number: int, record: _Role) -> Role:
    return Role(
        number,
        record.name,
        connection_limit=record.connection_limit,
        verifier=record.verifier,
        valid_until_us=record.valid_until_us,
        member_of=tuple(Membership(role, admin) for role, admin in record.member_of),
        tokens=tuple(Token(*token) for token in record.tokens),
        **{name: bool(record.flags >> bit & 1) for bit, name in enumerate(ROLE_FLAGS)},
    )


def _series(number: int, record: _Series, own: Mapping[int, SqlType]) -> Series:
    try:
        columns = tuple(
            Column(
                c.number, c.name, ColumnRole(c.role), sql_type(c.type_oid, c.kind, own), c.typmod, c.not_null,
                c.default, tuple((n, Kind(kind)) for n, kind in c.former), c.sequence, c.identity, c.comment,
            )
            for c in record.columns
        )  # fmt: skip
    except (KeyError, ValueError) as error:
        raise DataCorrupted(f"catalog: series {number} has a column of an unknown role or type: {error}") from error
    r = record
    return Series(
        number, r.name, columns, r.keyed, r.reference, r.retention_ns, r.floor_ns, tuple(r.key), r.owner,
        grants_of(r.grants), r.schema, r.key_name, tuple(constraint_of(c) for c in r.constraints),
        tuple(index_of(i) for i in r.indexes), r.comment,
        None if r.definition is None else definition_of(r.definition), r.populated, r.relation,
        r.acks, tuple(_slots(*each) for each in r.slots),
    )  # fmt: skip


def _slots(from_bucket: int, bits: int, settled: bool | int) -> Slots:
    """``settled``: with a counter it is that."""
    return Slots(from_bucket, bits, settled is not False, 0 if isinstance(settled, bool) else settled)


def _records(rocks: Source, name: str, kind: type[S]) -> Iterator[tuple[int, S]]:
    prefix = keys.state_key(name)
    for key, value in rocks.scan("state", prefix, keys.after(prefix)):
        _, numbers = keys.unpack_state_key(key)
        if len(numbers) != 1:
            raise DataCorrupted(f"the catalog's key {key!r} has no number")
        yield numbers[0], _decode(value, kind)


def _encode(record: msgspec.Struct) -> bytes:
    return seal(MAGIC, VERSION, _encoder.encode(record))


def _decode(data: bytes, kind: type[S]) -> S:
    try:
        version = data[2] if len(data) > 2 and data[2] in VERSIONS_READ else VERSION
        return msgspec.msgpack.decode(unseal(data, MAGIC, version, "catalog"), type=kind)
    except msgspec.DecodeError as error:
        raise DataCorrupted(f"catalog: {error}") from error
