"""Schema: immutable databases, series and columns, and the changes that lead from one catalog to the next.

Databases, series and columns have numbers, given once and never reused; hash input, ops, keys, blocks and tombstones
hold numbers, only the catalog maps names (design section 1). ``apply`` is pure and deterministic: the same changes in
the same order give the same catalog on every node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from types import MappingProxyType

from tsdb.errors import (
    DatatypeMismatch,
    DuplicateColumn,
    DuplicateDatabase,
    DuplicateTable,
    FeatureNotSupported,
    InvalidCatalogName,
    InvalidName,
    InvalidTableDefinition,
    ObjectInUse,
    ReservedName,
    TooManyColumns,
    UndefinedColumn,
    UndefinedTable,
)
from tsdb.model.ring import LOCATIONS_PER_DATABASE, Location, equal_locations
from tsdb.types import BY_OID, TIMESTAMPTZ, UINT8, Kind, SqlType

HIDDEN_COLUMNS = ("time_ns", "sequence")
MAX_NAME_BYTES = 255
MAX_COLUMNS = 10_000


class Role(IntEnum):
    """What a column is to its series. The numbers are on disk: never change one."""

    TIME = 1
    TAG = 2
    FIELD = 3


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a series.

    ``former`` are the (number, kind) the column had before ALTER TYPE: older blocks are read through a cast.
    ``typmod`` is PostgreSQL's type modifier, −1 for none. ``default`` is SQL text or None.
    """

    number: int
    name: str
    role: Role
    type: SqlType
    typmod: int = -1
    not_null: bool = False
    default: str | None = None
    former: tuple[tuple[int, Kind], ...] = ()

    @property
    def kind(self) -> Kind:
        return self.type.kind


@dataclass(frozen=True)
class Series:
    """A named collection of points with one schema; a SQL table; line protocol's measurement.

    ``columns`` are in the order SQL shows them; dropped ones are gone. ``keyed``: points with equal tags and time
    merge (design section 2). ``reference``: a table without a time; its points have time 0. ``key`` are the numbers of
    the PRIMARY KEY's columns as declared. ``retention_ns`` is how long points live, ``floor_ns`` the instant below
    which they are gone; it never moves back.
    """

    number: int
    name: str
    columns: tuple[Column, ...]
    keyed: bool
    reference: bool = False
    retention_ns: int | None = None
    floor_ns: int | None = None
    key: tuple[int, ...] = ()

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

    def column(self, name: str) -> Column:
        try:
            return self.by_name[name]
        except KeyError:
            raise UndefinedColumn(f'column "{name}" of relation "{self.name}" does not exist') from None


@dataclass(frozen=True)
class Database:
    """A set of series on a ring of its own."""

    number: int
    name: str
    series: Mapping[str, Series]
    locations: tuple[Location, ...]

    def find(self, name: str) -> Series:
        try:
            return self.series[name]
        except KeyError:
            raise UndefinedTable(f'relation "{name}" does not exist') from None


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

    @cached_property
    def series_by_number(self) -> Mapping[int, tuple[Database, Series]]:
        return {s.number: (d, s) for d in self.databases.values() for s in d.series.values()}

    @cached_property
    def databases_by_number(self) -> Mapping[int, Database]:
        return {d.number: d for d in self.databases.values()}

    def find(self, name: str) -> Database:
        try:
            return self.databases[name]
        except KeyError:
            raise InvalidCatalogName(f'database "{name}" does not exist') from None


@dataclass(frozen=True, slots=True)
class ColumnDefinition:
    """A column as asked for, before it has a number."""

    name: str
    role: Role
    type: SqlType
    typmod: int = -1
    not_null: bool = False
    default: str | None = None


@dataclass(frozen=True, slots=True)
class CreateDatabase:
    name: str
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True)
class DropDatabase:
    name: str


@dataclass(frozen=True, slots=True)
class RenameDatabase:
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class CreateSeries:
    """``key`` are the names of the PRIMARY KEY's columns; ``columns`` hold at most one with the role TIME."""

    database: str
    name: str
    columns: tuple[ColumnDefinition, ...]
    keyed: bool
    reference: bool = False
    retention_ns: int | None = None
    key: tuple[str, ...] = ()
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True)
class DropSeries:
    database: str
    name: str


