"""COPY FROM: cut records to points, whole batches at a time; the first thing that is wrong ends it, with its line.

    prepared = prepare(copy, context, catalog)
    copying = prepared.start(context, decode, defaults)
    for points in copying.feed(octets): …        of the records that are complete by now
    for points in copying.finish(): …

Points come out before the end of the data is known to be right: who takes them keeps them until then. An error's
``where`` is PostgreSQL's context: line, and column or text (CopyFromErrorCallback).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from sqlglot import exp

from tsdb.encodings import UTF8, codec_of
from tsdb.errors import (
    CharacterNotInRepertoire,
    FeatureNotSupported,
    InvalidColumnReference,
    ProgramLimitExceeded,
    SqlSyntaxError,
    TsdbError,
)
from tsdb.model.points import Points
from tsdb.model.relations import null_in
from tsdb.model.schema import Catalog, Column, Role, Series
from tsdb.model.store import SEQUENCE, TIME_NS, View
from tsdb.sql import trees
from tsdb.sql.bind import given
from tsdb.sql.bind.given import GivenView
from tsdb.sql.context import Context
from tsdb.sql.copy import value_kernels as kernels
from tsdb.sql.copy.binary_values import BinaryValues, Decode
from tsdb.sql.copy.cut import Cutter, Fields
from tsdb.sql.copy.cut_kernels import Int64s
from tsdb.sql.copy.options import Names
from tsdb.sql.copy.statement import Copy
from tsdb.sql.copy.tags import TagSets
from tsdb.sql.copy.values import PLAIN_TEXTS, Mask, TextValues, Values
from tsdb.sql.dml import insert, serial
from tsdb.sql.dml.modification import Outcome, Reading, Write
from tsdb.sql.dml.to_points import points_of
from tsdb.sql.dml.unique import UniqueRows
from tsdb.sql.literal import INTEGER_RANGES
from tsdb.sql.names import require, writable
from tsdb.sql.notice import Notice, notice
from tsdb.sql.statement import Fragment, Select, parse

# How much of a line or a value a message shows.
_SHOWN_BYTES = 100
# Skipped rows that are named one by one (LOG_VERBOSITY verbose).
_NAMED_MAX = 100

# The line of each row of some points.
Lines = Int64s | range
# The rows of some points for which COPY's WHERE is true.
Chosen = Callable[[Points], Int64s]
# The first of some points that a CHECK refuses.
Refused = Callable[[Points], tuple[int, TsdbError] | None]
# The values of the columns that COPY does not give, for so many rows.
Defaults = Callable[[int], dict[str, pa.Array]]


@dataclass(frozen=True)
class PreparedCopy:
    """Valid for one catalog version."""

    copy: Copy
    series: Series
    targets: tuple[Column, ...]
    omitted: tuple[Column, ...]
    catalog_version: int
    where: Select | None = None

    def start(
        self,
        context: Context,
        decode: Decode,
        defaults: Defaults,
        chosen: Chosen | None = None,
        refused: Refused | None = None,
    ) -> CopyInput:
        """``decode`` gives the Python value of a binary field; ``defaults`` the columns ``omitted``; ``chosen`` the
        rows for which ``where`` is true."""
        chosen = chosen if self.where is not None else None
        return CopyInput(self, context, decode, defaults, chosen, refused if self.series.checks else None)

    def chosen(self, reading: Reading, points: Points) -> Int64s:
        """The rows that WHERE lets in, ascending."""
        assert self.where is not None
        outcome = Outcome("COPY", lambda _: iter(()))
        reading = replace(reading, view=GivenView(reading.view, points))
        batches = outcome.query(reading, self.where, ())
        found = [batch.column(0).drop_null().to_numpy(zero_copy_only=False) for batch in batches]
        return np.sort(np.concatenate(found)) if found else np.empty(0, np.int64)

    def default_values(self, reading: Reading, rows: int) -> dict[str, pa.Array]:
        """So many values of each omitted column, by its default."""
        items = [
            trees.aliased(trees.cast(trees.expression(c.default or "NULL"), c), f"d{i}")
            for i, c in enumerate(self.omitted)
        ]
        text = f"SELECT FROM generate_series(1, {rows}) AS defaults(row)"
        source = parse(Fragment(text))
        assert isinstance(source, Select)
        tree = source.tree.copy()
        tree.set("expressions", items)
        role = "; ".join(["defaults", *(f"{c.number} {c.default}" for c in self.omitted)])
        outcome = Outcome("COPY", lambda _: iter(()))
        batches = list(outcome.query(reading, trees.derived(Fragment(text), role, tree), ()))
        table = pa.Table.from_batches(batches).combine_chunks()
        values = {c.name: table.column(i).chunk(0) for i, c in enumerate(self.omitted)}
        database = reading.catalog.find(reading.context.database)
        for column, sequence in serial.counted(database, (), self.omitted, None):
            values[column.name] = serial.filled(values[column.name], column, sequence, reading.context)
        return values


def prepare(copy: Copy, context: Context, catalog: Catalog) -> PreparedCopy:
    """Raises UndefinedTable, UndefinedColumn, DuplicateColumn, InvalidColumnReference."""
    assert copy.relation is not None
    database = catalog.find(context.database)
    series = writable(require(context, database, *copy.relation), "copy to")
    targets = tuple(insert.given_columns(series, list(copy.columns) if copy.columns is not None else None))
    check_listed(copy, [column.name for column in targets], series)
    covered = any(column.name == TIME_NS for column in targets)
    omitted = tuple(
        c
        for c in series.columns
        if (c.default is not None or c.sequence) and c not in targets and not (covered and c is series.time)
    )
    return PreparedCopy(copy, series, targets, omitted, catalog.version, _condition(copy, series))


def _condition(copy: Copy, series: Series) -> Select | None:
    """The query of the numbers of those given points for which WHERE is true. Raises FeatureNotSupported."""
    if copy.where is None:
        return None
    source = parse(Fragment(f"SELECT 1 WHERE {copy.where.text}"))
    tree = source.tree if isinstance(source, Select) else exp.Select()
    where = tree.args.get("where")
    # Nothing may follow the condition: ORDER BY, a UNION …
    if where is None or {key for key, value in tree.args.items() if value} != {"expressions", "where"}:
        raise SqlSyntaxError("syntax error in the condition of COPY FROM")
    if where.find(exp.Query) is not None:
        raise FeatureNotSupported("cannot use subquery in COPY FROM WHERE condition")
    # In the list, not in WHERE: there a condition may be left to the scan, and given points are all answered.
    chosen = exp.Case(ifs=[exp.If(this=where.this.copy(), true=trees.column(SEQUENCE))])
    made = trees.select([trees.aliased(chosen, "chosen")], given.table(series, series.name))
    return trees.derived(copy.where, f"COPY {series.number}", made)


def check_listed(copy: Copy, copied: list[str], series: Series | None) -> None:
    """FORCE's columns must be columns that are copied."""
    options = copy.options
    for words, names in (
        ("FORCE_QUOTE", options.force_quote),
        ("FORCE_NOT_NULL", options.force_not_null),
        ("FORCE_NULL", options.force_null),
    ):
        for name in names or ():
            if name == "*" or name in copied:
                continue
            if series is not None:
                insert.given_columns(series, [name])
            raise InvalidColumnReference(f'{words} column "{name}" not referenced by COPY')


