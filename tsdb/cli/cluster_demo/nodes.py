"""Three nodes of one cluster on 127.0.0.1, each a process with a directory, certificates and ports of its own."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from tsdb.cli.cert import AUTHORITY, write_pair
from tsdb.errors import StartupError, TsdbError

if TYPE_CHECKING:
    from tsdb.cluster.group.control import Request, Response

HOST = "127.0.0.1"
COUNT = 3
DAYS = 30
# Below those that the system gives to connections by itself: nobody takes one while its node is down.
_FIRST_PORT, _END_PORT = 20_000, 32_000
_PORT_TRIES = 1_000
_STOP_S = 10.0
ANSWER_S = 10.0


@dataclass(slots=True)
class DemoNode:
    """One of the three; ``number`` is its number in the cluster, too, since they join one after the other."""

    number: int
    data: Path
    cluster_port: int
    pg_port: int
    http_port: int
    process: subprocess.Popen[str] | None = None

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def address(self) -> str:
        """For the other nodes."""
        return f"{HOST}:{self.cluster_port}"

    @property
    def log(self) -> Path:
        return self.data.with_suffix(".log")

    @property
    def is_up(self) -> bool:
        return self.process is not None

    def pg_url(self, database: str) -> str:
        return f"postgresql://{HOST}:{self.pg_port}/{database}"

    def get(self, path: str) -> tuple[int, str]:
        """Raises OSError, HTTPException."""
        connection = http.client.HTTPConnection(HOST, self.http_port, timeout=ANSWER_S)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def is_warm(self) -> bool:
        """Whether it has loaded its kernels."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get("/ready")[0] == http.client.OK
        return False

    def applied(self) -> int:
        """How many ops of replicated databases it has applied, of all locations together."""
        name = "tsdb_replica_sequences_applied "
        with contextlib.suppress(OSError, http.client.HTTPException):
            for line in self.get("/metrics")[1].splitlines():
                if line.startswith(name):
                    return int(float(line.removeprefix(name)))
        return 0


class DemoNodes:
    """``folder`` gets the certificates, and a directory and a log for each node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ports = _free_ports(3 * COUNT)
        self.all = [
            DemoNode(number, folder / f"node{number}", ports.pop(), ports.pop(), ports.pop())
            for number in range(1, COUNT + 1)
        ]

    def __getitem__(self, number: int) -> DemoNode:
        return self.all[number - 1]

    def __iter__(self) -> Iterator[DemoNode]:
        return iter(self.all)

    @property
    def up(self) -> list[DemoNode]:
        return [node for node in self.all if node.is_up]

    # Processes

    def make_certificates(self) -> None:
        from tsdb.cluster.authority import issue, make_authority

        now = datetime.datetime.now(datetime.UTC)
        authority = make_authority("tsdb cluster demo", DAYS + 1, now)
        write_pair(self.folder, AUTHORITY, authority.certificate, authority.key)
        for node in self.all:
            own = issue(authority, node.name, [], DAYS, now)
            write_pair(self.folder, node.name, own.certificate, own.key)

    def found(self) -> None:
        """Make the directory of the first node."""
        command = [sys.executable, "-m", "tsdb", "cluster", "init", "--data", str(self[1].data)]
        done = subprocess.run(command, env=_environment(), cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StartupError(f"no cluster could be founded: {done.stderr.strip()}")

    def start(self, node: DemoNode) -> None:
        """From the thread that lives as long as the demo: when it ends the node does. Returns when the node serves.

        Raises StartupError.
        """
        with open(node.log, "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tsdb.cli.cluster_demo.node", str(os.getpid()), "start", *self._flags(node)],
                env=_environment(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                text=True,
                # Ctrl-C is for the demo, which ends its nodes.
                start_new_session=True,
            )  # fmt: skip
        node.process = process
        assert process.stdout is not None
        if not process.stdout.readline().startswith("tsdb ready"):
            self.kill(node)
            said = node.log.read_text(errors="replace").splitlines()
            raise StartupError(f"{node.name} did not start: {said[-1] if said else 'it says nothing'}")

    def _flags(self, node: DemoNode) -> list[str]:
        given = {
            "data": node.data,
            "host": HOST,
            "pg-port": node.pg_port,
            "http-port": node.http_port,
            "cluster-listen": node.address,
            "cluster-ca": self.folder / f"{AUTHORITY}.crt",
            "cluster-cert": self.folder / f"{node.name}.crt",
            "cluster-key": self.folder / f"{node.name}.key",
            # It matters to a directory that is not a node's yet.
            "join": self[1].address if node.number > 1 else "",
            "flight-port": "0",
            "disk-reserve": "64MiB",
        }
        return [word for name, value in given.items() if value != "" for word in (f"--{name}", str(value))]

    def kill(self, node: DemoNode) -> None:
        """With -9, whatever it does."""
        process, node.process = node.process, None
        if process is not None:
            process.kill()
            _ended(process)

    def end(self) -> None:
        """All, in order if they can be; those that take too long, or when Ctrl-C comes again, at once."""
        try:
            for node in self.up:
                assert node.process is not None
                node.process.terminate()
            end = time.monotonic() + _STOP_S
            for node in self.up:
                assert node.process is not None
                with contextlib.suppress(subprocess.TimeoutExpired):
                    node.process.wait(max(end - time.monotonic(), 0.0))
        except KeyboardInterrupt:
            pass
        finally:
            for node in self.all:
                self.kill(node)

    def check(self) -> None:
        """Raises StartupError for a node that has ended by itself."""
        for node in self.up:
            assert node.process is not None
            if node.process.poll() is not None:
                raise StartupError(f"{node.name} has ended by itself: see {node.log}")

    # Asking

    def ask(self, request: Request) -> Response:
        """As an operator, the first node. Raises StartupError."""
        from tsdb.cluster.group.operator import ask
        from tsdb.cluster.transport.tls import NodeTls

        node = self[1]
        tls = NodeTls(*(self.folder / name for name in (f"{node.name}.crt", f"{node.name}.key", f"{AUTHORITY}.crt")))
        try:
            return ask(node.address, request, tls)
        except TsdbError as error:
            raise StartupError(error.message) from None

    def leader(self, database: str) -> int:
        """The number of the node that leads a replicated database, as a running node knows it; 0: not known."""
        text = "SELECT DISTINCT leader FROM tsdb.locations WHERE datname = %s"
        for node in self.up:
            with contextlib.suppress(psycopg.Error), connect(node, "tsdb") as connection:
                found = connection.execute(text, [database]).fetchall()
                if len(found) == 1:
                    return int(found[0][0] or 0)
        return 0


def connect(node: DemoNode, database: str) -> psycopg.Connection:
    """Raises psycopg.Error."""
    return psycopg.connect(
        node.pg_url(database), user="tsdb", autocommit=True, connect_timeout=int(ANSWER_S),
        application_name="tsdb cluster demo",
    )  # fmt: skip


def _ended(process: subprocess.Popen[str]) -> None:
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _environment() -> dict[str, str]:
    """Without settings of tsdb and psql, since nodes have theirs as flags; the package is found from any directory."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("TSDB_KERNEL_CACHE", "TSDB_BOUNDSCHECK") or not name.startswith(("TSDB_", "PG"))
    }
    package = str(Path(__file__).parents[3])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def _free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody has just now. Raises StartupError."""
    found: list[int] = []
    for port in random.sample(range(_FIRST_PORT, _END_PORT), _PORT_TRIES):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            found.append(port)
        if len(found) == count:
            return found
    raise StartupError(f"there are no {count} free ports on {HOST}")
