"""Rounds of reads that run on an event loop of their own: asked and heard there, over lines to the other nodes.

The thread that reads sends the question itself and hears the answer when it has read, so a round wakes nobody at the
node that asks; the group's event loop is another thread, and both need the interpreter. The rule and what is said are
those of other rounds (``rounds``). Each loop counts its own questions, and answers come back over the line that has
carried the question: what one has asked never counts for another.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tsdb.cluster.replicas.rounds import Replicas, Rounds, Told
from tsdb.cluster.transport.lines import Lines

STOP_S = 2.0

Arrived = Callable[[int, memoryview], None]


@dataclass(frozen=True, slots=True)
class _Asking:
    rounds: Rounds
    lines: Lines


class DirectRounds:
    """``open_lines`` gives lines of the running event loop, which hand what comes to the given."""

    def __init__(self, node: int, replicas: Replicas, open_lines: Callable[[Arrived], Lines]) -> None:
        self._node = node
        self._replicas = replicas
        self._open_lines = open_lines
        self._by_loop: dict[asyncio.AbstractEventLoop, _Asking] = {}
        self._stopped = False
        self._stopping: asyncio.Task[None] | None = None

    def begin(self, locations: Sequence[int], told: Told, *, follows: bool) -> bool:
        """As ``Rounds.begin``; the question is with the socket when it returns. False as well where no event loop runs
        in this thread, or it has no lines to a majority yet."""
        loop = _running_loop()
        if loop is None:
            return False
        asking = self._by_loop.get(loop) or self._asking_on(loop)
        return not self._stopped and asking.rounds.begin_here(locations, told, asking.lines.is_open, follows=follows)

    def _asking_on(self, loop: asyncio.AbstractEventLoop) -> _Asking:
        lines = self._open_lines(lambda peer, payload: rounds.arrived(peer, payload))
        rounds = Rounds(self._node, self._replicas, loop, lines.offer)
        for each in [*self._by_loop]:
            if each.is_closed():
                del self._by_loop[each]
        found = self._by_loop[loop] = _Asking(rounds, lines)
        return found

    def stop(self) -> None:
        """Close the lines. It waits for that, unless it is called on the event loop itself."""
        self._stopped = True
        for loop, asking in [*self._by_loop.items()]:
            if loop is _running_loop():
                self._stopping = loop.create_task(asking.lines.stop())
            elif loop.is_running():
                # A loop that ends just now has cancelled what ran on it.
                with contextlib.suppress(TimeoutError):
                    asyncio.run_coroutine_threadsafe(asking.lines.stop(), loop).result(STOP_S)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
