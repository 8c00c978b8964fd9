"""The schedule: which series are planned when. A series is looked at when something of it has changed, when what was
new is new no more, and now and then because time goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tsdb.model.schema import Series
from tsdb.model.store import TagIn
from tsdb.storage.carried_out import hit_blocks
from tsdb.storage.compaction.plan import Situation, Task, plan, rectangle
from tsdb.storage.options import Options
from tsdb.storage.rules import rules_of
from tsdb.storage.shard import Shard
from tsdb.storage.tagsets import TagSets
from tsdb.storage.tombstone import AnyTombstone, Tombstone
from tsdb.storage.version import SeriesBlocks, Version
from tsdb.storage.visibility import Visibility

Mask = npt.NDArray[np.bool_]

# A window that is over is found at the latest so many seconds later.
LOOK_AGAIN_SECONDS = 600.0


@dataclass(slots=True)
class _Seen:
    """A series as it was when it was planned last. ``fresh``: when blocks were seen first, by id."""

    series: Series
    blocks: SeriesBlocks
    stones: Sequence[AnyTombstone]
    look_at: float
    ids: frozenset[int]
    fresh: dict[int, float] = field(default_factory=dict)


class Schedule:
    """Belongs to the compactor's thread. Times are of a monotonic clock."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._options: Options = shard.options
        self._seen: dict[int, _Seen] = {}
        # When each version of the data was there first, the oldest that counts first.
        self._versions: list[tuple[float, int]] = []
        self._settled: dict[int, dict[int, int]] = {}
        self._started = False
        # By series, up to which version its tombstones are not to wait until it is quiet.
        self._hurried: dict[int, int] = {}

    def hurry(self, series: int, version: int) -> None:
        """Tombstones of a series that showed in a version, or before, are carried out soon. Any thread may say so, and
        say so again."""
        self._hurried[series] = version

    def due(self, now: float) -> list[Task]:
        """The tasks of all series that are due."""
        version = self._shard.version
        self._note(version, now)
        tasks: list[Task] = []
        for number, blocks in version.blocks.items():
            found = version.catalog.series_by_number.get(number)
            if found is None:
                continue
            stones = version.tombstones.get(number, ())
            seen = self._seen.get(number)
            is_new = seen is None or not _is_as(seen, found[1], blocks, stones) or now >= seen.look_at
            if is_new or number in self._hurried:
                tasks += self._plan(version, number, now)
        if len(self._seen) > len(version.blocks):
            for gone in self._seen.keys() - version.blocks.keys():
                self.forget(gone)
        self._started = True
        tasks.sort(key=lambda task: (task.reason.rank, -task.window))
        return tasks

    def asked(self, series: int, *, full: bool) -> list[Task]:
        """The tasks of a series that somebody asked for: whatever can be done."""
        version = self._shard.version
        if series not in version.blocks or series not in version.catalog.series_by_number:
            return []
        return plan(self._situation(version, series, frozenset(), None, full=full, now=True))

    def settled(self, series: int, removed: Iterable[int], added: Iterable[int], task: int) -> None:
        """A task has put blocks in the place of others."""
        known = self._settled.setdefault(series, {})
        for block_id in removed:
            known.pop(block_id, None)
        known.update(dict.fromkeys(added, task))

    def look_again(self, series: int) -> None:
        """Plan it next time, though nothing of it may have changed."""
        seen = self._seen.get(series)
        if seen is not None:
            seen.look_at = 0.0

    def forget(self, series: int) -> None:
        self._seen.pop(series, None)
        self._hurried.pop(series, None)
        self._settled.pop(series, None)

    def _plan(self, version: Version, number: int, now: float) -> list[Task]:
        blocks = version.blocks[number]
        _, series = version.catalog.series_by_number[number]
        seen, ids, quiet = self._seen.get(number), blocks.ids, self._options.compaction_quiet
        # What was there at the start is not new.
        before = seen.ids if seen is not None else frozenset[int]() if self._started else ids
        fresh = {} if seen is None else {i: at for i, at in seen.fresh.items() if i in ids and now - at < quiet}
        settled = self._settled.get(number, {})
        if quiet > 0:
            fresh.update((i, now) for i in ids - before if i not in settled)
        stones = version.tombstones.get(number, ())
        quiet_version = self._quiet_version(now)
        due = max(quiet_version, self._hurried.get(number, 0))
        if due == quiet_version:
            self._hurried.pop(number, None)
        late = any(self._shard.appeared(stone) > due for stone in stones)
        look_at = now + LOOK_AGAIN_SECONDS
        if fresh or late:
            look_at = min([at + quiet for at in fresh.values()], default=now + quiet) if not late else now + quiet / 4
        self._seen[number] = _Seen(series, blocks, stones, look_at, ids, fresh)
        return plan(self._situation(version, number, frozenset(fresh), due, full=False, now=False))

    def _situation(
        self, version: Version, number: int, fresh: frozenset[int], due: int | None, *, full: bool, now: bool
    ) -> Situation:
        database, series = version.catalog.series_by_number[number]
        blocks = version.blocks[number]
        stones = version.tombstones.get(number, ())
        hit = covered = np.zeros(len(blocks.headers), np.bool_)
        if stones:
            tagsets = version.tagsets[number]
            judged = [stone for stone in stones if due is None or self._shard.appeared(stone) <= due]
            hit = self._hit(judged, blocks, tagsets)
            if hit.any():
                visibility = Visibility(database.number, series, rules_of(series, stones, tagsets))
                covered = np.array([
                    bool(hit[at]) and visibility.covers(rectangle(header), header.high_counter)
                    for at, header in enumerate(blocks.headers)
                ])  # fmt: skip
        return Situation(
            series,
            blocks.headers,
            hit,
            covered,
            self._options.clock.now_ns(),
            self._options.rows_per_block,
            fresh,
            self._settled.get(number, {}),
            self._shard.moments.counters(),
            now,
            full,
        )

    def _hit(self, stones: Iterable[AnyTombstone], blocks: SeriesBlocks, tagsets: TagSets) -> Mask:
        hit = np.zeros(len(blocks.headers), np.bool_)
        low = np.array([header.min_tagset for header in blocks.headers])
        high = np.array([header.max_tagset for header in blocks.headers])
        below: dict[tuple[TagIn, ...], npt.NDArray[np.int64]] = {}
        for stone in stones:
            found = hit_blocks(self._shard, stone, blocks)
            if isinstance(stone, Tombstone) and stone.tags and found.any():
                counts = below.get(stone.tags)
                if counts is None:
                    counts = below[stone.tags] = np.append(0, np.cumsum(tagsets.matching(stone.tags)))
                last = len(counts) - 1
                found &= counts[np.minimum(high + 1, last)] > counts[np.minimum(low, last)]
            hit |= found
        return hit

    def _note(self, version: Version, now: float) -> None:
        quiet = self._options.compaction_quiet
        self._versions.append((now, version.number))
        while len(self._versions) > 1 and self._versions[1][0] <= now - quiet:
            del self._versions[0]

    def _quiet_version(self, now: float) -> int:
        """The newest version that was there a while ago: its tombstones are carried out."""
        first, number = self._versions[0]
        return number if first <= now - self._options.compaction_quiet else 0


def _is_as(seen: _Seen, series: Series, blocks: SeriesBlocks, stones: Sequence[AnyTombstone]) -> bool:
    return seen.series is series and seen.blocks is blocks and seen.stones is stones


def rounds(tasks: Sequence[Task], rows_max: int, blocks_max: int) -> Iterable[list[Task]]:
    """Tasks that are carried out with one swap."""
    found: list[Task] = []
    rows = blocks = 0
    for task in tasks:
        more = 0 if task.drops else task.rows
        if found and (rows + more > rows_max or blocks + len(task.blocks) > blocks_max):
            yield found
            found, rows, blocks = [], 0, 0
        found.append(task)
        rows, blocks = rows + more, blocks + len(task.blocks)
    if found:
        yield found
