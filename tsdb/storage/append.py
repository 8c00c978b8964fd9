"""What is asked of the log: a write or a deletion, cut by ring location, each part with its encoded op body.

Bodies are encoded in the threads of the callers; the committer only stamps headers on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.model.points import Points
from tsdb.model.ring import Location
from tsdb.model.store import Producer
from tsdb.storage.tombstone import AnyTombstone, KeyTombstone


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
    """A deletion on its way into the log."""

    parts: Sequence[DeletePart]
    bodies: Sequence[bytes]

    @property
    def counters(self) -> int:
        """How many counters its ops take."""
        return len(self.parts)


@dataclass(frozen=True, slots=True)
class Write:
    """A write on its way into the log: ``bodies[i]`` is the op body of ``parts[i]``.

    ``replaces`` is logged just before it in the same batch: UPDATE deletes and writes, or does neither.
    """

    batches: Sequence[Points]
    parts: Sequence[WritePart]
    bodies: Sequence[bytes]
    producer: Producer | None
    replaces: Delete | None = None

    @property
    def counters(self) -> int:
        """How many counters its ops take, at most: parts of a numbered batch may be there already."""
        return self.points + (self.replaces.counters if self.replaces is not None else 0)

    @property
    def points(self) -> int:
        return sum(len(batch) for batch in self.batches)


Append = Write | Delete
