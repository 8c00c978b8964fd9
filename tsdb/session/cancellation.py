"""Cancelling what runs: from the event loop, while a worker thread reads.

One ``Cancellation`` belongs to one message of the client, so that a cancel that comes too late hits nothing; or to the
messages of the extended protocol from Parse or Bind to Execute, so that one that comes between them is not lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from tsdb.errors import QueryCanceled, TsdbError
from tsdb.sql.context import Cancellable


class Cancellation:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._target: Cancellable | None = None
        self._leaves: list[Callable[[], object]] = []

    def cancel(self, reason: str = "canceling statement due to user request") -> None:
        """Returns at once; what runs fails with QueryCanceled soon."""
        with self._lock:
            if self._reason is None:
                self._reason = reason
            target, leaves = self._target, list(self._leaves)
        for leave in leaves:
            leave()
        if target is not None:
            target.cancel()

    def watch(self, target: Cancellable | None) -> None:
        """What a cancel has to interrupt from now on."""
        with self._lock:
            self._target = target
            cancelled = self._reason is not None
        if cancelled and target is not None:
            target.cancel()

    def wait(self, leave: Callable[[], object]) -> None:
        """How what waits, for its turn or its client, gives up; there may be several that do."""
        with self._lock:
            self._leaves.append(leave)
            cancelled = self._reason is not None
        if cancelled:
            leave()

    def waited(self, leave: Callable[[], object]) -> None:
        """It waits no longer, if it did."""
        with self._lock:
            if leave in self._leaves:
                self._leaves.remove(leave)

    def is_cancelled(self) -> bool:
        return self._reason is not None

    def check(self) -> None:
        if self._reason is not None:
            raise QueryCanceled(self._reason)

    def restated(self, error: TsdbError) -> TsdbError:
        """A QueryCanceled with the reason that is known here."""
        return QueryCanceled(self._reason) if self._reason and isinstance(error, QueryCanceled) else error
