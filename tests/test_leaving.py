"""Who waits for another node leaves with its statement: ``tsdb.leaving``."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future

import pytest

from tsdb.errors import QueryCanceled
from tsdb.leaving import Statement, here, never, result_of


def test_who_waits_leaves_when_its_statement_is_cancelled() -> None:
    cancelled = threading.Event()
    threading.Timer(0.1, cancelled.set).start()
    began = time.monotonic()
    with Statement(cancelled.is_set), pytest.raises(QueryCanceled):
        result_of(Future(), 20.0)
    assert time.monotonic() - began < 10


def test_a_statement_that_goes_on_gets_what_it_waits_for_or_waits_as_long_as_it_may() -> None:
    late: Future[int] = Future()
    threading.Timer(0.15, late.set_result, (7,)).start()
    failed: Future[int] = Future()
    failed.set_exception(TimeoutError("its own"))
    with Statement(lambda: False):
        assert result_of(late) == 7
        with pytest.raises(TimeoutError, match="its own"):
            result_of(failed)
        with pytest.raises(TimeoutError):
            result_of(Future(), 0.12)


def test_a_statement_is_of_its_thread_and_ends() -> None:
    found = []
    with Statement(lambda: True):
        assert here()()
        thread = threading.Thread(target=lambda: found.append(here()))
        thread.start()
        thread.join()
    assert found == [never]
    assert here() is never
