"""Holding a continuous view for a refresh at all nodes that lead locations of its database. It blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from tsdb.cluster.routing.exchange import Exchange, NoAnswer
from tsdb.cluster.routing.map import RingMap, by_node
from tsdb.cluster.routing.messages import HoldView, NotLeader, Reply, Values
from tsdb.errors import CannotConnectNow, InternalError
from tsdb.model.refreshing import Held, Holding
from tsdb.model.ring import Location
from tsdb.prompt import may_wait

HoldHere = Callable[[Held, int | None, Sequence[int]], Holding]


def hold(
    exchange: Exchange,
    ring: RingMap,
    here: HoldHere,
    catalog: int,
    held: Held,
    counter: int | None,
    locations: Sequence[Location],
) -> Holding:
    """At all leaders, as ``Shared.hold`` at one. Raises CannotConnectNow."""
    may_wait()
    nodes = by_node(locations, ring.leader_of)
    asked: list[Future[Reply]] = []
    for node, led in nodes.items():
        if node != ring.node:
            question = HoldView(catalog, (held.view, held.ticket), counter, ring.led(led))
            asked.append(exchange.run(exchange.ask(node, question)))
    found = []
    if ring.node in nodes:
        found.append(here(held, counter, [each.number for each in nodes[ring.node]]))
    for answer in asked:
        try:
            found.append(_told(answer.result()))
        except NoAnswer as error:
            raise CannotConnectNow(str(error), hint="Try again.") from None
    return joined(found)


def joined(found: Sequence[Holding]) -> Holding:
    """Of several nodes."""
    return Holding(
        max(each.counter for each in found),
        tuple(sorted(epoch for each in found for epoch in each.epochs)),
        tuple(sorted(applied for each in found for applied in each.applied)),
    )


def reply_of(holding: Holding) -> Values:
    numbers = [holding.counter]
    for (location, epoch), (_, applied) in zip(holding.epochs, holding.applied, strict=True):
        numbers += location, epoch, applied
    return Values(tuple(numbers))


def _told(reply: Reply) -> Holding:
    if isinstance(reply, NotLeader):
        raise CannotConnectNow(
            f"another node leads location {reply.location} than was known here a moment ago", hint="Try again."
        )
    if not isinstance(reply, Values) or len(reply.numbers) % 3 != 1:
        raise InternalError(f"a view is not held by {reply}")
    locations, epochs, applied = (reply.numbers[at::3] for at in (1, 2, 3))
    return Holding(
        reply.numbers[0], tuple(zip(locations, epochs, strict=True)), tuple(zip(locations, applied, strict=True))
    )
