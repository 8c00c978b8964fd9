"""The compactor: the one thread that merges blocks, in the background or because somebody asks for it."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tsdb.errors import AdminShutdown, QueryCanceled, TsdbError
from tsdb.model.schema import Database, Series
from tsdb.model.store import Compaction, VacuumProgress
from tsdb.storage import state
from tsdb.storage.block import SEQUENCE_COLUMN, TIME_COLUMN, BlockHeader, delete_values
from tsdb.storage.block_writer import Values
from tsdb.storage.compaction.forget import Forgetting
from tsdb.storage.compaction.history import History
from tsdb.storage.compaction.merge import Merge, Source
from tsdb.storage.compaction.pace import Interrupted, Pace
from tsdb.storage.compaction.plan import Task
from tsdb.storage.compaction.retired import FAMILIES, RetiredBlocks
from tsdb.storage.compaction.schedule import Schedule, rounds
from tsdb.storage.compaction.small_store import has_garbage, stored_bytes, write_anew
from tsdb.storage.compaction.swap import Outcome, swap
from tsdb.storage.keys import FAMILIES as ALL_FAMILIES
from tsdb.storage.keys import number_prefix
from tsdb.storage.rocks import FatalStorageError
from tsdb.storage.rules import rules_of
from tsdb.storage.shard import Shard
from tsdb.storage.version import Version
from tsdb.storage.visibility import Visibility

log = logging.getLogger("tsdb.storage")

IDLE_SECONDS = 1.0
# When nothing else is to do, RocksDB is told of so many deleted bytes.
IDLE_FLUSH_BYTES = 1 << 20
RETRY_SECONDS = 5.0
RETRY_SECONDS_MAX = 300.0
# A round of tasks is carried out with one swap, and lost if it is interrupted.
ROUND_ROWS = 1 << 20
ROUND_BLOCKS = 512
# Smaller ones are no news, those of the rehearsal at a start (``server.warm``) for one.
NEWS_BYTES = 1 << 16
# After so long the plan is made anew: there may be something more urgent.
PLAN_SECONDS = 10.0
# How long a request waits for RocksDB's own compactions, and how often it asks for them.
SETTLE_SECONDS, SETTLE_SECONDS_MAX = 0.05, 60.0
# Of one request: each looks at what the last one has left.
PASSES_MAX = 16
# Records of unfinished work have numbers; those of flushes are small.
NUMBERS_FROM = 1 << 32


@dataclass(slots=True)
class Request:
    """Somebody asks for series to be compacted now. ``told`` hears of each task that is done, ``shown`` of progress."""

    series: Sequence[int]
    full: bool
    told: Callable[[Compaction], None]
    cancelled: Callable[[], bool]
    shown: Callable[[VacuumProgress], None] = lambda _: None
    done: Future[None] = field(default_factory=Future)


class Compactor:
    """``call`` runs a function in the committer's thread; ``next_block`` gives the id of a new block."""

    def __init__(
        self, shard: Shard, call: Callable[[Callable[[], Any]], Future[Any]], next_block: Callable[[], int]
    ) -> None:
        self._shard = shard
        self._call = call
        self._next_block = next_block
        self._stopped = threading.Event()
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._retired = RetiredBlocks(shard.rocks, shard.cache, shard.moments)
        self._deleted = False
        self._schedule = Schedule(shard)
        self._pace = Pace(shard.options.compaction_rate, self._is_busy, self._stopped)
        self._forgetting = Forgetting(shard, call, self._pace.check)
        self._ops = 0
        self._tasks = 0
        self._rounds = 0
        self._thread = threading.Thread(target=self._run, name="tsdb-compactor", daemon=True)
        self.history = History()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin to stop: what is under way is given up within milliseconds. Does not wait."""
        self._stopped.set()
        self._requests.put(None)

    def close(self) -> None:
        """Stop and wait for it."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join()

    def request(self, request: Request) -> Future[None]:
        """Compact some series now; the future ends when there is nothing left to do."""
        if self._stopped.is_set():
            request.done.set_exception(AdminShutdown("the storage engine is closed"))
        else:
            self._requests.put(request)
        return request.done

    def hurry(self, series: int, version: int) -> None:
        """In the background: see ``Schedule.hurry``. Any thread may say so."""
        self._schedule.hurry(series, version)

    @property
    def retired(self) -> RetiredBlocks:
        """For who takes blocks out of a version, in the committer's thread."""
        return self._retired

    def metrics(self) -> dict[str, float]:
        return {**self.history.metrics(), "retired_bytes": float(self._retired.bytes)}

    # ---- the thread

    def _run(self) -> None:
        failures = 0
        wait = IDLE_SECONDS
        while not self._stopped.is_set():
            request = self._next_request(wait)
            try:
                if request is not None:
                    self._serve(request)
                elif self._shard.options.compaction:
                    self._work()
                    self._forget_due()
                self._delete_retired()
                # All families, so that no write-ahead log is left either.
                self._retired.flush(IDLE_FLUSH_BYTES, ALL_FAMILIES)
                self._give_back()
                failures, wait = 0, IDLE_SECONDS
            except Interrupted:
                self.history.count("interruptions")
                break
            except FatalStorageError as error:
                self._shard.options.abort(str(error))
                raise
            except Exception:
                if self._stopped.is_set():
                    break
                failures += 1
                wait = min(RETRY_SECONDS * 2 ** (failures - 1), RETRY_SECONDS_MAX)
                self.history.count("failures")
                log.exception("a compaction failed; it is tried again in %s s", wait)
        self._refuse_requests()

    def _next_request(self, seconds: float) -> Request | None:
        try:
            return self._requests.get(timeout=seconds)
        except queue.Empty:
            return None

    def _refuse_requests(self) -> None:
        self._stopped.set()
        while not self._requests.empty():
            request = self._requests.get()
            if request is not None:
                request.done.set_exception(AdminShutdown("the storage engine is closed"))

    def _work(self) -> None:
        """What is due, until there is nothing more or somebody asks for something."""
        while self._requests.empty():
            started = time.monotonic()
            tasks = self._schedule.due(started)
            if not tasks:
                return
            left = {task.series for task in tasks}
            try:
                for each in rounds(self._affordable(tasks), ROUND_ROWS, ROUND_BLOCKS):
                    self._round(each)
                    if not self._requests.empty() or time.monotonic() - started > PLAN_SECONDS:
                        break
                    if not self._shard.room.has() and not all(task.drops for task in tasks):
                        break
                else:
                    left = set()
            finally:
                for series in left:
                    self._schedule.look_again(series)
            self._delete_retired()
            if not self._shard.room.has():
                return

    def _forget_due(self) -> None:
        """Forget tag sets of which no row is left, until somebody asks for something."""
        for number in self._forgetting.due(time.monotonic()):
            if not self._requests.empty() or not self._shard.room.has():
                return
            self._pace.begin()
            self._forget(number)
            self._pace.worked(0)

    def _forget(self, series: int) -> None:
        count = self._forgetting.forget(series, time.monotonic())
        if count:
            self.history.count("tagsets_forgotten", count)
            log.info("forgot %d tag sets of series %d, of which no row is left", count, series)

    def _affordable(self, tasks: Sequence[Task]) -> list[Task]:
        """On a disk that is nearly full only what frees some."""
        if self._shard.room.has():
            return list(tasks)
        return [task for task in tasks if task.drops]

    def _serve(self, request: Request) -> None:
        try:
            self._pace.hurried = True
            for number in request.series:
                self._serve_series(request, number)
            self._delete_retired()
            self._retired.flush(1, ALL_FAMILIES)
            self._await_rocks(request)
            self._write_anew(asked=True)
        except Interrupted:
            request.done.set_exception(AdminShutdown("the storage engine is closed"))
            raise
        except TsdbError as error:
            request.done.set_exception(error)
        except BaseException as error:
            request.done.set_exception(error)
            raise
        else:
            request.done.set_result(None)
        finally:
            self._pace.hurried = False

    def _await_rocks(self, request: Request) -> None:
        """Until RocksDB has given back the space of what was deleted. Not while others write: then it has no end."""
        end = time.monotonic() + SETTLE_SECONDS_MAX
        self._is_busy()
        while self._shard.rocks.is_compacting() and not self._is_busy():
            if request.cancelled() or time.monotonic() > end:
                break
            self._stopped.wait(SETTLE_SECONDS)
            self._pace.check()

    def _give_back(self) -> None:
        """What RocksDB leaves on disk of deleted values, when nobody else is at work."""
        if self._deleted and not self._shard.rocks.is_compacting() and not self._is_busy():
            self._deleted = False
            self._write_anew(asked=False)

    def _write_anew(self, *, asked: bool) -> None:
        if has_garbage(self._shard.rocks, asked=asked) and self._shard.room.has(stored_bytes(self._shard.rocks)):
            log.info("wrote values anew: of %d bytes %d are left", *write_anew(self._shard.rocks))

    def _serve_series(self, request: Request, number: int) -> None:
        progress = _Progress(request, number)
        if request.full and not self._shard.room.has(size := self._bytes_of(number)):
            raise self._shard.room.too_little("a full VACUUM, which writes a table anew", size)
        for attempt in range(PASSES_MAX):
            tasks = self._affordable(self._schedule.asked(number, full=request.full and attempt == 0))
            progress.plan(tasks)
            for each in rounds(tasks, ROUND_ROWS, ROUND_BLOCKS):
                if request.cancelled():
                    raise QueryCanceled("canceling statement due to user request")
                if affordable := self._affordable(each):
                    for done in self._round(affordable, progress.read):
                        request.told(done)
                progress.done(each)
            if not tasks:
                break
        if self._shard.room.has():
            progress.phase("vacuuming indexes")
            self._forget(number)
        progress.phase("performing final cleanup")
        if request.full:
            prefix = number_prefix(number)
            self._delete_retired()
            self._retired.flush()
            for family in (*FAMILIES, "tagsets"):
                self._pace.check()
                self._shard.rocks.reclaim(family, prefix, number_prefix(number + 1))

    def _bytes_of(self, number: int) -> int:
        """Of a series' blocks, which a full VACUUM writes anew before the old ones go."""
        blocks = self._shard.version.blocks.get(number)
        return 0 if blocks is None else sum(header.value_bytes for header in blocks.headers)

    def _delete_retired(self) -> None:
        deleted = self._retired.delete()
        self._deleted |= deleted > 0
        self.history.count("bytes_deleted", deleted)

    # ---- a round

    def _round(self, tasks: Sequence[Task], read: Callable[[Task], None] = lambda _: None) -> list[Compaction]:
        """Carry out tasks with one swap; ``read`` hears of each whose blocks were read. Returns those that took place.

        Raises Interrupted.
        """
        shard = self._shard
        version = shard.version
        # After the version: whoever looks from now on sees all that is in its blocks.
        moments = tuple(counter for counter in shard.moments.counters() if counter < version.counter)
        self._rounds += 1
        number = NUMBERS_FROM + self._rounds
        started = time.monotonic()
        self._pace.begin()
        values = Values(shard.rocks, shard.options.values_batch_bytes)
        self._announce(values, tasks, number)
        outcomes: list[tuple[Outcome, Compaction]] = []
        try:
            for task in tasks:
                compaction = self._begun(task)
                self.history.run(compaction)
                outcome = Outcome(task)
                outcomes.append((outcome, compaction))
                if not task.drops:
                    self._merge(outcome, compaction, self._source(version, task, moments), values)
                read(task)
            values.write()
            made = [outcome for outcome, _ in outcomes]
            done = self._call(partial(swap, shard, self._retired, made, version.number, number)).result()
        except FatalStorageError:
            raise
        except BaseException:
            self._take_back([outcome for outcome, _ in outcomes], number)
            raise
        finally:
            self.history.run(None)
            self.history.count("seconds", time.monotonic() - started)
        took_place = {id(outcome) for outcome in done}
        ended = [self._ended(*each) for each in outcomes if id(each[0]) in took_place and each[0].removed]
        _log(version.catalog.series_by_number, ended)
        return ended

    def _announce(self, values: Values, tasks: Sequence[Task], number: int) -> None:
        """So that recovery deletes what gets no header."""
        columns = {
            (task.series, column)
            for task in tasks
            if not task.drops
            for header in task.blocks
            for column in (TIME_COLUMN, SEQUENCE_COLUMN, *header.columns)
        }
        if columns:
            state.put_flushing(values.batch, number, state.Flushing(self._next_block(), sorted(columns)))
            values.write()

    def _source(self, version: Version, task: Task, moments: Sequence[int]) -> Source | None:
        found = version.catalog.series_by_number.get(task.series)
        if found is None:
            return None
        database, series = found
        stones = version.tombstones.get(task.series, ())
        rules = rules_of(series, stones, version.tagsets[task.series])
        visibility = Visibility(database.number, series, rules)
        shard = self._shard
        return Source(shard.rocks, shard.cache, series, visibility, moments, shard.options.rows_per_block)

    def _merge(self, outcome: Outcome, compaction: Compaction, source: Source | None, values: Values) -> None:
        """Write the new blocks of a task, all but their headers; ``compaction`` is shown as it goes on."""
        if source is None:
            return
        merge = Merge(source, outcome.task, self._pace.check)
        outcome.kept = merge.kept()
        before = 0
        for block in merge.blocks(self._next_block):
            encoded = block.encode(self._pace.check)
            outcome.added.append(encoded.header)
            self.history.run(_with_made(compaction, outcome.added))
            encoded.put_values(values.batch)
            self._pace.worked(encoded.header.value_bytes + merge.bytes_read - before)
            before = merge.bytes_read
        self._pace.worked(merge.bytes_read - before)

    def _take_back(self, outcomes: Sequence[Outcome], number: int) -> None:
        batch = self._shard.rocks.batch()
        for outcome in outcomes:
            for header in outcome.added:
                delete_values(batch, header)
        state.delete_flushing(batch, number)
        self._shard.rocks.write(batch, sync=False)

    def _is_busy(self) -> bool:
        """Are others at work: queries, writers, the flusher?"""
        ops, self._ops = self._ops, self._shard.log.ops_appended
        return self._ops != ops or len(self._shard.moments) > 0 or len(self._shard.version.frozen) > 0

    # ---- what is told of it

    def _begun(self, task: Task) -> Compaction:
        low = min(header.min_time for header in task.blocks)
        high = max(header.max_time for header in task.blocks)
        now = self._shard.options.clock.now_ns()
        return Compaction(
            task.series, str(task.reason), now, None, low, high, len(task.blocks), 0, task.rows, 0, task.bytes, 0
        )

    def _ended(self, outcome: Outcome, begun: Compaction) -> Compaction:
        added, removed, task = outcome.added, outcome.removed, outcome.task
        self._tasks += 1
        self._schedule.settled(task.series, [h.block_id for h in removed], [h.block_id for h in added], self._tasks)
        done = replace(
            _with_made(begun, added),
            finished_ns=self._shard.options.clock.now_ns(),
            blocks_in=len(removed),
            rows_in=sum(header.rows for header in removed),
            bytes_in=sum(header.value_bytes for header in removed),
        )
        self.history.done(done)
        return done


