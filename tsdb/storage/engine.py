"""The storage engine of one node: what the floor above holds. Threads, their wiring, and the way in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from tsdb import prompt
from tsdb.errors import TsdbError
from tsdb.model.continuous import Progress
from tsdb.model.points import Int64s, Points
from tsdb.model.refreshing import Held
from tsdb.model.relations import SequenceState, SqlSequence
from tsdb.model.schema import Applied, Catalog, SchemaChange, Series
from tsdb.model.store import Block, Compaction, Producer, RangeDeletion, SeriesStatistics, VacuumProgress, Written
from tsdb.storage import identity
from tsdb.storage.append import Append, Delete, DeletePart, NewPoints, Seen, Step, WritePart, delete_step, write_step
from tsdb.storage.checks import check_empty, check_held, check_own_progress, check_step
from tsdb.storage.committer import Committer, Pending
from tsdb.storage.compaction.compactor import Compactor, Request
from tsdb.storage.copies.arriving import Arriving
from tsdb.storage.copies.leaving import leave_database
from tsdb.storage.copies.masking import is_masked, mask_locations, masks_of
from tsdb.storage.decoded import Logged, apply_logged
from tsdb.storage.flusher import BlockIds, Flusher
from tsdb.storage.free import check_free
from tsdb.storage.group import check_seen, commit
from tsdb.storage.hosted import Fed, Hosted
from tsdb.storage.identity import Identity
from tsdb.storage.log import LogPosition
from tsdb.storage.options import Options
from tsdb.storage.producers import check_producer
from tsdb.storage.raft_log import Records
from tsdb.storage.recovery import recover
from tsdb.storage.rocks import Batch, FatalStorageError
from tsdb.storage.rows import COUNTER_MASK
from tsdb.storage.sequences import Sequences
from tsdb.storage.shard import Shard, delete_values
from tsdb.storage.statistics import blocks_of, statistics_of
from tsdb.storage.tombstone import AnyTombstone
from tsdb.storage.view import StorageView

R = TypeVar("R")
log = logging.getLogger("tsdb.storage")


class Engine:
    """One data directory, open. Safe to call from any thread."""

    def __init__(self, shard: Shard) -> None:
        options = shard.options
        self._shard = shard
        # Dropped series whose values an open view may read: (the first version without them, series).
        self._deferred: list[tuple[int, int]] = []
        self._committer: Committer[Append | Fed] = Committer(
            self._commit,
            self._tick,
            self._make_room,
            options.abort,
            memory_bytes=options.memory_bytes,
            queue_bytes=options.queue_bytes,
            group_bytes=options.group_bytes,
            write_wait=options.write_wait,
        )
        self._ids = BlockIds(shard)
        self._flusher = Flusher(shard, self._committer.call, self._ids)
        self._compactor = Compactor(shard, self._committer.call, self._ids.next)
        self._sequences = Sequences(shard.rocks, lambda write: self._committer.call(write).result())
        self._flushing: Future[None] | None = None
        # What was replayed is in the head, and not yet in blocks.
        self._flushed_positions = self._positions() if shard.live_since_ns is None else None
        self._closed = False

    @classmethod
    def open(cls, path: Path, options: Options) -> Engine:
        """Open or create a data directory. Raises StartupError."""
        engine = cls(recover(Path(path), options))
        engine._committer.set_head_bytes(engine._shard.live_bytes)
        engine._committer.start()
        engine._flusher.start()
        engine._compactor.start()
        return engine

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def catalog(self) -> Catalog:
        return self._shard.version.catalog

    def view(self) -> StorageView:
        """The newest version, open to be read. Close it."""
        return self._shard.view()

    @property
    def has_room_on_disk(self) -> bool:
        """Whether ``Options.disk_reserve`` is free; below it no writes are taken (``room``)."""
        return self._shard.room.has()

    # ---- changes

    def write(
        self, batches: Sequence[Points], parts: Sequence[WritePart], producer: Producer | None = None
    ) -> Future[Written]:
        """Log and apply points that are cut by location. Encodes ops in the calling thread."""
        try:
            if producer is not None:
                check_producer(producer)
            step = write_step(batches, parts, producer)
        except TsdbError as error:
            return _failed(error)
        if not parts:
            return _done(Written(0))
        return self._committer.submit(Append([step]), step.bytes)

    def delete(self, parts: Sequence[DeletePart]) -> Future[None]:
        """Log and apply a deletion that is cut by location."""
        if not parts:
            return _done(None)
        step = delete_step(parts)
        return self._committer.submit(Append([step]), step.bytes)

    def commit(
        self,
        steps: Sequence[Step],
        seen: Sequence[Seen],
        news: Sequence[NewPoints] = (),
        producer: Producer | None = None,
        empty: Sequence[RangeDeletion] = (),
    ) -> Future[Written]:
        """Log and apply all steps with one sync, or none. However large they are, they wait for room as one."""
        append = Append(steps, seen, news, producer, empty)
        if not steps:
            return _done(Written(0))
        if producer is not None:
            try:
                check_producer(producer)
            except TsdbError as error:
                return _failed(error)
        return self._committer.submit(append, append.bytes, alone=True)

    def feed(self, feed: Callable[[Future[Any]], None], size: int) -> Future[Any]:
        """Have the replicas of this node fed in the committer's thread, and wait for room for so many bytes as a write
        does; the future is for ``feed`` to answer."""
        return self._committer.submit(Fed(feed), size, alone=True)

    def turn(self, feed: Callable[[], None]) -> Future[None]:
        """Have the replicas of this node fed and drained in the committer's thread, soon; nobody waits here."""

        def work() -> None:
            feed()
            self._shard.hosted.turn()
            self._after_change()
            self._shard.tidy()

        return self._committer.call(work)

    def call(self, function: Callable[[], R]) -> R:
        """Run something in the committer's thread, between groups of appends; its result or its error."""
        prompt.may_wait()
        return self._committer.call(function).result()

    def advance(self, series: Series, progress: Progress) -> None:
        """How far a continuous view's stored buckets go; durable and visible when this returns. Raises
        ReplicatedNow."""

        def work() -> None:
            check_own_progress(self._shard, series.number)
            self._shard.advance(series.number, progress)

        self._committer.call(work).result()

    def end_progress(self, series: Series) -> Progress | None:
        """The last word of this node's store on how far a continuous view is stored: others keep it from now on. None
        where nothing is stored."""
        return self._committer.call(lambda: self._shard.end_progress(series.number)).result()

    def progress_shown(self, series: int) -> Progress | None:
        """Of a continuous view whose progress others keep, what is visible here. In the committer's thread."""
        return self._shard.shown.get(series)

    def show_progress(self, series: int, progress: Progress) -> None:
        """Make it visible. In the committer's thread."""
        self._shard.show_progress(series, progress)

    def flush(self) -> None:
        """Write the head to blocks and wait for it, and let go of the write-ahead log: it is all in files now."""
        self._flush()
        try:
            self._shard.rocks.flush()
        except FatalStorageError as error:
            self._shard.options.abort(str(error))
            raise

    def _flush(self, seconds: float | None = None) -> bool:
        """Is all that was applied in blocks, after ``seconds`` at most?"""
        waiting = self._committer.call(self._freeze_for_flush).result()
        if waiting is None:
            return True
        try:
            waiting.result(seconds)
        except TimeoutError:
            return False
        return True

    def compact(
        self,
        series: Sequence[int],
        *,
        full: bool,
        told: Callable[[Compaction], None],
        cancelled: Callable[[], bool],
        shown: Callable[[VacuumProgress], None] = lambda _: None,
    ) -> Future[None]:
        """Compact some series now, whatever the settings say; ``told`` hears of each task and ``shown`` of progress, in
        another thread."""
        return self._compactor.request(Request(series, full, told, cancelled, shown))

    def close(self, flush_seconds: float | None = None) -> None:
        """Flush, stop the threads, close the store. Does nothing the second time.

        A flush that takes longer than ``flush_seconds`` is given up: what is not in blocks then is in the op log, and
        the next start replays it.
        """
        if self._closed:
            return
        self._closed = True
        flushed = False
        self._compactor.stop()
        try:
            flushed = self._flush(flush_seconds)
            if not flushed:
                log.warning("not all was flushed within %s s: the next start replays it from the log", flush_seconds)
                self._flusher.abandon()
        finally:
            self._flusher.close()
            self._compactor.close()
            self._committer.close()
            try:
                if flushed:
                    self._shard.rocks.flush()
            finally:
                self._shard.rocks.close()

    # ---- looking

    def take_values(self, sequence: SqlSequence, count: int) -> Int64s:
        """The next values of a sequence, each given once."""
        return self._sequences.take(sequence, count)

    def put_value(self, sequence: SqlSequence, value: int, *, called: bool) -> None:
        self._sequences.put(sequence, value, called=called)

    def sequence_state(self, sequence: SqlSequence) -> SequenceState:
        return self._sequences.state(sequence)

    def end_sequence(self, sequence: SqlSequence) -> SequenceState:
        """The last word of this node's store on a sequence: others count it from now on."""
        return self._sequences.end(sequence)

    def statistics(self, series: Series) -> SeriesStatistics:
        return statistics_of(self._shard.version, series.number)

    def sizes(self) -> dict[int, int]:
        """Bytes on disk, by database."""
        version = self._shard.version
        return {
            number: sum(statistics_of(version, series.number).bytes for series in database.series.values())
            for number, database in self.catalog.databases_by_number.items()
        }

    def loads(self) -> dict[int, int]:
        """Microseconds of work a second that databases have made here of late (``load``)."""
        return self._shard.load.means()

    def written(self, database: int) -> dict[int, int]:
        """Rows that were written to it of late, by location: each counts half after some hours (``load``)."""
        found = self._shard.version.catalog.databases_by_number.get(database)
        counts = self._shard.written.counts()
        return {each.number: counts[each.number] for each in found.locations if each.number in counts} if found else {}

    def blocks(self, series: Series) -> Sequence[Block]:
        """A series' blocks, by time."""
        return blocks_of(self._shard.version, series.number)

    def compactions(self) -> Sequence[Compaction]:
        """What compaction has done of late, the oldest first."""
        return self._compactor.history.all()

    def metrics(self) -> Mapping[str, float]:
        """Counters and sizes for monitoring, by name."""
        shard, version = self._shard, self._shard.version
        return {
            "head_bytes": shard.live_bytes,
            "frozen_bytes": shard.frozen_bytes,
            "frozen_heads": len(version.frozen),
            "queued_bytes": self._committer.queued_bytes,
            "writers_waited": self._committer.writers_waited,
            "writers_refused": self._committer.writers_refused + shard.room.refused,
            "disk_free_bytes": shard.room.free_bytes,
            "ops_appended": shard.log.ops_appended,
            "op_bytes_appended": shard.log.bytes_appended,
            "syncs": shard.syncs,
            "flushes": self._flusher.flushes,
            "flush_failures": self._flusher.failures,
            "flush_seconds": self._flusher.seconds,
            "blocks": sum(len(blocks.headers) for blocks in version.blocks.values()),
            "tombstones": sum(map(len, version.tombstones.values())),
            "tagsets": sum(tagsets.size for tagsets in version.tagsets.values()),
            "views": len(shard.moments),
            "producers": len(shard.producers),
            "runs_cache_bytes": shard.cache.bytes,
            "columns_cache_bytes": shard.cache.columns.bytes,
            "hot_columns_bytes": shard.cache.hot.bytes,
            "summaries_cache_bytes": shard.summaries.nbytes,
            **self._compactor.metrics(),
        }

    # ---- in the committer's thread

    def _commit(self, group: Sequence[Pending[Append | Fed]]) -> None:
        if any(isinstance(each.work, Fed) for each in group):
            self._feed(group)
            group = [each for each in group if not isinstance(each.work, Fed)]
        commit(self._shard, group)
        self._after_change()
        if self._shard.room.waits_for_flush:
            self._make_room()
        self._shard.tidy()

    def _feed(self, group: Sequence[Pending[Append | Fed]]) -> None:
        room = self._shard.room.takes_writes(self._shard.heads_bytes)
        for each in group:
            if isinstance(each.work, Fed):
                try:
                    if not room:
                        raise self._shard.room.full(self._shard.heads_bytes)
                    each.work.feed(each.future)
                except TsdbError as error:
                    each.future.set_exception(error)
        self._shard.hosted.turn()

    def host(self, hosted: Hosted, locations: Iterable[int]) -> None:
        """Who has the replicas of these locations that this node shares with others. In the committer's thread."""
        self._shard.hosted = hosted
        self._shard.log.shared.update(locations)

    def stop_producers(self, databases: frozenset[int]) -> None:
        """Numbered batches to these databases, and progress of their continuous views, are refused until they are
        shared; in the committer's thread."""
        self._shard.producers.stopped = databases

    @property
    def stopped(self) -> frozenset[int]:
        """Databases of which something was or will be told to other nodes: it must not change here any more."""
        return self._shard.producers.stopped

    def producers_of(
        self, database: int
    ) -> list[tuple[str, int, Mapping[int, Sequence[tuple[int, int]]], Mapping[int, int]]]:
        """Those that are known here; in the committer's thread. See ``Producers.of``."""
        return list(self._shard.producers.of(database))

    def end_log(self, location: int) -> LogPosition | None:
        """This node's own log of a location goes on as a replica's; in the committer's thread. See ``OpLog.end``."""
        return self._shard.log.end(location)

    def arriving(self) -> Arriving:
        """For the points of locations that another node sends."""
        return Arriving(self._shard, self._committer.call, self._ids.next)

    def forget_points(self, database: int, also: Callable[[Batch], None]) -> bool:
        """In the committer's thread: this node has no replica of a database any more. See ``leave_database``."""
        return leave_database(self._shard, self._compactor.retired, database, also)

    def mask_locations(self, database: int, locations: Collection[int]) -> None:
        """In the committer's thread: locations of a database, by number, leave this node, and others stay. Their points
        are hidden from then on, durably. They may come again when ``is_masked`` is false. See ``copies.masking``.
        Raises ProgramLimitExceeded."""
        mask_locations(self._shard, database, locations)
        # What is in heads of them becomes blocks without them, soon and in any case.
        self._committer.call(self._after_change)

    def is_masked(self, database: int, locations: Collection[int]) -> bool:
        """Whether points of locations that left are still hidden here, so that a copy of them would be hidden, too. Any
        thread may ask."""
        return is_masked(self._shard.version, database, locations)

    def hurry_masks(self, database: int, locations: Collection[int]) -> None:
        """In the committer's thread: these locations are to come again, and compaction does not wait until it is quiet
        with what is hidden of them."""
        for mask in masks_of(self._shard.version, database, locations):
            self._compactor.hurry(mask.series, self._shard.appeared(mask))

    def apply(self, ops: Sequence[Logged]) -> None:
        """Make ops visible that are committed. In the committer's thread. Raises DataCorrupted."""
        apply_logged(self._shard, ops)

    def check(self, append: Append) -> None:
        """Whether an append to locations that several nodes have may be logged now; in the committer's thread. Raises
        what speaks against it."""
        removed: dict[int, list[AnyTombstone]] = {}
        for step in append.steps:
            check_step(self._shard, step)
            if isinstance(step, Delete):
                for stone in (stone for part in step.parts for stone in part.tombstones):
                    removed.setdefault(stone.series, []).append(replace(stone, counter=COUNTER_MASK))
        check_held(self._shard, append.held)
        check_empty(self._shard, append.empty)
        check_seen(self._shard, append.seen, anew=True)
        check_free(self._shard, append.news, removed)

    def hold(self, held: Held, *, begins: bool) -> None:
        """Rows of this refresh alone are taken for a continuous view from when it ``begins``. In the committer's
        thread. Raises SerializationFailure where another one has begun since."""
        if not begins:
            check_held(self._shard, held)
            return
        known = self._shard.version.catalog.series_by_number
        self._shard.held = {view: ticket for view, ticket in self._shard.held.items() if view in known}
        self._shard.held[held.view] = held.ticket

    @property
    def last_counter(self) -> int:
        """The highest counter of a point that this node has given or seen; in the committer's thread."""
        return self._shard.log.counter

    def raise_counter(self, counter: int) -> None:
        """None up to this one is given any more. In the committer's thread."""
        self._shard.log.counter = max(self._shard.log.counter, counter)

    def _after_change(self) -> None:
        shard = self._shard
        if shard.freezes_now():
            self._freeze()
        self._committer.set_head_bytes(shard.heads_bytes)

    def _make_room(self) -> None:
        if self._shard.freezes_under_pressure():
            self._freeze()

    def _freeze(self) -> Future[None]:
        head = self._shard.freeze()
        self._flushed_positions = self._positions()
        self._flushing = self._flusher.flush(head)
        self._flushing.add_done_callback(lambda _: self._committer.call(self._after_change))
        return self._flushing

    def _positions(self) -> tuple[Mapping[int, LogPosition], Mapping[int, int]]:
        """How far this node's own logs have come, and what is applied of those that others have as well."""
        return self._shard.log.positions(), self._shard.hosted.applied()

    def _freeze_for_flush(self) -> Future[None] | None:
        """What to wait for until all that is applied now is in blocks."""
        # Of replicas that left since there is no position any more, and their points may be in the head.
        if self._positions() == self._flushed_positions and self._shard.live_since_ns is None:
            return self._flushing
        return self._freeze()

    # ---- for who keeps the catalog, in the committer's thread (``call``)

    @property
    def records(self) -> Records:
        """The store, for a Raft log and what it keeps; a write that fails ends the process."""
        return self._shard

    @property
    def node(self) -> int:
        """The number of this node, which is in the sequences of its points."""
        return self._shard.log.node_id

    @property
    def identity(self) -> Identity | None:
        """Who this directory is; None before that was said."""
        return identity.load(self._shard.rocks)

    def identify(self, known: Identity) -> None:
        """Say durably who this directory is. Points that are there keep the number that they were written under."""
        identity.store(self._shard, known)
        if known.joined:
            self._shard.log.node_id = known.node

    def check_unchanged(self, changes: Sequence[SchemaChange]) -> None:
        """Raises SerializationFailure for a change that rests on data which have changed since they were looked at."""
        self._shard.check_unchanged(changes)

    def stage_catalog(self, batch: Batch, before: Catalog, applied: Applied) -> None:
        """What a change of the catalog does to the data, into the batch that holds the change itself."""
        self._shard.stage_catalog(batch, before, applied)

    def publish_catalog(self, catalog: Catalog) -> None:
        """Make a catalog visible whose batches are written."""
        dropped = self._shard.publish_catalog(catalog)
        self._deferred += [(self._shard.version.number, series) for series in dropped]
        self._delete_deferred()
        self._after_change()

    def _tick(self) -> None:
        self._shard.mark()
        self._after_change()
        self._delete_deferred()

    def _delete_deferred(self) -> None:
        oldest = self._shard.moments.oldest()
        ready = [entry for entry in self._deferred if oldest is None or oldest >= entry[0]]
        if ready:
            batch = self._shard.rocks.batch()
            for _, series in ready:
                delete_values(batch, series)
            self._shard.write_durably(batch)
            self._deferred = [entry for entry in self._deferred if entry not in ready]


def _done(value: Written | None) -> Future:  # type: ignore[type-arg]
    future: Future[Written | None] = Future()
    future.set_result(value)
    return future


def _failed(error: Exception) -> Future:  # type: ignore[type-arg]
    future: Future[Written] = Future()
    future.set_exception(error)
    return future
