"""Clusters of ``tsdb start`` whose nodes are in network namespaces of their own."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from tests.fixtures.environment import ROOT, clean_environment
from tests.fixtures.server import Process, get
from tests.fixtures.waiting import PATIENCE_S, until
from tests.group.nodes import Nodes
from tests.namespaces.history import ASK_S
from tests.namespaces.network import Inside, Network
from tsdb.cluster.group.control import Request, Response

PLACES = (1, 2, 3)
R = TypeVar("R")


class Apart(Nodes):
    """Three of them, and the database ``shared``, which all of them have."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.network = Network(PLACES)
        self.hub = Inside(self.network.hub)

    def address(self, place: int) -> str:
        return self.network.address(place)

    def variables(self, place: int) -> dict[str, str]:
        return {**super().variables(place), "TSDB_REPLICA_CHECK_INTERVAL": "10s"}

    # Everything that has a connection is where its nodes are.

    def ask(self, place: int, request: Request) -> Response:
        return self.hub.call(super().ask, place, request)

    def command(self, *words: str, at: int | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.network.within(0), sys.executable, "-m", "tsdb", *words],
            env={**clean_environment(), **(self.variables(at) if at is not None else {})},
            cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip

    def start(self, place: int, *, join: int | None = None) -> Process:
        arguments = [] if join is None else ["--join", self.address(join)]
        within = self.network.within(place)
        process = Process(self.data(place), *arguments, within=within, **self.variables(place))
        self.running[place] = process
        return process

    def sql(self, place: int, text: str, database: str = "tsdb") -> list[tuple[Any, ...]]:
        def ask() -> list[tuple[Any, ...]]:
            url = self.running[place].pg_url.rpartition("/")[0] + f"/{database}"
            with psycopg.connect(url, connect_timeout=10, autocommit=True) as connection:
                cursor = connection.execute(text)
                return [] if cursor.description is None else cursor.fetchall()

        return self._at(place, ask)

    def metric(self, place: int, name: str) -> float:
        text = self._at(place, get, self.running[place].http_port, "/metrics")
        return float(next(x for x in text.splitlines() if x.startswith(f"{name} ")).split()[1])

    def _at(self, place: int, function: Callable[..., R], *arguments: object) -> R:
        inside = Inside(self.network.name(place))
        try:
            return inside.call(function, *arguments)
        finally:
            inside.close()

    def begin(self) -> None:
        super().begin()
        assert "3 replicas" in self.done("cluster", "replication", "3", at=2)
        self.sql(1, "CREATE DATABASE shared")
        until(lambda: self.post(1, "n v=0i 1") == 204)

    def end(self) -> None:
        super().end()
        self.hub.close()
        self.network.close()

    # As a client at a node, with a deadline

    def post(self, place: int, line: str) -> int:
        port = self.running[place].http_port

        def ask() -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ASK_S)
            with contextlib.closing(connection):
                connection.request("POST", "/write?db=shared", line.encode())
                response = connection.getresponse()
                response.read()
                return response.status

        return self._at(place, ask)

    def select(self, place: int, text: str) -> list[tuple[Any, ...]]:
        url = self.running[place].pg_url.rpartition("/")[0] + "/shared"

        async def ask() -> list[tuple[Any, ...]]:
            async with asyncio.timeout(ASK_S):
                async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                    return await (await connection.execute(text)).fetchall()

        return self._at(place, lambda: asyncio.run(ask()))

    def shared_leader(self, at: int = 0) -> int:
        """Of most locations of the database, as a node knows it."""
        text = "SELECT leader FROM tsdb.locations WHERE datname = 'shared' GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
        ((leader,),) = self.sql(at or min(self.running), text)
        return int(str(leader))
