"""Both ends of it at a node: the listener with its port, the channels, and new certificates for both."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping

import pyarrow as pa

from tsdb.cluster.fragments.channels import Channels, Place
from tsdb.cluster.fragments.listener import Listener
from tsdb.cluster.routing.exchange import Exchange
from tsdb.cluster.transport.tls import NodeTls
from tsdb.errors import StartupError
from tsdb.ports import why_taken

log = logging.getLogger(__name__)

LOOK_S = 5.0
GRACE_S = 2.0
"""For what is being sent when the node stops."""
_RENEWAL_S = 10.0


class Fragments:
    """``start`` and ``run`` on the event loop; ``close`` from another thread, while the loop runs."""

    def __init__(
        self,
        tls: NodeTls,
        loop: asyncio.AbstractEventLoop,
        exchange: Exchange,
        node_of: Callable[[str], int | None],
        place_of: Callable[[int], Place | None],
    ) -> None:
        self._tls = tls
        self._loop = loop
        self._exchange = exchange
        self._node_of = node_of
        self._host = ""
        self._port = 0
        self._lock = threading.Lock()
        self._listener: Listener | None = None
        self._leaving: list[Listener] = []
        self._is_closed = False
        self.channels = exchange.fetches = Channels(place_of, tls)

    def start(self, host: str, port: int, before: int = 0) -> int:
        """Listen; the port. Of any free one (0), it is the one that it was ``before``. Raises StartupError."""
        self._host = host or "::"
        found: int | None = None
        why = ""
        for each in dict.fromkeys((port or before, port)):
            try:
                found = self._listen(each)
                break
            except StartupError as error:
                why = str(error)
        if found is None:
            raise StartupError(f"cannot listen on {host}:{port} for rows that other nodes ask for: {why}")
        self._port = found
        return found

    def _listen(self, port: int, *, is_free: bool = True) -> int:
        """Raises StartupError. ``is_free``: nobody else may have the port."""
        exchange = self._exchange
        why = why_taken(self._host, port) if is_free else None
        if why is not None:
            raise StartupError(why)
        try:
            made = Listener(self._host, port, self._tls.pem, lambda: exchange.answers, self._loop, self._node_of)
        except (OSError, pa.ArrowException) as error:
            raise StartupError(str(error)) from None
        with self._lock:
            if self._is_closed:
                self._leaving.append(made)
            else:
                self._listener = made
        if self._is_closed:
            _end(made)
        found: int = made.port
        return found

    async def run(self) -> None:
        """Take new certificates. gRPC reads them only when it starts: a new listener takes the port of the old."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._port and (self._listener is None or self._listener.pem is not self._tls.pem):
                await asyncio.to_thread(self._renew)

    def _renew(self) -> None:
        """What runs goes on at the old one."""
        with self._lock:
            old, self._listener = self._listener, None
            if old is not None:
                self._leaving.append(old)
        if old is not None:
            _end(old)
        until = time.monotonic() + _RENEWAL_S
        while not self._is_closed:
            try:
                self._listen(self._port, is_free=False)
                return
            except StartupError as error:
                if time.monotonic() > until:
                    log.warning("rows go to other nodes over cluster_listen until port %d can be had again with the "
                                "new certificate: %s", self._port, error)  # fmt: skip
                    return
                time.sleep(0.05)

    def gauges(self) -> Mapping[str, float]:
        """For the node's metrics."""
        with self._lock:
            listeners = [*self._leaving, *([] if self._listener is None else [self._listener])]
        return {
            "fragments_fetched_total": self.channels.fetched_count,
            "fragments_not_fetched_total": self.channels.failed_count,
            "fragments_sent_total": sum(each.answered_count for each in listeners),
            "fragments_being_sent": sum(each.running_count for each in listeners),
        }

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            listeners = [*self._leaving, *([] if self._listener is None else [self._listener])]
            self._listener = None
        for each in listeners:
            each.give_up()
        self.channels.close()
        until = time.monotonic() + GRACE_S
        for ending in [_end(each) for each in listeners]:
            ending.join(max(until - time.monotonic(), 0))


def _end(listener: Listener) -> threading.Thread:
    """It takes no more. A daemon: gRPC waits for who does not read, and the end of the process does not."""
    ending = threading.Thread(target=listener.shutdown, name="fragments-end", daemon=True)
    ending.start()
    return ending
