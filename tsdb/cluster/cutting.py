"""Writes and deletions cut by ring location: one part, and one op, for each that gets something of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tsdb.cluster.led import locations_in_range
from tsdb.errors import CannotConnectNow
from tsdb.model.places import places_in
from tsdb.model.points import Points
from tsdb.model.ring import Location
from tsdb.model.schema import Database
from tsdb.model.store import Deletion, KeyDeletion, RangeDeletion
from tsdb.storage.append import DeletePart, Piece, WritePart
from tsdb.storage.tombstone import MAX_KEYS, KeyTombstone, Tombstone


def cut_points(database: Database, batches: Sequence[Points]) -> list[WritePart]:
    """The parts of a write, one for each ring location that gets points of it, by location number."""
    found: dict[int, tuple[Location, list[Piece]]] = {}
    for at, points in enumerate(batches):
        for location, rows in places_in(database, points.series.number).cut(database.locations, points.times):
            found.setdefault(location.number, (location, []))[1].append(Piece(at, rows))
    return [WritePart(location, pieces) for _, (location, pieces) in sorted(found.items())]


def cut_deletion(database: Database, deletion: Deletion, only: frozenset[int] | None = None) -> list[DeletePart]:
    """The parts of a deletion, one for each ring location that may hold what it hides; ``only`` of these, which another
    node has chosen. Raises CannotConnectNow where that has left out some, not knowing of the series' slots."""
    parts = _parts_of_deletion(database, deletion)
    if only is None:
        return parts
    chosen = [part for part in parts if part.location.number in only]
    # What a range has elsewhere was sent there; of keys only those were sent that are here.
    if len(chosen) < len(parts) and not (isinstance(deletion, RangeDeletion) and _is_whole(database, deletion)):
        raise CannotConnectNow(
            f'slots of "{deletion.series.name}" were changed while it was written to', hint="Send the same again."
        )
    return chosen


def _is_whole(database: Database, deletion: RangeDeletion) -> bool:
    """Whether all locations that may hold what it hides have been chosen, by slots as they are; an older node does not
    say by which."""
    return deletion.slots is None or deletion.slots == database.slots_of(deletion.series.number)


def _parts_of_deletion(database: Database, deletion: Deletion) -> list[DeletePart]:
    series = deletion.series.number
    if isinstance(deletion, RangeDeletion):
        low, high, tags = deletion.range.low, deletion.range.high, deletion.tags
        return [
            DeletePart(at, [Tombstone(series, at.low, at.high, 0, low, high, tags)])
            for at in locations_in_range(database, deletion.series, deletion.range)
        ]
    found = places_in(database, series).cut(database.locations, deletion.times)
    return [DeletePart(location, _key_tombstones(deletion, location, rows)) for location, rows in found]


def _key_tombstones(deletion: KeyDeletion, location: Location, rows: npt.NDArray[np.intp] | None) -> list[KeyTombstone]:
    chosen = np.arange(len(deletion.times)) if rows is None else rows
    return [
        _key_tombstone(deletion, location, chosen[start : start + MAX_KEYS])
        for start in range(0, len(chosen), MAX_KEYS)
    ]


def _key_tombstone(deletion: KeyDeletion, location: Location, rows: npt.NDArray[np.intp]) -> KeyTombstone:
    used, tagset = np.unique(deletion.tagset[rows], return_inverse=True)
    return KeyTombstone(
        deletion.series.number,
        location.low,
        location.high,
        0,
        tuple(deletion.tagsets[i] for i in used.tolist()),
        tagset.astype(np.int32),
        deletion.times[rows],
        None if deletion.sequences is None else deletion.sequences[rows],
    )
