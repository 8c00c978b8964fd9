"""Small writes that go as one: everybody gets the answer to his own lines, and nobody's are lost or doubled."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tsdb.clock import Clock, ManualClock
from tsdb.cluster.node import Node
from tsdb.http.app import create_app
from tsdb.http.options import HttpOptions
from tsdb.http.together import MIDDLE_BYTES, SMALL_BYTES, Size, Together
from tsdb.ingest.outcome import Outcome
from tsdb.ingest.write import WriteRequest
from tsdb.model.schema import LINE_PROTOCOL_TIME, ColumnDefinition, CreateDatabase, CreateSeries, Role, SetRetention
from tsdb.model.store import TIME_NS, ScanRequest
from tsdb.storage.options import Options
from tsdb.types import FLOAT8

NOW = 1_700_000_000_123_456_789


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node.open(tmp_path, Options(clock=ManualClock(NOW)))
    yield node
    node.close()


def write_all(
    node: Node, bodies: list[str], path: str = "/write?db=d", clock: Clock | None = None
) -> list[httpx.Response]:
    """All at the same time."""

    async def go() -> list[httpx.Response]:
        with ThreadPoolExecutor(2) as pool:
            app = create_app(node, clock or ManualClock(NOW), pool, HttpOptions())
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await asyncio.gather(*(client.post(path, content=body) for body in bodies))

    return asyncio.run(go())


def times(node: Node, name: str) -> list[int]:
    """The times of a series' points."""
    view = node.view()
    try:
        scan = view.scan(ScanRequest(view.catalog.find("d").find(name), (TIME_NS,)))
        return sorted(time for batch in scan.batches for time in batch.column(0).to_pylist())
    finally:
        view.close()


def test_many_at_once_are_few_ops_and_all_are_there(node: Node) -> None:
    answers = write_all(node, [f"m,w=w{i} f=1 {NOW + i}" for i in range(200)])
    assert {answer.status_code for answer in answers} == {204}
    assert times(node, "m") == [NOW + i for i in range(200)]
    assert node.engine.metrics()["ops_appended"] < 100


def test_middling_bodies_that_wait_go_together_and_each_is_answered_for_its_own(node: Node) -> None:
    def body(i: int) -> str:
        lines = [f"m,w=w{i} f={k} {NOW + 1000 * i + k}" for k in range(300)]
        return "\n".join(lines if i % 20 else [*lines, "m f=bad"])

    bodies = [body(i) for i in range(60)]
    assert all(SMALL_BYTES < len(each) < MIDDLE_BYTES for each in bodies)
    answers = write_all(node, bodies)
    assert [answer.status_code for answer in answers] == [204 if i % 20 else 400 for i in range(60)]
    assert times(node, "m") == [NOW + 1000 * i + k for i in range(60) for k in range(300)]
    before = node.engine.metrics()["ops_appended"]
    assert {answer.status_code for answer in write_all(node, [body(20 * i + 1) for i in range(60)])} == {204}
    assert node.engine.metrics()["ops_appended"] - before < 40


def test_each_gets_the_answer_to_his_own_lines_and_keyless_points_are_not_doubled(node: Node) -> None:
    columns = (LINE_PROTOCOL_TIME, ColumnDefinition("f", Role.FIELD, FLOAT8))
    node.change(CreateDatabase("d"), CreateSeries("d", "m", columns, keyed=False))
    node.change(SetRetention("d", "m", 3_600 * 10**9, None))
    kinds = {
        "m f=1 {time}": 204,
        "m f=1 {time}\nm f=2 {time}": 204,
        "m f=oops {time}": 400,
        "m f=1 {time}\nm f= {time}": 400,
        'm f="open {time}': 400,
        "m f=t {time}": 400,
        "m f=1 1": 400,
        "# nothing": 204,
    }
    chance = random.Random(3)
    for round_ in range(5):
        chosen = chance.choices(list(kinds), k=60)
        bodies = [kind.format(time=NOW + round_ * 1000 + i) for i, kind in enumerate(chosen)]
        answers = write_all(node, bodies)
        assert [answer.status_code for answer in answers] == [kinds[kind] for kind in chosen]
        for kind, answer in zip(chosen, answers, strict=True):
            assert ("oops" in answer.text) == ("oops" in kind)
            assert ("points beyond retention policy" in answer.text) == (kind == "m f=1 1")
        start = NOW + round_ * 1000
        good = Counter({start + i: kind.count("f=1 {") + kind.count("f=2") for i, kind in enumerate(chosen)})
        found = [time for time in times(node, "m") if start <= time < start + 1000]
        assert Counter(found) == +good


