"""Schema on write: parsed lines against a database's schema.

``missing`` says what the schema lacks; when that is committed, ``bind`` makes points. Both are pure. Between the two
another writer may have created a column with another type: then the lines that do not fit are refused, and a schema
that still lacks something raises, so that the caller asks ``missing`` again.

What a field's value may become (design section 2): itself; an integer in a float8 field; an unsigned one in an int8
field if it fits; integers and floats in narrower SQL types if they fit. Nothing else is guessed: that line alone is
refused, in InfluxDB's words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.errors import UndefinedColumn, UndefinedTable
from tsdb.ingest.convert import Part, SourceArray, assemble, convert, influx_type
from tsdb.ingest.faults import LineError, line_text
from tsdb.ingest.lineprotocol import SEED, FieldColumn, Lines, Parsed, merge_errors
from tsdb.ingest.tagged import Tagged
from tsdb.model.byte_strings import ByteStrings
from tsdb.model.points import Points
from tsdb.model.schema import (
    LINE_PROTOCOL_TIME,
    MAX_COLUMNS,
    AddColumn,
    Column,
    ColumnDefinition,
    CreateSeries,
    Database,
    Role,
    SchemaChange,
    Series,
)
from tsdb.types import BOOL, FLOAT8, INT8, TEXT, UINT8, VARCHAR, Kind

_NEW_TYPES = {Kind.FLOAT8: FLOAT8, Kind.INT8: INT8, Kind.UINT8: UINT8, Kind.BOOL: BOOL, Kind.TEXT: TEXT}


class Bound(NamedTuple):
    """A body's points by series, and the lines refused here: the first of them and their exact count.

    The parser's own errors stay in ``Parsed``.
    """

    points: list[Points]
    errors: list[LineError]
    error_count: int


def missing(parsed: Parsed, database: Database) -> tuple[SchemaChange, ...]:
    """The changes that give every line's names a place, in the order of their first appearance; () if none is needed.

    The first appearance decides whether a name is a tag or a field and which type a field has, except that an integer
    field with floats in the same body is float8.
    """
    changes: list[SchemaChange] = []
    for lines in parsed.lines:
        series = database.series.get(lines.measurement)
        if series is None and database.relation(lines.measurement) is not None:
            continue
        if series is None:
            columns = (LINE_PROTOCOL_TIME, *_new_columns(lines, {}, MAX_COLUMNS - 1))
            changes.append(CreateSeries(database.name, lines.measurement, columns, keyed=True, if_not_exists=True))
        elif _unwritable(series) is None:
            added = _new_columns(lines, series.by_name, MAX_COLUMNS - len(series.columns))
            changes += [AddColumn(database.name, series.name, column, if_not_exists=True) for column in added]
    return tuple(changes)


def bind(parsed: Parsed, database: Database) -> Bound:
    """Points for the lines that fit the schema, errors for those that do not.

    Raises UndefinedTable or UndefinedColumn where ``missing`` still finds something.
    """
    points: list[Points] = []
    errors: list[LineError] = []
    count = 0
    for lines in parsed.lines:
        series = database.series.get(lines.measurement)
        relation = database.relation(lines.measurement)
        if relation is None:
            raise UndefinedTable(f'relation "{lines.measurement}" does not exist')
        binding = _Binding(parsed, lines, series or Series(0, lines.measurement, (), keyed=True))
        reason = f'"{relation.name}" is a {relation.object_kind}'
        bound = binding.points() if series is not None else binding.none(reason)
        if len(bound):
            points.append(bound)
        errors += binding.errors()
        count += int(binding.refused.sum())
    return Bound(points, list(merge_errors(errors, parsed.limits)), count)


def _by_field(lines: Lines) -> dict[str, list[FieldColumn]]:
    """A field's columns of several kinds, the first written first; fields in order of first appearance."""
    fields: dict[str, list[FieldColumn]] = {}
    for column in lines.fields:
        written = fields.get(column.name)
        if written is None:
            fields[column.name] = [column]
        else:
            written.append(column)
            written.sort(key=lambda column: int(column.rows[0]))
    return fields


