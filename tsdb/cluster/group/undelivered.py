"""A node is not removed while batches wait there for one that leads: nobody else has them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from tsdb.cluster.routing.exchange import Exchange, NoAnswer
from tsdb.cluster.routing.messages import LookAtHints, Values
from tsdb.errors import ObjectInUse, TsdbError
from tsdb.storage.engine import Engine

ANSWER_S = 2.0


class Asking(Protocol):
    """The part of ``group.Group`` that is needed here, on its event loop."""

    engine: Engine
    exchange: Exchange

    hints_waiting: Callable[[], int]

    def answers(self, node: int) -> bool: ...


async def check_delivered(group: Asking, node: int) -> None:
    """Raises ObjectInUse. Of a node that is not connected nobody knows: it may be lost for good."""
    count = await _asked(group, node)
    if count:
        batches = "a numbered batch waits" if count == 1 else f"{count} numbered batches wait"
        raise ObjectInUse(
            f"at node {node} {batches} to be stored",
            hint="They are stored when nodes lead their databases (tsdb.hints, at that node): remove it then, "
            "or say --accept-loss: the files stay in its directory, under hints, and nobody stores them.",
        )


async def _asked(group: Asking, node: int) -> int:
    if node == group.engine.node:
        return await asyncio.get_running_loop().run_in_executor(None, group.hints_waiting)
    if not group.answers(node):
        return 0
    try:
        reply = await group.exchange.ask(node, LookAtHints(), seconds=ANSWER_S)
    except (TsdbError, NoAnswer) as error:
        raise _unknown(node, str(error)) from error
    if not (isinstance(reply, Values) and reply.numbers):
        raise _unknown(node, "it answered something else")
    return reply.numbers[0]


def _unknown(node: int, why: str) -> ObjectInUse:
    return ObjectInUse(
        f"whether batches wait at node {node} to be stored is not known: {why}",
        hint="Try again, or say --accept-loss: what waits there stays in its directory, under hints, and nobody "
        "stores it. Of a node that is stopped this is not asked.",
    )
