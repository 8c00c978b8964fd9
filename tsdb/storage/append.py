"""What is asked of the log: writes and deletions, cut by ring location, each part with its encoded op body.

An *append* is one or more of them, all or none. Bodies are encoded in the threads of the callers; the committer only
stamps headers on them.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.model.byte_strings import ByteStrings
from tsdb.model.points import Points
from tsdb.model.refreshing import Held
from tsdb.model.ring import Location
from tsdb.model.store import Free, KeyDeletion, Producer, RangeDeletion
from tsdb.storage.body import encode_write
from tsdb.storage.rows import bytes_of_column
from tsdb.storage.tombstone import AnyTombstone, KeyTombstone, encode_tombstones

# What a queued op costs beside its body and its points.
_PART_BYTES = 1_000


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of the write's batch number ``batch``; ``rows`` None means all of them."""

    batch: int
    rows: npt.NDArray[np.intp] | None


@dataclass(frozen=True, slots=True)
class WritePart:
    """The points of a write that fall into one location: one op."""

    location: Location
    pieces: list[Piece]


@dataclass(frozen=True, slots=True)
class DeletePart:
    """What a DELETE hides in one location: one op. The tombstones get their counter when they are logged."""

    location: Location
    tombstones: Sequence[AnyTombstone]

    @property
    def rows(self) -> int:
        return sum(len(stone) for stone in self.tombstones if isinstance(stone, KeyTombstone))


@dataclass(frozen=True, slots=True)
class Delete:
    """A deletion on its way into the log: ``bodies[i]`` is the op body of ``parts[i]``."""

    parts: Sequence[DeletePart]
    bodies: Sequence[bytes]

    @property
    def counters(self) -> int:
        """How many counters its ops take."""
        return len(self.parts)

    @property
    def bytes(self) -> int:
        return sum(map(len, self.bodies)) + _PART_BYTES * len(self.bodies)


@dataclass(frozen=True, slots=True)
class Write:
    """A write on its way into the log: ``bodies[i]`` is the op body of ``parts[i]``, ``checksums[i]`` its CRC-32."""

    batches: Sequence[Points]
    parts: Sequence[WritePart]
    bodies: Sequence[bytes]
    checksums: Sequence[int]
    producer: Producer | None

    @property
    def counters(self) -> int:
        """How many counters its ops take, at most: parts of a numbered batch may be there already."""
        return self.points

    @property
    def points(self) -> int:
        return sum(len(batch) for batch in self.batches)

    @property
    def bytes(self) -> int:
        return sum(map(len, self.bodies)) + sum(map(_bytes_of, self.batches)) + _PART_BYTES * len(self.bodies)


Step = Write | Delete


@dataclass(frozen=True, slots=True)
class Seen:
    """Rows that a change was made for: they must still be there, and, ``exactly``, as they were seen. ``replaced``:
    the change takes their place, which only one can."""

    rows: KeyDeletion
    exactly: bool
    replaced: bool = True


@dataclass(frozen=True, slots=True)
class NewPoints:
    """Points of a write and what they have to themselves."""

    points: Points
    free: Free


@dataclass(frozen=True, slots=True)
class Append:
    """Steps in order, all or none, if what was ``seen`` still holds before the first of them, ``news`` are free, and
    there are no points in the ranges of ``empty``. ``held``: of a refresh, while it holds its view.

    ``producer`` numbers all of them together, where a write of its own is numbered by its parts.
    """

    steps: Sequence[Step]
    seen: Sequence[Seen] = ()
    news: Sequence[NewPoints] = ()
    producer: Producer | None = None
    empty: Sequence[RangeDeletion] = ()
    held: Held | None = None

    @property
    def unconditional(self) -> Append:
        return Append(self.steps, producer=self.producer, held=self.held)

    @property
    def counters(self) -> int:
        return sum(step.counters for step in self.steps)

    @property
    def bytes(self) -> int:
        return sum(step.bytes for step in self.steps)

    @property
    def points(self) -> int:
        return sum(step.points for step in self.steps if isinstance(step, Write))

    @property
    def only_deletes(self) -> bool:
        return all(isinstance(step, Delete) for step in self.steps)


def write_step(batches: Sequence[Points], parts: Sequence[WritePart], producer: Producer | None = None) -> Write:
    """Encodes the ops of a write. Raises what is wrong with its points."""
    bodies = [encode_write([_taken(batches[piece.batch], piece.rows) for piece in part.pieces]) for part in parts]
    return Write(batches, parts, bodies, [zlib.crc32(body) for body in bodies], producer)


def delete_step(parts: Sequence[DeletePart]) -> Delete:
    """Encodes the ops of a deletion."""
    return Delete(parts, [encode_tombstones(part.tombstones) for part in parts])


def _taken(points: Points, rows: npt.NDArray[np.intp] | None) -> Points:
    return points if rows is None else points.take(rows)


def _bytes_of(points: Points) -> int:
    own: int = points.times.nbytes + points.tagset.nbytes + ByteStrings.of(points.tagsets).nbytes
    return own + sum(map(bytes_of_column, points.fields.values()))
