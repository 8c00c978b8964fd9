"""COPY's input, cut anywhere by the network, as whole records of fields. Feeds the kernels and keeps what is left.

    cutter = Cutter(options, columns, integers, tags)
    for fields in cutter.feed(octets): …        records that are complete by now
    for fields in cutter.finish(): …            the rest

``Fields`` point into buffers of the cutter: they hold until the next one is taken. What is wrong with the input
comes as ``Fields.problem``, after the good records before it; nothing can be fed after that.
"""

from __future__ import annotations

import codecs
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from tsdb.errors import BadCopyFileFormat, CharacterNotInRepertoire, ProgramLimitExceeded, TsdbError
from tsdb.kernels import readonly
from tsdb.sql.copy import cut_kernels as kernels
from tsdb.sql.copy import places
from tsdb.sql.copy.cut_kernels import Bytes, Int32s, Int64s
from tsdb.sql.copy.line_kernels import FIRST, NULLS, NUMBER, SLOW, TAGS, Cut, Format, cut_lines
from tsdb.sql.copy.options import CopyOptions

# Fields and rows of one ``Fields``; bytes of one record. No power of two: the columns' places would fall onto the same
# lines of the processor's cache.
FIELDS_MAX = 1 << 21
ROWS_MAX = 16_464
RECORD_BYTES_MAX = 64 << 20

