"""The shard: everything of this node's data that changes, owned by the committer's thread.

It stages appends into one batch, writes it with one sync, applies the ops to the live head and publishes the next
version of the data by one assignment; then the writers get their answers. Schema changes, freezing and the end of a
flush go the same way, so that what is durable and what is visible change together and in one order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tsdb.errors import (
    ConfigurationLimitExceeded,
    DiskFull,
    PointsBeyondRetention,
    TsdbError,
    UndefinedColumn,
    UndefinedTable,
)
from tsdb.model.points import Points
from tsdb.model.schema import Catalog, SchemaChange, Series, applied
from tsdb.model.store import Written
from tsdb.storage import keys, metadata, state
from tsdb.storage.append import Append, Delete, Write
from tsdb.storage.apply import Appended, add_rows, add_tombstones, points_with_sequences, rows_of
from tsdb.storage.committer import Pending
from tsdb.storage.head import bytes_of
from tsdb.storage.log import OpLog
from tsdb.storage.markers import write_markers
from tsdb.storage.op import OpKind
from tsdb.storage.options import Options
from tsdb.storage.producers import Producers, scoped
from tsdb.storage.rocks import Batch, FatalStorageError, Rocks
from tsdb.storage.rows import Rows
from tsdb.storage.tagsets import TagSetIndex, TagSets
from tsdb.storage.tombstone import AnyTombstone
from tsdb.storage.version import FrozenHead, Version

# What is stored of a series: what only the engine reads, and what open views may still read.
INDEX_FAMILIES = ("blocks", "tagsets", "tombstones")
VALUE_FAMILIES = ("columns", "runs", "summaries")


@dataclass(slots=True)
class _Staged:
    """An append in the batch: what it will be when the batch is durable."""

    future: Future[Any]
    answer: Written | None
    points: Sequence[tuple[Points, Any]]
    tombstones: Sequence[AnyTombstone]


class Shard:
    """One node's data. Only ``version`` may be read by other threads."""

    def __init__(
        self,
        path: Path,
        rocks: Rocks,
        options: Options,
        version: Version,
        log: OpLog,
        producers: Producers,
        indexes: dict[int, TagSetIndex],
    ) -> None:
        self._path = path
        self.rocks = rocks
        self.options = options
        self.version = version
        self.log = log
        self.producers = producers
        self.indexes = indexes
        self.stones_on_disk: dict[bytes, AnyTombstone] = {}
        self.live_bytes = 0
        self.frozen_bytes = 0
        self.live_since_ns: int | None = None
        self.syncs = 0
        self._frozen_count = 0
        self._marked_ns = options.clock.now_ns()

    # ---- durable, then visible

    def write_durably(self, batch: Batch) -> None:
        """Write a batch with a sync; a failure ends the process."""
        try:
            self.rocks.write(batch, sync=True)
        except FatalStorageError as error:
            self.options.abort(str(error))
            raise
        self.syncs += 1

    def publish(self, **changes: Any) -> None:
        """The next version of the data: one assignment."""
        self.version = replace(self.version, number=self.version.number + 1, **changes)

    # ---- appends

    def commit(self, group: Sequence[Pending[Append]]) -> None:
        """Group commit: one batch, one sync, one new version for all appends of the group."""
        batch = self.rocks.batch()
        room = self._has_room_on_disk()
        staged: list[_Staged] = []
        for pending in group:
            assert pending.work is not None
            try:
                if not room:
                    raise self._disk_full()
                staged.append(self._stage(batch, pending.work, pending.future))
            except TsdbError as error:
                pending.future.set_exception(error)
        if len(batch):
            self.write_durably(batch)
        self.producers.commit()
        self._apply(staged)
        for done in staged:
            done.future.set_result(done.answer)

    def _has_room_on_disk(self) -> bool:
        reserve = self.options.reserve_bytes
        return reserve <= 0 or self.options.free_bytes(self._path) >= reserve

    def _disk_full(self) -> DiskFull:
        return DiskFull(
            "the disk is nearly full: writes are refused until there is space again, reads go on",
            detail=f"Less than {self.options.reserve_bytes} bytes are free at {self._path}.",
            hint="Free disk space, or drop data that is not needed.",
        )

    def _stage(self, batch: Batch, work: Append, future: Future[Any]) -> _Staged:
        """Put the ops of an append into the batch. What is wrong with it is raised before the first."""
        self.log.check_counters(work.counters)
        if isinstance(work, Delete):
            return _Staged(future, None, (), self._stage_delete(batch, work))
        self._check_write(work)
        new = [True] * len(work.parts)
        if work.producer is not None and work.batches:
            database, _ = self.version.catalog.series_by_number[work.batches[0].series.number]
            producer = scoped(database.number, work.producer)
            self.producers.check(producer)
            new = self.producers.new_parts(producer, [(p.location.low, p.location.high) for p in work.parts])
        stones = self._stage_delete(batch, work.replaces) if work.replaces is not None else []
        appended: list[Appended] = []
        for part, body, is_new in zip(work.parts, work.bodies, new, strict=True):
            if is_new:
                rows = sum(len(work.batches[p.batch]) if p.rows is None else len(p.rows) for p in part.pieces)
                first = self.log.append(
                    batch, OpKind.WRITE, part.location, body, rows=rows, counters=rows, producer=work.producer
                )
                appended.append(Appended(part, first))
        duplicate = work.producer is not None and bool(work.parts) and not appended
        points = points_with_sequences(work, appended) if appended else ()
        return _Staged(future, Written(work.points, duplicate), points, stones)

    def _stage_delete(self, batch: Batch, work: Delete) -> list[AnyTombstone]:
        for part in work.parts:
            for stone in part.tombstones:
                self._series(stone.series, str(stone.series))
        stones: list[AnyTombstone] = []
        for part, body in zip(work.parts, work.bodies, strict=True):
            first = self.log.append(batch, OpKind.DELETE, part.location, body, rows=part.rows, counters=1)
            stones += [replace(stone, counter=first) for stone in part.tombstones]
        return stones

    def _series(self, number: int, name: str) -> Series:
        found = self.version.catalog.series_by_number.get(number)
        if found is None:
            raise UndefinedTable(f'relation "{name}" does not exist any more')
        return found[1]

    def _check_write(self, work: Write) -> None:
        for points in work.batches:
            series = self._series(points.series.number, points.series.name)
            gone = [number for number in points.fields if number not in series.by_number]
            if gone:
                raise UndefinedColumn(
                    f'a column of "{series.name}" was dropped or changed its type while it was written to',
                    hint="Send the same again.",
                )
            floor = series.floor_ns
            if floor is not None and int(points.times.min()) < floor:
                raise PointsBeyondRetention(
                    f'points beyond retention policy of "{series.name}"',
                    detail=f"Points before {floor} ns since 1970 are gone already.",
                )
            self._check_tagsets(points, series)

    def _check_tagsets(self, points: Points, series: Series) -> None:
        index = self.indexes.get(series.number)
        limit = self.options.tagsets_max
        if index is None or len(index) + len(points.tagsets) <= limit:
            return
        known = index.snapshot()
        new = sum(1 for tagset in points.tagsets if known.find(tagset) is None)
        if len(index) + new > limit:
            raise ConfigurationLimitExceeded(
                f'series "{series.name}" has {len(index)} tag sets, {new} more would be beyond the limit of {limit}',
                hint="Values that are different in most points belong into fields, not into tags.",
            )

    def index_of(self, series: int) -> TagSetIndex:
        index = self.indexes.get(series)
        if index is None:
            index = self.indexes[series] = TagSetIndex()
        return index

    def _apply(self, staged: Iterable[_Staged]) -> None:
        rows: dict[int, list[Rows]] = {}
        stones: list[AnyTombstone] = []
        for done in staged:
            for points, sequences in done.points:
                number = points.series.number
                rows.setdefault(number, []).append(
                    rows_of(
                        points.times, points.tagsets, points.tagset, points.fields, sequences, self.index_of(number)
                    )
                )
            stones += done.tombstones
        self.apply(rows, stones)

    def apply(self, rows: Mapping[int, Sequence[Rows]], stones: Sequence[AnyTombstone]) -> None:
        """New versions and tombstones into the live head: visible from here on."""
        if not rows and not stones:
            return
        version = self.version
        live = add_rows(version.live, rows)
        self.live_bytes += sum(bytes_of(live[n]) - bytes_of(version.live.get(n, ())) for n in rows)
        if self.live_since_ns is None:
            self.live_since_ns = self.options.clock.now_ns()
        tombstones = add_tombstones(version.tombstones, stones) if stones else version.tombstones
        self.publish(live=live, tombstones=tombstones, tagsets=self._tagsets(rows))

    def _tagsets(self, series: Iterable[int]) -> Mapping[int, TagSets]:
        """The tag sets of the next version; those of ``series`` may have grown."""
        known = self.version.tagsets
        grown = {n: self.indexes[n] for n in series if n not in known or len(self.indexes[n]) > known[n].count}
        return {**known, **{n: index.snapshot() for n, index in grown.items()}} if grown else known

    # ---- markers, freezing

    def mark(self) -> None:
        """Write sequence markers when it is time."""
        now = self.options.clock.now_ns()
        if now - self._marked_ns < self.options.marker_interval_ns or not self._has_room_on_disk():
            return
        self._marked_ns = now
        batch = self.rocks.batch()
        if write_markers(self.log, batch, now):
            self.write_durably(batch)

    def freezes_now(self) -> bool:
        """Is the live head so large or so old that it should be flushed?"""
        if self.live_since_ns is None or len(self.version.frozen) >= self.options.frozen_max:
            return False
        age = self.options.clock.now_ns() - self.live_since_ns
        return self.live_bytes >= self.options.live_bytes or age >= self.options.head_age_ns

    def freezes_under_pressure(self) -> bool:
        """Should the live head be flushed early, because a writer waits for room and nothing else will make some?"""
        return self.live_bytes > 0 and not self.version.frozen and self.options.frozen_max > 0

    def freeze(self) -> FrozenHead:
        """The live head takes no more points; a new one begins."""
        self._frozen_count += 1
        version = self.version
        head = FrozenHead(
            self._frozen_count,
            version.live,
            self.log.positions(),
            self.producers.take_changed(),
            version.tombstones,
            self.live_bytes,
        )
        self.frozen_bytes += head.bytes
        self.live_bytes = 0
        self.live_since_ns = None
        self.publish(live={}, frozen=(*version.frozen, head))
        return head

    # ---- schema

    def change(self, changes: Sequence[SchemaChange]) -> tuple[Catalog, list[int]]:
        """Apply schema changes. Returns the catalog and the dropped series, whose values views may still read."""
        before = self.version.catalog
        done = applied(before, changes)
        after = done.catalog
        if after is before:
            return before, []
        gone = sorted(n for n in done.series if n in before.series_by_number and n not in after.series_by_number)
        batch = self.rocks.batch()
        metadata.store(batch, done)
        for series in gone:
            delete_series(batch, series)
            state.put_dropped(batch, series)
        for number in before.databases_by_number.keys() - after.databases_by_number.keys():
            locations = before.databases_by_number[number].locations
            self.log.forget(batch, locations)
            state.delete_flushed(batch, [location.number for location in locations])
            # The ops that go with the logs may be all that showed how far the counter had come (invariant 3).
            state.put_counter(batch, self.log.counter)
        self.write_durably(batch)
        self._publish_catalog(after, gone)
        return after, gone

    def _publish_catalog(self, catalog: Catalog, gone: Sequence[int]) -> None:
        version = self.version
        dropped = set(gone)
        if gone:
            stones = self.stones_on_disk.items()
            self.stones_on_disk = {key: stone for key, stone in stones if stone.series not in dropped}
        for series in gone:
            self.indexes.pop(series, None)
            self.live_bytes -= bytes_of(version.live.get(series, ()))
        if not gone:
            self.publish(catalog=catalog)
            return
        self.publish(
            catalog=catalog,
            blocks=_without(version.blocks, dropped),
            live=_without(version.live, dropped),
            tombstones=_without(version.tombstones, dropped),
            tagsets=_without(version.tagsets, dropped),
        )


def _without(mapping: Mapping[int, Any], gone: set[int]) -> dict[int, Any]:
    return {number: value for number, value in mapping.items() if number not in gone}


def after_prefix(prefix: bytes) -> bytes:
    """The end of a range of keys that start with a number; numbers never reach 2**64."""
    end = keys.after(prefix)
    assert end is not None
    return end


def delete_series(batch: Batch, series: int) -> None:
    """Delete all that is stored of a dropped series but for what views read."""
    prefix = keys.number_prefix(series)
    for family in INDEX_FAMILIES:
        batch.delete_range(family, prefix, after_prefix(prefix))


def delete_values(batch: Batch, series: int) -> None:
    """Delete what views read of a dropped series."""
    prefix = keys.number_prefix(series)
    for family in VALUE_FAMILIES:
        batch.delete_range(family, prefix, after_prefix(prefix))
    state.delete_dropped(batch, series)
