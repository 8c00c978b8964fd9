"""Arrow record batches to DataRow messages, a column at a time.

    per column:   an image of its values (tsdb.wire.images), their lengths added to the rows' sizes
    per piece:    the rows' headers, then each column's values behind what each row has already

    DataRow       'D' | int32 length | int16 columns | per column: int32 length (-1: NULL), bytes

Any mix of types and formats is such a sequence of passes over one output buffer; no row is touched by Python. A pass
takes some thousand rows, so that images and output stay in the processor's cache, and all kernels run without the GIL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from tsdb.encodings import UTF8
from tsdb.errors import ProgramLimitExceeded
from tsdb.types import SqlType
from tsdb.wire import octets
from tsdb.wire.images import ColumnImages, Image, gather
from tsdb.zones import zone

PIECE_BYTES_MAX = 1 << 19
_PASS_ROWS = 8192
_ROW_BYTES_MAX = (1 << 31) - 1


class RowEncoder:
    """Encodes the rows of one result. ``columns`` are type and format code (0 text, 1 binary) of each column;
    ``timezone`` is the session's, as ``tsdb.zones.zone`` takes it, ``codec`` its client's. Not for two threads at a
    time."""

    def __init__(self, columns: Sequence[tuple[SqlType, int]], timezone: str = "UTC", codec: str = UTF8) -> None:
        session_zone = zone(timezone)
        self._columns = [ColumnImages(sql_type, code, session_zone, codec) for sql_type, code in columns]
        self._out = np.empty(PIECE_BYTES_MAX, np.uint8)

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """All rows as whole DataRow messages. For a large batch take ``encode_chunks``."""
        return b"".join(self.encode_chunks(batch))

    def encode_chunks(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        """Whole DataRow messages in pieces of at most ``PIECE_BYTES_MAX``; a longer row is a piece of its own."""
        assert batch.num_columns == len(self._columns), "the batch has other columns than the row description"
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
            yield from self._pieces(rows, parts)

    def _pieces(self, rows: int, parts: list[Image]) -> Iterator[bytes]:
        sizes = np.full(rows, octets.ROW_HEADER_BYTES, np.int64)
        for part in parts:
            octets.add_sizes(part.lengths, 1 if part.prefix >= 0 else 0, sizes)
        if int(sizes.max()) > _ROW_BYTES_MAX:
            raise ProgramLimitExceeded(f"a row is longer than {_ROW_BYTES_MAX} bytes")
        ends = np.cumsum(sizes)
        first, done = 0, 0
        while first < rows:
            last = max(int(np.searchsorted(ends, done + PIECE_BYTES_MAX, side="right")), first + 1)
            yield self._piece(sizes[first:last], parts, first, last, int(ends[last - 1]) - done)
            first, done = last, int(ends[last - 1])

    def _piece(self, sizes: octets.Int64s, parts: list[Image], first: int, last: int, size: int) -> bytes:
        out = self._out if size <= len(self._out) else np.empty(size, np.uint8)
        cursors = np.empty(last - first, np.int64)
        octets.start_rows(sizes, len(parts), out, cursors)
        for part in parts:
            octets.place(part.octets, part.starts[first:last], part.lengths[first:last], part.prefix, out, cursors)
        return out[:size].tobytes()