# So that nobody can choose tags that collide.
SEED = np.uint64(secrets.randbits(64))

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_HEADER_BYTES = len(_SIGNATURE) + 8


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with the record after the good ones: its line, and its text or column if they are to be shown.

    ``fields`` is how many fields it has at least, all cut: PostgreSQL reads values before it misses the next one.
    """

    error: TsdbError
    line: int
    text: str | None = None
    column: int | None = None
    fields: int = 0


@dataclass(frozen=True, slots=True)
class Fields:
    """``rows`` records: field c of row r is ``octets[starts[c, r]:ends[c, r]]``, NULL where the end is -1.

    ``integers``: by column what was read as integers while it was cut, but for the rows that are ``slow``; ``whole``:
    those of these columns that have no NULL and no slow row. ``tags``: a number for each row and the first row of each
    number; rows with the same text of all tags have the same.
    """

    raw: bytes
    octets: Bytes
    starts: Int32s
    ends: Int32s
    rows: int
    lines: Int64s
    line_starts: Int64s
    line_ends: Int64s
    problem: Problem | None = None
    integers: Mapping[int, Int64s] = field(default_factory=dict)
    whole: frozenset[int] = frozenset()
    slow: Int32s = field(default_factory=lambda: np.empty(0, np.int32))
    tags: tuple[Int32s, Int32s] | None = None

    def text(self, column: int, row: int) -> str | None:
        octets = self.octets_of(column, row)
        return None if octets is None else octets.decode(errors="replace")

    def octets_of(self, column: int, row: int) -> bytes | None:
        start, end = int(self.starts[column, row]), int(self.ends[column, row])
        return None if end < 0 else self.octets[start:end].tobytes()

    def line_text(self, row: int) -> str:
        return self.raw[int(self.line_starts[row]) : int(self.line_ends[row])].decode(errors="replace")


class Cutter:
    """``columns`` names the target's columns in order; ``integers`` says which of them hold integers, and within which
    bounds; ``tags`` are the first and the last of the tags, if they stand side by side. Not for two threads at a time.
    """

    def __init__(
        self,
        options: CopyOptions,
        columns: list[str],
        integers: Mapping[int, tuple[int, int]] | None = None,
        tags: tuple[int, int] | None = None,
    ) -> None:
        self._options = options
        self._columns = columns
        self._integers = dict(integers or {}) if not options.binary else {}
        self._tags = tags if not options.binary else None
        self._state = np.zeros(kernels.STATE_SIZE, np.int64)
        self._left = b""
        self._header = options.header != "off" or options.binary
        self._ended = False
        utf8 = options.binary or options.encoding in ("", "utf-8")
        self._decoder = None if utf8 else codecs.getincrementaldecoder(options.encoding)()
        rows = min(ROWS_MAX, max(16, FIELDS_MAX // len(columns)))
        self._places = places.taken(len(columns), rows)
        if not options.binary:
            self._format = _format(options, len(columns), self._integers, self._tags)

    @property
    def line(self) -> int:
        """The line of the last whole record."""
        return int(self._state[kernels.LINE])

    def feed(self, octets: bytes) -> Iterator[Fields]:
        return self._cut(octets, final=False)

    def finish(self) -> Iterator[Fields]:
        """What is left. Nothing can be fed after it, and ``Fields`` do not hold beyond its end."""
        yield from self._cut(b"", final=True)
        places.give_back(self._places)

    def _cut(self, octets: bytes, *, final: bool) -> Iterator[Fields]:
        if self._ended:
            if octets and self._options.binary:
                yield self._failed(BadCopyFileFormat("received copy data after EOF marker"), self.line + 1)
            return
        encoding_error: TsdbError | None = None
        if self._decoder is not None:
            octets, encoding_error = self._transcoded(octets, final)
        raw = self._left + octets if self._left else octets
        size = len(raw)
        if not self._options.binary and encoding_error is None:
            size, encoding_error = _valid(raw, final)
        final = final and encoding_error is None
        if self._options.binary and self._header:
            problem = self._binary_header(raw, final)
            if problem is not None:
                yield self._failed(problem, self.line + 1)
                return
            if self._header:
                self._left = raw
                return
        yield from self._records(raw, size, final)
        if encoding_error is not None and not self._ended:
            yield self._failed(encoding_error, self.line + 1)
            return
        self._left = raw[int(self._state[kernels.AT]) :]
        self._state[kernels.AT] = 0
        if len(self._left) > RECORD_BYTES_MAX:
            error = ProgramLimitExceeded(f"a row of COPY is longer than {RECORD_BYTES_MAX >> 20} MiB")
            yield self._failed(error, self.line + 1)

    def _records(self, raw: bytes, size: int, final: bool) -> Iterator[Fields]:
        source = readonly(np.frombuffer(raw, np.uint8) if raw else np.zeros(1, np.uint8))
        out = source if self._options.binary else self._places.copy_of(source) if raw else source.copy()
        if self._header and not self._options.binary:
            problem = self._text_header(raw, source, out, size, final)
            if problem is not None:
                yield self._failed(problem.error, problem.line, problem.text)
                return
            if self._header:
                return
        while not self._ended:
            rows = self._run(source, out, size, final, self._places.starts, self._places.ends)
            status = int(self._state[kernels.STATUS])
            self._ended = status == kernels.END
            problem = self._problem(status, raw, rows)
            if rows or problem is not None:
                yield self._fields(raw, out, rows, problem)
            if problem is not None:
                self._ended = True
            if status != kernels.FULL:
                return

    def _run(self, source: Bytes, out: Bytes, size: int, final: bool, starts: Int32s, ends: Int32s) -> int:
        options, state, lines = self._options, self._state, self._places.lines
        if options.binary:
            return kernels.cut_binary(source, size, final, state, starts, ends, lines)
        at = self._places
        cut = Cut(
            out, starts, ends, at.values, lines, at.line_starts, at.line_ends, at.slow, at.tags, at.slots, at.counts
        )
        # The header is a line that nothing is known of, and may have another number of fields.
        form = self._format if starts is at.starts else self._format._replace(plain=False, tag_first=-1)
        return int(cut_lines(source, size, final, form, state, cut))

    def _fields(self, raw: bytes, out: Bytes, rows: int, problem: Problem | None) -> Fields:
        at = self._places
        found = Fields(raw, out, at.starts, at.ends, rows, at.lines, at.line_starts, at.line_ends, problem)
        if self._options.binary or not rows:
            return found
        integers = {column: at.values[column] for column in self._integers}
        tags = None if self._tags is None else (at.tags[NUMBER, :rows], at.tags[FIRST, : at.counts[TAGS]])
        slow = at.slow[: at.counts[SLOW]]
        whole = frozenset(() if len(slow) else (c for c in integers if not at.counts[NULLS + c]))
        return replace(found, integers=integers, whole=whole, slow=slow, tags=tags)

    def _failed(self, error: TsdbError, line: int, text: str | None = None) -> Fields:
        self._ended = True
        return self._fields(b"", np.zeros(1, np.uint8), 0, Problem(error, line, text))

    # --- headers ---

    def _text_header(self, raw: bytes, source: Bytes, out: Bytes, size: int, final: bool) -> Problem | None:
        """Skip the first line, once it is there; with MATCH its names must be the columns'."""
        wanted, at = len(self._columns), self._places
        starts, ends = np.zeros((wanted, 1), np.int32), np.zeros((wanted, 1), np.int32)
        begun = self.line
        rows = self._run(source, out, size, final, starts, ends)
        status = int(self._state[kernels.STATUS])
        self._ended = status == kernels.END
        if not rows and status not in (kernels.EXTRA, kernels.MISSING):
            return self._problem(status, raw, 0)
        self._header = False
        text = raw[int(at.line_starts[0]) : int(at.line_ends[0])].decode(errors="replace")
        if not rows:  # a line of other fields than the table's: go on after it
            count = int(self._state[kernels.DETAIL])
            wide = np.zeros((count, 1), np.int32)
            self._state[kernels.LINE] = begun
            self._run(source, out, size, final, wide, wide.copy())
            if self._options.header == "match":
                message = f"wrong number of fields in header line: got {count}, expected {wanted}"
                return Problem(BadCopyFileFormat(message), self.line, text)
        if self._options.header == "match":
            fields = Fields(raw, out, starts, ends, 1, at.lines, at.line_starts, at.line_ends)
            for i, name in enumerate(self._columns):
                found = fields.text(i, 0)
                if found != name:
                    got = f'null value ("{self._options.null}")' if found is None else f'"{found}"'
                    message = f'column name mismatch in header line field {i + 1}: got {got}, expected "{name}"'
                    return Problem(BadCopyFileFormat(message), self.line, text)
        return None

    def _binary_header(self, raw: bytes, final: bool) -> TsdbError | None:
        """Skip the file header, once it is there."""
        if raw[: len(_SIGNATURE)] != _SIGNATURE[: len(raw)]:
            return BadCopyFileFormat("COPY file signature not recognized")
        if len(raw) >= _HEADER_BYTES:
            flags = int.from_bytes(raw[11:15], "big")
            extension = int.from_bytes(raw[15:19], "big", signed=True)
            if flags & 1 << 16:
                return BadCopyFileFormat("invalid COPY file header (WITH OIDS)")
            if flags >> 16:
                return BadCopyFileFormat("unrecognized critical flags in COPY file header")
            if extension < 0:
                return BadCopyFileFormat("invalid COPY file header (missing length)")
            if len(raw) >= _HEADER_BYTES + extension:
                self._header = False
                self._state[kernels.AT] = _HEADER_BYTES + extension
                return None
        if final:
            part = "signature not recognized" if len(raw) < len(_SIGNATURE) else None
            return BadCopyFileFormat(f"COPY file {part}" if part else "invalid COPY file header (missing flags)")
        return None

    # --- characters ---

    def _transcoded(self, octets: bytes, final: bool) -> tuple[bytes, TsdbError | None]:
        assert self._decoder is not None
        try:
            return self._decoder.decode(octets, final).encode(), None
        except UnicodeDecodeError as error:
            good = error.object[: error.start].decode(self._options.encoding)
            return good.encode(), _wrong_character(error.object[error.start : error.end], self._options.encoding)

    # --- errors ---

    def _problem(self, status: int, raw: bytes, row: int) -> Problem | None:
        if status < kernels.EXTRA:
            return None
        detail = int(self._state[kernels.DETAIL])
        column = self._columns[detail] if 0 <= detail < len(self._columns) else None
        if status in _LINE_ERRORS:
            message, hint = _LINE_ERRORS[status][self._options.format == "csv"]
            return Problem(BadCopyFileFormat(message, hint=hint), self.line + 1)
        if status in (kernels.WRONG_COUNT, kernels.WRONG_SIZE, kernels.UNEXPECTED_END):
            if status == kernels.WRONG_COUNT:
                message = f"row field count is {detail}, expected {len(self._columns)}"
                return Problem(BadCopyFileFormat(message), self.line)
            message = "invalid field size" if status == kernels.WRONG_SIZE else "unexpected EOF in COPY data"
            return Problem(BadCopyFileFormat(message), self.line, None, detail if column is not None else None)
        message = {
            kernels.EXTRA: "extra data after last expected column",
            kernels.MISSING: f'missing data for column "{column}"',
            kernels.UNTERMINATED: "unterminated CSV quoted field",
        }[status]
        text = raw[int(self._places.line_starts[row]) : int(self._places.line_ends[row])].decode(errors="replace")
        fields = detail if status == kernels.MISSING else 0
        return Problem(BadCopyFileFormat(message), self.line, text, None, fields)


