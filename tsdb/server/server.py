"""One server: which parts there are, what each is handed, in which order they start and stop."""

from __future__ import annotations

import asyncio
import atexit
import errno
import logging
import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tsdb import __version__
from tsdb.clock import Clock, SystemClock
from tsdb.cluster.metadata.records import Member
from tsdb.cluster.node import Node
from tsdb.cluster.routing.wide import Connected
from tsdb.config import Settings, is_loopback
from tsdb.errors import StartupError, TsdbError
from tsdb.http.app import create_app
from tsdb.http.options import HttpOptions
from tsdb.ingest.faults import Limits as LineLimits
from tsdb.ingest.hints.disk import Folder
from tsdb.ingest.hints.queue import HintQueue
from tsdb.server import first_user
from tsdb.server.arrow import Arrow
from tsdb.server.cluster import addresses_of, agree_of, process_ids_of
from tsdb.server.compiling import compile_apart
from tsdb.server.hints import Deliveries
from tsdb.server.streams import Streams
from tsdb.server.tls import CHECK_SECONDS, Certificates
from tsdb.server.upkeep import Upkeep
from tsdb.server.warm import warm
from tsdb.server.web import Web
from tsdb.session import Budget, Limits, SessionFactory, Sessions, Turns
from tsdb.session.continuous import Refreshes
from tsdb.sql.query import Queries
from tsdb.storage.options import Options
from tsdb.wire.listener import Limits as WireLimits
from tsdb.wire.listener import Listener, Tls

log = logging.getLogger("tsdb.server")

