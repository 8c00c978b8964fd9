"""Routes, and what runs where: bodies are read on the event loop, everything else of a write happens in worker
threads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import parse_qsl
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tsdb import __version__
from tsdb.clock import Clock
from tsdb.errors import (
    CannotConnectNow,
    InsufficientPrivilege,
    InvalidCatalogName,
    SqlSyntaxError,
    TsdbError,
)
from tsdb.http import guard, influxql
from tsdb.http.answers import Reply, exception_reply, outcome_reply
from tsdb.http.authentication import Authentication, Unauthorized, credentials
from tsdb.http.body import Body, Budget
from tsdb.http.metrics import Gauges, Metrics
from tsdb.http.request import Api, BadRequest, decode_body, write_request
from tsdb.http.together import Together, is_small
from tsdb.ingest.faults import Limits
from tsdb.ingest.outcome import Outcome
from tsdb.ingest.write import Submitted, WriteRequest, submit
from tsdb.model import authorization
from tsdb.model.access import Access, Identity
from tsdb.model.store import Store

log = logging.getLogger(__name__)

# Clients probe for an InfluxDB: the version of the API spoken, with our own behind it.
INFLUXDB_VERSION = "1.8.10"
MAX_QUERY_BODY_BYTES = 1024 * 1024
MAX_QUERY_FIELDS = 100


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """Limits and switches of the HTTP edge. ``body_timeout_s``: the period in which at least 16 KiB of a
    body, or its end, must come; ``open_loopback``: only this machine is served, so Host and Origin are checked also
    when nobody is asked for a password. ``database``: of a ``/write`` without one, as QuestDB's clients
    send it ("": 400).
    """

    body_bytes_max: int = 256 * 1024 * 1024
    bodies_bytes_max: int = 512 * 1024 * 1024
    body_timeout_s: float = 30.0
    create_database: bool = True
    database: str = ""
    open_loopback: bool = True
    limits: Limits = field(default_factory=Limits)


class _Endpoints:
    def __init__(
        self,
        store: Store,
        clock: Clock,
        pool: ThreadPoolExecutor,
        options: HttpOptions,
        metrics: Metrics,
        ready: Callable[[], bool],
        authentication: Authentication,
    ) -> None:
        self._authentication = authentication
        self._is_ready = ready
        self._store = store
        self._clock = clock
        self._pool = pool
        self._options = options
        self._metrics = metrics
        self._budget = Budget(options.bodies_bytes_max)
        self._together = Together(self._store_body)

    async def write(self, api: Api, request: Request) -> Response:
        try:
            who = await self._identify(request)
            wanted = write_request(api, request.query_params, request.headers, self._options.database)
            outcome = await self._write(wanted, request, who)
            reply = outcome_reply(api, outcome, wanted.accept_partial)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:
            if not isinstance(error, (BadRequest, Unauthorized, TsdbError)):
                log.exception("a write failed")
            reply = exception_reply(api, error)
        return _response(reply)

    async def _identify(self, request: Request) -> Identity:
        """Who sends a request; asked before its body is read. Raises Unauthorized."""
        given = credentials(request.headers, request.query_params)
        return await self._authentication.identify(_host(request), given)

    async def _write(self, wanted: WriteRequest, request: Request, who: Identity) -> Outcome:
        body = self._body(request, self._options.body_bytes_max)
        try:
            encoding = request.headers.get("content-encoding", "")
            read = await body.read()
            if is_small(wanted, read, encoding):
                outcome = await self._together.write(wanted, bytes(read), who.role)
            else:
                outcome = await self._store_body(wanted, read, who.role, encoding=encoding)
        finally:
            body.give_back()
        self._metrics.points.inc(outcome.written)
        self._metrics.rejected.inc(outcome.dropped)
        return outcome

    async def _store_body(
        self, wanted: WriteRequest, body: bytes | bytearray, role: int, all_good: bool = False, *, encoding: str = ""
    ) -> Outcome:
        work = partial(self._submit, wanted, body, role, all_good, encoding)
        submitted = await asyncio.get_running_loop().run_in_executor(self._pool, work)
        await asyncio.gather(*(asyncio.wrap_future(future) for future in submitted.futures))
        return submitted.outcome

    def _submit(
        self, wanted: WriteRequest, body: bytes | bytearray, role: int, all_good: bool, encoding: str
    ) -> Submitted:
        options = self._options
        decoded = decode_body(body, encoding, options.body_bytes_max)
        self._metrics.bytes.inc(len(decoded))
        now_ns, create = self._clock.now_ns(), options.create_database
        return submit(self._store, wanted, decoded, now_ns, options.limits, create, role, all_good=all_good)

    def _body(self, request: Request, limit: int) -> Body:
        return Body(request, self._budget, limit, self._options.body_timeout_s)

    async def query(self, request: Request) -> Response:
        """InfluxQL's start-up statements; their errors come in a 200 by statement, or a 400 for the whole."""
        try:
            who = await self._identify(request)
            text, database = await self._query_text(request)
            answers = influxql.answer(text, database, self._store.catalog, who.role)
            loop = asyncio.get_running_loop()
            for wanted in (a.changes for a in answers if a.changes):
                changes = authorization.permitted(self._store.catalog, who.role, wanted)
                await loop.run_in_executor(self._pool, partial(self._store.change, *changes))
        except InvalidCatalogName as error:
            return JSONResponse({"results": [{"statement_id": 0, "error": error.message}]}, headers=_probe_headers())
        except SqlSyntaxError as error:
            return JSONResponse({"error": error.message}, status_code=400, headers=_probe_headers())
        except ClientDisconnect:
            return Response(status_code=400)
        except (BadRequest, Unauthorized, TsdbError) as error:
            return _response(exception_reply(None, error))
        results = [{"statement_id": i, **({"series": a.series} if a.series else {})} for i, a in enumerate(answers)]
        return JSONResponse({"results": results}, headers=_probe_headers())

    async def _query_text(self, request: Request) -> tuple[str, str | None]:
        parameters = dict(request.query_params)
        if request.method == "POST":
            body = await self._query_body(request)
            if "urlencoded" in request.headers.get("content-type", ""):
                parameters |= _form(body)
            elif body and "q" not in parameters:
                parameters["q"] = body.decode(errors="replace")
        if not parameters.get("q"):
            raise BadRequest('missing required parameter "q"')
        return parameters["q"], parameters.get("db")

    async def _query_body(self, request: Request) -> bytes | bytearray:
        body = self._body(request, MAX_QUERY_BODY_BYTES)
        try:
            return await body.read()
        finally:
            body.give_back()

    async def ping(self, request: Request) -> Response:
        if request.query_params.get("verbose", "").lower() in ("true", "1"):
            return JSONResponse({"version": INFLUXDB_VERSION}, headers=_probe_headers())
        return Response(status_code=204, headers=_probe_headers())

    async def health(self, request: Request) -> Response:
        body = {
            "name": "tsdb",
            "message": "ready for queries and writes",
            "status": "pass",
            "checks": [],
            "version": __version__,
        }
        return JSONResponse(body, headers=_probe_headers())

    async def ready(self, request: Request) -> Response:
        """503 while the kernels are compiled, which a new machine does once: requests are served, but slowly."""
        if self._is_ready():
            return await self.health(request)
        body = {"name": "tsdb", "message": "serving; kernels are being compiled", "status": "fail"}
        return JSONResponse(body, status_code=503, headers={**_probe_headers(), "Retry-After": "5"})

    async def metrics(self, request: Request) -> Response:
        try:
            await self._identify(request)
        except (Unauthorized, InsufficientPrivilege) as error:
            return _response(exception_reply(None, error))
        text = await asyncio.get_running_loop().run_in_executor(self._pool, self._metrics.text)
        return Response(text, media_type="text/plain; version=0.0.4")

    async def root(self, request: Request) -> Response:
        return PlainTextResponse(
            f"tsdb {__version__}\n\nPOST /write?db=NAME takes line protocol (also /api/v2/write, /api/v3/write_lp).\n"
            "Query with SQL through the PostgreSQL port. GET /health, /metrics.\n"
        )


