"""What DDL asks of the rows that are there: no NULL where none may be, nothing twice, checks that hold; and what it
gives them, the DEFAULT of a new column.

A default is written as by UPDATE, into the rows that the column's change found, in steps that are durable at once, as
DDL is; who reads meanwhile sees NULL in the others. What a transaction has pending follows at its COMMIT. Where a
column cannot be filled it is taken away again.

Source: PostgreSQL 15 manual, ALTER TABLE (ADD COLUMN, SET NOT NULL), CREATE INDEX (UNIQUE).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from tsdb.errors import (
    InvalidTextRepresentation,
    NotNullViolation,
    NumericValueOutOfRange,
    SerializationFailure,
    StringDataRightTruncation,
    TsdbError,
    UniqueViolation,
)
from tsdb.model.draft import unused
from tsdb.model.schema import (
    AddColumn,
    AddConstraint,
    AddIndex,
    AlterColumn,
    AlterColumnType,
    Catalog,
    Column,
    ColumnDefinition,
    DropColumn,
    Role,
    SchemaChange,
    Series,
    ValidateConstraint,
    imagined,
)
from tsdb.model.store import Effect, Store, View
from tsdb.session import effects
from tsdb.session.cancellation import Cancellation
from tsdb.session.writing import Writing
from tsdb.sql import check_text, trees
from tsdb.sql.context import Context
from tsdb.sql.dml import assignments, checks, update
from tsdb.sql.dml.modification import Reading
from tsdb.sql.query import Queries
from tsdb.sql.statement import Fragment, Select, Update, parse
from tsdb.sql.storage_form import length_typmod
from tsdb.types import BPCHAR, FLOAT4, FLOAT8, NUMERIC, TEXT, VARCHAR, SqlType

# How often a column is filled again after somebody has changed a row meanwhile.
_RETRIES = 10


class StoredRows:
    """The rows of the tables that a session's DDL changes."""

    def __init__(
        self, store: Store, queries: Queries, writing: Writing, context: Context, cancellation: Cancellation
    ) -> None:
        self._store = store
        self._queries = queries
        self._writing = writing
        self._context = context
        self._cancellation = cancellation

    def check(self, changes: Sequence[SchemaChange]) -> None:
        """Before the changes. Raises NotNullViolation, CheckViolation, UniqueViolation, and what a stored value that
        is none of a column's new type is."""
        self._check_types(changes)
        added = {change.column.name: change.column for change in changes if isinstance(change, AddColumn)}
        for change in changes:
            if isinstance(change, AlterColumn) and change.not_null:
                self._check_no_null(change.series, change.name, f"{_quoted(change.name)} IS NULL")
            elif isinstance(change, AddColumn) and change.column.not_null and not _has_value(change.column):
                self._check_no_null(change.series, change.column.name, "true")
            elif isinstance(change, AddConstraint) and change.constraint.kind in "pu":
                made = change.constraint
                self._check_unique(
                    change.series,
                    made.name,
                    made.columns,
                    "key",
                    added,
                    key=made.kind == "p",
                    nulls_equal=made.nulls_equal,
                )
            elif isinstance(change, AddConstraint) and change.constraint.kind == "c":
                self._check_condition(change, added)
            elif isinstance(change, ValidateConstraint):
                self._validate(change)
            elif isinstance(change, AddIndex) and change.index.unique and not change.index.where:
                columns = [key[0] for key in change.index.keys]
                nulls = change.index.nulls_equal
                self._check_unique(change.series, change.index.name, columns, "idx", {}, nulls_equal=nulls)

    def fill(self, changes: Sequence[SchemaChange]) -> None:
        """After the changes: new columns get their default. Raises what an UPDATE raises; the columns are gone then."""
        added = [change for change in changes if isinstance(change, AddColumn) and _has_value(change.column)]
        try:
            for change in added:
                self._fill(change.series, change.column.name)
        except BaseException:
            # If the disk fails, the column stays, with NULL in rows that were not reached.
            with contextlib.suppress(TsdbError):
                dropped = [DropColumn(each.database, each.series, each.column.name) for each in added]
                self._writing.renew(self._store.change(*dropped))
            raise

    def _fill(self, path: str, column: str) -> None:
        series = self._series(path)
        assert series is not None
        for left in reversed(range(_RETRIES)):
            view = self._store.view()
            try:
                for effect in self._filled(series, column, view):
                    effects.write(self._store, [effect])
                break
            except SerializationFailure:
                if not left:
                    raise
            finally:
                view.close()
        if series.number in self._writing.pending:
            view = self._writing.view()
            try:
                for effect in self._filled(series, column, view):
                    self._writing.collect(effect)
            finally:
                view.close()

    def _filled(self, series: Series, column: str, view: View) -> Iterator[Effect]:
        """The UPDATE of the rows that have no value yet."""
        name = _quoted(column)
        statement = parse(Fragment(f"UPDATE {_named(series)} SET {name} = DEFAULT WHERE {name} IS NULL"))
        assert isinstance(statement, Update)
        prepared = update.prepare(self._queries, statement, self._context, view.catalog)
        outcome = prepared.start(Reading(self._queries, view.catalog, view, (), self._context))
        try:
            for effect in outcome:
                self._cancellation.check()
                yield effect
        finally:
            self._cancellation.watch(None)
            outcome.close()

    # --- questions ---

    def _check_unique(
        self,
        path: str,
        name: str | None,
        columns: Sequence[str | None],
        suffix: str,
        added: Mapping[str, ColumnDefinition],
        *,
        key: bool = False,
        nulls_equal: bool = False,
    ) -> None:
        """Raises UniqueViolation where rows of a reference table have the same values already."""
        series = self._series(path)
        if series is None or not series.reference or None in columns:
            return
        named = [column for column in columns if column is not None]
        values = [_quoted(each) if each not in added else added[each].default for each in named]
        if None in values or any(_is_volatile(added[each].default) for each in named if each in added):
            return
        items = ", ".join(f"({value}) AS c{i}" for i, value in enumerate(values))
        numbered = [f"c{i}" for i in range(len(named))]
        there = " AND ".join(f"{each} IS NOT NULL" for each in numbered) if not nulls_equal else "true"
        texts = ", ".join(f"CAST({each} AS text)" for each in numbered)
        query = f"SELECT {texts} FROM (SELECT {items} FROM {_named(series)}) AS q WHERE {there}"
        for row in self._rows(f"{query} GROUP BY {', '.join(numbered)} HAVING count(*) > 1 LIMIT 1"):
            shown = ", ".join("null" if each is None else str(each) for each in row)
            name = name or (f"{series.name}_pkey" if key else "_".join([series.name, *named, suffix]))
            error = UniqueViolation(
                f'could not create unique index "{name}"',
                detail=f"Key ({', '.join(named)})=({shown}) is duplicated.",
            )
            error.constraint = (series.schema, series.name, name)
            raise error

    def _check_condition(self, change: AddConstraint, added: Mapping[str, ColumnDefinition]) -> None:
        """Raises CheckViolation if a row does not meet a new check; new columns have their default."""
        series, made = self._series(change.series), change.constraint
        if series is None or not made.validated:
            return
        named = [name for name in added if name in made.columns]
        columns = ["*", *(f"{_default(added[name])} AS {_quoted(name)}" for name in named)]
        rows = f"(SELECT {', '.join(columns)} FROM {_named(series)}) AS {_quoted(series.name)}"
        if self._rows(f"SELECT 1 FROM {rows} WHERE NOT ({made.text}\n) LIMIT 1"):
            # The name that it would get (ChooseConstraintName).
            known = [name for name in made.columns if name in series.by_name or name in added]
            taken = {each.name for each in series.constraints}
            raise checks.violated(series, made.name or unused(taken, series.name, *known[: len(known) == 1], "check"))

    def _validate(self, change: ValidateConstraint) -> None:
        series = self._series(change.series)
        found = next((c for c in series.checks if c.name == change.name), None) if series is not None else None
        if series is None or found is None or found.validated:
            return
        if self._rows(f"SELECT 1 FROM {_named(series)} WHERE NOT ({check_text.current(series, found)}\n) LIMIT 1"):
            raise checks.violated(series, found.name)

    def _check_types(self, changes: Sequence[SchemaChange]) -> None:
        """Stored values are read as the column's new type from then on: those that cannot be would be an error of every
        statement that reads them. So they are read once before, by the schema as it will be."""
        for change in changes:
            if not isinstance(change, AlterColumnType):
                continue
            series = self._series(change.series)
            column = None if series is None else series.by_name.get(change.name)
            if series is None or column is None or _is_wider(column.type, change.type):
                continue
            for condition, error in _too_narrow(column, change):
                if self._rows(f"SELECT 1 FROM {_named(series)} WHERE {condition} LIMIT 1"):
                    raise error
            text = f"SELECT max(length(CAST({_quoted(change.name)} AS text))) FROM {_named(series)}"
            try:
                self._rows(text, imagined(self._store.catalog, [change]))
            except (InvalidTextRepresentation, NumericValueOutOfRange) as error:
                error.hint = error.hint or "Values from before an UPDATE count until VACUUM has removed them."
                raise

    def _check_no_null(self, path: str, column: str, condition: str) -> None:
        """Raises NotNullViolation if a row meets the condition."""
        series = self._series(path)
        if series is None or (condition == "true") == (column in series.by_name):
            return
        if self._rows(f"SELECT 1 FROM {_named(series)} WHERE {condition} LIMIT 1"):
            error = NotNullViolation(f'column "{column}" of relation "{series.name}" contains null values')
            error.column = (series.schema, series.name, column)
            raise error

    def _rows(self, text: str, catalog: Catalog | None = None) -> list[tuple[object, ...]]:
        """The rows of a query of few; ``catalog``: the schema that it is read by, if not today's."""
        view = self._writing.view()
        try:
            statement = parse(Fragment(text))
            assert isinstance(statement, Select)
            prepared = self._queries.prepare(statement, self._context, catalog or view.catalog, ())
            rows = self._queries.run(prepared, view, (), self._context)
            try:
                return [row for batch in rows for row in zip(*(c.to_pylist() for c in batch.columns), strict=True)]
            finally:
                self._cancellation.watch(None)
                rows.close()
        finally:
            view.close()

    def _series(self, path: str) -> Series | None:
        return self._store.catalog.find(self._context.database).series.get(path)


