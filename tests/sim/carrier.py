"""A snapshot on its way through the simulated network: in pieces, one after the other, cut anywhere, gone on with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tests.sim.odds import TICK
from tsdb.cluster.pieces import Begin, End, Have, Piece, Sending, decode
from tsdb.cluster.raft.messages import InstallSnapshot
from tsdb.errors import ProtocolViolation

if TYPE_CHECKING:
    from tests.sim.member import Member
    from tests.sim.world import World

PIN = 40 * TICK
ATTEMPTS = 4


class Carrier:
    """One sending. Each attempt is a connection of its own; what was under way over an older one may still come."""

    def __init__(self, world: World, sender: Member, message: InstallSnapshot) -> None:
        self.world = world
        self.sender = sender
        self.life = sender.life
        self.to = message.to
        self.name = f"{sender.life} {world.moment()}"
        now = int(world.now)
        snapshot, frozen = sender.store.begin_snapshot(self.name, now, now + PIN)
        what = msgspec.structs.replace(message, snapshot=snapshot)
        body = frozen()
        # Not too many pieces: the world waits for each.
        self.sending = Sending(what, body, max(world.odds.piece_bytes, len(body) // 12))
        self.connection = 0
        self.attempts = 0
        self._ended = False
        self._connect()

    def _connect(self) -> None:
        self.connection = self.world.moment()
        self.attempts += 1
        self._ended = False
        self._carry(self.sending.begin())

    def _carry(self, octets: bytes) -> None:
        world, connection = self.world, self.connection
        broken = (self.sender.id, self.to) in world.blocked or world.chance.random() < world.odds_now("cut_stream")
        if broken and world.chance.random() < 0.5:
            # It was sent, and nobody knows whether it arrived.
            world.later(10 * world.delay(), lambda: self._arrive(octets, connection, -1))
        if broken:
            world.later(world.chance.uniform(1, 5) * TICK, self._cut, self.sender)
        else:
            world.later(world.delay(), lambda: self._arrive(octets, connection, connection))

    def _cut(self) -> None:
        if self.sender.life != self.life:
            return
        if self.attempts < ATTEMPTS:
            self._connect()
        else:
            self._end(False)

    def _end(self, arrived: bool) -> None:
        self.sender.snapshot_ended(self.to, self.sender.store.end_snapshot(self.name, arrived))

    def _arrive(self, octets: bytes, connection: int, answer_over: int) -> None:
        receiver = self.world.members.get(self.to)
        have: Have | None = None
        lost = (self.to, self.sender.id) in self.world.blocked or receiver is None or not receiver.up
        if receiver is not None and receiver.up:
            try:
                have = take(receiver, connection, octets)
            except ProtocolViolation:
                lost = True
        if answer_over != self.connection:
            return
        if lost:
            self.world.later(5 * TICK, self._cut, self.sender)
        else:
            self.world.later(self.world.delay(), lambda: self._go_on(have), self.sender)

    def _go_on(self, have: Have | None) -> None:
        if self.sender.life != self.life:
            return
        self.sender.store.renew_snapshot(self.name, int(self.world.now) + PIN)
        if have is not None and have.digest == self.sending.digest:
            self.sending.resume(have.size)
            if have.size == self.sending.size and self._ended:
                self._end(True)
                return
        octets = self.sending.next()
        if octets is None:
            self._cut()
        else:
            self._ended = isinstance(decode(octets), End)
            self._carry(octets)


def take(receiver: Member, source: int, octets: bytes) -> Have | None:
    """What a process does with a part of a snapshot."""
    part = decode(octets)
    if isinstance(part, Begin):
        return receiver.receiving.begin(source, part)
    if isinstance(part, Piece):
        receiver.receiving.piece(source, part)
    elif isinstance(part, End):
        found = receiver.receiving.end(source, part)
        if found is not None:
            what, have = found
            assert isinstance(what, InstallSnapshot)
            receiver.receive(what)
            return have
    return None
