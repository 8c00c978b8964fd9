"""The committer's thread."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Sequence

from tsdb.storage.committer import Committer, Pending


class Work:
    """An append, as far as the committer looks at it."""


def _answer(group: Sequence[Pending[Work]]) -> None:
    for pending in group:
        pending.future.set_result(None)


def test_what_was_committed_is_not_held_while_the_next_is_awaited() -> None:
    committer: Committer[Work] = Committer(
        _answer,
        lambda: None,
        lambda: None,
        lambda reason: None,
        memory_bytes=1 << 20,
        queue_bytes=1 << 20,
        group_bytes=1 << 20,
        write_wait=1.0,
        tick_seconds=3600.0,
    )
    committer.start()
    work = Work()
    seen = weakref.ref(work)
    gc.disable()
    try:
        committer.submit(work, 10).result(10)
        del work
        deadline = time.monotonic() + 60
        while seen() is not None:
            assert time.monotonic() < deadline, "the committer holds what it has committed"
            time.sleep(0.01)
    finally:
        gc.enable()
        committer.close()
