"""Schema: immutable databases, series and columns, and the changes that lead from one catalog to the next.

Databases, series and columns have numbers, given once and never reused; hash input, ops, keys, blocks and tombstones
hold numbers, only the catalog maps names (design section 1). ``apply`` is pure and deterministic: the same changes in
the same order give the same catalog on every node.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tsdb.errors import (
    DatatypeMismatch,
    DuplicateColumn,
    DuplicateDatabase,
    DuplicateTable,
    FeatureNotSupported,
    InvalidName,
    InvalidTableDefinition,
    ReservedName,
    TooManyColumns,
    UndefinedColumn,
)
from tsdb.model import role_changes
from tsdb.model.catalog import Catalog as Catalog
from tsdb.model.catalog import Column as Column
from tsdb.model.catalog import Database as Database
from tsdb.model.catalog import Role as Role
from tsdb.model.catalog import Series as Series
from tsdb.model.catalog import SeriesByNumber as SeriesByNumber
from tsdb.model.catalog import find_database
from tsdb.model.ring import LOCATIONS_PER_DATABASE, equal_locations
from tsdb.model.role_changes import RoleChange
from tsdb.model.roles import FIRST, Roles
from tsdb.types import BY_OID, TIMESTAMPTZ, UINT8, Kind, SqlType

HIDDEN_COLUMNS = ("time_ns", "sequence")
MAX_NAME_BYTES = 255
MAX_COLUMNS = 10_000


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
    owner: int = FIRST


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
    owner: int = FIRST


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
    | RoleChange
)


@dataclass(frozen=True, slots=True)
class Applied:
    """A catalog after some changes, and the numbers of the series, databases and roles that they touched.

    A database is not changed by what happens to its series.
    """

    catalog: Catalog
    series: frozenset[int]
    databases: frozenset[int]
    roles: frozenset[int] = frozenset()


def apply(catalog: Catalog, changes: Iterable[SchemaChange]) -> Catalog:
    """The catalog after ``changes``, all of them or (by an error) none.

    Raises the PostgreSQL condition that fits: DuplicateTable, UndefinedColumn, InvalidCatalogName, ...
    """
    return applied(catalog, changes).catalog


def applied(catalog: Catalog, changes: Iterable[SchemaChange]) -> Applied:
    """``apply``, and what is different: whoever stores the catalog need not compare tens of thousands of series."""
    draft = _Draft(catalog)
    for change in changes:
        _apply(draft, change)
    return draft.applied()


class _Draft:
    """A catalog in the making. A mapping is copied when the first change touches it, and not for every change."""

    def __init__(self, catalog: Catalog) -> None:
        self._before = catalog
        self._version = catalog.version
        self.databases = dict(catalog.databases)
        self.next_database = catalog.next_database
        self.next_series = catalog.next_series
        self.next_column = catalog.next_column
        self.next_location = catalog.next_location
        self.roles = catalog.roles
        self._own: dict[int, dict[str, Series]] = {}
        self._by_number: dict[int, tuple[int, Series]] | None = None
        self._series: set[int] = set()
        self._databases: set[int] = set()
        self._roles: set[int] = set()

    def find(self, name: str) -> Database:
        return find_database(self.databases, name)

    def put_database(self, database: Database) -> None:
        self.databases[database.name] = database
        self._databases.add(database.number)
        self._version += 1

    def remove_database(self, database: Database) -> None:
        """Take it away, to be put back under another name or not at all."""
        del self.databases[database.name]
        self._databases.add(database.number)

    def drop_database(self, name: str) -> None:
        database = self.find(name)
        for series in database.series.values():
            self._number(series.number, None)
        self.remove_database(database)
        self._version += 1

    def put_series(self, database: Database, series: Series) -> None:
        self._own_series(database)[series.name] = series
        self._number(series.number, (database.number, series))
        self._version += 1

    def rename_series(self, database: Database, series: Series, to: str) -> None:
        del self._own_series(database)[series.name]
        self.put_series(database, replace(series, name=to))

    def drop_series(self, database: Database, series: Series) -> None:
        del self._own_series(database)[series.name]
        self._number(series.number, None)
        self._version += 1

    def put_roles(self, roles: Roles, changed: Iterable[int]) -> None:
        self.roles = roles
        self._roles.update(changed)
        self._version += 1

    def applied(self) -> Applied:
        before = self._before
        if self._version == before.version:
            return Applied(before, frozenset(), frozenset())
        catalog = Catalog(
            self._version,
            self.databases,
            self.next_database,
            self.next_series,
            self.next_column,
            self.next_location,
            self.roles,
        )
        series = before.series_by_number.series if self._by_number is None else self._by_number
        # What the cached property would make of all series again.
        catalog.__dict__["series_by_number"] = SeriesByNumber(series, catalog.databases_by_number)
        return Applied(catalog, frozenset(self._series), frozenset(self._databases), frozenset(self._roles))

    def _own_series(self, database: Database) -> dict[str, Series]:
        own = self._own.get(database.number)
        if own is None:
            own = self._own[database.number] = dict(database.series)
            self.databases[database.name] = replace(database, series=own)
        return own

    def _number(self, number: int, entry: tuple[int, Series] | None) -> None:
        if self._by_number is None:
            self._by_number = dict(self._before.series_by_number.series)
        if entry is None:
            del self._by_number[number]
        else:
            self._by_number[number] = entry
        self._series.add(number)


def _apply(draft: _Draft, change: SchemaChange) -> None:
    match change:
        case CreateDatabase():
            _create_database(draft, change)
        case DropDatabase(name):
            draft.drop_database(name)
        case RenameDatabase(name, to):
            _rename_database(draft, name, to)
        case CreateSeries():
            _create_series(draft, change)
        case DropSeries(database, name):
            found = draft.find(database)
            draft.drop_series(found, found.find(name))
        case RenameSeries(database, name, to):
            _rename_series(draft, database, name, to)
        case AddColumn():
            _add_column(draft, change)
        case DropColumn(database, series, name):
            _drop_column(draft, database, series, name)
        case RenameColumn(database, series, name, to):
            _rename_column(draft, database, series, name, to)
        case AlterColumnType():
            _alter_column_type(draft, change)
        case AlterColumn():
            _alter_column(draft, change)
        case SetRetention():
            _set_retention(draft, change)
        case _:
            role_changes.apply(draft, change)


def check_name(name: str, what: str) -> None:
    if not name:
        raise InvalidName(f"a {what} needs a name")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidName(f'{what} name "{name[:40]}…" is longer than {MAX_NAME_BYTES} bytes')
    if any(ch < " " or ch == "\x7f" for ch in name):
        raise InvalidName(f"{what} name {name[:40]!r} holds a control character")


def _create_database(draft: _Draft, change: CreateDatabase) -> None:
    check_name(change.name, "database")
    if change.name in draft.databases:
        if change.if_not_exists:
            return
        raise DuplicateDatabase(f'database "{change.name}" already exists')
    locations = equal_locations(draft.next_location, LOCATIONS_PER_DATABASE)
    draft.put_database(Database(draft.next_database, change.name, {}, locations, change.owner))
    draft.next_database += 1
    draft.next_location += LOCATIONS_PER_DATABASE


def _rename_database(draft: _Draft, name: str, to: str) -> None:
    check_name(to, "database")
    found = draft.find(name)
    if to in draft.databases:
        raise DuplicateDatabase(f'database "{to}" already exists')
    draft.remove_database(found)
    draft.put_database(replace(found, name=to))


def _check_definition(column: ColumnDefinition) -> None:
    check_name(column.name, "column")
    if column.name in HIDDEN_COLUMNS:
        raise ReservedName(f'column name "{column.name}" is reserved')
    if column.name == "time" and column.role is not Role.TIME:
        raise ReservedName('column name "time" is reserved for the time of a point')


def _create_series(draft: _Draft, change: CreateSeries) -> None:
    check_name(change.name, "table")
    database = draft.find(change.database)
    if change.name in database.series:
        if change.if_not_exists:
            return
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
        Column(draft.next_column + i, d.name, d.role, d.type, d.typmod, d.not_null, d.default)
        for i, d in enumerate(change.columns)
    )
    by_name = {c.name: c.number for c in columns}
    for name in change.key:
        if name not in by_name:
            raise UndefinedColumn(f'column "{name}" named in key does not exist')
    series = Series(
        draft.next_series,
        change.name,
        columns,
        change.keyed,
        change.reference,
        change.retention_ns,
        key=tuple(by_name[name] for name in change.key),
        owner=change.owner,
    )
    draft.put_series(database, series)
    draft.next_series += 1
    draft.next_column += len(columns)


def _rename_series(draft: _Draft, database_name: str, name: str, to: str) -> None:
    check_name(to, "table")
    database = draft.find(database_name)
    found = database.find(name)
    if to in database.series:
        raise DuplicateTable(f'relation "{to}" already exists')
    draft.rename_series(database, found, to)


def _add_column(draft: _Draft, change: AddColumn) -> None:
    database = draft.find(change.database)
    series = database.find(change.series)
    definition = change.column
    _check_definition(definition)
    existing = series.by_name.get(definition.name)
    if existing is not None:
        same = existing.role is definition.role and existing.type == definition.type
        if change.if_not_exists and same:
            return
        raise DuplicateColumn(f'column "{definition.name}" of relation "{series.name}" already exists')
    if definition.role is Role.TIME:
        raise InvalidTableDefinition(f'table "{series.name}" can have only one time column')
    if len(series.columns) >= MAX_COLUMNS:
        raise TooManyColumns(f'table "{series.name}" has {MAX_COLUMNS} columns already, as many as are allowed')
    d = definition
    column = Column(draft.next_column, d.name, d.role, d.type, d.typmod, d.not_null, d.default)
    changed = replace(series, columns=(*series.columns, column))
    draft.put_series(database, changed)
    draft.next_column += 1


def _drop_column(draft: _Draft, database_name: str, series_name: str, name: str) -> None:
    database = draft.find(database_name)
    series = database.find(series_name)
    column = series.column(name)
    if column.role is not Role.FIELD:
        raise FeatureNotSupported(
            f'cannot drop column "{name}": it belongs to the key of "{series_name}"',
            hint="Tags and the time identify a point; make a new table without the column and copy what you need.",
        )
    draft.put_series(database, replace(series, columns=tuple(c for c in series.columns if c is not column)))


def _edit_column(draft: _Draft, database_name: str, series_name: str, old: Column, new: Column) -> None:
    database = draft.find(database_name)
    series = database.find(series_name)
    columns = tuple(new if c == old else c for c in series.columns)
    draft.put_series(database, replace(series, columns=columns))


def _rename_column(draft: _Draft, database: str, series_name: str, name: str, to: str) -> None:
    series = draft.find(database).find(series_name)
    old = series.column(name)
    if to in series.by_name:
        raise DuplicateColumn(f'column "{to}" of relation "{series_name}" already exists')
    _check_definition(ColumnDefinition(to, old.role, old.type))
    _edit_column(draft, database, series_name, old, replace(old, name=to))


def _alter_column_type(draft: _Draft, change: AlterColumnType) -> None:
    series = draft.find(change.database).find(change.series)
    old = series.column(change.name)
    if old.role is Role.TIME:
        raise FeatureNotSupported(f'cannot change the type of the time column "{change.name}"')
    if old.role is Role.TAG:
        if change.type.kind is not Kind.TEXT:
            raise FeatureNotSupported(f'cannot change the type of tag "{change.name}"; tags are text')
        _edit_column(draft, change.database, change.series, old, replace(old, type=change.type))
        return
    if (old.kind is Kind.BOOL) != (change.type.kind is Kind.BOOL) and Kind.TEXT not in (old.kind, change.type.kind):
        raise DatatypeMismatch(f'column "{change.name}" cannot be cast automatically to type {change.type.name}')
    if old.kind is change.type.kind:
        new = replace(old, type=change.type, typmod=change.typmod)
        _edit_column(draft, change.database, change.series, old, new)
        return
    new = replace(
        old,
        number=draft.next_column,
        type=change.type,
        typmod=change.typmod,
        former=((old.number, old.kind), *old.former),
    )
    _edit_column(draft, change.database, change.series, old, new)
    draft.next_column += 1


def _alter_column(draft: _Draft, change: AlterColumn) -> None:
    old = draft.find(change.database).find(change.series).column(change.name)
    new = old if change.not_null is None else replace(old, not_null=change.not_null)
    if change.set_default:
        new = replace(new, default=change.default)
    _edit_column(draft, change.database, change.series, old, new)


def _set_retention(draft: _Draft, change: SetRetention) -> None:
    database = draft.find(change.database)
    series = database.find(change.series)
    floors = [f for f in (series.floor_ns, change.floor_ns) if f is not None]
    floor = max(floors) if floors else None
    draft.put_series(database, replace(series, retention_ns=change.retention_ns, floor_ns=floor))


def sql_type(oid: int, kind: Kind) -> SqlType:
    """The type of a stored column: its OID and, for numeric, which of the two stored forms."""
    return UINT8 if kind is Kind.UINT8 else BY_OID[oid]


LINE_PROTOCOL_TIME = ColumnDefinition("time", Role.TIME, TIMESTAMPTZ, not_null=True)
