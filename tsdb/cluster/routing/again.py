"""Writes that came for a log that was one node's alone, and is that no more: done anew, the way of shared databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from tsdb.cluster.routing.exchange import Exchange
from tsdb.errors import AdminShutdown, CannotConnectNow, TsdbError
from tsdb.storage.checks import ReplicatedNow

WAIT_S = 10.0
"""How long a numbered batch waits until its database is shared."""
FIRST_LOOK_S, LOOK_S = 0.005, 0.1


def or_again(
    exchange: Exchange, first: Future[Any], is_ready: Callable[[], bool], again: Callable[[], Future[Any]]
) -> Future[Any]:
    """``first``, unless nothing of it was done since its database becomes shared: then ``again``, in a thread of its
    own, when ``is_ready``."""
    done: Future[Any] = Future()
    # Who gives up waiting does not undo what is under way.
    done.set_running_or_notify_cancel()

    def told(ended: Future[Any]) -> None:
        error = None if ended.cancelled() else ended.exception()
        if not isinstance(error, ReplicatedNow):
            _copy(ended, done)
            return
        try:
            exchange.run(_when(is_ready, again)).add_done_callback(lambda found: _copy(found, done))
        except TsdbError as stopped:
            done.set_exception(stopped)

    first.add_done_callback(told)
    return done


async def _when(is_ready: Callable[[], bool], again: Callable[[], Future[Any]]) -> Any:
    loop = asyncio.get_running_loop()
    end, pause = loop.time() + WAIT_S, FIRST_LOOK_S
    while not is_ready():
        if loop.time() > end:
            raise CannotConnectNow("a database that is being replicated is not ready for this", hint="Try again.")
        await asyncio.sleep(pause)
        pause = min(2 * pause, LOOK_S)
    return await asyncio.wrap_future(await loop.run_in_executor(None, again))


def _copy(ended: Future[Any], to: Future[Any]) -> None:
    """To one who waits, also when what has ended was cancelled."""
    error = AdminShutdown("the node stops") if ended.cancelled() else ended.exception()
    if error is None:
        to.set_result(ended.result())
    else:
        to.set_exception(error)
