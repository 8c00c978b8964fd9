"""COPY TO: Arrow record batches to CopyData messages, one for each row, a column at a time.

As in ``tsdb.wire.rows`` columns are a table that one kernel takes; it writes row by row, with the escapes or quotes of
the format.

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
from tsdb.types import SqlType
from tsdb.wire import copy_out_kernels as kernels
from tsdb.wire import row_kernels
from tsdb.wire.backend import copy_data
from tsdb.wire.digits import Bytes
from tsdb.wire.images import ColumnImages, Image, Numbers, Values
from tsdb.wire.rows import PIECE_BYTES_MAX, data_rows, room_for
from tsdb.wire.table import find_repeats, table_of
from tsdb.zones import zone

_PASS_ROWS = 8192
_ROW_BYTES_MAX = (1 << 30) - 1
_BINARY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_BINARY_TRAILER = b"\xff\xff"


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
        self._plain_numbers = not set("-0123456789") & {how.delimiter, how.quote, how.escape, *how.null[:1]}
        self._plain_numbers &= not any(self._forced)
        self._out = np.empty(PIECE_BYTES_MAX + row_kernels.SLACK_BYTES, np.uint8)

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
        """Whole CopyData messages in pieces of about half a MiB at most; a longer row is a piece of its own."""
        assert batch.num_columns == len(self._columns), "the batch has other columns than the COPY"
        for start in range(0, batch.num_rows, _PASS_ROWS):
            piece = batch if batch.num_rows <= _PASS_ROWS else batch.slice(start, _PASS_ROWS)
            columns = [
                self._values(images, column) for images, column in zip(self._columns, piece.columns, strict=True)
            ]
            yield from self._pieces(piece.num_rows, columns, self._forced)

    def _values(self, images: ColumnImages, column: pa.Array) -> Values:
        """Integers are written in decimal where nothing in them can mean anything else."""
        values = images.values(column)
        return images.image(column) if isinstance(values, Numbers) and not self._plain_numbers else values

    def _pieces(self, rows: int, columns: Sequence[Values], forced: Sequence[bool]) -> Iterator[bytes]:
        if self._how.format == "binary":
            found = data_rows(rows, columns, self._out, row_kernels.COPY_DATA)
        else:
            found = self._lines(rows, columns, np.array(forced, np.uint8))
        yield from map(self._finished, found)

    def _lines(self, rows: int, columns: Sequence[Values], forced: Bytes) -> Iterator[bytes]:
        how, null = self._how, self._null
        table, stretches = table_of(columns)
        repeats = np.empty((stretches, rows), np.bool_)
        written = np.empty((stretches, 2), np.int64)
        find_repeats(table, rows, repeats)
        most = kernels.line_bytes_max(table, rows, len(null))
        signs = (ord(how.delimiter), ord(how.quote), ord(how.escape))
        style = (null, signs, how.format == "csv", forced)
        room, first = self._out, 0
        while first < rows:
            last, size = kernels.write_lines(table, first, rows, most, repeats, written, *style, room)
            if last > first:
                yield room[:size].tobytes()
                room, first = self._out, last
            else:
                room = room_for(kernels.line_bytes(table, first, rows, len(null)), _ROW_BYTES_MAX)

    def _take_head(self) -> bytes:
        head, self._head = self._head, b""
        return head

    def _finished(self, piece: bytes) -> bytes:
        """The binary header before the first row; another encoding, row by row."""
        head = self._take_head()
        if head:
            first = _message_bytes(piece, 0)
            return copy_data(head + piece[5:first]) + piece[first:]
        if self._how.encoding == "utf-8" or self._how.format == "binary":
            return piece
        return self._transcoded(piece)

    def _transcoded(self, piece: bytes) -> bytes:
        messages: list[bytes] = []
        at = 0
        while at < len(piece):
            end = at + _message_bytes(piece, at)
            messages.append(copy_data(encoded(piece[at + 5 : end].decode(), self._how.encoding)))
            at = end
        return b"".join(messages)


def _message_bytes(piece: bytes, at: int) -> int:
    """Of the message there: its type, and what its length counts."""
    return 1 + int.from_bytes(piece[at + 1 : at + 5], "big")


def _texts(array: pa.Array) -> Image:
    text = array[0].as_py().encode()
    data = np.frombuffer(text, np.uint8) if text else np.zeros(1, np.uint8)
    return Image(data, np.zeros(1, np.int64), np.array([len(text)], np.int32))
