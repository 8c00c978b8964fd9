"""The other end of the task ``transport``: a process that answers small questions and sends the rows of a fragment.

    python -m benchmarks.fragments FOLDER frames|flight ROWS COMPRESSED

With certificates of ``FOLDER`` for n1 (this end) and n2. It prints ``port N``, and goes on until it is stopped; over
frames it reads the other end's port from its input first.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.flight as fl
import uvloop

from tsdb.clock import SystemClock
from tsdb.cluster.raft.clients import Follow, Followed
from tsdb.cluster.raft.messages import Message
from tsdb.cluster.routing.arrow import encoded
from tsdb.cluster.routing.exchange import Exchange, Outgoing
from tsdb.cluster.routing.messages import Conditions, Ended, LookAtHints, Looks, Question, Reply, RunScan, Values
from tsdb.cluster.transport.connection import RoundTrip
from tsdb.cluster.transport.frames import Octets
from tsdb.cluster.transport.greeting import Identity
from tsdb.cluster.transport.guests import Guest
from tsdb.cluster.transport.members import Member
from tsdb.cluster.transport.tls import NodeTls
from tsdb.cluster.transport.transport import Transport

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


# Frames


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

    async def answer(self, peer: int, question: Question, body: memoryview, stream: Outgoing) -> tuple[Reply, Octets]:
        if not isinstance(question, RunScan):
            return Values((0,)), b""
        run = asyncio.get_running_loop().run_in_executor
        pieces: Iterator[pa.Buffer] = (piece for batch in self._rows for piece in encoded(batch))
        while (piece := await stream.made(run(None, lambda: next(pieces, None)))) is not None:
            await stream.part(piece)
        return Ended(stream.count, {}, 0), b""

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
        if rows is not None:
            self.exchange.answers = Sender(rows)

    def meet(self, node: int, port: int) -> None:
        self.transport.set_members([Member(identity(node), HOST, port)])

    async def stop(self) -> None:
        await self.exchange.stop()
        await self.transport.stop()


async def _frames(folder: Path, rows: list[pa.RecordBatch]) -> None:
    node = Node(folder, 1, rows)
    await node.transport.start(HOST, 0)
    print(f"port {node.transport.port}", flush=True)
    node.meet(2, int(await asyncio.to_thread(sys.stdin.readline)))
    await asyncio.Event().wait()


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """On the loop that the product has."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())


# Flight


class Flights(fl.FlightServerBase):  # type: ignore[misc]
    """With the same certificates, asked of both sides."""

    def __init__(self, folder: Path, rows: list[pa.RecordBatch], *, compressed: bool) -> None:
        key, certificate = (folder / f"n1.{kind}" for kind in ("key", "crt"))
        super().__init__(
            f"grpc+tls://{HOST}:0",
            tls_certificates=[(certificate.read_bytes(), key.read_bytes())],
            verify_client=True,
            root_certificates=(folder / "ca.crt").read_bytes(),
        )
        self._rows = rows
        self._options = pa.ipc.IpcWriteOptions(compression="lz4" if compressed else None)

    def do_get(self, context: Any, ticket: Any) -> Any:
        # A stream of a generator takes no dictionaries.
        reader = pa.RecordBatchReader.from_batches(self._rows[0].schema, self._rows)
        return fl.RecordBatchStream(reader, options=self._options)

    def do_action(self, context: Any, action: Any) -> Any:
        return [b"0"]


def main(folder: Path, way: str, rows: int, compressed: bool) -> None:
    made = batches(rows)
    if way == "frames":
        run(lambda: _frames(folder, made))
        return
    with Flights(folder, made, compressed=compressed) as server:
        print(f"port {server.port}", flush=True)
        server.serve()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "True")
