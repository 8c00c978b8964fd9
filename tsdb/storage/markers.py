"""Sequence markers: every five minutes each location with new ops writes one; it finds a log position by time.

A marker is an op of its own kind without a body; ``markers`` maps (location, wall time) to its op sequence. Replay,
catch-up and restore "since T" start at the last marker that is not after T.
"""

from __future__ import annotations

from collections.abc import Iterable

from tsdb.storage import keys
from tsdb.storage.log import LocationLog, OpLog
from tsdb.storage.op import OpKind
from tsdb.storage.rocks import Batch, Rocks


def write_markers(log: OpLog, batch: Batch, now_ns: int) -> int:
    """A marker for every location that had ops since its last one. Returns how many."""
    written = 0
    for location_log in list(log.logs()):
        if location_log.last.sequence > location_log.marked and not location_log.ended:
            log.append(batch, OpKind.MARKER, location_log.location, b"")
            location_log.marked = location_log.last.sequence
            key = keys.marker_key(location_log.location.number, now_ns)
            batch.put("markers", key, location_log.marked.to_bytes(8, "big"))
            written += 1
    return written


def drop_markers(rocks: Rocks, batch: Batch, logs: Iterable[LocationLog]) -> None:
    """Delete the markers of ops that are gone."""
    for log in logs:
        prefix = keys.number_prefix(log.location.number)
        for key, value in rocks.scan("markers", prefix, keys.after(prefix)):
            if int.from_bytes(value, "big") >= log.first:
                break
            batch.delete("markers", key)


def position_at(rocks: Rocks, location: int, time_ns: int) -> int | None:
    """The op sequence of the location's last marker not after ``time_ns``; None when there is none."""
    found: int | None = None
    for _, value in rocks.scan("markers", keys.number_prefix(location), keys.marker_key(location, time_ns + 1)):
        found = int.from_bytes(value, "big")
    return found
