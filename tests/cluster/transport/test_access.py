"""Who is let in over real sockets: authorities, certificates, identities, versions; and what strangers may send."""

from __future__ import annotations

import asyncio
import datetime
import os
import random
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from tests.cluster.transport.nodes import (
    AUTHORITY,
    HOST,
    SETTINGS,
    Peer,
    identity,
    introduce,
    run,
    running,
    tls_of,
    until,
    write_pair,
)
from tests.cluster.transport.pair import output
from tsdb.cluster.authority import make_authority
from tsdb.cluster.raft.messages import Heartbeat
from tsdb.cluster.transport import frames
from tsdb.cluster.transport.connection import Connection, Now
from tsdb.cluster.transport.frames import Kind
from tsdb.cluster.transport.greeting import Identity, Purpose
from tsdb.cluster.transport.limits import SECOND, Settings
from tsdb.cluster.transport.members import Member
from tsdb.errors import StartupError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("n1", "n2", "n3"):
        write_pair(tmp_path, name)
    return tmp_path


def stays_apart(
    one: Peer, two: Peer, words: list[str], caplog: pytest.LogCaptureFixture, two_seen_as: Identity | None = None
) -> None:
    """Node 1 dials node 2 and is refused, for a reason that is in both logs."""

    async def test() -> None:
        async with running(one, two):
            two.transport.set_members([Member(identity(1), HOST, 1)])
            one.transport.set_members([replace(two.member, identity=two_seen_as or two.transport.me)])
            await until(lambda: one.transport.counts.failures > 3 and two.transport.counts.refusals > 3)
            assert one.transport.counts.connects == two.transport.counts.accepts == 0

    caplog.set_level("INFO")
    run(test)
    dialers = [r.getMessage() for r in caplog.records if r.name.endswith("dialer") and "node 2" in r.getMessage()]
    listeners = [record.getMessage() for record in caplog.records if record.name.endswith("listener")]
    assert dialers
    assert listeners
    for word in words:
        assert any(word in message for message in dialers), (word, dialers)
        assert any(word in message for message in listeners), (word, listeners)


