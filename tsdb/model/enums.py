"""Enumerated types: CREATE TYPE … AS ENUM.

A value is stored as its label's text under the type's OID; the labels' order is the type's. A column holds the type
with the labels it has at the moment (``EnumType.sql_type``): whatever changes a type gives its columns the new one.

Source: PostgreSQL 15 manual, 8.7 (enumerated types).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from tsdb.model.privileges import Grant
from tsdb.model.relations import PUBLIC, path_of
from tsdb.model.roles import FIRST
from tsdb.types import Kind, SqlType, array_of

# OIDs of our objects: a number has a block of eight (``tsdb.sql.catalog.oids`` says what is in it).
FIRST_OID = 16384
OIDS_PER_NUMBER = 8
_ARRAY = 2
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class EnumLabel:
    """``order`` is pg_enum.enumsortorder: labels are in its order, and a new one between two gets their middle."""

    number: int
    text: str
    order: float


@dataclass(frozen=True)
class EnumType:
    number: int
    schema: str
    name: str
    labels: tuple[EnumLabel, ...]
    comment: str | None = None
    owner: int = FIRST
    grants: tuple[Grant, ...] | None = None

    @property
    def object_kind(self) -> str:
        return "type"

    @property
    def path(self) -> str:
        return path_of(self.schema, self.name)

    @cached_property
    def sql_type(self) -> SqlType:
        oid = FIRST_OID + self.number * OIDS_PER_NUMBER
        shown = _quoted(self.name) if self.schema == PUBLIC else f"{_quoted(self.schema)}.{_quoted(self.name)}"
        labels = tuple(label.text for label in self.labels)
        # The path stands for pg_type's name: it is the type's alone, whatever other schemas have.
        return SqlType(shown, self.path, oid, oid + _ARRAY, 4, Kind.TEXT, pa.string(), labels=labels)

    @cached_property
    def array_type(self) -> SqlType:
        return array_of(self.sql_type)


def _quoted(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'
