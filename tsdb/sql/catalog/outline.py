"""Our catalog as PostgreSQL would describe it: one entry for each relation, column, index and constraint of a database.

Made once for a catalog and a database, and kept with the arrays that were made of it. Rows that belong to the system
itself are not here (``static``).
"""

from __future__ import annotations

import copy
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tsdb.model import privileges
from tsdb.model.catalog import Catalog, Column, Database, Relation, Series
from tsdb.model.relations import PUBLIC, TEMPORARY, Constraint, Index, IndexKey, SqlSequence, SqlView, ViewColumn
from tsdb.sql.catalog import oids, own_views, static
from tsdb.types import UINT8, SqlType

_KEPT = 4
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_UINT8_TYPMOD = (20 << 16) + 4


@dataclass(frozen=True, slots=True)
class Attribute:
    """A column of a relation: a row of pg_attribute."""

    relation: int
    number: int
    name: str
    type: SqlType
    typmod: int
    not_null: bool = False
    default: str | None = None  # As it was written.
    default_oid: int = 0
    identity: str = ""
    comment: str | None = None
    sequence: int = 0  # The OID of the one that its default counts.


@dataclass(frozen=True, slots=True)
class Entry:
    """A relation: a row of pg_class. ``model`` is what it was made of (an index: its table's)."""

    oid: int
    name: str
    namespace: int
    kind: str
    model: Relation
    attributes: tuple[Attribute, ...] = ()
    row_type: int = 0
    array_type: int = 0
    has_index: bool = False
    checks: int = 0
    comment: str | None = None

    @property
    def owner(self) -> int:
        return self.model.owner


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A row of pg_index. ``columns`` are attribute numbers (0: an expression)."""

    oid: int
    table: Entry
    name: str
    columns: tuple[int, ...]
    unique: bool
    primary: bool
    method: str = "btree"
    keys: tuple[IndexKey, ...] = ()
    included: tuple[int, ...] = ()
    where: str = ""
    comment: str | None = None
    constraint: bool = False
    nulls_equal: bool = False


@dataclass(frozen=True, slots=True)
class ConstraintEntry:
    """A row of pg_constraint: ``kind`` p, u, c, f or x."""

    oid: int
    name: str
    kind: str
    table: Entry
    columns: tuple[int, ...]
    index: int = 0
    model: Constraint | None = None

    @property
    def validated(self) -> bool:
        return self.model is None or self.model.validated

    references: int = 0
    reference_columns: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outline:
    """One database of a catalog. ``kept`` are arrays made of it; ``path`` are the namespaces that a name without one
    is looked for in, in their order."""

    catalog: Catalog
    database: Database
    kept: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False)
    path: tuple[int, ...] = (oids.PG_CATALOG, oids.PUBLIC)

    def seen_from(self, path: tuple[int, ...]) -> Outline:
        """The same under another search path: all that was made of it is shared, since nothing of it knows the path."""
        if path == self.path:
            return self
        other = copy.copy(self)
        object.__setattr__(other, "path", path)
        return other

    @cached_property
    def namespaces(self) -> Mapping[str, int]:
        """The OIDs of all namespaces by name."""
        named = {name: oid for oid, name in static.values("pg_namespace", "oid", "nspname")}
        ours = {n.name: oids.of(n.number) for n in self.database.namespaces.values() if n.name != PUBLIC}
        return {**named, own_views.SCHEMA: oids.of(own_views.namespace().number), **ours, **self.temporary}

    @cached_property
    def temporary(self) -> Mapping[str, int]:
        """The schemas of sessions' temporary relations, as long as there are some in them."""
        of = self.database
        schemas = {r.schema for each in (of.series, of.views, of.sequences) for r in each.values()}
        return {s: oids.of(oids.temporary_number(s)) for s in sorted(schemas) if s.startswith(TEMPORARY)}

    @property
    def own_temporary(self) -> int:
        """The namespace of temporary relations that the path begins with; 0 for none."""
        return self.path[0] if self.path and oids.is_temporary(self.path[0]) else 0

    @cached_property
    def namespace_names(self) -> Mapping[int, str]:
        return {oid: name for name, oid in self.namespaces.items()}

    @cached_property
    def tables(self) -> Sequence[Entry]:
        """Tables and materialized views, views, sequences."""
        return [
            *(self._of_series(s) for s in self.database.series.values() if s.schema in self.namespaces),
            *(self._of_view(v) for v in self.database.views.values() if v.schema in self.namespaces),
            *(self._of_view(v) for v in own_views.views()),
            *(self._of_sequence(s) for s in self.database.sequences.values() if s.schema in self.namespaces),
        ]

    @cached_property
    def by_oid(self) -> Mapping[int, Entry]:
        return {e.oid: e for e in self.relations}

    @cached_property
    def indexes(self) -> Sequence[IndexEntry]:
        return [index for entry in self.tables for index in _indexes(entry)]

    @cached_property
    def index_by_oid(self) -> Mapping[int, IndexEntry]:
        return {i.oid: i for i in self.indexes}

    @cached_property
    def constraints(self) -> Sequence[ConstraintEntry]:
        return [c for entry in self.tables for c in self._constraints(entry)]

    @cached_property
    def constraint_by_oid(self) -> Mapping[int, ConstraintEntry]:
        return {c.oid: c for c in self.constraints}

    @cached_property
    def with_triggers(self) -> frozenset[int]:
        """The tables that a foreign key is of, or refers to: PostgreSQL keeps it by triggers, and psql and pg_dump look
        for it where there are some."""
        found = [c for c in self.constraints if c.kind == "f"]
        return frozenset(oid for c in found for oid in (c.table.oid, c.references))

    @cached_property
    def relations(self) -> Sequence[Entry]:
        """All rows of pg_class: tables and their indexes."""
        return [*self.tables, *(_index_relation(i) for i in self.indexes)]

    @cached_property
    def attributes(self) -> Sequence[Attribute]:
        return [a for e in self.relations for a in e.attributes]

    @cached_property
    def by_name(self) -> Mapping[tuple[int, str], int]:
        """The OIDs of all relations, the system's too, by namespace and name."""
        ours = {(e.namespace, e.name): e.oid for e in self.relations}
        return {**_system_relations(), **ours}

    @cached_property
    def names(self) -> Mapping[int, tuple[int, str]]:
        """Namespace and name of each relation by its OID."""
        return {oid: key for key, oid in self.by_name.items()}

    def _of_series(self, series: Series) -> Entry:
        oid = oids.of(series.identity)
        return Entry(
            oid, series.name, self.namespaces[series.schema], "r" if series.definition is None else "m", series,
            tuple(self._attribute(oid, i + 1, c, series) for i, c in enumerate(series.columns)),
            oids.row_type(series.identity), oids.array_type(series.identity),
            bool(_key(series) or series.indexes or any(c.kind in "pu" for c in series.constraints)),
            sum(c.kind == "c" for c in series.constraints), series.comment,
        )  # fmt: skip

    def _attribute(self, relation: int, number: int, column: Column, series: Series) -> Attribute:
        typmod = _UINT8_TYPMOD if column.type == UINT8 else column.typmod
        default = column.default
        counted = self.database.sequence_by_number.get(column.sequence)
        sequence = 0
        if default is None and counted is not None and not column.identity:
            default, sequence = "nextval()", oids.of(counted.number)
        return Attribute(
            relation, number, column.name, column.type, typmod,
            column.not_null or column.number in series.key or column is series.time, default,
            oids.default(column.number) if default is not None else 0, column.identity, column.comment, sequence,
        )  # fmt: skip

    def _of_view(self, view: SqlView) -> Entry:
        oid = oids.of(view.number)
        attributes = tuple(_view_attribute(oid, i + 1, c) for i, c in enumerate(view.columns))
        return Entry(
            oid, view.name, self.namespaces[view.schema], "v", view, attributes,
            oids.row_type(view.number), oids.array_type(view.number), comment=view.comment,
        )  # fmt: skip

    def _of_sequence(self, sequence: SqlSequence) -> Entry:
        return Entry(
            oids.of(sequence.number), sequence.name, self.namespaces[sequence.schema], "S", sequence,
            comment=sequence.comment,
        )  # fmt: skip

    def _constraints(self, entry: Entry) -> Iterator[ConstraintEntry]:
        series = entry.model
        if not isinstance(series, Series):
            return
        if _key(series):
            number = series.identity
            columns = _positions(series, _key(series))
            name = key_name(series)
            yield ConstraintEntry(oids.key_constraint(number), name, "p", entry, columns, oids.key_index(number))
        for c in series.constraints:
            referred = self.database.by_identity.get(c.references)
            their = _positions(referred, c.reference_columns) if isinstance(referred, Series) else ()
            index = oids.key_index(c.number) if c.kind in "pu" else 0
            references = oids.of(c.references) if c.references else 0
            columns = _positions(series, c.columns)
            yield ConstraintEntry(oids.of(c.number), c.name, c.kind, entry, columns, index, c, references, their)

    def privileges(self, role: int, entry: Entry) -> privileges.Privilege:
        return privileges.privileges_of(self.catalog.roles, role, entry.model)


