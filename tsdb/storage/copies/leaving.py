"""The points of a database leave a node that has no replica of it any more, its series stay in the schema.

Headers, tag sets and tombstones go in one synced batch with what says that the replicas have left; the values go when
no view reads them any more. Another copy of the same database may come right after that: its blocks have other ids.
"""

from __future__ import annotations

from collections.abc import Callable

from tsdb.storage import state
from tsdb.storage.compaction.retired import RetiredBlocks
from tsdb.storage.keys import number_prefix
from tsdb.storage.rocks import Batch
from tsdb.storage.shard import INDEX_FAMILIES, Shard, after_prefix


def leave_database(shard: Shard, retired: RetiredBlocks, database: int, also: Callable[[Batch], None]) -> bool:
    """In the committer's thread. ``also`` puts what belongs into the same batch. False while some of it is in a head:
    a flush has to come first, since its blocks would come back."""
    version = shard.version
    found = version.catalog.databases_by_number.get(database)
    gone = [] if found is None else [each.number for each in found.series.values()]
    if version.frozen or any(version.live.get(series) for series in gone):
        return False
    batch = shard.batch()
    headers = [header for series in gone if series in version.blocks for header in version.blocks[series].headers]
    if headers:
        retired.put(batch, headers)
    for series in gone:
        prefix = number_prefix(series)
        for family in INDEX_FAMILIES:
            batch.delete_range(family, prefix, after_prefix(prefix))
    # Rows that go may be all that showed how far the counter had come (invariant 3).
    state.put_counter(batch, shard.log.counter)
    if found is not None:
        # Of a database that was once this node's alone: or what comes here again would be taken to go on from there.
        shard.log.forget(batch, found.locations)
        state.delete_flushed(batch, [each.number for each in found.locations])
    also(batch)
    shard.write_durably(batch)
    shard.publish_without(gone, version.catalog)
    if headers:
        retired.add(shard.version.number, headers)
    return True
