"""Questions to other nodes and their answers, over the log streams; on the event loop of the group.

Fragments of scans are asked for over Flight (``Fetches``), where both nodes can.

Whoever asks hears one of three things: the reply, that the question was never sent (CannotConnectNow), or that it was
and nobody knows what became of it (``NoAnswer``): its connection ended, or the time is over.

Bounds: bodies of questions that are being answered (``BODY_BYTES_MAX``), questions at once of one node, parts of a
stream that wait to be taken (``WINDOW_BYTES``).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from tsdb.cluster.routing.fragment import Fragment
from tsdb.cluster.routing.messages import (
    Answer,
    Ask,
    Envelope,
    Failed,
    More,
    NotLeader,
    Part,
    Piece,
    Question,
    Reply,
    RunScan,
    SeenOp,
    Stop,
    decode,
    encode,
    error_of,
    failed,
)
from tsdb.cluster.transport.frames import Octets
from tsdb.cluster.transport.outbox import StreamBroken
from tsdb.errors import (
    AdminShutdown,
    CannotConnectNow,
    InternalError,
    OutOfMemory,
    ProgramLimitExceeded,
    TooManyConnections,
    TsdbError,
)

log = logging.getLogger(__name__)

R = TypeVar("R")

CONNECT_S = 3.0
"""How long a question waits for a connection."""
ANSWER_S = 60.0
"""How long its sender waits for the answer to a question that is no stream."""
QUESTIONS_MAX = 256
"""Of one node that are being answered at once."""
BODY_BYTES_MAX = 256 << 20
PIECE_BYTES = 1 << 20
AFTER_BYTES = 4 << 20
"""Of bodies and parts that wait for a connection: what else goes over it does not wait for all of them."""
WINDOW_BYTES = 8 << 20
"""Of parts of one stream that are on their way or not taken yet."""
WORKING_S = 3.0
"""A stream's part is announced so often while it is being made."""
SILENT_S = 15.0
"""A stream of which nothing comes for so long is lost."""


class NoAnswer(Exception):
    """The question was sent, and what became of it is not known."""


class NotFetched(Exception):
    """Nothing came of a fragment that was to be fetched: it has to come in frames."""


class Stream(Protocol):
    """``transport.LogStream``."""

    @property
    def session(self) -> int: ...

    async def send(self, payload: Octets, after_bytes_max: int | None = None) -> None: ...


class Paths(Protocol):
    """The part of ``transport.Transport`` that is needed."""

    async def open_stream(self, peer: int) -> Stream: ...

    def session(self, peer: int) -> int:
        """Which log stream to a member is open; 0: none."""
        ...


class Taker(Protocol):
    """Who takes the parts of a stream. On the event loop; must not wait."""

    def part(self, message: Part, body: memoryview) -> None: ...

    def ended(self, outcome: Reply | Exception) -> None: ...


class RowTaker(Taker, Protocol):
    """Who takes the rows of a fragment, in the thread that fetches them."""

    def rows(self, message: Part, found: pa.RecordBatch | memoryview) -> None: ...


class Fetch(Protocol):
    """A fragment that is being fetched (``fragments.fetch.Fetch``); from any thread."""

    def taken(self, size: int) -> None: ...

    def cancel(self) -> None: ...


class Fetches(Protocol):
    """Who fetches fragments (``fragments.channels.Channels``); from any thread."""

    def begin(self, node: int, session: int, question: RunScan, taker: RowTaker) -> Fetch | None:
        """``session``: the connection to it. None: it has to come in frames."""
        ...

    def failed(self, node: int, why: str) -> None:
        """Nothing comes from a node."""
        ...


@dataclass(slots=True)
class Asked:
    """A question of this node that waits for its answer."""

    peer: int
    session: int
    taker: Taker


