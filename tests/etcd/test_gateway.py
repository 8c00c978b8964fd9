"""The gateway to etcd: members that answer not, compaction, users, TLS."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tests.etcd.proxy import Proxy
from tests.fixtures.etcd import QUICK, Certificates, Etcd, running
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import until
from tsdb.cluster.etcd.address import Address, Endpoint
from tsdb.cluster.etcd.gateway import Compacted, Gateway, Refused, Unreachable
from tsdb.cluster.etcd.messages import (
    Done,
    Put,
    Range,
    Ranged,
    Transacted,
    Transaction,
    WatchFrom,
    absent,
    after,
    failure_of,
    operation,
)
from tsdb.cluster.etcd.tls import EtcdTls

PASSWORD = "a secret that is nowhere"


@pytest.fixture
def gateway(shared_etcd: Etcd) -> Iterator[Gateway]:
    with contextlib.closing(shared_etcd.gateway()) as found:
        yield found


def put(gateway: Gateway, key: bytes, value: bytes) -> int:
    """The revision of it."""
    revision: int = gateway.call("kv/put", Put(key, value), Done).header.revision
    return revision


def get(gateway: Gateway, key: bytes) -> list[bytes]:
    return [each.value for each in gateway.call("kv/range", Range(key), Ranged).kvs]


def test_bytes_of_any_kind_come_back(gateway: Gateway) -> None:
    value = bytes(range(256)) * 4
    put(gateway, b"g/\x00\xff", value)
    assert get(gateway, b"g/\x00\xff") == [value]
    assert get(gateway, b"g/none") == []


def test_a_transaction_sees_what_it_compares_and_reads(gateway: Gateway) -> None:
    request = Transaction((absent(b"t/a"),), (operation(Put(b"t/a", b"1")),), (operation(Range(b"t/a")),))
    first = gateway.call("kv/txn", request, Transacted)
    second = gateway.call("kv/txn", request, Transacted)
    assert (first.succeeded, second.succeeded) == (True, False)
    (found,) = second.ranged(0).kvs
    assert (found.value, found.create_revision) == (b"1", first.header.revision)


def test_a_lost_answer_is_asked_for_again(etcd: Etcd) -> None:
    with Proxy(etcd.ports[0][0]) as proxy:
        address = Address((Endpoint("127.0.0.1", proxy.port),))
        with contextlib.closing(etcd.gateway(address)) as gateway:
            first = put(gateway, b"l", b"1")
            proxy.lose_answers(2)
            # It was done three times, which whoever asks must be ready for.
            assert put(gateway, b"l", b"2") == first + 3
            assert gateway.failures > 0


def test_the_next_member_is_asked(shared_etcd: Etcd) -> None:
    nobody = Endpoint("127.0.0.1", free_port())
    address = Address((nobody, *shared_etcd.address.endpoints))
    with contextlib.closing(shared_etcd.gateway(address)) as gateway:
        began = time.monotonic()
        put(gateway, b"n", b"1")
        assert gateway.failures == 1
        put(gateway, b"n", b"2")
        assert gateway.failures == 1
        assert time.monotonic() - began < QUICK.request_s


def test_nobody_answers_and_that_is_said_in_time() -> None:
    address = Address((Endpoint("127.0.0.1", free_port()), Endpoint("127.0.0.1", free_port())))
    with contextlib.closing(Gateway(address, pace=replace(QUICK, within_s=0.5))) as gateway:
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"no member of etcd answers.*refused"):
            get(gateway, b"k")
        assert time.monotonic() - began < 30


def test_what_listens_and_is_no_etcd_is_named(shared_etcd: Etcd) -> None:
    with contextlib.closing(shared_etcd.gateway()) as gateway, pytest.raises(Refused, match="Not Found"):
        gateway.call("kv/nothing", Range(b"k"), Ranged, 0.3)
    assert failure_of(b"<html>").message == "<html>"


def test_a_read_of_what_was_compacted_says_so(etcd: Etcd) -> None:
    with contextlib.closing(etcd.gateway()) as gateway:
        first = put(gateway, b"c", b"1")
        put(gateway, b"c", b"2")
        etcd.compact()
        with pytest.raises(Compacted):
            gateway.call("kv/range", Range(b"c", revision=first), Ranged)
        with pytest.raises(Compacted):
            list(gateway.watch(WatchFrom(b"c", b"d", first)))


# Watching


def test_a_watch_tells_every_change_in_order_from_a_revision(gateway: Gateway) -> None:
    first = put(gateway, b"w/a", b"0")
    for number in range(1, 20):
        put(gateway, b"w/" + bytes((97 + number % 3,)), b"%d" % number)
    seen = []
    for reply in gateway.watch(WatchFrom(b"w/", after(b"w/"), first + 1)):
        seen += [int(each.kv.value) for each in reply.events]
        if seen and seen[-1] == 19:
            break
    assert seen == list(range(1, 20))


def test_a_watch_that_hears_nothing_ends(shared_etcd: Etcd) -> None:
    with contextlib.closing(shared_etcd.gateway(pace=replace(QUICK, silence_s=2.0))) as gateway:
        began = time.monotonic()
        assert [reply.created for reply in gateway.watch(WatchFrom(b"quiet", b"quieu", 1))] == [True]
        assert 1.9 < time.monotonic() - began < 30


def test_closing_wakes_who_watches_and_who_retries(shared_etcd: Etcd) -> None:
    watching = shared_etcd.gateway(pace=replace(QUICK, silence_s=60))
    retrying = Gateway(Address((Endpoint("127.0.0.1", free_port()),)), pace=replace(QUICK, within_s=60))
    ended: list[str] = []

    def watch() -> None:
        with contextlib.suppress(Unreachable):
            list(watching.watch(WatchFrom(b"quiet", b"quieu", 1)))
        ended.append("watch")

    def retry() -> None:
        with contextlib.suppress(Unreachable):
            get(retrying, b"k")
        ended.append("retry")

    threads = [threading.Thread(target=each) for each in (watch, retry)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    assert ended == []
    watching.close()
    retrying.close()
    for thread in threads:
        thread.join(30)
    assert sorted(ended) == ["retry", "watch"]
    with pytest.raises(Unreachable, match="closing"):
        get(watching, b"k")


# Members that die


def test_a_killed_etcd_is_waited_for(etcd: Etcd) -> None:
    with contextlib.closing(etcd.gateway(pace=replace(QUICK, within_s=60))) as gateway:
        put(gateway, b"k", b"1")
        etcd.kill()
        again = threading.Timer(0.5, etcd.start)
        again.start()
        assert get(gateway, b"k") == [b"1"]
        again.join()


@pytest.mark.nightly
def test_any_one_of_three_members_may_die_or_hang() -> None:
    with running(members=3) as etcd, contextlib.closing(etcd.gateway(pace=replace(QUICK, within_s=20))) as gateway:
        for at in range(3):
            put(gateway, b"k", b"%d" % at)
            etcd.kill(at)
            assert get(gateway, b"k") == [b"%d" % at]
            etcd.start(at)
            etcd.pause(at)
            assert get(gateway, b"k") == [b"%d" % at]
            put(gateway, b"k", b"more")
            etcd.resume(at)
        etcd.kill(0, 1)
        with pytest.raises(Unreachable, match="no member of etcd answers"):
            gateway.call("kv/range", Range(b"k"), Ranged, 3.0)
        # A member alone still tells what it knows, to whom that is enough.
        assert gateway.call("kv/range", Range(b"k", serializable=True), Ranged).kvs


# Users and TLS


def with_users(etcd: Etcd) -> Address:
    """``ann`` may use the keys that begin with a/; the address that names her."""
    for name in ("root", "ann"):
        etcd.admin("auth/user/add", name=name, password=PASSWORD)
    etcd.admin("auth/role/add", name="root")
    etcd.admin("auth/user/grant", user="root", role="root")
    etcd.admin("auth/role/add", name="a")
    permission = {"permType": 2, "key": "YS8=", "range_end": "YTA="}
    etcd.admin("auth/role/grant", name="a", perm=permission)
    etcd.admin("auth/user/grant", user="ann", role="a")
    etcd.admin("auth/enable")
    return replace(etcd.address, user="ann")


def test_a_user_shows_its_password_and_again_when_its_token_is_gone(
    etcd: Etcd, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    address = with_users(etcd)
    with contextlib.closing(etcd.gateway(address, PASSWORD)) as gateway:
        put(gateway, b"a/1", b"1")
        with pytest.raises(Refused, match="permission denied") as denied:
            put(gateway, b"b/1", b"1")
        assert "role" in (denied.value.hint or "")
        etcd.kill()
        etcd.start()
        assert get(gateway, b"a/1") == [b"1"]
        # A password that is set makes an end of the tokens that were given for it.
        root = msgspec.json.decode(etcd.admin("auth/authenticate", name="root", password=PASSWORD))["token"]
        etcd.admin("auth/user/changepw", root, name="ann", password=PASSWORD)
        assert get(gateway, b"a/1") == [b"1"]
        etcd.admin("auth/user/changepw", root, name="ann", password=PASSWORD)
        with pytest.raises(Refused, match="invalid auth token"):
            next(gateway.watch(WatchFrom(b"a/", after(b"a/"), 1)))
        assert next(gateway.watch(WatchFrom(b"a/", after(b"a/"), 1))).created
    assert PASSWORD not in caplog.text


def test_who_is_not_let_in_is_told_how(etcd: Etcd) -> None:
    address = with_users(etcd)
    with (
        contextlib.closing(etcd.gateway(address, "wrong")) as gateway,
        pytest.raises(Refused, match='does not let in "ann"') as wrong,
    ):
        get(gateway, b"a/1")
    assert "TSDB_METADATA_PASSWORD" in (wrong.value.hint or "")
    assert "wrong" not in str(wrong.value)
    with contextlib.closing(etcd.gateway()) as gateway, pytest.raises(Refused, match="user name is empty") as nobody:
        get(gateway, b"a/1")
    assert "etcd://USER@" in (nobody.value.hint or "")


def test_a_certificate_with_a_common_name_is_not_for_an_etcd_with_users() -> None:
    with running(tls=True) as etcd:
        assert etcd.tls is not None
        address = with_users(etcd)
        with contextlib.closing(etcd.gateway(address, PASSWORD)) as gateway:
            with pytest.raises(Refused, match="CommonName") as named:
                get(gateway, b"a/1")
            assert "common name" in (named.value.hint or "")
        nameless = EtcdTls(etcd.tls.authority_file, *etcd.tls.nameless)
        with contextlib.closing(Gateway(address, PASSWORD, nameless, QUICK)) as gateway:
            put(gateway, b"a/1", b"1")
            assert get(gateway, b"a/1") == [b"1"]


def test_etcd_and_its_clients_show_certificates(tmp_path: Path) -> None:
    with running(tls=True) as etcd:
        with contextlib.closing(etcd.gateway()) as gateway:
            put(gateway, b"k", b"1")
            assert get(gateway, b"k") == [b"1"]
            assert next(gateway.watch(WatchFrom(b"k", b"l", 1))).created
        assert etcd.tls is not None
        others = Certificates(tmp_path)
        short = replace(QUICK, within_s=0.3)
        nobody = Gateway(etcd.address, tls=EtcdTls(etcd.tls.authority_file), pace=short)
        stranger = Gateway(etcd.address, tls=EtcdTls(etcd.tls.authority_file, *others.client), pace=short)
        fooled = Gateway(etcd.address, tls=EtcdTls(others.authority_file, *etcd.tls.client), pace=short)
        plain = Gateway(etcd.address, pace=short)
        elsewhere = Address((Endpoint("localhost", etcd.ports[0][0]),))
        misnamed = Gateway(elsewhere, tls=EtcdTls(etcd.tls.authority_file, *etcd.tls.client), pace=short)
        # In TLS 1.3 a client is refused after it has begun: it may see the reason, or the end alone.
        refused = "certificate|unknown ca|EOF|closed|reset"
        for gateway, why in (
            (nobody, refused),
            (stranger, refused),
            (fooled, "certificate verify failed"),
            (plain, "HTTPS|connection|closed"),
            (misnamed, "[Hh]ostname mismatch"),
        ):
            with contextlib.closing(gateway):
                until(lambda: re.search(why, refusal(gateway)))  # noqa: B023


def refusal(gateway: Gateway) -> str:
    """Why this one is not let in; at times it is only that a busy machine took too long to say so."""
    with pytest.raises(Unreachable) as refused:
        get(gateway, b"k")
    return str(refused.value)
