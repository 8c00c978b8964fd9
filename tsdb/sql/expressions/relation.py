"""What FROM names, and how a name finds its column. DuckDB sees generated names only: t1 a scan, r1 a relation, c1 a
column."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from tsdb.errors import AmbiguousAlias, AmbiguousColumn, UndefinedColumn, UndefinedTable
from tsdb.model.schema import Catalog, Column, Role, Series
from tsdb.model.store import SEQUENCE, TIME, TIME_NS
from tsdb.sql import literal, storage_form
from tsdb.sql.catalog import oids
from tsdb.sql.context import Context
from tsdb.sql.expressions.expression import ColumnReference, Expr
from tsdb.sql.expressions.rows import row_of
from tsdb.types import CID, INT8, NUMERIC, OID, TIMESTAMP, UINT8, XID, SqlType

if TYPE_CHECKING:
    from tsdb.sql.expressions.block import Block, CommonTable


# The digits with which an unconstrained numeric column is computed; it shows exactly what was stored.
UNCONSTRAINED = (38, 16)


@dataclass(frozen=True, slots=True)
class RelationColumn:
    """A column of a relation: ``key`` is what a scan calls it, else ``sql`` is its generated name; a ``constant``
    is the same in all rows. ``shown`` is the generated name of a numeric's text."""

    name: str
    type: SqlType
    typmod: int = -1
    digits: tuple[int, int] | None = None
    hidden: bool = False
    sql: str = ""
    key: int | str | None = None
    series_column: Column | None = None
    number: int = 0
    shown: str = ""
    constant: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a continuous view a source reads: its "stored" rows, all of them ("stored only"), or what is
    "computed" from its source. When the statement runs it is known which spans of time that is."""

    view: Series
    kind: str


@dataclass(eq=False)
class Source:
    """One reading of a series (``series``) or of a system relation (``table`` makes it) under the name t<n>;
    ``relation`` is the system relation's OID. With ``delay_seconds`` one row that comes late (pg_sleep). ``role`` is
    the owner of the view through which it is read (None: the statement itself names it): who must be allowed to.
    ``part``: of a continuous view.

    ``columns`` are the keys of the columns that the statement uses, in the order of their first use.
    """

    number: int
    series: Series | None = None
    table: Callable[[Catalog, Context, Sequence[str]], pa.Table] | None = None
    relation: int = 0
    delay_seconds: float | None = None
    role: int | None = None
    part: Part | None = None
    columns: list[int | str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"t{self.number}"

    def use(self, key: int | str) -> str:
        """The generated name of a column, from now on part of the scan."""
        if key not in self.columns:
            self.columns.append(key)
        return f"c{self.columns.index(key) + 1}"


@dataclass(eq=False)
class Relation:
    """A relation in FROM under the alias ``r<n>``; ``block`` when it is a subquery the planner may look into,
    ``branches`` when it is several, whose rows are the relation's, and whose conditions may be moved into each."""

    name: str
    alias: str
    columns: list[RelationColumn]
    source: Source | None = None
    block: Block | None = None
    table: CommonTable | None = None
    schema: str = ""
    nullable: bool = False
    oid: int = 0
    branches: tuple[Block, ...] = ()
    # A condition without which its columns are NULL, though the row is there (ASOF LEFT JOIN).
    guard: str = ""

    def reference(self, index: int, position: int | None = None) -> Expr:
        column = self.columns[index]
        if column.constant:
            return Expr(column.constant, column.type, "call", position=position, name=column.name)
        sql = f"{self.alias}.{self.source.use(column.key) if self.source and column.key is not None else column.sql}"
        sql_type, digits = column.type, column.digits
        if column.series_column is not None:
            stored = column.series_column
            if stored.role is Role.TIME and column.type.typname == TIMESTAMP.typname and column.key == TIME:
                sql = f"make_timestamp(epoch_us({sql}))"
            elif column.type == UINT8:
                sql, sql_type, digits = f"CAST({sql} AS DECIMAL(20,0))", NUMERIC, (20, 0)
            elif (column.type.element or column.type).labels is not None:
                # A scan gives the labels as texts; as DuckDB's ENUM they compare in the type's order.
                sql = f"CAST({sql} AS {literal.duckdb_type(column.type)})"
        reference = ColumnReference(self, index)
        shown = f"{self.alias}.{column.shown}" if column.shown else None
        if column.type.typname == "numeric" and column.key is not None and column.digits == UNCONSTRAINED:
            # A scan gives the stored text; what is computed with is as much of it as a DECIMAL holds.
            sql, shown = f"CAST({sql} AS DECIMAL(38,{UNCONSTRAINED[1]}))", sql
        if self.guard:
            sql = f"CASE WHEN {self.guard} THEN {sql} END"
            shown = f"CASE WHEN {self.guard} THEN {shown} END" if shown is not None else None
        return Expr(
            sql, sql_type, "column", (), reference, column.typmod, digits, position=position, name=column.name,
            shown=shown,
        )  # fmt: skip

    def row(self, position: int | None = None) -> Expr:
        """The whole row as a value: t in a select list."""
        visible = [i for i, c in enumerate(self.columns) if not c.hidden]
        made = row_of([self.reference(i) for i in visible], [self.columns[i].name for i in visible])
        if self.oid >= oids.FIRST_OWN:
            sql_type = replace(
                made.type, name=self.name, oid=oids.row_type_of(self.oid), array_oid=oids.array_type_of(self.oid)
            )
            made = replace(made, type=sql_type)
        return replace(made, name=self.name, position=position)