def _format(
    options: CopyOptions, columns: int, integers: Mapping[int, tuple[int, int]], tags: tuple[int, int] | None
) -> Format:
    csv = options.format == "csv"
    # The octets that do not stand for themselves.
    special = np.zeros(256, np.bool_)
    special[list((options.delimiter + (options.quote if csv else "\\") + "\r\n").encode())] = True
    low, high = np.ones(columns, np.int64), np.zeros(columns, np.int64)
    for column, bounds in integers.items():
        low[column], high[column] = bounds
    quote, escape = (ord(options.quote), ord(options.escape)) if csv else (0, 0)
    first, last = tags or (-1, -1)
    null = np.frombuffer(options.null.encode(), np.uint8)
    # A NULL that looks like the end of the data is none where that is looked for first.
    plain = "\\." not in options.null
    return Format(csv, plain, ord(options.delimiter), quote, escape, special, null, low, high, first, last, SEED)


_CR_HINTS = ('Use "\\r" to represent carriage return.', "Use quoted CSV field to represent carriage return.")
_LF_HINTS = ('Use "\\n" to represent newline.', "Use quoted CSV field to represent newline.")
_STYLE = ("end-of-copy marker does not match previous newline style", None)
_CORRUPT = ("end-of-copy marker corrupt", None)
_LINE_ERRORS: dict[int, tuple[tuple[str, str | None], tuple[str, str | None]]] = {
    kernels.LITERAL_CR: (
        ("literal carriage return found in data", _CR_HINTS[0]),
        ("unquoted carriage return found in data", _CR_HINTS[1]),
    ),
    kernels.LITERAL_NL: (
        ("literal newline found in data", _LF_HINTS[0]),
        ("unquoted newline found in data", _LF_HINTS[1]),
    ),
    kernels.MARKER_STYLE: (_STYLE, _STYLE),
    kernels.MARKER_CORRUPT: (_CORRUPT, _CORRUPT),
}


