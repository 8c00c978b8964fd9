"""Tombstones: DELETEs that reads already honour and compaction still has to carry out.

A *range tombstone* hides the versions with a lower counter whose bucket hashes into its interval, whose time is in its
range and whose tags match. A *key tombstone* hides the versions of named points. One encoding is the value in
``tombstones`` and (as a list) the body of a DELETE op. Diagram: docs/format/tombstone.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from tsdb.errors import DataCorrupted
from tsdb.model.ring import RING_SIZE
from tsdb.model.store import TagIn
from tsdb.model.time import NS_MAX, NS_MIN
from tsdb.storage import codec
from tsdb.storage.frame import seal, unseal

MAGIC = b"TD"
VERSION = 1
MAX_KEYS = 1 << 20


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Tombstone:
    """A DELETE by time and tags, in one ring location; or a mask (``copies.masking``).

    ``series`` is its number; the hash interval is [low, high); ``counter`` is the DELETE's point sequence (0 in the
    body of an op that has none yet); times are [range_low, range_high) in ns, NS_MAX as the end holds every point.
    """

    series: int
    low: int
    high: int
    counter: int
    range_low: int = NS_MIN
    range_high: int = NS_MAX
    tags: tuple[TagIn, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class KeyTombstone:
    """A DELETE of named points: row i is the tag set ``tagsets[tagset[i]]`` at ``times[i]``.

    ``sequences`` int64[n] name one version each, as points of a keyless series need; None hides every older version.
    """

    series: int
    low: int
    high: int
    counter: int
    tagsets: tuple[bytes, ...]
    tagset: npt.NDArray[np.int32]
    times: npt.NDArray[np.int64]
    sequences: npt.NDArray[np.int64] | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeyTombstone):
            return NotImplemented
        return encode_tombstone(self) == encode_tombstone(other)

    def __hash__(self) -> int:
        return hash((self.series, self.low, self.high, self.counter))

    def __len__(self) -> int:
        return len(self.times)


AnyTombstone = Tombstone | KeyTombstone


class Erasure(NamedTuple):
    """What a forgotten tombstone had deleted: times [low, high) in ns, and the tombstone's counter; of all times, also
    where in the ring."""

    low: int
    high: int
    counter: int
    ring_low: int = 0
    ring_high: int = RING_SIZE


class _Tag(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    column: int
    negated: bool
    absent: bool
    values: list[str]


class _Range(msgspec.Struct, array_like=True, forbid_unknown_fields=True, tag=1):
    series: int
    low: int
    last: int
    counter: int
    range_low: int
    range_high: int
    tags: list[_Tag]


class _Keys(msgspec.Struct, array_like=True, forbid_unknown_fields=True, tag=2):
    series: int
    low: int
    last: int
    counter: int
    rows: int
    tagsets: list[bytes]
    tagset: bytes
    times: bytes
    sequences: bytes | None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[_Range | _Keys])


def encode_tombstone(tombstone: AnyTombstone) -> bytes:
    return encode_tombstones((tombstone,))


def decode_tombstone(data: bytes) -> AnyTombstone:
    """Raises DataCorrupted."""
    found = decode_tombstones(data)
    if len(found) != 1:
        raise DataCorrupted(f"tombstone: {len(found)} in one value")
    return found[0]


def encode_tombstones(tombstones: Sequence[AnyTombstone]) -> bytes:
    """The body of a DELETE op."""
    return seal(MAGIC, VERSION, _encoder.encode([_packed(tombstone) for tombstone in tombstones]))


def decode_tombstones(data: bytes | memoryview) -> list[AnyTombstone]:
    """Raises DataCorrupted."""
    payload = unseal(bytes(data), MAGIC, VERSION, "tombstone")
    try:
        packed = _decoder.decode(payload)
    except msgspec.DecodeError as error:
        raise DataCorrupted(f"tombstone: {error}") from error
    return [_unpacked_range(p) if isinstance(p, _Range) else _unpacked_keys(p) for p in packed]


def _packed(tombstone: AnyTombstone) -> _Range | _Keys:
    t = tombstone
    if isinstance(t, Tombstone):
        tags = [
            _Tag(tag.column, tag.negated, None in tag.values, sorted(v for v in tag.values if v is not None))
            for tag in t.tags
        ]
        return _Range(t.series, t.low, t.high - 1, t.counter, t.range_low, t.range_high, tags)
    if len(t) > MAX_KEYS:
        raise ValueError(f"{len(t)} keys in one tombstone; at most {MAX_KEYS} are allowed")
    return _Keys(
        t.series,
        t.low,
        t.high - 1,
        t.counter,
        len(t),
        list(t.tagsets),
        codec.encode_integers(t.tagset.astype(np.int64)),
        codec.encode_integers(t.times),
        None if t.sequences is None else codec.encode_integers(t.sequences),
    )


def _check_interval(low: int, last: int) -> None:
    if not 0 <= low <= last < RING_SIZE:
        raise DataCorrupted(f"tombstone: the hash interval {low} to {last} is none")


def _unpacked_range(p: _Range) -> Tombstone:
    _check_interval(p.low, p.last)
    tags = tuple(
        TagIn(tag.column, frozenset((*tag.values, None) if tag.absent else tag.values), tag.negated) for tag in p.tags
    )
    return Tombstone(p.series, p.low, p.last + 1, p.counter, p.range_low, p.range_high, tags)


def _unpacked_keys(p: _Keys) -> KeyTombstone:
    _check_interval(p.low, p.last)
    if not 0 <= p.rows <= MAX_KEYS:
        raise DataCorrupted(f"tombstone: {p.rows} keys")
    tagset = codec.decode_integers(p.tagset, p.rows)
    if p.rows and not (int(tagset.min()) >= 0 and int(tagset.max()) < len(p.tagsets)):
        raise DataCorrupted("tombstone: a key names a tag set that is not there")
    return KeyTombstone(
        p.series,
        p.low,
        p.last + 1,
        p.counter,
        tuple(p.tagsets),
        tagset.astype(np.int32),
        codec.decode_integers(p.times, p.rows),
        None if p.sequences is None else codec.decode_integers(p.sequences, p.rows),
    )