@dataclass(frozen=True, slots=True)
class RenameSeries:
    database: str
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class AddColumn:
    """Adding a column that exists with the same role and type does nothing: two writers may discover it at once."""

    database: str
    series: str
    column: ColumnDefinition
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True)
class DropColumn:
    database: str
    series: str
    name: str


@dataclass(frozen=True, slots=True)
class RenameColumn:
    database: str
    series: str
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class AlterColumnType:
    """The column gets a new number; values under the old one are read through a cast."""

    database: str
    series: str
    name: str
    type: SqlType
    typmod: int = -1


@dataclass(frozen=True, slots=True)
class AlterColumn:
    """Change a field's NOT NULL or default; ``None`` for ``not_null`` keeps it, ``set_default`` says whether to set."""

    database: str
    series: str
    name: str
    not_null: bool | None = None
    set_default: bool = False
    default: str | None = None


@dataclass(frozen=True, slots=True)
class SetRetention:
    """``floor_ns`` only rises; ``retention_ns`` None keeps points for ever."""

    database: str
    series: str
    retention_ns: int | None
    floor_ns: int | None = None


SchemaChange = (
    CreateDatabase
    | DropDatabase
    | RenameDatabase
    | CreateSeries
    | DropSeries
    | RenameSeries
    | AddColumn
    | DropColumn
    | RenameColumn
    | AlterColumnType
    | AlterColumn
    | SetRetention
)


def apply(catalog: Catalog, changes: Iterable[SchemaChange]) -> Catalog:
    """The catalog after ``changes``, all of them or (by an error) none.

    Raises the PostgreSQL condition that fits: DuplicateTable, UndefinedColumn, InvalidCatalogName, ...
    """
    for change in changes:
        catalog = _apply(catalog, change)
    return catalog


def _apply(catalog: Catalog, change: SchemaChange) -> Catalog:
    match change:
        case CreateDatabase():
            return _create_database(catalog, change)
        case DropDatabase(name):
            catalog.find(name)
            return _with_databases(catalog, {k: v for k, v in catalog.databases.items() if k != name})
        case RenameDatabase(name, to):
            return _rename_database(catalog, name, to)
        case CreateSeries():
            return _create_series(catalog, change)
        case DropSeries(database, name):
            found = catalog.find(database)
            found.find(name)
            return _with_series(catalog, found, {k: v for k, v in found.series.items() if k != name})
        case RenameSeries(database, name, to):
            return _rename_series(catalog, database, name, to)
    return _alter_series(catalog, change)


def _alter_series(catalog: Catalog, change: SchemaChange) -> Catalog:
    match change:
        case AddColumn():
            return _add_column(catalog, change)
        case DropColumn(database, series, name):
            return _drop_column(catalog, database, series, name)
        case RenameColumn(database, series, name, to):
            return _rename_column(catalog, database, series, name, to)
        case AlterColumnType():
            return _alter_column_type(catalog, change)
        case AlterColumn():
            return _alter_column(catalog, change)
        case SetRetention():
            return _set_retention(catalog, change)
    raise AssertionError(f"not a schema change: {change!r}")


def _with_databases(catalog: Catalog, databases: Mapping[str, Database], **numbers: int) -> Catalog:
    return replace(catalog, version=catalog.version + 1, databases=databases, **numbers)


def _with_series(catalog: Catalog, database: Database, series: Mapping[str, Series], **numbers: int) -> Catalog:
    changed = replace(database, series=series)
    return _with_databases(catalog, {**catalog.databases, database.name: changed}, **numbers)


def _replace_series(catalog: Catalog, database: Database, series: Series, **numbers: int) -> Catalog:
    return _with_series(catalog, database, {**database.series, series.name: series}, **numbers)


def check_name(name: str, what: str) -> None:
    if not name:
        raise InvalidName(f"a {what} needs a name")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidName(f'{what} name "{name[:40]}…" is longer than {MAX_NAME_BYTES} bytes')
    if any(ch < " " or ch == "\x7f" for ch in name):
        raise InvalidName(f"{what} name {name[:40]!r} holds a control character")


