"""A real PostgreSQL 15 to compare with, when the machine has one: a cluster of its own in a temporary directory."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tsdb.sql.query import Queries

BINARIES = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="session")
def queries() -> Iterator[Queries]:
    made = Queries(memory_limit_bytes=1 << 30, threads=2)
    yield made
    made.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A connection to an empty PostgreSQL, time zone UTC, collation C."""
    if not (BINARIES / "initdb").exists():
        pytest.skip("PostgreSQL 15 is not installed")
    directory = Path(tempfile.mkdtemp(prefix="tsdb-postgres-"))
    user = None
    if os.geteuid() == 0:
        user = "postgres"
        os.chown(directory, pwd.getpwnam(user).pw_uid, -1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"-c listen_addresses=127.0.0.1 -p {port} -c fsync=off -k {directory}"
    try:
        _run(user, "initdb", "-D", f"{directory}/data", "-A", "trust", "-U", "tsdb", "--locale=C", "-E", "UTF8")
        _run(user, "pg_ctl", "-D", f"{directory}/data", "-w", "-o", options, "-l", f"{directory}/log", "start")
        try:
            with psycopg.connect(
                host="127.0.0.1", port=port, user="tsdb", dbname="postgres", autocommit=True, options="-c timezone=UTC"
            ) as connection:
                yield connection
        finally:
            _run(user, "pg_ctl", "-D", f"{directory}/data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _run(user: str | None, program: str, *arguments: str) -> None:
    subprocess.run([str(BINARIES / program), *arguments], user=user, check=True, stdout=subprocess.DEVNULL, cwd="/tmp")
