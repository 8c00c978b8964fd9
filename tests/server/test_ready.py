"""When a server wants clients: with its kernels, and until it stops."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tsdb.config import load
from tsdb.server import Server


def test_a_server_is_ready_with_its_kernels_and_until_it_stops(tmp_path: Path) -> None:
    settings = {"data": tmp_path, "pg_port": 0, "http_port": 0, "flight_port": None, "disk_reserve": 0}

    async def run() -> None:
        server = Server(load({**settings, "warm_start": False}))
        assert server.obstacle(True) == "kernels are being compiled"
        await server.start()
        assert server.obstacle(True) is None
        assert server.obstacle(False) is None
        await server.stop()
        assert server.obstacle(True) == "the server is stopping"

    asyncio.run(run())
