"""The state of the group, a draft of the next one, and what a draft changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import msgspec

from tsdb.cluster.metadata.records import NAMES, Group, R, Record
from tsdb.model.catalog import Catalog
from tsdb.model.schema import Applied

Tables: TypeAlias = dict[type[Record], dict[int, Record]]


@dataclass(frozen=True)
class State:
    """The catalog, and the records by kind and number. It never changes."""

    catalog: Catalog = field(default_factory=Catalog)
    tables: Tables = field(default_factory=lambda: {kind: {} for kind in NAMES})

    @property
    def group(self) -> Group:
        return self.get(Group, 0) or Group()

    def get(self, kind: type[R], number: int) -> R | None:
        return cast("R | None", self.tables[kind].get(number))

    def all(self, kind: type[R]) -> Iterator[R]:
        """By number."""
        return (cast(R, record) for _, record in sorted(self.tables[kind].items()))


@dataclass(frozen=True, slots=True)
class Change:
    """One record after a command; None: it is gone. Names are those of keys; of the schema's records, too.

    Of the catalog as a whole the value is its version; of a database what it is without its relations; of these (number
    of the database, relation).
    """

    name: str
    number: int
    value: Any


class Draft:
    """A state in the making: reads see what was put. A draft over a draft is taken as a whole, or dropped."""

    def __init__(self, under: State | Draft, index: int) -> None:
        self._under = under
        self.index = index
        self._put: dict[tuple[type[Record], int], Record | None] = {}
        self.applied: Applied | None = None
        """What happened to the catalog; once a command."""

    @property
    def catalog(self) -> Catalog:
        return self.applied.catalog if self.applied is not None else self._under.catalog

    @property
    def group(self) -> Group:
        return self.get(Group, 0) or Group()

    def get(self, kind: type[R], number: int) -> R | None:
        if (kind, number) in self._put:
            return cast("R | None", self._put[kind, number])
        return self._under.get(kind, number)

    def all(self, kind: type[R]) -> Iterator[R]:
        """By number."""
        own = {number: record for (each, number), record in self._put.items() if each is kind}
        if not own:
            yield from self._under.all(kind)
            return
        found = {self.number_of(record): record for record in self._under.all(kind)}
        merged: dict[int, Any] = {**found, **own}
        for number in sorted(merged):
            if merged[number] is not None:
                yield merged[number]

    @staticmethod
    def number_of(record: Record) -> int:
        """A record's number is its first field; there is one ``Group``."""
        return 0 if isinstance(record, Group) else cast(int, getattr(record, record.__struct_fields__[0]))

    def put(self, record: Record) -> None:
        """A record as it is from now on; it is changed by this command."""
        kind = type(record)
        self._put[kind, self.number_of(record)] = msgspec.structs.replace(record, changed=self.index)

    def remove(self, kind: type[Record], number: int) -> None:
        self._put[kind, number] = None

    def change_catalog(self, applied: Applied) -> None:
        assert self.applied is None, "the catalog changes once a command"
        self.applied = applied

    def take(self, over: Draft) -> None:
        """What a draft over this one did."""
        self._put.update(over._put)
        if over.applied is not None:
            self.change_catalog(over.applied)

    def records(self) -> Mapping[tuple[type[Record], int], Record | None]:
        """What was put or removed."""
        return self._put