def test_a_string_left_open_does_not_take_in_anothers_line(node: Node) -> None:
    bodies = ['m f="a', 'b" 1', "n f=1 2"] * 20
    assert [answer.status_code for answer in write_all(node, bodies)] == [400, 400, 204] * 20
    assert times(node, "n") == [2]
    assert "m" not in node.catalog.find("d").series


def test_points_without_a_time_stay_apart(node: Node) -> None:
    class Ticking(ManualClock):
        """Never the same time twice."""

        def now_ns(self) -> int:
            return next(ticks)

    ticks = itertools.count(NOW)
    assert {answer.status_code for answer in write_all(node, ["m f=1"] * 50, clock=Ticking(NOW))} == {204}
    assert len(times(node, "m")) == 50


def test_databases_and_precisions_are_kept_apart(node: Node) -> None:
    async def go() -> None:
        with ThreadPoolExecutor(2) as pool:
            app = create_app(node, ManualClock(NOW), pool, HttpOptions())
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                paths = ["/write?db=d&precision=s", "/write?db=d", "/write?db=e"] * 20
                answers = await asyncio.gather(*(client.post(p, content=f"m f=1 {i}") for i, p in enumerate(paths)))
                assert {answer.status_code for answer in answers} == {204}

    asyncio.run(go())
    assert times(node, "m") == sorted([*(i * 10**9 for i in range(0, 60, 3)), *range(1, 60, 3)])


@pytest.mark.parametrize("senders", [2, 3])
def test_middling_writes_of_those_who_were_answered_go_together(senders: int, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    async def write(request: WriteRequest, body: bytes | bytearray, role: int, all_good: bool) -> Outcome:
        counts.append(body.count(b"\n") + 1)
        for _ in range(20):
            await asyncio.sleep(0)
        return Outcome(counts[-1])

    async def send(together: Together, number: int, writes: int) -> None:
        for at in range(writes):
            # As long as it takes to read a body: they come one after the other.
            for _ in range(5 * number + 5):
                await asyncio.sleep(0)
            await together.write(WriteRequest("d"), f"m f=1 {at}".encode(), 1, Size.MIDDLE)

    async def go() -> None:
        together = Together(write)
        with monkeypatch.context() as patient:
            patient.setattr("tsdb.http.together.LINGER_S", 600.0)
            # The first one begins alone.
            await asyncio.gather(*(send(together, number, 20 + (number == 0)) for number in range(senders)))
        assert counts == [1] + [senders] * 20
        counts.clear()
        # Who sends no more is not waited for again.
        await asyncio.gather(*(send(together, number, 5) for number in range(senders)), send(together, 0, 20))
        assert sum(counts) == 5 * senders + 20
        assert counts[-10:] == [1] * 10

    asyncio.run(go())


def test_what_breaks_a_write_of_many_is_told_to_each() -> None:
    async def write(request: WriteRequest, body: bytes | bytearray, role: int, all_good: bool) -> Outcome:
        await asyncio.sleep(0)
        if all_good:
            raise RuntimeError("broken")
        return Outcome(1)

    async def go() -> list[Outcome | BaseException]:
        together = Together(write)
        request = WriteRequest("d")
        return await asyncio.gather(*(together.write(request, b"m f=1 1", 1) for _ in range(4)), return_exceptions=True)

    assert [repr(each) for each in asyncio.run(go())] == ["RuntimeError('broken')"] * 4
