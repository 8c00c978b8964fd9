"""Live rows of information_schema. Types are named as PostgreSQL names them, in lower case: clients compare them.

Source: PostgreSQL 15, src/backend/catalog/information_schema.sql.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tsdb.model.catalog import Series
from tsdb.model.privileges import Privilege, grants_of
from tsdb.model.relations import SqlSequence, SqlView, name_of, passes_with_its_process, schema_of
from tsdb.model.roles import PUBLIC as EVERYBODY
from tsdb.model.roles import Role
from tsdb.sql.catalog import definitions, oids, static
from tsdb.sql.catalog.live import Fresh, Glance, live
from tsdb.sql.catalog.live_views import of_kind as all_of_kind
from tsdb.sql.catalog.live_views import owner, schema_name
from tsdb.sql.catalog.outline import Attribute, ConstraintEntry, Entry
from tsdb.sql.storage_form import numeric_precision
from tsdb.types import SqlType

INFO = "information_schema"
_TABLE_TYPES = {"r": "BASE TABLE", "v": "VIEW"}
_KINDS = ("r", "v")
_PRECISIONS = {"int2": 16, "int4": 32, "int8": 64, "float4": 24, "float8": 53}
_INTEGERS = ("int2", "int4", "int8")
_DATETIMES = {"timestamp": 6, "timestamptz": 6, "time": 6, "interval": 6, "date": 0}
_CHARACTERS = ("text", "varchar", "bpchar")
_TOAST = "pg_toast"
_OCTETS_MAX = 1_073_741_824
_CONSTRAINTS = {"p": "PRIMARY KEY", "u": "UNIQUE", "f": "FOREIGN KEY", "c": "CHECK"}


def catalog_name(_: object, glance: Glance) -> str:
    return glance.outline.database.name


def _yes(value: bool) -> str:
    return "YES" if value else "NO"


def _is_seen(entry: Entry, glance: Glance) -> bool:
    """Whether it is not another session's temporary relation."""
    return not oids.is_temporary(entry.namespace) or entry.namespace == glance.outline.own_temporary


def of_kind(glance: Glance, *kinds: str) -> list[Entry]:
    return [e for e in all_of_kind(glance, *kinds) if _is_seen(e, glance)]


def _constraints(glance: Glance) -> list[ConstraintEntry]:
    return [c for c in glance.outline.constraints if _is_seen(c.table, glance)]


def _table_type(entry: Entry, glance: Glance) -> str:
    return "LOCAL TEMPORARY" if oids.is_temporary(entry.namespace) else _TABLE_TYPES[entry.kind]


# --- tables, views, columns ---


@live(INFO, "tables", {
    "table_catalog": catalog_name, "table_schema": schema_name, "table_name": lambda e, m: e.name,
    "table_type": _table_type, "is_insertable_into": lambda e, m: _yes(e.kind == "r"),
    "is_typed": "NO",
})  # fmt: skip
def tables(glance: Glance) -> Sequence[Entry]:
    return of_kind(glance, *_KINDS)


@live(INFO, "views", {
    "table_catalog": catalog_name, "table_schema": schema_name, "table_name": lambda e, m: e.name,
    "view_definition": Fresh(lambda e, m: definitions.view_definition(m, e.oid)), "check_option": "NONE",
    "is_updatable": "NO", "is_insertable_into": "NO", "is_trigger_updatable": "NO", "is_trigger_deletable": "NO",
    "is_trigger_insertable_into": "NO",
})  # fmt: skip
def views(glance: Glance) -> Sequence[Entry]:
    return of_kind(glance, "v")


@dataclass(frozen=True)
class Column:
    table: Entry
    of: Attribute

    @cached_property
    def type(self) -> SqlType:
        return self.of.type

    @property
    def typname(self) -> str:
        return self.type.typname

    @property
    def numeric_precision(self) -> int | None:
        if self.typname == "numeric":
            return numeric_precision(self.of.typmod)[0] if self.of.typmod >= 0 else None
        return _PRECISIONS.get(self.typname)

    @property
    def numeric_scale(self) -> int | None:
        if self.typname == "numeric":
            return numeric_precision(self.of.typmod)[1] if self.of.typmod >= 0 else None
        return 0 if self.typname in _INTEGERS else None

    @property
    def length(self) -> int | None:
        return self.of.typmod - 4 if self.typname in ("varchar", "bpchar") and self.of.typmod >= 0 else None

    @property
    def octets(self) -> int | None:
        if self.typname not in _CHARACTERS:
            return None
        return _OCTETS_MAX if self.length is None else min(4 * self.length, _OCTETS_MAX)

    @property
    def datetime_precision(self) -> int | None:
        default = _DATETIMES.get(self.typname)
        return self.of.typmod if default and self.of.typmod >= 0 else default


