"""Two nodes and real sockets: messages, streams, credit, the end of connections, and what is dropped."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cluster.transport.nodes import SETTINGS, Peer, identity, introduce, run, running, until, write_pair
from tsdb.cluster.raft.entries import Entry
from tsdb.cluster.raft.messages import Append, Heartbeat
from tsdb.cluster.transport.greeting import Purpose
from tsdb.cluster.transport.limits import MESSAGE_COST, MIB
from tsdb.cluster.transport.outbox import StreamBroken
from tsdb.errors import ProgramLimitExceeded, ProtocolViolation, StartupError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("n1", "n2", "n3"):
        write_pair(tmp_path, name)
    return tmp_path


@pytest.mark.parametrize("on_uvloop", [False, True])
def test_raft_messages_go_both_ways_whatever_their_length(folder: Path, on_uvloop: bool) -> None:
    async def test() -> None:
        async with running(*(Peer(folder, identity(number)) for number in (1, 2, 3))) as peers:
            await introduce(*peers)
            expected: dict[int, list[object]] = {1: [], 2: [], 3: []}
            for sender, to in ((1, 2), (2, 1), (3, 1), (1, 3)):
                for message in (
                    Heartbeat(sender, to, 5, 9, b"read"),
                    Append(sender, to, 5, 9, 5, (Entry(5, 10, body=bytes(500_000)),), 9),
                ):
                    assert peers[sender - 1].transport.send(message)
                    expected[to].append(message)
            for peer in peers:
                mine = expected[peer.transport.me.node]
                await until(lambda p=peer, m=mine: len(p.recorder.messages) == len(m))  # type: ignore[misc]
                assert sorted(map(repr, peer.recorder.messages)) == sorted(map(repr, mine))
            assert peers[0].transport.counts.dropped == 0

    run(test, on_uvloop=on_uvloop)


def test_messages_for_nobody_who_is_there_are_dropped_and_counted(folder: Path) -> None:
    async def test() -> None:
        peer = Peer(folder, identity(1))
        async with running(peer):
            transport = peer.transport
            assert not transport.send(Heartbeat(1, 2, 5, 9))
            assert transport.counts.dropped == 1
            assert peer.recorder.unreachables == [], "not from within send"
            await until(lambda: peer.recorder.unreachables == [2])
            with pytest.raises(KeyError):
                await transport.open_stream(2)

    run(test)


def test_a_stream_arrives_in_order_and_whole(folder: Path) -> None:
    async def test() -> None:
        async with running(Peer(folder, identity(1)), Peer(folder, identity(2))) as (one, two):
            await introduce(one, two)
            stream = await one.transport.open_stream(2)
            payloads = [bytes([number % 251]) * (number * 977 % MIB) for number in range(60)]
            for payload in payloads:
                await stream.send(payload)
            await until(lambda: len(two.recorder.streams) == len(payloads))
            assert [payload for _, _, payload in two.recorder.streams] == payloads
            assert {(peer, session) for peer, session, _ in two.recorder.streams} == {(1, two.recorder.streams[0][1])}
            with pytest.raises(ProgramLimitExceeded, match=r"node 2 .* takes 1048576"):
                await stream.send(bytes(MIB + 1))

    run(test)


def test_a_slow_receiver_holds_up_a_stream_and_nobodys_memory(folder: Path) -> None:
    async def test() -> None:
        async with running(Peer(folder, identity(1)), Peer(folder, identity(2))) as (one, two):
            await introduce(one, two)
            two.recorder.gate.clear()
            stream = await one.transport.open_stream(2)
            size, sent = 200_000, 0

            async def send() -> None:
                nonlocal sent
                for number in range(100):
                    await stream.send(number.to_bytes(4, "big") + bytes(size - 4))
                    sent += 1

            sending = asyncio.create_task(send())
            await until(lambda: one.transport.gauges()["transport_waiting_bytes"] > 2 * MIB - size - MESSAGE_COST)
            await asyncio.sleep(0.5)
            limits = SETTINGS.limits[Purpose.LOG]
            held = two.transport.counts.messages_received
            assert held * (size + MESSAGE_COST) <= limits.window
            assert sent <= (limits.window + limits.queue_bytes_max) // size
            assert not sending.done()
            # Control goes on meanwhile, and is bounded, too: what has no room is dropped.
            beats = 2 * (SETTINGS.limits[Purpose.CONTROL].window + SETTINGS.limits[Purpose.CONTROL].queue_bytes_max)
            taken = 0
            for number in range(beats // 1000):
                taken += one.transport.send(Heartbeat(1, 2, 5, number, bytes(1000)))
                await asyncio.sleep(0)
            assert 0 < taken < beats // 1000
            assert one.transport.counts.dropped == beats // 1000 - taken
            assert one.transport.counts.connects == 2, "slow is not gone"
            two.recorder.gate.set()
            await sending
            await until(lambda: len(two.recorder.streams) == 100 and len(two.recorder.messages) == taken)
            assert [int.from_bytes(payload[:4], "big") for _, _, payload in two.recorder.streams] == list(range(100))
            assert one.transport.counts.connects == 2

    run(test)


@pytest.mark.parametrize("on_uvloop", [False, True])
def test_what_is_taken_at_once_waits_for_nothing_and_uses_no_credit_up(folder: Path, on_uvloop: bool) -> None:
    async def test() -> None:
        found: list[bytes] = []

        def at_once(peer: int, payload: memoryview) -> bool:
            if payload[0] == 2:
                raise ProtocolViolation("nobody says this")
            if payload[0] != 1:
                return False
            assert peer == 1
            found.append(bytes(payload))
            return True

        async with running(Peer(folder, identity(1)), Peer(folder, identity(2), at_once=at_once)) as (one, two):
            await introduce(one, two)
            two.recorder.gate.clear()
            stream = await one.transport.open_stream(2)
            held = [bytes([0, number]) for number in range(3)]
            for payload in held:
                await stream.send(payload)
            # More than there is credit for at once, of one frame and of several.
            sent = [bytes([1, number]) + bytes(number % 3 * 200_000) for number in range(60)]
            assert sum(map(len, sent)) > 2 * SETTINGS.limits[Purpose.LOG].window
            for payload in sent:
                await until(lambda p=payload: one.transport.offer(2, p))  # type: ignore[misc]
            await until(lambda: len(found) == len(sent))
            assert found == sent
            assert two.recorder.streams == []
            two.recorder.gate.set()
            await until(lambda: len(two.recorder.streams) == len(held))
            assert [payload for _, _, payload in two.recorder.streams] == held
            # What is wrong ends the connection, and the next one is as good.
            violations = two.transport.counts.violations
            assert one.transport.offer(2, b"\2")
            await until(lambda: two.transport.counts.violations > violations)
            await until(lambda: one.transport.offer(2, b"\1again"))
            await until(lambda: found[-1] == b"\1again")

    run(test, on_uvloop=on_uvloop)


def test_a_node_that_comes_back_is_connected_again_and_its_streams_are_new(folder: Path) -> None:
    async def test() -> None:
        one, two = Peer(folder, identity(1)), Peer(folder, identity(2))
        async with running(one):
            async with running(two):
                port = two.transport.port
                await introduce(one, two)
                stream = await one.transport.open_stream(2)
                await stream.send(b"before")
                await until(lambda: len(two.recorder.streams) == 1)
                two.recorder.gate.clear()
            await until(lambda: not one.transport.is_connected(2))
            with pytest.raises(StreamBroken, match="node 2"):
                await stream.send(b"after")
            await until(lambda: 2 in one.recorder.unreachables)
            assert not one.transport.send(Heartbeat(1, 2, 5, 9))
            again = Peer(folder, identity(2))
            async with running(again, port=port):
                again.transport.set_members([one.member])
                stream = await one.transport.open_stream(2)
                await stream.send(b"after")
                await until(lambda: [payload for _, _, payload in again.recorder.streams] == [b"after"])
                assert one.transport.counts.connects == 4

    run(test)


def test_who_waits_for_room_hears_when_the_connection_ends(folder: Path) -> None:
    async def test() -> None:
        one, two = Peer(folder, identity(1)), Peer(folder, identity(2))
        async with running(one):
            async with running(two):
                await introduce(one, two)
                two.recorder.gate.clear()
                stream = await one.transport.open_stream(2)

                async def send() -> None:
                    while True:
                        await stream.send(bytes(100_000))

                senders = [asyncio.create_task(send()) for _ in range(3)]
                await until(lambda: one.transport.gauges()["transport_waiting_bytes"] > 1.8 * MIB)
            for sender in senders:
                with pytest.raises(StreamBroken):
                    await sender

    run(test)


def test_members_that_go_are_cut_off(folder: Path) -> None:
    async def test() -> None:
        async with running(*(Peer(folder, identity(number)) for number in (1, 2, 3))) as peers:
            one, two, three = peers
            await introduce(*peers)
            one.transport.set_members([one.member, three.member])
            await until(lambda: not two.transport.is_connected(1))
            assert one.transport.is_connected(3)
            assert not one.transport.send(Heartbeat(1, 2, 5, 9))
            await until(lambda: two.transport.counts.failures > 0)
            await until(lambda: one.transport.counts.refusals > 0)

    run(test)


def test_who_is_told_of_members_when_it_has_stopped_dials_nobody(folder: Path) -> None:
    """What a node applies while it stops may be of members: their connections would outlive its event loop."""

    async def test() -> None:
        async with running(Peer(folder, identity(1)), Peer(folder, identity(2))) as (one, two):
            await introduce(one, two)
            await one.transport.stop()
            before = asyncio.all_tasks()
            one.transport.set_members([two.member])
            assert asyncio.all_tasks() <= before

    run(test)


def test_round_trips_are_measured(folder: Path) -> None:
    async def test() -> None:
        async with running(Peer(folder, identity(1)), Peer(folder, identity(2))) as (one, two):
            await introduce(one, two)
            await until(lambda: 2 in one.recorder.trips and 1 in two.recorder.trips)
            trip = one.recorder.trips[2]
            assert 0 < trip.duration_ns < 10e9
            assert abs(trip.peer_ns - trip.sent_ns) < 10e9
            gauges = one.transport.gauges()
            assert 0 < gauges["transport_round_trip_seconds_max"] < 10
            assert gauges["transport_connections"] == 2
            assert gauges["transport_bytes_sent_total"] > 100
            await until(lambda: one.transport.gauges()["transport_frames_received_total"] > 4)

    run(test)


def test_a_port_that_is_taken_and_a_certificate_of_another_node_are_said_at_start(folder: Path) -> None:
    async def test() -> None:
        async with running(Peer(folder, identity(1))) as (one,):
            with pytest.raises(StartupError, match="cannot listen for nodes"):
                async with running(Peer(folder, identity(2)), port=one.transport.port):
                    pass
            for kind in ("crt", "key"):
                (folder / f"n2.{kind}").rename(folder / f"n9.{kind}")
            with pytest.raises(StartupError, match="of node n2, and this is n9"):
                Peer(folder, identity(2, name="n9"))

    run(test)
