"""The operator of the simulated group: changes members, hands over leadership, replaces a lost disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.odds import TICK
from tsdb.cluster.raft.changes import Change, MemberChange, Transition
from tsdb.cluster.raft.state import Role

if TYPE_CHECKING:
    from tests.sim.member import Member
    from tests.sim.world import World

ADD, LEARN, REMOVE = MemberChange.ADD_VOTER, MemberChange.ADD_LEARNER, MemberChange.REMOVE


class Operator:
    """Acts once a tick. A member whose disk was lost is removed before anything else is changed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lost: Member | None = None
        self.wiped = False

    def leader(self) -> Member | None:
        """Who leads the latest term, if anybody."""
        # Not ``status``: it is asked all the time.
        leaders = [m for m in self.world.members.values() if m.up and m.node._raft.role is Role.LEADER]
        return max(leaders, key=lambda m: m.node._raft.term, default=None)

    def act(self) -> None:
        chance, odds = self.world.chance, self.world.odds
        leader = self.leader()
        if leader is None:
            return
        if self.lost is not None:
            self._replace(leader, self.lost)
        elif odds.wipe and not self.wiped and chance.random() < 0.02:
            self._wipe(leader)
        elif chance.random() < odds.change:
            self._change(leader)
        elif chance.random() < odds.transfer:
            to = chance.choice(leader.node.status.configuration.all_voters() or [leader.id])
            some = chance.choice([m for m in self.world.members.values() if m.up])
            some.ask(lambda: some.node.transfer_leadership(to))

    def _change(self, leader: Member) -> None:
        chance = self.world.chance
        configuration = leader.node.status.configuration
        transition = chance.choice(list(Transition))
        if configuration.joint:
            change = Change()
        else:
            wanted = {}
            for _ in range(chance.choice((1, 1, 2, 3))):
                wanted[chance.choice(list(self.world.members))] = chance.choice((ADD, ADD, LEARN, REMOVE))
            added = {n for n, kind in wanted.items() if kind is ADD and not self.world.members[n].gone}
            voters = {n for n in configuration.voters if wanted.get(n, ADD) is ADD} | added
            # With fewer one that is down or lost would stop the group for ever.
            if len(voters) < min(2, len(configuration.voters)):
                return
            members = tuple((kind, n) for n, kind in wanted.items() if not self.world.members[n].gone)
            if not members:
                return
            changed = voters ^ set(configuration.voters)
            change = Change(members, transition if len(changed) < 2 or transition else Transition.AUTO)
        leader.ask(lambda: leader.node.propose_change(change))

    def _wipe(self, leader: Member) -> None:
        """A disk is lost, of one of three or more voters that are all up: more than that may lose what is committed."""
        configuration = leader.node.status.configuration
        voters = [self.world.members[n] for n in configuration.voters]
        if len(voters) < 3 or configuration.joint or not all(m.up for m in voters):
            return
        if any(m.node.status.configuration != configuration for m in voters):
            return
        # Nor may a change be on its way that would make the others too few.
        if any(m.store.applied < m.node._raft.log.last_index() for m in voters):
            return
        self.lost = self.world.chance.choice(voters)
        self.wiped = True
        self.lost.crash()
        self.lost.gone = True
        self.world.add_member().start()

    def _replace(self, leader: Member, lost: Member) -> None:
        configuration = leader.node.status.configuration
        if configuration.joint:
            change = Change()
        elif configuration.has(lost.id):
            new = max(self.world.members)
            change = Change(((REMOVE, lost.id), (ADD, new)), Transition.IMPLICIT)
        else:
            if leader.node.status.applied >= leader.node.status.committed:
                self.lost = None
            return
        leader.ask(lambda: leader.node.propose_change(change))

    def heal(self) -> None:
        """No more changes, but what was begun is ended."""
        leader = self.leader()
        if leader is not None and leader.up:
            if self.lost is not None:
                self._replace(leader, self.lost)
            elif leader.node.status.configuration.joint:
                leader.ask(lambda: leader.node.propose_change(Change()))
        self.world.later(3 * TICK, self.heal)

    def current_members(self) -> list[Member] | None:
        """All members of the leader's configuration, if none of them is lost and no change is under way."""
        leader = self.leader()
        if leader is None or leader.node.status.configuration.joint:
            return None
        configuration = leader.node.status.configuration
        members = [self.world.members[n] for n in (*configuration.voters, *configuration.learners)]
        return None if any(m.gone or not m.up for m in members) else members
