"""A snapshot on its way in pieces: what is sent over a log stream, and how it is put together again. Pure.

    sender      begin    what it is, how long, its hash            (``Sending``)
    receiver    have     how much of exactly these octets is here  (``Receiving``)
    sender      piece…   from there on, each at most PIECE_BYTES
    sender      end      how many octets, and the hash again
    receiver    have     all of it

The state after an entry has the same octets on all nodes, so what a cut left here is gone on with whoever sends the
same state, over whatever connection. A stream that ends early is never taken for a whole one: its end is missing.
A receiver holds one snapshot at a time, of at most so many octets, and forgets it when nothing more comes.

Not here: connections, the log that must not be truncated meanwhile (``dispatch``).
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

import msgspec

from tsdb.cluster.raft.clients import FeedSnapshot
from tsdb.cluster.raft.messages import InstallSnapshot
from tsdb.errors import ProgramLimitExceeded, ProtocolViolation

PIECE_BYTES = 256 << 10
DIGEST_BYTES = 32
SNAPSHOT_BYTES_MAX = 1 << 30

What: TypeAlias = InstallSnapshot | FeedSnapshot
"""The message that a snapshot comes with; its snapshot has no body while it is on its way."""


class Begin(msgspec.Struct, frozen=True, array_like=True, tag=1):
    what: What
    size: int
    digest: bytes


class Piece(msgspec.Struct, frozen=True, array_like=True, tag=2):
    offset: int
    octets: bytes


class End(msgspec.Struct, frozen=True, array_like=True, tag=3):
    size: int
    digest: bytes


class Have(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """So many of the octets with this hash are here."""

    digest: bytes
    size: int


Part: TypeAlias = Begin | Piece | End | Have

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Part] = msgspec.msgpack.Decoder(Part)


def encode(part: Part) -> bytes:
    return _ENCODER.encode(part)


def decode(payload: bytes | memoryview) -> Part:
    """Raises ProtocolViolation."""
    try:
        return _DECODER.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation(f"a part of a snapshot of {len(payload)} bytes cannot be read: {error}") from None


def _new_hash(body: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(body, digest_size=DIGEST_BYTES)


def with_body(what: What, body: bytes) -> What:
    """The message with its snapshot's body, or with another one."""
    snapshot = msgspec.structs.replace(what.snapshot, body=body)
    return msgspec.structs.replace(what, snapshot=snapshot)


class Sending:
    """A snapshot to be sent. ``begin``, then ``resume`` where the receiver says, then ``next`` until it is None."""

    def __init__(self, what: What, body: bytes, piece_bytes: int = PIECE_BYTES) -> None:
        self._what = with_body(what, b"")
        self._body = memoryview(body)
        self.digest = _new_hash(body).digest()
        self._piece_bytes = piece_bytes
        self._at = len(body)
        self._ended = True

    @property
    def size(self) -> int:
        return len(self._body)

    def begin(self) -> bytes:
        return encode(Begin(self._what, self.size, self.digest))

    def resume(self, offset: int) -> None:
        """The receiver has so many octets. Raises ProtocolViolation."""
        if not 0 <= offset <= self.size:
            raise ProtocolViolation(f"a receiver has {offset} bytes of a snapshot of {self.size}")
        self._at = offset
        self._ended = False

    def next(self) -> bytes | None:
        """The next piece, or the end; None after it."""
        if self._ended:
            return None
        if self._at == self.size:
            self._ended = True
            return encode(End(self.size, self.digest))
        offset = self._at
        octets = self._body[offset : offset + self._piece_bytes]
        self._at += len(octets)
        return _ENCODER.encode(Piece(offset, bytes(octets)))


class Receiving:
    """What has come of one snapshot. ``source`` names who sends it over which connection.

    Unless it ``goes_on``, what is cut begins anew.
    """

    def __init__(self, bytes_max: int = SNAPSHOT_BYTES_MAX, patience_ticks: int = 600, *, goes_on: bool = True) -> None:
        self._bytes_max = bytes_max
        self._goes_on = goes_on
        self._patience = patience_ticks
        self._begin: Begin | None = None
        self._source: object = None
        self._octets = bytearray()
        self._hash = _new_hash()
        self._silent = 0

    @property
    def byte_count(self) -> int:
        """Octets that are held."""
        return len(self._octets)

    def begin(self, source: object, begin: Begin) -> Have:
        """Somebody wants to send one, in place of any other.

        Raises ProtocolViolation, ProgramLimitExceeded.
        """
        if len(begin.digest) != DIGEST_BYTES or begin.what.snapshot.body:
            raise ProtocolViolation("a snapshot begins with what is no beginning")
        if not 0 <= begin.size <= self._bytes_max:
            raise ProgramLimitExceeded(f"a snapshot of {begin.size} bytes; {self._bytes_max} are allowed")
        before = self._begin
        if before is None or not self._goes_on or (before.digest, before.size) != (begin.digest, begin.size):
            self._forget()
        self._begin, self._source, self._silent = begin, source, 0
        return Have(begin.digest, len(self._octets))

    def piece(self, source: object, piece: Piece) -> bool:
        """The next octets; False for those of somebody whose snapshot is not wanted any more.

        Raises ProtocolViolation.
        """
        if self._begin is None or source != self._source:
            return False
        size = len(self._octets)
        if piece.offset != size or not piece.octets or size + len(piece.octets) > self._begin.size:
            raise ProtocolViolation(
                f"a piece of {len(piece.octets)} bytes at {piece.offset} of a snapshot of {self._begin.size}, of which "
                f"{size} are here"
            )
        self._octets += piece.octets
        self._hash.update(piece.octets)
        self._silent = 0
        return True

    def end(self, source: object, end: End) -> tuple[What, Have] | None:
        """The whole snapshot in its message; None if it is not wanted any more. Raises ProtocolViolation."""
        begin = self._begin
        if begin is None or source != self._source:
            return None
        body, digest = bytes(self._octets), self._hash.digest()
        self._forget()
        if (end.size, end.digest) != (begin.size, begin.digest) or len(body) != end.size:
            raise ProtocolViolation(f"a snapshot of {begin.size} bytes ends after {len(body)} as one of {end.size}")
        if digest != end.digest:
            raise ProtocolViolation(f"the hash of a snapshot of {end.size} bytes does not hold")
        return with_body(begin.what, body), Have(end.digest, end.size)

    def tick(self) -> None:
        """Time passes: what nobody goes on with is forgotten."""
        self._silent += 1
        if self._begin is not None and self._silent > self._patience:
            self._forget()

    def _forget(self) -> None:
        self._begin = self._source = None
        self._octets = bytearray()
        self._hash = _new_hash()