def _with_made(compaction: Compaction, blocks: Sequence[BlockHeader]) -> Compaction:
    """With what it has written so far."""
    rows, size = sum(header.rows for header in blocks), sum(header.value_bytes for header in blocks)
    return replace(compaction, blocks_out=len(blocks), rows_out=rows, bytes_out=size)


class _Progress:
    """How far a request is with one series; tells it."""

    def __init__(self, request: Request, series: int) -> None:
        self._shown = request.shown
        self._now = VacuumProgress(series)
        self._show()

    def plan(self, tasks: Sequence[Task]) -> None:
        total = self._now.blocks_total + sum(len(task.blocks) for task in tasks)
        self._show(phase="scanning heap", blocks_total=total)

    def read(self, task: Task) -> None:
        self._show(blocks_read=self._now.blocks_read + len(task.blocks))

    def done(self, tasks: Sequence[Task]) -> None:
        self._show(blocks_done=self._now.blocks_done + sum(len(task.blocks) for task in tasks))

    def phase(self, name: str) -> None:
        self._show(phase=name)

    def _show(self, **changes: Any) -> None:
        self._now = replace(self._now, **changes)
        self._shown(self._now)


def _log(known: Mapping[int, tuple[Database, Series]], done: Sequence[Compaction]) -> None:
    """One line for all that one swap has changed."""

    def name(number: int) -> str:
        found = known.get(number)
        return f"series {number}, which was dropped" if found is None else f'"{found[1].name}" of "{found[0].name}"'

    if done:
        log.log(
            logging.INFO if sum(each.bytes_in for each in done) >= NEWS_BYTES else logging.DEBUG,
            "compacted %d blocks of %d rows and %d bytes to %d of %d rows and %d bytes (%s)",
            *(sum(each.blocks_in for each in done), sum(each.rows_in for each in done)),
            *(sum(each.bytes_in for each in done), sum(each.blocks_out for each in done)),
            *(sum(each.rows_out for each in done), sum(each.bytes_out for each in done)),
            ", ".join(sorted({f"{each.reason} in {name(each.series)}" for each in done})[:8]),
        )
