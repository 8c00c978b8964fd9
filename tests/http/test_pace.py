"""Which bodies the event loop stores by itself: short ones that need not wait, and none after one that took long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tsdb import prompt
from tsdb.clock import ManualClock
from tsdb.cluster.node import Node
from tsdb.http.app import create_app
from tsdb.http.options import HttpOptions
from tsdb.http.pace import LONG_S, SHORT_S, SKIPS_MAX, SKIPS_MIN, Pace
from tsdb.ingest.lineprotocol import parse
from tsdb.model.store import TIME_NS, ScanRequest
from tsdb.storage.options import Options

SIZE = 1000


def busy(seconds: float) -> Callable[[], str]:
    def work() -> str:
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
        return "done"

    return work


def test_the_first_of_a_length_goes_to_a_thread_and_short_ones_after_it_do_not() -> None:
    pace = Pace()
    assert pace.at_once(SIZE, busy(0)) is None
    assert pace.measured(SIZE, busy(0)) == "done"
    assert pace.at_once(SIZE, busy(0)) == "done"
    assert pace.at_once(100 * SIZE, busy(0)) is None


def test_a_length_that_takes_its_time_goes_to_a_thread_until_it_is_short_again() -> None:
    pace = Pace()
    pace.measured(SIZE, busy(SHORT_S))
    assert pace.at_once(SIZE, busy(0)) is None
    pace.measured(SIZE, busy(0))
    assert pace.at_once(SIZE, busy(0)) == "done"


def skipped(pace: Pace) -> int:
    """How many do not go at once until one does."""
    count = 0
    while pace.at_once(SIZE, busy(0)) is None:
        pace.measured(SIZE, busy(0))
        count += 1
    return count


def test_one_that_took_long_or_would_have_to_wait_sends_others_to_a_thread_more_each_time() -> None:
    def wait() -> None:
        prompt.may_wait()
        raise AssertionError("it waits")

    for slow in (busy(LONG_S), wait):
        pace = Pace()
        pace.measured(SIZE, busy(0))
        found = []
        for _ in range(7):
            pace.at_once(SIZE, slow)
            pace.measured(SIZE, busy(0))
            found.append(skipped(pace))
        assert found[0] == SKIPS_MIN
        assert found == sorted(found)
        assert SKIPS_MAX - 8 <= found[-1] <= SKIPS_MAX


def test_what_is_wrong_is_raised_and_the_thread_may_wait_again() -> None:
    def wrong() -> None:
        raise ValueError("wrong")

    pace = Pace()
    pace.measured(SIZE, busy(0))
    with pytest.raises(ValueError, match="wrong"):
        pace.at_once(SIZE, wrong)
    prompt.may_wait()


class CountingPool(ThreadPoolExecutor):
    submitted = 0

    def submit(self, *arguments: Any, **named: Any) -> Future[Any]:
        self.submitted += 1
        return super().submit(*arguments, **named)


def test_writes_that_need_no_schema_are_stored_without_a_thread_and_full_memory_is_waited_for_in_one(
    tmp_path: Path,
) -> None:
    node = Node.open(tmp_path, Options(clock=ManualClock(1)))

    async def go() -> tuple[int, int]:
        with CountingPool(2) as pool:
            app = create_app(node, ManualClock(1), pool, HttpOptions())
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:

                async def write(body: str) -> None:
                    assert (await client.post("/write?db=d", content=body)).status_code == 204

                for i in range(20):
                    await write(f"m f={i} {1000 + i}")
                steady = pool.submitted
                # A new column is a change of the schema, which is waited for.
                for i in range(5):
                    await write(f"m f{i}={i} {2000 + i}")
                return steady, pool.submitted - steady

    try:
        steady, changes = asyncio.run(go())
        assert steady < 10
        assert changes == 5
        view = node.view()
        scan = view.scan(ScanRequest(view.catalog.find("d").find("m"), (TIME_NS,)))
        assert sum(batch.num_rows for batch in scan.batches) == 25
        view.close()
    finally:
        node.close()


@pytest.mark.parametrize(
    "body",
    [
        b"".join(b"m%x f=1 1\n" % i for i in range(3000)),
        b"".join(b"m,t%x=1 f=1 1\n" % i for i in range(3000)),
        b"".join(b"m f%x=1 1\n" % i for i in range(3000)),
        b"".join(b"m%x f=1 1\n" % (i % 40) for i in range(3000)),
        b"m f=1.%b1 1\n" % (b"9" * 100_000),
        b"".join(b"m,t%x=1 f=1 1\n" % i for i in range(30_000)),
        b"".join(b"m f%x=1 1\n" % i for i in range(45_000)),
    ],
    ids=["measurements", "tags", "fields", "few measurements", "long number", "many tags", "many fields"],
)
def test_a_short_body_that_would_last_is_given_up_after_its_walk(body: bytes) -> None:
    parse(body[:600], now_ns=0)
    begin = time.thread_time()
    with pytest.raises(prompt.MayWait), prompt.Run(0):
        parse(body, now_ns=0)
    assert time.thread_time() - begin < 0.05
    with prompt.Run(0):
        assert parse(b"m,host=a f=1,g=2i 1\n", now_ns=0).row_count == 1