def quote_ident(name: str) -> str:
    """An identifier as SQL needs it written (quote_ident): words of the language go into quotes."""
    plain = _PLAIN.fullmatch(name) is not None and name not in static.reserved_words()
    return name if plain else '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def qualified(schema: str, name: str) -> str:
    """A name as regclass prints it: with its schema when the search path does not find it."""
    if schema in (PUBLIC, static.PG_CATALOG):
        return quote_ident(name)
    return f"{quote_ident(schema)}.{quote_ident(name)}"


def key_name(series: Series) -> str:
    return series.key_name or f"{series.name}_pkey"


def _key(series: Series) -> tuple[int, ...]:
    """The PRIMARY KEY's columns; a series made by line protocol has all tags and the time."""
    if series.key or not series.keyed:
        return series.key
    time = (series.time.number,) if series.time is not None else ()
    return (*(t.number for t in series.tags), *time)


def _positions(series: Series, numbers: Sequence[int]) -> tuple[int, ...]:
    places = {c.number: i + 1 for i, c in enumerate(series.columns)}
    return tuple(places.get(n, 0) for n in numbers)


def _view_attribute(relation: int, number: int, column: ViewColumn) -> Attribute:
    return Attribute(relation, number, column.name, column.type, column.typmod, comment=column.comment)


