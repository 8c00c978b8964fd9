"""From a layout to its placement in single steps, each safe in whatever state the one before was left.

A location's next step follows from its record, from what was heard of its replicas, and from its placement; nothing
else is remembered, so whoever leads the metadata group after a crash goes on. For each location one step at a time:

1. A learner where a replica is to come (*add*). Its leader sends it a snapshot, then the log; it counts for nothing.
2. When it has caught up, an epoch whose voters have it in the place of one that goes (*change*), or beside the others
   where there are too few. One voter at a time.
3. A leader that goes hands over first, if another voter can lead (*lead*); else the new voter leads from its epoch on.
4. When that epoch is active, the node that is no voter any more drops its data (*drop*).

What no step does: leave a location with fewer voters that are up and have its data than it had, unless it has more than
its replication factor; begin an epoch for which a majority of the voters before or after is not up; touch a location
whose last epoch is not active yet, or that is being split or merged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

from tsdb.cluster.metadata.commands import Action, Assign, Assignment, SetLearners
from tsdb.cluster.placement.layout import LocationState


class Kind(Enum):
    ADD = "add learner"
    CANCEL = "remove learner"
    CHANGE = "change voters"
    LEAD = "move leader"
    DROP = "drop replica"


EPOCHS = frozenset((Kind.CHANGE, Kind.LEAD))
"""Steps that begin an epoch."""


@dataclass(frozen=True, slots=True)
class Step:
    """What to do with a location, and what its record says then. ``node``: the one that comes, goes or leads;
    ``instead``: whose place it takes (0: nobody's). DROP is the node's own doing and changes no record."""

    kind: Kind
    location: int
    node: int
    leader: int
    voters: tuple[int, ...]
    learners: tuple[int, ...]
    epoch: int
    instead: int = 0


def action_of(steps: Iterable[Step]) -> list[Action]:
    """The commands that carry steps out: one for all epochs, one for each change of learners, none for data to drop."""
    found: list[Action] = []
    epochs: list[Assignment] = []
    for step in steps:
        if step.kind in EPOCHS:
            epochs.append(Assignment(step.location, step.epoch, step.leader, step.voters, step.learners))
        elif step.kind is not Kind.DROP:
            found.append(SetLearners(step.location, step.epoch, step.learners))
    return [Assign(tuple(epochs)), *found] if epochs else found


def next_step(at: LocationState, wanted: tuple[int, ...], leader: int, up: Collection[int]) -> Step | None:
    """A location's next step towards its placement; None: it waits for something, or is done.

    ``up``: the nodes that can do something now.
    """
    if not at.is_settled:
        return None
    if at.left:
        node = at.left[0]
        return Step(Kind.DROP, at.location, node, at.leader, at.voters, at.learners, at.epoch)
    if not at.can_change(up):
        # A new leader comes from whoever watches over failures; to move replicas needs one that works.
        return None
    stale = [node for node in at.learners if node not in wanted]
    if stale:
        learners = tuple(node for node in at.learners if node != stale[0])
        return Step(Kind.CANCEL, at.location, stale[0], at.leader, at.voters, learners, at.epoch)
    return _lead(at, wanted, leader, up) or _change(at, wanted, leader, up) or _add(at, wanted, up)


def _lead(at: LocationState, wanted: tuple[int, ...], leader: int, up: Collection[int]) -> Step | None:
    """Hand over to who should lead; from a leader that goes, to any voter that stays."""
    heirs = [leader] if leader in at.voters else []
    if at.leader not in wanted:
        heirs += [node for node in at.voters if node in wanted]
    heir = next((node for node in heirs if node in up and node != at.leader), None)
    if at.leader == leader or heir is None:
        return None
    return Step(Kind.LEAD, at.location, heir, heir, at.voters, at.learners, at.epoch + 1)


def _change(at: LocationState, wanted: tuple[int, ...], leader: int, up: Collection[int]) -> Step | None:
    comes = next((node for node in at.learners if node in at.caught_up and node in up), 0)
    goes = _goes(at, wanted, up) if len(at.voters) + bool(comes) > at.factor else 0
    if not comes and not goes:
        return None
    voters = tuple(sorted({*at.voters, *([comes] if comes else [])} - {goes}))
    leads = at.leader if at.leader in voters else (leader if leader in voters and leader in up else comes)
    if not leads or 2 * sum(node in up for node in voters) <= len(voters):
        return None
    # Of those that are up, too: what goes is not missed because another one is down.
    if not comes and sum(node in up for node in voters) < min(at.factor, sum(node in up for node in at.voters)):
        return None
    learners = tuple(node for node in at.learners if node != comes)
    return Step(Kind.CHANGE, at.location, comes or goes, leads, voters, learners, at.epoch + 1, goes if comes else 0)


def _goes(at: LocationState, wanted: tuple[int, ...], up: Collection[int]) -> int:
    """The voter to go, first one that is down; 0: all stay."""
    found = [node for node in at.voters if node not in wanted]
    return min(found, key=lambda node: (node in up, node == at.leader, node), default=0)


def _add(at: LocationState, wanted: tuple[int, ...], up: Collection[int]) -> Step | None:
    missing = [node for node in wanted if node not in at.voters and node not in at.learners and node in up]
    if at.learners or not missing:
        return None
    learners = (*at.learners, missing[0])
    gone = _goes(at, wanted, up) if len(at.voters) >= at.factor else 0
    return Step(Kind.ADD, at.location, missing[0], at.leader, at.voters, learners, at.epoch, gone)


# What becomes of a location


def taken(at: LocationState, step: Step) -> LocationState:
    """A location after a step: as its record says, and who has data of it."""
    left = tuple(node for node in at.left if node != step.node) if step.kind is Kind.DROP else at.left
    if step.kind in (Kind.CHANGE, Kind.CANCEL):
        gone = {*at.voters, *at.learners} - {*step.voters, *step.learners}
        left = tuple(sorted({*left, *gone}))
    return replace(
        at,
        leader=step.leader,
        voters=step.voters,
        learners=step.learners,
        caught_up=at.caught_up & frozenset(step.learners),
        left=left,
        epoch=step.epoch,
    )


def activated(at: LocationState) -> LocationState:
    """When the beginning of its epoch is on a majority of its voters' disks."""
    return replace(at, active_epoch=at.epoch, active_voters=at.voters)


def moving(at: LocationState) -> Iterator[int]:
    """Learners that are being brought up to date."""
    return (node for node in at.learners if node not in at.caught_up)
