"""The swap: new blocks in the place of old ones, in the committer's thread and in one synced batch (invariant 20).

After a crash the old blocks are there or the new ones. Tombstones that are carried out go with the same batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tsdb.storage import state
from tsdb.storage.block import BlockHeader, delete_values
from tsdb.storage.carried_out import keep_tombstones
from tsdb.storage.compaction.plan import Task
from tsdb.storage.compaction.retired import RetiredBlocks
from tsdb.storage.shard import Shard
from tsdb.storage.version import SeriesBlocks


@dataclass(slots=True)
class Outcome:
    """What a task came to: blocks to be added in the place of the task's, but for those that were ``kept``."""

    task: Task
    added: list[BlockHeader] = field(default_factory=list)
    kept: list[BlockHeader] = field(default_factory=list)

    @property
    def removed(self) -> list[BlockHeader]:
        kept = {header.block_id for header in self.kept}
        return [header for header in self.task.blocks if header.block_id not in kept]


def swap(shard: Shard, retired: RetiredBlocks, outcomes: Sequence[Outcome], made_in: int, number: int) -> list[Outcome]:
    """Make outcomes real; ``made_in`` is the version they were made in, ``number`` that of their record.

    Returns those that took place. A series that was dropped meanwhile takes its new blocks with it.
    """
    version = shard.version
    batch = shard.rocks.batch()
    done: list[Outcome] = []
    for outcome in outcomes:
        task = outcome.task
        found = version.blocks.get(task.series)
        ids = {header.block_id for header in task.blocks}
        if task.series not in version.catalog.series_by_number or found is None or not ids <= found.ids:
            for header in outcome.added:
                delete_values(batch, header)
            continue
        done.append(outcome)
        for header in outcome.added:
            batch.put("blocks", header.key, header.to_bytes())
    removed = [header for outcome in done for header in outcome.removed]
    blocks = _swapped(version.blocks, done, made_in)
    touched = {outcome.task.series for outcome in done}
    judged = [stone for stone in shard.stones_on_disk.values() if stone not in shard.unjudged]
    tombstones = keep_tombstones(shard, batch, judged, blocks, touched)
    state.delete_flushing(batch, number)
    # A tombstone or a row that goes may have been all that showed how far the counter had come (invariant 3).
    state.put_counter(batch, shard.log.counter)
    if removed:
        retired.put(batch, removed)
    shard.write_durably(batch)
    shard.publish(blocks=blocks, tombstones=tombstones)
    if removed:
        retired.add(shard.version.number, removed)
    return done


def _swapped(blocks: Mapping[int, SeriesBlocks], outcomes: Sequence[Outcome], judged: int) -> dict[int, SeriesBlocks]:
    """The next version's blocks. All outcomes of a series together: each change of its index costs as much as it is
    long. No block is in two of them."""
    of_series: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        of_series.setdefault(outcome.task.series, []).append(outcome)
    made = dict(blocks)
    for series, several in of_series.items():
        left = blocks[series].without({header.block_id for each in several for header in each.removed})
        left = left.with_judged({header.block_id for each in several for header in each.kept}, judged)
        made[series] = left.with_added([header for each in several for header in each.added], judged)
    return made
