"""A scan that runs at another node, as this one reads it: its parts wait in a queue until a thread takes them.

They come over Flight, or in frames where that cannot be. What is taken makes room for more, so that a statement that
reads slowly holds a few MiB for each node. Who cancels wakes the thread that waits.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future

import pyarrow as pa

from tsdb.cluster.routing.arrow import cells_of, decoded, encoded
from tsdb.cluster.routing.exchange import SILENT_S, Exchange, Fetch, NoAnswer, NotFetched
from tsdb.cluster.routing.messages import Ended, Failed, NotLeader, Part, Reply, RunScan, SeenOp, error_of
from tsdb.errors import AdminShutdown, CannotConnectNow, QueryCanceled, SerializationFailure, TsdbError
from tsdb.leaving import Statement, result_of
from tsdb.model.freshness import Seen, token_of
from tsdb.model.store import NodeShare, ScanStatistics
from tsdb.model.summaries import SummaryCells

SOON_S = 0.05
"""Whether a node is still there is looked at when nothing has come for so long."""
# Of taken parts, until the other side hears of them.
TOLD_BYTES = 1 << 20


class _Queue:
    """The taker of what comes: from the event loop, or a thread that fetches, to the one that reads."""

    def __init__(self) -> None:
        self.items: queue.SimpleQueue[tuple[Part, pa.RecordBatch | memoryview] | Reply | Exception]
        self.items = queue.SimpleQueue()

    def part(self, message: Part, body: memoryview) -> None:
        self.items.put((message, body))

    def rows(self, message: Part, found: pa.RecordBatch | memoryview) -> None:
        self.items.put((message, found))

    def ended(self, outcome: Reply | Exception) -> None:
        self.items.put(outcome)


class RemoteScan:
    """``start`` sends it; then ``cells`` to their end, then ``batches``; ``close`` in any case, from any thread."""

    def __init__(
        self,
        exchange: Exchange,
        node: int,
        question: RunScan,
        statistics: ScanStatistics,
        seen: Seen | None,
        *,
        measured: bool = False,
    ) -> None:
        self._measured = measured
        self._seen = seen
        self._exchange = exchange
        self._node = node
        self._question = question
        self._statistics = statistics
        self.share = NodeShare(node, exchange.name_of(node))
        statistics.nodes = (*statistics.nodes, self.share)
        self._queue = _Queue()
        self._fetch: Fetch | None = None
        self._came = False
        self._number = 0
        self._closing = threading.Lock()
        self._closed = False
        self._parts = 0
        self._untold = 0
        self._first: pa.RecordBatch | None = None
        self._done = False
        self._cancelled = False

    def start(self) -> None:
        """Raises CannotConnectNow."""
        exchange = self._exchange
        if exchange.fetches is not None and (session := exchange.session(self._node)):
            self._fetch = exchange.fetches.begin(self._node, session, self._question, self._queue)
        if self._fetch is None:
            self._ask()

    def _watch(self) -> None:
        """That the node is gone is known to the exchange first."""
        if self._fetch is not None and not self._number:
            number = self._exchange.number()
            self._exchange.soon(self._exchange.watch, self._node, number, self._queue)
            self._numbered(number)

    def _ask(self) -> None:
        """For frames."""
        sent = self._exchange.run(self._exchange.begin(self._node, self._question, self._queue))
        try:
            self._numbered(result_of(sent))
        except QueryCanceled:
            sent.add_done_callback(self._unwanted)
            raise

    def _numbered(self, number: int) -> None:
        """What is asked has this number; who closes at the same time forgets it, or this does."""
        with self._closing:
            self._number = number
            closed = self._closed
        if closed:
            self._forget(stop=self._fetch is None)

    def _in_frames(self) -> None:
        """Nothing came over Flight."""
        if self._fetch is not None:
            self._fetch.cancel()
        self._forget(stop=False)
        self._fetch, self._queue = None, _Queue()
        with Statement(lambda: self._cancelled):
            self._ask()

    def _unwanted(self, sent: Future[int]) -> None:
        """It was left before it was known that it had been sent."""
        if not sent.cancelled() and sent.exception() is None:
            self._exchange.soon(_forget, self._exchange, sent.result(), True)

    def cells(self) -> Iterator[SummaryCells]:
        while (found := self._next()) is not None:
            message, batch = found
            if not message.cells:
                self._first = batch
                return
            yield cells_of(batch)

    def batches(self) -> Iterator[pa.RecordBatch]:
        first, self._first = self._first, None
        if first is not None:
            yield first
        while (found := self._next()) is not None:
            yield found[1]

    def _next(self) -> tuple[Part, pa.RecordBatch] | None:
        """The next part that has something; None after the last. Raises what the scan ended with."""
        if self._done:
            return None
        heard = time.monotonic()
        while True:
            if self._cancelled:
                raise QueryCanceled("canceling statement due to user request")
            try:
                item = self._queue.items.get(timeout=SILENT_S if self._number else SOON_S)
            except queue.Empty:
                self._watch()
                if time.monotonic() - heard < SILENT_S:
                    continue
                if self._fetch is not None and self._exchange.fetches is not None:
                    self._exchange.fetches.failed(self._node, f"nothing came for {SILENT_S:g} s")
                    if not self._came:
                        self._in_frames()
                        heard = time.monotonic()
                        continue
                raise self._lost(f"nothing came from it for {SILENT_S:g} s") from None
            if self._cancelled:
                continue
            heard = time.monotonic()
            if isinstance(item, NotFetched):
                self._in_frames()
                continue
            self._came = True
            if not isinstance(item, tuple):
                self._ended(item)
                return None
            message, found = item
            self._sees(message.token)
            if isinstance(found, memoryview) and not found.nbytes:
                continue
            if message.place != self._parts:
                raise self._lost(f"part {self._parts} of what it sent is missing")
            self._parts += 1
            batch = found if isinstance(found, pa.RecordBatch) else decoded(found)
            self._take(found.nbytes)
            self.share.rows += 0 if message.cells else batch.num_rows
            if self._measured:
                # How much it is on its way gRPC does not say.
                self.share.bytes += len(encoded(batch) if isinstance(found, pa.RecordBatch) else found)
            return message, batch

    def _sees(self, ops: Iterable[SeenOp]) -> None:
        if self._seen is not None:
            self._seen.add(token_of(ops))

    def _take(self, size: int) -> None:
        if self._fetch is not None:
            self._fetch.taken(size)
            return
        self._untold += size
        if self._untold >= TOLD_BYTES:
            self._exchange.soon(self._exchange.more, self._number, self._untold)
            self._untold = 0

    def _ended(self, outcome: Reply | Exception) -> None:
        self._done = True
        if isinstance(outcome, Ended):
            if outcome.parts != self._parts:
                raise self._lost(f"{outcome.parts} parts were sent, and {self._parts} came")
            self.share.micros = outcome.micros
            self._sees(outcome.token)
            for name, value in outcome.statistics.items():
                if hasattr(self._statistics, name):
                    setattr(self._statistics, name, getattr(self._statistics, name) + value)
            return
        if isinstance(outcome, Failed):
            error = error_of(outcome)
            if isinstance(error, AdminShutdown):
                raise self._lost(error.message)
            if isinstance(error, SerializationFailure) and self._seen is not None:
                # It was taken back, and this was said once.
                self._seen.forget([each.location for each in self._question.led])
            error.where = f"scan at {self.share.name}"
            raise error
        if isinstance(outcome, NotLeader):
            who = f"node {outcome.leader} does" if outcome.leader else "nobody does"
            raise CannotConnectNow(
                f"{self.share.name} does not lead location {outcome.location} any more: {who}",
                hint="Run the statement again.",
            )
        if isinstance(outcome, TsdbError):
            raise outcome
        raise self._lost(str(outcome))

    def _lost(self, why: str) -> CannotConnectNow:
        return CannotConnectNow(
            f"{self.share.name} did not answer to its end: {why}", hint="Run the statement again when it is back."
        )

    def cancel(self) -> None:
        """Whoever waits for the next part hears of it now."""
        self._cancelled = True
        self._queue.items.put(NoAnswer("the statement was cancelled"))

    def close(self) -> None:
        done, self._done = self._done, True
        with self._closing:
            self._closed = True
        if self._fetch is not None:
            self._fetch.cancel()
        self._forget(stop=not done and self._fetch is None)

    def _forget(self, *, stop: bool) -> None:
        with self._closing:
            number, self._number = self._number, 0
        if number:
            self._exchange.soon(_forget, self._exchange, number, stop)


def _forget(exchange: Exchange, number: int, stop: bool) -> None:
    exchange.forget(number, stop=stop)
