"""The shard: everything of this node's data that changes, owned by the committer's thread.

A batch is written with one sync, then applied, and the next version of the data is published by one assignment: appends
(``group``), schema changes, freezing and the end of a flush (``install``) all go this way, so that what is durable and
what is visible change together and in one order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from tsdb.errors import SerializationFailure
from tsdb.model.continuous import Progress
from tsdb.model.ring import Intervals
from tsdb.model.schema import Applied, Catalog, SchemaChange, SetRetention
from tsdb.model.store import TimeRange
from tsdb.model.time import BUCKET_NS, NS_MAX, NS_MIN
from tsdb.storage import keys, state
from tsdb.storage.apply import add_rows, add_tombstones
from tsdb.storage.cache import RunsCache
from tsdb.storage.changes import ChangesReader, KnownChanges, with_erased
from tsdb.storage.head import bytes_of, folded
from tsdb.storage.hosted import Hosted, Nobody
from tsdb.storage.hot_groups.lines import LinesTables
from tsdb.storage.load import ROW_US, WRITTEN_HALF_LIFE_S, Load
from tsdb.storage.log import OpLog
from tsdb.storage.markers import write_markers
from tsdb.storage.moments import Moments
from tsdb.storage.newest.keeping import KeptCache
from tsdb.storage.newest.tails import TailsCache
from tsdb.storage.options import Options
from tsdb.storage.producers import Producers
from tsdb.storage.rocks import Batch, FatalStorageError, Rocks
from tsdb.storage.room import DiskRoom
from tsdb.storage.rows import COUNTER_MASK, Rows
from tsdb.storage.rules import KeptRules
from tsdb.storage.summaries.cache import SummaryCache
from tsdb.storage.tagsets import TagSetIndex, TagSets
from tsdb.storage.tombstone import AnyTombstone, Erasure
from tsdb.storage.version import FrozenHead, SeriesBlocks, Version
from tsdb.storage.view import StorageView

# What is stored of a series: what only the engine reads, and what open views may still read.
INDEX_FAMILIES = ("blocks", "tagsets", "tombstones")
VALUE_FAMILIES = ("columns", "runs", "summaries")


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
        self.path = path
        self.rocks = rocks
        self.options = options
        self.room = DiskRoom(path, options)
        self.version = version
        self.log = log
        self.producers = producers
        self.indexes = indexes
        self.stones_on_disk: dict[bytes, AnyTombstone] = {}
        self.unjudged: dict[AnyTombstone, int] = {}
        """Masks of which older rows may be in heads: not to be judged before the head of this number is in blocks."""
        # That of the newest mask.
        self._masked_head = 0
        self.live_bytes = 0
        self.frozen_bytes = 0
        self.live_since_ns: int | None = None
        self.syncs = 0
        self.moments = Moments()
        self.cache = RunsCache(options.runs_cache_bytes, options.columns_cache_bytes, options.hot_columns_bytes)
        self.summaries = SummaryCache(options.summaries_cache_bytes)
        self.rules = KeptRules()
        # In which version a tombstone showed first.
        self._appeared: WeakKeyDictionary[AnyTombstone, int] = WeakKeyDictionary()
        self.tails = TailsCache()
        self.load = Load()
        self.written = Load(half_life_s=WRITTEN_HALF_LIFE_S)
        """Rows, by location."""
        self._known = KnownChanges()
        self._lines = LinesTables()
        self._kept = KeptCache()
        self._erased = version.erased
        self._deleted: dict[int, int] = {}
        self._changed: dict[int, int] = {}
        self._forgotten: dict[int, int] = {}
        # Series that staged changes of the catalog have dropped.
        self._gone: list[int] = []
        # Series whose live head has new runs.
        self._grown: set[int] = set()
        self._frozen_count = 0
        self.hosted: Hosted = Nobody()
        self.shown: dict[int, Progress] = {}
        """Of continuous views whose progress others keep as well, and not this store: what ``version`` shows."""
        self.held: dict[int, int] = {}
        """By continuous view, the ticket of the refresh that holds it."""
        self._marked_ns = options.clock.now_ns()

    # ---- durable, then visible

    def write_durably(self, batch: Batch) -> None:
        """Write a batch with a sync; a failure ends the process."""
        self.write(batch, sync=True)

    def write(self, batch: Batch, sync: bool) -> None:
        """Write a batch; a failure ends the process."""
        try:
            self.rocks.write(batch, sync)
        except FatalStorageError as error:
            self.options.abort(str(error))
            raise
        self.syncs += sync

    # With ``write`` these make a Raft log's records of it.

    def batch(self) -> Batch:
        return self.rocks.batch()

    def get(self, family: str, key: bytes) -> bytes | None:
        return self.rocks.get(family, key)

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        return self.rocks.get_many(family, keys)

    def scan(self, family: str, low: bytes = b"", high: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        return self.rocks.scan(family, low, high)

    def publish(self, **changes: Any) -> None:
        """The next version of the data: one assignment. All that has a counter is in it: nothing is staged now."""
        number, counter = self.version.number + 1, self.log.counter
        self.version = replace(self.version, number=number, counter=counter, erased=self._erased, **changes)

    def view(self) -> StorageView:
        """The newest version, open to be read. Any thread may ask."""
        version, moment = self.moments.open(lambda: self.version)
        return StorageView(
            version,
            moment,
            self.rocks,
            self.cache,
            self.rules,
            self.tails,
            self.summaries,
            self._known,
            self._lines,
            self._kept,
            self.load,
        )

    # ---- appends

    @property
    def heads_bytes(self) -> int:
        """Of live and frozen heads."""
        return self.live_bytes + self.frozen_bytes

    def forget_tombstones(self, batch: Batch, stones: Iterable[AnyTombstone]) -> None:
        """These are carried out; whoever asks what was deleted since an older moment has to look at the rows, or, for
        continuous views, at the erasures, which become durable with ``batch`` and visible with the next version."""
        forgotten: dict[int, list[AnyTombstone]] = {}
        for stone in stones:
            counter = stone.counter & COUNTER_MASK
            self._forgotten[stone.series] = max(self._forgotten.get(stone.series, 0), counter)
            forgotten.setdefault(stone.series, []).append(stone)
        for series in forgotten.keys() & self.version.catalog.continuous_of.keys():
            self._keep_erasures(batch, series, forgotten[series])
        # Of what is stored of a view nodes have in common, a node may be behind of how far it is.
        for series in forgotten.keys() & self.shown.keys():
            self._keep_erased(batch, series, forgotten[series], self.shown[series].stored)

    def _keep_erasures(self, batch: Batch, source: int, stones: Iterable[AnyTombstone]) -> None:
        views = self.version.catalog.continuous_of.get(source, ())
        progress = [self.version.progress.get(view.number) for view in views]
        # A view with nothing stored may be on the way: what its first refresh has not seen must be known after it.
        seen = min((0 if each is None else each.counter for each in progress), default=NS_MAX)
        self._keep_erased(batch, source, stones, seen)

    def _keep_erased(self, batch: Batch, series: int, stones: Iterable[AnyTombstone], seen: int) -> None:
        erased = with_erased(self._erased.get(series, ()), stones, seen)
        self._erased = {**self._erased, series: erased}
        state.put_erased(batch, series, erased)

    def erase_all(self, batch: Batch, series: int, counter: int, ring: Intervals) -> None:
        """It is not known what was deleted of a series up to a counter in these intervals: anything may be."""
        erasures = [Erasure(NS_MIN, NS_MAX, counter, low, high) for low, high in ring]
        erased = with_erased((*self._erased.get(series, ()), *erasures), (), -1)
        self._erased = {**self._erased, series: erased}
        state.put_erased(batch, series, erased)

    def advance(self, series: int, progress: Progress) -> None:
        """How far a continuous view's stored buckets go, durably. Nothing, if it was dropped meanwhile."""
        found = self.version.catalog.series_by_number.get(series)
        if found is None:
            return
        batch = self.rocks.batch()
        state.put_progress(batch, series, progress)
        self.write_durably(batch)
        self.publish(progress={**self.version.progress, series: progress})
        self._forget_erasures(series)

    def end_progress(self, series: int) -> Progress | None:
        """What this store alone knew of how far a continuous view is stored, for others to keep: all of its rows up to
        now belong to that, or are in buckets that are dirty for the source, or after the watermark."""
        found = self.version.progress.get(series)
        if found is None or found.stored >= 0:
            return found
        # With it all is durable that was written before: that nothing moves it any more.
        batch = self.rocks.batch()
        state.put_progress(batch, series, found)
        self.write_durably(batch)
        return replace(found, stored=self.log.counter)

    def show_progress(self, series: int, progress: Progress) -> None:
        """As ``advance``, of a continuous view whose progress others keep."""
        self.shown[series] = progress
        self.publish(progress={**self.version.progress, series: progress})
        self._forget_erasures(series)

    def _forget_erasures(self, view: int) -> None:
        """That a continuous view has seen."""
        found = self.version.catalog.series_by_number.get(view)
        source = None if found is None else found[0].source_of(found[1])
        seen = [] if source is None else [each for each in (source.number, view) if self._erased.get(each)]
        if seen:
            batch = self.rocks.batch()
            for each in seen:
                if each == view:
                    self._keep_erased(batch, view, (), self.shown[view].stored)
                else:
                    self._keep_erasures(batch, each, ())
            self.write_durably(batch)
            self.publish()

    def knows_deletions_since(self, series: int, counter: int) -> bool:
        """Are all tombstones of a series from after ``counter`` still there?"""
        return self._forgotten.get(series, 0) <= counter

    def appeared(self, stone: AnyTombstone) -> int:
        """The number of the version in which a tombstone showed first; 0 if it was there at the start."""
        return self._appeared.get(stone, 0)

    def deleted(self, series: int) -> int:
        """The number of the version in which a series' last DELETE showed; 0 if there was none since the start."""
        return self._deleted.get(series, 0)

    def changed(self, series: int) -> int:
        """The number of the version in which a series' last DELETE or write showed."""
        return self._changed.get(series, 0)

    def index_of(self, series: int) -> TagSetIndex:
        index = self.indexes.get(series)
        if index is None:
            index = self.indexes[series] = TagSetIndex()
        return index

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
        self._appeared.update((stone, self.version.number) for stone in stones)
        self._deleted.update((stone.series, self.version.number) for stone in stones)
        self._changed.update((series, self.version.number) for series in (*rows, *(stone.series for stone in stones)))
        self._grown.update(rows)

    def count(self, rows: Mapping[int, Sequence[Rows]]) -> None:
        """These are new, and not read from the log again: they are work that somebody asks for now."""
        known = self.version.catalog.series_by_number
        counts: dict[int, int] = {}
        for series, added in rows.items():
            found = known.get(series)
            if found is not None:
                counts[found[0].number] = counts.get(found[0].number, 0) + sum(map(len, added))
        for database, count in counts.items():
            self.load.count(database, count * ROW_US)

    def publish_masks(self, masks: Sequence[AnyTombstone]) -> None:
        """Tombstones that are on disk, and in no log, hide rows from here on. The live head, which may have some of
        these, is to be frozen."""
        self._masked_head = self._frozen_count + 1
        self.unjudged.update(dict.fromkeys(masks, self._masked_head))
        self.apply({}, masks)

    def publish_copied(self, blocks: Mapping[int, SeriesBlocks], series: Iterable[int]) -> None:
        """Points that came as blocks from another node are visible from here on; they are of these series."""
        self.publish(blocks=blocks, tagsets=self._tagsets(series))
        self._changed.update((number, self.version.number) for number in series)

    def tidy(self) -> None:
        """Fold the runs of the live head that have come together: after its writers were answered."""
        grown, self._grown = self._grown, set()
        live, before = dict(self.version.live), self.version.live
        for series in grown & live.keys():
            live[series] = folded(live[series])
        changed = [series for series in grown & live.keys() if live[series] is not before[series]]
        if changed:
            self.live_bytes += sum(bytes_of(live[series]) - bytes_of(before[series]) for series in changed)
            self.publish(live=live)

    def _tagsets(self, series: Iterable[int]) -> Mapping[int, TagSets]:
        """The tag sets of the next version; those of ``series`` may have grown."""
        known = self.version.tagsets
        grown = {n: self.indexes[n] for n in series if n not in known or len(self.indexes[n]) > known[n].count}
        return {**known, **{n: index.snapshot() for n, index in grown.items()}} if grown else known

    # ---- markers, freezing

    def mark(self) -> None:
        """Write sequence markers when it is time."""
        now = self.options.clock.now_ns()
        if now - self._marked_ns < self.options.marker_interval_ns or not self.room.has():
            return
        self._marked_ns = now
        batch = self.rocks.batch()
        if write_markers(self.log, batch, now):
            self.write_durably(batch)

    def freezes_now(self) -> bool:
        """Is the live head so large or so old that it should be flushed, or does a mask wait for that?"""
        if self.live_since_ns is None or len(self.version.frozen) >= self.options.frozen_max:
            return False
        age = self.options.clock.now_ns() - self.live_since_ns
        is_masked = self._masked_head > self._frozen_count
        return is_masked or self.live_bytes >= self.options.live_bytes or age >= self.options.head_age_ns

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
            tuple(counter for counter in self.moments.counters() if counter < self.log.counter),
            self.live_bytes,
            self.hosted.freeze(),
        )
        self.frozen_bytes += head.bytes
        self.live_bytes = 0
        self.live_since_ns = None
        self.publish(live={}, frozen=(*version.frozen, head))
        return head

    # ---- schema

    def stage_catalog(self, batch: Batch, before: Catalog, done: Applied) -> None:
        """What a change of the catalog does to the data, into the batch that holds the change itself."""
        after = done.catalog
        gone = sorted(n for n in done.series if n in before.series_by_number and n not in after.series_by_number)
        self._gone += gone
        for series in gone:
            delete_series(batch, series)
            state.put_dropped(batch, series)
            state.delete_continuous(batch, series)
        for number in before.databases_by_number.keys() - after.databases_by_number.keys():
            locations = before.databases_by_number[number].locations
            self.log.forget(batch, locations)
            numbers = [location.number for location in locations]
            state.delete_flushed(batch, numbers)
            self.load.forget([number])
            self.written.forget(numbers)
            self.hosted.drop(batch, numbers)
            self.log.shared.difference_update(numbers)
            # The ops that go with the logs may be all that showed how far the counter had come (invariant 3).
            state.put_counter(batch, self.log.counter)

    def check_unchanged(self, changes: Sequence[SchemaChange]) -> None:
        """Raises SerializationFailure for a floor that must not rise over changes that nobody has looked at."""
        for change in changes:
            if not isinstance(change, SetRetention) or change.unchanged_since is None:
                continue
            series = self.version.catalog.find(change.database).find(change.series)
            counter, until = change.unchanged_since
            span = TimeRange(NS_MIN if series.floor_ns is None else series.floor_ns, until)
            reader = ChangesReader(self.version, self.rocks, self.cache, self._known)
            if reader.changes(series.number, counter, span, BUCKET_NS):
                raise SerializationFailure(f'"{series.name}" was changed while its floor was to rise')

    def publish_catalog(self, catalog: Catalog) -> list[int]:
        """Make a catalog visible whose batches are written. The dropped series: views may still read their values."""
        gone, self._gone = self._gone, []
        if gone:
            self.publish_without(gone, catalog)
        else:
            self.publish(catalog=catalog)
        return gone

    def publish_without(self, gone: Iterable[int], catalog: Catalog) -> None:
        """The next version has nothing of these series; what the disk had of them is deleted."""
        version, dropped = self.version, set(gone)
        stones = self.stones_on_disk.items()
        self.stones_on_disk = {key: stone for key, stone in stones if stone.series not in dropped}
        self.unjudged = {stone: number for stone, number in self.unjudged.items() if stone.series not in dropped}
        for series in dropped:
            self.indexes.pop(series, None)
            self._deleted.pop(series, None)
            self._changed.pop(series, None)
            self._forgotten.pop(series, None)
            self.shown.pop(series, None)
            self.live_bytes -= bytes_of(version.live.get(series, ()))
        self._erased = _without(self._erased, dropped)
        self.publish(
            catalog=catalog,
            blocks=_without(version.blocks, dropped),
            live=_without(version.live, dropped),
            tombstones=_without(version.tombstones, dropped),
            tagsets=_without(version.tagsets, dropped),
            progress=_without(version.progress, dropped),
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
