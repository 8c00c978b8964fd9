"""Catalog: immutable databases, series and columns, as they are at one moment; ``tsdb.model.schema`` changes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from types import MappingProxyType

from tsdb.errors import InvalidCatalogName, UndefinedColumn, UndefinedTable
from tsdb.model.continuous import Continuous
from tsdb.model.enums import EnumType
from tsdb.model.privileges import Grant
from tsdb.model.relations import (
    PUBLIC,
    Constraint,
    Definition,
    Index,
    Namespace,
    SqlSequence,
    SqlView,
    name_of,
    path_of,
)
from tsdb.model.ring import Location, Slots
from tsdb.model.roles import FIRST, Roles
from tsdb.model.uniqueness import Unique, uniques_of
from tsdb.types import Kind, SqlType


class Role(IntEnum):
    """What a column is to its series. The numbers are on disk: never change one."""

    TIME = 1
    TAG = 2
    FIELD = 3


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a series.

    ``former`` are the (number, kind) the column had before ALTER TYPE: older blocks are read through a cast.
    ``typmod`` is PostgreSQL's type modifier, −1 for none. ``default`` is SQL text or None. ``sequence`` is the number
    of the sequence that counts it (0: none); ``identity`` is pg_attribute's letter: a always, d by default, or empty.
    """

    number: int
    name: str
    role: Role
    type: SqlType
    typmod: int = -1
    not_null: bool = False
    default: str | None = None
    former: tuple[tuple[int, Kind], ...] = ()
    sequence: int = 0
    identity: str = ""
    comment: str | None = None

    @property
    def kind(self) -> Kind:
        return self.type.kind


@dataclass(frozen=True)
class Series:
    """A named collection of points with one schema; a SQL table; line protocol's measurement.

    ``columns`` are in the order SQL shows them; dropped ones are gone. ``keyed``: points with equal tags and time
    merge (design section 2). ``reference``: a table without a time; its points have time 0. ``key`` are the numbers of
    the PRIMARY KEY's columns as declared. ``retention_ns`` is how long points live, ``floor_ns`` the instant below
    which they are gone; it never moves back. ``owner`` is a role's number, ``grants`` as in ``tsdb.model.privileges``.

    A materialized view is a series with a ``definition``; every REFRESH gives it another number, and ``relation`` is
    the one that stays. ``populated`` False: it has never been filled, or was emptied, and cannot be read.

    ``acks``: on how many replicas what is written is to be (``tsdb.model.acks``); None: nobody has said.
    ``slots``: how its buckets are cut (``tsdb.model.places``), each until the next one's first bucket.
    """

    number: int
    name: str
    columns: tuple[Column, ...]
    keyed: bool
    reference: bool = False
    retention_ns: int | None = None
    floor_ns: int | None = None
    key: tuple[int, ...] = ()
    owner: int = FIRST
    grants: tuple[Grant, ...] | None = None
    schema: str = PUBLIC
    key_name: str | None = None
    constraints: tuple[Constraint, ...] = ()
    indexes: tuple[Index, ...] = ()
    comment: str | None = None
    definition: Definition | None = None
    populated: bool = True
    relation: int = 0
    acks: int | None = None
    slots: tuple[Slots, ...] = ()

    @property
    def object_kind(self) -> str:
        return "table" if self.definition is None else "materialized view"

    @property
    def path(self) -> str:
        return path_of(self.schema, self.name)

    @property
    def continuous(self) -> Continuous | None:
        """What makes a materialized view a continuous one."""
        return None if self.definition is None else self.definition.continuous

    @property
    def identity(self) -> int:
        """The number that others know it by: views that use it, PostgreSQL's catalog."""
        return self.relation or self.number

    @cached_property
    def by_name(self) -> Mapping[str, Column]:
        return MappingProxyType({c.name: c for c in self.columns})

    @cached_property
    def by_number(self) -> Mapping[int, Column]:
        return MappingProxyType({c.number: c for c in self.columns})

    @cached_property
    def time(self) -> Column | None:
        """The time column; a reference table has none."""
        return next((c for c in self.columns if c.role is Role.TIME), None)

    @cached_property
    def tags(self) -> tuple[Column, ...]:
        return tuple(c for c in self.columns if c.role is Role.TAG)

    @cached_property
    def fields(self) -> tuple[Column, ...]:
        return tuple(c for c in self.columns if c.role is Role.FIELD)

    @cached_property
    def uniques(self) -> tuple[Unique, ...]:
        """What no two rows of a reference table have in common; a time series has none."""
        return uniques_of(self)

    @cached_property
    def checks(self) -> tuple[Constraint, ...]:
        """Its CHECK constraints in the order in which rows are held against them."""
        return tuple(sorted((c for c in self.constraints if c.kind == "c"), key=lambda c: c.name))

    def column(self, name: str) -> Column:
        try:
            return self.by_name[name]
        except KeyError:
            raise UndefinedColumn(f'column "{name}" of relation "{self.name}" does not exist') from None