class Outgoing:
    """The stream that answers a question: ``part`` waits until there is room at the other side."""

    def __init__(self, send: Callable[[Octets], Awaitable[None]], number: int) -> None:
        self._send = send
        self._number = number
        self._room = WINDOW_BYTES
        self._more = asyncio.Event()
        self.count = 0
        self.size = 0
        self.token: tuple[SeenOp, ...] = ()

    def taken(self, size: int) -> None:
        self._room += size
        self._more.set()

    async def part(self, body: Octets, *, cells: bool = False) -> None:
        while self._room <= 0:
            self._more.clear()
            await self._more.wait()
        self._room -= len(body)
        self.size += len(body)
        place, self.count = self.count, self.count + 1
        await self._send(encode(Part(self._number, place, cells, () if place else self.token), body))

    async def made(self, making: Awaitable[R]) -> R:
        """The result of something that may last: meanwhile the other side hears that it is worked on."""
        task = asyncio.ensure_future(making)
        try:
            while True:
                done, _ = await asyncio.wait([task], timeout=WORKING_S)
                if done:
                    return task.result()
                await self._send(encode(Part(self._number, self.count)))
        finally:
            # What runs in a thread ends before anybody closes what it reads.
            while not task.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([task])


class FragmentAnswers(Protocol):
    """Who answers other nodes with the rows of scans."""

    @property
    def threads(self) -> Executor: ...

    def fragment_now(self, peer: int, question: RunScan) -> Fragment | None:
        """From any thread; None: it has to be waited for."""
        ...

    async def fragment(self, peer: int, question: RunScan) -> Fragment | NotLeader: ...


class Answers(FragmentAnswers, Protocol):
    """Who answers other nodes whatever they ask (``answering.Answering``)."""

    async def answer(
        self, peer: int, question: Question, body: memoryview, stream: Outgoing
    ) -> tuple[Reply, Octets]: ...

    def left(self, peer: int) -> None:
        """Another life of a node, or another connection to it, has begun: what it had open is not asked for again."""
        ...


@dataclass(slots=True)
class _Answered:
    """A question of another node that is being answered."""

    task: asyncio.Task[None]
    stream: Outgoing


@dataclass(slots=True)
class _Peer:
    """What another node has here: the stream it asks over, pieces of bodies, questions."""

    session: int = -1
    pieces: dict[int, list[bytes]] = field(default_factory=dict)
    answered: dict[int, _Answered] = field(default_factory=dict)


