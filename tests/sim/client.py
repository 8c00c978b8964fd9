"""A client: one operation at a time, on a register, through some member; what it saw is its history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.histories import Operation
from tests.sim.odds import TICK
from tests.sim.registers import Write, command

if TYPE_CHECKING:
    from tests.sim.member import Member
    from tests.sim.world import World


class Client:
    """Writes values that nobody else writes, and reads; both are given up after a while."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.operations = 0
        self.served = False
        self._last = False
        self._last_from = 0
        self._member: Member | None = None
        self._life = 0
        self._write: Write | None = None
        self._context = b""
        self._register = 0
        self._index: int | None = None
        self._begin = 0

    def act(self) -> None:
        """Begin an operation with a member that takes it."""
        if self._member is not None:
            return
        chance = self.world.chance
        self.give_up()
        members = [m for m in self.world.members.values() if m.up]
        if self.world.healed:
            # Who was removed knows no leader, and may not know that.
            members = self.world.operator.current_members() or members
        if members:
            member = chance.choice(members)
            self.operations += 1
            self._register = chance.randrange(self.world.odds.registers)
            self._begin = self.world.moment()
            self._member, self._life = member, member.life
            if chance.random() < 0.5:
                self._propose(member)
            else:
                self._context = f"{self.number}:{self.operations}".encode()
                member.ask(lambda: member.node.read_index(self._context))
        operation = self.operations
        patience = chance.choice((3, 10, 30)) * TICK
        self.world.later(patience, lambda: self._patience_ends(operation))

    def _propose(self, member: Member) -> None:
        value = self.number * 1_000_000 + self.operations
        write = Write(self.number, self.operations, self._register, value)
        self._write = write
        if not member.ask(lambda: member.node.propose(command(write))) and self._write is write:
            # Not taken: it never will be.
            self._write = None
            self._member = None

    def _patience_ends(self, operation: int) -> None:
        if self.operations == operation:
            self.give_up()
            self.act()

    def give_up(self) -> None:
        """A write that was not answered may take effect or not; a read was nothing."""
        if self._write is not None:
            write = self._write
            self.world.checks.history(write.register).append(Operation(True, write.value, self._begin))
        self._member = None
        self._write = None
        self._context = b""
        self._index = None

    def _done(self, value: int, write: bool) -> None:
        self.world.checks.history(self._register).append(Operation(write, value, self._begin, self.world.moment()))
        if self._last and write and self.operations > self._last_from:
            self.served = True
        self._write = None
        self.give_up()
        self.world.later(self.world.chance.uniform(0, 5 * TICK), self.act)

    def _is_mine(self, member: Member) -> bool:
        return self._member is member and self._life == member.life

    def has_applied(self, member: Member) -> None:
        if not self._is_mine(member):
            return
        if self._write is not None and member.machine.done.get(self.number, 0) >= self._write.number:
            self._done(self._write.value, True)
        elif self._index is not None and member.store.applied >= self._index:
            self._done(member.machine.values.get(self._register, 0), False)

    def read_is_at(self, member: Member, context: bytes, index: int) -> None:
        if self._is_mine(member) and context == self._context and context:
            self._index = index
            self.has_applied(member)

    def begin_last(self) -> None:
        """From now on it must be served."""
        self._last = True
        self._last_from = self.operations
        self.world.later(TICK, self.act)
