"""The end of a flush, in the committer's thread: headers, tag sets, producers, tombstones and flushed positions become
durable in one synced batch, then blocks take the frozen head's place in the next version.

A tombstone is kept as long as a block holds versions that it may hide. It is judged when a head that was frozen after
it is in blocks: then no older version is in a head any more, and none can come back from the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tsdb.storage import keys, state
from tsdb.storage.block import delete_values
from tsdb.storage.flush import Flushed
from tsdb.storage.markers import drop_markers
from tsdb.storage.rocks import Batch
from tsdb.storage.rows import COUNTER_MASK
from tsdb.storage.shard import Shard, delete_series
from tsdb.storage.tombstone import AnyTombstone, KeyTombstone, encode_tombstone
from tsdb.storage.version import SeriesBlocks


def install(shard: Shard, flushed: Flushed) -> None:
    """Make a flush real. It must be the oldest frozen head's."""
    version, head = shard.version, flushed.head
    assert version.frozen[0] is head, "heads are flushed in the order they were frozen"
    batch = shard.rocks.batch()
    blocks = dict(version.blocks)
    for series, headers in flushed.headers.items():
        if series not in version.catalog.series_by_number:
            # Older blocks may be read by views, and go with the last of them.
            delete_series(batch, series)
            for header in headers:
                delete_values(batch, header)
            continue
        for header in headers:
            batch.put("blocks", header.key, header.to_bytes())
        blocks[series] = blocks.get(series, SeriesBlocks()).with_added(headers)
    tombstones = _keep_tombstones(shard, batch, head.tombstones, blocks)
    applied = {number: position for number, position in head.applied.items() if shard.log.has(number)}
    state.put_flushed(batch, applied)
    state.put_counter(batch, shard.log.counter)
    state.put_producers(batch, head.producers)
    state.delete_flushing(batch, head.number)
    shard.log.drop_flushed(batch, applied, shard.options.ops_kept)
    drop_markers(shard.rocks, batch, shard.log.logs())
    shard.write_durably(batch)
    for series, count in flushed.tagsets.items():
        if series in shard.indexes:
            shard.indexes[series].mark_durable(count)
    shard.frozen_bytes -= head.bytes
    shard.publish(blocks=blocks, tombstones=tombstones, frozen=version.frozen[1:])


def _keep_tombstones(
    shard: Shard,
    batch: Batch,
    frozen: Mapping[int, tuple[AnyTombstone, ...]],
    blocks: Mapping[int, SeriesBlocks],
) -> dict[int, tuple[AnyTombstone, ...]]:
    """The tombstones that are still needed; those that the flush covers go to disk, those not needed from it."""
    judged = {id(stone) for stones in frozen.values() for stone in stones}
    kept: dict[int, tuple[AnyTombstone, ...]] = {}
    needed: list[AnyTombstone] = []
    for series, stones in shard.version.tombstones.items():
        left = [s for s in stones if id(s) not in judged or _is_needed(s, blocks.get(series, SeriesBlocks()))]
        left_ids = {id(stone) for stone in left}
        shard.forget_tombstones(stone for stone in stones if id(stone) not in left_ids)
        needed += [stone for stone in left if id(stone) in judged]
        if left:
            kept[series] = tuple(left)
    _store_tombstones(batch, shard.stones_on_disk, needed)
    return kept


def _store_tombstones(batch: Batch, on_disk: dict[bytes, AnyTombstone], needed: Iterable[AnyTombstone]) -> None:
    wanted = {id(stone): stone for stone in needed}
    for key, stone in list(on_disk.items()):
        if wanted.pop(id(stone), None) is None:
            batch.delete("tombstones", key)
            del on_disk[key]
    for stone in wanted.values():
        ordinal = 0
        while (key := keys.tombstone_key(stone.series, stone.counter, ordinal)) in on_disk:
            ordinal += 1
        batch.put("tombstones", key, encode_tombstone(stone))
        on_disk[key] = stone


def _is_needed(stone: AnyTombstone, blocks: SeriesBlocks) -> bool:
    """Is there a block with an older version in the tombstone's time range?"""
    if isinstance(stone, KeyTombstone):
        low, last = int(stone.times.min()), int(stone.times.max())
    else:
        low, last = stone.range_low, stone.range_high - 1
    older = blocks.low_counter < stone.counter & COUNTER_MASK
    return bool((older & (blocks.min_time <= last) & (blocks.max_time >= low)).any())
