"""Locations of a database leave a node on which others of it stay: their points are masked, and compaction takes them.

A *mask* is a tombstone of one series that hides all that this node has in a hash interval up to now. It is in no log:
it is durable and visible at once, over blocks and heads alike.
A flush that comes leaves out what it hides, and compaction carries it out like a DELETE; then it is forgotten, too.

Its counter is this node's, and counters of points that come from others may be lower: it would hide a copy of the same
locations. So they may come again only when all masks are gone (``is_masked``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TypeGuard

from tsdb.model.ring import intervals_of
from tsdb.model.time import NS_MAX, NS_MIN
from tsdb.storage import state
from tsdb.storage.carried_out import put_tombstone
from tsdb.storage.rows import COUNTER_BITS
from tsdb.storage.shard import Shard
from tsdb.storage.tombstone import AnyTombstone, Tombstone
from tsdb.storage.version import Version


def mask_locations(shard: Shard, database: int, locations: Collection[int]) -> None:
    """In the committer's thread, when their replicas have nothing more to apply here. It is durable then. Raises
    ProgramLimitExceeded."""
    shard.log.check_counters(1)
    batch = shard.batch()
    found = shard.version.catalog.databases_by_number.get(database)
    masks: list[Tombstone] = []
    if found is not None:
        gone = [each for each in found.locations if each.number in locations]
        # Of what was once this node's alone: its ops would come back with the next start.
        shard.log.forget(batch, gone)
        state.delete_flushed(batch, [each.number for each in gone])
        shard.log.counter += 1
        counter = shard.log.node_id << COUNTER_BITS | shard.log.counter
        held = [
            number for number in (each.number for each in found.series.values()) if _has_rows(shard.version, number)
        ]
        masks = [Tombstone(number, low, high, counter) for number in held for low, high in intervals_of(gone)]
    for mask in masks:
        put_tombstone(batch, shard.stones_on_disk, mask)
    state.put_counter(batch, shard.log.counter)
    shard.write_durably(batch)
    shard.publish_masks(masks)


def is_masked(version: Version, database: int, locations: Collection[int]) -> bool:
    """Whether something that was in these locations is still hidden: a DELETE of all that there was counts, too."""
    return any(True for _ in masks_of(version, database, locations))


def masks_of(version: Version, database: int, locations: Collection[int]) -> Iterator[Tombstone]:
    """What hides all that was in these locations of some series, or a part of them."""
    found = version.catalog.databases_by_number.get(database)
    if found is None:
        return
    intervals = intervals_of(each for each in found.locations if each.number in locations)
    for number in (each.number for each in found.series.values()):
        for stone in version.tombstones.get(number, ()):
            if _is_mask(stone) and any(stone.low < high and low < stone.high for low, high in intervals):
                yield stone


def _is_mask(stone: AnyTombstone) -> TypeGuard[Tombstone]:
    whole = NS_MIN, NS_MAX
    return isinstance(stone, Tombstone) and not stone.tags and (stone.range_low, stone.range_high) == whole


def _has_rows(version: Version, series: int) -> bool:
    return series in version.blocks or bool(version.runs(series))
