"""Line protocol: a request body to columns.

    body ── walk (kernel) ──► rows, values, distinct names ── sort (kernel_columns) ──► Parsed

Work in Python is per measurement, tag key, field and error, never per row or series key. What the schema says about
the lines is ``tsdb.ingest.bind``'s matter.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb import prompt
from tsdb.errors import InvalidParameterValue, ProgramLimitExceeded
from tsdb.ingest import kernel as k
from tsdb.ingest import kernel_names as kn
from tsdb.ingest import lexicon, room
from tsdb.ingest.faults import Limits, LineError, line_text, message_of
from tsdb.ingest.kernel_columns import (
    KINDS,
    cut,
    sort_rows,
    sort_values,
    strings_size,
    turn_values,
    unescape_strings,
)
from tsdb.ingest.kernel_numbers import FLOAT_RANGE
from tsdb.ingest.kernel_tags import clashing, number_fields, number_groups
from tsdb.ingest.lexicon import Lexicon
from tsdb.ingest.serieskey import SeriesKeyReader, SeriesKeys
from tsdb.kernels import readonly
from tsdb.model.schema import MAX_NAME_BYTES
from tsdb.types import Kind

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

_PRECISIONS = {
    "n": 1, "ns": 1, "u": 1_000, "us": 1_000, "µ": 1_000, "μ": 1_000, "ms": 1_000_000, "s": 1_000_000_000,
    "m": 60_000_000_000, "h": 3_600_000_000_000,
}  # fmt: skip

# Offsets are int32, and a string's place has 31 bits.
_BODY_BYTES_MAX = 2**31 - 1

# In the kernel's order.
_KINDS = tuple(Kind(number + 1) for number in range(KINDS))

# A request cannot know it, so it cannot choose names that collide.
SEED = np.uint64(secrets.randbits(64))


@dataclass(frozen=True, slots=True)
class FieldColumn:
    """The values of one field and kind: ``rows`` int32, rising, index the lines of the measurement.

    ``values`` are float64, int64, uint64 or bool, or an Arrow string array. A field written with several kinds in one
    body has several columns.
    """

    name: str
    kind: Kind
    rows: Int32s
    values: npt.NDArray[np.float64 | np.int64 | np.uint64 | np.bool_] | pa.StringArray


# What is parsed where nothing may last has at most so many names that are new, so many of these, and so many bytes of
# numbers that Python reads.
NEW_NAMES_MAX, MEASUREMENTS_MAX, FIELDS_MAX, SLOW_BYTES_MAX = 2048, 32, 512, 16_384


@dataclass(frozen=True, slots=True)
class Lines:
    """The good lines of one measurement, n of them, in the order of the body.

    ``line_numbers`` int32[n]; ``times`` int64[n] in ns; ``keys`` the distinct series keys, ``key`` int32[n] indexes
    them; ``fields`` in the order of their first appearance; ``starts`` and ``ends`` int32[n] are ranges of the body.
    """

    measurement: str
    line_numbers: Int32s
    times: Int64s
    keys: SeriesKeys
    key: Int32s
    fields: tuple[FieldColumn, ...]
    starts: Int32s
    ends: Int32s

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A body's good lines by measurement, in order of first appearance, and its bad lines. With ``again``
    measurements and names come as they did in earlier bodies; it gives the same in order.

    ``errors`` are the first of them by line number (``Limits.errors_max``), ``error_count`` counts all.
    """

    body: bytes | bytearray
    lines: tuple[Lines, ...]
    errors: tuple[LineError, ...]
    error_count: int
    limits: Limits
    again: Callable[[], Parsed] | None = field(default=None, compare=False)

    @property
    def row_count(self) -> int:
        return sum(len(lines) for lines in self.lines)


def precision_factor(precision: str) -> int:
    """Nanoseconds in one unit. Raises InvalidParameterValue with InfluxDB's text."""
    try:
        return _PRECISIONS[precision]
    except KeyError:
        raise InvalidParameterValue(f'invalid precision "{precision}" (use n, u, ms, s, m or h)') from None