def _too_narrow(column: Column, change: AlterColumnType) -> Iterator[tuple[str, TsdbError]]:
    """Conditions on values that the new type has no room for, though they could be read as it."""
    name = _quoted(column.name)
    if change.type == FLOAT4 and column.type in (FLOAT8, NUMERIC):
        size = f"abs(CAST({name} AS float8))"
        yield (
            f"{size} >= float8 '3.4028235677973366e38' AND {size} < float8 'Infinity'",
            NumericValueOutOfRange("value out of range: overflow"),
        )
        yield (
            f"{size} > 0 AND {size} <= float8 '7.006492321624085e-46'",
            NumericValueOutOfRange("value out of range: underflow"),
        )
    if column.role is Role.FIELD and change.type in (VARCHAR, BPCHAR) and change.typmod >= 0:
        limit = change.typmod - length_typmod(0)
        shown = {VARCHAR: "character varying", BPCHAR: "character"}[change.type]
        yield (
            f"length(CAST({name} AS text)) > {limit}",
            StringDataRightTruncation(f"value too long for type {shown}({limit})"),
        )


def _is_wider(old: SqlType, new: SqlType) -> bool:
    """Whether every value of ``old`` is one of ``new``."""
    return new == TEXT or (new == FLOAT8 and old not in (TEXT, VARCHAR, BPCHAR))


def _default(column: ColumnDefinition) -> str:
    """What a new column has in the rows that are there, in its own type."""
    return f"CAST({column.default or 'NULL'} AS {trees.type_text(column.type, column.typmod)})"


def _has_value(column: ColumnDefinition) -> bool:
    return column.default is not None or column.sequence is not None or column.counts is not None


def _is_volatile(default: str | None) -> bool:
    return default is not None and assignments.is_volatile(trees.expression(default))


def _named(series: Series) -> str:
    return f"{_quoted(series.schema)}.{_quoted(series.name)}"


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
