"""What must hold in every step of a simulated run, seen with an eye that sees all nodes and disks at once."""

from __future__ import annotations

import struct
from itertools import combinations
from typing import TYPE_CHECKING

from tests.sim import linearizable
from tests.sim.histories import Operation, fault
from tests.sim.kept import Kept
from tsdb.cluster.raft.messages import AppendReply, Applied, Message, Stored, VoteReply
from tsdb.cluster.raft.state import Role
from tsdb.storage.frame import unseal
from tsdb.storage.keys import raft_key

if TYPE_CHECKING:
    from tests.sim.member import Member
    from tests.sim.world import World


NO_ZONE = ""


class Broken(Exception):
    """Something that must never happen did."""


class Checks:
    """Called by the world; raises Broken."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.leaders: dict[int, int] = {}
        self.votes: dict[tuple[int, int], int] = {}
        self.committed: dict[int, int] = {}
        """The term of every entry that was ever committed."""
        self._committed_in: dict[int, int] = {}
        """The term whose leader committed it."""
        self.commands: dict[int, bytes] = {}
        self._seen_commit: dict[int, int] = {}
        self.digests: dict[int, bytes] = {}
        """Of the metadata, by the index of the last command that was applied."""
        self.states: dict[int, int] = {}
        self.acknowledged: dict[str, int] = {}
        """Roles that a client was told to be there, and the index that made each."""
        self.calls: list[linearizable.Call] = []
        """Of clients of the metadata: reads, writes and compare-and-sets of members' zones."""
        self._histories: dict[int, list[Operation]] = {}

    def history(self, register: int) -> list[Operation]:
        return self._histories.setdefault(register, [])

    # Called by the members

    def started(self, member: Member) -> None:
        self._seen_commit[member.id] = member.store.log.base_index
        self.metadata(member)

    def stepped(self, member: Member) -> None:
        """After a message, a tick, an advance."""
        raft = member.node._raft
        if raft.role is Role.LEADER:
            self._leads(member)
        if raft.log.committed > self._seen_commit[member.id]:
            self._commits(member)

    def _leads(self, member: Member) -> None:
        """Election safety: one leader a term. Leader completeness: it has everything that was ever committed."""
        raft = member.node._raft
        other = self.leaders.get(raft.term)
        if other == member.id:
            return
        if other is not None:
            raise Broken(f"nodes {other} and {member.id} both lead term {raft.term}")
        self.leaders[raft.term] = member.id
        for index, term in self.committed.items():
            # A late vote may elect somebody in a term that is over; he needs nothing of later ones.
            if self._committed_in[index] >= raft.term or index < raft.log.first_index():
                continue
            if raft.log.term(index) != term:
                raise Broken(f"leader {member.id} of term {raft.term} lacks the committed entry {index} of term {term}")

    def _commits(self, member: Member) -> None:
        """State machine safety: at an index the same entry is committed everywhere, and for ever."""
        raft = member.node._raft
        first, last = max(self._seen_commit[member.id] + 1, raft.log.first_index()), raft.log.committed
        self._seen_commit[member.id] = last
        new = last not in self.committed
        for index in range(first, last + 1):
            term = raft.log.term(index)
            assert term is not None
            self._committed_in.setdefault(index, raft.term)
            if self.committed.setdefault(index, term) != term:
                raise Broken(f"node {member.id} commits {index} of term {term}, and {self.committed[index]} is there")
        if new and raft.role is Role.LEADER:
            self._is_on_majority(member, last, self.committed[last])

    def _is_on_majority(self, member: Member, index: int, term: int) -> None:
        configuration = member.node._raft.configuration
        for voters in (configuration.voters, configuration.outgoing):
            have = [n for n in voters if self._has_durably(self.world.members[n], index, term)]
            if voters and len(have) <= len(voters) // 2:
                raise Broken(f"node {member.id} commits {index}, which of {voters} only {have} have on disk")

    def _has_durably(self, member: Member, index: int, term: int) -> bool:
        stored = member.disk.durable("raft", raft_key(1, 3, index))
        if stored is not None:
            return bool(struct.unpack_from(">Q", unseal(stored, b"TR", 1, "an entry"))[0] == term)
        base = member.disk.durable("raft", raft_key(1, 1))
        return base is not None and struct.unpack_from(">Q", unseal(base, b"TR", 1, "the base"))[0] >= index

    def sent(self, member: Member, message: Message) -> None:
        """A vote, once given, is the only one of its term, over restarts as well."""
        if isinstance(message, VoteReply) and not message.pre and not message.rejected:
            key = member.id, message.term
            if self.votes.setdefault(key, message.to) != message.to:
                raise Broken(f"node {member.id} votes for {message.to} and {self.votes[key]} in term {message.term}")
        if isinstance(message, AppendReply) and message.sender != member.id:
            raise Broken(f"node {member.id} speaks for {message.sender}")

    def said_to_itself(self, member: Member, message: Message | Stored | Applied) -> None:
        if isinstance(message, VoteReply):
            self.sent(member, message)

    def applied(self, member: Member) -> None:
        """The same command at an index everywhere."""
        for index, command in member.machine.applied:
            if self.commands.setdefault(index, command) != command:
                raise Broken(f"node {member.id} applies {command!r} at {index}, and others {self.commands[index]!r}")
        member.machine.applied.clear()
        self.metadata(member)

    def metadata(self, member: Member) -> None:
        """Equal digests at equal indexes, over crashes and snapshots as well; what was acknowledged stays."""
        machine = member.machine
        if not isinstance(machine, Kept):
            return
        for index, digest in machine.digests:
            if self.digests.setdefault(index, digest) != digest:
                raise Broken(f"node {member.id} has other metadata at {index} than somebody else")
        for index, whole in machine.states:
            if self.states.setdefault(index, whole) != whole:
                raise Broken(f"node {member.id} is in another state at {index} than somebody else")
        if machine.contradictions:
            raise Broken(f"node {member.id} answers a command in two ways: {machine.contradictions}")
        machine.digests.clear()
        machine.states.clear()
        state = machine.metadata.machine.state
        for role, index in self.acknowledged.items():
            if index <= state.group.applied and role not in state.catalog.roles.by_name:
                raise Broken(f"node {member.id} lost {role}, which was acknowledged at {index}")

    def acknowledge(self, role: str, index: int) -> None:
        self.acknowledged[role] = index

    # Called at the end of phases

    def whole(self) -> None:
        """Log matching: logs with the same term at an index are equal up to it."""
        logs = [m.node._raft.log for m in self.world.members.values() if m.up]
        for one, two in combinations(logs, 2):
            low = max(one.first_index(), two.first_index())
            high = min(one.last_index(), two.last_index())
            while high >= low and one.term(high) != two.term(high):
                high -= 1
            for index in range(low, high):
                if one.term(index) != two.term(index):
                    raise Broken(f"logs match at {high} and differ at {index}")

    def histories(self) -> None:
        broken = linearizable.fault(self.calls, linearizable.register, NO_ZONE)
        if broken is not None:
            raise Broken(f"the zone of a member is not linearizable: {broken}")
        for register, history in self._histories.items():
            wrong = fault(history)
            if wrong is not None:
                raise Broken(f"register {register} is not linearizable: {wrong}")
