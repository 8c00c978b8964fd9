"""Two ends of fragments in one process: node 1 answers, node 2 asks; what goes in frames goes through memory."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from tests.cluster.transport.nodes import HOST, tls_of, write_pair
from tsdb.cluster.fragments.channels import Place
from tsdb.cluster.fragments.fragments import Fragments
from tsdb.cluster.routing.arrow import encoded
from tsdb.cluster.routing.exchange import Exchange, Outgoing, Stream
from tsdb.cluster.routing.fragment import Fragment
from tsdb.cluster.routing.messages import Conditions, Looks, NotLeader, Question, Reply, RunScan
from tsdb.cluster.routing.remote import RemoteScan
from tsdb.cluster.transport.frames import Octets
from tsdb.model.freshness import Seen
from tsdb.model.schema import Series
from tsdb.model.store import Scan, ScanRequest, ScanStatistics

ANSWERS, ASKS = 1, 2
SCAN = RunScan(Looks(1, True, 1), (), Conditions(1, (), 0, 0))


class Sent(Fragment):
    """Batches that a test makes, each with whether it is of cells."""

    def __init__(self, made: Iterator[tuple[pa.RecordBatch, bool]], is_open: Callable[[], bool]) -> None:
        self.begun_count = 0
        self.is_closed = False
        self._made = made
        scan = Scan(pa.schema([]), iter(()), ScanStatistics(rows_read=7))
        seen = Seen()
        seen.add({1: (2, 3)})
        super().__init__(ScanRequest(cast(Series, None), ()), lambda: scan, seen, is_open)

    def next(self) -> tuple[pa.RecordBatch, bool] | None:
        super().next()
        self.begun_count += 1
        return next(self._made, None)

    def close(self) -> None:
        self.is_closed = True


class Answering:
    """An ``exchange.Answers`` whose next fragment the test says."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(4, "answers")
        self.made: Callable[[], Iterator[tuple[pa.RecordBatch, bool]]] = lambda: iter(())
        self.refused: NotLeader | Exception | None = None
        self.is_open = True
        self.asked: list[RunScan] = []
        self.peers: list[int] = []
        self.fragments: list[Sent] = []
        self.in_frames = 0

    def fragment_now(self, peer: int, question: RunScan) -> Fragment | None:
        return None

    async def fragment(self, peer: int, question: RunScan) -> Fragment | NotLeader:
        self.asked.append(question)
        self.peers.append(peer)
        if isinstance(self.refused, Exception):
            raise self.refused
        if self.refused is not None:
            return self.refused
        found = Sent(self.made(), lambda: self.is_open)
        self.fragments.append(found)
        return found

    async def answer(self, peer: int, question: Question, body: memoryview, stream: Outgoing) -> tuple[Reply, Octets]:
        assert isinstance(question, RunScan)
        self.in_frames += 1
        found = await self.fragment(peer, question)
        if isinstance(found, NotLeader):
            return found, b""
        while (each := found.next()) is not None:
            stream.token = found.token
            await stream.part(encoded(each[0]), cells=each[1])
        return found.ended(stream.count), b""

    def left(self, peer: int) -> None: ...


class Memory:
    """An ``exchange.Paths`` to one other end."""

    def __init__(self, me: int) -> None:
        self.me = me
        self.other: Exchange | None = None
        self.number = 1

    async def open_stream(self, peer: int) -> Stream:
        return MemoryStream(self, self.number)

    def session(self, peer: int) -> int:
        return self.number


class MemoryStream:
    """A log stream of it."""

    def __init__(self, paths: Memory, session: int) -> None:
        self._paths = paths
        self.session = session

    async def send(self, payload: Octets, after_bytes_max: int | None = None) -> None:
        other = self._paths.other
        assert other is not None
        await other.received(self._paths.me, 1, memoryview(bytes(payload)))


class Ends:
    """Open until ``close``. ``place``: where node 2 is told that node 1 is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_pair(folder, "n1")
        write_pair(folder, "n2")
        self.tls = {node: tls_of(folder, f"n{node}") for node in (ANSWERS, ASKS)}
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="ends")
        self._thread.start()
        self.paths = {node: Memory(node) for node in (ANSWERS, ASKS)}
        self.exchanges = {node: Exchange(self.paths[node], self.loop, str) for node in (ANSWERS, ASKS)}
        for node in (ANSWERS, ASKS):
            self.paths[node].other = self.exchanges[3 - node]
        self.answering = Answering()
        self.exchanges[ANSWERS].answers = self.answering
        self.known: dict[str, int] = {"n1": 1, "n2": 2}
        self.place: Place | None = None
        self.ends = {
            node: Fragments(
                self.tls[node],
                self.loop,
                self.exchanges[node],
                lambda name: self.known.get(name),
                lambda node: self.place if node == ANSWERS else None,
            )
            for node in (ANSWERS, ASKS)
        }
        self.port = self.ends[ANSWERS].start(HOST, 0)
        self.place = Place(f"{HOST}:{self.port}", "n1")
        self.channels = self.ends[ASKS].channels

    def scan(self, *, measured: bool = False, seen: Seen | None = None) -> RemoteScan:
        """Started."""
        found = RemoteScan(self.exchanges[ASKS], ANSWERS, SCAN, ScanStatistics(), seen, measured=measured)
        found.start()
        return found

    def read(self) -> list[pa.RecordBatch]:
        """All that is no cells."""
        scan = self.scan()
        try:
            list(scan.cells())
            return list(scan.batches())
        finally:
            scan.close()

    def lose(self) -> None:
        """The connection between them ends, for who asks."""
        self.paths[ASKS].number = 0
        self.loop.call_soon_threadsafe(self.exchanges[ASKS].lost, ANSWERS)

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def close(self) -> None:
        for node in (ASKS, ANSWERS):
            self.ends[node].close()
            self.run(self.exchanges[node].stop())
        self.answering.threads.shutdown()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Ends]:
    ends = Ends(folder)
    try:
        yield ends
    finally:
        ends.close()


def batch(*values: int, tag: str = "a") -> pa.RecordBatch:
    """With a dictionary that is the batch's own."""
    tags = pa.array([f"{tag}{value % 3}" for value in values]).dictionary_encode()
    return pa.record_batch({"tag": tags, "value": pa.array(values, pa.int64())})


def large(count: int) -> Iterator[tuple[pa.RecordBatch, bool]]:
    """So many batches of a mebibyte that cannot be packed."""
    chance = np.random.default_rng(count)
    for _ in range(count):
        yield pa.record_batch({"value": chance.integers(-(1 << 62), 1 << 62, 1 << 17)}), False


def rows(batches: Sequence[pa.RecordBatch]) -> list[dict[str, Any]]:
    return [row for each in batches for row in each.to_pylist()]


def slowly(made: Sequence[tuple[pa.RecordBatch, bool]], seconds: float) -> Iterator[tuple[pa.RecordBatch, bool]]:
    for each in made:
        time.sleep(seconds)
        yield each