def parse(
    body: bytes | bytearray | memoryview,
    *,
    precision: str = "ns",
    now_ns: int,
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    require_time: bool = False,
    line_first: int = 1,
    recall: bool = False,
) -> Parsed:
    """Parse a whole body; bad lines become errors, good ones columns. ``recall``: with the names of earlier bodies.

    Lines without a time get ``now_ns``, truncated to ``precision``, or an error if ``require_time``. ``line_first`` is
    the number of the body's first line, for a part of a larger body. Raises InvalidParameterValue (precision) and
    ProgramLimitExceeded (body too large).
    """
    factor = precision_factor(precision)
    if len(body) > min(limits.body_bytes_max, _BODY_BYTES_MAX):
        raise ProgramLimitExceeded(
            f"request body of {len(body)} bytes is larger than {min(limits.body_bytes_max, _BODY_BYTES_MAX)}",
            hint="Send smaller batches.",
        )
    text = bytes(body) if isinstance(body, memoryview) else body  # nobody changes it
    bounds = kn.Bounds(
        SEED,
        text.isascii(),
        line_first,
        require_time,
        now_ns - now_ns % factor,
        factor,
        limits.line_bytes_max,
        limits.key_bytes_max,
        min(limits.name_bytes_max, MAX_NAME_BYTES),
        limits.string_bytes_max,
        limits.fields_max,
        limits.tags_max,
    )
    size = size_of_names = 1  # for usual lines, and larger as often as that does not suffice
    escapes = b"\\" in text
    in_order = partial(
        parse, text, precision=precision, now_ns=now_ns, limits=limits, require_time=require_time, line_first=line_first
    )
    words = lexicon.taken(len(text), size_of_names, limits, recall)
    while True:
        found = room.taken(len(text), size, limits.errors_max)
        words.begin(escapes)
        output = found.output(len(text), size, words)
        outcome = k.walk(readonly(np.frombuffer(text, dtype=np.uint8)), bounds, output)
        if outcome == kn.OK:
            parsed = _Sorting(text, output, words).parsed(in_order if words.recalled else None)
            room.give_back(found)
            if recall:
                lexicon.give_back(words)
            return parsed
        if outcome == kn.NO_ROOM or not words.recalled:
            # More rows, values or names than usual lines of this length have: what is walked again may last.
            prompt.may_wait()
        if outcome == kn.NO_ROOM:
            words.learn(output.state)
            size *= 4
        else:
            size_of_names *= 1 if words.recalled else 4
            words = lexicon.taken(len(text), size_of_names, limits, recall=False)


