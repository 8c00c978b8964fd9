"""Arrow record batches to DataRow messages.

    per column:   an image of its values, where they cannot be taken as they lie in Arrow (tsdb.wire.images)
    per piece:    row by row, each column's value behind the others (tsdb.wire.row_kernels)

    DataRow       'D' | int32 length | int16 columns | per column: int32 length (-1: NULL), bytes

Any mix of types and formats is one table of columns (tsdb.wire.table) to one kernel; no row is touched by Python. A
pass takes some thousand rows, so that images and output stay in the cache, and all kernels run without the GIL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from tsdb.encodings import UTF8
from tsdb.errors import ProgramLimitExceeded
from tsdb.types import SqlType
from tsdb.wire import row_kernels as kernels
from tsdb.wire.digits import Bytes
from tsdb.wire.images import ColumnImages, Values
from tsdb.wire.table import find_repeats, table_of
from tsdb.zones import zone

PIECE_BYTES_MAX = 1 << 19
_PASS_ROWS = 8192
_ROW_BYTES_MAX = (1 << 31) - 1
_ROW = ord("D")


class RowEncoder:
    """Encodes the rows of one result. ``columns`` are type and format code (0 text, 1 binary) of each column;
    ``timezone`` is the session's, as ``tsdb.zones.zone`` takes it, ``codec`` its client's. Not for two threads at a
    time."""

    def __init__(
        self,
        columns: Sequence[tuple[SqlType, int]],
        timezone: str = "UTC",
        codec: str = UTF8,
        piece_bytes: int = PIECE_BYTES_MAX,
    ) -> None:
        session_zone = zone(timezone)
        self._columns = [ColumnImages(sql_type, code, session_zone, codec) for sql_type, code in columns]
        self._out = np.empty(piece_bytes + kernels.SLACK_BYTES, np.uint8)

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """All rows as whole DataRow messages. For a large batch take ``encode_chunks``."""
        return b"".join(self.encode_chunks(batch))

    def encode_chunks(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        """Whole DataRow messages in pieces of at most ``piece_bytes``; a longer row is a piece of its own."""
        assert batch.num_columns == len(self._columns), "the batch has other columns than the row description"
        for start in range(0, batch.num_rows, _PASS_ROWS):
            piece = batch if batch.num_rows <= _PASS_ROWS else batch.slice(start, _PASS_ROWS)
            columns = [images.values(column) for images, column in zip(self._columns, piece.columns, strict=True)]
            yield from self._pieces(piece.num_rows, columns)

    def _pieces(self, rows: int, columns: list[Values]) -> Iterator[bytes]:
        yield from data_rows(rows, columns, self._out, _ROW)


def data_rows(rows: int, columns: Sequence[Values], out: Bytes, letter: int) -> Iterator[bytes]:
    """Messages of the type ``letter`` with the values of a row each, in pieces of what ``out`` has room for."""
    table, stretches = table_of(columns)
    repeats = np.empty((stretches, rows), np.bool_)
    written = np.empty((stretches, 2), np.int64)
    find_repeats(table, rows, repeats)
    most = kernels.row_bytes_max(table, rows)
    room, first = out, 0
    while first < rows:
        last, size = kernels.write_rows(table, first, rows, most, repeats, written, room, letter)
        if last > first:
            yield room[:size].tobytes()
            room, first = out, last
        else:
            room = room_for(kernels.row_bytes(table, first, rows), _ROW_BYTES_MAX)


def room_for(row_bytes: int, limit: int) -> Bytes:
    """For a row that is longer than a piece. Raises ProgramLimitExceeded."""
    if row_bytes > limit:
        raise ProgramLimitExceeded(f"a row is longer than {limit} bytes")
    return np.empty(row_bytes + kernels.SLACK_BYTES, np.uint8)
