"""Looks what others have agreed on, once for all who ask: who asks while a look is on its way shares the next one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from tsdb.errors import AdminShutdown


class Looking:
    """One thread, which is not there until somebody asks. Any thread may call."""

    def __init__(self, look: Callable[[], object]) -> None:
        """``look`` ends after a while, whatever happens."""
        self._look = look
        self._pool = ThreadPoolExecutor(1, "look")
        self._lock = threading.Lock()
        self._next: Future[None] | None = None
        self._closed = False

    def soon(self) -> Future[None]:
        """Done when a look has ended that began after this was called. Raises AdminShutdown."""
        with self._lock:
            if self._closed:
                raise AdminShutdown("the node stops")
            if self._next is None:
                self._next = self._pool.submit(self._run)
            return self._next

    def _run(self) -> None:
        with self._lock:
            self._next = None
        self._look()

    def close(self) -> None:
        """Nothing more is looked at. A look that is on its way ends when those end who agree."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
