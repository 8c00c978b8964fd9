"""A server lets go of points that are older than their series' retention, by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.fixtures.waiting import PATIENCE_S
from tsdb.clock import ManualClock
from tsdb.cluster.node import Node
from tsdb.config import load
from tsdb.ingest.faults import Limits
from tsdb.ingest.write import WriteRequest, submit
from tsdb.model.schema import SetRetention
from tsdb.model.store import ScanRequest
from tsdb.server import upkeep
from tsdb.server.server import Server

HOUR = 3600 * 10**9
START = 1_700_000_000 * 10**9


def _rows(node: Node) -> int:
    view = node.view()
    try:
        scan = view.scan(ScanRequest(view.catalog.find("tsdb").find("m"), ()))
        return sum(batch.num_rows for batch in scan.batches)
    finally:
        view.close()


def test_points_go_when_time_passes_their_retention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "RETENTION_SECONDS", 0.01)
    monkeypatch.setattr(upkeep, "TICK_SECONDS", 0.01)
    clock = ManualClock(START)

    async def run() -> None:
        server = Server(load({"data": tmp_path, "pg_port": 0, "http_port": 0}), clock)
        await server.start()
        try:
            lines = f"m f=1 {START}\nm f=2 {START + 2 * HOUR}".encode()
            for future in submit(server.node, WriteRequest("tsdb"), lines, START, Limits(), True).futures:
                future.result()
            server.node.change(SetRetention("tsdb", "m", HOUR))
            assert _rows(server.node) == 2
            clock.time_ns = START + 2 * HOUR
            async with asyncio.timeout(PATIENCE_S):
                while _rows(server.node) == 2:  # noqa: ASYNC110 (the product says nothing of it)
                    await asyncio.sleep(0.01)
            assert _rows(server.node) == 1
            assert server.node.catalog.find("tsdb").find("m").floor_ns == START + HOUR
        finally:
            await server.stop()

    asyncio.run(run())
