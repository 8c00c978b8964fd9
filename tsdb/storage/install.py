"""The end of a flush, in the committer's thread: headers, tag sets, producers, tombstones and flushed positions become
durable in one synced batch, then blocks take the frozen head's place in the next version.
"""

from __future__ import annotations

from itertools import chain

from tsdb.storage import state
from tsdb.storage.block import delete_values
from tsdb.storage.carried_out import keep_tombstones
from tsdb.storage.flush import Flushed
from tsdb.storage.markers import drop_markers
from tsdb.storage.shard import Shard, delete_series
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
        blocks[series] = blocks.get(series, SeriesBlocks()).with_added(headers, flushed.judged)
    tombstones = keep_tombstones(shard, batch, chain.from_iterable(head.tombstones.values()), blocks)
    applied = {number: position for number, position in head.applied.items() if shard.log.has(number)}
    state.put_flushed(batch, applied)
    state.put_counter(batch, shard.log.counter)
    state.put_producers(batch, head.producers)
    state.delete_flushing(batch, head.number)
    shard.hosted.put_flushed(batch, head.replicas)
    shard.log.drop_flushed(batch, applied, shard.options.ops_kept)
    drop_markers(shard.rocks, batch, shard.log.logs())
    state.delete_flushed(batch, shard.log.drop_ended(batch, applied))
    shard.write_durably(batch)
    for series, count in flushed.tagsets.items():
        if series in shard.indexes:
            shard.indexes[series].mark_durable(count)
    shard.frozen_bytes -= head.bytes
    shard.unjudged = {stone: number for stone, number in shard.unjudged.items() if number > head.number}
    shard.publish(blocks=blocks, tombstones=tombstones, frozen=version.frozen[1:])
    shard.hosted.flushed(head.replicas)
