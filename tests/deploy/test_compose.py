"""The compose file, run by hand: its commands and its environment as processes of this machine."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests.fixtures.environment import ROOT, clean_environment
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import PATIENCE_S, until
from tsdb.config import ENVIRONMENT_ONLY, TABLE

SECRET = "of the compose file"
NODES = ("node1", "node2", "node3")
DEPLOY = ROOT / "deploy"
READY = re.compile(r"tsdb ready: postgresql://127\.0\.0\.1:(\d+)/tsdb http://127\.0\.0\.1:(\d+)/\n")


def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return read


class Stack:
    """The services, with directories and ports of this machine in the place of volumes and hosts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._services = compose()["services"]
        self._links = {name: free_port() for name in NODES}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, tuple[int, int]] = {}
        for name in ("authority", "certificates", "bin"):
            (folder / name).mkdir(mode=0o700)
        program = folder / "bin" / "tsdb"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tsdb "$@"\n')
        program.chmod(0o755)

    def _here(self, text: str, service: str) -> str:
        text = re.sub(r"\$\{TSDB_ADMIN_PASSWORD:\?[^}]*\}", SECRET, text).replace("$$", "$")
        text = text.replace("0.0.0.0:5480", f"0.0.0.0:{self._links.get(service, 0)}")
        text = re.sub(r"(node\d):5480", lambda found: f"127.0.0.1:{self._links[found[1]]}", text)
        for volume in self._services[service]["volumes"]:
            name, place = volume.split(":")[:2]
            text = text.replace(place, str(self._folder / name))
        return text

    def _environment(self) -> dict[str, str]:
        return {**clean_environment(), "PATH": f"{self._folder / 'bin'}:{os.environ['PATH']}"}

    def certify(self) -> None:
        service = self._services["certificates"]
        (script,) = service["command"]
        subprocess.run(
            [*service["entrypoint"], self._here(script, "certificates")],
            env=self._environment(),
            check=True, timeout=PATIENCE_S, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def start(self, name: str) -> None:
        settings = {key: self._here(value, name) for key, value in self._services[name]["environment"].items()}
        ports = {"TSDB_PG_PORT": "0", "TSDB_HTTP_PORT": "0", "TSDB_FLIGHT_PORT": "", "TSDB_LOOPBACK_PASSWORD": "true"}
        service = self._services[name]
        words = [self._here(word, name) for word in service.get("command", ["start"])]
        said = self._folder / f"{name}.out"
        with open(self._folder / f"{name}.log", "ab") as log, open(said, "wb") as out:
            process = self._running[name] = subprocess.Popen(
                [*service.get("entrypoint", ["tsdb"]), *words], stdout=out, stderr=log, cwd=ROOT,
                env={**self._environment(), "TSDB_WARM_START": "off", "TSDB_DISK_RESERVE": "1MiB", **settings, **ports},
            )  # fmt: skip
        found = until(lambda: READY.search(said.read_text()) or (process.poll() is not None and "ended"))
        assert isinstance(found, re.Match), (self._folder / f"{name}.log").read_text()[-4000:]
        self._ports[name] = int(found[1]), int(found[2])

    def ask(self, name: str, statement: str, password: str = SECRET) -> list[tuple[Any, ...]]:
        where = {"host": "127.0.0.1", "port": self._ports[name][0], "dbname": "tsdb", "user": "tsdb"}
        with psycopg.connect(**where, password=password, autocommit=True) as connection:  # type: ignore[arg-type]
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def check_health(self, name: str) -> int:
        kind, program, *words = self._services[name]["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "python")
        words = [word.replace(":8086", f":{self._ports[name][1]}") for word in words]
        return subprocess.run(
            [sys.executable, *words], timeout=PATIENCE_S, stderr=subprocess.DEVNULL, check=False
        ).returncode

    def stop(self, name: str) -> None:
        process = self._running.pop(name)
        process.terminate()
        process.communicate(timeout=PATIENCE_S)

    def end(self) -> None:
        for process in self._running.values():
            process.kill()
            process.communicate()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path)
    try:
        yield stack
    finally:
        stack.end()


def test_its_nodes_are_one_cluster_that_asks_for_the_password(stack: Stack, tmp_path: Path) -> None:
    stack.certify()
    stack.certify()  # once more, as at each `up`
    assert {path.name for path in (tmp_path / "certificates").iterdir()} == {
        "ca.crt", *(f"{name}.{end}" for name in NODES for end in ("crt", "key")),
    }  # fmt: skip
    for name in NODES:
        (tmp_path / name).mkdir(mode=0o700)  # as a volume is: there, and empty
        stack.start(name)
    members = "SELECT count(*) FROM tsdb.members"
    for name in NODES:
        until(lambda: stack.ask(name, members) == [(3,)])  # noqa: B023
        assert stack.check_health(name) == 0
        with pytest.raises(psycopg.OperationalError, match="password"):
            stack.ask(name, "SELECT 1", password="another")
    stack.ask("node2", "CREATE TABLE kept (time timestamptz, host text, v float8)")
    stack.ask("node3", "INSERT INTO kept VALUES ('2026-01-01', 'a', 1.5)")
    stack.stop("node3")
    assert stack.check_health("node3") != 0
    stack.start("node3")
    until(lambda: stack.ask("node1", "SELECT v FROM kept") == [(1.5,)])


def test_images_and_services_know_settings_that_there_are() -> None:
    known = {entry.variable for entry in TABLE} | set(ENVIRONMENT_ONLY)
    found = {name for service in compose()["services"].values() for name in service.get("environment", {})}
    found |= set(re.findall(r"\b(TSDB_\w+)=", (DEPLOY / "Dockerfile").read_text()))
    assert found
    assert found <= known


def test_each_node_has_its_own_certificate_directory_and_ports() -> None:
    services = compose()["services"]
    for number, name in enumerate(NODES):
        service = services[name]
        settings = service["environment"]
        assert settings["TSDB_CLUSTER_ADDRESS"] == f"{name}:5480"
        assert settings["TSDB_CLUSTER_CERT"] == f"/etc/tsdb/{name}.crt"
        assert settings["TSDB_CLUSTER_KEY"] == f"/etc/tsdb/{name}.key"
        assert f"{name}:/var/lib/tsdb" in service["volumes"]
        assert service["ports"] == [f"127.0.0.1:{5432 + number}:5432", f"127.0.0.1:{8086 + number}:8086"]
        assert not any(volume.startswith("authority") for volume in service["volumes"])