def data_type(sql_type: SqlType) -> str:
    """ARRAY, USER-DEFINED, or format_type without a modifier."""
    if sql_type.element is not None and not sql_type.vector:
        return "ARRAY"
    return "USER-DEFINED" if sql_type.labels is not None else sql_type.name


def _udt_schema(sql_type: SqlType) -> str:
    plain = sql_type.element or sql_type
    return "pg_catalog" if plain.labels is None else schema_of(plain.typname)


def _udt_name(sql_type: SqlType) -> str:
    plain = sql_type.element or sql_type
    if plain.labels is None:
        return sql_type.typname
    return name_of(plain.typname) if plain is sql_type else "_" + name_of(plain.typname)


@live(INFO, "columns", {
    "table_catalog": catalog_name, "table_schema": lambda c, m: schema_name(c.table, m),
    "table_name": lambda c, m: c.table.name, "column_name": lambda c, m: c.of.name,
    "ordinal_position": lambda c, m: c.of.number, "column_default": lambda c, m: definitions.default_text(m, c.of),
    "is_nullable": lambda c, m: _yes(not c.of.not_null), "data_type": lambda c, m: data_type(c.type),
    "character_maximum_length": lambda c, m: c.length, "character_octet_length": lambda c, m: c.octets,
    "numeric_precision": lambda c, m: c.numeric_precision,
    "numeric_precision_radix": lambda c, m: 10 if c.typname == "numeric" else 2 if c.typname in _PRECISIONS else None,
    "numeric_scale": lambda c, m: c.numeric_scale, "datetime_precision": lambda c, m: c.datetime_precision,
    "udt_catalog": catalog_name, "udt_schema": lambda c, m: _udt_schema(c.type),
    "udt_name": lambda c, m: _udt_name(c.type),
    "dtd_identifier": lambda c, m: str(c.of.number), "is_self_referencing": "NO",
    "is_identity": lambda c, m: _yes(bool(c.of.identity)),
    "identity_generation": lambda c, m: {"a": "ALWAYS", "d": "BY DEFAULT"}.get(c.of.identity),
    "identity_cycle": "NO", "is_generated": "NEVER", "is_updatable": lambda c, m: _yes(c.table.kind == "r"),
})  # fmt: skip
def columns(glance: Glance) -> Sequence[Column]:
    return [Column(e, a) for e in of_kind(glance, *_KINDS) for a in e.attributes]


@live(INFO, "element_types", {
    "object_catalog": catalog_name, "object_schema": lambda c, m: schema_name(c.table, m),
    "object_name": lambda c, m: c.table.name, "object_type": lambda c, m: _TABLE_TYPES[c.table.kind].split()[-1],
    "collection_type_identifier": lambda c, m: str(c.of.number), "data_type": lambda c, m: data_type(c.type.element),
    "udt_catalog": catalog_name, "udt_schema": lambda c, m: _udt_schema(c.type.element),
    "udt_name": lambda c, m: _udt_name(c.type.element),
    "dtd_identifier": lambda c, m: f"a{c.of.number}",
})  # fmt: skip
def element_types(glance: Glance) -> Sequence[Column]:
    return [c for c in columns(glance) if c.type.element is not None]


# --- schemas, sequences, roles ---


@live(INFO, "schemata", {
    "catalog_name": catalog_name, "schema_name": lambda n, m: n, "schema_owner": lambda n, m: _schema_owner(n, m),
})  # fmt: skip
def schemata(glance: Glance) -> Sequence[str]:
    """Without those of temporary relations, which belong to the first role: nobody else sees them in PostgreSQL."""
    return [n for n in glance.outline.namespaces if not passes_with_its_process(n) and n != _TOAST]


def _schema_owner(name: str, glance: Glance) -> str:
    found = glance.outline.database.namespaces.get(name)
    return glance.role_name(10 if found is None else found.owner)


