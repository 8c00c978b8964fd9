"""The body of a CHANGE op: bodies of WRITEs and DELETEs, in order, that are applied all or none.

Each has its kind, how many counters its rows take, and its length before it. Diagram: docs/format/op.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tsdb.errors import DataCorrupted

HEAD = struct.Struct("<B3xII")


class ChangePart(NamedTuple):
    """``kind`` is an ``OpKind``'s number; ``counters`` the rows of a WRITE, 1 of a DELETE."""

    kind: int
    counters: int
    body: bytes | memoryview


def encode_change(parts: Iterable[ChangePart]) -> bytes:
    pieces: list[bytes | memoryview] = []
    for part in parts:
        pieces += (HEAD.pack(part.kind, part.counters, len(part.body)), part.body)
    return b"".join(pieces)


def decode_change(body: bytes | memoryview) -> Iterator[ChangePart]:
    """Raises DataCorrupted."""
    view, start = memoryview(body), 0
    while start < len(view):
        if len(view) - start < HEAD.size:
            raise DataCorrupted(f"a change of {len(view)} bytes is cut off at {start}")
        kind, counters, size = HEAD.unpack_from(view, start)
        start += HEAD.size
        if size > len(view) - start:
            raise DataCorrupted(f"a change of {len(view)} bytes is cut off: {size} bytes are said to follow {start}")
        yield ChangePart(kind, counters, view[start : start + size])
        start += size
