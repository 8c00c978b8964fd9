"""What CREATE TABLE and ALTER TABLE declare of columns and tables, before it is a schema change."""

from __future__ import annotations

from dataclasses import dataclass, field

from tsdb.model.relations import SequenceOptions
from tsdb.model.schema import ColumnDefinition, ConstraintDefinition, IndexDefinition, Role
from tsdb.sql.notice import Notice, notice, warning
from tsdb.types import SqlType


@dataclass(slots=True)
class DeclaredColumn:
    """A column as written. ``tag`` and ``key``: the words TAG and PRIMARY KEY stood with it. ``counts`` and
    ``sequence`` are as in ``ColumnDefinition``."""

    name: str
    type: SqlType
    typmod: int = -1
    tag: bool = False
    key: bool = False
    not_null: bool = False
    default: str | None = None
    identity: str = ""
    counts: SequenceOptions | None = None
    sequence: str | None = None

    def definition(self, role: Role, *, not_null: bool = False) -> ColumnDefinition:
        return ColumnDefinition(
            self.name, role, self.type, self.typmod, self.not_null or not_null, self.default, self.identity,
            self.counts, self.sequence,
        )  # fmt: skip


@dataclass(slots=True)
class Declared:
    columns: list[DeclaredColumn] = field(default_factory=list)
    key: list[str] | None = None
    key_name: str | None = None
    constraints: list[ConstraintDefinition] = field(default_factory=list)
    indexes: list[IndexDefinition] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    unique: list[str] = field(default_factory=list)

    def not_enforced(self, what: str) -> None:
        self.notices.append(notice(f"{what} is accepted but not enforced"))

    def of_time_series(self) -> None:
        """The table has a time: points of equal keys merge, and line protocol asks no check; what is declared otherwise
        says so."""
        for what in self.unique:
            self.not_enforced(what)
        if any(each.kind == "c" for each in self.constraints):
            self.notices.append(warning("CHECK holds for what SQL writes, and is not asked by line protocol"))
