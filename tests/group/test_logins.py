"""Who was let in at one node is let in at the others from then on: they look before they believe their own roles."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.fixtures.waiting import until
from tests.group.places import Places
from tsdb.cluster.node import Node
from tsdb.config import load
from tsdb.server import EmbeddedServer, Server
from tsdb.storage.options import Options

SECRET = "a long secret"


class Servers(Places):
    """Whole servers of one cluster in this process, which ask everybody for a password unless they are told else."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.running: dict[int, Server] = {}
        self._ends = {place: contextlib.ExitStack() for place in range(1, 4)}
        Node.open(self.data(1), Options(disk_reserve=0)).close()

    def start(self, place: int, join: int | None = None, **settings: Any) -> None:
        name = self.certified(place)
        given = {
            "data": self.data(place), "pg_port": 0, "http_port": 0, "flight_port": None, "disk_reserve": 0,
            "cluster_listen": self.address(place), "cluster_ca": self.folder / "ca.crt",
            "cluster_cert": self.folder / f"{name}.crt", "cluster_key": self.folder / f"{name}.key",
            "join": "" if join is None else self.address(join), "loopback_password": True, "warm_start": False,
        }  # fmt: skip
        self.running[place] = self._ends[place].enter_context(EmbeddedServer(load({**given, **settings})))

    def stop(self, place: int) -> None:
        self._ends[place].close()

    def end(self) -> None:
        for each in self._ends.values():
            each.close()

    def connect(self, place: int, user: str, password: str = "") -> psycopg.Connection:
        return psycopg.connect(
            f"host=127.0.0.1 port={self.running[place].pg_port} dbname=tsdb", user=user, password=password,
            autocommit=True, connect_timeout=60,
        )  # fmt: skip

    def status(self, place: int, path: str, token: str | None = None) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.running[place].http_port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={} if token is None else {"Authorization": f"Token {token}"})
            return connection.getresponse().status


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(tmp_path_factory.mktemp("logins"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSDB_ADMIN_PASSWORD", SECRET)
        patch.setattr("tsdb.cluster.group.readiness.LASTS_S", 0.5)
        try:
            servers.start(1)
            servers.start(2, join=1)
            # On this one nobody is asked for a password.
            servers.start(3, join=1, loopback_password=False)
            until(lambda: servers.roles(1) == {1: "voter", 2: "voter", 3: "voter"})
            yield servers
        finally:
            servers.end()


def test_a_password_holds_at_every_node_as_soon_as_it_is_set_and_no_other_does(three: Servers) -> None:
    with three.connect(1, "tsdb", SECRET) as admin:
        for number in range(10):
            admin.execute(f"CREATE ROLE r{number} LOGIN PASSWORD 'first'".encode())
            three.connect(2, f"r{number}", "first").close()
            admin.execute(f"ALTER ROLE r{number} PASSWORD 'second'".encode())
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                three.connect(2, f"r{number}", "first")
            three.connect(2, f"r{number}", "second").close()


def test_a_token_and_a_password_of_http_hold_at_once(three: Servers) -> None:
    with three.connect(1, "tsdb", SECRET) as admin:
        for number in range(10):
            admin.execute(f"CREATE ROLE h{number} LOGIN PASSWORD 'first'".encode())
            assert three.status(2, f"/query?q=SHOW%20DATABASES&u=h{number}&p=first") == 200
            row = admin.execute(f"CREATE TOKEN t{number} FOR h{number}".encode()).fetchone()
            assert row is not None
            assert three.status(2, "/query?q=SHOW%20DATABASES", row[0]) == 200
    assert three.status(2, "/query?q=SHOW%20DATABASES", "nobody's") == 401
    assert three.status(2, "/query?q=SHOW%20DATABASES&u=h1&p=second") == 401


def test_a_role_of_another_node_is_nobody_else_where_no_password_is_asked_for(three: Servers) -> None:
    """Who names no role stands for the first one there."""
    with three.connect(1, "tsdb", SECRET) as admin:
        for number in range(10):
            admin.execute(f"CREATE ROLE guest{number} LOGIN".encode())
            with three.connect(3, f"guest{number}") as connection:
                row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
                assert row == (False,)


def test_without_a_leader_a_node_lets_in_whom_it_knows_and_a_balancer_sends_nobody(three: Servers) -> None:
    until(lambda: three.status(2, "/ready") == 200)
    with three.connect(1, "tsdb", SECRET) as admin:
        admin.execute("CREATE ROLE known LOGIN PASSWORD 'first'")
    three.connect(2, "known", "first").close()
    for place in (1, 3):
        three.stop(place)
    until(lambda: three.status(2, "/ready") == 503)
    assert three.status(2, "/ready?read_level=any") == 200
    with three.connect(2, "known", "first") as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("known",)
