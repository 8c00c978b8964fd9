"""Metadata: the durable catalog, one record of ``state`` for its numbers, each database and each series.

A schema change rewrites only the records it touched. Records are msgpack arrays in frames; columns may be appended to
them by a later format version, never reordered. Diagram: docs/format/metadata.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import msgspec

from tsdb.errors import DataCorrupted
from tsdb.model.ring import Location
from tsdb.model.schema import Applied, Catalog, Column, Database, Role, Series, sql_type
from tsdb.storage import keys
from tsdb.storage.frame import seal, unseal
from tsdb.storage.rocks import Batch, Rocks
from tsdb.types import Kind

MAGIC = b"TC"
VERSION = 1
NUMBERS = "catalog"
DATABASE = "database"
SERIES = "series"


class _Numbers(msgspec.Struct, array_like=True):
    version: int
    next_database: int
    next_series: int
    next_column: int
    next_location: int


class _Database(msgspec.Struct, array_like=True):
    name: str
    locations: list[tuple[int, int, int]]


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


class _Series(msgspec.Struct, array_like=True):
    database: int
    name: str
    columns: list[_Column]
    keyed: bool
    reference: bool
    retention_ns: int | None
    floor_ns: int | None
    key: list[int]


S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T")
_encoder = msgspec.msgpack.Encoder()


def load(rocks: Rocks) -> Catalog:
    """The catalog as it was last stored; an empty one in a new directory. Raises DataCorrupted."""
    stored = rocks.get("state", keys.state_key(NUMBERS))
    if stored is None:
        return Catalog()
    numbers = _decode(stored, _Numbers)
    series: dict[int, dict[str, Series]] = {}
    for number, record in _records(rocks, SERIES, _Series):
        series.setdefault(record.database, {})[record.name] = _series(number, record)
    databases = {
        record.name: Database(
            number,
            record.name,
            series.pop(number, {}),
            tuple(Location(n, low, last + 1) for n, low, last in record.locations),
        )
        for number, record in _records(rocks, DATABASE, _Database)
    }
    if series:
        raise DataCorrupted(f"the catalog has series of databases that it does not have: {sorted(series)}")
    return Catalog(
        numbers.version,
        databases,
        numbers.next_database,
        numbers.next_series,
        numbers.next_column,
        numbers.next_location,
    )


def store(batch: Batch, changed: Applied) -> None:
    """Put what ``changed`` made different into ``batch``; nothing if nothing is."""
    if not changed.series and not changed.databases:
        return
    n = changed.catalog
    numbers = _Numbers(n.version, n.next_database, n.next_series, n.next_column, n.next_location)
    batch.put("state", keys.state_key(NUMBERS), _encode(numbers))
    _put_changed(batch, DATABASE, changed.databases, n.databases_by_number, _packed_database)
    _put_changed(batch, SERIES, changed.series, n.series_by_number, _packed_series)


def _put_changed(
    batch: Batch, name: str, changed: Iterable[int], after: Mapping[int, T], packed: Callable[[T], msgspec.Struct]
) -> None:
    for number in sorted(changed):
        entry = after.get(number)
        if entry is None:
            batch.delete("state", keys.state_key(name, number))
        else:
            batch.put("state", keys.state_key(name, number), _encode(packed(entry)))


def _packed_database(database: Database) -> _Database:
    locations = [(location.number, location.low, location.high - 1) for location in database.locations]
    return _Database(database.name, locations)


def _packed_series(found: tuple[Database, Series]) -> _Series:
    database, s = found
    columns = [
        _Column(
            c.number, c.name, c.role, c.type.oid, c.kind, c.typmod, c.not_null, c.default,
            [(number, int(kind)) for number, kind in c.former],
        )
        for c in s.columns
    ]  # fmt: skip
    return _Series(database.number, s.name, columns, s.keyed, s.reference, s.retention_ns, s.floor_ns, list(s.key))


def _series(number: int, record: _Series) -> Series:
    try:
        columns = tuple(
            Column(
                c.number, c.name, Role(c.role), sql_type(c.type_oid, Kind(c.kind)), c.typmod, c.not_null, c.default,
                tuple((n, Kind(kind)) for n, kind in c.former),
            )
            for c in record.columns
        )  # fmt: skip
    except (KeyError, ValueError) as error:
        raise DataCorrupted(f"catalog: series {number} has a column of an unknown role or type: {error}") from error
    r = record
    return Series(number, r.name, columns, r.keyed, r.reference, r.retention_ns, r.floor_ns, tuple(r.key))


def _records(rocks: Rocks, name: str, kind: type[S]) -> Iterator[tuple[int, S]]:
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
        return msgspec.msgpack.decode(unseal(data, MAGIC, VERSION, "catalog"), type=kind)
    except msgspec.DecodeError as error:
        raise DataCorrupted(f"catalog: {error}") from error
