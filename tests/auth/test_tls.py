"""TLS on both ports: what clients verify, channel binding, direct TLS, and certificates that change."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import ssl
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
from cryptography.hazmat.primitives import hashes

from tests.auth import certificates
from tests.auth.certificates import Hash, Pair
from tests.auth.conftest import ADMIN_PASSWORD, Running, running
from tests.fixtures.server import Process
from tests.fixtures.waiting import PATIENCE_S
from tsdb.errors import StartupError
from tsdb.server import tls
from tsdb.server.tls import Certificates

DIRECT = psycopg.pq.version() >= 170000


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return certificates.make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory, pair: Pair) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("encrypted") / "data"
    with running(data, loopback_password="true", tls_cert=pair.certificate, tls_key=pair.key) as server:
        yield server


def verified(pair: Pair, **more: object) -> dict[str, Any]:
    return {"host": "localhost", "hostaddr": "127.0.0.1", "sslmode": "verify-full", "sslrootcert": pair.authority,
            "channel_binding": "require", **more}  # fmt: skip


def test_the_certificate_is_verified_and_the_login_bound_to_it(encrypted: Running, pair: Pair, tmp_path: Path) -> None:
    with encrypted.connect(**verified(pair)) as connection:
        assert connection.pgconn.ssl_in_use
        rows = connection.execute("SELECT i, repeat('x', 100) FROM generate_series(1, 50000) AS g(i)").fetchall()
        assert len(rows) == 50_000
    with encrypted.connect(sslmode="require", channel_binding="disable") as connection:
        assert connection.pgconn.ssl_in_use
    with pytest.raises(psycopg.OperationalError, match="SSL error"):
        encrypted.connect(**verified(certificates.make(tmp_path)))


def test_a_client_may_stay_without_tls_unless_it_is_required(encrypted: Running) -> None:
    with encrypted.connect(sslmode="disable") as connection:
        assert not connection.pgconn.ssl_in_use


def test_pg_stat_ssl_tells_sessions_over_tls_from_others(encrypted: Running, pair: Pair) -> None:
    text = "SELECT ssl, version, cipher, bits, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    with encrypted.connect(**verified(pair)) as connection, encrypted.connect(sslmode="disable") as plain:
        assert plain.execute(text).fetchone() == (False, None, None, None, None)
        row = connection.execute(text).fetchone()
        assert row is not None
        used, version, cipher, bits, name = row
        assert used
        assert version in ("TLSv1.2", "TLSv1.3")
        assert cipher in {each["name"] for each in ssl.create_default_context().get_ciphers()}
        assert bits in (128, 256)
        assert name is None
        both = "SELECT ssl FROM pg_stat_ssl WHERE pid IN (%s, %s) ORDER BY ssl"
        pids = (connection.info.backend_pid, plain.info.backend_pid)
        assert plain.execute(both, pids).fetchall() == [(False,), (True,)]


@pytest.mark.skipif(not DIRECT, reason="libpq 17 is the first with sslnegotiation")
def test_tls_from_the_first_byte(encrypted: Running, pair: Pair) -> None:
    with encrypted.connect(**verified(pair, sslnegotiation="direct")) as connection:
        assert connection.pgconn.ssl_in_use
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_asyncpg_over_tls(encrypted: Running, pair: Pair) -> None:
    async def ask() -> object:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=encrypted.server.pg_port, user="tsdb", password=ADMIN_PASSWORD, database="tsdb",
            ssl=ssl.create_default_context(cafile=str(pair.authority)),
        )  # fmt: skip
        try:
            return await connection.fetchval("SELECT 42")
        finally:
            await connection.close()

    assert asyncio.run(ask()) == 42


def direct(encrypted: Running, pair: Pair, alpn: list[str], cut: int | None = None) -> ssl.SSLObject:
    """TLS from the first byte, its bytes sent one by one up to ``cut``; the answer to a startup packet is read."""
    context = ssl.create_default_context(cafile=str(pair.authority))
    if alpn:
        context.set_alpn_protocols(alpn)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", encrypted.server.pg_port), timeout=20) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def send() -> None:
            octets = outgoing.read()
            for octet in octets[: cut or 0]:
                raw.sendall(bytes([octet]))
                time.sleep(0.001)
            raw.sendall(octets[cut or 0 :])

        def receive() -> None:
            octets = raw.recv(1 << 16)
            if not octets:
                raise ConnectionResetError("closed")
            incoming.write(octets)

        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                send()
                receive()
        body = (3 << 16).to_bytes(4, "big") + b"user\0tsdb\0\0"
        client.write((len(body) + 4).to_bytes(4, "big") + body)
        send()
        while True:
            try:
                answer = client.read(1)
            except ssl.SSLWantReadError:
                receive()
                continue
            if answer != b"R":
                raise ConnectionResetError(f"closed after {answer!r}")
            return client


def test_a_client_hello_may_come_in_pieces(encrypted: Running, pair: Pair) -> None:
    for cut in (0, 1, 2, 5, 100):
        client = direct(encrypted, pair, ["postgresql"], cut)
        assert client.selected_alpn_protocol() == "postgresql"
        assert client.version() == "TLSv1.3"


@pytest.mark.parametrize("alpn", [[], ["http/1.1"]])
def test_direct_tls_without_its_protocols_name_is_refused(encrypted: Running, pair: Pair, alpn: list[str]) -> None:
    with pytest.raises((ConnectionResetError, ssl.SSLError, BrokenPipeError)):
        direct(encrypted, pair, alpn)


def test_old_versions_of_tls_are_refused(encrypted: Running) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    address = ("127.0.0.1", encrypted.server.http_port)
    with socket.create_connection(address, timeout=10) as raw, pytest.raises((ssl.SSLError, ConnectionResetError)):
        context.wrap_socket(raw)


def https(port: int, authority: Path, path: str = "/ping") -> tuple[int, bytes]:
    """The status, and the certificate that the server showed."""
    context = ssl.create_default_context(cafile=str(authority))
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=20)
    try:
        connection.request("GET", path)
        shown = connection.sock.getpeercert(binary_form=True)
        return connection.getresponse().status, shown or b""
    finally:
        connection.close()


def test_http_is_https(encrypted: Running, pair: Pair) -> None:
    assert encrypted.server.http_url.startswith("https://")
    assert https(encrypted.server.http_port, pair.authority)[0] == 204
    plain = http.client.HTTPConnection("127.0.0.1", encrypted.server.http_port, timeout=10)
    with pytest.raises((http.client.BadStatusLine, ConnectionResetError)):
        plain.request("GET", "/ping")
        plain.getresponse()
    plain.close()


def test_a_new_certificate_is_used_and_nobody_is_disconnected(tmp_path: Path) -> None:
    pair = certificates.make(tmp_path)
    process = Process(tmp_path / "data", "--tls-cert", str(pair.certificate), "--tls-key", str(pair.key))
    try:
        address: dict[str, Any] = {"port": process.pg_port, "user": "tsdb", "dbname": "tsdb", "autocommit": True}
        before = psycopg.connect(**verified(pair, channel_binding="prefer"), **address)
        shown = https(process.http_port, pair.authority)[1]
        pair.certificate.write_text("half of a certifi")
        process.popen.send_signal(signal.SIGHUP)
        wait_for(process, "not exchanged")
        assert https(process.http_port, pair.authority)[1] == shown, "the old one stays"
        certificates.make(tmp_path)
        process.popen.send_signal(signal.SIGHUP)
        wait_for(process, "is read again")
        assert https(process.http_port, pair.authority)[1] != shown
        psycopg.connect(**verified(pair, channel_binding="prefer"), **address).close()
        assert before.execute("SELECT 1").fetchone() == (1,)
        before.close()
        certificates.make(tmp_path)
        wait_for(process, "is read again", times=2, seconds=tls.CHECK_SECONDS + PATIENCE_S)
    finally:
        process.kill()


def wait_for(process: Process, text: str, *, times: int = 1, seconds: float = PATIENCE_S) -> None:
    until = time.monotonic() + seconds
    while process.log.read_text().count(text) < times:
        assert time.monotonic() < until, process.log.read_text()
        time.sleep(0.05)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    pair = certificates.make(tmp_path)
    for mode in (0o644, 0o640, 0o604):
        os.chmod(pair.key, mode)
        if mode == 0o640 and os.geteuid() != 0:
            continue
        with pytest.raises(StartupError, match="others can read"):
            Certificates(pair.certificate, pair.key)
    os.chmod(pair.key, 0o400)
    Certificates(pair.certificate, pair.key)


def test_files_that_do_not_fit_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    pair, other = certificates.make(tmp_path), certificates.make(tmp_path / "other")
    for certificate, key, why in (
        (pair.certificate, other.key, "mismatch"),
        (pair.key, pair.key, "certificate"),
        (tmp_path / "none", pair.key, "No such file"),
        (pair.certificate, tmp_path / "none", "No such file"),
    ):
        with pytest.raises(StartupError, match=rf"(?i){why}") as caught:
            Certificates(certificate, key)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("algorithm", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_channel_binding_hashes_as_the_certificate_does(tmp_path: Path, algorithm: Hash) -> None:
    pair = certificates.make(tmp_path, algorithm=algorithm)
    settings: dict[str, Any] = {"loopback_password": "true", "tls_cert": pair.certificate, "tls_key": pair.key}
    with running(tmp_path / "data", **settings) as server:
        server.connect(**verified(pair)).close()


def test_a_certificate_without_such_a_hash_offers_no_channel_binding(tmp_path: Path) -> None:
    pair = certificates.make(tmp_path, ed=True)
    settings: dict[str, Any] = {"loopback_password": "true", "tls_cert": pair.certificate, "tls_key": pair.key}
    with running(tmp_path / "data", **settings) as server:
        server.connect(sslmode="require").close()
        with pytest.raises(psycopg.OperationalError, match="channel binding"):
            server.connect(sslmode="require", channel_binding="require")
