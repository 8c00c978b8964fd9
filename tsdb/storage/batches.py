"""The way out of a scan: rows as record batches with the columns of its request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.errors import UndefinedColumn
from tsdb.model.schema import Role
from tsdb.model.store import SEQUENCE, TIME, TIME_NS, ScanRequest
from tsdb.model.time import us_of_ns
from tsdb.storage.tagsets import TagSets

TAG_TYPE = pa.dictionary(pa.int32(), pa.string())
# Pieces are joined up to so many rows, and so many bytes of fields: a block of a few long texts has as many.
JOINED_ROWS = 16_384
JOINED_BYTES = 8 << 20
T = TypeVar("T", bound=np.generic)
_HIDDEN = {TIME: pa.timestamp("us", "UTC"), TIME_NS: pa.int64(), SEQUENCE: pa.int64()}


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows on their way out: only what the request names is there; a field that no row has may be missing."""

    rows: int
    tagset: npt.NDArray[np.int32] | None
    times: npt.NDArray[np.int64] | None
    sequences: npt.NDArray[np.int64] | None
    columns: Mapping[int, pa.Array]


def joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Small pieces as one: a few rows of each of many blocks cost more on their way than in the blocks."""
    waiting: list[Piece] = []
    rows = size = 0
    for piece in pieces:
        own = sum(values.nbytes for values in piece.columns.values())
        if waiting and (rows + piece.rows > JOINED_ROWS or size + own > JOINED_BYTES):
            yield _join(waiting)
            waiting, rows, size = [], 0, 0
        waiting.append(piece)
        rows += piece.rows
        size += own
    if waiting:
        yield _join(waiting)


def _join(pieces: Sequence[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    types = {number: values.type for piece in pieces for number, values in piece.columns.items()}
    columns = {
        number: pa.concat_arrays(
            [
                pa.nulls(piece.rows, kind) if (values := piece.columns.get(number)) is None else values
                for piece in pieces
            ]
        )
        for number, kind in types.items()
    }
    return Piece(
        sum(piece.rows for piece in pieces),
        _concatenated([piece.tagset for piece in pieces]),
        _concatenated([piece.times for piece in pieces]),
        _concatenated([piece.sequences for piece in pieces]),
        columns,
    )


def _concatenated(arrays: Sequence[npt.NDArray[T] | None]) -> npt.NDArray[T] | None:
    there = [array for array in arrays if array is not None]
    return np.concatenate(there) if there else None


class Output:
    """Makes the batches of one scan. Columns are named by their number or their hidden name, in the request's order."""

    def __init__(self, request: ScanRequest, tagsets: TagSets) -> None:
        self._request = request
        self._tagsets = tagsets
        self._tags: set[int] = set()
        fields: list[pa.Field] = []
        for column in request.columns:
            if isinstance(column, str):
                if column not in _HIDDEN:
                    raise UndefinedColumn(f'column "{column}" of relation "{request.series.name}" does not exist')
                fields.append(pa.field(column, _HIDDEN[column]))
                continue
            found = request.series.by_number.get(column)
            if found is None:
                raise UndefinedColumn(f'column {column} of relation "{request.series.name}" does not exist')
            if found.role is Role.TAG:
                self._tags.add(column)
            fields.append(pa.field(str(column), TAG_TYPE if found.role is Role.TAG else found.kind.arrow))
        self.schema = pa.schema(fields)

    def batch(self, piece: Piece, start: int, rows: int) -> pa.RecordBatch:
        """Rows [start, start + rows) of a piece."""
        if not self._request.columns:
            # A batch without columns still has a length, which only survives a selection.
            return pa.record_batch([pa.nulls(rows)], names=["rows"]).select([])
        return pa.record_batch(
            [self._column(piece, at, start, rows) for at in range(len(self._request.columns))], schema=self.schema
        )

    def _column(self, piece: Piece, at: int, start: int, rows: int) -> pa.Array:
        column = self._request.columns[at]
        stop = start + rows
        if column == TIME:
            assert piece.times is not None
            return pa.array(us_of_ns(piece.times[start:stop])).view(_HIDDEN[TIME])
        if column == TIME_NS:
            assert piece.times is not None
            return pa.array(piece.times[start:stop])
        if column == SEQUENCE:
            assert piece.sequences is not None
            return pa.array(piece.sequences[start:stop])
        assert isinstance(column, int)
        if column in self._tags:
            assert piece.tagset is not None
            return self._tagsets.dictionary(column, piece.tagset[start:stop])
        values = piece.columns.get(column)
        return pa.nulls(rows, self.schema.field(at).type) if values is None else values.slice(start, rows)