def series_columns(series: Series) -> list[RelationColumn]:
    """A series' columns in the order SQL shows them, then the hidden ones."""
    columns = [_series_column(column, number + 1) for number, column in enumerate(series.columns)]
    names = {column.name for column in columns}
    hidden = ((TIME_NS, INT8), (SEQUENCE, INT8))
    columns += [RelationColumn(n, t, hidden=True, key=n) for n, t in hidden if n not in names]
    # PostgreSQL's system columns: which table, and a transaction that has long been over.
    system = (("tableoid", OID, oids.of(series.identity)), ("xmin", XID, 2), ("cmin", CID, 0), ("xmax", XID, 0))
    return columns + [
        RelationColumn(n, t, hidden=True, constant=f"CAST({value} AS BIGINT)")
        for n, t, value in system
        if n not in names
    ]


def _series_column(column: Column, number: int) -> RelationColumn:
    digits = None
    if column.type.typname == "numeric" and column.type != UINT8:
        digits = storage_form.numeric_precision(column.typmod) if column.typmod >= 0 else UNCONSTRAINED
    key: int | str = TIME if column.role is Role.TIME else column.number
    return RelationColumn(column.name, column.type, column.typmod, digits, key=key, series_column=column, number=number)


@dataclass(frozen=True)
class Merged:
    """A column of USING or NATURAL, which stands for one of each side."""

    name: str
    value: Expr


@dataclass(eq=False)
class Scope:
    """The relations that names may mean here; ``parent`` is the query around (correlation).

    ``stars`` is what ``*`` shows in its order: a join's merged columns, then its sides without those that were
    ``merged_away``. ``tables`` are WITH's.
    """

    parent: Scope | None = None
    relations: list[Relation] = field(default_factory=list)
    stars: list[Relation | Merged] = field(default_factory=list)
    merged_away: set[tuple[int, int]] = field(default_factory=set)
    tables: dict[str, CommonTable] = field(default_factory=dict)
    correlated: bool = False

    def table(self, name: str) -> CommonTable | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.tables:
                return scope.tables[name]
            scope = scope.parent
        return None

    def relation(self, name: str, position: int | None, schema: str = "") -> Relation:
        """The relation that a name before a dot means, of ``schema`` if one is said: an alias has none."""
        found = self.find(name, position, schema)
        if found is not None:
            return found
        if schema and self.find(name, position) is not None:
            raise UndefinedTable(f'invalid reference to FROM-clause entry for table "{name}"', position=position)
        raise UndefinedTable(f'missing FROM-clause entry for table "{name}"', position=position)

    def find(self, name: str, position: int | None, schema: str = "") -> Relation | None:
        """The same, None if FROM has none of that name."""
        scope: Scope | None = self
        while scope is not None:
            found = [r for r in scope.relations if r.name == name and schema in ("", r.schema)]
            if len(found) > 1:
                raise AmbiguousAlias(f'table reference "{name}" is ambiguous', position=position)
            if found:
                return found[0]
            scope = scope.parent
        return None

    def column(self, name: str, position: int | None) -> Expr:
        """The column an unqualified name means: the innermost query that has one."""
        scope: Scope | None = self
        while scope is not None:
            found = scope._own_column(name, position)
            if found is not None:
                return found
            scope = scope.parent
        row = self.whole_row(name, position)
        if row is not None:
            return row
        raise UndefinedColumn(f'column "{name}" does not exist', hint=self._near(name), position=position)

    def _own_column(self, name: str, position: int | None) -> Expr | None:
        merged = self.merged(name)
        found = [(r, i) for r in self.relations for i, c in enumerate(r.columns) if c.name == name]
        visible = [(r, i) for r, i in found if not r.columns[i].hidden and (id(r), i) not in self.merged_away]
        found = visible if merged else visible or found
        if len(found) + len(merged) > 1:
            raise AmbiguousColumn(f'column reference "{name}" is ambiguous', position=position)
        if merged:
            return merged[0]
        return found[0][0].reference(found[0][1], position) if found else None

    def merged(self, name: str) -> list[Expr]:
        """The columns of USING and NATURAL that a name without a table means."""
        return [star.value for star in self.stars if isinstance(star, Merged) and star.name == name]

    def whole_row(self, name: str, position: int | None) -> Expr | None:
        """The row of a relation that a plain name means when no column has it."""
        scope: Scope | None = self
        while scope is not None:
            for relation in scope.relations:
                if relation.name == name:
                    return relation.row(position)
            scope = scope.parent
        return None

    def qualified(self, relation: Relation, name: str, position: int | None) -> Expr:
        found = [(c.hidden, index) for index, c in enumerate(relation.columns) if c.name == name]
        if len([1 for hidden, _ in found if not hidden]) > 1:
            raise AmbiguousColumn(f'column reference "{name}" is ambiguous', position=position)
        if found:
            return relation.reference(min(found)[1], position)
        raise UndefinedColumn(f"column {relation.name}.{name} does not exist", hint=self._near(name), position=position)

    def _near(self, name: str) -> str | None:
        names = {c.name: r.name for r in self.relations for c in r.columns if not c.hidden}
        near = difflib.get_close_matches(name, names, 1, 0.7) if len(names) <= 1000 else []
        if not near:
            return None
        return f'Perhaps you meant to reference the column "{names[near[0]]}.{near[0]}".'
