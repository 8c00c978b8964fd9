"""What makes a node wide: the router, views of all nodes, and the answers for others, wired."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, runtime_checkable

from tsdb.cluster.gate import Gate
from tsdb.cluster.led import Leaders, locations_in_range
from tsdb.cluster.metadata.agreement import Agreement
from tsdb.cluster.routing.again import or_again
from tsdb.cluster.routing.answering import Answering, Copies
from tsdb.cluster.routing.answering import Here as AnswersHere
from tsdb.cluster.routing.exchange import Exchange
from tsdb.cluster.routing.holding import hold
from tsdb.cluster.routing.home import Home
from tsdb.cluster.routing.map import RingMap
from tsdb.cluster.routing.router import PlainWrite, Router
from tsdb.cluster.routing.scatter import ScatterView
from tsdb.cluster.routing.shares import Share, series_of
from tsdb.leaving import here
from tsdb.model.refreshing import Held, Holding
from tsdb.model.schema import Database
from tsdb.model.store import Effect, Producer, View, Written
from tsdb.prompt import may_wait
from tsdb.storage.view import StorageView


@runtime_checkable
class Connected(Protocol):
    """An agreement whose nodes reach each other."""

    @property
    def exchange(self) -> Exchange: ...

    @property
    def copies(self) -> Copies: ...

    hints_waiting: Callable[[], int]
    """How many batches wait at this node for one that leads."""


class Wide:
    """``close`` after the agreement, which nothing comes through any more then."""

    def __init__(
        self, here: AnswersHere, agreement: Agreement, leaders: Leaders, node: int, connected: Connected
    ) -> None:
        self._here = here
        self.exchange = exchange = connected.exchange
        self.ring = RingMap(leaders, node)
        self.router = Router(here, self.ring, exchange, agreement, locations_in_range)
        self._answering = Answering(here, agreement, self.ring, connected.copies, lambda: connected.hints_waiting())
        exchange.answers = self._answering

    def view(self, view: StorageView, gate: Gate | None) -> View:
        return ScatterView(view, gate, self.ring, self.exchange)

    def commit(
        self, effects: Sequence[Effect], producer: Producer | None, acks: int, held: Held | None = None
    ) -> Future[Written]:
        may_wait()
        return self.router.commit(effects, producer, acks, held)

    def hold(self, database: Database, held: Held, counter: int | None) -> Holding:
        """At all who lead it, as ``Shared.hold``."""
        here = self._here
        return hold(self.exchange, self.ring, here.hold_here, here.catalog.version, held, counter, database.locations)

    def follow(self, first: Future[Written], plain: PlainWrite) -> Future[Written]:
        """A write that begins here, and goes on elsewhere if it could not: somebody else leads meanwhile."""
        return self.router.elsewhere(
            first,
            lambda: not all(self.ring.leads(part.location) for part in plain.parts),
            lambda: self.router.write_again(plain),
            plain.database.name if plain.producer is None else "",
        )

    def follow_commit(
        self,
        first: Future[Written],
        is_led: Callable[[], bool],
        effects: Sequence[Effect],
        producer: Producer | None,
        acks: int,
    ) -> Future[Written]:
        """As ``follow``. What rests on what was seen here is not done elsewhere."""
        rests = Share([*effects]).conditional
        is_left = here()
        known = self._here.catalog.series_by_number
        found = None if producer is not None or not effects else known.get(series_of(effects[0]).number)
        return self.router.elsewhere(
            first,
            lambda: not rests and not is_led(),
            lambda: self.router.commit_again(effects, producer, acks, is_left),
            "" if found is None else found[0].name,
        )

    def or_again(
        self, first: Future[Any], is_ready: Callable[[], bool], again: Callable[[], Future[Any]]
    ) -> Future[Any]:
        """See ``again.or_again``."""
        return or_again(self.exchange, first, is_ready, again)

    def check_writable(self, database: Database) -> None:
        """Raises CannotConnectNow where nobody leads: before the schema grows for a write."""
        for location in database.locations:
            self.ring.leader_of(location)

    def home(self, database: Database) -> Home:
        return Home(self.exchange, self.ring.home_of(database), database.number, self._here.catalog.version)

    def close(self) -> None:
        self._answering.close()


def wide_of(here: AnswersHere, agreement: Agreement, leaders: Leaders, node: int) -> Wide | None:
    """None for a node that reaches no other."""
    return Wide(here, agreement, leaders, node, agreement) if isinstance(agreement, Connected) else None
