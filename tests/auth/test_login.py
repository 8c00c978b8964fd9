"""Logging in to the SQL port: who gets in, how who does not is told, and that it is slow for who tries often."""

from __future__ import annotations

import asyncio
import logging
import os
import pty
import shutil
import socket
import subprocess
import time

import asyncpg
import pg8000.dbapi
import psycopg
import pytest

from tests.auth.conftest import ADMIN_PASSWORD, Running
from tests.fixtures.environment import clean_environment
from tests.session import raw
from tsdb.model import scram


def refused(server: Running, user: str, password: str | None, **more: object) -> psycopg.OperationalError:
    with pytest.raises(psycopg.OperationalError) as caught:
        server.connect(user, password, **more).close()
    return caught.value


def test_psycopg_logs_in_with_the_right_password_alone(guarded: Running) -> None:
    with guarded.connect() as connection:
        assert connection.execute("SELECT current_user, session_user").fetchone() == ("tsdb", "tsdb")
        assert connection.pgconn.used_password
    assert 'password authentication failed for user "tsdb"' in str(refused(guarded, "tsdb", "wrong"))
    assert "no password supplied" in str(refused(guarded, "tsdb", None))


def test_asyncpg_and_pg8000_log_in(guarded: Running) -> None:
    guarded.run("CREATE USER others PASSWORD 'pässwörd'")

    async def by_asyncpg(password: str) -> object:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=guarded.server.pg_port, user="others", password=password, database="tsdb"
        )
        try:
            return await connection.fetchval("SELECT current_user::text")
        finally:
            await connection.close()

    assert asyncio.run(by_asyncpg("pässwörd")) == "others"
    with pytest.raises(asyncpg.InvalidPasswordError):
        asyncio.run(by_asyncpg("password"))
    connection = pg8000.dbapi.connect(
        user="others", password="pässwörd", host="127.0.0.1", port=guarded.server.pg_port, database="tsdb"
    )
    cursor = connection.cursor()
    cursor.execute("SELECT 1")
    assert list(cursor.fetchone()) == [1]
    connection.close()


def test_an_unknown_user_looks_like_a_wrong_password(guarded: Running, caplog: pytest.LogCaptureFixture) -> None:
    guarded.run("CREATE USER known PASSWORD 'x'", "CREATE USER without", "CREATE ROLE nobodys_login PASSWORD 'x'")
    guarded.run("CREATE USER expired PASSWORD 'x' VALID UNTIL '2020-01-01'")
    with caplog.at_level(logging.WARNING, "tsdb"):
        texts = {}
        for user in ("known", "unknown", "without", "expired"):
            error = refused(guarded, user, "secret-that-is-wrong")
            texts[user] = str(error).replace(f'"{user}"', "USER").split("FATAL")[1]
    assert len(set(texts.values())) == 1, texts
    why = {record.fields["user"]: record.fields["why"] for record in caplog.records if hasattr(record, "fields")}
    assert why == {
        "known": "wrong password",
        "unknown": "no such role",
        "without": "the role has no password",
        "expired": "the password has expired",
    }
    assert "secret-that-is-wrong" not in caplog.text
    assert "is not permitted to log in" in str(refused(guarded, "nobodys_login", "x"))


def asked(server: Running, user: str) -> socket.socket:
    """A connection that has been asked for its password."""
    client = socket.create_connection(("127.0.0.1", server.server.pg_port), timeout=30)
    body = b"user\0" + user.encode() + b"\0database\0tsdb\0\0"
    client.sendall((len(body) + 8).to_bytes(4, "big") + (3 << 16).to_bytes(4, "big") + body)
    assert b"SCRAM-SHA-256\0\0" in client.recv(1000)
    return client


def first_answer(server: Running, user: str) -> str:
    """What the server says to the first message of SCRAM: salt and iterations, without the nonce."""
    with asked(server, user) as client:
        first = b"n,,n=,r=abc"
        client.sendall(raw.message(b"p", b"SCRAM-SHA-256\0" + len(first).to_bytes(4, "big") + first))
        answer = client.recv(1000).decode(errors="replace")
    return answer[answer.index(",s=") :]


def test_the_salt_of_a_name_is_the_same_each_time_whether_a_role_has_it_or_not(guarded: Running) -> None:
    guarded.run("CREATE USER salted PASSWORD 'x'")
    for user in ("salted", "stranger"):
        first = first_answer(guarded, user)
        assert first == first_answer(guarded, user)
        assert ",i=4096" in first
    assert len(first_answer(guarded, "salted")) == len(first_answer(guarded, "stranger"))


def quickest_login(guarded: Running, user: str) -> float:
    """The seconds it takes, of a few tries: a busy machine is at times slow by itself."""
    took = []
    for _ in range(5):
        started = time.monotonic()
        guarded.connect(user, "x").close()
        took.append(time.monotonic() - started)
    return min(took)


