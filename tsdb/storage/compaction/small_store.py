"""A small store's column values are written anew when much of what lies in its blob files belongs to nobody any more.

RocksDB does so with the oldest quarter of its blob files, when half of their bytes are garbage. Of fewer than four
files none is so old: what was deleted from a store of one file, beside other values, would lie in it for ever.
"""

from __future__ import annotations

from tsdb.storage.rocks import BLOB_FILE_BYTES, MIB, Rocks

FAMILY = "columns"
# A small store: beyond it RocksDB has old files. It takes a second or two to write so much, which nothing interrupts.
SMALL_BYTES = 4 * BLOB_FILE_BYTES
# Less garbage is left alone: in bytes, and as a part of all. When somebody asks for it, a little is enough: a deletion
# of few rows leaves the blocks that they were in behind.
LEAST_BYTES, LEAST_BYTES_ASKED = MIB, MIB // 16
LEAST_PART, LEAST_PART_ASKED = 0.2, 0.02


def has_garbage(rocks: Rocks, *, asked: bool) -> bool:
    """Is the store small, and enough of it garbage, as far as RocksDB has seen the deletions?"""
    stored, garbage = rocks.blob_bytes(FAMILY)
    size, part = (LEAST_BYTES_ASKED, LEAST_PART_ASKED) if asked else (LEAST_BYTES, LEAST_PART)
    return stored <= SMALL_BYTES and garbage > max(size, part * stored)


def stored_bytes(rocks: Rocks) -> int:
    """What has to fit beside it while it is written anew."""
    return rocks.blob_bytes(FAMILY)[0]


def write_anew(rocks: Rocks) -> tuple[int, int]:
    """Write the values anew; their bytes before and after. Blocks."""
    before = rocks.bytes_on_disk(FAMILY)
    rocks.write_anew(FAMILY)
    return before, rocks.bytes_on_disk(FAMILY)