def test_a_node_of_another_cluster_is_refused(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = identity(1, cluster=UUID(int=9))
    stays_apart(Peer(folder, other), Peer(folder, identity(2)), [str(UUID(int=9)), "cluster", "node 2"], caplog)


def test_a_wiped_node_under_its_old_number_is_refused(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    wiped = identity(1, uuid=UUID(int=77))
    words = [str(UUID(int=77)), str(UUID(int=1)), "joins again"]
    stays_apart(Peer(folder, wiped), Peer(folder, identity(2)), words, caplog)


def test_a_wiped_node_is_not_taken_for_the_one_that_was_dialed(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    two = Peer(folder, identity(2, uuid=UUID(int=88)))
    stays_apart(Peer(folder, identity(1)), two, [str(UUID(int=88)), str(UUID(int=2))], caplog, identity(2))


def test_a_stranger_is_refused(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    stays_apart(Peer(folder, identity(3)), Peer(folder, identity(2)), ["node 3", "no member"], caplog)


def test_a_version_that_is_too_old_is_refused(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    newer = Settings(limits=SETTINGS.limits, times=SETTINGS.times, versions=(2, 3))
    stays_apart(Peer(folder, identity(1)), Peer(folder, identity(2), newer), ["1 to 1", "2 to 3"], caplog)


def test_another_nodes_certificate_is_refused(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One that has a certificate, and pretends to be another node."""
    stays_apart(Peer(folder, identity(1, name="n3")), Peer(folder, identity(2)), ["n3", "n1"], caplog)


def test_certificates_of_another_authority_are_refused(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    rogue = make_authority("rogue", 100, datetime.datetime.now(datetime.UTC))
    write_pair(folder, "n1", rogue)
    stays_apart(Peer(folder, identity(1)), Peer(folder, identity(2)), [], caplog)
    assert any("unknown ca" in message or "verify failed" in message for message in caplog.messages), caplog.messages


def test_an_expired_certificate_is_refused(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_pair(folder, "n1", days=-1)
    stays_apart(Peer(folder, identity(1)), Peer(folder, identity(2)), [], caplog)
    assert any("expired" in message for message in caplog.messages), caplog.messages


def test_a_node_dials_nobody_whose_certificate_is_not_right(folder: Path) -> None:
    """The acceptor's side: node 1 knows better than what answers."""

    async def test() -> None:
        write_pair(folder, "n2", make_authority("rogue", 100, datetime.datetime.now(datetime.UTC)))
        async with running(Peer(folder, identity(1)), Peer(folder, identity(2))) as (one, two):
            one.transport.set_members([two.member])
            await until(lambda: one.transport.counts.failures > 2)
            assert one.transport.counts.bytes_sent == 0

    run(test)


def test_new_certificates_are_used_for_new_connections(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.cluster.transport.transport.CERTIFICATE_CHECK_S", 0.05)

    async def test() -> None:
        one, two = Peer(folder, identity(1)), Peer(folder, identity(2))
        async with running(one, two):
            await introduce(one, two)
            before = two.transport._tls.expires_at
            write_pair(folder, "n2", days=20)
            await until(lambda: two.transport._tls.expires_at > before)
            assert one.transport.is_connected(2), "what is connected stays so"
            # An authority's successor: both are trusted for a while.
            successor = make_authority("successor", 100, datetime.datetime.now(datetime.UTC))
            (folder / "ca.crt").write_bytes(successor.certificate + AUTHORITY.certificate)
            await until(lambda: len(one.transport._tls.accepting.get_ca_certs()) == 2)
            days_left = two.transport.gauges()["transport_certificate_seconds_left"] / 86400
            assert 19.9 < days_left <= 20

    run(test)


def test_files_that_cannot_be_used_are_refused_at_start_and_kept_out_later(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.chmod(folder / "n3.key", 0o644)
    with pytest.raises(StartupError, match=r"n3\.key: chmod 600"):
        tls_of(folder, "n3")
    os.chmod(folder / "n3.key", 0o600)
    used = tls_of(folder, "n3")
    context = used.dialing
    assert not used.reload_if_changed()
    (folder / "n3.key").write_bytes((folder / "n1.key").read_bytes())
    assert not used.reload_if_changed()
    (folder / "n3.crt").write_bytes((folder / "n1.crt").read_bytes())
    assert not used.reload_if_changed()
    assert "is of n1, and this is n3" in caplog.text
    assert used.dialing is context
    (folder / "n3.crt").write_bytes(AUTHORITY.certificate)
    (folder / "n3.key").write_bytes(AUTHORITY.key)
    with pytest.raises(StartupError, match="is no node's: make one with tsdb cert"):
        tls_of(folder, "n3")
    (folder / "ca.crt").write_text("nothing")
    with pytest.raises(StartupError, match="cannot use the authority"):
        tls_of(folder, "n1")


# One who speaks TLS by hand, in a thread of its own.


def dialed(folder: Path, port: int, name: str | None = "n1") -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(folder / "ca.crt")
    if name is not None:
        context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return context.wrap_socket(socket.create_connection((HOST, port), timeout=20))


def answers(connection: socket.socket) -> Iterator[bytes]:
    """What comes until the end, which may be a rude one."""
    try:
        while octets := connection.recv(1 << 16):
            yield octets
    except OSError:
        return


def hello() -> bytes:
    me = Connection.dial(identity(1), identity(2), Purpose.CONTROL, ["n2"], Now(0, 0), SETTINGS)
    return output(me)


def message(kind: Kind, payload: bytes) -> bytes:
    return b"".join(map(bytes, frames.first_frame(kind, len(payload), payload)))


def test_who_shows_no_certificate_is_refused(folder: Path) -> None:
    async def test() -> None:
        async with running(Peer(folder, identity(2))) as (two,):

            def come() -> list[bytes]:
                with closing(dialed(folder, two.transport.port, None)) as connection:
                    try:
                        connection.sendall(hello())
                    except OSError:
                        return []
                    return list(answers(connection))

            assert await asyncio.to_thread(come) == []
            await until(lambda: two.transport.counts.refusals == 1)

    run(test)


def test_who_is_removed_before_it_has_said_hello_is_refused(folder: Path) -> None:
    async def test() -> None:
        async with running(Peer(folder, identity(2))) as (two,):
            two.transport.set_members([Member(identity(1), HOST, 1)])
            connection = await asyncio.to_thread(dialed, folder, two.transport.port)
            with closing(connection):
                await asyncio.to_thread(connection.sendall, hello()[:9])
                await until(lambda: two.transport.counts.bytes_received == 9)
                two.transport.set_members([])
                await asyncio.to_thread(connection.sendall, hello()[9:])
                answer = b"".join(await asyncio.to_thread(lambda: list(answers(connection))))
            assert b"is no member of the cluster" in answer
            assert two.transport.counts.accepts == 0

    run(test)


def test_garbage_ends_its_own_connection_alone(folder: Path) -> None:
    async def test() -> None:
        quick = replace(SETTINGS, times=replace(SETTINGS.times, greeting_ns=SECOND))
        async with running(Peer(folder, identity(2), quick), Peer(folder, identity(3))) as (two, three):
            two.transport.set_members([Member(identity(1), HOST, 1), three.member])
            three.transport.set_members([two.member])
            await until(lambda: three.transport.is_connected(2))
            chance = random.Random(3)
            good = message(Kind.RAFT, b"\x97\x07\x01\x02\x05\x09\xc4\x00\x00")
            samples = [
                b"", b"GET / HTTP/1.1\r\n\r\n", chance.randbytes(5000), hello()[:20], hello() + chance.randbytes(300),
                hello() + good[:-1] + b"x", hello() + message(Kind.RAFT, chance.randbytes(50)),
                hello() + good + b"Tf\x01\x01\xff\xff\xff\xff" + bytes(100),
                hello() + message(Kind.RAFT, b"\x97\x07\x03\x02\x05\x09\xc4\x00\x00"),
            ]  # fmt: skip

            def come(octets: bytes) -> bytes:
                with closing(dialed(folder, two.transport.port)) as connection:
                    connection.sendall(octets)
                    if not octets:
                        return b""
                    return b"".join(answers(connection))

            for sample in samples:
                await asyncio.to_thread(come, sample)
            assert two.recorder.messages == [Heartbeat(1, 2, 5, 9)]
            assert two.transport.counts.violations >= 4
            assert three.transport.is_connected(2)
            assert three.transport.counts.connects == 2
            # Not even TLS.
            with closing(socket.create_connection((HOST, two.transport.port))) as connection:
                connection.sendall(chance.randbytes(1000))
                await asyncio.to_thread(lambda: list(answers(connection)))
            assert three.transport.is_connected(2)

    run(test)


FEW = replace(SETTINGS, greetings_max=3, times=replace(SETTINGS.times, greeting_ns=60 * SECOND, connect_ns=60 * SECOND))


@pytest.mark.parametrize("with_certificate", [False, True], ids=["without a certificate", "with one"])
def test_those_who_say_nothing_are_few_and_keep_nobody_out(folder: Path, with_certificate: bool) -> None:
    """They were 64 and kept every node out until their time was over."""

    async def test() -> None:
        async with running(Peer(folder, identity(1)), Peer(folder, identity(2), FEW)) as (one, two):
            port = two.transport.port

            def come() -> socket.socket:
                return dialed(folder, port, "n3") if with_certificate else socket.create_connection((HOST, port), 20)

            silent = [await asyncio.to_thread(come) for _ in range(3)]
            listener = two.transport._listener
            stage = listener._ungreeted if with_certificate else listener._unproven
            await until(lambda: len(stage) == 3)
            two.transport.set_members([one.member])
            one.transport.set_members([two.member])
            await until(lambda: one.transport.is_connected(2))
            # Both connections of the member pushed one out each, or the same place was there for both.
            assert 1 <= two.transport.counts.refusals <= 2
            assert len(stage) <= 2
            more = [await asyncio.to_thread(come) for _ in range(10)]
            await until(lambda: len(listener._serving) <= 3 + 2)
            with closing(silent[0]) as oldest:
                assert b"".join(await asyncio.to_thread(lambda: list(answers(oldest)))) == b""
            for each in (*silent, *more):
                each.close()
            await until(lambda: len(stage) == 0)
            assert one.transport.is_connected(2)
            assert one.transport.counts.connects == 2

    run(test)
