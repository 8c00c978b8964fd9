"""Channels to the other nodes, one to each, and the threads that read what comes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.flight as flight

from tsdb.cluster.authority import URI_PREFIX
from tsdb.cluster.fragments.fetch import Fetch
from tsdb.cluster.routing.exchange import RowTaker
from tsdb.cluster.routing.messages import RunScan
from tsdb.cluster.transport.tls import NodeTls, Pem

log = logging.getLogger(__name__)

FETCHES_MAX = 256
"""At once; further ones come in frames."""
AGAIN_S = 10.0
"""A node whose rows could not be fetched is not tried again for so long, and for twice as long the next time."""
AGAIN_S_MAX = 600.0
# A connection is there after two seconds, or it cannot be had; proxies are for the world outside.
_ARGUMENTS = [
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node answers, as HOST:PORT, and the name in its certificate."""

    address: str
    name: str


@dataclass(slots=True)
class _Channel:
    """``session``: the connection between the two nodes in which it was opened. When that has ended, this one may be
    dead without anybody knowing. Until something has come over it one fragment tries it: a connection may take a while
    to fail."""

    place: Place
    session: int
    pem: Pem
    client: flight.FlightClient
    is_reached: bool = False
    is_tried: bool = False


@dataclass(frozen=True, slots=True)
class _Failed:
    """That nothing came from a place; it is not tried before ``until`` (seconds, monotonic)."""

    place: Place
    until: float
    wait_s: float


class Channels:
    """An ``exchange.Fetches``. ``place_of``: of a node that answers here; None: of another one."""

    def __init__(self, place_of: Callable[[int], Place | None], tls: NodeTls) -> None:
        self._place_of = place_of
        self._tls = tls
        self._lock = threading.Lock()
        self._channels: dict[int, _Channel] = {}
        self._failed: dict[int, _Failed] = {}
        self._running: set[Fetch] = set()
        self._threads = ThreadPoolExecutor(FETCHES_MAX, "fragments")
        self._is_closed = False
        self.fetched_count = 0
        self.failed_count = 0

    def begin(self, node: int, session: int, question: RunScan, taker: RowTaker) -> Fetch | None:
        """Fetch a fragment from a node to which there is that connection; None: it has to come in frames."""
        place = self._place_of(node)
        if place is None:
            return None
        with self._lock:
            if self._is_closed or len(self._running) >= FETCHES_MAX:
                return None
            failed = self._failed.get(node)
            if failed is not None and failed.place == place and time.monotonic() < failed.until:
                return None
            channel = self._channels.get(node)
            pem = self._tls.pem
            if channel is None or (channel.place, channel.session) != (place, session) or channel.pem is not pem:
                try:
                    channel = self._channels[node] = _opened(place, session, pem)
                except (pa.ArrowException, OSError) as error:
                    self._fail(node, place, str(error))
                    return None
            if not channel.is_reached and channel.is_tried:
                return None
            channel.is_tried = True
            fetch = Fetch(
                channel.client, question, taker, lambda: self._reached(node, channel),
                lambda why: self.failed(node, why),
            )  # fmt: skip
            self._running.add(fetch)
            self.fetched_count += 1
            self._threads.submit(self._run, fetch, channel)
        return fetch

    def _run(self, fetch: Fetch, channel: _Channel) -> None:
        try:
            fetch.run()
        finally:
            with self._lock:
                self._running.discard(fetch)
                # Of one that was given up before anything came nothing is known.
                channel.is_tried = channel.is_reached

    def _reached(self, node: int, channel: _Channel) -> None:
        if not channel.is_reached:
            with self._lock:
                channel.is_reached = True
                self._failed.pop(node, None)

    def failed(self, node: int, why: str) -> None:
        """Rows of a node do not come: another channel, and not at once."""
        place = self._place_of(node)
        with self._lock:
            if place is not None and not self._is_closed:
                self._fail(node, place, why)

    def _fail(self, node: int, place: Place, why: str) -> None:
        self.failed_count += 1
        self._channels.pop(node, None)
        now = time.monotonic()
        known = self._failed.get(node)
        if known is not None and known.place == place and now < known.until:
            # Another one that began before.
            return
        wait_s = min(2 * known.wait_s, AGAIN_S_MAX) if known is not None and known.place == place else AGAIN_S
        self._failed[node] = _Failed(place, now + wait_s, wait_s)
        log.warning(
            "rows of node %d (%s) cannot be fetched at %s, and come over its other port for %g s: %s",
            node, place.name, place.address, wait_s, why,
        )  # fmt: skip

    def close(self) -> None:
        """What is fetched is cancelled; nothing is fetched after it."""
        with self._lock:
            self._is_closed = True
            running = list(self._running)
        for each in running:
            each.cancel()
        self._threads.shutdown(wait=True)
        for channel in self._channels.values():
            channel.client.close()
        self._channels.clear()


def _opened(place: Place, session: int, pem: Pem) -> _Channel:
    client = flight.FlightClient(
        f"grpc+tls://{place.address}",
        tls_root_certs=pem.authority,
        cert_chain=pem.certificate,
        private_key=pem.key,
        # Who it is its certificate says; host names are not looked at, as between nodes anywhere.
        override_hostname=URI_PREFIX + place.name,
        generic_options=_ARGUMENTS,
    )
    return _Channel(place, session, pem, client)
