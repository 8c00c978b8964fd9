"""Routes: writes go the short way (``writes``), all else is Starlette's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeAlias
from urllib.parse import parse_qsl

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
from tsdb.http import influxql
from tsdb.http.answers import exception_reply
from tsdb.http.authentication import Authentication, Unauthorized, credentials
from tsdb.http.body import Body, Budget
from tsdb.http.head import Head, refusal
from tsdb.http.metrics import Gauges, Metrics
from tsdb.http.options import HttpOptions
from tsdb.http.queueing import Queueing
from tsdb.http.request import BadRequest
from tsdb.http.writes import INFLUXDB_VERSION, WRITE_PATHS, Writes, probe_headers, response
from tsdb.ingest.hints.queue import HintQueue
from tsdb.model import authorization
from tsdb.model.access import Access, Identity
from tsdb.model.freshness import Ops, ops_of
from tsdb.model.store import Store

log = logging.getLogger(__name__)

MAX_QUERY_BODY_BYTES = 1024 * 1024
MAX_QUERY_FIELDS = 100
READY_LEVELS = ("linearizable", "any")

Obstacle: TypeAlias = Callable[[bool], str | None]
"""Why clients are better sent to another node: all of them, or (True) those that only read what this one has."""


class _Endpoints:
    def __init__(
        self,
        store: Store,
        pool: ThreadPoolExecutor,
        options: HttpOptions,
        metrics: Metrics,
        obstacle: Obstacle,
        authentication: Authentication,
        budget: Budget,
    ) -> None:
        self._authentication = authentication
        self._obstacle = obstacle
        self._store = store
        self._pool = pool
        self._options = options
        self._metrics = metrics
        self._budget = budget

    async def _identify(self, request: Request) -> Identity:
        """Who sends a request; asked before its body is read. Raises Unauthorized."""
        given = credentials(request.headers, request.query_params)
        return await self._authentication.identify(_host(request), given)

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
            return JSONResponse({"results": [{"statement_id": 0, "error": error.message}]}, headers=probe_headers())
        except SqlSyntaxError as error:
            return JSONResponse({"error": error.message}, status_code=400, headers=probe_headers())
        except ClientDisconnect:
            return Response(status_code=400)
        except (BadRequest, Unauthorized, TsdbError) as error:
            return response(exception_reply(None, error))
        results = [{"statement_id": i, **({"series": a.series} if a.series else {})} for i, a in enumerate(answers)]
        return JSONResponse({"results": results}, headers=probe_headers())

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
        head, timeout = Head(request.scope), self._options.body_timeout_s
        body = Body(head, request.receive, self._budget, MAX_QUERY_BODY_BYTES, timeout)
        try:
            return await body.read()
        finally:
            body.give_back()

    async def confirm(self, request: Request) -> Response:
        """What became of a write, by the token that it was answered with."""
        try:
            await self._identify(request)
            token = _token(request.query_params.get("token", ""))
            fate = await asyncio.get_running_loop().run_in_executor(self._pool, self._store.confirm, token)
        except (BadRequest, Unauthorized, TsdbError) as error:
            return response(exception_reply(None, error))
        return JSONResponse({"fate": fate.value}, headers=probe_headers())

    async def ping(self, request: Request) -> Response:
        if request.query_params.get("verbose", "").lower() in ("true", "1"):
            return JSONResponse({"version": INFLUXDB_VERSION}, headers=probe_headers())
        return Response(status_code=204, headers=probe_headers())

    async def health(self, request: Request) -> Response:
        body = {
            "name": "tsdb",
            "message": "ready for queries and writes",
            "status": "pass",
            "checks": [],
            "version": __version__,
        }
        return JSONResponse(body, headers=probe_headers())

    async def ready(self, request: Request) -> Response:
        """503 while clients are better sent to another node; requests are served nevertheless, as far as it goes."""
        level = request.query_params.get("read_level", READY_LEVELS[0])
        if level not in READY_LEVELS:
            return response(exception_reply(None, BadRequest(f"read_level is {' or '.join(READY_LEVELS)} here")))
        found = self._obstacle(level == "any")
        if found is None:
            return await self.health(request)
        body = {"name": "tsdb", "message": f"serving, but {found}", "status": "fail"}
        return JSONResponse(body, status_code=503, headers={**probe_headers(), "Retry-After": "5"})

    async def metrics(self, request: Request) -> Response:
        try:
            await self._identify(request)
        except (Unauthorized, InsufficientPrivilege) as error:
            return response(exception_reply(None, error))
        text = await asyncio.get_running_loop().run_in_executor(self._pool, self._metrics.text)
        return Response(text, media_type="text/plain; version=0.0.4")

    async def root(self, request: Request) -> Response:
        return PlainTextResponse(
            f"tsdb {__version__}\n\nPOST /write?db=NAME takes line protocol (also /api/v2/write, /api/v3/write_lp).\n"
            "Query with SQL through the PostgreSQL port. GET /health, /metrics.\n"
        )


def _token(text: str) -> Ops:
    try:
        found = ops_of(text)
    except ValueError:
        found = ()
    if not found:
        raise BadRequest("token is what a write was answered with, in the header X-Tsdb-Token")
    return found


def _host(request: Request) -> str:
    """The address of who sent a request; "" over a Unix socket."""
    return request.client.host if request.client is not None else ""


def _form(body: bytes | bytearray) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(errors="replace"), max_num_fields=MAX_QUERY_FIELDS))
    except ValueError:
        raise BadRequest(f"the form has more than {MAX_QUERY_FIELDS} fields") from None


class Front:
    """The application: refuses what ``guard`` refuses, counts requests by status, and takes writes the short way."""

    def __init__(self, writes: Writes, rest: ASGIApp, metrics: Metrics, open_to: Callable[[str], bool]) -> None:
        self._writes = writes
        self._rest = rest
        self._metrics = metrics
        self._open_to = open_to

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return

        started = False

        async def counted(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._metrics.count(message["status"])
            await send(message)

        # No page of a browser reaches a Unix socket, which has no address.
        client = scope.get("client")
        is_open = client is not None and self._open_to(client[0])
        head = Head(scope)
        why = refusal(head.headers) if is_open else None
        if why is not None:
            await JSONResponse({"error": why}, status_code=403)(scope, receive, counted)
            return
        is_write = scope["method"] == "POST" and scope["path"] in WRITE_PATHS
        try:
            if is_write:
                await self._writes.serve(head, receive, counted)
            else:
                await self._rest(scope, receive, counted)
        except asyncio.CancelledError:
            # The server stops and this request's grace is over. It is answered here, where nothing is above that
            # would take the cancellation for a defect and log it.
            if not started:
                stopping = exception_reply(None, CannotConnectNow("the server is stopping"))
                await response(stopping)(scope, receive, counted)


def create_app(
    store: Store,
    clock: Clock,
    pool: ThreadPoolExecutor,
    options: HttpOptions,
    gauges: Gauges = dict,
    obstacle: Obstacle = lambda only_reads: None,
    rules: Access | None = None,
    hints: HintQueue | None = None,
    refuses_hints: Callable[[], str] = str,
) -> Front:
    """The HTTP application over ``store``.

    Blocking work runs in ``pool``; ``gauges`` feed /metrics; ``obstacle`` says what speaks against /ready; ``rules``
    who must say who it is; ``hints`` are the batches that wait at this node, and ``refuses_hints`` says why it takes no
    more of them, if it does not.
    """
    metrics = Metrics(gauges)
    rules = rules or Access()
    authentication = Authentication(store, clock, pool, rules)
    budget = Budget(options.bodies_bytes_max)
    endpoints = _Endpoints(store, pool, options, metrics, obstacle, authentication, budget)
    queueing = Queueing(store, clock, options.limits, hints, refuses_hints)
    writes = Writes(store, clock, pool, options, metrics, authentication, budget, queueing)

    def open_to(host: str) -> bool:
        """Whether who sends from an address needs no password, though others would."""
        return authentication.trusts(host) and (options.open_loopback or not rules.policy.insecure)

    routes = [
        # For other methods: 405.
        *(Route(path, writes, methods=["POST"]) for path in WRITE_PATHS),
        Route("/query", endpoints.query, methods=["GET", "POST"]),
        Route("/confirm", endpoints.confirm, methods=["GET"]),
        Route("/ping", endpoints.ping, methods=["GET"]),
        Route("/health", endpoints.health, methods=["GET"]),
        Route("/ready", endpoints.ready, methods=["GET"]),
        Route("/metrics", endpoints.metrics, methods=["GET"]),
        Route("/", endpoints.root, methods=["GET"]),
    ]
    return Front(writes, Starlette(routes=routes), metrics, open_to)