Relation = Series | SqlView | SqlSequence


@dataclass(frozen=True)
class Database:
    """A set of series on a ring of its own. Series, views, sequences and types are found by their path; owner and
    grants are as a series has them.

    ``namespaces`` are those beside ``public``, which is always there (and among them if it has a comment).
    """

    number: int
    name: str
    series: Mapping[str, Series]
    locations: tuple[Location, ...]
    owner: int = FIRST
    grants: tuple[Grant, ...] | None = None
    namespaces: Mapping[str, Namespace] = field(default_factory=dict)
    views: Mapping[str, SqlView] = field(default_factory=dict)
    sequences: Mapping[str, SqlSequence] = field(default_factory=dict)
    comment: str | None = None
    types: Mapping[str, EnumType] = field(default_factory=dict)

    @property
    def object_kind(self) -> str:
        return "database"

    def find(self, path: str) -> Series:
        try:
            return self.series[path]
        except KeyError:
            raise UndefinedTable(f'relation "{name_of(path)}" does not exist') from None

    def relation(self, path: str) -> Relation | None:
        """What has a name; names are of one kind only."""
        return self.series.get(path) or self.views.get(path) or self.sequences.get(path)

    @cached_property
    def by_identity(self) -> Mapping[int, Series | SqlView]:
        """Series and views by the number that stays."""
        found: dict[int, Series | SqlView] = {s.identity: s for s in self.series.values()}
        found.update((v.number, v) for v in self.views.values())
        return found

    def source_of(self, series: Series) -> Series | None:
        """The series whose buckets a continuous view has; None for anything else."""
        if series.continuous is None or series.definition is None:
            return None
        found = self.by_identity.get(series.definition.uses[0].relation)
        return found if isinstance(found, Series) else None

    @cached_property
    def slots_by_number(self) -> Mapping[int, tuple[Slots, ...]]:
        """The slots of those series whose buckets are cut, by their number."""
        return {series.number: series.slots for series in self.series.values() if series.slots}

    def slots_of(self, series: int) -> tuple[Slots, ...]:
        """Those of a series, by its number; () if its buckets are whole."""
        return self.slots_by_number.get(series, ())

    @cached_property
    def type_by_oid(self) -> Mapping[int, SqlType]:
        """The database's own types and their arrays."""
        return {t.oid: t for each in self.types.values() for t in (each.sql_type, each.array_type)}

    @cached_property
    def sequence_by_number(self) -> Mapping[int, SqlSequence]:
        return {s.number: s for s in self.sequences.values()}


@dataclass(frozen=True, slots=True)
class SeriesByNumber(Mapping[int, tuple[Database, Series]]):
    """Series number → (its database, the series); ``series`` has the database's number."""

    series: Mapping[int, tuple[int, Series]]
    databases: Mapping[int, Database]

    def __getitem__(self, number: int) -> tuple[Database, Series]:
        database, series = self.series[number]
        return self.databases[database], series

    def __contains__(self, number: object) -> bool:
        return number in self.series

    def __iter__(self) -> Iterator[int]:
        return iter(self.series)

    def __len__(self) -> int:
        return len(self.series)


# The version of a catalog that is no state of the schema (``schema.imagined``).
IMAGINED = -1


@dataclass(frozen=True)
class Catalog:
    """One state of the schema; ``version`` rises by one with every change.

    ``next_*`` are the numbers to be given next: they only rise, so that a number is never used twice.
    """

    version: int = 0
    databases: Mapping[str, Database] = field(default_factory=dict)
    next_database: int = 1
    next_series: int = 1
    next_column: int = 1
    next_location: int = 1
    roles: Roles = field(default_factory=Roles)

    @cached_property
    def series_by_number(self) -> SeriesByNumber:
        found = {s.number: (d.number, s) for d in self.databases.values() for s in d.series.values()}
        return SeriesByNumber(found, self.databases_by_number)

    @cached_property
    def continuous_of(self) -> Mapping[int, tuple[Series, ...]]:
        """The continuous views of each series that has some, by its number."""
        found: dict[int, tuple[Series, ...]] = {}
        for database in self.databases.values():
            for series in database.series.values():
                source = database.source_of(series)
                if source is not None:
                    found[source.number] = (*found.get(source.number, ()), series)
        return found

    @cached_property
    def databases_by_number(self) -> Mapping[int, Database]:
        return {d.number: d for d in self.databases.values()}

    def find(self, name: str) -> Database:
        return find_database(self.databases, name)


def find_database(databases: Mapping[str, Database], name: str) -> Database:
    try:
        return databases[name]
    except KeyError:
        raise InvalidCatalogName(f'database "{name}" does not exist') from None
