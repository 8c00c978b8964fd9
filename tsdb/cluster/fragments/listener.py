"""Answers fragments: a thread of gRPC's writes what a scan gives, and says while it gives nothing that it works."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Executor, Future
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.flight as flight

from tsdb.cluster.authority import nodes_in
from tsdb.cluster.routing.arrow import PACKED, encoded
from tsdb.cluster.routing.exchange import QUESTIONS_MAX, WORKING_S, FragmentAnswers
from tsdb.cluster.routing.fragment import Fragment
from tsdb.cluster.routing.messages import (
    Answer,
    Ask,
    NotLeader,
    Part,
    Reply,
    RunScan,
    SeenOp,
    decode,
    encode,
    failed,
)
from tsdb.cluster.transport.tls import Pem
from tsdb.errors import (
    AdminShutdown,
    CannotConnectNow,
    InternalError,
    ProtocolViolation,
    TooManyConnections,
    TsdbError,
)

log = logging.getLogger(__name__)

R = TypeVar("R")

FEW_BYTES = 1 << 16
FEW_S = 0.005
"""Batches of less in all, made in less, are made in one go."""
LOOK_S = 0.25
"""Whether the other side has left is looked at so often while a scan works."""


class _Left(Exception):
    """Nobody waits for it any more."""


class Listener(flight.FlightServerBase):  # type: ignore[misc]
    """Listens from when it is made. ``node_of``: which member has a name. Raises OSError, pa.ArrowException."""

    def __init__(
        self,
        host: str,
        port: int,
        pem: Pem,
        answers: Callable[[], FragmentAnswers | None],
        loop: asyncio.AbstractEventLoop,
        node_of: Callable[[str], int | None],
    ) -> None:
        self.pem = pem
        self._answers = answers
        self._loop = loop
        self._node_of = node_of
        self._lock = threading.Lock()
        self._running: Counter[int] = Counter()
        self._ending = threading.Event()
        self.answered_count = 0
        super().__init__(
            flight.Location.for_grpc_tls(f"[{host}]" if ":" in host else host, port),
            tls_certificates=[(pem.certificate, pem.key)],
            verify_client=True,
            root_certificates=pem.authority,
        )

    def do_exchange(
        self,
        context: flight.ServerCallContext,
        descriptor: flight.FlightDescriptor,
        reader: flight.MetadataRecordBatchReader,
        writer: flight.MetadataRecordBatchWriter,
    ) -> None:
        peer = self._peer(context)
        sending = _Sending(context, writer, self._ending)
        with contextlib.suppress(_Left):
            reply = self._reply(peer, descriptor.command or b"", sending)
            if reply is not None:
                sending.end(reply)
            # A call that ends while the other side still writes its question loses what that has not read yet.
            with contextlib.suppress(StopIteration, pa.ArrowException, flight.FlightError, OSError):
                while True:
                    reader.read_chunk()

    def _reply(self, peer: int, command: bytes, sending: _Sending) -> Reply | None:
        """The end of an answer, if it is not said yet. Raises _Left."""
        try:
            with self._counted(peer):
                return self._answered(peer, command, sending)
        except TsdbError as error:
            return failed(error)
        except _Left:
            raise
        except Exception:
            log.exception("a fragment for node %d failed", peer)
            return failed(InternalError("the node could not answer: its log says why"))

    def _peer(self, context: flight.ServerCallContext) -> int:
        """Who asks, by the first name in its certificate. Raises FlightUnauthenticatedError."""
        names = nodes_in([context.peer_identity().decode(errors="replace")])
        node = self._node_of(names[0]) if names else None
        if node is None:
            raise flight.FlightUnauthenticatedError("no node of this cluster has that certificate")
        return node

    @contextlib.contextmanager
    def _counted(self, peer: int) -> Iterator[None]:
        with self._lock:
            if self._running[peer] >= QUESTIONS_MAX:
                raise TooManyConnections(f"node {peer} asks more than {QUESTIONS_MAX} questions at once")
            self._running[peer] += 1
            self.answered_count += 1
        try:
            yield
        finally:
            with self._lock:
                self._running[peer] -= 1

    @property
    def running_count(self) -> int:
        return self._running.total()

    def _answered(self, peer: int, command: bytes, sending: _Sending) -> Reply | None:
        ask, _ = decode(memoryview(command))
        if not isinstance(ask, Ask) or not isinstance(ask.question, RunScan):
            raise ProtocolViolation("only fragments are answered here")
        answers = self._answers()
        if answers is None:
            raise CannotConnectNow("the node begins, and does not answer yet")
        fragment = answers.fragment_now(peer, ask.question)
        if fragment is None:
            found = sending.waited(self._asked(answers.fragment(peer, ask.question)), working=False)
            if isinstance(found, NotLeader):
                return found
            fragment = found
        return _sent(fragment, answers.threads, sending)

    def _asked(self, work: Coroutine[Any, Any, R]) -> Future[R]:
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise AdminShutdown("the node stops") from None

    def give_up(self) -> None:
        """What runs ends with an error."""
        self._ending.set()


def _sent(fragment: Fragment, threads: Executor, sending: _Sending) -> Reply | None:
    """All of a fragment; batches are made while those before them are packed and written. Its end, if it had none."""
    coming = _begun(threads, fragment)
    try:
        while True:
            found, is_all = sending.waited(coming)
            if not is_all:
                coming = _begun(threads, fragment)
            elif not found:
                return fragment.ended(sending.count)
            for at, (batch, is_cells) in enumerate(found, 1):
                ended = fragment.ended(sending.count + 1) if is_all and at == len(found) else None
                sending.part(batch, is_cells, fragment.token, ended)
            if is_all:
                return None
    finally:
        # What runs in a thread ends before what it reads is closed.
        if not coming.cancel():
            with contextlib.suppress(BaseException):
                coming.exception()
        fragment.close()


def _begun(threads: Executor, fragment: Fragment) -> Future[tuple[list[tuple[pa.RecordBatch, bool]], bool]]:
    try:
        return threads.submit(_next, fragment)
    except RuntimeError:
        raise AdminShutdown("the node stops") from None


def _next(fragment: Fragment) -> tuple[list[tuple[pa.RecordBatch, bool]], bool]:
    """The next batches, several where they are small and come at once, and whether they are the last."""
    found: list[tuple[pa.RecordBatch, bool]] = []
    size, until = 0, time.monotonic() + FEW_S
    while size < FEW_BYTES and (not found or time.monotonic() < until):
        each = fragment.next()
        if each is None:
            return found, True
        found.append(each)
        size += each[0].nbytes
    return found, False


class _Sending:
    """The messages of one answer."""

    def __init__(
        self,
        context: flight.ServerCallContext,
        writer: flight.MetadataRecordBatchWriter,
        ending: threading.Event,
    ) -> None:
        self._context = context
        self._writer = writer
        self._ending = ending
        self._schema: pa.Schema | None = None
        self.count = 0

    def waited(self, future: Future[R], *, working: bool = True) -> R:
        """Its result; meanwhile the other side hears that it is worked on. Raises _Left, AdminShutdown."""
        told = time.monotonic()
        while True:
            try:
                return future.result(LOOK_S)
            except CancelledError:
                raise AdminShutdown("the node stops") from None
            except TimeoutError:
                if future.done():
                    return future.result()
            if self._context.is_cancelled():
                future.cancel()
                raise _Left
            if self._ending.is_set():
                future.cancel()
                raise AdminShutdown("the node stops")
            if working and time.monotonic() - told >= WORKING_S:
                told = time.monotonic()
                self._say(encode(Part(0, self.count)))

    def part(self, batch: pa.RecordBatch, is_cells: bool, token: tuple[SeenOp, ...], ended: Reply | None) -> None:
        """``ended``: with what it ends. A stream has one schema, that of its first batch: a batch of another one goes
        as a body."""
        if self._ending.is_set():
            raise AdminShutdown("the node stops")
        place, self.count = self.count, self.count + 1
        part = Part(0, place, is_cells, () if place else token)
        is_other = self._schema is not None and not batch.schema.equals(self._schema, check_metadata=True)
        message = encode(part, encoded(batch)) if is_other else encode(part)
        if ended is not None:
            message = encode(Answer(0, ended), message)
        if is_other:
            self._say(message)
            return
        with self._heard():
            if self._schema is None:
                self._schema = batch.schema
                self._writer.begin(batch.schema, options=PACKED)
            self._writer.write_with_metadata(batch, message)

    def end(self, reply: Reply) -> None:
        self._say(encode(Answer(0, reply)))

    def _say(self, octets: bytes) -> None:
        with self._heard():
            self._writer.write_metadata(octets)

    @contextlib.contextmanager
    def _heard(self) -> Iterator[None]:
        """Raises _Left when it is not."""
        try:
            yield
        except (pa.ArrowException, flight.FlightError, OSError) as error:
            if not self._context.is_cancelled():
                log.warning("a fragment could not be sent to its end: %s", error)
            raise _Left from None