def _host(request: Request) -> str:
    """The address of who sent a request; "" over a Unix socket."""
    return request.client.host if request.client is not None else ""


def _form(body: bytes | bytearray) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(errors="replace"), max_num_fields=MAX_QUERY_FIELDS))
    except ValueError:
        raise BadRequest(f"the form has more than {MAX_QUERY_FIELDS} fields") from None


def _probe_headers() -> dict[str, str]:
    return {"X-Influxdb-Version": INFLUXDB_VERSION, "X-Influxdb-Build": "OSS", "Request-Id": str(uuid4())}


def _response(reply: Reply) -> Response:
    headers = {**_probe_headers(), **reply.headers}
    if reply.body is None:
        return Response(status_code=reply.status, headers=headers)
    return JSONResponse(dict(reply.body), status_code=reply.status, headers=headers)


class _Guard:
    """ASGI middleware: refuses what ``guard`` refuses and counts requests by status."""

    def __init__(self, app: ASGIApp, metrics: Metrics, open_to: Callable[[str], bool]) -> None:
        self._app = app
        self._metrics = metrics
        self._open_to = open_to

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def counted(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._metrics.requests.labels(message["status"]).inc()
            await send(message)

        request = Request(scope)
        # No page of a browser reaches a Unix socket, which has no address.
        is_open = request.client is not None and self._open_to(_host(request))
        why = guard.refusal(request.headers.get("host"), request.headers.get("origin")) if is_open else None
        if why is not None:
            await JSONResponse({"error": why}, status_code=403)(scope, receive, counted)
            return
        try:
            await self._app(scope, receive, counted)
        except asyncio.CancelledError:
            # The server stops and this request's grace is over. It is answered here, where nothing is above that
            # would take the cancellation for a defect and log it.
            if not started:
                await _response(exception_reply(None, CannotConnectNow("the server is stopping")))(
                    scope, receive, counted
                )


def create_app(
    store: Store,
    clock: Clock,
    pool: ThreadPoolExecutor,
    options: HttpOptions,
    gauges: Gauges = dict,
    ready: Callable[[], bool] = lambda: True,
    rules: Access | None = None,
) -> Starlette:
    """The HTTP application over ``store``.

    Blocking work runs in ``pool``; ``gauges`` feed /metrics; ``ready`` says whether requests are quick by now;
    ``rules`` who must say who it is.
    """
    metrics = Metrics(gauges)
    rules = rules or Access()
    authentication = Authentication(store, clock, pool, rules)
    endpoints = _Endpoints(store, clock, pool, options, metrics, ready, authentication)

    def open_to(host: str) -> bool:
        """Whether who sends from an address needs no password, though others would."""
        return authentication.trusts(host) and (options.open_loopback or not rules.policy.insecure)

    routes = [
        *(Route(api.value, partial(endpoints.write, api), methods=["POST"]) for api in Api),
        Route("/query", endpoints.query, methods=["GET", "POST"]),
        Route("/ping", endpoints.ping, methods=["GET"]),
        Route("/health", endpoints.health, methods=["GET"]),
        Route("/ready", endpoints.ready, methods=["GET"]),
        Route("/metrics", endpoints.metrics, methods=["GET"]),
        Route("/", endpoints.root, methods=["GET"]),
    ]
    app = Starlette(routes=routes)
    app.add_middleware(_Guard, metrics=metrics, open_to=open_to)
    return app