def test_failed_logins_of_one_user_are_slowed_and_of_others_not(guarded: Running) -> None:
    guarded.run("CREATE USER slow PASSWORD 'x'", "CREATE USER quick PASSWORD 'x'")
    started = time.monotonic()
    for _ in range(4):
        refused(guarded, "slow", "wrong")
    assert time.monotonic() - started > 0.2 + 0.4 + 0.8
    assert quickest_login(guarded, "quick") < 1.0
    guarded.connect("slow", "x").close()
    assert quickest_login(guarded, "slow") < 1.0, "a success ends it"


@pytest.mark.parametrize(
    "message",
    [raw.query("SELECT 1"), raw.message(b"p", b"PLAIN\0\0\0\0\0"), raw.message(b"p", b"\xff"), raw.SYNC],
)
def test_no_message_but_the_answer_is_taken_before_the_login(guarded: Running, message: bytes) -> None:
    with asked(guarded, "tsdb") as client:
        client.sendall(message)
        answer = client.recv(10_000)
        assert answer[:1] == b"E"
        assert b"08P01" in answer
        assert client.recv(1) == b""


@pytest.mark.psql
@pytest.mark.skipif(not shutil.which("psql"), reason="needs psql on the PATH")
def test_psqls_password_command_sets_a_password_that_the_server_never_sees(guarded: Running) -> None:
    guarded.run("CREATE USER changing PASSWORD 'old'")
    leader, follower = pty.openpty()
    url = f"postgresql://changing:old@127.0.0.1:{guarded.server.pg_port}/tsdb"
    process = subprocess.Popen(
        ["psql", "-X", url, "-c", r"\password"],
        stdin=follower, stdout=follower, stderr=follower, start_new_session=True, env=clean_environment(),
    )  # fmt: skip
    os.close(follower)
    seen = b""
    for _ in range(2):
        while not seen.endswith(b": "):
            seen += os.read(leader, 1000)
        os.write(leader, b"new one\n")
        seen = b""
    assert process.wait(20) == 0
    os.close(leader)
    guarded.connect("changing", "new one").close()
    assert "failed" in str(refused(guarded, "changing", "old"))


def test_a_password_is_kept_as_a_verifier_only(guarded: Running) -> None:
    guarded.run("CREATE USER kept PASSWORD 'very secret'")
    text = guarded.server.node.catalog.roles.find("kept").verifier
    assert text is not None
    assert "secret" not in text
    assert (found := scram.parse(text)) is not None
    assert found.accepts("very secret")
    guarded.run(f"CREATE USER ready PASSWORD '{text}'")
    guarded.connect("ready", "very secret").close()


@pytest.mark.parametrize(
    ("statement", "sqlstate"),
    [
        ("CREATE USER x PASSWORD 'md5" + "0" * 32 + "'", "0A000"),
        ("CREATE USER x PASSWORD 'SCRAM-SHA-256$4096:broken'", "22023"),
        ("CREATE USER x UNENCRYPTED PASSWORD 'x'", "42601"),
    ],
)
def test_other_forms_of_passwords_are_refused(guarded: Running, statement: str, sqlstate: str) -> None:
    with guarded.connect() as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(statement.encode())
    assert caught.value.sqlstate == sqlstate
    assert "x" not in guarded.server.node.catalog.roles.by_name


def test_an_empty_password_is_none(guarded: Running) -> None:
    notices: list[str] = []
    with guarded.connect() as connection:
        connection.add_notice_handler(lambda notice: notices.append(str(notice.message_primary)))
        connection.execute("CREATE USER emptied PASSWORD ''")
    assert notices == ["empty string is not a valid password, clearing password"]
    assert "failed" in str(refused(guarded, "emptied", "x"))


def test_a_connection_limit_holds_for_its_role(guarded: Running) -> None:
    guarded.run("CREATE USER limited PASSWORD 'x' CONNECTION LIMIT 1")
    with guarded.connect("limited", "x"):
        assert 'too many connections for role "limited"' in str(refused(guarded, "limited", "x"))
    deadline = time.monotonic() + 60
    while True:
        try:
            guarded.connect("limited", "x").close()
            break
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_connect_can_be_taken_from_everybody(guarded: Running) -> None:
    guarded.run("CREATE DATABASE private", "CREATE USER outsider PASSWORD 'x'", "CREATE USER insider PASSWORD 'x'")
    guarded.run("REVOKE CONNECT ON DATABASE private FROM PUBLIC", "GRANT CONNECT ON DATABASE private TO insider")
    assert 'permission denied for database "private"' in str(refused(guarded, "outsider", "x", dbname="private"))
    guarded.connect("insider", "x", dbname="private").close()
    guarded.connect("tsdb", ADMIN_PASSWORD, dbname="private").close()


def test_loopback_needs_no_password_and_takes_any_name(open_server: Running) -> None:
    with open_server.connect("somebody", None) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("somebody",)
        connection.execute("CREATE USER plain PASSWORD 'x'")
        connection.execute("CREATE TABLE t (time timestamptz, v float8)")
    with open_server.connect("plain", None) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT * FROM t")
