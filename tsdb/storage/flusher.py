"""The flusher: the thread that turns frozen heads into blocks, one after the other."""

from __future__ import annotations

import ctypes
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pyarrow as pa

from tsdb.errors import TsdbError
from tsdb.storage.flush import FlushAbandoned, Flushed, durable_tagsets, take_back, write_blocks
from tsdb.storage.garbage import uncollected
from tsdb.storage.install import install
from tsdb.storage.keys import number_prefix
from tsdb.storage.rocks import FatalStorageError
from tsdb.storage.shard import Shard
from tsdb.storage.version import FrozenHead

log = logging.getLogger("tsdb.storage")

RETRY_SECONDS = 5.0


def release_memory() -> None:
    """Give freed memory back to the system: a head is a third of the server's memory, and allocators keep it."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


class BlockIds:
    """Ids of new blocks: above all that are in the index. Any thread may take one."""

    def __init__(self, shard: Shard) -> None:
        ids = (header.block_id for series in shard.version.blocks.values() for header in series.headers)
        self._ids: Iterator[int] = itertools.count(max(ids, default=0) + 1)

    def next(self) -> int:
        return next(self._ids)


def _write(shard: Shard, flushed: Flushed, ids: BlockIds, abandoned: Callable[[], bool] = lambda: False) -> None:
    options = shard.options
    with ThreadPoolExecutor(options.encode_threads, "tsdb-encode") as pool:
        write_blocks(
            shard.rocks,
            flushed,
            shard.version,
            lambda series: durable_tagsets(shard.indexes, series),
            ids.next,
            options,
            pool,
            abandoned,
        )


def flush_now(shard: Shard, head: FrozenHead) -> None:
    """Flush in this thread: for recovery, before any other thread runs."""
    flushed = Flushed(head, shard.version.number)
    _write(shard, flushed, BlockIds(shard))
    install(shard, flushed)


class Flusher:
    """Flushes what is given to it, in order. ``call`` runs a function in the committer's thread."""

    def __init__(self, shard: Shard, call: Callable[[Callable[[], None]], Future[None]], ids: BlockIds) -> None:
        self._shard = shard
        self._call = call
        self._ids = ids
        self._queue: queue.SimpleQueue[tuple[FrozenHead, Future[None]] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tsdb-flusher", daemon=True)
        self.flushes = 0
        self.failures = 0
        self.seconds = 0.0

    def start(self) -> None:
        self._thread.start()

    def flush(self, head: FrozenHead) -> Future[None]:
        """Queue a frozen head; the future ends when its blocks are visible and durable."""
        done: Future[None] = Future()
        self._queue.put((head, done))
        return done

    def abandon(self) -> None:
        """Give up what is queued and under way, as soon as may be: the op log has it all."""
        self._abandoned.set()
        self._stopping.set()

    def close(self) -> None:
        """Finish what is queued, then stop."""
        self._stopping.set()
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while (taken := self._queue.get()) is not None:
            head, done = taken
            try:
                self._flush(head)
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(None)

    def _flush(self, head: FrozenHead) -> None:
        """Write and install; what fails is tried again: reads go on, and writers wait for the memory."""
        while True:
            started = time.monotonic()
            flushed = Flushed(head, self._shard.version.number)
            try:
                self._try(flushed)
            except FatalStorageError as error:
                self._shard.options.abort(str(error))
                raise
            except FlushAbandoned:
                raise
            except Exception:
                self.failures += 1
                log.exception("a flush failed; it is tried again in %s s", RETRY_SECONDS)
                if self._stopping.wait(RETRY_SECONDS):
                    raise
                continue
            self.flushes += 1
            self._reclaim()
            self.seconds += time.monotonic() - started
            return

    def _try(self, flushed: Flushed) -> None:
        with uncollected():
            try:
                _write(self._shard, flushed, self._ids, self._abandoned.is_set)
                self._call(partial(install, self._shard, flushed)).result()
            except FatalStorageError:
                raise
            except Exception:
                take_back(self._shard.rocks, flushed)
                raise

    def _reclaim(self) -> None:
        """Free the disk space of the ops that are in blocks now, and the memory that the flush needed."""
        release_memory()
        try:
            self._shard.rocks.reclaim("ops", number_prefix(0), number_prefix(2**64 - 1))
        except TsdbError:
            # The flush is done: to do it again would double its blocks.
            log.exception("the space of flushed ops was not reclaimed; the next flush tries again")
