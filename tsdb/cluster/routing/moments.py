"""What a view of several nodes sees: a moment of this node, and the views that are open at others.

A statement reads one view of each node from its first scan there to its last; nodes are looked at when they are first
asked, so a statement's views of two nodes may be some milliseconds apart. Who holds the moment holds the views.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Sequence

import numpy as np

from tsdb.cluster.routing.exchange import Exchange
from tsdb.cluster.routing.messages import CloseViews, Looks, Newness, Opened, OpenView
from tsdb.errors import InternalError, QueryCanceled
from tsdb.leaving import result_of
from tsdb.model.points import Int64s
from tsdb.model.store import Free, Moment

_numbers = itertools.count(1)


class RemoteViews:
    """The views of other nodes that belong to one view here, by node; they are closed when nobody holds this."""

    def __init__(self, exchange: Exchange, catalog: int, newness: Callable[[], Newness]) -> None:
        self._exchange = exchange
        self._newness = newness
        self._catalog = catalog
        self._lock = threading.Lock()
        self._open: dict[int, tuple[int, int]] = {}

    def looks(self, node: int) -> Looks:
        """The view of a node, opened if it is the first time. Raises CannotConnectNow, NoAnswer."""
        with self._lock:
            found = self._open.get(node)
            if found is None:
                if not self._open:
                    # Most statements look at no other node.
                    weakref.finalize(self, _close, self._exchange, self._open)
                number = next(_numbers)
                question = OpenView(Looks(number, False, self._catalog), self._newness())
                asked = self._exchange.run(self._exchange.ask(node, question, seconds=OPEN_S))
                try:
                    reply = result_of(asked)
                except QueryCanceled:
                    # It may be opened yet, when nobody wants it.
                    asked.add_done_callback(lambda _: _close(self._exchange, {node: (number, 0)}))
                    raise
                if not isinstance(reply, Opened):
                    raise InternalError(f"a view is not opened by {reply}")
                found = self._open[node] = (number, reply.counter)
        return Looks(found[0], True, self._catalog)

    def view_at(self, node: int) -> int | None:
        found = self._open.get(node)
        return None if found is None else found[0]

    def counter_at(self, node: int) -> int:
        """Up to which counter its versions are seen; 0: nothing of it was looked at."""
        found = self._open.get(node)
        return 0 if found is None else found[1]


OPEN_S = 10.0


def _close(exchange: Exchange, opened: dict[int, tuple[int, int]]) -> None:
    for node, (number, _) in opened.items():
        exchange.soon(exchange.tell_soon, node, CloseViews((number,)))


class ScatterMoment(Moment):
    """A moment of this node, which it holds, and those of other nodes."""

    __slots__ = ("_own", "views")

    def __init__(self, own: Moment, views: RemoteViews) -> None:
        super().__init__(own.number, own.counter)
        self._own = own
        self.views = views


def views_at(moments: Sequence[Moment], node: int) -> tuple[int, ...]:
    """A node's views that belong to moments."""
    found = [moment.views.view_at(node) for moment in moments if isinstance(moment, ScatterMoment)]
    return tuple(number for number in found if number is not None)


def since_at(free: Free, node: int) -> Int64s:
    """Up to which counters of a node the statement looked, for each of its points (``Free.since``)."""
    counters: dict[int, int] = {}
    for moment in free.moments:
        there = moment.views.counter_at(node) if isinstance(moment, ScatterMoment) else 0
        # Of two views that look alike from here the older one is meant: then too much is looked at, never too little.
        counters[moment.counter] = min(counters.get(moment.counter, there), there)
    found: Int64s = free.since.copy()
    for value in np.unique(free.since[free.since >= 0]).tolist():
        found[free.since == value] = counters.get(value, 0)
    return found