def split(body: bytes | bytearray, parts: int) -> Iterator[tuple[memoryview, int]]:
    """Cut a body at line borders into at most ``parts`` parts of about equal size, each with its first line's number.
    The lines of one are counted when the next is asked for.

    Newlines inside strings are no borders, so the parts parse to what the whole would.
    """
    view = memoryview(body)
    borders = np.array([len(view) * part // parts for part in range(1, parts)], dtype=np.int64)
    if b'"' in body:
        cut(readonly(np.frombuffer(view, dtype=np.uint8)), borders)
    else:
        for k, border in enumerate(borders.tolist()):
            borders[k] = body.find(b"\n", max(0, border - 1)) + 1 or len(body)
    cuts = [0, *borders.tolist(), len(view)]
    line = 1
    for start, end in itertools.pairwise(cuts):
        if end > start:
            yield view[start:end], line
            line += body.count(b"\n", start, end) if end < len(view) else 0


class _Sorting:
    """From a walk's output to ``Parsed``: floats left over, names decoded, rows and values sorted."""

    def __init__(self, text: bytes | bytearray, output: k.Output, words: Lexicon) -> None:
        state = output.state
        self.text = text
        self.output = output
        self.limits = words.limits
        self.rows = output.rows[:, : state[k.ROWS]]
        self.values = output.values[:, : state[k.VALUES]]
        self.names = output.names[:, : state[kn.NAMES]]
        self.new_names = self.names.shape[1] - words.recalled
        words.learn(state, self.rows.shape[1])
        self.reader = SeriesKeyReader(words)
        self.dead = np.zeros(self.rows.shape[1], dtype=np.bool_)
        self.dead_count = 0
        self.late: list[tuple[int, str]] = []  # (row, message), at least as many as may be listed
        self.groups = np.full(self.names.shape[1], -1, dtype=np.int32)  # of measurements, by name
        self.field_number = np.empty(self.names.shape[1], np.int32)  # by name
        self.fields = 0

    def parsed(self, again: Callable[[], Parsed] | None) -> Parsed:
        self._may_last()
        self._read_slow_floats()
        self._refuse_tags_as_fields()
        lines = self._lines() if self.dead_count < len(self.dead) else ()
        errors = self._errors()
        count = int(self.output.state[k.FAULTS]) + self.dead_count
        return Parsed(self.text, lines, errors, count, self.limits, again)

    def _may_last(self) -> None:
        """Names and slow floats are work for Python, one by one: half a MiB of measurements took seconds. Raises
        MayWait where nothing may last."""
        if not prompt.is_prompt():
            return
        slows = self.output.slows[:, : self.output.state[k.SLOWS]]
        owners = self.names[kn.OWNER]
        many = np.count_nonzero(owners == kn.MEASUREMENT_NAME) > MEASUREMENTS_MAX
        many = many or np.count_nonzero(owners >= 0) > FIELDS_MAX
        if (
            self.new_names > NEW_NAMES_MAX
            or int((slows[2] - slows[1]).sum()) > SLOW_BYTES_MAX
            or (many and self._names_many())
        ):
            prompt.may_wait()

    def _names_many(self) -> bool:
        """Does this body name many measurements or fields, of all that are known?"""
        seen = np.zeros((3, self.names.shape[1]), np.bool_)
        seen[0, self.rows[k.ROW_KEY]] = True
        seen[1, self.names[kn.MEASUREMENT, seen[0]]] = True
        seen[2, self.values[k.VALUE_FIELD]] = True
        return bool(np.count_nonzero(seen[1]) > MEASUREMENTS_MAX or np.count_nonzero(seen[2]) > FIELDS_MAX)

    def _read_slow_floats(self) -> None:
        """What the kernel could not round for certain; an infinity is out of range."""
        count = int(self.output.state[k.SLOWS])
        floats = self.output.bits.view(np.float64)
        for value, start, end in self.output.slows[:, :count].T.tolist():
            number = float(self.text[start:end])
            floats[value] = number
            if number in (float("inf"), float("-inf")):
                row = int(self.values[k.VALUE_ROW, value])
                column = start - int(self.rows[k.ROW_START, row]) + 1
                self._refuse(row, message_of(FLOAT_RANGE, column, self.limits))

    def _refuse(self, row: int, message: str) -> None:
        if not self.dead[row]:
            self.dead[row] = True
            self.dead_count += 1
            self.late.append((row, message))

    def _refuse_tags_as_fields(self) -> None:
        """A name that is tag and field of one line."""
        texts, slots, tag_of_field = self.output.texts, self.output.slots, np.empty(self.names.shape[1], np.int32)
        self.fields, alike = number_fields(texts, self.names, slots, SEED, self.field_number, tag_of_field)
        if not alike:
            return
        values = self.values
        rows, fields = clashing(
            self.names, self.output.tags, self.rows[k.ROW_KEY], values[k.VALUE_ROW], values[k.VALUE_FIELD], tag_of_field
        )
        listed = self.limits.errors_max
        for row, name in zip(rows[:listed].tolist(), fields[:listed].tolist(), strict=True):
            self._refuse(row, f'"{self.reader.text(name)}" is a tag and a field of this line')
        self.dead[rows] = True
        self.dead_count = int(self.dead.sum())

    def _lines(self) -> tuple[Lines, ...]:
        alike = self._lines_alike()
        if alike is not None:
            return (alike,)
        rows, names = self.rows, self.names
        used = np.zeros(names.shape[1], dtype=np.uint8)  # a refused line's tags must not reach the schema
        used[rows[k.ROW_KEY] if self.dead_count == 0 else rows[k.ROW_KEY, ~self.dead]] = 1
        measurements = number_groups(names, used, self.groups).tolist()
        keys = np.flatnonzero(used).astype(np.int32)
        key_group = self.groups[names[kn.MEASUREMENT]]
        order = np.empty(rows.shape[1] - self.dead_count, dtype=np.int32)
        row_offset = np.zeros(len(measurements) + 1, dtype=np.int64)
        place = sort_rows(self.output.rows, rows.shape[1], self.dead, key_group, row_offset, order)
        columns = self._columns(place, len(measurements))
        number = np.empty(names.shape[1], dtype=np.int32)  # of a series key in its measurement
        found = []
        for group, of_group in enumerate(_by_group(keys, key_group[keys], len(measurements))):
            number[of_group] = np.arange(len(of_group), dtype=np.int32)
            at = order[row_offset[group] : row_offset[group + 1]]
            found.append(
                Lines(
                    self.reader.measurement(measurements[group]),
                    rows[k.ROW_LINE, at],
                    self.output.times[at],
                    self.reader.keys(measurements[group], of_group),
                    number[rows[k.ROW_KEY, at]],
                    tuple(columns[group]),
                    rows[k.ROW_START, at],
                    rows[k.ROW_END, at],
                )
            )
        return tuple(found)

    def _lines_alike(self) -> Lines | None:
        """All lines, where every one has the same fields in the same order; a field is of one measurement."""
        rows, count = self.rows, self.rows.shape[1]
        fields = self.values.shape[1] // count
        if self.dead_count or fields * count != self.values.shape[1]:
            return None
        columns = np.empty((fields, count), np.int64)
        if not turn_values(self.values, self.output.bits, columns):
            return None
        used = np.zeros(self.names.shape[1], np.bool_)
        used[rows[k.ROW_KEY]] = True
        keys = np.flatnonzero(used).astype(np.int32)
        number = np.empty(len(used), np.int32)
        number[keys] = np.arange(len(keys), dtype=np.int32)
        measurement = int(self.names[kn.MEASUREMENT, keys[0]])
        every, found = np.arange(count, dtype=np.int32), []
        for column, name, kind in zip(columns, *self.values[k.VALUE_FIELD :, :fields].tolist(), strict=True):
            of = _KINDS[kind - 1]
            found.append(FieldColumn(self.reader.text(name), of, every, _typed(self.text, of, column)))
        line, start, end = rows[: k.ROW_KEY].copy()
        return Lines(
            self.reader.measurement(measurement),
            line,
            self.output.times[:count].copy(),
            self.reader.keys(measurement, keys),
            number[rows[k.ROW_KEY]],
            tuple(found),
            start,
            end,
        )

    def _columns(self, place: Int32s, groups: int) -> list[list[FieldColumn]]:
        """The field columns of each group."""
        count = self.values.shape[1]
        offset = np.zeros(self.fields * KINDS + 1, dtype=np.int64)
        column_rows = np.empty(count, dtype=np.int32)
        column_bits = np.empty(count, dtype=np.int64)
        sort_values(
            self.output.values, self.output.bits, count, place, self.field_number, offset, column_rows, column_bits
        )
        columns: list[list[FieldColumn]] = [[] for _ in range(groups)]
        names = np.flatnonzero(self.field_number >= 0)
        group_of = self.groups[self.names[kn.OWNER, names]].tolist()
        borders = offset.tolist()
        # Only names with values: those of refused lines alone may be no text.
        for column in np.flatnonzero(np.diff(offset)).tolist():
            field, kind = column // KINDS, _KINDS[column % KINDS]
            at = slice(borders[column], borders[column + 1])
            name, values = self.reader.text(int(names[field])), _typed(self.text, kind, column_bits[at])
            columns[group_of[field]].append(FieldColumn(name, kind, column_rows[at], values))
        return columns

    def _errors(self) -> tuple[LineError, ...]:
        listed = int(self.output.state[k.FAULTS_LISTED])
        errors = [
            LineError(line, line_text(self.text, start, end), message_of(code, at - start + 1, self.limits))
            for line, start, end, code, at in self.output.faults[:, :listed].T.tolist()
        ]
        for row, message in self.late:
            line, start, end = self.rows[: k.ROW_KEY, row].tolist()
            errors.append(LineError(line, line_text(self.text, start, end), message))
        return merge_errors(errors, self.limits)


def _by_group(keys: Int32s, groups: Int32s, count: int) -> list[Int32s]:
    """``keys`` of each group, in their order."""
    if count == 1:
        return [keys]
    borders = np.cumsum(np.bincount(groups, minlength=count))[:-1]
    return np.split(keys[np.argsort(groups, kind="stable")], borders)


def merge_errors(errors: Sequence[LineError], limits: Limits) -> tuple[LineError, ...]:
    """The first errors by line number, as many as are listed."""
    return tuple(sorted(errors, key=lambda error: error.line_number)[: limits.errors_max])


def _typed(
    text: bytes | bytearray, kind: Kind, bits: Int64s
) -> npt.NDArray[np.float64 | np.int64 | np.uint64 | np.bool_] | pa.StringArray:
    match kind:
        case Kind.FLOAT8:
            return bits.view(np.float64)
        case Kind.UINT8:
            return bits.view(np.uint64)
        case Kind.BOOL:
            return bits != 0
        case Kind.INT8:
            return bits
    offsets = np.empty(len(bits) + 1, dtype=np.int32)
    out = np.empty(strings_size(bits), dtype=np.uint8)
    unescape_strings(readonly(np.frombuffer(text, dtype=np.uint8)), bits, offsets, out)
    return pa.StringArray.from_buffers(len(bits), pa.py_buffer(offsets), pa.py_buffer(out))