def _create_database(catalog: Catalog, change: CreateDatabase) -> Catalog:
    check_name(change.name, "database")
    if change.name in catalog.databases:
        if change.if_not_exists:
            return catalog
        raise DuplicateDatabase(f'database "{change.name}" already exists')
    locations = equal_locations(catalog.next_location, LOCATIONS_PER_DATABASE)
    database = Database(catalog.next_database, change.name, {}, locations)
    return _with_databases(
        catalog,
        {**catalog.databases, change.name: database},
        next_database=catalog.next_database + 1,
        next_location=catalog.next_location + LOCATIONS_PER_DATABASE,
    )


def _rename_database(catalog: Catalog, name: str, to: str) -> Catalog:
    check_name(to, "database")
    found = catalog.find(name)
    if to in catalog.databases:
        raise DuplicateDatabase(f'database "{to}" already exists')
    databases = {k: v for k, v in catalog.databases.items() if k != name}
    return _with_databases(catalog, {**databases, to: replace(found, name=to)})


def _check_definition(column: ColumnDefinition) -> None:
    check_name(column.name, "column")
    if column.name in HIDDEN_COLUMNS:
        raise ReservedName(f'column name "{column.name}" is reserved')
    if column.name == "time" and column.role is not Role.TIME:
        raise ReservedName('column name "time" is reserved for the time of a point')


def _create_series(catalog: Catalog, change: CreateSeries) -> Catalog:
    check_name(change.name, "table")
    database = catalog.find(change.database)
    if change.name in database.series:
        if change.if_not_exists:
            return catalog
        raise DuplicateTable(f'relation "{change.name}" already exists')
    if len(change.columns) > MAX_COLUMNS:
        raise TooManyColumns(
            f'table "{change.name}" has {len(change.columns)} columns; at most {MAX_COLUMNS} are allowed'
        )
    times = [c for c in change.columns if c.role is Role.TIME]
    if len(times) != (0 if change.reference else 1):
        raise InvalidTableDefinition(f'table "{change.name}" needs exactly one time column')
    seen: set[str] = set()
    for definition in change.columns:
        _check_definition(definition)
        if definition.name in seen:
            raise DuplicateColumn(f'column "{definition.name}" specified more than once')
        seen.add(definition.name)
    columns = tuple(
        Column(catalog.next_column + i, d.name, d.role, d.type, d.typmod, d.not_null, d.default)
        for i, d in enumerate(change.columns)
    )
    by_name = {c.name: c.number for c in columns}
    for name in change.key:
        if name not in by_name:
            raise UndefinedColumn(f'column "{name}" named in key does not exist')
    series = Series(
        catalog.next_series,
        change.name,
        columns,
        change.keyed,
        change.reference,
        change.retention_ns,
        key=tuple(by_name[name] for name in change.key),
    )
    return _replace_series(
        catalog,
        database,
        series,
        next_series=catalog.next_series + 1,
        next_column=catalog.next_column + len(columns),
    )


def _rename_series(catalog: Catalog, database_name: str, name: str, to: str) -> Catalog:
    check_name(to, "table")
    database = catalog.find(database_name)
    found = database.find(name)
    if to in database.series:
        raise DuplicateTable(f'relation "{to}" already exists')
    series = {k: v for k, v in database.series.items() if k != name}
    return _with_series(catalog, database, {**series, to: replace(found, name=to)})


def _add_column(catalog: Catalog, change: AddColumn) -> Catalog:
    database = catalog.find(change.database)
    series = database.find(change.series)
    definition = change.column
    _check_definition(definition)
    existing = series.by_name.get(definition.name)
    if existing is not None:
        same = existing.role is definition.role and existing.type == definition.type
        if change.if_not_exists and same:
            return catalog
        raise DuplicateColumn(f'column "{definition.name}" of relation "{series.name}" already exists')
    if definition.role is Role.TIME:
        raise InvalidTableDefinition(f'table "{series.name}" can have only one time column')
    if len(series.columns) >= MAX_COLUMNS:
        raise TooManyColumns(f'table "{series.name}" has {MAX_COLUMNS} columns already, as many as are allowed')
    d = definition
    column = Column(catalog.next_column, d.name, d.role, d.type, d.typmod, d.not_null, d.default)
    changed = replace(series, columns=(*series.columns, column))
    return _replace_series(catalog, database, changed, next_column=catalog.next_column + 1)


