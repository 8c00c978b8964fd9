"""Which nodes only wait until they can begin with what they are to have: they are asked if others wait behind them."""

from __future__ import annotations

import asyncio
from typing import Protocol

from tsdb.cluster.metadata.state import State
from tsdb.cluster.replicas.copying import Copying
from tsdb.cluster.replicas.moving import Waiting, coming_back
from tsdb.cluster.routing.exchange import Exchange, NoAnswer
from tsdb.cluster.routing.messages import LookAtWaiting, Values
from tsdb.errors import TsdbError
from tsdb.storage.engine import Engine

ANSWER_S = 2.0


class Asking(Protocol):
    """The part of ``group.Group`` that is needed here, on its event loop."""

    engine: Engine
    exchange: Exchange
    copies: Copying

    @property
    def state(self) -> State: ...

    def answers(self, node: int) -> bool: ...


async def waiting(group: Asking) -> Waiting:
    """Of who does not say so nothing: it counts as one that comes."""
    nodes = [node for node in coming_back(group.state) if group.answers(node)]
    found = await asyncio.gather(*(_asked(group, node) for node in nodes))
    return dict(zip(nodes, found, strict=True))


async def _asked(group: Asking, node: int) -> frozenset[int]:
    if node == group.engine.node:
        return frozenset(await asyncio.get_running_loop().run_in_executor(None, group.copies.waiting))
    try:
        reply = await group.exchange.ask(node, LookAtWaiting(), seconds=ANSWER_S)
    except (TsdbError, NoAnswer):
        return frozenset()
    return frozenset(reply.numbers if isinstance(reply, Values) else ())
