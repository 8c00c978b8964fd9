"""A catalog in the making: what the functions that carry out changes work on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tsdb.errors import DuplicateTable, InvalidName, InvalidSchemaName
from tsdb.model.catalog import Catalog, Database, Relation, Series, SeriesByNumber, find_database
from tsdb.model.enums import EnumType
from tsdb.model.relations import (
    PUBLIC,
    Namespace,
    SqlSequence,
    SqlView,
    name_of,
    passes_with_its_process,
    path_of,
    schema_of,
)
from tsdb.model.roles import Roles

MAX_NAME_BYTES = 255
_KINDS: dict[type[Relation], str] = {Series: "series", SqlView: "views", SqlSequence: "sequences"}


@dataclass(frozen=True, slots=True)
class Applied:
    """A catalog after some changes, and what they touched: the numbers of series, databases and roles, and
    views and sequences by number with the number of their database (None: dropped).

    A database is not changed by what happens to its relations.
    """

    catalog: Catalog
    series: frozenset[int]
    databases: frozenset[int]
    roles: frozenset[int] = frozenset()
    views: Mapping[int, tuple[int, SqlView] | None] = field(default_factory=dict)
    sequences: Mapping[int, tuple[int, SqlSequence] | None] = field(default_factory=dict)


class Draft:
    """A mapping is copied when the first change touches it, and not for every change.

    What is written is known by number: series and databases as sets, views and sequences with what they are now.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._before = catalog
        self._version = catalog.version
        self.databases = dict(catalog.databases)
        self.next_database = catalog.next_database
        self.next_series = catalog.next_series
        self.next_column = catalog.next_column
        self.next_location = catalog.next_location
        self.roles = catalog.roles
        self._own: set[tuple[int, str]] = set()
        self._by_number: dict[int, tuple[int, Series]] | None = None
        self._series: set[int] = set()
        self._databases: set[int] = set()
        self._roles: set[int] = set()
        self._views: dict[int, tuple[int, SqlView] | None] = {}
        self._sequences: dict[int, tuple[int, SqlSequence] | None] = {}

    def find(self, name: str) -> Database:
        return find_database(self.databases, name)

    def relation_number(self) -> int:
        """A number that no series, view, sequence, index, constraint or namespace has had."""
        self.next_series += 1
        return self.next_series - 1

    def column_numbers(self, count: int) -> int:
        """The first of ``count`` new numbers."""
        self.next_column += count
        return self.next_column - count

    # --- databases ---

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
        self._views.update(dict.fromkeys((v.number for v in database.views.values()), None))
        self._sequences.update(dict.fromkeys((s.number for s in database.sequences.values()), None))
        self.remove_database(database)
        kept = tuple(each for each in self.roles.settings if each.database != database.number)
        if len(kept) < len(self.roles.settings):
            self.roles = replace(self.roles, settings=kept)
        self._version += 1

    def put_namespaces(self, database: Database, namespaces: Mapping[str, Namespace]) -> None:
        self.put_database(replace(self.find(database.name), namespaces=namespaces))

    def put_types(self, database: Database, types: Mapping[str, EnumType]) -> None:
        self.put_database(replace(self.find(database.name), types=types))

    # --- relations ---

    def check_free(self, database: Database, path: str) -> None:
        """Raises DuplicateTable where a relation has the name, InvalidSchemaName where its schema is not there."""
        schema = schema_of(path)
        if schema != PUBLIC and schema not in database.namespaces and not passes_with_its_process(schema):
            raise InvalidSchemaName(f'schema "{schema}" does not exist')
        if database.relation(path) is not None:
            raise DuplicateTable(f'relation "{name_of(path)}" already exists')

    def put_series(self, database: Database, series: Series) -> None:
        self._mapping(database, "series")[series.path] = series
        self._number(series.number, (database.number, series))
        self._version += 1

    def drop_series(self, database: Database, series: Series) -> None:
        del self._mapping(database, "series")[series.path]
        self._number(series.number, None)
        self._version += 1

    def put_view(self, database: Database, view: SqlView) -> None:
        self._mapping(database, "views")[view.path] = view
        self._views[view.number] = (database.number, view)
        self._version += 1

    def drop_view(self, database: Database, view: SqlView) -> None:
        del self._mapping(database, "views")[view.path]
        self._views[view.number] = None
        self._version += 1

    def put_sequence(self, database: Database, sequence: SqlSequence) -> None:
        self._mapping(database, "sequences")[sequence.path] = sequence
        self._sequences[sequence.number] = (database.number, sequence)
        self._version += 1

    def put(self, database: Database, relation: Relation) -> None:
        if isinstance(relation, Series):
            self.put_series(database, relation)
        elif isinstance(relation, SqlView):
            self.put_view(database, relation)
        else:
            self.put_sequence(database, relation)

    def drop_sequence(self, database: Database, sequence: SqlSequence) -> None:
        del self._mapping(database, "sequences")[sequence.path]
        self._sequences[sequence.number] = None
        self._version += 1

    def rename(self, database: Database, relation: Relation, schema: str, name: str) -> None:
        """Give a relation another path, which must be free."""
        check_name(name, "table")
        self.check_free(self.find(database.name), path_of(schema, name))
        del self._mapping(database, _KINDS[type(relation)])[relation.path]
        self.put(database, replace(relation, schema=schema, name=name))

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
        return Applied(
            catalog,
            frozenset(self._series),
            frozenset(self._databases),
            frozenset(self._roles),
            self._views,
            self._sequences,
        )

    def _mapping(self, database: Database, what: str) -> dict[str, Relation]:
        """A database's mapping of series, views or sequences, copied before its first change."""
        now = self.databases[database.name]
        if (now.number, what) not in self._own:
            self._own.add((now.number, what))
            copied: dict[str, Any] = {what: dict(getattr(now, what))}
            now = replace(now, **copied)
        else:
            now = replace(now)
        # Replaced each time, so that what the database has cached of its mappings is forgotten.
        self.databases[database.name] = now
        mapping: dict[str, Relation] = getattr(now, what)
        return mapping

    def _number(self, number: int, entry: tuple[int, Series] | None) -> None:
        if self._by_number is None:
            self._by_number = dict(self._before.series_by_number.series)
        if entry is None:
            del self._by_number[number]
        else:
            self._by_number[number] = entry
        self._series.add(number)


def check_name(name: str, what: str) -> None:
    if not name:
        raise InvalidName(f"a {what} needs a name")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidName(f'{what} name "{name[:40]}…" is longer than {MAX_NAME_BYTES} bytes')
    if any(ch < " " or ch == "\x7f" for ch in name):
        raise InvalidName(f"{what} name {name[:40]!r} holds a control character")


def unused(taken: Iterable[str], *parts: str) -> str:
    """PostgreSQL's name for what got none: its parts joined, with a number when that is taken (ChooseRelationName)."""
    names = set(taken)
    wanted = "_".join(part for part in parts if part)
    while len(wanted.encode()) > MAX_NAME_BYTES - 8:
        wanted = wanted[: MAX_NAME_BYTES // 5]
    found, number = wanted, 0
    while found in names:
        number += 1
        found = f"{wanted}{number}"
    return found
