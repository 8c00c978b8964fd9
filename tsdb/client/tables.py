"""Data frames and tables as record batches of a bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

# A batch is one message, and the server takes 64 MiB.
BATCH_BYTES_MAX = 16 << 20
# What pandas calls an index of times.
_TIMES = ("datetime64", "datetime", "date")


def batches_of(data: Any, time: str, rows_per_batch: int) -> pa.RecordBatchReader:
    """The batches of ``data``, each of at most ``rows_per_batch`` rows and about BATCH_BYTES_MAX bytes.

    Raises TypeError for what is no table, ValueError for ``rows_per_batch`` below 1.
    """
    if rows_per_batch < 1:
        raise ValueError("rows_per_batch is at least 1")
    source = _reader(data, time)
    return pa.RecordBatchReader.from_batches(source.schema, _cut(source, rows_per_batch))


def _reader(data: Any, time: str) -> pa.RecordBatchReader:
    if isinstance(data, pa.RecordBatchReader):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.RecordBatchReader.from_batches(data.schema, [data])
    if not isinstance(data, pa.Table):
        data = _table(data, time)
    return data.unify_dictionaries().to_reader()


def _table(data: Any, time: str) -> pa.Table:
    library = type(data).__module__.partition(".")[0]
    if library == "pandas":
        return _of_pandas(data, time)
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    raise TypeError(f"write takes a data frame, a pyarrow.Table or RecordBatches, not {type(data).__name__}")


def _of_pandas(frame: Any, time: str) -> pa.Table:
    """A frame without its index, unless that is the time or has a name of its own."""
    # The row numbers of a frame that has no column for the time would be nanoseconds: the server refuses what has none.
    if time not in frame.columns and frame.index.name is None and frame.index.inferred_type in _TIMES:
        frame = frame.rename_axis(time).reset_index()
    elif any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    return pa.Table.from_pandas(frame, preserve_index=False)


def _cut(source: pa.RecordBatchReader, rows_max: int) -> Iterator[pa.RecordBatch]:
    for batch in source:
        rows = min(
            rows_max, max(1, rows_max if batch.nbytes == 0 else batch.num_rows * BATCH_BYTES_MAX // batch.nbytes)
        )
        for first in range(0, batch.num_rows, rows):
            yield batch.slice(first, rows)
