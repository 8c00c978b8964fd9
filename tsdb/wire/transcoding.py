"""Columns of texts from UTF-8 into an encoding of one byte a character, whole columns at a time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.encodings import encoded


def transcoded(array: pa.Array, codec: str) -> pa.Array:
    """The values of a string array as octets in ``codec``, which has one for each character. Raises
    UntranslatableCharacter."""
    values = pa.concat_arrays([array.cast(pa.large_string()).fill_null("")])  # offset 0, and no bytes of NULLs
    data = values.buffers()[2]
    joined = b"" if data is None else data.to_pybytes()
    if joined.isascii():
        return array
    lengths = pc.utf8_length(values).to_numpy(zero_copy_only=False)
    bounds = np.zeros(len(values) + 1, np.int64)
    np.cumsum(lengths, out=bounds[1:])
    ends = np.frombuffer(values.buffers()[1], np.int64, len(values) + 1)
    octets = encoded(joined[: ends[-1]].decode(), codec)
    assert len(octets) == bounds[-1], f"{codec} has more than one byte a character"
    made = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(values), [None, pa.py_buffer(bounds), pa.py_buffer(octets)]
    )
    return pc.if_else(array.is_valid(), made, pa.scalar(None, pa.large_binary())) if array.null_count else made
