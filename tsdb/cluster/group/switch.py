"""What comes from other nodes, to whom it is for: the member of the metadata's group, who answers about points, or
this node's replicas.

All use the log stream; the first byte of a message says whose it is, and msgpack's arrays, which are the metadata's
(``tsdb.cluster.pieces``), begin with none of the numbers below 0x80. Whoever else wants to have a channel takes one.
"""

from __future__ import annotations

from tsdb.cluster.raft.clients import Follow, Followed
from tsdb.cluster.raft.messages import Message
from tsdb.cluster.raft_driver import RaftDriver
from tsdb.cluster.replicas import packets, rounds
from tsdb.cluster.replicas.driver import ReplicaDriver
from tsdb.cluster.routing.exchange import Exchange
from tsdb.cluster.routing.messages import CHANNEL
from tsdb.cluster.transport.connection import RoundTrip
from tsdb.cluster.transport.guests import Guest
from tsdb.errors import ProtocolViolation


class Switch:
    """A ``transport.Receiver``. ``exchange`` and ``replicas`` are set before anything comes."""

    exchange: Exchange
    replicas: ReplicaDriver

    def __init__(self, driver: RaftDriver) -> None:
        self._driver = driver

    async def stream(self, peer: int, session: int, payload: memoryview) -> None:
        """Raises ProtocolViolation."""
        if len(payload) and payload[0] == CHANNEL:
            await self.exchange.received(peer, session, payload)
        elif len(payload) and payload[0] == packets.CHANNEL:
            await self.replicas.arrived(peer, payload)
        else:
            await self._driver.stream(peer, session, payload)

    def at_once(self, peer: int, payload: memoryview) -> bool:
        """Questions of reads, whose answers somebody waits for: nothing else depends on when they come. Raises
        ProtocolViolation."""
        if not len(payload) or payload[0] != rounds.CHANNEL:
            return False
        self.replicas.rounds.arrived(peer, payload)
        return True

    def answer(self, peer: int, payload: memoryview) -> bytes:
        """What is asked over a line. Raises ProtocolViolation."""
        if not len(payload) or payload[0] != rounds.CHANNEL:
            raise ProtocolViolation(f"node {peer} asks over a line what is no question of reads")
        return self.replicas.rounds.answer(peer, payload)

    def unreachable(self, peer: int) -> None:
        self._driver.unreachable(peer)
        self.exchange.lost(peer)

    # The rest is the metadata's alone.

    async def raft(self, message: Message) -> None:
        await self._driver.raft(message)

    def round_trip(self, peer: int, trip: RoundTrip) -> None:
        self._driver.round_trip(peer, trip)

    async def client(self, guest: Guest, message: Follow | Followed) -> None:
        await self._driver.client(guest, message)

    def client_left(self, guest: Guest) -> None:
        self._driver.client_left(guest)
