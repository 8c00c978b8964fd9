"""A scan that runs at another node, as this one reads it: its parts wait in a queue until a thread takes them.

What is taken makes room for more (credit), so that a statement that reads slowly holds a few MiB for each node. Who
cancels wakes the thread that waits.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future

import pyarrow as pa

from tsdb.cluster.routing.arrow import cells_of, decoded
from tsdb.cluster.routing.exchange import SILENT_S, Exchange, NoAnswer
from tsdb.cluster.routing.messages import Ended, Failed, NotLeader, Part, Reply, RunScan, SeenOp, error_of
from tsdb.errors import AdminShutdown, CannotConnectNow, QueryCanceled, SerializationFailure, TsdbError
from tsdb.leaving import result_of
from tsdb.model.freshness import Seen, token_of
from tsdb.model.store import NodeShare, ScanStatistics
from tsdb.model.summaries import SummaryCells

# Of taken parts, until the other side hears of them.
TOLD_BYTES = 1 << 20


class _Queue:
    """The taker of the stream: from the event loop to a thread."""

    def __init__(self) -> None:
        self.items: queue.SimpleQueue[tuple[Part, memoryview] | Reply | Exception] = queue.SimpleQueue()

    def part(self, message: Part, body: memoryview) -> None:
        self.items.put((message, body))

    def ended(self, outcome: Reply | Exception) -> None:
        self.items.put(outcome)


class RemoteScan:
    """``start`` sends it; then ``cells`` to their end, then ``batches``; ``close`` in any case, from any thread."""

    def __init__(
        self, exchange: Exchange, node: int, question: RunScan, statistics: ScanStatistics, seen: Seen | None
    ) -> None:
        self._seen = seen
        self._exchange = exchange
        self._node = node
        self._question = question
        self._statistics = statistics
        self.share = NodeShare(node, exchange.name_of(node))
        statistics.nodes = (*statistics.nodes, self.share)
        self._queue = _Queue()
        self._number = 0
        self._parts = 0
        self._untold = 0
        self._first: pa.RecordBatch | None = None
        self._done = False
        self._cancelled = False

    def start(self) -> None:
        """Raises CannotConnectNow."""
        sent = self._exchange.run(self._exchange.begin(self._node, self._question, self._queue))
        try:
            self._number = result_of(sent)
        except QueryCanceled:
            sent.add_done_callback(self._unwanted)
            raise

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
                item = self._queue.items.get(timeout=SILENT_S)
            except queue.Empty:
                if time.monotonic() - heard < SILENT_S:
                    continue
                raise self._lost(f"nothing came from it for {SILENT_S:g} s") from None
            if self._cancelled:
                continue
            heard = time.monotonic()
            if not isinstance(item, tuple):
                self._ended(item)
                return None
            message, body = item
            self._sees(message.token)
            if not len(body):
                continue
            if message.place != self._parts:
                raise self._lost(f"part {self._parts} of what it sent is missing")
            self._parts += 1
            batch = decoded(body)
            self._take(len(body))
            self.share.rows += 0 if message.cells else batch.num_rows
            self.share.bytes += len(body)
            return message, batch

    def _sees(self, ops: Iterable[SeenOp]) -> None:
        if self._seen is not None:
            self._seen.add(token_of(ops))

    def _take(self, size: int) -> None:
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
        if self._number:
            self._exchange.soon(_forget, self._exchange, self._number, not done)


def _forget(exchange: Exchange, number: int, stop: bool) -> None:
    exchange.forget(number, stop=stop)