class CopyInput:
    """A running COPY FROM. Not for two threads at a time."""

    def __init__(
        self,
        prepared: PreparedCopy,
        context: Context,
        decode: Decode,
        defaults: Defaults,
        chosen: Chosen | None,
        refused: Refused | None,
    ) -> None:
        options = prepared.copy.options
        self._prepared = prepared
        self._options = options
        self._targets = prepared.targets
        self._now_ns = context.now_us * 1000
        self._defaults = defaults
        self._chosen = chosen
        self._refused = refused
        codec = codec_of(context.settings.get("client_encoding", "UTF8"))
        if options.binary and codec != UTF8:
            raise FeatureNotSupported(
                "binary COPY FROM needs the client encoding UTF8", hint="SET client_encoding = UTF8."
            )
        options = replace(options, encoding=options.encoding or codec)
        self._values: TextValues | BinaryValues
        self._values = BinaryValues(context, decode) if options.binary else TextValues(context)
        self._null = np.frombuffer(options.null.encode(), np.uint8)
        given = {column: at for at, column in enumerate(self._targets)}
        # Columns that must not be NULL, and their places; None: all rows of it are.
        self._required = [
            (column, given.get(column))
            for column in prepared.series.columns
            if column.not_null
            and column not in prepared.omitted
            and (column in given or column is not prepared.series.time)
        ]
        self._forces = options.force_null is not None or options.force_not_null is not None
        self._tags = _tags(prepared)
        together = None if self._tags is None else self._tags.side_by_side
        self._cutter = Cutter(options, [column.name for column in self._targets], _integers(prepared), together)
        self.rows = 0
        self.skipped = 0
        self.notices: list[Notice] = []
        self.lines: list[Lines] = []

    def feed(self, octets: bytes) -> Iterator[Points]:
        for fields in self._cutter.feed(octets):
            yield from self._points(fields)

    def finish(self) -> Iterator[Points]:
        for fields in self._cutter.finish():
            yield from self._points(fields)
        if self.skipped:
            rows = "1 row was" if self.skipped == 1 else f"{self.skipped} rows were"
            self.notices.append(notice(f"{rows} skipped due to data type incompatibility"))

    def _points(self, fields: Fields) -> Iterator[Points]:
        if fields.rows:
            points = self._whole(fields)
            if len(points):
                yield points
        problem = fields.problem
        if problem is None:
            return
        for at in range(min(problem.fields, len(self._targets))):
            self._explain(fields, at, fields.rows, problem.line)
        where = f"COPY {self._prepared.series.name}, line {problem.line}"
        if problem.text is not None:
            where += f": {_shown(problem.text)}"
        elif problem.column is not None:
            where += f", column {self._targets[problem.column].name}"
        problem.error.where = where
        raise problem.error

    def _whole(self, fields: Fields) -> Points:
        self._force_nulls(fields)
        read = [self._read(fields, at) for at in range(len(self._targets))]
        bad = {at: values.bad for at, values in enumerate(read) if values is not None and len(values.bad)}
        tagged = None
        if self._tags is not None:
            tagged, failed = self._tags.of(fields)
            bad.update(failed)
        keep = self._without_bad(fields, bad)
        columns = dict(zip([c.name for c in self._targets], read, strict=True))
        values = {name: each.array for name, each in columns.items() if each is not None}
        count = fields.rows
        if keep is not None:
            kept = np.flatnonzero(keep)
            count = len(kept)
            values = {name: array.take(pa.array(kept)) for name, array in values.items()}
            tagged = (tagged[0], tagged[1][kept]) if tagged is not None else None
        self._check_not_null(fields, keep)
        if self._prepared.omitted:
            values.update(self._defaults(count))
        time_ns = values.pop(TIME_NS, None)
        points = points_of(self._prepared.series, values, count, now_ns=self._now_ns, time_ns=time_ns, tagged=tagged)
        lines = fields.lines[: fields.rows] if keep is None else fields.lines[: fields.rows][keep]
        if self._chosen is not None and count:
            rows = self._chosen(points)
            points, lines, count = points.take(rows), lines[rows], len(rows)
        refused = self._refused(points) if self._refused is not None else None
        if refused is not None:
            self._in_line(fields, int(np.searchsorted(fields.lines[: fields.rows], lines[refused[0]])), refused[1])
            raise refused[1]
        self.rows += count
        if self._prepared.series.uniques and count:
            self.lines.append(_lines(lines))
        return points

    def _read(self, fields: Fields, at: int) -> Values | None:
        column = self._targets[at]
        if self._tags is not None and column.role is Role.TAG:
            return None
        return self._values.read(column, fields, at)

    def _force_nulls(self, fields: Fields) -> None:
        rows = fields.rows
        for at, column in enumerate(self._targets if self._forces else ()):
            ends, starts = fields.ends[at, :rows], fields.starts[at, :rows]
            nulls = ends < 0
            if _named(self._options.force_null, column):
                same = np.zeros(rows, np.bool_)
                kernels.equal_to(fields.octets, starts, ends, self._null, same)
                ends[same] = -1
            if _named(self._options.force_not_null, column):
                np.copyto(ends, starts + len(self._null), where=nulls)

    # --- what is wrong ---

    def _without_bad(self, fields: Fields, bad: dict[int, Int64s]) -> Mask | None:
        """Which rows are right; None for all. Raises the first row's error unless they are to be skipped."""
        if not bad:
            return None
        if not self._options.ignore_errors:
            row, at = min((int(rows[0]), at) for at, rows in bad.items())
            self._check_not_null(fields, np.arange(fields.rows) < row)
            self._explain(fields, at, row, int(fields.lines[row]))
            raise AssertionError(f"row {row} of column {at} is right after all")
        keep = np.ones(fields.rows, np.bool_)
        for rows in bad.values():
            keep[rows] = False
        if self._options.verbose:
            self._name_skipped(fields, bad)
        self.skipped += int(fields.rows - keep.sum())
        limit = self._options.reject_limit
        if limit is not None and self.skipped > limit:
            raise ProgramLimitExceeded(
                f"skipped more than REJECT_LIMIT ({limit}) rows due to data type incompatibility"
            )
        return keep

    def _explain(self, fields: Fields, at: int, row: int, line: int) -> None:
        """Raise what is wrong with a field, if anything is."""
        column = self._targets[at]
        octets = fields.octets_of(at, row)
        if octets is None:
            return
        error = self._values.explain(column, octets)
        if error is not None:
            where = f"COPY {self._prepared.series.name}, line {line}"
            if isinstance(error, CharacterNotInRepertoire) and not self._options.binary and row < fields.rows:
                where += f": {_shown(fields.line_text(row))}"  # found when the line was cut, before there were columns
            elif self._options.binary:
                where += f", column {column.name}"
            else:
                where += f", column {column.name}: {_shown(octets.decode(errors='replace'))}"
            error.where = where
            raise error

    def _check_not_null(self, fields: Fields, keep: Mask | None) -> None:
        first: tuple[int, Column] | None = None
        for column, at in self._required:
            nulls = np.ones(fields.rows, np.bool_) if at is None else fields.ends[at, : fields.rows] < 0
            found = np.flatnonzero(nulls if keep is None else nulls & keep)
            if len(found) and (first is None or found[0] < first[0]):
                first = int(found[0]), column
        if first is None:
            return
        row, column = first
        error = null_in(self._prepared.series.path, column.name)
        self._in_line(fields, row, error)
        raise error

    def _in_line(self, fields: Fields, row: int, error: TsdbError) -> None:
        error.where = f"COPY {self._prepared.series.name}, line {fields.lines[row]}"
        if not self._options.binary:
            error.where += f": {_shown(fields.line_text(row))}"

    def _name_skipped(self, fields: Fields, bad: dict[int, Int64s]) -> None:
        first: dict[int, int] = {}
        for at in sorted(bad, reverse=True):
            first.update(dict.fromkeys(bad[at].tolist(), at))
        for row in sorted(first)[: max(0, _NAMED_MAX - len(self.notices))]:
            name, text = self._targets[first[row]].name, _shown(fields.text(first[row], row) or "")
            line = f'line {fields.lines[row]} for column "{name}"'
            self.notices.append(notice(f"skipping row due to data type incompatibility at {line}: {text}"))


