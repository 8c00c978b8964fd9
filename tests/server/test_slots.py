"""A wish for slots that whoever had it did not settle is settled by the server, or dropped before its time comes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fixtures.waiting import PATIENCE_S
from tsdb.clock import ManualClock
from tsdb.config import load
from tsdb.ingest.faults import Limits
from tsdb.ingest.write import WriteRequest, submit
from tsdb.model.ring import Slots
from tsdb.model.schema import SetSlots
from tsdb.model.time import BUCKET_NS
from tsdb.server import upkeep
from tsdb.server.server import Server

START = 1_700_000_000 * 10**9
BEGIN = START // BUCKET_NS + 2


@pytest.mark.parametrize(
    ("lines", "left_ns", "slots"),
    [
        ("m f=1 {start}", 2 * BUCKET_NS, (Slots(BEGIN, 3),)),
        ("m f=1 {begin}", 2 * BUCKET_NS, ()),
        ("m f=1 {start}", int(upkeep.SLOTS_SECONDS * 1e9), ()),
    ],
    ids=["settled", "refused", "too late"],
)
def test_a_wish_comes_to_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, left_ns: int, slots: tuple[Slots, ...]
) -> None:
    monkeypatch.setattr(upkeep, "TICK_SECONDS", 0.01)
    clock = ManualClock(BEGIN * BUCKET_NS - left_ns)

    async def run() -> None:
        server = Server(load({"data": tmp_path, "pg_port": 0, "http_port": 0}), clock)
        await server.start()
        try:
            sent = lines.format(start=START, begin=BEGIN * BUCKET_NS).encode()
            for future in submit(server.node, WriteRequest("tsdb"), sent, START, Limits(), True).futures:
                future.result()
            server.node.change(SetSlots("tsdb", "m", 8, BEGIN))
            await asyncio.sleep(0.1)
            found = server.node.catalog.find("tsdb").find("m")
            assert found.slots == (Slots(BEGIN, 3, settled=False),), "whoever has a wish has time to settle it"
            clock.time_ns += int(upkeep.SLOTS_SECONDS * 1e9)
            async with asyncio.timeout(PATIENCE_S):
                while not all(each.settled for each in server.node.catalog.find("tsdb").find("m").slots):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            found = server.node.catalog.find("tsdb").find("m")
            assert tuple(replace(each, counter=0) for each in found.slots) == slots
        finally:
            await server.stop()

    asyncio.run(run())