def _new_columns(lines: Lines, existing: Mapping[str, Column], room: int) -> list[ColumnDefinition]:
    """Columns for the names that ``existing`` lacks, at most ``room``: those of the first lines."""
    if all(name in existing for name in lines.keys.names) and all(column.name in existing for column in lines.fields):
        return []
    fields = _by_field(lines)
    first = {name: int(written[0].rows[0]) for name, written in fields.items()}
    columns = []
    for name, line in _first_tagged(lines, [name for name in lines.keys.names if name not in existing]):
        if line <= first.get(name, line):
            first[name] = line
            columns.append(ColumnDefinition(name, Role.TAG, TEXT))
    tags = {column.name for column in columns}
    for name, written in fields.items():
        if name in existing or name in tags:
            continue
        kind = written[0].kind
        if kind is Kind.INT8 and any(column.kind is Kind.FLOAT8 for column in written):
            kind = Kind.FLOAT8
        columns.append(ColumnDefinition(name, Role.FIELD, _NEW_TYPES[kind]))
    if len(columns) > room:
        columns = sorted(columns, key=lambda column: first[column.name])[: max(room, 0)]
    return columns


def _first_tagged(lines: Lines, names: Sequence[str]) -> Iterator[tuple[str, int]]:
    """With each of some tag keys the first line that has it."""
    if names:
        tagged = Tagged(lines)
        for name in names:
            yield name, tagged.first(name)


def _unwritable(series: Series) -> str | None:
    """Why line protocol cannot write to a series at all."""
    if series.definition is not None:
        return f'"{series.name}" is a materialized view'
    if series.reference:
        return f'"{series.name}" is a reference table without a time: write to it with SQL'
    return None


