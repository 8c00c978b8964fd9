"""Ops: a change to a ring location — a fixed header, the producer's name, and a body.

The header is replication.md 2.0's from the first day: whose change it is, where it stands in the log, and the hash of
the log before it. Bodies are encoded by the writers in parallel (tsdb.storage.body); the log's one writer stamps the
header on, which copies the body once. Diagram: docs/format/op.md.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from tsdb.errors import DataCorrupted
from tsdb.model.ring import RING_SIZE
from tsdb.storage.body import WriteBody, decode_write, encode_write
from tsdb.storage.tombstone import decode_tombstones as decode_delete
from tsdb.storage.tombstone import encode_tombstones as encode_delete

__all__ = [
    "GENESIS", "OpHeader", "OpKind", "Shared", "WriteBody", "chain_hash", "decode_delete", "decode_header",
    "decode_op", "decode_write", "encode_delete", "encode_op", "encode_write",
]  # fmt: skip

MAGIC = b"TSOP"
VERSION = 1
# Of an op in a log that several nodes have.
SHARED_VERSION = 2
MAX_PRODUCER_BYTES = 64
MAX_BODY_BYTES = 1 << 30
CHAIN_BYTES = 16
# The chain hash before a location's first op.
GENESIS = bytes(CHAIN_BYTES)


class OpKind(IntEnum):
    """What an op does. The numbers are on disk: never change one. From SPLIT on they belong to the cluster."""

    WRITE = 1
    DELETE = 2
    BARRIER = 3
    MARKER = 4
    SPLIT = 5
    MERGE_SEAL = 6
    FORGET_CLIENT = 7
    LEASE = 8
    CHANGE = 9


@dataclass(frozen=True, slots=True)
class Shared:
    """What an op has beside that in a log that several nodes have (``tsdb.cluster.replication.ops``).

    ``client`` is the session whose write it is (its batch is the header's), ``acknowledged`` the batch up to which that
    client wants no answer any more, ``map_version`` of the ring under which the write was cut, ``metadata_index`` what
    has to be known of the metadata before the op is applied.
    """

    client: int = 0
    acknowledged: int = 0
    map_version: int = 0
    metadata_index: int = 0


@dataclass(frozen=True, slots=True)
class OpHeader:
    """The head of an op.

    ``sequence`` is its op sequence in ``location``, from 1; ``low`` and ``high`` its hash interval [low, high), high up
    to 2**64. ``first_counter`` is the point sequence of row 0, row i has first + i; a DELETE takes one too. ``rows``
    are all rows of the body. ``producer`` and ``batch`` are "" and 0 when the write has no number, ``digest`` is of
    what was sent under it (0: unknown). ``previous`` is the chain hash of the op before; of a ``shared`` op it is the
    op's own, as replication chains it.
    """

    kind: OpKind
    epoch: int
    location: int
    sequence: int
    low: int
    high: int
    first_counter: int
    rows: int
    wall_ns: int
    producer: str = ""
    batch: int = 0
    previous: bytes = GENESIS
    digest: int = 0
    shared: Shared | None = None


# magic, version, kind, producer bytes, digest bytes, rows, epoch, location, sequence, low, last, first counter, batch,
# wall time, body bytes, body checksum, previous chain hash
_FIXED = struct.Struct(">4sBBBBIQQQQQqqqII16s")
_CHECKSUM = struct.Struct(">I")
_DIGEST = struct.Struct(">Q")
_SHARED = struct.Struct(">QQQQ")


def encode_op(header: OpHeader, body: bytes, checksum: int | None = None) -> bytes:
    """The op as it is logged and sent. ``checksum``: the body's CRC-32, from whom has computed it already."""
    h = header
    if checksum is None:
        checksum = zlib.crc32(body)
    producer, digest = h.producer.encode(), _DIGEST.pack(h.digest) if h.digest else b""
    version, shared = VERSION, b""
    if h.shared is not None:
        s = h.shared
        version, shared = SHARED_VERSION, _SHARED.pack(s.client, s.acknowledged, s.map_version, s.metadata_index)
    if len(producer) > MAX_PRODUCER_BYTES:
        raise ValueError(f"a producer's name has at most {MAX_PRODUCER_BYTES} bytes, this one {len(producer)}")
    if len(body) > MAX_BODY_BYTES:
        raise ValueError(f"an op's body has at most {MAX_BODY_BYTES} bytes, this one {len(body)}")
    if not 0 <= h.low < h.high <= RING_SIZE:
        raise ValueError(f"the hash interval [{h.low}, {h.high}) is none")
    head = (
        _FIXED.pack(
            MAGIC, version, h.kind, len(producer), len(digest), h.rows, h.epoch, h.location, h.sequence, h.low,
            h.high - 1, h.first_counter, h.batch, h.wall_ns, len(body), checksum, h.previous,
        )
        + producer
        + digest
        + shared
    )  # fmt: skip
    return b"".join((head, _CHECKSUM.pack(zlib.crc32(head)), body))


def decode_header(data: bytes | memoryview) -> OpHeader:
    """The head alone, checked; the body is not looked at. Raises DataCorrupted."""
    return _decode_head(data)[0]


def decode_op(data: bytes | memoryview) -> tuple[OpHeader, memoryview]:
    """The head and a view of the body, both checked. Raises DataCorrupted."""
    header, start, size, checksum = _decode_head(data)
    body = memoryview(data)[start:]
    if len(body) != size or zlib.crc32(body) != checksum:
        raise DataCorrupted(
            f"op {header.sequence} of location {header.location}: the body of {len(body)} bytes is not the one of "
            f"{size} bytes that was logged"
        )
    return header, body


def chain_hash(data: bytes | memoryview, body_bytes: int | None = None) -> bytes:
    """The chain hash after an encoded op: it covers the head, and with it the body's checksum and the hash before.

    Who has just encoded the op says how large its body is; otherwise the head is decoded and checked.
    """
    start = _decode_head(data)[1] if body_bytes is None else len(data) - body_bytes
    return hashlib.blake2b(memoryview(data)[:start], digest_size=CHAIN_BYTES).digest()


def _decode_head(data: bytes | memoryview) -> tuple[OpHeader, int, int, int]:
    """(header, where the body starts, body bytes, body checksum)"""
    if len(data) < _FIXED.size + _CHECKSUM.size:
        raise DataCorrupted(f"an op of {len(data)} bytes is cut off in its head")
    (
        magic, version, kind, producer_bytes, digest_bytes, rows, epoch, location, sequence, low, last, first_counter,
        batch, wall_ns, body_bytes, body_checksum, previous,
    ) = _FIXED.unpack_from(data)  # fmt: skip
    if magic != MAGIC:
        raise DataCorrupted(f"an op does not start with its magic but with {magic!r}")
    shared_bytes = _SHARED.size if version == SHARED_VERSION else 0
    named = _FIXED.size + producer_bytes
    end = named + digest_bytes + shared_bytes
    if len(data) < end + _CHECKSUM.size:
        raise DataCorrupted(f"an op of {len(data)} bytes is cut off in its head")
    if zlib.crc32(memoryview(data)[:end]) != _CHECKSUM.unpack_from(data, end)[0]:
        raise DataCorrupted("the head of an op: checksum mismatch")
    if version not in (VERSION, SHARED_VERSION) or digest_bytes not in (0, _DIGEST.size):
        raise DataCorrupted(f"an op of format version {version}, known is {SHARED_VERSION}")
    if low > last or producer_bytes > MAX_PRODUCER_BYTES or body_bytes > MAX_BODY_BYTES:
        raise DataCorrupted(f"op {sequence} of location {location} has a head that cannot be")
    try:
        op_kind = OpKind(kind)
        producer = bytes(data[_FIXED.size : named]).decode()
    except ValueError as error:
        raise DataCorrupted(f"op {sequence} of location {location}: {error}") from None
    header = OpHeader(
        op_kind, epoch, location, sequence, low, last + 1, first_counter, rows, wall_ns, producer, batch, previous,
        _DIGEST.unpack_from(data, named)[0] if digest_bytes else 0,
        Shared(*_SHARED.unpack_from(data, named + digest_bytes)) if shared_bytes else None,
    )  # fmt: skip
    return header, end + _CHECKSUM.size, body_bytes, body_checksum