@live(INFO, "sequences", {
    "sequence_catalog": catalog_name, "sequence_schema": schema_name, "sequence_name": lambda e, m: e.name,
    "data_type": lambda e, m: e.model.options.type.name,
    "numeric_precision": lambda e, m: _PRECISIONS[e.model.options.type.typname], "numeric_precision_radix": 2,
    "numeric_scale": 0, "start_value": lambda e, m: str(e.model.options.start),
    "minimum_value": lambda e, m: str(e.model.options.minimum),
    "maximum_value": lambda e, m: str(e.model.options.maximum),
    "increment": lambda e, m: str(e.model.options.increment), "cycle_option": lambda e, m: _yes(e.model.options.cycle),
})  # fmt: skip
def sequences(glance: Glance) -> Sequence[Entry]:
    """Without those of identity columns, which are parts of their columns."""
    return [e for e in of_kind(glance, "S") if not _is_of_identity(e, glance)]


def _is_of_identity(entry: Entry, glance: Glance) -> bool:
    assert isinstance(entry.model, SqlSequence)
    table = glance.outline.database.by_identity.get(entry.model.series)
    columns = table.columns if isinstance(table, Series) else ()
    return any(c.number == entry.model.column and c.identity for c in columns)


@live(INFO, "information_schema_catalog_name", {"catalog_name": catalog_name})
def this_catalog(glance: Glance) -> Sequence[int]:
    return (0,)


@live(INFO, "enabled_roles", {"role_name": lambda r, m: r.name})
def enabled_roles(glance: Glance) -> Sequence[Role]:
    return list(glance.outline.catalog.roles)


@live(INFO, "character_sets", {
    "character_set_name": "UTF8", "character_repertoire": "UCS", "form_of_use": "UTF8",
    "default_collate_catalog": catalog_name, "default_collate_schema": "pg_catalog", "default_collate_name": "C.UTF-8",
})  # fmt: skip
def character_sets(glance: Glance) -> Sequence[int]:
    return (0,)


@live(INFO, "collations", {
    "collation_catalog": catalog_name, "collation_schema": "pg_catalog", "collation_name": lambda n, m: n,
    "pad_attribute": "NO PAD",
})  # fmt: skip
def collations(glance: Glance) -> Sequence[str]:
    return [name for (name,) in static.values("pg_collation", "collname")]


# --- constraints ---


@live(INFO, "table_constraints", {
    "constraint_catalog": catalog_name, "constraint_schema": lambda c, m: schema_name(c.table, m),
    "constraint_name": lambda c, m: c.name, "table_catalog": catalog_name,
    "table_schema": lambda c, m: schema_name(c.table, m), "table_name": lambda c, m: c.table.name,
    "constraint_type": lambda c, m: _CONSTRAINTS[c.kind], "is_deferrable": "NO", "initially_deferred": "NO",
    "enforced": "YES",
})  # fmt: skip
def table_constraints(glance: Glance) -> Sequence[ConstraintEntry | NotNull]:
    return [*(c for c in _constraints(glance) if c.kind in _CONSTRAINTS), *_not_null(glance)]


@dataclass(frozen=True, slots=True)
class NotNull:
    """A column's NOT NULL, which information_schema shows as a CHECK; its name is made of numbers."""

    table: Entry
    column: Attribute
    kind: str = "c"

    @property
    def name(self) -> str:
        return f"{self.table.namespace}_{self.table.oid}_{self.column.number}_not_null"


def _not_null(glance: Glance) -> list[NotNull]:
    return [NotNull(e, a) for e in of_kind(glance, "r") for a in e.attributes if a.not_null]


@dataclass(frozen=True, slots=True)
class KeyColumn:
    constraint: ConstraintEntry
    table: Entry
    place: int
    number: int

    @property
    def column(self) -> str:
        return self.table.attributes[self.number - 1].name


@live(INFO, "key_column_usage", {
    "constraint_catalog": catalog_name, "constraint_schema": lambda k, m: schema_name(k.table, m),
    "constraint_name": lambda k, m: k.constraint.name, "table_catalog": catalog_name,
    "table_schema": lambda k, m: schema_name(k.table, m), "table_name": lambda k, m: k.table.name,
    "column_name": lambda k, m: k.column, "ordinal_position": lambda k, m: k.place,
    "position_in_unique_constraint": lambda k, m: k.place if k.constraint.kind == "f" else None,
})  # fmt: skip
def key_column_usage(glance: Glance) -> Sequence[KeyColumn]:
    return [
        KeyColumn(c, c.table, i + 1, number)
        for c in _constraints(glance)
        if c.kind in "puf"
        for i, number in enumerate(c.columns)
    ]


