"""Which nodes have the replicas of an arc of a database, and the next step there. Pure.

All locations of an arc are at the same nodes, and a database mostly is one arc. Nothing is remembered: a step follows
from the records, from who is lost, and from what leaders know of their followers, so whoever leads next goes on.

1. Too few voters that stay, or none at a node where it is to be (``Goal``): a node that has nothing of the arc becomes
   a learner of all its locations. The leader of the metadata's group decides that (``next_steps``).
2. It has got a copy and caught up: an epoch has it as a voter, beside the others.
3. More voters than the replication factor says: an epoch without one of them, first without one that is drained, then
   without one where it is not to be, then without one that does not answer. When that is active the node drops what
   it had.

A database that is not shared, at a node that drains, becomes one first (``sharing``). Of an arc that is to have a
single replica the same node keeps all locations: whoever leads another one of them hands it over first.

2 and 3 are a location's leader's to decide (``changes``), which knows who has what: an epoch without a voter must find
a majority of the others good, or nothing could be written any more. A voter that cannot catch up leaves first, all its
locations, since their points go together; it is as good as any other node then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from tsdb.cluster.metadata.commands import (
    Action,
    Assign,
    Assignment,
    Expected,
    SetGoals,
    SetLearners,
    SetReplication,
    SpreadDatabase,
)
from tsdb.cluster.metadata.records import Goal, LocationRecord, Member, Ring, goal_number
from tsdb.cluster.metadata.state import State
from tsdb.cluster.replicas.leads import Leads, rank
from tsdb.cluster.replicas.records import arc_of_locations, is_shared

COMING_MAX = 4
"""Arcs to which nodes are coming at once; who cannot begin yet is not counted (``Waiting``)."""
HANDED_MAX = 1_024
"""Locations that a node hands over at once: their writes wait until that is agreed on."""
Waiting: TypeAlias = Mapping[int, frozenset[int]]
"""By node, locations that it is to have and cannot begin with: what it had of them before is not cleaned."""
NO_WAITING: Waiting = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Arc:
    """Of a replicated database, with its locations as they are."""

    database: int
    factor: int
    locations: tuple[LocationRecord, ...]
    goal: tuple[int, ...] = ()
    """Where it is to be, its leader first, if somebody has said so."""
    arc: int = 0

    @property
    def number(self) -> int:
        """Of its goal."""
        return goal_number(self.database, self.arc)

    @property
    def is_settled(self) -> bool:
        """No epoch is on its way to be active."""
        return all(each.epoch and each.active_epoch == each.epoch for each in self.locations)

    @property
    def voters(self) -> frozenset[int]:
        """Of all its locations."""
        return frozenset.intersection(*(frozenset(each.voters) for each in self.locations))

    @property
    def nodes(self) -> frozenset[int]:
        """That have something of it, or will."""
        return frozenset(node for each in self.locations for node in (*each.voters, *each.learners))

    @property
    def learners(self) -> frozenset[int]:
        return frozenset(node for each in self.locations for node in each.learners)

    @property
    def heir(self) -> int:
        """Who of its goal is to lead it now; 0: nobody can."""
        return next((node for node in self.goal if node in self.voters), 0)

    def has_come(self, staying: Collection[int]) -> bool:
        """Whether its goal is reached, or cannot be any more."""
        if not {*self.goal} <= {*staying} or len(self.goal) != self.factor:
            return True
        return all(
            {*each.voters} == {*self.goal} and not each.learners and each.leader == self.goal[0]
            for each in self.locations
        )

    def waits(self, node: int, waiting: Waiting) -> bool:
        """Whether a node that is to come cannot yet."""
        return any(each.location in waiting.get(node, ()) for each in self.locations)

    def is_stray(self, node: int) -> bool:
        """Whether some location has no replica there (any more)."""
        return any(node not in (*each.voters, *each.learners) for each in self.locations)


def arcs(state: State) -> Iterator[Arc]:
    """Of all replicated databases."""
    rings = {ring.database: ring for ring in state.all(Ring) if is_shared(ring)}
    spread = {number: arc_of_locations(ring) for number, ring in rings.items() if ring.arcs > 1}
    found: dict[tuple[int, int], list[LocationRecord]] = {}
    for record in state.all(LocationRecord) if rings else ():
        if record.database in rings:
            arc = spread[record.database].get(record.location, 0) if record.database in spread else 0
            found.setdefault((record.database, arc), []).append(record)
    for (database, arc), records in found.items():
        goal = state.get(Goal, goal_number(database, arc))
        yield Arc(database, rings[database].replication_factor, tuple(records), goal.nodes if goal else (), arc)


def next_steps(state: State, is_lost: Callable[[int], bool], waiting: Waiting = NO_WAITING) -> list[Action]:
    """Learners that come and go; ``is_lost``: who has not answered for so long that it is not waited for."""
    members = {each.node: each for each in state.all(Member) if not each.gone}
    lost = {node for node in members if is_lost(node)}
    staying = {node for node, each in members.items() if node not in lost and not each.draining}
    found: list[Action] = [*_to_be_shared(state, members, staying), *_to_be_gathered(state)]
    known = [*arcs(state)]
    coming = sum(any(not each.waits(node, waiting) for node in each.learners) for each in known)
    reached: list[int] = []
    for each in known:
        if each.is_settled and each.goal and each.has_come(staying):
            reached.append(each.number)
        elif each.is_settled:
            step = _step(each, members, staying, state, may_come=coming < COMING_MAX)
            coming += bool(step) and not each.learners
            found += step
    return [*found, SetGoals(tuple((number, ()) for number in reached))] if reached else found


def coming_back(state: State) -> frozenset[int]:
    """Nodes of which some may only wait (``Waiting``), where so many arcs have somebody coming that others cannot."""
    coming = [each for each in arcs(state) if each.learners]
    spread = {ring.database for ring in state.all(Ring) if ring.arcs > 1} if len(coming) >= COMING_MAX else ()
    return frozenset(node for each in coming if each.database in spread for node in each.learners)


def expected_of(state: State, action: Action) -> tuple[Expected, ...]:
    """What of these steps must be as it was when they were decided on: arcs may have got other numbers since."""
    match action:
        case SpreadDatabase() if (ring := state.get(Ring, action.database)) is not None:
            return (Expected("ring", ring.database, ring.changed),)
        case SetGoals():
            goals = (state.get(Goal, number) for number, _ in action.goals)
            return tuple(Expected("goal", goal.number, goal.changed) for goal in goals if goal is not None)
    return ()


def _to_be_shared(state: State, members: Mapping[int, Member], staying: Collection[int]) -> Iterator[Action]:
    """What only a node has that drains could not go elsewhere."""
    draining = {node for node, each in members.items() if each.draining}
    if not draining or not staying:
        return
    there = {each.database for each in state.all(LocationRecord) if each.leader in draining}
    for ring in state.all(Ring):
        if not is_shared(ring) and not ring.is_coming and ring.database in there:
            yield SetReplication(ring.database, ring.replication_factor)


def _to_be_gathered(state: State) -> Iterator[Action]:
    """Databases that are to have other arcs: it is done, or has to be begun again."""
    for ring in state.all(Ring):
        if ring.arcs_wanted and all(
            state.get(Goal, goal_number(ring.database, arc)) is None for arc in range(ring.arcs)
        ):
            yield SpreadDatabase(ring.database, ring.arcs_wanted, ring.cuts_wanted)


def _step(
    at: Arc, members: Mapping[int, Member], staying: Collection[int], state: State, *, may_come: bool
) -> list[Action]:
    needed = sum(node in staying for node in at.voters) < at.factor
    lacks = [node for node in at.goal if node in staying and node not in at.voters]
    stale = {node for node in at.learners if node not in staying or at.is_stray(node) or not (needed or node in lacks)}
    if stale:
        return [*_without_learners(at.locations, stale)]
    if at.learners or not may_come:
        return []
    node = _comes(at, members, staying, state) if needed and not lacks else 0
    if lacks and len(at.voters) <= at.factor:
        # Who has left some locations leaves them all first, and its points go.
        node = next((node for node in lacks if node not in at.nodes), 0)
    if not node and not at.voters:
        # Nobody has all of it, and who is to have it cannot come before it has left its part: somebody else does.
        node = _comes(at, members, staying, state)
    return [SetLearners(each.location, each.epoch, (*each.learners, node)) for each in at.locations] if node else []


def _comes(at: Arc, members: Mapping[int, Member], staying: Collection[int], state: State) -> int:
    """A node that has nothing of it: in a zone of its own if there is one, then the one that has least; 0: none."""
    zones = {members[node].zone for node in at.voters if node in members and node in staying}
    has = dict.fromkeys(members, 0)
    for record in state.all(LocationRecord):
        for node in {*record.voters, *record.learners}:
            has[node] = has.get(node, 0) + 1
    free = [node for node in staying if node not in at.nodes]
    return min(
        free,
        key=lambda node: (members[node].zone in zones, has[node], rank(at.number, node)),
        default=0,
    )


def _without_learners(records: Iterable[LocationRecord], nodes: Collection[int]) -> Iterator[Action]:
    for each in records:
        left = tuple(node for node in each.learners if node not in nodes)
        if left != each.learners:
            yield SetLearners(each.location, each.epoch, left)


# What the leader of a location does


@dataclass(frozen=True, slots=True)
class Follower:
    """Another replica as its leader knows it: it misses next to nothing and answers; it has something, and not what
    comes before the ops that are kept; it has something of what this leader has."""

    is_good: bool
    is_behind: bool = False
    has_come: bool = True


Followers: TypeAlias = Mapping[int, Mapping[int, Follower]]
"""By location, by node."""


def changes(state: State, node: int, followers: Followers) -> list[Action]:
    """The next changes of the locations that ``node`` leads, which are those in ``followers``."""
    members = {each.node: each for each in state.all(Member) if not each.gone}
    assigned: list[Assignment] = []
    found: list[Action] = []
    for at in arcs(state) if followers else ():
        coming = _coming(at, node, followers)
        for record in at.locations:
            known = followers.get(record.location)
            if known is not None and record.leader == node:
                led = _Led(at, record, known, members, coming)
                if (next_epoch := led.next_epoch()) is not None:
                    assigned.append(next_epoch)
                else:
                    behind = {each for each in record.learners if each in known and known[each].is_behind}
                    found += _without_learners((record,), behind)
    return [Assign(tuple(assigned)), *found] if assigned else found


def _coming(at: Arc, node: int, followers: Followers) -> frozenset[int]:
    """Learners that have not come to all of what ``node`` leads of an arc. Until they have they get no vote in any of
    it: a copy takes its time, and would leave locations with a voter more to lose if it were interrupted."""
    return frozenset(
        learner
        for each in at.locations
        if each.leader == node
        for learner in each.learners
        if (known := followers.get(each.location, {}).get(learner)) is None or not known.has_come
    )


@dataclass(frozen=True, slots=True)
class _Led:
    """A location, as the node sees it that leads it."""

    at: Arc
    record: LocationRecord
    known: Mapping[int, Follower]
    members: Mapping[int, Member]
    coming: frozenset[int]

    def _is_good(self, node: int) -> bool:
        return node == self.record.leader or (node in self.known and self.known[node].is_good)

    def next_epoch(self) -> Assignment | None:
        """One voter more, one less, or another leader. Who goes is not missed: a majority of the others is good."""
        record = self.record
        if record.active_epoch != record.epoch:
            return self._taken_back()
        for learner in record.learners:
            # It comes to all locations, or it would have to leave again.
            if self._is_good(learner) and not self.at.is_stray(learner) and learner not in self.coming:
                learners = tuple(each for each in record.learners if each != learner)
                voters = tuple(sorted((*record.voters, learner)))
                return Assignment(record.location, record.epoch + 1, record.leader, voters, learners)
        others = [voter for voter in record.voters if voter != record.leader]
        behind = [each for each in others if each in self.known and self.known[each].is_behind]
        strays = [each for each in others if self.at.is_stray(each)]
        if self.at.is_stray(record.leader):
            heir = next((each for each in others if self._is_good(each) and not self.at.is_stray(each)), 0)
            if heir:
                return next_epoch(record, heir)
            # Nobody here has all of the arc, or ever will: somebody can come who has nothing of it.
            return self._without(behind or (strays if len(record.voters) > self.at.factor else []))
        goes = [*behind, *strays]
        if not goes and len(record.voters) > self.at.factor:
            if (self.at.heir and record.leader not in self.at.goal) or self._is_left_to(others):
                # It hands over, and goes then.
                return None
            if self.at.factor == 1 and not self.at.heir and (stays := self._stays()) != record.leader:
                # Others would leave it another one, and the database would be in parts.
                return next_epoch(record, stays) if stays in record.voters and self._is_good(stays) else None
            goes = [max(others, key=self._superfluous)]
            # Not before all locations have somebody in its place; nor who is to stay, and has not come to all of them.
            if any(goes[0] in each.voters and len(each.voters) <= self.at.factor for each in self.at.locations) or (
                goes[0] in self.at.goal and record.leader not in self.at.goal
            ):
                return None
        return self._without(goes)

    def _without(self, goes: Iterable[int]) -> Assignment | None:
        """The first of these goes whom a majority of the others does not need."""
        record = self.record
        for node in goes:
            voters = tuple(each for each in record.voters if each != node)
            if 2 * sum(map(self._is_good, voters)) > len(voters):
                return Assignment(record.location, record.epoch + 1, record.leader, voters, record.learners)
        return None

    def _stays(self) -> int:
        """Which of several nodes that lead locations of a database is to have it alone, for whoever looks."""
        leaders = dict.fromkeys(each.leader for each in self.at.locations)
        return min(leaders, key=lambda node: (member := self.members.get(node)) is None or member.draining)

    def _is_left_to(self, others: Sequence[int]) -> bool:
        """Whether who leads drains, and the only other one is to be the only one."""
        leader, other = self.members.get(self.record.leader), self.members.get(others[0])
        leaves = leader is not None and leader.draining and other is not None and not other.draining
        return leaves and self.at.factor == len(others) == 1

    def _taken_back(self) -> Assignment | None:
        """An epoch that cannot become active, since one of its voters has fallen behind meanwhile: the voters before it
        are all there still."""
        record = self.record
        stuck = any(voter in self.known and self.known[voter].is_behind for voter in record.voters)
        if not stuck or record.voters == record.active_voters or record.leader not in record.active_voters:
            return None
        learners = tuple(each for each in record.learners if each not in record.active_voters)
        return Assignment(record.location, record.epoch + 1, record.leader, record.active_voters, learners)

    def _superfluous(self, node: int) -> tuple[bool, bool, bool, bool, int]:
        member = self.members.get(node)
        is_over = bool(self.at.goal) and node not in self.at.goal
        return member is None, member is not None and member.draining, is_over, not self._is_good(node), node


def heirs_of(state: State, node: int, followers: Followers, answering: Collection[int]) -> dict[int, int]:
    """Who is to lead what ``node`` leads, by location, of those that answer: one that has a vote and next to all of it.
    Who does not drain comes first, then one that can take all of an arc. What nobody can take is left out."""
    draining = {each.node for each in state.all(Member) if each.draining}
    leads: Leads | None = None
    found: dict[int, int] = {}
    for at in arcs(state) if followers else ():
        able = {
            each.location: {n for n in each.voters if n in answering and n in known and known[n].is_good}
            for each in at.locations
            if each.leader == node and (known := followers.get(each.location)) is not None
        }
        able = {location: (nodes - draining) or nodes for location, nodes in able.items() if nodes}
        if not able:
            continue
        leads = leads or Leads(state)
        whole = frozenset.intersection(*map(frozenset, able.values()))
        for each in at.locations:
            if each.location in able:
                found[each.location] = leads.give(each, whole or able[each.location])
        if len(found) >= HANDED_MAX:
            break
    return found


def heirs_by_goal(state: State, node: int, followers: Followers) -> dict[int, int]:
    """Who is to lead what ``node`` leads, where an arc has a goal: the first of the nodes there that has a vote in
    all of it, unless ``node`` is to have it as well and that is not the very first."""
    return {
        each.location: at.heir
        for at in (arcs(state) if followers else ())
        if at.heir not in (0, node) and (at.heir == at.goal[0] or node not in at.goal)
        for each in at.locations
        if each.leader == node
        and (known := followers.get(each.location, {}).get(at.heir)) is not None
        and known.is_good
    }


def handed_over(record: LocationRecord, source: int) -> Assignment | None:
    """Who is to lead cannot catch up with ``source``: that one leads, or else any other."""
    heirs = [source] if source in record.voters else [each for each in record.voters if each != record.leader]
    return next_epoch(record, heirs[0]) if heirs else None


def taken_out(record: LocationRecord, node: int, agreed: Sequence[int]) -> Assignment | None:
    """An epoch without a replica that has not what ``agreed`` ones have: it leaves with all that its node has of the
    arc, and comes again with a copy. None where too few of the others are known to be good."""
    if record.active_epoch != record.epoch:
        return None
    voters = tuple(each for each in record.voters if each != node)
    learners = tuple(each for each in record.learners if each != node)
    good = [each for each in voters if each in agreed]
    if 2 * len(good) <= len(voters):
        return None
    leader = good[0] if record.leader == node else record.leader
    return Assignment(record.location, record.epoch + 1, leader, voters, learners)


def next_epoch(was: LocationRecord, leader: int) -> Assignment:
    """With the same voters and learners."""
    return Assignment(was.location, was.epoch + 1, leader, was.voters, was.learners)
