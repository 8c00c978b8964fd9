"""Batches and summary cells between nodes: each an Arrow IPC stream of its own, with its dictionaries. Pure.

Cells are a batch whose columns are the tags, the times, the counts, and a column for each statistic of a field, named
``column:statistic``. Groups (``tsdb.model.summaries``) travel as the cells that they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.cluster.transport.frames import Octets
from tsdb.errors import ProtocolViolation
from tsdb.model.summaries import COUNT, FIRST_THERE, LAST_THERE, Groups, SummaryCells

BATCH_BYTES_MAX = 16 << 20
"""A batch of more is halved, as long as it has rows."""
JOINED_BYTES = 4 << 20
COMPRESS_FROM_BYTES = 4096
_FIRST, _LAST, _ROWS = "first", "last", "rows"
# To hand columns to Arrow's threads takes longer than to pack them.
PACKED = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_AS_IT_IS = pa.ipc.IpcWriteOptions(use_threads=False)
READ = pa.ipc.IpcReadOptions(use_threads=False)


def cut(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch, or several in its place."""
    if batch.nbytes > BATCH_BYTES_MAX and batch.num_rows > 1:
        half = batch.num_rows // 2
        yield from cut(batch.slice(0, half))
        yield from cut(batch.slice(half))
        return
    yield batch


def encoded(batch: pa.RecordBatch) -> pa.Buffer:
    """A batch as one message, whatever its size."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(
        sink, batch.schema, options=PACKED if batch.nbytes >= COMPRESS_FROM_BYTES else _AS_IT_IS
    ) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def joined(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Small batches of one schema as one, up to a size, with one dictionary for each column."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        if waiting and (size >= JOINED_BYTES or batch.schema != waiting[0].schema):
            yield _one(waiting)
            waiting, size = [], 0
        waiting.append(batch)
        size += batch.nbytes
    if waiting:
        yield _one(waiting)


def _one(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    (found,) = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks().to_batches()
    return found


def decoded(body: Octets) -> pa.RecordBatch:
    """Raises ProtocolViolation."""
    try:
        return pa.ipc.open_stream(pa.py_buffer(body), options=READ).read_next_batch()
    except (pa.ArrowException, OSError, StopIteration, ValueError) as error:
        raise ProtocolViolation(f"a batch of {len(body)} bytes of another node cannot be read: {error}") from None


def batch_of(cells: SummaryCells) -> pa.RecordBatch:
    arrays: list[pa.Array] = [*cells.tags, *map(pa.array, (cells.first_times, cells.last_times, cells.rows))]
    names = [*(f"tag {place}" for place in range(len(cells.tags))), _FIRST, _LAST, _ROWS]
    for column, statistics in cells.fields.items():
        for name, values in statistics.items():
            arrays.append(pa.array(values))
            names.append(f"{column}:{name}")
    return pa.RecordBatch.from_arrays(arrays, names=names)


def cells_of(batch: pa.RecordBatch) -> SummaryCells:
    """Raises ProtocolViolation."""
    try:
        tags = [batch.column(at) for at, name in enumerate(batch.schema.names) if name.startswith("tag ")]
        fields: dict[int, dict[str, npt.NDArray[np.generic]]] = {}
        for at, name in enumerate(batch.schema.names):
            column, colon, statistic = name.partition(":")
            if colon:
                fields.setdefault(int(column), {})[statistic] = _numpy(batch.column(at))
        first, last, rows = (_numpy(batch.column(name)) for name in (_FIRST, _LAST, _ROWS))
    except (KeyError, ValueError, pa.ArrowException) as error:
        raise ProtocolViolation(f"cells of another node cannot be read: {error}") from None
    return SummaryCells(tags, first, last, rows, fields)


def _numpy(array: pa.Array) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = array.to_numpy(zero_copy_only=False)
    return found


def cells_of_groups(groups: Groups) -> SummaryCells:
    """Groups that have points, each as a cell; no value in them is absent."""
    there = np.flatnonzero(groups.rows)
    combination = there % max(groups.room, 1)
    tags = [_dictionary(groups, place, combination) for place in range(len(next(iter(groups.combinations), ())))]
    rows = groups.rows[there]
    fields: dict[int, Mapping[str, npt.NDArray[np.generic]]] = {}
    for column, statistics in groups.fields.items():
        given = {name: values[there] for name, values in statistics.items()}
        fields[column] = {COUNT: rows, FIRST_THERE: rows, LAST_THERE: rows, **given}
    return SummaryCells(tags, groups.first_times[there], groups.last_times[there], rows, fields)


def _dictionary(groups: Groups, place: int, combination: npt.NDArray[np.intp]) -> pa.DictionaryArray:
    values = pa.array([each[place] for each in groups.combinations], pa.string())
    return values.take(pa.array(combination)).dictionary_encode()