@live(INFO, "constraint_column_usage", {
    "table_catalog": catalog_name, "table_schema": lambda k, m: schema_name(k.table, m),
    "table_name": lambda k, m: k.table.name, "column_name": lambda k, m: k.column,
    "constraint_catalog": catalog_name, "constraint_schema": lambda k, m: schema_name(k.constraint.table, m),
    "constraint_name": lambda k, m: k.constraint.name,
})  # fmt: skip
def constraint_column_usage(glance: Glance) -> Sequence[KeyColumn]:
    """The columns a constraint is about: a foreign key's are those it refers to."""
    used: list[KeyColumn] = []
    for c in _constraints(glance):
        table = glance.outline.by_oid.get(c.references) if c.kind == "f" else c.table
        numbers = c.reference_columns if c.kind == "f" else c.columns
        if table is not None:
            used += [KeyColumn(c, table, i + 1, n) for i, n in enumerate(numbers) if n]
    return used


_RULES = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


def _referred_key(c: ConstraintEntry, glance: Glance) -> str | None:
    keys = (k for k in _constraints(glance) if k.table.oid == c.references and k.kind in "pu")
    return next((k.name for k in keys if set(k.columns) == set(c.reference_columns)), None)


@live(INFO, "referential_constraints", {
    "constraint_catalog": catalog_name, "constraint_schema": lambda c, m: schema_name(c.table, m),
    "constraint_name": lambda c, m: c.name, "unique_constraint_catalog": catalog_name,
    "unique_constraint_schema": lambda c, m: schema_name(c.table, m), "unique_constraint_name": _referred_key,
    "match_option": lambda c, m: "FULL" if c.model.match == "f" else "NONE",
    "update_rule": lambda c, m: _RULES[c.model.on_update], "delete_rule": lambda c, m: _RULES[c.model.on_delete],
})  # fmt: skip
def referential_constraints(glance: Glance) -> Sequence[ConstraintEntry]:
    return [c for c in _constraints(glance) if c.kind == "f"]


@live(INFO, "check_constraints", {
    "constraint_catalog": catalog_name, "constraint_schema": lambda c, m: schema_name(c.table, m),
    "constraint_name": lambda c, m: c.name, "check_clause": lambda c, m: _clause(c, m),
})  # fmt: skip
def check_constraints(glance: Glance) -> Sequence[ConstraintEntry | NotNull]:
    return [*(c for c in _constraints(glance) if c.kind == "c"), *_not_null(glance)]


def _clause(c: ConstraintEntry | NotNull, glance: Glance) -> str:
    return f"{c.column.name} IS NOT NULL" if isinstance(c, NotNull) else f"({definitions.check_text(glance, c)})"


# --- privileges ---


@dataclass(frozen=True, slots=True)
class Granted:
    table: Entry
    grantee: str
    privilege: str
    grantable: bool


_GRANTED = {
    "grantor": lambda g, m: owner(g.table, m), "grantee": lambda g, m: g.grantee, "table_catalog": catalog_name,
    "table_schema": lambda g, m: schema_name(g.table, m), "table_name": lambda g, m: g.table.name,
    "privilege_type": lambda g, m: g.privilege, "is_grantable": lambda g, m: _yes(g.grantable),
    "with_hierarchy": lambda g, m: _yes(g.privilege == "SELECT"),
}  # fmt: skip


@live(INFO, "table_privileges", _GRANTED)
def table_privileges(glance: Glance) -> Sequence[Granted]:
    rows: list[Granted] = []
    for e in of_kind(glance, "r", "v"):
        for grant in grants_of(e.model):
            grantee = "PUBLIC" if grant.grantee == EVERYBODY else glance.role_name(grant.grantee)
            own = grant.grantee == e.owner
            rows += [Granted(e, grantee, str(p.name), own) for p in Privilege if p and p & grant.privileges]
    return rows


@live(INFO, "role_table_grants", _GRANTED)
def role_table_grants(glance: Glance) -> Sequence[Granted]:
    return table_privileges(glance)


@live(INFO, "view_table_usage", {
    "view_catalog": catalog_name, "view_schema": lambda u, m: u[0].schema, "view_name": lambda u, m: u[0].name,
    "table_catalog": catalog_name, "table_schema": lambda u, m: u[1].schema, "table_name": lambda u, m: u[1].name,
})  # fmt: skip
def view_table_usage(glance: Glance) -> Sequence[tuple[SqlView, Any]]:
    found = glance.outline.database.views.values()
    return [(v, use) for v in found for use in v.definition.uses]