def writes(
    series: Series, view: View, batches: Iterable[Points], lines: Sequence[Lines], *, numbered: bool
) -> Iterator[Write]:
    """What a COPY FROM does with its points, ``lines`` for each batch of a reference table. Raises UniqueViolation."""
    unique = UniqueRows(series, view, numbered) if series.uniques else None
    for at, points in enumerate(batches):
        found = None if unique is None else unique.take(points)
        if found is not None:
            row, error = found
            error.where = f"COPY {series.name}, line {lines[at][row]}"
            raise error
        yield Write(points, free=None if unique is None else unique.demand(points))


def _lines(lines: Int64s) -> Lines:
    """Lines in a row need no memory."""
    first, last = int(lines[0]), int(lines[-1])
    return range(first, last + 1) if last - first == len(lines) - 1 else lines.copy()


def _tags(prepared: PreparedCopy) -> TagSets | None:
    """The way for tags that are plain texts: without a column of values for each."""
    tags = [(at, c) for at, c in enumerate(prepared.targets) if c.role is Role.TAG]
    plain = all(c.type in PLAIN_TEXTS and c.typmod < 0 for _, c in tags)
    if not tags or not plain or any(c.role is Role.TAG for c in prepared.omitted):
        return None
    binary = prepared.copy.options.binary
    return TagSets([at for at, _ in tags], [c.number for _, c in tags], binary=binary)


def _integers(prepared: PreparedCopy) -> dict[int, tuple[int, int]]:
    """The bounds of the columns that hold integers, whose text is what the input says."""
    options = prepared.copy.options
    return {
        at: INTEGER_RANGES[column.type]
        for at, column in enumerate(prepared.targets)
        if column.type in INTEGER_RANGES
        and not _named(options.force_null, column)
        and not _named(options.force_not_null, column)
    }


def _named(names: Names, column: Column) -> bool:
    return names is not None and (names == "*" or column.name in names)


def _shown(text: str) -> str:
    """PostgreSQL's limit_printout_length, in quotes."""
    octets = text.encode(errors="replace")
    if len(octets) > _SHOWN_BYTES:
        text = octets[:_SHOWN_BYTES].decode(errors="ignore") + "..."
    return f'"{text}"'
