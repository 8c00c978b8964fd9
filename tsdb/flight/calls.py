"""What runs at the moment: at most so many calls; those of clients that are gone are cancelled, and all at a stop."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from tsdb.errors import AdminShutdown, TooManyConnections

_LOOK_S = 0.1
GONE = "canceling statement because its client is gone"


class CallContext(Protocol):
    """What gRPC says of a call while it runs."""

    def is_cancelled(self) -> bool: ...


class Call:
    """One running DoGet or DoPut. ``cancel`` is told why; from any thread."""

    def __init__(self, calls: Calls, context: CallContext, cancel: Callable[[str], None]) -> None:
        self._calls = calls
        self.context = context
        self.cancel = cancel

    def leave(self) -> None:
        """It is over. May be called again; before gRPC lets go of the context."""
        self._calls.leave(self)


class Calls:
    """``limit`` calls at a time. Any thread may call."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.refused_count = 0
        self._lock = threading.Lock()
        self._running: set[Call] = set()
        self._stopping = threading.Event()
        self._watch = threading.Thread(target=self._look, name="flight-watch", daemon=True)

    def start(self) -> None:
        self._watch.start()

    def __len__(self) -> int:
        return len(self._running)

    def enter(self, context: CallContext, cancel: Callable[[str], None]) -> Call:
        """Raises TooManyConnections, AdminShutdown."""
        with self._lock:
            if self._stopping.is_set():
                raise AdminShutdown("the server is stopping")
            if len(self._running) >= self.limit:
                self.refused_count += 1
                raise TooManyConnections(
                    f"{self.limit} Flight streams are open, as many as are allowed",
                    hint="Try again later, or raise flight_streams_max.",
                )
            call = Call(self, context, cancel)
            self._running.add(call)
        return call

    def leave(self, call: Call) -> None:
        with self._lock:
            self._running.discard(call)

    def stop(self, why: str) -> None:
        """Cancel what runs and let nothing in."""
        self._stopping.set()
        for call in self._listed():
            call.cancel(why)

    def _listed(self) -> list[Call]:
        with self._lock:
            return list(self._running)

    def _look(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            for call in self._gone():
                call.cancel(GONE)

    def _gone(self) -> list[Call]:
        # With the lock: a call that has left has no context any more.
        with self._lock:
            return [call for call in self._running if call.context.is_cancelled()]


@contextlib.contextmanager
def running(call: Call) -> Iterator[None]:
    try:
        yield
    finally:
        call.leave()
