"""The command log in etcd: numbers without a hole, one command once, long ones in parts, cut behind a snapshot."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.etcd.proxy import Proxy
from tests.fixtures.etcd import QUICK, Etcd
from tsdb.cluster.etcd import layout
from tsdb.cluster.etcd.address import Address, Endpoint
from tsdb.cluster.etcd.gateway import Compacted, Gateway
from tsdb.cluster.etcd.layout import Coordinator
from tsdb.cluster.etcd.log import CommandLog, Cut, Office
from tsdb.cluster.etcd.messages import DeleteRange, Done, Grant, Granted, Put, Range, Ranged, after
from tsdb.errors import DataCorrupted, StatementCompletionUnknown

DIGEST = bytes(range(16))
_prefixes = itertools.count()


@pytest.fixture
def prefix() -> str:
    return f"log{next(_prefixes)}"


@pytest.fixture
def gateway(shared_etcd: Etcd) -> Iterator[Gateway]:
    with contextlib.closing(shared_etcd.gateway()) as found:
        yield found


@pytest.fixture
def command_log(gateway: Gateway, prefix: str) -> CommandLog:
    found = CommandLog(gateway, prefix)
    found.begin()
    return found


def office(gateway: Gateway, command_log: CommandLog) -> Office:
    lease = gateway.call("lease/grant", Grant(60), Granted).lease
    found = command_log.take_office(Coordinator(1, bytes(16)), lease)
    assert found is not None
    return found


def bodies(command_log: CommandLog, number: int = 0) -> list[bytes]:
    found = list(command_log.after(number, command_log.look().head))
    assert [entry.number for entry, _ in found] == list(range(number + 1, number + 1 + len(found)))
    return [body for _, body in found]


def keys(gateway: Gateway, prefix: bytes) -> list[bytes]:
    return [each.key for each in gateway.call("kv/range", Range(prefix, after(prefix)), Ranged).kvs]


def fill(command_log: CommandLog, first: int, last: int) -> None:
    for number in range(first, last + 1):
        assert command_log.append(number - 1, DIGEST, 1, b"c%d" % number, None)


def test_a_log_begins_once(gateway: Gateway, prefix: str) -> None:
    logs = [CommandLog(gateway, prefix) for _ in range(2)]
    assert logs[0].look().log_id == b""
    first = logs[0].begin()
    assert (len(first.log_id), first.head, first.snapshot, first.office) == (16, 0, None, None)
    fill(logs[0], 1, 1)
    second = logs[1].begin()
    assert (second.log_id, second.head) == (first.log_id, 1)


def test_commands_come_back_in_order_page_by_page(command_log: CommandLog) -> None:
    fill(command_log, 1, 40)
    assert bodies(command_log) == [b"c%d" % number for number in range(1, 41)]
    assert bodies(command_log, 33) == [b"c%d" % number for number in range(34, 41)]


def test_what_rests_on_an_older_command_is_not_appended(command_log: CommandLog) -> None:
    fill(command_log, 1, 2)
    for before in (0, 1, 3):
        assert command_log.append(before, DIGEST, 1, b"late", None) is None
    assert bodies(command_log) == [b"c1", b"c2"]


@pytest.mark.parametrize("size", [0, 1, layout.INLINE_BYTES_MAX, layout.INLINE_BYTES_MAX + 1, 5 << 20])
def test_a_command_of_any_size_is_one_command(command_log: CommandLog, gateway: Gateway, size: int) -> None:
    body = random.Random(size).randbytes(size)
    assert command_log.append(0, DIGEST, 1, body, None)
    assert bodies(command_log) == [body]
    every = gateway.call("kv/range", Range(command_log.keys.parts, after(command_log.keys.parts)), Ranged).kvs
    assert bool(every) == (size > layout.INLINE_BYTES_MAX)
    assert all(len(each.value) <= layout.VALUE_BYTES_MAX for each in every)


def test_parts_of_a_command_that_came_too_late_are_taken_away(command_log: CommandLog, gateway: Gateway) -> None:
    fill(command_log, 1, 1)
    assert command_log.append(0, DIGEST, 1, bytes(3 << 20), None) is None
    assert keys(gateway, command_log.keys.parts) == []


def test_a_part_that_is_changed_or_missing_is_found(command_log: CommandLog, gateway: Gateway) -> None:
    assert command_log.append(0, DIGEST, 1, bytes(3 << 20), None)
    first = keys(gateway, command_log.keys.parts)[0]
    gateway.call("kv/put", Put(first, layout.cut_up(b"other")[0]), Done)
    with pytest.raises(DataCorrupted, match="hash does not hold"):
        bodies(command_log)
    gateway.call("kv/put", Put(first, b"garbage"), Done)
    with pytest.raises(DataCorrupted, match="not a frame"):
        bodies(command_log)
    gateway.call("kv/deleterange", DeleteRange(first), Done)
    with pytest.raises(Cut):
        bodies(command_log)


def test_nodes_that_append_at_once_lose_nothing_and_do_nothing_twice(shared_etcd: Etcd, prefix: str) -> None:
    """Each appends behind what it has seen, begins again when another was faster, and loses answers now and then."""
    each, nodes = 15, 4

    def work(node: int) -> None:
        chance = random.Random(node)
        with Proxy(shared_etcd.ports[0][0]) as proxy:
            address = Address((Endpoint("127.0.0.1", proxy.port),))
            with contextlib.closing(shared_etcd.gateway(address, pace=replace(QUICK, within_s=60))) as gateway:
                own = CommandLog(gateway, prefix)
                own.begin()
                for number in range(each):
                    while True:
                        head = own.look().head
                        if chance.random() < 0.3:
                            proxy.lose_answers(chance.randint(1, 2))
                        if own.append(head, DIGEST, node, b"%d.%d" % (node, number), None):
                            break

    failures: list[BaseException] = []

    def guarded(node: int) -> None:
        try:
            work(node)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=[node]) for node in range(nodes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with contextlib.closing(shared_etcd.gateway()) as gateway:
        found = bodies(CommandLog(gateway, prefix))
    assert len(found) == each * nodes
    for node in range(nodes):
        assert [body for body in found if body.startswith(b"%d." % node)] == [b"%d.%d" % (node, n) for n in range(each)]


def test_whether_it_was_appended_may_stay_unknown(etcd: Etcd) -> None:
    with contextlib.closing(etcd.gateway()) as gateway:
        CommandLog(gateway, "p").begin()
    with contextlib.closing(etcd.gateway(pace=replace(QUICK, within_s=0.5))) as gateway:
        command_log = CommandLog(gateway, "p")
        etcd.kill()
        with pytest.raises(StatementCompletionUnknown, match="not known"):
            command_log.append(0, DIGEST, 1, b"c", None)


def test_who_is_out_of_office_appends_and_saves_nothing(command_log: CommandLog, gateway: Gateway) -> None:
    held = office(gateway, command_log)
    assert command_log.append(0, DIGEST, 1, b"c1", held)
    gateway.call("kv/deleterange", DeleteRange(command_log.keys.coordinator), Done)
    assert command_log.append(1, DIGEST, 1, b"c2", held) is None
    assert not command_log.save(1, DIGEST, b"state", held)
    again = office(gateway, command_log)
    assert again.revision > held.revision
    # Its own node's earlier term is over, too.
    assert command_log.append(1, DIGEST, 1, b"c2", held) is None
    assert command_log.append(1, DIGEST, 1, b"c2", again)
    assert bodies(command_log) == [b"c1", b"c2"]
    assert keys(gateway, command_log.keys.states) == []


def test_an_office_is_taken_once(command_log: CommandLog, gateway: Gateway) -> None:
    lease = gateway.call("lease/grant", Grant(60), Granted).lease
    first = command_log.take_office(Coordinator(1, b"1" * 16), lease)
    assert first is not None
    assert first.coordinator.node == 1
    assert command_log.take_office(Coordinator(2, b"2" * 16), lease) == first == command_log.look().office


def test_a_snapshot_takes_the_place_of_commands_up_to_the_one_before(command_log: CommandLog, gateway: Gateway) -> None:
    held = office(gateway, command_log)
    fill(command_log, 1, 3)
    assert command_log.append(3, DIGEST, 1, bytes(2 << 20), None)
    big = random.Random(1).randbytes(3 << 20)
    assert command_log.save(4, DIGEST, big, held)
    assert len(bodies(command_log)) == 4
    assert not command_log.save(4, DIGEST, b"again", held)
    fill(command_log, 5, 6)
    present = command_log.look()
    assert command_log.save(6, DIGEST, b"six", held)
    with pytest.raises(Cut):
        bodies(command_log)
    assert bodies(command_log, 4) == [b"c5", b"c6"]
    # The parts of what was cut are gone with it, and those of the snapshot before.
    assert keys(gateway, command_log.keys.parts) == []
    assert len(keys(gateway, command_log.keys.states)) == 1
    now = command_log.look()
    assert (now.snapshot.number, now.snapshot.cut) == (6, 4) if now.snapshot else False
    assert command_log.state(now)[1] == b"six"
    # Who had begun to read the one before reads it to its end.
    assert command_log.state(present)[1] == big


def test_a_snapshot_that_went_while_it_was_read_is_no_error_of_the_log(etcd: Etcd) -> None:
    with contextlib.closing(etcd.gateway()) as gateway:
        command_log = CommandLog(gateway, "p")
        command_log.begin()
        held = office(gateway, command_log)
        fill(command_log, 1, 2)
        assert command_log.save(1, DIGEST, b"one", held)
        present = command_log.look()
        assert command_log.save(2, DIGEST, b"two", held)
        etcd.compact()
        with pytest.raises(Compacted):
            command_log.state(present)
        assert command_log.state(command_log.look())[1] == b"two"


def test_what_is_not_ours_under_our_keys_is_found(command_log: CommandLog, gateway: Gateway) -> None:
    fill(command_log, 1, 2)
    entry = gateway.call("kv/range", Range(command_log.keys.entry(1)), Ranged).kvs[0]
    gateway.call("kv/put", Put(command_log.keys.entry(2), entry.value), Done)
    with pytest.raises(DataCorrupted, match="command 1 is kept as number 2"):
        bodies(command_log)
    gateway.call("kv/put", Put(command_log.keys.entry(2), b"garbage"), Done)
    with pytest.raises(DataCorrupted, match="a command in etcd: not a frame"):
        bodies(command_log)
    gateway.call("kv/put", Put(command_log.keys.head, b"many"), Done)
    with pytest.raises(DataCorrupted, match="no number"):
        command_log.look()
    gateway.call("kv/deleterange", DeleteRange(command_log.keys.head), Done)
    with pytest.raises(DataCorrupted, match="without its head"):
        command_log.look()
