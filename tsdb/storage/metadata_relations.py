"""Metadata of what a database has beside series: records of views, sequences, namespaces, types, constraints, indexes.

They are parts of the records of ``metadata``: msgpack arrays that only grow. Diagram: docs/format/metadata.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tsdb.model.continuous import Continuous
from tsdb.model.enums import EnumLabel, EnumType
from tsdb.model.privileges import Grant, Privilege
from tsdb.model.relations import (
    Constraint,
    Definition,
    Index,
    IndexKey,
    Namespace,
    SequenceOptions,
    SqlSequence,
    SqlView,
    Use,
    ViewColumn,
)
from tsdb.model.roles import FIRST
from tsdb.types import BY_OID, UINT8, Kind, SqlType

Grants = list[tuple[int, int]] | None


class NamespaceRecord(msgspec.Struct, array_like=True):
    number: int
    name: str
    comment: str | None
    owner: int
    grants: Grants


class TypeRecord(msgspec.Struct, array_like=True):
    number: int
    schema: str
    name: str
    labels: list[tuple[int, str, float]]
    comment: str | None
    owner: int
    grants: Grants


class UseRecord(msgspec.Struct, array_like=True):
    relation: int
    schema: str
    name: str
    columns: list[tuple[int, str]]


class ContinuousRecord(msgspec.Struct, array_like=True):
    months: int
    width_us: int
    origin_us: int
    offset_us: int
    zone: str
    lag_ns: int
    every_ns: int
    stored_only: bool


class DefinitionRecord(msgspec.Struct, array_like=True):
    text: str
    uses: list[UseRecord]
    time_zone: str
    continuous: ContinuousRecord | None = None


class ConstraintRecord(msgspec.Struct, array_like=True):
    number: int
    name: str
    kind: str
    columns: list[int]
    text: str
    references: int
    reference_columns: list[int]
    on_update: str
    on_delete: str
    match: str
    comment: str | None
    validated: bool = True
    names: list[str] = []
    nulls_equal: bool = False


class IndexRecord(msgspec.Struct, array_like=True):
    number: int
    name: str
    unique: bool
    method: str
    keys: list[tuple[int, str, bool, bool]]
    included: list[int]
    where: str
    comment: str | None
    nulls_equal: bool = False


class ViewRecord(msgspec.Struct, array_like=True):
    database: int
    schema: str
    name: str
    definition: DefinitionRecord
    columns: list[tuple[str, int, int, int, str | None]]
    comment: str | None
    owner: int = FIRST
    grants: Grants = None


class SequenceRecord(msgspec.Struct, array_like=True):
    database: int
    schema: str
    name: str
    type_oid: int
    start: int
    increment: int
    minimum: int
    maximum: int
    cycle: bool
    series: int
    column: int
    comment: str | None
    owner: int = FIRST
    grants: Grants = None


def sql_type(oid: int, kind: int, own: Mapping[int, SqlType]) -> SqlType:
    """Type and kind together name a type: numeric has two stored forms; ``own`` are the database's types. Raises
    KeyError, ValueError."""
    return UINT8 if Kind(kind) is Kind.UINT8 else BY_OID.get(oid) or own[oid]


def packed_grants(grants: tuple[Grant, ...] | None) -> Grants:
    return None if grants is None else [(grant.grantee, int(grant.privileges)) for grant in grants]


def grants_of(grants: Grants) -> tuple[Grant, ...] | None:
    return None if grants is None else tuple(Grant(role, Privilege(bits)) for role, bits in grants)


def packed_namespace(n: Namespace) -> NamespaceRecord:
    return NamespaceRecord(n.number, n.name, n.comment, n.owner, packed_grants(n.grants))


def namespace_of(record: NamespaceRecord) -> Namespace:
    return Namespace(record.number, record.name, record.comment, record.owner, grants_of(record.grants))


def packed_type(t: EnumType) -> TypeRecord:
    labels = [(label.number, label.text, label.order) for label in t.labels]
    return TypeRecord(t.number, t.schema, t.name, labels, t.comment, t.owner, packed_grants(t.grants))


def type_of(r: TypeRecord) -> EnumType:
    labels = tuple(EnumLabel(*label) for label in r.labels)
    return EnumType(r.number, r.schema, r.name, labels, r.comment, r.owner, grants_of(r.grants))


def packed_definition(definition: Definition | None) -> DefinitionRecord | None:
    if definition is None:
        return None
    uses = [UseRecord(u.relation, u.schema, u.name, list(u.columns)) for u in definition.uses]
    return DefinitionRecord(definition.text, uses, definition.time_zone, _packed_continuous(definition.continuous))


def _packed_continuous(c: Continuous | None) -> ContinuousRecord | None:
    if c is None:
        return None
    return ContinuousRecord(c.months, c.width_us, c.origin_us, c.offset_us, c.zone, c.lag_ns, c.every_ns, c.stored_only)


def definition_of(record: DefinitionRecord) -> Definition:
    uses = tuple(Use(u.relation, u.schema, u.name, tuple(u.columns)) for u in record.uses)
    c = record.continuous
    continuous = None
    if c is not None:
        continuous = Continuous(
            c.months, c.width_us, c.origin_us, c.offset_us, c.zone, c.lag_ns, c.every_ns, c.stored_only
        )
    return Definition(record.text, uses, record.time_zone, continuous)


def packed_constraint(c: Constraint) -> ConstraintRecord:
    return ConstraintRecord(
        c.number, c.name, c.kind, list(c.columns), c.text, c.references, list(c.reference_columns), c.on_update,
        c.on_delete, c.match, c.comment, c.validated, list(c.names), c.nulls_equal,
    )  # fmt: skip


def constraint_of(r: ConstraintRecord) -> Constraint:
    return Constraint(
        r.number, r.name, r.kind, tuple(r.columns), r.text, r.references, tuple(r.reference_columns), r.on_update,
        r.on_delete, r.match, r.comment, r.validated, tuple(r.names), r.nulls_equal,
    )  # fmt: skip


def packed_index(i: Index) -> IndexRecord:
    keys = [(k.column, k.text, k.descending, k.nulls_first) for k in i.keys]
    return IndexRecord(i.number, i.name, i.unique, i.method, keys, list(i.included), i.where, i.comment, i.nulls_equal)


def index_of(r: IndexRecord) -> Index:
    keys = tuple(IndexKey(*key) for key in r.keys)
    return Index(r.number, r.name, r.unique, r.method, keys, tuple(r.included), r.where, r.comment, r.nulls_equal)


def packed_view(found: tuple[int, SqlView]) -> ViewRecord:
    database, v = found
    definition = packed_definition(v.definition)
    assert definition is not None
    columns = [(c.name, c.type.oid, int(c.type.kind), c.typmod, c.comment) for c in v.columns]
    return ViewRecord(database, v.schema, v.name, definition, columns, v.comment, v.owner, packed_grants(v.grants))


def view_of(number: int, r: ViewRecord, own: Mapping[int, SqlType]) -> SqlView:
    columns = tuple(
        ViewColumn(name, sql_type(oid, kind, own), typmod, comment) for name, oid, kind, typmod, comment in r.columns
    )
    definition = definition_of(r.definition)
    return SqlView(number, r.schema, r.name, definition, columns, r.comment, r.owner, grants_of(r.grants))


def packed_sequence(found: tuple[int, SqlSequence]) -> SequenceRecord:
    database, s = found
    o = s.options
    return SequenceRecord(
        database, s.schema, s.name, o.type.oid, o.start, o.increment, o.minimum, o.maximum, o.cycle, s.series,
        s.column, s.comment, s.owner, packed_grants(s.grants),
    )  # fmt: skip


def sequence_of(number: int, r: SequenceRecord) -> SqlSequence:
    options = SequenceOptions(BY_OID[r.type_oid], r.start, r.increment, r.minimum, r.maximum, r.cycle)
    return SqlSequence(number, r.schema, r.name, options, r.series, r.column, r.comment, r.owner, grants_of(r.grants))
