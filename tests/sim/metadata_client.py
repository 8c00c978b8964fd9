"""A client of the metadata: it has a session and sends each command, over and over, until somebody answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.metadata.draws import action
from tests.sim.kept import Kept
from tests.sim.odds import TICK
from tsdb.cluster.metadata.commands import Action, ChangeSchema, Command, OpenClient, encode
from tsdb.cluster.metadata.records import Answer
from tsdb.model.role_changes import CreateRole
from tsdb.model.roles import Role

if TYPE_CHECKING:
    from tests.sim.member import Member
    from tests.sim.world import World

NS_A_UNIT = 10_000_000
SECOND = 10**9


class MetadataClient:
    """Most of its commands make a role of a name that nobody else has, so one that counts twice is refused."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = 1_000 + number
        self.served = False
        self._last = False
        self._session = 0
        self._commands = 0
        self._made = 0
        self._role = ""
        self._body = b""
        self._sent: list[bytes] = []
        self._tries = 0

    def act(self) -> None:
        """Send the command that waits for its answer, or the next one, to somebody."""
        chance = self.world.chance
        members = [m for m in self.world.members.values() if m.up]
        if self.world.healed:
            members = self.world.operator.current_members() or members
        if members:
            member = chance.choice(members)
            body = self._body or self._next(member)
            if self._sent and chance.random() < 0.2:
                # An old one was under way for long.
                body = chance.choice(self._sent)
            member.ask(lambda: member.node.propose(body))
        self._tries += 1
        tries = self._tries
        self.world.later(chance.choice((3, 10, 30)) * TICK, lambda: self._patience_ends(tries))

    def _patience_ends(self, tries: int) -> None:
        if self._tries == tries:
            self.act()

    def _next(self, member: Member) -> bytes:
        chance, now = self.world.chance, int(self.world.now) * NS_A_UNIT
        self._role = ""
        self._made += 1
        if not self._session:
            ttl = chance.choice((2, 5, 1_000)) * SECOND
            self._body = encode(Command(OpenClient(f"{self.number}-{self._made}", ttl), now))
            return self._body
        self._commands += 1
        wanted: Action
        if chance.random() < 0.6:
            self._role = f"role-{self.number}-{self._made}"
            wanted = ChangeSchema.of([CreateRole(Role(0, self._role))])
        else:
            assert isinstance(member.machine, Kept)
            wanted = action(chance, member.machine.metadata.machine.state)
        number = self._commands
        acknowledged = max(0, number - chance.randint(1, 8))
        self._body = encode(Command(wanted, now, (), self._session, number, acknowledged))
        self._sent = [*self._sent[-20:], self._body]
        return self._body

    def has_applied(self, member: Member) -> None:
        machine = member.machine
        assert isinstance(machine, Kept)
        found = machine.answers.get(self._body)
        if self._body and found is not None:
            self._answered(*found)

    def _answered(self, index: int, answer: Answer) -> None:
        from tests.sim.checks import Broken

        ended = answer.error == "ObjectNotInPrerequisiteState" and "has no session" in answer.message
        if not self._session:
            (self._session,) = answer.values
            self._commands = 0
        elif ended:
            self._session = 0
        elif self._role:
            if answer.error:
                raise Broken(f"client {self.number} made {self._role} once, and is told {answer}")
            self.world.checks.acknowledge(self._role, index)
            self.served = self.served or self._last
        self._body = b""
        self._tries += 1
        self.world.later(self.world.chance.uniform(0, 5 * TICK), self.act)

    def read_is_at(self, member: Member, context: bytes, index: int) -> None:
        """It reads nothing."""

    def give_up(self) -> None:
        """It never does."""

    def begin_last(self) -> None:
        """From now on it must be served."""
        self._last = True
