"""Which tombstones are still needed, and their copies on disk. In the committer's thread.

A tombstone is kept as long as a block holds versions that it may hide: older ones in its time range, if the block was
neither written nor looked through since the tombstone showed. It is judged only when a head that was frozen after it is
in blocks: then no older version is in a head any more, and none can come back from the log. Masks (``copies.masking``)
are on disk before that, and stay there until they are judged (``Shard.unjudged``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from tsdb.storage import keys
from tsdb.storage.rocks import Batch
from tsdb.storage.rows import COUNTER_MASK
from tsdb.storage.shard import Shard
from tsdb.storage.tombstone import AnyTombstone, KeyTombstone, encode_tombstone
from tsdb.storage.version import SeriesBlocks


def keep_tombstones(
    shard: Shard,
    batch: Batch,
    judged: Iterable[AnyTombstone],
    blocks: Mapping[int, SeriesBlocks],
    series: Collection[int] | None = None,
) -> dict[int, tuple[AnyTombstone, ...]]:
    """The tombstones of the next version, whose ``blocks`` are given; those of other than ``series`` stay (None: all).

    Of the ``judged`` ones those that are needed go to disk, and those that are not go from it. What is on disk and is
    not judged stays there.
    """
    judged_ids = {id(stone) for stone in judged}
    stays = judged_ids | {id(stone) for stone in shard.stones_on_disk.values()}
    kept: dict[int, tuple[AnyTombstone, ...]] = {}
    needed: list[AnyTombstone] = []
    for number, stones in shard.version.tombstones.items():
        left = list(stones)
        if series is None or number in series:
            found = blocks.get(number, SeriesBlocks())
            left = [s for s in stones if id(s) not in judged_ids or bool(hit_blocks(shard, s, found).any())]
            left_ids = {id(stone) for stone in left}
            shard.forget_tombstones(batch, (stone for stone in stones if id(stone) not in left_ids))
        needed += [stone for stone in left if id(stone) in stays]
        if left:
            kept[number] = tuple(left) if len(left) < len(stones) else stones
    _store_tombstones(batch, shard.stones_on_disk, needed)
    return kept


def hit_blocks(shard: Shard, stone: AnyTombstone, blocks: SeriesBlocks) -> npt.NDArray[np.bool_]:
    """The blocks of a series that may hold rows which a tombstone hides and nobody has looked for; bool[blocks]."""
    if isinstance(stone, KeyTombstone):
        low, last = int(stone.times.min()), int(stone.times.max())
    else:
        low, last = stone.range_low, stone.range_high - 1
    older = (blocks.low_counter < stone.counter & COUNTER_MASK) & (blocks.judged_in < shard.appeared(stone))
    return older & (blocks.min_time <= last) & (blocks.max_time >= low)


def _store_tombstones(batch: Batch, on_disk: dict[bytes, AnyTombstone], needed: Iterable[AnyTombstone]) -> None:
    wanted = {id(stone): stone for stone in needed}
    for key, stone in list(on_disk.items()):
        if wanted.pop(id(stone), None) is None:
            batch.delete("tombstones", key)
            del on_disk[key]
    for stone in wanted.values():
        put_tombstone(batch, on_disk, stone)


def put_tombstone(batch: Batch, on_disk: dict[bytes, AnyTombstone], stone: AnyTombstone) -> None:
    """A tombstone that is not ``on_disk`` goes there."""
    ordinal = 0
    while (key := keys.tombstone_key(stone.series, stone.counter, ordinal)) in on_disk:
        ordinal += 1
    batch.put("tombstones", key, encode_tombstone(stone))
    on_disk[key] = stone
