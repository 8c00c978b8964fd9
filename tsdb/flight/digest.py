"""What makes a numbered batch the same when it is sent again: its columns' names, types and values, however they were
cut into messages and whether or not they came as dictionaries."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from tsdb.flight.points import plain


def digest_of(batch: pa.RecordBatch) -> int:
    """64 bits, never 0, of a batch whose columns have types that points are made of."""
    found = hashlib.blake2b(digest_size=8)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        array = plain(column)
        found.update(f"{len(name)} {name} {array.type} {len(array)}\n".encode())
        # The values of nulls, and of bits beyond the last one, are anything.
        found.update(np.packbits(array.is_valid().to_numpy(zero_copy_only=False)).tobytes())
        values = array.drop_null()
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.uint8())
        found.update(pa.record_batch([values], ["values"]).serialize())
    return int.from_bytes(found.digest()) or 1
