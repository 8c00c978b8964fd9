"""What a cancel reaches: everything of its message that runs or waits, and nothing after it."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from tsdb.errors import QueryCanceled
from tsdb.session.cancellation import Cancellation


def test_all_that_wait_for_one_message_give_up() -> None:
    cancellation = Cancellation()
    sending, making = Future[None](), Future[None]()
    cancellation.wait(sending.cancel)
    cancellation.wait(making.cancel)
    cancellation.cancel()
    assert sending.cancelled()
    assert making.cancelled()
    with pytest.raises(QueryCanceled):
        cancellation.check()


def test_what_waits_no_longer_is_left_alone() -> None:
    cancellation = Cancellation()
    sent, making = Future[None](), Future[None]()
    cancellation.wait(sent.cancel)
    cancellation.wait(making.cancel)
    cancellation.waited(sent.cancel)
    cancellation.cancel()
    assert not sent.cancelled()
    assert making.cancelled()


def test_what_begins_to_wait_after_the_cancel_gives_up_at_once() -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    late = Future[None]()
    cancellation.wait(late.cancel)
    assert late.cancelled()
