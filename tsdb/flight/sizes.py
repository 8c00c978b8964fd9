"""What a record batch takes once its texts stand for themselves: a dictionary's value may be in a million rows, and a
million views may show the same octets, so a message of a megabyte can stand for terabytes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.errors import ProgramLimitExceeded

# Bytes that dictionaries and views may stand for, as a multiple of the longest message.
SHARE = 4
# No number, time or interval is longer.
_FIXED_BYTES_MAX = 16
_VIEW_BYTES = 16


def check_plain(batch: pa.RecordBatch, message_bytes_max: int) -> None:
    """Of a valid batch. Raises ProgramLimitExceeded."""
    limit = SHARE * message_bytes_max
    found = sum(map(_plain_bytes, batch.columns))
    if found > limit:
        raise ProgramLimitExceeded(
            f"the dictionaries and views of a record batch stand for {found} bytes, which is more than {limit}",
            hint="Send smaller batches.",
        )


def _plain_bytes(array: pa.Array) -> int:
    """0 for arrays that are plain already."""
    kind = array.type
    if isinstance(array, pa.DictionaryArray):
        lengths = pa.array(_lengths(array.dictionary))
        return _plain_bytes(array.dictionary) + int(pc.sum(lengths.take(array.indices)).as_py() or 0)
    if _is_view(kind):
        return int(_lengths(array).sum())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _plain_bytes(array.values)
    return 0


def _lengths(array: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The bytes of each value; at least those of a value of another kind than text."""
    kind = array.type
    if _is_view(kind):
        views = np.frombuffer(array.buffers()[1], np.int32)[:: _VIEW_BYTES // 4]
        valid = array.is_valid().to_numpy(zero_copy_only=False)
        return np.where(valid, views[array.offset : array.offset + len(array)], 0).astype(np.int64)
    if pa.types.is_nested(kind):
        return np.full(len(array), array.nbytes, np.int64)
    try:
        lengths = pc.binary_length(array)
    except pa.ArrowNotImplementedError:
        return np.full(len(array), _FIXED_BYTES_MAX, np.int64)
    return np.asarray(lengths.fill_null(0).to_numpy(zero_copy_only=False), np.int64)


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind))
