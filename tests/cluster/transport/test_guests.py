"""Who is no member: it may follow what is committed, over a connection for that alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from tests.cluster.transport.nodes import (
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
from tests.cluster.transport.pair import SMALL, ConnectionPair
from tsdb.clock import SystemClock
from tsdb.cluster.raft.clients import Feed, Follow, Followed
from tsdb.cluster.raft.entries import Entry
from tsdb.cluster.raft.messages import Heartbeat
from tsdb.cluster.transport import codec
from tsdb.cluster.transport.connection import Arrived, Connection
from tsdb.cluster.transport.counts import Counts
from tsdb.cluster.transport.dialer import dial
from tsdb.cluster.transport.frames import Kind
from tsdb.cluster.transport.greeting import NOT_KNOWN, SOMEBODY, Identity, Purpose, Reason, Refused
from tsdb.cluster.transport.limits import MESSAGE_COST
from tsdb.cluster.transport.link import Link
from tsdb.cluster.transport.members import Member
from tsdb.errors import ProtocolViolation

NEW = Identity(NOT_KNOWN, 0, UUID(int=0xE1), "n3")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("n1", "n2", "n3"):
        write_pair(tmp_path, name)
    return tmp_path


async def linked(folder: Path, peer: Peer) -> Link:
    """A connection of a guest that has greeted, to be run by the test."""
    there = Member(SOMEBODY, HOST, peer.transport.port)
    link, _ = await dial(NEW, there, Purpose.CLIENT, tls_of(folder, NEW.name), SETTINGS, SystemClock(), Counts())
    return link


def test_credit_and_messages_go_both_ways_over_the_connection_of_a_guest() -> None:
    pair = ConnectionPair(purpose=Purpose.CLIENT).opened()

    def carry(sender: Connection, taker: Connection, count: int) -> int:
        sent = 0
        while sender.may_send(1000) and sent < count:
            sender.send(Kind.RAFT, bytes(1000))
            events = pair.exchange()[taker is pair.acceptor]
            assert [type(event) for event in events] == [Arrived]
            held.extend((taker, event) for event in events if isinstance(event, Arrived))
            sent += 1
        return sent

    held: list[tuple[Connection, Arrived]] = []
    fits = SMALL.window // (1000 + MESSAGE_COST)
    assert carry(pair.dialer, pair.acceptor, 99) == carry(pair.acceptor, pair.dialer, 99) == fits
    for _ in range(30):
        for taker, event in held:
            taker.took(event)
        held.clear()
        pair.exchange()
        assert carry(pair.dialer, pair.acceptor, 1) == carry(pair.acceptor, pair.dialer, 1) == 1


def test_a_member_that_is_sent_a_message_over_what_it_dialed_ends_the_connection() -> None:
    pair = ConnectionPair(purpose=Purpose.CONTROL).opened()
    pair.acceptor.message_bytes_max, pair.acceptor._allowed = 1000, 10_000
    pair.acceptor.send(Kind.RAFT, b"")
    with pytest.raises(ProtocolViolation):
        pair.exchange()


@pytest.mark.parametrize("kind", [Kind.RAFT, Kind.STREAM])
def test_a_guest_may_do_nothing_but_what_it_came_for(folder: Path, kind: Kind) -> None:
    """A message of the group's is no message of a guest."""

    async def test() -> None:
        async with running(Peer(folder, identity(2))) as (two,):
            link = await linked(folder, two)
            payload = codec.encode(Heartbeat(1, 2, 5, 9), 1)
            waiting = [payload]

            def refill(connection: Connection) -> None:
                if waiting and connection.may_send(len(payload)):
                    connection.send(kind, waiting.pop())

            with pytest.raises(ConnectionResetError, match=r"was ended by the other side: .*(read|not for it to send)"):
                await link.run(refill=refill)
            await until(lambda: two.transport.counts.violations == 1)
            assert (two.recorder.messages, two.recorder.streams, two.recorder.clients) == ([], [], [])

    run(test)


def test_there_are_as_many_guests_as_there_may_be(folder: Path) -> None:
    async def test() -> None:
        few = replace(SETTINGS, clients_max=2)
        async with running(Peer(folder, identity(1)), Peer(folder, identity(2), few)) as (one, two):
            stay = [await linked(folder, two) for _ in range(2)]
            staying = [asyncio.create_task(link.run()) for link in stay]
            with pytest.raises(Refused) as refused:
                await linked(folder, two)
            assert refused.value.reason is Reason.ROOM
            await introduce(one, two)
            await stay[0].stop("enough")
            await until(lambda: len(two.transport._listener._guests) == 1)
            await (await linked(folder, two)).refuse("only looked in")
            await stay[1].stop("enough")
            await asyncio.gather(*staying)

    run(test)


def test_a_client_is_fed_over_its_own_connection_until_it_leaves(folder: Path) -> None:
    async def test() -> None:
        async with running(Peer(folder, identity(2))) as (two,):
            link = await linked(folder, two)
            fed: list[Feed | bytes] = []
            say: list[Follow | Followed] = [Followed(7, 2, 1, 4), Follow(7, 2, 1, 3)]

            def refill(connection: Connection) -> None:
                if say and connection.may_send(100):
                    connection.send(Kind.RAFT, codec.encode(say.pop(), 1))

            async def take(message: Arrived) -> None:
                stream = message.kind is Kind.STREAM
                fed.append(bytes(message.payload) if stream else codec.decode_for_client(message.payload, 1))

            running_link = asyncio.create_task(link.run(take=take, refill=refill))
            clients = two.recorder.clients
            await until(lambda: len(clients) == 2)
            assert [message for _, message in clients] == [Follow(7, 2, 1, 3), Followed(7, 2, 1, 4)]
            guest = clients[0][0]
            first, second = Feed(2, 7, 1, 3, (Entry(1, 4), Entry(1, 5))), Feed(2, 7, 1, 5)
            assert two.transport.feed(guest, first)
            await guest.send(b"a piece")
            assert two.transport.feed(guest, second)
            await until(lambda: fed == [first, b"a piece", second])
            await link.stop("enough")
            await running_link
            await until(lambda: two.recorder.left == [guest])
            assert not two.transport.feed(guest, second)

    run(test)