class _Binding:
    """One measurement's lines on their way to points: ``refused`` bool[n]."""

    def __init__(self, parsed: Parsed, lines: Lines, series: Series) -> None:
        self.parsed = parsed
        self.lines = lines
        self.series = series
        self.refused = np.zeros(len(lines), dtype=np.bool_)
        self._reasons: list[tuple[npt.NDArray[np.integer], str]] = []
        self._found: Tagged | None = None

    def points(self) -> Points:
        reason = _unwritable(self.series)
        if reason is not None:
            return self.none(reason)
        columns = self._tag_columns()
        tagsets, tagset = self._tagsets(columns)
        fields = {}
        for name, written in _by_field(self.lines).items():
            column = self._field_column(name, written)
            if column is not None:
                fields[column.number] = self._values(column, written)
        self._require_not_null(columns, fields)
        points = Points(self.series, self.lines.times, tagsets, tagset, fields)
        return points.take(np.flatnonzero(~self.refused)) if self.refused.any() else points

    def none(self, reason: str) -> Points:
        """All lines refused."""
        self._refuse(np.arange(len(self.lines)), reason)
        return Points(self.series, self.lines.times[:0], [], self.lines.key[:0], {})

    def errors(self) -> list[LineError]:
        """Why lines were refused, of the first as many as are listed."""
        if not self._reasons:
            return []
        rows = np.concatenate([rows for rows, _ in self._reasons])
        reasons = np.repeat(np.arange(len(self._reasons)), [len(rows) for rows, _ in self._reasons])
        listed = np.argsort(rows)[: self.parsed.limits.errors_max]
        found = []
        for row, reason in zip(rows[listed].tolist(), reasons[listed].tolist(), strict=True):
            text = line_text(self.parsed.body, int(self.lines.starts[row]), int(self.lines.ends[row]))
            found.append(LineError(int(self.lines.line_numbers[row]), text, self._reasons[reason][1]))
        return found

    def _refuse(self, rows: npt.NDArray[np.integer], message: str) -> None:
        """The first reason of each row counts."""
        fresh = rows[~self.refused[rows]]
        if len(fresh):
            self.refused[fresh] = True
            self._reasons.append((fresh, message))

    def _tagged(self, name: str) -> npt.NDArray[np.intp]:
        """The lines that have a tag."""
        if self._found is None:
            self._found = Tagged(self.lines)
        return self._found.rows(name)

    def _lacking(self, name: str, rows: npt.NDArray[np.integer]) -> None:
        if len(self.series.columns) < MAX_COLUMNS:
            raise UndefinedColumn(f'column "{name}" of relation "{self.series.name}" does not exist')
        self._refuse(rows, f'"{self.series.name}" has {MAX_COLUMNS} columns already: no room for "{name}"')

    def _tag_columns(self) -> dict[str, Column]:
        """The columns of the tags that may be written; rows with others are refused."""
        columns = {}
        for name in self.lines.keys.names:
            column = self.series.by_name.get(name)
            if column is not None and column.role is Role.TAG and column.type in (TEXT, VARCHAR) and column.typmod < 0:
                columns[name] = column
                continue
            rows = self._tagged(name)
            if column is None:
                self._lacking(name, rows)
            elif column.role is Role.TAG:
                self._refuse(rows, f'tag "{name}" of "{self.series.name}" is of type {column.type.name}, not text')
            else:
                self._refuse(rows, f'"{name}" is {_ROLES[column.role]} of "{self.series.name}", not a tag')
        return columns

    def _tagsets(self, columns: Mapping[str, Column]) -> tuple[ByteStrings, npt.NDArray[np.int32]]:
        """(the distinct tag sets by value, each row's index into them); tags of refused rows are left out."""
        keys = self.lines.keys
        numbers = [columns[name].number if name in columns else -1 for name in keys.names]
        number, distinct = keys.distinct(np.array(numbers, np.int64), SEED)
        return distinct, (self.lines.key if number is None else number[self.lines.key])

    def _field_column(self, name: str, written: list[FieldColumn]) -> Column | None:
        column = self.series.by_name.get(name)
        if column is not None and column.role is Role.FIELD:
            return column
        for part in written:
            if column is None:
                self._lacking(name, part.rows)
            else:
                self._refuse(part.rows, f'"{name}" is {_ROLES[column.role]} of "{self.series.name}", not a field')
        return None

    def _values(self, column: Column, written: list[FieldColumn]) -> pa.Array:
        parts = []
        for part in written:
            values: SourceArray = part.values
            converted = convert(values, part.kind, column)
            if converted is None:
                self._refuse(
                    part.rows,
                    f'field type conflict: input field "{column.name}" on measurement "{self.series.name}" '
                    f"is type {influx_type(part.kind)}, already exists as type {influx_type(column)}",
                )
                continue
            values, fits = converted
            if fits is not None and not fits.all():
                self._refuse(
                    part.rows[~fits],
                    f'value of field "{column.name}" on measurement "{self.series.name}" '
                    f"is out of range for type {column.type.name}",
                )
            parts.append(Part(part.rows, values))
        return assemble(parts, len(self.lines), column.kind)

    def _require_not_null(self, tags: Mapping[str, Column], fields: Mapping[int, pa.Array]) -> None:
        """NOT NULL columns that a line leaves out."""
        for column in self.series.columns:
            if not column.not_null or column.role is Role.TIME:
                continue
            if column.role is Role.TAG:
                rows = np.delete(np.arange(len(self.lines)), self._tagged(column.name))
            elif column.number in fields:
                rows = np.flatnonzero(fields[column.number].is_null().to_numpy(zero_copy_only=False))
            else:
                rows = np.arange(len(self.lines))
            self._refuse(rows, f'null value in column "{column.name}" violates not-null constraint')


_ROLES = {Role.TAG: "a tag", Role.FIELD: "a field", Role.TIME: "the time"}