class Exchange:
    """Both sides of it. ``answers`` is set when the node can answer; until then it says that it begins."""

    def __init__(self, paths: Paths, loop: asyncio.AbstractEventLoop, name_of: Callable[[int], str]) -> None:
        self._paths = paths
        self._loop = loop
        self.name_of = name_of
        self.answers: Answers | None = None
        self.fetches: Fetches | None = None
        self._numbers = itertools.count(1)
        self._asked: dict[int, Asked] = {}
        self._peers: dict[int, _Peer] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._body_bytes = 0
        self._stopped = False

    # From any thread

    def run(self, work: Coroutine[Any, Any, R]) -> Future[R]:
        """Have something done on the event loop."""
        if self._stopped:
            work.close()
            raise AdminShutdown("the node stops")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def soon(self, call: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *arguments)

    def session(self, peer: int) -> int:
        """Which connection to a node is open; 0: none."""
        return self._paths.session(peer)

    def reaches(self, peer: int) -> bool:
        """Whether a connection to a node is open."""
        return self._paths.session(peer) != 0

    def number(self) -> int:
        """For something that is asked, which no other has."""
        return next(self._numbers)

    # Asking, on the event loop

    async def ask(
        self, peer: int, question: Question, body: Octets = b"", seconds: float = ANSWER_S,
        connect_s: float = CONNECT_S,
    ) -> Reply:  # fmt: skip
        """Raises CannotConnectNow, NoAnswer, and what the other node refuses it with."""
        return (await self.ask_for(peer, question, body, seconds, connect_s))[0]

    async def ask_for(
        self, peer: int, question: Question, body: Octets = b"", seconds: float = ANSWER_S,
        connect_s: float = CONNECT_S,
    ) -> tuple[Reply, memoryview]:  # fmt: skip
        """The reply and its body."""
        one = _One()
        number = await self.begin(peer, question, one, body, connect_s)
        try:
            async with asyncio.timeout(seconds):
                reply, found = await one.future
        except TimeoutError:
            raise NoAnswer(f"{self.name_of(peer)} did not answer within {seconds:g} s") from None
        finally:
            self.forget(number)
        return reply, found

    async def begin(
        self, peer: int, question: Question, taker: Taker, body: Octets = b"", connect_s: float = CONNECT_S
    ) -> int:
        """Send a question; its number. The taker hears of all that comes until it is forgotten.

        Raises CannotConnectNow: then it was not sent. A connection is waited for for ``connect_s``.
        """
        number = self.number()
        try:
            async with asyncio.timeout(connect_s):
                stream = await self._paths.open_stream(peer)
        except (TimeoutError, KeyError):
            raise self._unreachable(peer) from None
        self._asked[number] = Asked(peer, stream.session, taker)
        try:
            rest = memoryview(body)
            while len(rest) > PIECE_BYTES:
                await stream.send(encode(Piece(number), rest[:PIECE_BYTES]), AFTER_BYTES)
                rest = rest[PIECE_BYTES:]
            await stream.send(encode(Ask(number, question, len(body)), rest), AFTER_BYTES)
        except StreamBroken:
            del self._asked[number]
            raise self._unreachable(peer) from None
        except BaseException:
            self._asked.pop(number, None)
            raise
        return number

    def watch(self, peer: int, number: int, taker: Taker) -> None:
        """Let who asks a node in another way hear when the connection to it ends; until it is forgotten."""
        session = self._paths.session(peer)
        if session:
            self._asked[number] = Asked(peer, session, taker)
        else:
            taker.ended(self._ended(peer))

    def _ended(self, peer: int) -> NoAnswer:
        return NoAnswer(f"the connection to {self.name_of(peer)} ended before it had answered")

    def _unreachable(self, peer: int) -> CannotConnectNow:
        return CannotConnectNow(
            f"{self.name_of(peer)} cannot be reached", hint="Is it running? tsdb cluster status; tsdb.members."
        )

    def forget(self, number: int, *, stop: bool = False) -> None:
        """Nothing more is heard of a question. ``stop``: and nothing more is to be done for it."""
        asked = self._asked.pop(number, None)
        if stop and asked is not None and self._paths.session(asked.peer) == asked.session:
            self._start(self._tell(asked.peer, Stop(number)))

    def more(self, number: int, size: int) -> None:
        """So many bytes of a stream were taken."""
        asked = self._asked.get(number)
        if asked is not None and self._paths.session(asked.peer) == asked.session:
            self._start(self._tell(asked.peer, More(number, size)))

    async def _tell(self, peer: int, envelope: Envelope) -> None:
        with contextlib.suppress(StreamBroken, TimeoutError, KeyError):
            async with asyncio.timeout(CONNECT_S):
                await (await self._paths.open_stream(peer)).send(encode(envelope))

    def tell_soon(self, peer: int, question: Question) -> None:
        """Ask something whose answer nobody waits for; nobody who is away."""
        if self._paths.session(peer) and not self._stopped:
            self._start(self._tell(peer, Ask(next(self._numbers), question)))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def lost(self, peer: int) -> None:
        """A connection to a node ended, or messages for it were dropped."""
        session = self._paths.session(peer)
        for number, asked in list(self._asked.items()):
            if asked.peer == peer and asked.session != session:
                del self._asked[number]
                asked.taker.ended(self._ended(peer))

    # What comes

    async def received(self, peer: int, session: int, payload: memoryview) -> None:
        """Raises ProtocolViolation."""
        envelope, body = decode(payload)
        from_ = self._peers.setdefault(peer, _Peer())
        if from_.session != session:
            self._drop(peer, from_)
            from_.session = session
        match envelope:
            case Piece():
                self._piece(from_, envelope.number, body)
            case Ask():
                self._question(peer, from_, envelope, body)
            case More():
                if (answered := from_.answered.get(envelope.number)) is not None:
                    answered.stream.taken(envelope.size)
            case Stop():
                if (answered := from_.answered.pop(envelope.number, None)) is not None:
                    answered.task.cancel()
            case Part():
                if (asked := self._asked.get(envelope.number)) is not None and asked.peer == peer:
                    asked.taker.part(envelope, body)
            case Answer():
                asked = self._asked.get(envelope.number)
                if asked is not None and asked.peer == peer:
                    del self._asked[envelope.number]
                    if isinstance(asked.taker, _One):
                        asked.taker.body = body
                    asked.taker.ended(envelope.reply)

    def _drop(self, peer: int, from_: _Peer) -> None:
        for answered in from_.answered.values():
            answered.task.cancel()
        from_.answered.clear()
        for pieces in from_.pieces.values():
            self._body_bytes -= sum(map(len, pieces))
        from_.pieces.clear()
        if self.answers is not None:
            self.answers.left(peer)

    def _piece(self, from_: _Peer, number: int, body: memoryview) -> None:
        """What does not fit is not kept: then the question finds that its body is not whole."""
        if self._body_bytes + len(body) <= BODY_BYTES_MAX:
            from_.pieces.setdefault(number, []).append(bytes(body))
            self._body_bytes += len(body)

    def _question(self, peer: int, from_: _Peer, ask: Ask, body: memoryview) -> None:
        pieces = from_.pieces.pop(ask.number, [])
        held = sum(map(len, pieces))
        whole = memoryview(b"".join((*pieces, body))) if pieces else body
        stream = Outgoing(lambda payload: self._reply(peer, payload), ask.number)
        task = self._loop.create_task(self._answer(peer, from_, ask, whole, stream, held))
        from_.answered[ask.number] = _Answered(task, stream)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _answer(self, peer: int, from_: _Peer, ask: Ask, body: memoryview, stream: Outgoing, held: int) -> None:
        reply: Reply
        found: Octets = b""
        try:
            reply, found = await self._answer_of(peer, from_, ask, body, stream)
        except TsdbError as error:
            reply = failed(error)
        except StreamBroken:
            reply = failed(CannotConnectNow("a connection ended while the node answered"))
        except Exception:
            log.exception("a question of node %d could not be answered", peer)
            reply = failed(InternalError("the node could not answer: its log says why"))
        finally:
            self._body_bytes -= held
            if (mine := from_.answered.get(ask.number)) is not None and mine.stream is stream:
                del from_.answered[ask.number]
        with contextlib.suppress(StreamBroken):
            await self._reply(peer, encode(Answer(ask.number, reply), found))

    async def _answer_of(
        self, peer: int, from_: _Peer, ask: Ask, body: memoryview, stream: Outgoing
    ) -> tuple[Reply, Octets]:
        if self.answers is None:
            raise CannotConnectNow("the node begins, and does not answer yet")
        if len(body) != ask.size:
            raise OutOfMemory("the node has no room for what is sent to it: others send as well")
        if len(from_.answered) > QUESTIONS_MAX:
            raise TooManyConnections(f"node {peer} asks more than {QUESTIONS_MAX} questions at once")
        return await self.answers.answer(peer, ask.question, body, stream)

    async def _reply(self, peer: int, payload: Octets) -> None:
        """Raises StreamBroken."""
        try:
            async with asyncio.timeout(CONNECT_S):
                stream = await self._paths.open_stream(peer)
        except (TimeoutError, KeyError):
            raise StreamBroken(f"node {peer} cannot be reached") from None
        try:
            await stream.send(payload, AFTER_BYTES)
        except ProgramLimitExceeded:
            log.warning("an answer of %d bytes for node %d is too long", len(payload), peer)
            raise StreamBroken(f"an answer for node {peer} is too long") from None

    # Its end

    async def stop(self) -> None:
        """Before the transport stops: whoever waits hears that the node stops."""
        self._stopped = True
        for asked in list(self._asked.values()):
            asked.taker.ended(NoAnswer("the node stops"))
        self._asked.clear()
        for task in list(self._ending):
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)


class _One:
    """The taker of a single reply."""

    def __init__(self) -> None:
        self.future: asyncio.Future[tuple[Reply, memoryview]] = asyncio.get_running_loop().create_future()
        self.body = memoryview(b"")

    def part(self, message: Part, body: memoryview) -> None:
        """Only that it is being worked on."""

    def ended(self, outcome: Reply | Exception) -> None:
        if self.future.done():
            return
        if isinstance(outcome, Exception):
            self.future.set_exception(outcome)
        elif isinstance(outcome, Failed):
            self.future.set_exception(error_of(outcome))
        else:
            self.future.set_result((outcome, self.body))