def _indexes(entry: Entry) -> Iterator[IndexEntry]:
    series = entry.model
    if not isinstance(series, Series):
        return
    if key := _key(series):
        oid = oids.key_index(series.identity)
        yield IndexEntry(oid, entry, key_name(series), _positions(series, key), True, True, constraint=True)
    for c in series.constraints:
        if c.kind in "pu":
            oid, columns = oids.key_index(c.number), _positions(series, c.columns)
            yield IndexEntry(
                oid, entry, c.name, columns, True, c.kind == "p", constraint=True, nulls_equal=c.nulls_equal
            )
    for i in series.indexes:
        yield _declared_index(entry, series, i)


def _declared_index(entry: Entry, series: Series, index: Index) -> IndexEntry:
    columns = _positions(series, [k.column for k in index.keys])
    included = _positions(series, index.included)
    return IndexEntry(
        oids.of(index.number), entry, index.name, columns, index.unique, False, index.method, index.keys, included,
        index.where, index.comment, nulls_equal=index.nulls_equal,
    )  # fmt: skip


def _index_relation(index: IndexEntry) -> Entry:
    table = index.table
    columns = [table.attributes[n - 1] for n in (*index.columns, *index.included) if n]
    attributes = tuple(Attribute(index.oid, i + 1, a.name, a.type, a.typmod) for i, a in enumerate(columns))
    return Entry(index.oid, index.name, table.namespace, "i", table.model, attributes, comment=index.comment)


def _system_relations() -> Mapping[tuple[int, str], int]:
    rows = static.values("pg_class", "relnamespace", "relname", "oid")
    return {(namespace, name): oid for namespace, name, oid in rows}


_lock = threading.Lock()
_outlines: OrderedDict[tuple[int, int], Outline] = OrderedDict()


def outline_of(catalog: Catalog, database: str) -> Outline:
    """The outline of a database; the last few are kept, with what was made of them."""
    found = catalog.find(database)
    key = (id(catalog), found.number)
    with _lock:
        outline = _outlines.get(key)
        if outline is None or outline.catalog is not catalog:
            outline = _outlines[key] = Outline(catalog, found)
        _outlines.move_to_end(key)
        while len(_outlines) > _KEPT:
            _outlines.popitem(last=False)
    return outline