DATABASE = "tsdb"
SPILL_FOLDER = "spill"
SCRATCH_FOLDER = "scratch"
HINTS_FOLDER = "hints"
WARM_STOP_SECONDS = 0.5
SHORT_THREADS = 8


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Server:
    """A node with its SQL and HTTP ports. ``start`` and ``stop`` run on the event loop that serves.

    After ``start`` the ports and URLs hold what was taken. ``warm`` ends when the kernels are loaded.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.warm: Future[float] = Future()
        self._node: Node | None = None
        self._queries: Queries | None = None
        self._listener: Listener | None = None
        self._web = Web(settings.host, settings.http_port, settings.http_socket)
        cores = _cores()
        self._write_pool = ThreadPoolExecutor(settings.write_threads or max(2, cores), "write")
        # Statements that run, those of them that have run for long, and threads for what is short.
        self._session_pool = ThreadPoolExecutor(2 * settings.running_queries + SHORT_THREADS, "session")
        self._turns = Turns(settings.running_queries, settings.waiting_queries)
        self._rules = first_user.rules_of(settings)
        self._certificates: Certificates | None = None
        self._streams = Streams()
        self._arrow = Arrow()
        self._upkeep: Upkeep | None = None
        self._hints: HintQueue | None = None
        self._deliveries: Deliveries | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._budget = Budget(settings.result_memory, settings.result_stall_timeout)
        self._stopping = threading.Event()
        self._warming: threading.Thread | None = None
        self._served = False

    async def start(self) -> None:
        """Open the data directory and serve. Raises StartupError, and leaves nothing running then."""
        started = time.monotonic()
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        self._served = True
        self.node.agreement.introduce(addresses_of(self.settings, self.pg_port, self.http_port, self.flight_port))
        more = {"flight": self.flight_port, "line_tcp": self.line_tcp_port, "line_udp": self.line_udp_port}
        log.info(
            "serving",
            extra={
                "fields": {
                    "version": __version__,
                    "data": str(self.settings.data),
                    "sql": f"{self.settings.host}:{self.pg_port}",
                    "http": f"{self.settings.host}:{self.http_port}",
                    **{name: f"{self.settings.host}:{port}" for name, port in more.items() if port is not None},
                    "started_in_s": round(time.monotonic() - started, 3),
                }
            },
        )
        if self.settings.insecure:
            log.warning("nobody is asked for a password (insecure)")
        elif self.settings.loopback_password and not self.node.catalog.roles.has_passwords:
            log.warning("everybody is asked for a password, and no user has one")

    async def _start(self) -> None:
        settings = self.settings
        first_user.check_before_open(settings)
        if settings.tls_cert is not None and settings.tls_key is not None:
            self._certificates = Certificates(settings.tls_cert, settings.tls_key)
        self._web.bind()
        loop = asyncio.get_running_loop()
        self._node = await loop.run_in_executor(self._write_pool, self._open)
        self._queries = Queries(
            memory_limit_bytes=settings.query_memory,
            threads=settings.query_threads or _cores(),
            spill_directory=settings.data / SPILL_FOLDER,
        )
        present = Sessions()
        present.reload = lambda: self._reload_soon(loop)
        self._hints = await loop.run_in_executor(self._write_pool, self._open_hints, self._node)
        present.hints = self._hints.listing
        sessions = SessionFactory(
            self._node,
            self._queries,
            self._session_pool,
            self.clock,
            present,
            budget=self._budget,
            turns=self._turns,
            limits=Limits(settings.transaction_bytes_max, settings.copy_memory),
            rules=self._rules,
        )
        certificates = self._certificates
        self._listener = Listener(
            sessions,
            host=settings.host,
            port=settings.pg_port,
            limits=WireLimits(
                connections_max=settings.connections_max,
                message_bytes_max=settings.message_bytes_max,
                startup_timeout_s=settings.startup_timeout,
            ),
            tls=certificates.sql if certificates is not None else None,
            process_ids=process_ids_of(settings, self._node),
        )
        await self._listener.start()
        app = create_app(
            self._node,
            self.clock,
            self._write_pool,
            self._http_options(),
            self._gauges,
            obstacle=self.obstacle,
            rules=self._rules,
            hints=self._hints if settings.hints_bytes_max else None,
            refuses_hints=partial(_refuses_hints, self._node),
        )
        await self._web.start(app, settings.shutdown_timeout, certificates.https if certificates is not None else None)
        await self._streams.start(
            settings,
            self._node,
            self.clock,
            self._write_pool,
            self._rules,
            self._line_limits(),
            certificates.https if certificates is not None else None,
        )
        await self._arrow.start(
            settings, self._node, self._queries, sessions, self.clock, self._write_pool, self._rules, certificates
        )
        if certificates is not None:
            self._renewal = asyncio.create_task(self._keep_certificate(certificates))
        self._look_after(self._node, self._queries, self._hints, present.refreshes)
        self._begin_to_warm(self._queries)

    def _look_after(self, node: Node, queries: Queries, hints: HintQueue, refreshes: Refreshes) -> None:
        """What is done by itself from now on."""
        self._upkeep = Upkeep(node, queries, self.clock, refreshes)
        self._upkeep.start()
        window_ns = int(self.settings.producer_window * 10**9)
        self._deliveries = Deliveries(hints, node, self.clock, self._line_limits(), window_ns)
        self._deliveries.start()

    def _open(self) -> Node:
        settings = self.settings
        options = Options(
            head_bytes=settings.head_bytes,
            replica_log_bytes=settings.replica_log_bytes,
            check_interval=settings.replica_check_interval,
            head_age=settings.head_age,
            disk_reserve=settings.disk_reserve,
            compaction=settings.compaction,
            compaction_rate=settings.compaction_rate,
            copy_rate=settings.copy_rate,
            producers_max=settings.producers_max,
            producer_window=settings.producer_window,
            clock=self.clock,
        )
        try:
            settings.data.mkdir(parents=True, exist_ok=True)
            node = Node.open(settings.data, options, agree_of(settings))
        except OSError as error:
            raise StartupError(_unusable(settings.data, error)) from error
        try:
            first_user.prepare(node, settings)
        except BaseException:
            node.close()
            raise
        return node

    def _open_hints(self, node: Node) -> HintQueue:
        """Also where none is taken any more: those that wait are delivered. Raises StartupError."""
        settings = self.settings
        folder = Folder(settings.data / HINTS_FOLDER)
        try:
            hints = HintQueue(folder, settings.hints_bytes_max, settings.disk_reserve)
        except OSError as error:
            raise StartupError(_unusable(folder.path, error)) from error
        if isinstance(node.agreement, Connected):
            node.agreement.hints_waiting = hints.waiting
        return hints

    def _http_options(self) -> HttpOptions:
        settings = self.settings
        return HttpOptions(
            body_bytes_max=settings.body_bytes_max,
            bodies_bytes_max=settings.bodies_bytes_max,
            create_database=settings.create_database_on_write,
            open_loopback=is_loopback(settings.host),
            database=settings.line_database,
            limits=self._line_limits(),
        )

    def _line_limits(self) -> LineLimits:
        settings = self.settings
        return LineLimits(
            body_bytes_max=settings.body_bytes_max,
            line_bytes_max=settings.line_bytes_max,
            string_bytes_max=settings.line_string_bytes_max,
            fields_max=settings.line_fields_max,
            tags_max=settings.line_tags_max,
        )

    def _gauges(self) -> Mapping[str, float]:
        if self._listener is None or self._node is None:
            return {}
        return {
            "sql_sessions": self._listener.session_count,
            "sql_result_bytes": self._budget.held_bytes,
            "sql_results_waiting": self._budget.waiting_count,
            "sql_queries_running": self._turns.held_count,
            "sql_queries_waiting": self._turns.waiting_count,
            "sql_queries_refused": self._turns.refused_count,
            **self._streams.gauges(),
            **self._arrow.gauges(),
            **(self._upkeep.gauges() if self._upkeep is not None else {}),
            **(self._hints.gauges() if self._hints is not None else {}),
            **self._node.engine.metrics(),
            **self._node.agreement.gauges(),
        }

    def obstacle(self, only_reads: bool) -> str | None:
        """Why clients, or those that only read what is here, are better sent to another node."""
        if self._stopping.is_set():
            return "the server is stopping"
        if not self.warm.done():
            # A new machine does that once, and requests are slow meanwhile.
            return "kernels are being compiled"
        return None if only_reads or self._node is None else self._node.agreement.obstacle

    async def _keep_certificate(self, certificates: Certificates) -> None:
        """Use a new certificate when its files change."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            if certificates.changed():
                self.reload_certificate()

    def reload_certificate(self) -> None:
        """Read the certificate again, for connections to come. What cannot be used is logged and not used."""
        listener = self._listener
        if self._certificates is None or listener is None:
            log.info("there is no certificate to read again")
            return

        def use(tls: Tls) -> None:
            listener.tls = tls

        if self._certificates.reload(use):
            self._arrow.renew(self._certificates)

    def _reload_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(self.reload_certificate)

    def _begin_to_warm(self, queries: Queries) -> None:
        if not self.settings.warm_start:
            self.warm.set_result(0.0)
            return
        # A daemon: compiling cannot be interrupted, and the end of the process does not wait for it.
        self._warming = threading.Thread(target=self._warm, args=[queries], name="warm", daemon=True)
        self._warming.start()

    def _warm(self, queries: Queries) -> None:
        """Load the kernels; what goes wrong there must not stop the server, which would load them when needed."""
        scratch = self.settings.data / SCRATCH_FOLDER
        try:
            compile_apart(scratch, self._stopping)
            seconds = warm(queries, scratch, self._stopping.is_set)
        except Exception as error:
            if not self._stopping.is_set():
                log.exception("the kernels could not be made ready in the background")
            self.warm.set_exception(error)
        else:
            if seconds is None:
                self.warm.cancel()
            else:
                self.warm.set_result(seconds)

    async def stop(self) -> None:
        """End in order: no new work, running work gets its grace, everything is flushed. Can be called again."""
        self._stopping.set()
        started = time.monotonic()
        grace_s = self.settings.shutdown_timeout
        loop = asyncio.get_running_loop()
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])
        if self._upkeep is not None:
            await loop.run_in_executor(None, self._upkeep.stop)
        if self._deliveries is not None:
            await loop.run_in_executor(None, self._deliveries.stop)
        if self._node is not None and self._served:
            await loop.run_in_executor(None, self._hand_over, self._node, grace_s)
        closing = [self._web.stop(), self._streams.stop(grace_s), self._arrow.stop(grace_s)]
        if self._listener is not None:
            closing.append(self._listener.close(grace_s))
        await asyncio.gather(*closing)
        # The warm-up ends after its step, which is short unless kernels are compiled for the first time: then its
        # statements run on and are closed when they end. A command's end (``os._exit``) does not wait for that; an
        # interpreter that ended under them would abort, since it kills their thread inside of LLVM or DuckDB.
        if self._warming is not None:
            await loop.run_in_executor(None, self._warming.join, WARM_STOP_SECONDS)
            if self._warming.is_alive():
                atexit.register(self._warming.join)
        if self._queries is not None:
            close = self._queries.close
            if self.warm.done():
                await loop.run_in_executor(None, close)
            else:
                self.warm.add_done_callback(lambda _: close())
        if self._node is not None:
            await loop.run_in_executor(None, self._node.close)
            (log.info if self._served else log.debug)(
                "stopped", extra={"fields": {"in_s": round(time.monotonic() - started, 3)}}
            )
        self._listener = self._queries = self._node = None
        for pool in (self._write_pool, self._session_pool):
            pool.shutdown(wait=False, cancel_futures=True)

    def _hand_over(self, node: Node, seconds: float) -> None:
        """Whatever comes of it, the server stops."""
        try:
            node.hand_over(seconds)
        except TsdbError as error:
            log.info("what this node leads was not handed over: %s", error.message)
        except Exception:
            log.exception("what this node leads could not be handed over")

    @property
    def node(self) -> Node:
        """The data of a started server."""
        assert self._node is not None, "the server is not started"
        return self._node

    @property
    def pg_port(self) -> int:
        return self._listener.port if self._listener is not None else self.settings.pg_port

    @property
    def http_port(self) -> int:
        return self._web.port

    @property
    def line_tcp_port(self) -> int | None:
        return self._streams.tcp_port

    @property
    def line_udp_port(self) -> int | None:
        return self._streams.udp_port

    @property
    def flight_port(self) -> int | None:
        return self._arrow.port

    @property
    def host(self) -> str:
        """The address clients on this machine connect to."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.settings.host, self.settings.host)

    @property
    def pg_url(self) -> str:
        return f"postgresql://{_in_url(self.host)}:{self.pg_port}/{DATABASE}"

    @property
    def http_url(self) -> str:
        scheme = "http" if self._certificates is None else "https"
        return f"{scheme}://{_in_url(self.host)}:{self.http_port}/"


def _refuses_hints(node: Node) -> str:
    """Why a node takes no batch that would have to wait there; "": it does."""
    member = node.metadata.get(Member, node.engine.node)
    return "this node is drained" if member is not None and member.draining else ""


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _unusable(data: Path, error: OSError) -> str:
    if error.errno == errno.ENOTDIR or error.errno == errno.EEXIST:
        return f"the data directory {data} is a file or lies in one"
    return f"cannot use the data directory {data}: {error.strerror or error}"
