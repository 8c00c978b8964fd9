"""The write endpoints: an ASGI application of their own, since a point that comes alone costs most on its way here.

Bodies are read on the event loop, everything else of a write happens in worker threads.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from tsdb.clock import Clock
from tsdb.errors import CannotConnectNow, OutOfMemory, TsdbError
from tsdb.http.answers import Reply, exception_reply, note_stored, outcome_reply
from tsdb.http.authentication import Authentication, Unauthorized, credentials
from tsdb.http.body import Again, Answer, Body, Budget, offered
from tsdb.http.head import Head
from tsdb.http.metrics import Metrics
from tsdb.http.options import HttpOptions
from tsdb.http.pace import Pace
from tsdb.http.queueing import Queueing
from tsdb.http.request import Api, BadRequest, decode_body, decoded_pieces, write_request
from tsdb.http.together import JOINED_BYTES_MAX, MIDDLE_BYTES, Alike, Size, Together, size_class
from tsdb.ingest.outcome import Outcome
from tsdb.ingest.pieces import PIECE_BYTES, PiecewiseWrite
from tsdb.ingest.write import PARTS_AHEAD, Submitted, WriteRequest, submit
from tsdb.model.access import Identity
from tsdb.model.freshness import merged, text_of
from tsdb.model.store import Store

log = logging.getLogger(__name__)

# Clients probe for an InfluxDB: the version of the API spoken, with our own behind it.
INFLUXDB_VERSION = "1.8.10"
WRITE_PATHS = {api.value: api for api in Api}
# Pieces of a body that are in memory while the next is read.
PIECES_HELD = PARTS_AHEAD + 1
# So long nobody is asked again who sends a head that was let in (seconds).
AGAIN_S = 1.0
# Longer ones are never parsed on the event loop.
AT_ONCE_BYTES = JOINED_BYTES_MAX + MIDDLE_BYTES
_PROBED = [(b"x-influxdb-version", INFLUXDB_VERSION.encode()), (b"x-influxdb-build", b"OSS")]
_PROBED_LINES = b"".join(b"%b: %b\r\n" % header for header in _PROBED)
# What a read has to see that is to see this write: SET tsdb.read_token takes it, and /confirm.
TOKEN_HEADER = "X-Tsdb-Token"
# So many replicas have it, and not as many as were asked for.
ACKED_HEADER = "X-Tsdb-Acked"
_Octets = bytes | bytearray
_NO_BODY = {"type": "http.response.body", "body": b"", "more_body": False}


class Writes:
    """Serves the paths of ``WRITE_PATHS``. ``budget`` is for all bodies of the server."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        pool: ThreadPoolExecutor,
        options: HttpOptions,
        metrics: Metrics,
        authentication: Authentication,
        budget: Budget,
        queueing: Queueing,
    ) -> None:
        self._authentication = authentication
        self._queueing = queueing
        self._store = store
        self._clock = clock
        self._pool = pool
        self._options = options
        self._metrics = metrics
        self._budget = budget
        self._together = Together(self._store_body)
        self._pace = Pace()
        # Requests whose body is read or stored.
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.serve(Head(scope), receive, send)

    async def serve(self, head: Head, receive: Receive, send: Send) -> None:
        scope = head.scope
        api = WRITE_PATHS[scope["path"]]
        try:
            who = await self._authentication.identify(head.host, credentials(head.headers, head.query))
            wanted = write_request(api, head.query, head.headers, self._options.database)
            outcome = await self._write(api, wanted, head, receive, who)
            reply = _reply(api, wanted, outcome)
        except ClientDisconnect:
            await Response(status_code=400)(scope, receive, send)
            return
        except Exception as error:
            reply = _failed(api, error)
        if reply.status == 204:
            direct, more = offered(head), _more(reply)
            if direct is not None and direct.no_content(_lines(more)):
                self._metrics.count(204)
                return
            await send({"type": "http.response.start", "status": 204, "headers": [*_PROBED, *more]})
            await send(_NO_BODY)
            return
        await response(reply)(scope, receive, send)

    def _again(self, api: Api, wanted: WriteRequest, role: int) -> Again:
        """For what repeats a request that was let in just now. Who writes point after point sends one head again and
        again: who that is and what he wants was made out, and is not asked before the next moment or other roles."""
        loop, roles = asyncio.get_running_loop(), self._store.catalog.roles
        until, alike = loop.time() + AGAIN_S, Alike(loop, wanted, role, Size.SMALL)

        def take(body: bytes, answer: Answer) -> bool:
            if loop.time() > until or self._store.catalog.roles is not roles:
                return False
            if len(body) > self._options.body_bytes_max or size_class(wanted, body, "") is not Size.SMALL:
                return False
            try:
                self._budget.take(len(body))
            except OutOfMemory:
                return False
            self._metrics.bytes.inc(len(body))
            self._under_way += 1
            done = self._together.put(alike, body)
            done.add_done_callback(partial(self._answer, api, wanted, len(body), answer))
            return True

        return take

    def _answer(self, api: Api, wanted: WriteRequest, size: int, answer: Answer, done: asyncio.Future[Outcome]) -> None:
        self._under_way -= 1
        self._budget.give(size)
        try:
            reply = _reply(api, wanted, self._counted(done.result()))
        except asyncio.CancelledError:
            reply = exception_reply(api, CannotConnectNow("the server is stopping"))
        except Exception as error:
            reply = _failed(api, error)
        self._metrics.count(reply.status)
        if reply.status == 204:
            answer(204, _lines(_more(reply)), b"")
        else:
            found = response(reply)
            answer(reply.status, b"".join(b"%b: %b\r\n" % header for header in found.raw_headers), bytes(found.body))

    async def _write(self, api: Api, wanted: WriteRequest, head: Head, receive: Receive, who: Identity) -> Outcome:
        body = Body(head, receive, self._budget, self._options.body_bytes_max, self._options.body_timeout_s)
        self._under_way += 1
        try:
            encoding = head.headers.get("content-encoding", "")
            whole = wanted.producer is not None or not wanted.accept_partial
            if body.is_long and not encoding and not whole:
                pieces = body.pieces(PIECE_BYTES)
                read = await anext(pieces, b"")
                if len(read) >= PIECE_BYTES:
                    return self._counted(await self._store_pieces(wanted, body, read, pieces, who.role))
            else:
                read = await body.read()
            if not encoding:
                self._metrics.bytes.inc(len(read))
            size = size_class(wanted, read, encoding)
            if size is Size.SMALL and (direct := offered(head)) is not None:
                direct.again(self._again(api, wanted, who.role))
            if wanted.queue:
                outcome = await self._write_or_queue(wanted, read, who.role, encoding)
            elif size is not None:
                outcome = await self._together.write(wanted, read, who.role, size)
            else:
                outcome = await self._store_body(wanted, read, who.role, encoding=encoding)
            # Not after a failure: what was told to stop may still run.
            del read
            if not outcome.queued:
                body.done()
        finally:
            self._under_way -= 1
            body.give_back()
        return self._counted(outcome)

    async def _write_or_queue(self, wanted: WriteRequest, body: bytes | bytearray, role: int, encoding: str) -> Outcome:
        if encoding:
            loop = asyncio.get_running_loop()
            body = await loop.run_in_executor(self._pool, decode_body, body, encoding, self._options.body_bytes_max)
            self._metrics.bytes.inc(len(body))
        return await self._queueing.write(wanted, body, role, partial(self._store_body, wanted, body, role))

    def _counted(self, outcome: Outcome) -> Outcome:
        if outcome.written:
            self._metrics.points.inc(outcome.written)
        if outcome.dropped:
            self._metrics.rejected.inc(outcome.dropped)
        return outcome

    async def _store_pieces(
        self,
        wanted: WriteRequest,
        body: Body,
        first: bytes | bytearray,
        rest: AsyncIterator[bytes | bytearray],
        role: int,
    ) -> Outcome:
        """Store a body as it comes: while one piece is cut and parsed, the next is read."""
        loop, options = asyncio.get_running_loop(), self._options
        now_ns, create = self._clock.now_ns(), options.create_database
        writing = PiecewiseWrite(self._store, wanted, now_ns, options.limits, create, role)
        self._metrics.bytes.inc(len(first))
        held = deque([len(first)])
        feeding = loop.run_in_executor(self._pool, writing.feed, first)
        del first

        async def make_room() -> None:
            nonlocal feeding
            await feeding
            feeding = loop.run_in_executor(self._pool, writing.flush)
            await feeding
            while held:
                body.give_back(held.popleft())

        body.make_room = make_room
        try:
            async for piece in rest:
                await feeding
                self._metrics.bytes.inc(len(piece))
                feeding = loop.run_in_executor(self._pool, writing.feed, piece)
                held.append(len(piece))
                del piece
                if len(held) > PIECES_HELD:
                    body.give_back(held.popleft())
        except BadRequest as error:
            await asyncio.wait([feeding])
            note_stored(error, await loop.run_in_executor(self._pool, writing.stored))
            raise
        finally:
            # Nothing of it runs on when the request is over.
            await asyncio.wait([feeding])
        await feeding
        submitted = await loop.run_in_executor(self._pool, writing.finish)
        return await _durable(submitted)

    async def _store_body(
        self,
        wanted: WriteRequest,
        body: bytes | bytearray,
        role: int,
        all_good: bool = False,
        *,
        encoding: str = "",
    ) -> Outcome:
        work, size = partial(self._submit, wanted, body, role, all_good, encoding, self._under_way == 1), len(body)
        submitted = None if encoding or size > AT_ONCE_BYTES else self._pace.at_once(size, work)
        if submitted is None:
            work = work if encoding else partial(self._pace.measured, size, work)
            submitted = await asyncio.get_running_loop().run_in_executor(self._pool, work)
        return await _durable(submitted)

    def _submit(
        self, wanted: WriteRequest, body: bytes | bytearray, role: int, all_good: bool, encoding: str, spread: bool
    ) -> Submitted:
        options = self._options
        now_ns, create = self._clock.now_ns(), options.create_database
        if encoding and wanted.producer is None and wanted.accept_partial and not all_good:
            pieces = decoded_pieces(body, encoding, options.body_bytes_max, PIECE_BYTES)
            decoded = next(pieces, b"")
            if len(decoded) == PIECE_BYTES:
                writing = PiecewiseWrite(self._store, wanted, now_ns, options.limits, create, role)
                try:
                    for piece in chain([decoded], pieces):
                        self._metrics.bytes.inc(len(piece))
                        writing.feed(piece)
                except BadRequest as error:
                    note_stored(error, writing.stored())
                    raise
                return writing.finish()
        else:
            decoded = decode_body(body, encoding, options.body_bytes_max)
        if encoding:
            self._metrics.bytes.inc(len(decoded))
        return submit(
            self._store, wanted, decoded, now_ns, options.limits, create, role, all_good=all_good, spread=spread
        )


