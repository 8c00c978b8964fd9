"""A client that reads, writes and compares-and-sets records of the metadata; what it was told is a history.

The records are two members' zones. A compare-and-set says as which change it had seen the record (``Expected``), in a
state that may be old. Each value is written once, so that the change and the value mean the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.sim.kept import Kept
from tests.sim.linearizable import READ, Call, compare_and_set, saw, write
from tests.sim.metadata_client import NS_A_UNIT
from tests.sim.odds import TICK
from tsdb.cluster.metadata.commands import (
    Action,
    AddMember,
    ChangeMember,
    Command,
    Expected,
    Found,
    NewMember,
    OpenClient,
    encode,
)
from tsdb.cluster.metadata.records import Answer
from tsdb.cluster.metadata.records import Member as MemberRecord
from tsdb.cluster.metadata.state import State

if TYPE_CHECKING:
    from tests.sim.member import Member
    from tests.sim.world import World

NODES = (1, 2)
LONG_NS = 10**12


def uuid(node: int) -> bytes:
    return node.to_bytes(16, "big")


class RecordClient:
    """One call at a time. What is not answered in time is left: a read is forgotten, a change may be made."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = 2_000 + number
        self.served = False
        self._last = False
        self._session = 0
        self._commands = 0
        self._values = 0
        self._body = b""
        self._context = b""
        self._index: int | None = None
        self._member: Member | None = None
        self._life = 0
        self._call: Call | None = None
        self._tries = 0

    def act(self) -> None:
        """Begin a call with some member, or what must come before calls."""
        chance = self.world.chance
        self._drop()
        members = [m for m in self.world.members.values() if m.up]
        if self.world.healed:
            members = self.world.operator.current_members() or members
        if members:
            member = chance.choice(members)
            self._member, self._life = member, member.life
            self._begin(member)
        self._tries += 1
        tries = self._tries
        self.world.later(chance.choice((3, 10, 30)) * TICK, lambda: self._patience_ends(tries))

    def _patience_ends(self, tries: int) -> None:
        if self._tries == tries:
            self.act()

    def _drop(self) -> None:
        """A change that was not answered may be made at any later time."""
        if self._call is not None and self._call.asked != READ:
            self.world.checks.calls.append(self._call)
        self._call = self._member = self._index = None
        self._body = self._context = b""

    def _begin(self, member: Member) -> None:
        chance, state = self.world.chance, state_of(member)
        missing = [node for node in NODES if state.get(MemberRecord, node) is None]
        if not self._session:
            self._propose(member, OpenClient(f"{self.number}-{self._tries}", LONG_NS))
        elif missing:
            new = NewMember(uuid(missing[0]))
            self._propose(member, Found(uuid(99), new) if missing[0] == 1 else AddMember(new))
        else:
            node, begin = chance.choice(NODES), self.world.moment()
            kind = chance.choice(("read", "read", "write", "compare"))
            if kind == "read":
                self._call = Call(node, READ, begin)
                self._context = f"{self.number}:{self._tries}".encode()
                context = self._context
                member.ask(lambda: member.node.read_index(context))
                return
            self._values += 1
            value, seen = f"{self.number}-{self._values}", state.get(MemberRecord, node)
            assert seen is not None
            if kind == "write":
                self._call = Call(node, write(value), begin)
                self._propose(member, ChangeMember(node, zone=value))
            else:
                self._call = Call(node, compare_and_set(seen.zone, value), begin)
                self._propose(member, ChangeMember(node, zone=value), Expected("member", node, seen.changed))

    def _propose(self, member: Member, action: Action, *expected: Expected) -> None:
        now, number = int(self.world.now) * NS_A_UNIT, 0
        if self._session:
            self._commands += 1
            number = self._commands
        acknowledged = max(0, number - 20)
        self._body = body = encode(Command(action, now, expected, self._session, number, acknowledged))
        if not member.ask(lambda: member.node.propose(body)) and self._body == body:
            # Not taken: it never will be.
            self._call, self._body = None, b""

    def has_applied(self, member: Member) -> None:
        assert isinstance(member.machine, Kept)
        found = member.machine.answers.get(self._body) if self._body else None
        if found is not None:
            self._answered(found[1])
        elif self._index is not None and self._is_mine(member) and member.store.applied >= self._index:
            assert self._call is not None
            node = self._call.key
            assert isinstance(node, int)
            record = state_of(member).get(MemberRecord, node)
            assert record is not None, "what was there once is there"
            self._done(saw(record.zone))

    def _is_mine(self, member: Member) -> bool:
        return self._member is member and self._life == member.life

    def read_is_at(self, member: Member, context: bytes, index: int) -> None:
        if self._is_mine(member) and context and context == self._context:
            self._index = index
            self.has_applied(member)

    def _answered(self, answer: Answer) -> None:
        if not self._session:
            (self._session,) = answer.values
        if self._call is None:
            # It founded the cluster, or was a little late to do so.
            self._tries += 1
            self.act()
        elif answer.error in ("", "SerializationFailure"):
            self._done(not answer.error)

    def _done(self, answer: Any) -> None:
        call = self._call
        assert call is not None
        self.world.checks.calls.append(Call(call.key, call.asked, call.begin, answer, self.world.moment()))
        self._call = None
        self.served = self.served or (self._last and call.asked != READ)
        self._drop()
        self._tries += 1
        self.world.later(self.world.chance.uniform(0, 5 * TICK), self.act)

    def give_up(self) -> None:
        """The run ends."""
        self._drop()

    def begin_last(self) -> None:
        """From now on it must be served."""
        self._last = True


def state_of(member: Member) -> State:
    assert isinstance(member.machine, Kept)
    return member.machine.metadata.machine.state
