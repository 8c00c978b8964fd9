"""Keys: how every RocksDB key is packed, so that the order of bytes is the order of what they mean.

All numbers are big-endian and of fixed width; a signed one has its sign bit flipped, so that negative numbers come
first. A family's keys therefore sort like the tuples they are packed from. Diagrams: docs/format/keys.md.

Widths: database, series, location, block id and op sequence 8 bytes; column and tag set id 4 bytes.
"""

from __future__ import annotations

import struct

from tsdb.errors import DataCorrupted
from tsdb.storage.rows import COUNTER_BITS, COUNTER_MASK

FAMILIES = (
    "ops",
    "blocks",
    "runs",
    "columns",
    "summaries",
    "tagsets",
    "tombstones",
    "markers",
    "state",
    "raft",
)

FAMILIES_GONE = ("masks",)
"""What stores of the same format may have besides: nothing was ever written there, and an open drops them."""

_SIGN = 1 << 63
_NUMBER = struct.Struct(">Q")
_PAIR = struct.Struct(">QQ")
_TRIPLE = struct.Struct(">QQQ")
_COLUMN = struct.Struct(">QIQ")
_COLUMN_PREFIX = struct.Struct(">QI")
_TAGSET = struct.Struct(">QI")
_TOMBSTONE = struct.Struct(">QQH")
_RAFT = struct.Struct(">QBQ")


def _flip(value: int) -> int:
    """int64 → uint64 of the same order."""
    return value + _SIGN


def _unpack(layout: struct.Struct, key: bytes, family: str) -> tuple[int, ...]:
    if len(key) != layout.size:
        raise DataCorrupted(f"a key of family {family} has {len(key)} bytes instead of {layout.size}")
    return layout.unpack(key)


def after(prefix: bytes) -> bytes | None:
    """The least key above every key that starts with ``prefix``; None if there is none."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,)) if stripped else None


def op_key(location: int, sequence: int) -> bytes:
    return _PAIR.pack(location, sequence)


def unpack_op_key(key: bytes) -> tuple[int, int]:
    """(location, op sequence)"""
    location, sequence = _unpack(_PAIR, key, "ops")
    return location, sequence


def block_key(series: int, window: int, block_id: int) -> bytes:
    return _TRIPLE.pack(series, _flip(window), block_id)


def unpack_block_key(key: bytes) -> tuple[int, int, int]:
    """(series, window, block id)"""
    series, window, block_id = _unpack(_TRIPLE, key, "blocks")
    return series, window - _SIGN, block_id


def runs_key(series: int, block_id: int) -> bytes:
    return _PAIR.pack(series, block_id)


def unpack_runs_key(key: bytes) -> tuple[int, int]:
    """(series, block id)"""
    series, block_id = _unpack(_PAIR, key, "runs")
    return series, block_id


def column_key(series: int, column: int, block_id: int) -> bytes:
    return _COLUMN.pack(series, column, block_id)


def column_prefix(series: int, column: int) -> bytes:
    """What all keys of one column of a series start with."""
    return _COLUMN_PREFIX.pack(series, column)


def unpack_column_key(key: bytes) -> tuple[int, int, int]:
    """(series, column, block id)"""
    series, column, block_id = _unpack(_COLUMN, key, "columns")
    return series, column, block_id


def summary_key(series: int, column: int, block_id: int) -> bytes:
    return _COLUMN.pack(series, column, block_id)


def unpack_summary_key(key: bytes) -> tuple[int, int, int]:
    """(series, column, block id)"""
    series, column, block_id = _unpack(_COLUMN, key, "summaries")
    return series, column, block_id


def tagset_key(series: int, tagset_id: int) -> bytes:
    return _TAGSET.pack(series, tagset_id)


def unpack_tagset_key(key: bytes) -> tuple[int, int]:
    """(series, tag set id)"""
    series, tagset_id = _unpack(_TAGSET, key, "tagsets")
    return series, tagset_id


def tombstone_key(series: int, sequence: int, ordinal: int = 0) -> bytes:
    """``sequence`` is the DELETE's point sequence; ``ordinal`` tells apart the tombstones of one op.

    Versions are ordered by (counter, node id) and not by the int8 as it stands, so the node id goes last.
    """
    counter_first = (sequence & COUNTER_MASK) << (64 - COUNTER_BITS) | sequence >> COUNTER_BITS
    return _TOMBSTONE.pack(series, counter_first, ordinal)


def unpack_tombstone_key(key: bytes) -> tuple[int, int, int]:
    """(series, point sequence, ordinal)"""
    series, counter_first, ordinal = _unpack(_TOMBSTONE, key, "tombstones")
    node_bits = 64 - COUNTER_BITS
    return series, (counter_first & (1 << node_bits) - 1) << COUNTER_BITS | counter_first >> node_bits, ordinal


def marker_key(location: int, time_ns: int) -> bytes:
    return _PAIR.pack(location, _flip(time_ns))


def unpack_marker_key(key: bytes) -> tuple[int, int]:
    """(location, time in ns)"""
    location, flipped = _unpack(_PAIR, key, "markers")
    return location, flipped - _SIGN


def number_prefix(number: int) -> bytes:
    """What the keys of one series (or of one location, in ``ops`` and ``markers``) start with."""
    return _NUMBER.pack(number)


def state_key(name: str, *numbers: int) -> bytes:
    """A record of this node: an ASCII name, a zero byte, and the numbers it is about (each 8 bytes)."""
    return name.encode("ascii") + b"\0" + b"".join(map(_NUMBER.pack, numbers))


def unpack_state_key(key: bytes) -> tuple[str, tuple[int, ...]]:
    """(name, numbers)"""
    name, zero, rest = key.partition(b"\0")
    if not zero or len(rest) % 8 or not name.isascii():
        raise DataCorrupted(f"a key of family state is not a name and numbers: {key[:40]!r}")
    return name.decode("ascii"), tuple(number for (number,) in _NUMBER.iter_unpack(rest))


def raft_key(group: int, part: int, index: int = 0) -> bytes:
    """``part`` is which record of the group; only its entries have an index."""
    return _RAFT.pack(group, part, index)


def unpack_raft_key(key: bytes) -> tuple[int, int, int]:
    """(group, part, index)"""
    group, part, index = _unpack(_RAFT, key, "raft")
    return group, part, index