def _reply(api: Api, wanted: WriteRequest, outcome: Outcome) -> Reply:
    reply = outcome_reply(api, outcome, wanted.accept_partial)
    if outcome.token:
        reply.headers[TOKEN_HEADER] = text_of(outcome.token)
    if outcome.fell_short:
        reply.headers[ACKED_HEADER] = "quorum"
    return reply


def _failed(api: Api, error: Exception) -> Reply:
    if not isinstance(error, (BadRequest, Unauthorized, TsdbError)):
        log.error("a write failed", exc_info=error)
    return exception_reply(api, error)


async def _durable(submitted: Submitted) -> Outcome:
    if len(submitted.futures) == 1:
        written = await asyncio.wrap_future(submitted.futures[0])
        if not written.token:
            return submitted.outcome
        return replace(submitted.outcome, token=written.token, fell_short=written.fell_short)
    parts = await asyncio.gather(*map(asyncio.wrap_future, submitted.futures), return_exceptions=True)
    for part in parts:
        if isinstance(part, BaseException):
            note_stored(part, sum(other.points for other in parts if not isinstance(other, BaseException)))
            raise part
    done = [part for part in parts if not isinstance(part, BaseException)]
    token = merged(*(part.token for part in done))
    return replace(submitted.outcome, token=token, fell_short=any(part.fell_short for part in done))


def _request_id() -> tuple[bytes, bytes]:
    """A random UUID (RFC 9562, version 4)."""
    text = os.urandom(16).hex()
    return b"request-id", f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}".encode()


def _more(reply: Reply) -> list[tuple[bytes, bytes]]:
    """Headers of an answer without a body, beside those that all have."""
    return [_request_id(), *((name.lower().encode(), text.encode()) for name, text in reply.headers.items())]


def _lines(more: Iterable[tuple[bytes, bytes]]) -> bytes:
    return _PROBED_LINES + b"".join(b"%b: %b\r\n" % each for each in more)


def probe_headers() -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in (*_PROBED, _request_id())}


def response(reply: Reply) -> Response:
    headers = {**probe_headers(), **reply.headers}
    if reply.body is None:
        return Response(status_code=reply.status, headers=headers)
    return JSONResponse(dict(reply.body), status_code=reply.status, headers=headers)
