"""Delivery of hints: threads that try to store them, a few databases at a time, at most half of the time of each."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

from tsdb.clock import Clock
from tsdb.errors import DataCorrupted
from tsdb.ingest.faults import Limits
from tsdb.ingest.hints.delivery import End, Verdict, deliver
from tsdb.ingest.hints.queue import HintQueue
from tsdb.model.hints import Hint
from tsdb.model.store import Store

log = logging.getLogger("tsdb.server")

TICK_S = 0.25
THREADS = 3
REST_S_MAX = 1.0


class Deliveries:
    """``stop`` does not wait for the tries that are under way: what they leave is tried again after the next start."""

    def __init__(self, queue: HintQueue, store: Store, clock: Clock, limits: Limits, window_ns: int) -> None:
        self._queue = queue
        self._store = store
        self._clock = clock
        self._limits = limits
        self._window_ns = window_ns
        self._stopping = threading.Event()
        self._more = threading.Event()
        self._pool = ThreadPoolExecutor(THREADS, "hints")
        self._out: dict[Future[None], Hint] = {}
        self._told: set[int] = set()
        self._thread = threading.Thread(target=self._run, name="hints", daemon=True)

    def start(self) -> None:
        count = self._queue.waiting()
        if count:
            log.warning("%d numbered batches wait at this node to be stored (tsdb.hints)", count)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._more.set()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown(wait=False, cancel_futures=True)
        count = self._queue.waiting()
        if count:
            log.warning("%d numbered batches wait at this node: they are stored after its next start", count)

    def _run(self) -> None:
        started = time.monotonic()
        while not self._stopping.is_set():
            self._out = {future: hint for future, hint in self._out.items() if not future.done()}
            self._begin(int((time.monotonic() - started) / TICK_S))
            # Nothing is taken in without a wait for its leader, so that a tick more is nothing.
            self._more.wait(TICK_S)
            self._more.clear()

    def _begin(self, tick: int) -> None:
        """So many as there are threads; one of them is for databases that are not known to have no leader."""
        while len(self._out) < THREADS:
            stuck = sum(self._queue.is_stuck(hint.database) for hint in self._out.values())
            hint = self._queue.next(tick, also_stuck=stuck < THREADS - 1)
            if hint is None:
                return
            future = self._pool.submit(self._try, hint, tick)
            self._out[future] = hint
            future.add_done_callback(lambda _: self._more.set())

    def _try(self, hint: Hint, tick: int) -> None:
        began = time.monotonic()
        try:
            self._end(hint, self._verdict(hint), tick, began)
        except OSError as error:
            log.error("the file %s of a batch that waits: %s", hint.file, error.strerror or error)
            self._queue.failed(hint, f"its file: {error.strerror or error}", self._after(tick, began))
        except Exception as error:
            if self._stopping.is_set():
                return
            log.exception("a batch that waits could not be stored")
            self._queue.failed(hint, f"{type(error).__name__}: {error}", self._after(tick, began))
        # Who writes now comes first: at most half of the time is for what waits.
        self._stopping.wait(min(time.monotonic() - began, REST_S_MAX))

    def _after(self, tick: int, began: float) -> int:
        return tick + int((time.monotonic() - began) / TICK_S) + 1

    def _verdict(self, hint: Hint) -> Verdict:
        """Raises OSError."""
        try:
            body = self._queue.body(hint)
        except DataCorrupted as error:
            return Verdict(End.REFUSED, error.message)
        return deliver(self._store, hint, body, self._clock.now_ns(), self._limits, self._window_ns)

    def _end(self, hint: Hint, verdict: Verdict, tick: int, began: float) -> None:
        match verdict.end:
            case End.STORED:
                self._queue.delivered(hint)
            case End.REFUSED if self._stopping.is_set():
                # A store that is being closed may refuse anything.
                return
            case End.REFUSED:
                refused = self._queue.refuse(hint, verdict.why, self._clock.now_ns())
                log.error(
                    'batch %d of producer "%s" for database "%s" waited at this node and was refused: %s; its lines '
                    "are in hints/%s until that is removed (tsdb.hints)",
                    hint.batch, hint.producer, hint.name, verdict.why, refused.file,
                )  # fmt: skip
            case End.LATER:
                self._queue.failed(hint, verdict.why, self._after(tick, began))
                if hint.database not in self._told:
                    self._told.add(hint.database)
                    log.warning('batches for database "%s" wait at this node: %s', hint.name, verdict.why)
                return
        if hint.database in self._told and not self._queue.has_any(hint.database):
            self._told.discard(hint.database)
            log.info('no batch for database "%s" waits any more', hint.name)
