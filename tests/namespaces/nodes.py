"""Clusters of ``tsdb start`` whose nodes are in network namespaces of their own, with disks and clocks of their own."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from tests.fixtures.environment import ROOT, clean_environment
from tests.fixtures.preloaded import compiled
from tests.fixtures.server import Process, get
from tests.fixtures.waiting import PATIENCE_S, until
from tests.group.nodes import Nodes
from tests.namespaces.clients import ASK_S, FAILED
from tests.namespaces.disks import Disk
from tests.namespaces.history import BOUNDED, LINEARIZABLE, SESSION, STALENESS_S
from tests.namespaces.network import Inside, Network
from tsdb.cluster.group.control import Request, Response

PLACES = (1, 2, 3)
SPARE = 4
R = TypeVar("R")


class Apart(Nodes):
    """Three of them, and room for a fourth; and the database ``shared``, which three of them have."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.network = Network((*PLACES, SPARE))
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
            env={**clean_environment(), **(Apart.variables(self, at) if at is not None else {})},
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
        until(self._takes_writes)

    def _takes_writes(self) -> bool:
        """A first write may wait for kernels that are compiled."""
        try:
            return self.post(1, "n v=0i 1")[0] == 204
        except OSError:
            return False

    def end(self) -> None:
        super().end()
        self.hub.close()
        self.network.close()

    # As a client at a node, with a deadline

    def post(self, place: int, line: str) -> tuple[int, str]:
        port = self.running[place].http_port

        def ask() -> tuple[int, str]:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ASK_S)
            with contextlib.closing(connection):
                connection.request("POST", "/write?db=shared", line.encode())
                response = connection.getresponse()
                response.read()
                return response.status, response.headers.get("X-Tsdb-Token", "")

        return self._at(place, ask)

    def select(
        self, place: int, text: str, level: str = LINEARIZABLE, tokens: Sequence[str] = ()
    ) -> tuple[list[tuple[Any, ...]], str]:
        url = self.running[place].pg_url.rpartition("/")[0] + "/shared"
        settings = [f"SET tsdb.read_level = '{level}'"] if level != LINEARIZABLE else []
        settings += [f"SET tsdb.read_staleness = '{STALENESS_S:g}s'"] if level == BOUNDED else []
        settings += [f"SET tsdb.read_token = '{token}'" for token in tokens if token]

        async def ask() -> tuple[list[tuple[Any, ...]], str]:
            async with asyncio.timeout(ASK_S):
                async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                    for each in settings:
                        await connection.execute(each.encode())
                    rows = await (await connection.execute(text.encode())).fetchall()
                    if level != SESSION:
                        return rows, ""
                    ((token,),) = await (await connection.execute("SHOW tsdb.read_token")).fetchall()
                    return rows, token

        return self._at(place, lambda: asyncio.run(ask()))

    def numbers(self, place: int) -> list[int]:
        """All points, as soon as a linearizable read gives them: after a start there may be no leader yet."""

        def look() -> tuple[list[int]] | None:
            try:
                rows, _ = self.select(place, "SELECT v FROM n")
            except FAILED:
                return None
            return ([int(str(value)) for (value,) in rows],)

        found = until(look)
        assert found is not None
        return found[0]

    def shared_leader(self, at: int = 0) -> int:
        """Of most locations of the database, as a node knows it."""
        text = "SELECT leader FROM tsdb.locations WHERE datname = 'shared' GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
        ((leader,),) = self.sql(at or min(self.running), text)
        return int(str(leader))

    def level(self) -> bool:
        """All have applied the same."""
        return len({self.metric(place, "tsdb_replica_sequences_applied") for place in self.running}) == 1


class Machines(Apart):
    """Each node has a disk of its own, and a clock; a disk may be slow, full or without power, a clock wrong."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        here = Path(__file__).parent
        sources = (here.parent / "system" / "slow_fsync.c", here / "wrong_clock.c")
        libraries = [compiled(each, folder) for each in sources]
        self.libraries = ":".join(str(each) for each in libraries if each is not None)
        """None where there is no compiler."""
        self.wrong_clocks: list[tuple[float, float]] = []
        """From when to when somebody may rest on a time that was wrong."""
        self.disks: dict[int, Disk] = {}
        for place in (*PLACES, SPARE):
            self.slow_fsync(place, 0)
            self._clock(place).write_bytes(bytes(8))

    def begin(self) -> None:
        for place in (*PLACES, SPARE):
            self.disks[place] = Disk(self.folder / f"disk{place}", self.data(place))
        super().begin()

    def end(self) -> None:
        try:
            super().end()
        finally:
            for disk in self.disks.values():
                disk.close()

    def _clock(self, place: int) -> Path:
        return self.folder / f"clock{place}"

    def _slowness(self, place: int) -> Path:
        return self.folder / f"fsync{place}"

    def variables(self, place: int) -> dict[str, str]:
        return {
            **super().variables(place),
            "LD_PRELOAD": self.libraries,
            "SLOW_FSYNC": str(self._slowness(place)),
            "WRONG_CLOCK": str(self._clock(place)),
        }

    def slow_fsync(self, place: int, ms: int) -> None:
        """Each one takes so much longer."""
        self._slowness(place).write_text(f"{ms}\n")

    def set_clock(self, place: int, ahead_s: float) -> None:
        with open(self._clock(place), "r+b") as file:
            file.write(struct.pack("q", round(ahead_s * 1e9)))

    def clock_was_wrong(self, since: float, by_s: float) -> None:
        """Until now: what was promised by it may be so much in the future."""
        self.wrong_clocks.append((since, time.monotonic() + by_s))

    def cut_power(self, places: Sequence[int]) -> None:
        """All at once, as far as that can be."""
        for place in places:
            self.disks[place].cut_power()
        for place in places:
            self.kill(place)
        for place in places:
            self.disks[place].restore_power()

    def start_again(self, place: int) -> None:
        """As whoever supervises it does when it has ended."""
        process = self.running.get(place)
        if process is not None and process.popen.poll() is not None:
            self.kill(place)
        if place not in self.running:
            self.start(place)
