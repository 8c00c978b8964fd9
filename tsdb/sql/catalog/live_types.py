"""Live rows of pg_type and pg_enum: row types of tables and views, enumerated types, and the arrays of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tsdb.model.enums import EnumLabel, EnumType
from tsdb.sql.catalog import definitions, oids
from tsdb.sql.catalog.live import Glance, live

PG = "pg_catalog"


@dataclass(frozen=True, slots=True)
class TypeEntry:
    """A row of pg_type. ``functions`` is what its input and output functions' names begin with."""

    oid: int
    name: str
    namespace: int
    owner: int
    kind: str
    category: str
    functions: str
    size: int = -1
    align: str = "d"
    storage: str = "x"
    relation: int = 0
    element: int = 0
    array: int = 0

    def function(self, what: str) -> int:
        return definitions.procedure(f"{self.functions}_{what}")


@live(PG, "pg_type", {
    "oid": lambda t, m: t.oid, "typname": lambda t, m: t.name, "typnamespace": lambda t, m: t.namespace,
    "typowner": lambda t, m: t.owner, "typlen": lambda t, m: t.size, "typbyval": lambda t, m: t.size > 0,
    "typtype": lambda t, m: t.kind, "typcategory": lambda t, m: t.category, "typisdefined": True, "typdelim": ",",
    "typrelid": lambda t, m: t.relation, "typelem": lambda t, m: t.element, "typarray": lambda t, m: t.array,
    "typsubscript": lambda t, m: definitions.procedure("array_subscript_handler") if t.element else 0,
    "typinput": lambda t, m: t.function("in"), "typoutput": lambda t, m: t.function("out"),
    "typreceive": lambda t, m: t.function("recv"), "typsend": lambda t, m: t.function("send"),
    "typalign": lambda t, m: t.align, "typstorage": lambda t, m: t.storage, "typtypmod": -1,
})  # fmt: skip
def types(glance: Glance) -> Sequence[TypeEntry]:
    return [*_row_types(glance), *_enumerated(glance)]


def _row_types(glance: Glance) -> Iterator[TypeEntry]:
    for e in glance.outline.tables:
        if e.row_type:
            yield TypeEntry(
                e.row_type, e.name, e.namespace, e.owner, "c", "C", "record", relation=e.oid, array=e.array_type
            )
            yield TypeEntry(e.array_type, f"_{e.name}", e.namespace, e.owner, "b", "A", "array", element=e.row_type)


def _enumerated(glance: Glance) -> Iterator[TypeEntry]:
    for enum in glance.outline.database.types.values():
        namespace, array = glance.outline.namespaces[enum.schema], oids.array_type(enum.number)
        yield TypeEntry(
            oids.of(enum.number), enum.name, namespace, enum.owner, "e", "E", "enum", 4, "i", "p", array=array
        )
        yield TypeEntry(
            array, f"_{enum.name}", namespace, enum.owner, "b", "A", "array", align="i", element=oids.of(enum.number)
        )


@live(PG, "pg_enum", {
    "oid": lambda v, m: oids.of(v[1].number), "enumtypid": lambda v, m: oids.of(v[0].number),
    "enumsortorder": lambda v, m: v[1].order, "enumlabel": lambda v, m: v[1].text,
})  # fmt: skip
def labels(glance: Glance) -> Sequence[tuple[EnumType, EnumLabel]]:
    return [(enum, label) for enum in glance.outline.database.types.values() for label in enum.labels]