def _valid(raw: bytes, final: bool) -> tuple[int, TsdbError | None]:
    """How many bytes are valid UTF-8 without zero characters, and the error after them, if any."""
    zero = raw.find(0)
    checked = raw if zero < 0 else raw[:zero]
    if not checked.isascii():
        try:
            checked.decode()
        except UnicodeDecodeError as error:
            if zero < 0 and not final and error.end == len(raw) and error.reason == "unexpected end of data":
                return error.start, None
            return error.start, _wrong_character(_sequence(raw, error.start), "utf-8")
    if zero >= 0:
        return zero, _wrong_character(b"\0", "utf-8")
    return len(raw), None


def _sequence(raw: bytes, start: int) -> bytes:
    """The bytes that PostgreSQL shows: as many as the first one announces."""
    lead = raw[start]
    length = 2 if lead & 0xE0 == 0xC0 else 3 if lead & 0xF0 == 0xE0 else 4 if lead & 0xF8 == 0xF0 else 1
    return raw[start : start + length]


def _wrong_character(octets: bytes, encoding: str) -> TsdbError:
    shown = " ".join(f"0x{octet:02x}" for octet in octets)
    name = "UTF8" if encoding == "utf-8" else encoding.upper()
    return CharacterNotInRepertoire(f'invalid byte sequence for encoding "{name}": {shown}')
