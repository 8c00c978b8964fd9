"""The other end of the task ``transport``: a process that answers small questions and sends the rows of a fragment.

    python -m benchmarks.fragments FOLDER ROWS

With certificates of ``FOLDER`` for n1 (this end) and n2. It prints ``ports N M``, of frames and of Flight, reads the
other end's port from its input, and goes on until it is stopped.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import numpy as np
import pyarrow as pa
import uvloop

from tsdb.clock import SystemClock
from tsdb.cluster.fragments.channels import Place
from tsdb.cluster.fragments.fragments import Fragments
from tsdb.cluster.raft.clients import Follow, Followed
from tsdb.cluster.raft.messages import Message
from tsdb.cluster.routing.arrow import encoded
from tsdb.cluster.routing.exchange import Exchange, Outgoing
from tsdb.cluster.routing.fragment import Fragment
from tsdb.cluster.routing.messages import Conditions, LookAtHints, Looks, Question, Reply, RunScan, Values
from tsdb.cluster.transport.connection import RoundTrip
from tsdb.cluster.transport.frames import Octets
from tsdb.cluster.transport.greeting import Identity
from tsdb.cluster.transport.guests import Guest
from tsdb.cluster.transport.members import Member
from tsdb.cluster.transport.tls import NodeTls
from tsdb.cluster.transport.transport import Transport
from tsdb.model.freshness import Seen
from tsdb.model.schema import Series
from tsdb.model.store import Scan, ScanRequest, ScanStatistics

HOST = "127.0.0.1"
HOSTS = 100
FIELDS = 5
BATCH_ROWS = 16_384
CALL = LookAtHints()
SCAN = RunScan(Looks(1, False, 1), (), Conditions(1, (), 0, 0))


def batches(rows: int) -> list[pa.RecordBatch]:
    """As scans give them: times, a tag, and fields that walk at random between 0 and 100."""
    chance = np.random.default_rng(7)
    found = []
    for first in range(0, rows, BATCH_ROWS):
        count = min(BATCH_ROWS, rows - first)
        times = pa.array(np.arange(first, first + count) // HOSTS * 10**10, pa.timestamp("ns", "UTC"))
        tag = pa.DictionaryArray.from_arrays(
            pa.array(np.arange(first, first + count, dtype=np.int32) % HOSTS), [f"host_{at}" for at in range(HOSTS)]
        )
        walks = np.clip(np.cumsum(chance.normal(size=(FIELDS, count)), axis=1).round() + 50, 0, 100)
        names = ["time", "host", *(f"usage_{at}" for at in range(FIELDS))]
        found.append(pa.RecordBatch.from_arrays([times, tag, *map(pa.array, walks)], names=names))
    return found


def identity(node: int) -> Identity:
    return Identity(UUID(int=1), node, UUID(int=node), f"n{node}")


class Receiver:
    """A ``transport.Receiver`` that passes on what is of the exchange: there is nothing else."""

    exchange: Exchange

    async def stream(self, peer: int, session: int, payload: memoryview) -> None:
        await self.exchange.received(peer, session, payload)

    def unreachable(self, peer: int) -> None:
        self.exchange.lost(peer)

    async def raft(self, message: Message) -> None: ...

    def round_trip(self, peer: int, trip: RoundTrip) -> None: ...

    async def client(self, guest: Guest, message: Follow | Followed) -> None: ...

    def client_left(self, guest: Guest) -> None: ...


class Sender:
    """An ``exchange.Answers``, which sends rows as ``routing.answering`` does."""

    def __init__(self, rows: list[pa.RecordBatch]) -> None:
        self._rows = rows
        self.threads = ThreadPoolExecutor(8)

    async def fragment(self, peer: int, question: RunScan) -> Fragment:
        return self.fragment_now(peer, question)

    def fragment_now(self, peer: int, question: RunScan) -> Fragment:
        def begun() -> Scan:
            return Scan(self._rows[0].schema, iter(self._rows), ScanStatistics())

        return Fragment(ScanRequest(cast(Series, None), ()), begun, Seen(), lambda: True)

    async def answer(self, peer: int, question: Question, body: memoryview, stream: Outgoing) -> tuple[Reply, Octets]:
        if not isinstance(question, RunScan):
            return Values((0,)), b""
        run = asyncio.get_running_loop().run_in_executor
        fragment = await self.fragment(peer, question)

        def packed() -> pa.Buffer | None:
            found = fragment.next()
            return None if found is None else encoded(found[0])

        while (piece := await stream.made(run(self.threads, packed))) is not None:
            await stream.part(piece)
        await run(self.threads, fragment.close)
        return fragment.ended(stream.count), b""

    def left(self, peer: int) -> None: ...


class Node:
    """One end, on the event loop that runs."""

    def __init__(self, folder: Path, number: int, rows: list[pa.RecordBatch] | None = None) -> None:
        tls = NodeTls(folder / f"n{number}.crt", folder / f"n{number}.key", folder / "ca.crt")
        receiver = Receiver()
        self.transport = Transport(identity(number), tls, receiver, SystemClock(), random.random)
        self.exchange = receiver.exchange = Exchange(
            self.transport, asyncio.get_running_loop(), lambda node: f"node {node}"
        )
        self._rows_at: dict[int, Place] = {}
        self.fragments = Fragments(
            tls, asyncio.get_running_loop(), self.exchange, {"n1": 1, "n2": 2}.get, self._rows_at.get
        )
        if rows is not None:
            self.exchange.answers = Sender(rows)

    def fetch(self, node: int, port: int) -> None:
        """Have fragments of a node come over Flight."""
        self._rows_at[node] = Place(f"{HOST}:{port}", f"n{node}")

    def meet(self, node: int, port: int) -> None:
        self.transport.set_members([Member(identity(node), HOST, port)])

    async def stop(self) -> None:
        await asyncio.to_thread(self.fragments.close)
        await self.exchange.stop()
        await self.transport.stop()


async def _serve(folder: Path, rows: list[pa.RecordBatch]) -> None:
    node = Node(folder, 1, rows)
    await node.transport.start(HOST, 0)
    print(f"ports {node.transport.port} {node.fragments.start(HOST, 0)}", flush=True)
    node.meet(2, int(await asyncio.to_thread(sys.stdin.readline)))
    await asyncio.Event().wait()


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """On the loop that the product has."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())


def main(folder: Path, rows: int) -> None:
    made = batches(rows)
    run(lambda: _serve(folder, made))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