def _drop_column(catalog: Catalog, database_name: str, series_name: str, name: str) -> Catalog:
    database = catalog.find(database_name)
    series = database.find(series_name)
    column = series.column(name)
    if column.role is not Role.FIELD:
        raise FeatureNotSupported(
            f'cannot drop column "{name}": it belongs to the key of "{series_name}"',
            hint="Tags and the time identify a point; make a new table without the column and copy what you need.",
        )
    return _replace_series(
        catalog, database, replace(series, columns=tuple(c for c in series.columns if c is not column))
    )


def _edit_column(catalog: Catalog, database_name: str, series_name: str, old: Column, new: Column) -> Catalog:
    database = catalog.find(database_name)
    series = database.find(series_name)
    columns = tuple(new if c == old else c for c in series.columns)
    return _replace_series(catalog, database, replace(series, columns=columns))


def _rename_column(catalog: Catalog, database: str, series_name: str, name: str, to: str) -> Catalog:
    series = catalog.find(database).find(series_name)
    old = series.column(name)
    if to in series.by_name:
        raise DuplicateColumn(f'column "{to}" of relation "{series_name}" already exists')
    _check_definition(ColumnDefinition(to, old.role, old.type))
    return _edit_column(catalog, database, series_name, old, replace(old, name=to))


def _alter_column_type(catalog: Catalog, change: AlterColumnType) -> Catalog:
    series = catalog.find(change.database).find(change.series)
    old = series.column(change.name)
    if old.role is Role.TIME:
        raise FeatureNotSupported(f'cannot change the type of the time column "{change.name}"')
    if old.role is Role.TAG:
        if change.type.kind is not Kind.TEXT:
            raise FeatureNotSupported(f'cannot change the type of tag "{change.name}"; tags are text')
        return _edit_column(catalog, change.database, change.series, old, replace(old, type=change.type))
    if (old.kind is Kind.BOOL) != (change.type.kind is Kind.BOOL) and Kind.TEXT not in (old.kind, change.type.kind):
        raise DatatypeMismatch(f'column "{change.name}" cannot be cast automatically to type {change.type.name}')
    if old.kind is change.type.kind:
        new = replace(old, type=change.type, typmod=change.typmod)
        return _edit_column(catalog, change.database, change.series, old, new)
    new = replace(
        old,
        number=catalog.next_column,
        type=change.type,
        typmod=change.typmod,
        former=((old.number, old.kind), *old.former),
    )
    changed = _edit_column(catalog, change.database, change.series, old, new)
    return replace(changed, next_column=catalog.next_column + 1)


def _alter_column(catalog: Catalog, change: AlterColumn) -> Catalog:
    old = catalog.find(change.database).find(change.series).column(change.name)
    new = old if change.not_null is None else replace(old, not_null=change.not_null)
    if change.set_default:
        new = replace(new, default=change.default)
    return _edit_column(catalog, change.database, change.series, old, new)


def _set_retention(catalog: Catalog, change: SetRetention) -> Catalog:
    database = catalog.find(change.database)
    series = database.find(change.series)
    floors = [f for f in (series.floor_ns, change.floor_ns) if f is not None]
    floor = max(floors) if floors else None
    return _replace_series(catalog, database, replace(series, retention_ns=change.retention_ns, floor_ns=floor))


def refuse_if_in_use(name: str, connections: int) -> None:
    """DROP DATABASE is refused while others use it, as PostgreSQL does."""
    if connections:
        raise ObjectInUse(
            f'database "{name}" is being accessed by other users',
            detail=f"There are {connections} other sessions using the database.",
        )


def sql_type(oid: int, kind: Kind) -> SqlType:
    """The type of a stored column: its OID and, for numeric, which of the two stored forms."""
    return UINT8 if kind is Kind.UINT8 else BY_OID[oid]


LINE_PROTOCOL_TIME = ColumnDefinition("time", Role.TIME, TIMESTAMPTZ, not_null=True)
