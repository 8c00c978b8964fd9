"""How the first user comes about, and that nothing is served to other machines before."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.environment import ROOT, clean_environment
from tests.fixtures.server import Start


def tsdb(*arguments: str, given: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tsdb", *arguments],
        cwd=ROOT,
        env={**clean_environment(), "TSDB_PG_PORT": "0", "TSDB_HTTP_PORT": "0", **variables},
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_other_machines_are_served_once_a_user_has_a_password(tmp_path: Path, start: Start) -> None:
    data = tmp_path / "data"
    refused = tsdb("start", "--host", "0.0.0.0", "--data", str(data))
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert f"tsdb user add NAME --superuser --data {data}" in refused.stderr
    assert not data.exists(), "nothing is made for a start that is refused"
    added = tsdb("user", "add", "root", "--superuser", "--data", str(data), given="s3cret\n")
    assert (added.returncode, added.stdout) == (0, "user root added\n"), added.stderr
    process = start("--host", "0.0.0.0", data=data)
    with psycopg.connect(host="127.0.0.1", port=process.pg_port, user="root", dbname="tsdb") as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("root",)
    assert process.stop()[0] == 0
    assert "s3cret" not in process.log.read_text()
    guarded = start("--host", "0.0.0.0", "--loopback-password", data=data)
    address = {"host": "127.0.0.1", "port": guarded.pg_port, "user": "root", "dbname": "tsdb"}
    psycopg.connect(**address, password="s3cret").close()  # type: ignore[arg-type]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(**address, password="s3cre")  # type: ignore[arg-type]


def test_the_admins_password_comes_from_the_environment_once(tmp_path: Path, start: Start) -> None:
    data = tmp_path / "data"
    for password in ("first", "second"):
        process = start("--host", "0.0.0.0", "--loopback-password", data=data, TSDB_ADMIN_PASSWORD=password)
        url = f"postgresql://tsdb:first@127.0.0.1:{process.pg_port}/tsdb"
        with psycopg.connect(url) as connection:
            assert connection.info.parameter_status("is_superuser") == "on"
        assert process.stop()[0] == 0


def test_users_are_kept_offline(tmp_path: Path, start: Start) -> None:
    data = str(tmp_path / "data")
    assert tsdb("user", "list", "--data", data).returncode == 1, "there is nothing there yet"
    assert tsdb("user", "add", "ann", "--data", data, given="pässwörd\n").returncode == 0
    assert tsdb("user", "add", "bob", "--data", data, given="b\n").returncode == 0
    again = tsdb("user", "add", "ann", "--data", data, given="x\n")
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert tsdb("user", "add", "eve", "--data", data, given="\n").returncode == 2, "an empty password is none"
    assert tsdb("user", "password", "ann", "--data", data, given="new\n").returncode == 0
    assert tsdb("user", "remove", "bob", "--data", data).returncode == 0
    assert tsdb("user", "remove", "tsdb", "--data", data).returncode == 2, "the first role stays"
    assert tsdb("user", "list", TSDB_DATA=data).stdout == (
        "tsdb\tsuperuser\tlogin\tno password\nann\t-\tlogin\tpassword\n"
    )
    process = start("--loopback-password", data=Path(data))
    psycopg.connect(f"postgresql://ann:new@127.0.0.1:{process.pg_port}/tsdb").close()
    locked = tsdb("user", "add", "late", "--data", data, given="x\n")
    assert locked.returncode == 1
    assert locked.stderr.count("\n") == 1
    assert "CREATE USER" in locked.stderr


def test_a_password_is_asked_for_twice_on_a_terminal(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tsdb", "user", "add", "typed", "--data", str(tmp_path / "data")],
        stdin=follower, stdout=subprocess.PIPE, stderr=follower, start_new_session=True, cwd=ROOT,
        env=clean_environment(), text=True,
    )  # fmt: skip
    os.close(follower)
    for prompt in (b"Password: ", b"Once more: "):
        seen = b""
        while not seen.endswith(prompt):
            seen += os.read(leader, 1000)
        os.write(leader, b"hidden\n")
    out, _ = process.communicate(timeout=30)
    os.close(leader)
    assert (process.returncode, out) == (0, "user typed added\n")


def test_insecure_asks_nobody_and_says_so(start: Start) -> None:
    process = start("--host", "0.0.0.0", "--insecure", "--loopback-password")
    with process.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert "nobody is asked for a password" in process.log.read_text()


def test_tls_can_be_required_only_with_a_certificate(tmp_path: Path) -> None:
    refused = tsdb("start", "--tls-required", "--data", str(tmp_path / "data"))
    assert refused.returncode == 2
    assert "tls_cert" in refused.stderr
