"""Servers over one etcd, as an operator starts them and users see them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.etcd.test_gateway import PASSWORD, with_users
from tests.fixtures.environment import ROOT, clean_environment
from tests.fixtures.etcd import Etcd, installed, running
from tests.fixtures.server import PORTS, Process, Start, get
from tests.fixtures.waiting import until
from tsdb.config import load
from tsdb.errors import ConfigurationError, StartupError
from tsdb.server.cluster import etcd_of


def place(etcd: Etcd, prefix: str, user: str = "") -> str:
    hosts = ",".join(map(str, etcd.address.endpoints))
    return f"etcd://{f'{user}@' if user else ''}{hosts}/{prefix}"


def rows(server: Process, statement: str) -> list[Any]:
    with server.connect() as connection:
        return connection.execute(statement.encode()).fetchall()


def tables(server: Process) -> set[str]:
    return {name for (name,) in rows(server, "SELECT table_name FROM information_schema.tables")}


def test_what_is_made_at_one_server_is_seen_at_the_other(shared_etcd: Etcd, start: Start, tmp_path: Path) -> None:
    where = place(shared_etcd, "processes")
    one = start("--metadata", where, data=tmp_path / "one")
    two = start("--metadata", where, data=tmp_path / "two")
    with one.connect() as connection:
        connection.execute("CREATE TABLE cpu (time timestamptz, host text, v float8)")
        connection.execute("CREATE ROLE ann LOGIN PASSWORD 'x'")
    until(lambda: "cpu" in tables(two))
    until(lambda: rows(two, "SELECT rolname FROM pg_roles WHERE rolname = 'ann'") == [("ann",)])
    with two.connect() as connection:
        # Whoever made it: what is there already is refused, at every server.
        with pytest.raises(psycopg.errors.DuplicateTable):
            connection.execute("CREATE TABLE cpu (time timestamptz)")
        connection.execute("ALTER TABLE cpu ADD COLUMN idle float8")
    until(lambda: "idle" in {name for (name,) in rows(one, "SELECT column_name FROM information_schema.columns")})
    addresses = "SELECT node, addresses FROM tsdb.members"
    until(lambda: all(found for _, found in rows(one, addresses)))
    until(lambda: rows(one, addresses) == rows(two, addresses))
    # Points are at one of them, and the other says at which.
    rows(one, "INSERT INTO cpu VALUES (now(), 'a', 1) RETURNING v")
    with pytest.raises(psycopg.Error, match=rf"is at node 1: SQL at 127.0.0.1:{one.pg_port}"):
        rows(two, "SELECT v FROM cpu")
    assert rows(one, "SELECT v FROM cpu") == [(1.0,)]
    until(lambda: sorted([decides(one), decides(two)]) == [0.0, 1.0])


def decides(server: Process) -> float:
    lines = get(server.http_port, "/metrics").splitlines()
    return float(next(line for line in lines if line.startswith("tsdb_etcd_decides ")).split()[1])


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.nightly)])
def test_a_killed_server_loses_no_change_that_it_has_answered(
    shared_etcd: Etcd, start: Start, tmp_path: Path, kills: int
) -> None:
    where = place(shared_etcd, f"killed{kills}")
    one = start("--metadata", where, data=tmp_path / "one")
    two = start("--metadata", where, data=tmp_path / "two")
    made: set[str] = set()
    with two.connect() as connection:
        connection.execute("CREATE TEMP TABLE of_two (time timestamptz)")

        def work(server: Process, life: int) -> None:
            with contextlib.suppress(psycopg.OperationalError), server.connect() as own:
                own.execute("CREATE TEMP TABLE of_one (time timestamptz)")
                for number in range(1_000):
                    own.execute(f"CREATE TABLE t{life}_{number} (time timestamptz)".encode())
                    made.add(f"t{life}_{number}")

        for life in range(kills):
            before = len(made)
            thread = threading.Thread(target=work, args=[one, life])
            thread.start()
            until(lambda before=before: len(made) >= before + 5)  # type: ignore[misc]
            one.kill()
            thread.join()
            one = start("--metadata", where, data=tmp_path / "one")
            assert made <= tables(one)
        until(lambda: tables(one) == tables(two) - {"of_two"})
        # What passed with the killed server is gone; what passes with the other one is not.
        until(lambda: not [name for name in tables(two) if name == "of_one"])
        connection.execute("INSERT INTO of_two VALUES (now())") if leads(two) else None
        assert connection.execute("SELECT count(*) FROM pg_class WHERE relname = 'of_two'").fetchone() == (1,)


def leads(server: Process) -> bool:
    return bool(rows(server, "SELECT count(*) FROM tsdb.locations WHERE leader = 2")[0][0])


def test_a_user_and_certificates_of_etcd_and_no_trace_of_the_password(start: Start, tmp_path: Path) -> None:
    with running(tls=True) as etcd:
        assert etcd.tls is not None
        with_users(etcd)
        certificate, key = map(str, etcd.tls.nameless)
        tls = ["--metadata-ca", str(etcd.tls.authority_file), "--metadata-cert", certificate, "--metadata-key", key]
        where = ["--metadata", place(etcd, "a", "ann"), *tls, "--log-level", "debug"]
        one = start(*where, data=tmp_path / "one", TSDB_METADATA_PASSWORD=PASSWORD)
        secret = tmp_path / "secret"
        secret.touch(0o600)
        secret.write_text(PASSWORD + "\n")
        two = start(*where, "--metadata-password-file", str(secret), data=tmp_path / "two")
        with one.connect() as connection:
            connection.execute("CREATE TABLE cpu (time timestamptz)")
        until(lambda: "cpu" in tables(two))
        for each in (one, two):
            assert PASSWORD.encode() not in Path(f"/proc/{each.pid}/cmdline").read_bytes()
            assert each.stop()[0] == 0
            assert PASSWORD not in each.log.read_text()


def refused(tmp_path: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    """The exit code and the one line of a server that does not start."""
    result = subprocess.run(
        [sys.executable, "-m", "tsdb", "start", "--data", str(tmp_path / "data"), *arguments],
        env={**clean_environment(), **PORTS, **variables}, cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    (line,) = [each for each in result.stderr.splitlines() if each.startswith("tsdb: ")]
    return result.returncode, line


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    readable = tmp_path / "readable"
    readable.write_text(PASSWORD)
    readable.chmod(0o644)
    nobody = "etcd://ann@127.0.0.1"
    for settings, why in (
        ({"metadata": "zookeeper://a"}, "it is embedded, or etcd://"),
        ({"metadata": f"etcd://ann:{PASSWORD}@a"}, "TSDB_METADATA_PASSWORD"),
        ({"metadata": nobody}, "go together"),
        ({"metadata": nobody, "metadata_password_file": readable}, "others can read the password"),
        ({"metadata_ca": readable}, "metadata_ca is for metadata in etcd"),
        ({"metadata": "etcd://a", "metadata_cert": "c"}, "metadata_cert and metadata_key go together"),
        ({"metadata": "etcd://a", "cluster_listen": "a:1", "cluster_ca": "c", "cluster_cert": "c", "cluster_key": "k"},
         "find each other there"),
    ):  # fmt: skip
        with pytest.raises((ConfigurationError, StartupError), match=why) as refusal:
            etcd_of(load(settings))
        assert PASSWORD not in str(refusal.value)


def test_a_password_in_the_address_is_one_line_that_does_not_repeat_it(tmp_path: Path) -> None:
    code, line = refused(tmp_path, "--metadata", f"etcd://ann:{PASSWORD}@a")
    assert code == 2
    assert "TSDB_METADATA_PASSWORD" in line
    assert PASSWORD not in line


def test_a_wrong_password_is_one_line_that_does_not_repeat_it(etcd: Etcd, tmp_path: Path) -> None:
    installed()
    with_users(etcd)
    code, line = refused(tmp_path, "--metadata", place(etcd, "a", "ann"), TSDB_METADATA_PASSWORD="not this one")
    assert code == 1
    assert 'etcd does not let in "ann"' in line
    assert "not this one" not in line
