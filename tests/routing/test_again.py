"""What is done anew since its database becomes replicated meanwhile: ``tsdb.cluster.routing.again``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, cast

import pytest

from tsdb.cluster.routing.again import or_again
from tsdb.cluster.routing.exchange import Exchange
from tsdb.errors import CannotConnectNow
from tsdb.storage.checks import ReplicatedNow


class OnALoop:
    """As much of an ``Exchange`` as is asked for."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    found = OnALoop()
    yield cast(Exchange, found)
    found.close()


def done(result: object) -> Future[Any]:
    future: Future[Any] = Future()
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
    return future


def test_only_what_was_not_done_since_it_is_replicated_is_done_again_and_when_that_is_so(exchange: Exchange) -> None:
    ready, looked = threading.Event(), threading.Event()

    def is_ready() -> bool:
        looked.set()
        return ready.is_set()

    assert or_again(exchange, done("first"), is_ready, lambda: done("second")).result(10) == "first"
    with pytest.raises(CannotConnectNow, match="nobody"):
        or_again(exchange, done(CannotConnectNow("nobody")), is_ready, lambda: done("second")).result(10)
    assert not looked.is_set()
    again = or_again(exchange, done(ReplicatedNow("now")), is_ready, lambda: done("second"))
    assert looked.wait(10)
    assert not again.done()
    ready.set()
    assert again.result(10) == "second"


def test_who_gives_up_waiting_does_not_undo_what_is_under_way(
    exchange: Exchange, caplog: pytest.LogCaptureFixture
) -> None:
    first: Future[Any] = Future()
    answer = or_again(exchange, first, lambda: True, lambda: done("second"))
    assert not answer.cancel()
    first.set_result("first")
    assert answer.result(10) == "first"
    assert not caplog.records
