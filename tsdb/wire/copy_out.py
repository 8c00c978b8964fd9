"""COPY TO: Arrow record batches to CopyData messages, one for each row, a column at a time.

As in ``tsdb.wire.rows`` each column's values are an ``Image``; kernels add up what each row takes, then place the
values behind what each row has already, with the escapes or quotes of the format.

    CopyData      'd' | int32 length | a line in text or csv, or a tuple in binary

One message a row is what PostgreSQL sends, and drivers that read rows (psycopg) rely on it. The binary format's header
shares the first row's message; its trailer has one of its own.

Source: PostgreSQL 15, src/backend/commands/copyto.c (CopyOneRowTo, CopyAttributeOutText, CopyAttributeOutCSV).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from tsdb.encodings import UTF8, encoded
from tsdb.errors import ProgramLimitExceeded
from tsdb.types import SqlType
from tsdb.wire import copy_out_kernels as kernels
from tsdb.wire import octets
from tsdb.wire.backend import copy_data
from tsdb.wire.images import ColumnImages, Image, gather
from tsdb.wire.octets import Int64s
from tsdb.wire.rows import PIECE_BYTES_MAX
from tsdb.zones import zone

_PASS_ROWS = 8192
_ROW_BYTES_MAX = (1 << 30) - 1
_BINARY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_BINARY_TRAILER = b"\xff\xff"
_NEWLINE = 10


@dataclass(frozen=True, slots=True)
class CopyFormat:
    """How rows are written. ``delimiter``, ``quote`` and ``escape`` are one byte; ``force_quote`` says for each column
    whether all its values are quoted; ``encoding`` is Python's name of the client's."""

    format: Literal["text", "csv", "binary"] = "text"
    delimiter: str = "\t"
    null: str = "\\N"
    header: bool = False
    quote: str = '"'
    escape: str = '"'
    force_quote: tuple[bool, ...] = ()
    encoding: str = "utf-8"


class CopyEncoder:
    """Encodes the rows of one COPY. ``columns`` are names and types. Not for two threads at a time."""

    def __init__(self, columns: Sequence[tuple[str, SqlType]], how: CopyFormat, timezone: str = "UTC") -> None:
        self._how = how
        self._names = [name for name, _ in columns]
        binary = how.format == "binary"
        codec = how.encoding if binary else UTF8
        self._columns = [ColumnImages(sql_type, int(binary), zone(timezone), codec) for _, sql_type in columns]
        self._null = np.frombuffer(how.null.encode(), np.uint8)
        self._forced = how.force_quote or (False,) * len(columns)
        self._head = _BINARY_HEADER if binary else b""
        self._out = np.empty(PIECE_BYTES_MAX, np.uint8)

    def start(self) -> bytes:
        """What comes before the rows: the header line."""
        if not self._how.header or self._how.format == "binary":
            return b""
        names = pa.RecordBatch.from_arrays([pa.array([name]) for name in self._names], self._names)
        images = [_texts(names.column(i)) for i in range(len(self._names))]
        return b"".join(self._pieces(1, images, (False,) * len(images)))

    def finish(self) -> bytes:
        """What comes after them: the binary format's trailer."""
        return copy_data(self._take_head() + _BINARY_TRAILER) if self._how.format == "binary" else b""

    def encode_chunks(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        """Whole CopyData messages in pieces of about a MiB at most; a longer row is a piece of its own."""
        assert batch.num_columns == len(self._columns), "the batch has other columns than the COPY"
        dictionaries = [
            images.image(column.dictionary)
            if pa.types.is_dictionary(column.type) and len(column.dictionary) and column.null_count < len(column)
            else None
            for images, column in zip(self._columns, batch.columns, strict=True)
        ]
        for start in range(0, batch.num_rows, _PASS_ROWS):
            rows = min(_PASS_ROWS, batch.num_rows - start)
            parts = [
                images.image(column.slice(start, rows))
                if values is None
                else gather(values, column.slice(start, rows).indices)
                for images, column, values in zip(self._columns, batch.columns, dictionaries, strict=True)
            ]
            yield from self._pieces(rows, parts, self._forced)

    def _pieces(self, rows: int, parts: list[Image], forced: tuple[bool, ...]) -> Iterator[bytes]:
        sizes = self._sizes(rows, parts, forced)
        if int(sizes.max()) > _ROW_BYTES_MAX:
            raise ProgramLimitExceeded(f"a row is longer than {_ROW_BYTES_MAX} bytes")
        ends = np.cumsum(sizes)
        first, done = 0, 0
        while first < rows:
            last = max(int(np.searchsorted(ends, done + PIECE_BYTES_MAX, side="right")), first + 1)
            size = int(ends[last - 1]) - done
            yield self._finished(self._piece(sizes[first:last], parts, forced, first, last, size), sizes[first:last])
            first, done = last, int(ends[last - 1])

    def _sizes(self, rows: int, parts: list[Image], forced: tuple[bool, ...]) -> Int64s:
        how = self._how
        if how.format == "binary":
            sizes = np.full(rows, octets.ROW_HEADER_BYTES, np.int64)
            for part in parts:
                octets.add_sizes(part.lengths, 1 if part.prefix >= 0 else 0, sizes)
            return sizes
        sizes = np.full(rows, kernels.LINE_HEADER_BYTES, np.int64)
        for part, force in zip(parts, forced, strict=True):
            where = (part.octets, part.starts, part.lengths, self._null)
            if how.format == "csv":
                signs = (ord(how.delimiter), ord(how.quote), ord(how.escape))
                kernels.add_csv_sizes(*where, *signs, force, len(parts) == 1, sizes)
            else:
                kernels.add_text_sizes(*where, ord(how.delimiter), sizes)
        return sizes

    def _piece(
        self, sizes: Int64s, parts: list[Image], forced: tuple[bool, ...], first: int, last: int, size: int
    ) -> bytes:
        how = self._how
        out = self._out if size <= len(self._out) else np.empty(size, np.uint8)
        cursors = np.empty(last - first, np.int64)
        binary = how.format == "binary"
        if binary:
            octets.start_rows(sizes, len(parts), out, cursors)
            out[cursors - octets.ROW_HEADER_BYTES] = ord("d")
        else:
            kernels.start_lines(sizes, out, cursors)
        for i, (part, force) in enumerate(zip(parts, forced, strict=True)):
            where = (part.octets, part.starts[first:last], part.lengths[first:last])
            if binary:
                octets.place(*where, part.prefix, out, cursors)
                continue
            after = _NEWLINE if i == len(parts) - 1 else ord(how.delimiter)
            if how.format == "csv":
                signs = (ord(how.delimiter), ord(how.quote), ord(how.escape))
                kernels.place_csv(*where, self._null, *signs, force, len(parts) == 1, after, out, cursors)
            else:
                kernels.place_text(*where, self._null, ord(how.delimiter), after, out, cursors)
        return out[:size].tobytes()

    def _take_head(self) -> bytes:
        head, self._head = self._head, b""
        return head

    def _finished(self, piece: bytes, sizes: Int64s) -> bytes:
        """The binary header before the first row; another encoding, row by row."""
        head = self._take_head()
        if head:
            first = int(sizes[0])
            return copy_data(head + piece[5:first]) + piece[first:]
        if self._how.encoding == "utf-8" or self._how.format == "binary":
            return piece
        return self._transcoded(piece, sizes)

    def _transcoded(self, piece: bytes, sizes: Int64s) -> bytes:
        messages: list[bytes] = []
        at = 0
        for size in sizes.tolist():
            line = piece[at + kernels.LINE_HEADER_BYTES : at + size].decode()
            messages.append(copy_data(encoded(line, self._how.encoding)))
            at += size
        return b"".join(messages)


def _texts(array: pa.Array) -> Image:
    text = array[0].as_py().encode()
    data = np.frombuffer(text, np.uint8) if text else np.zeros(1, np.uint8)
    return Image(data, np.zeros(1, np.int64), np.array([len(text)], np.int32))
