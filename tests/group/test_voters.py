"""Who should vote: rules by example, and whole lives of a cluster by chance."""

from __future__ import annotations

import random
from collections.abc import Collection

import pytest

from tsdb.cluster.group.voters import VOTERS_MAX, Seen, next_change
from tsdb.cluster.raft.changes import Change, Draft
from tsdb.cluster.raft.entries import Configuration
from tsdb.cluster.raft.progress import Inflights, Progress

GOOD = Seen(caught_up=True, lost=False, draining=False)
LOST = Seen(caught_up=False, lost=True, draining=False)
SLOW = Seen(caught_up=False, lost=False, draining=False)
DRAINING = Seen(caught_up=True, lost=False, draining=True)


def decided(
    voters: Collection[int], learners: Collection[int] = (), members: Collection[int] = (), **seen: Seen
) -> object:
    """The change for a configuration, where all are good that are not said to be otherwise (``n3=LOST``)."""
    nodes = [*voters, *learners]
    views = {node: seen.get(f"n{node}", GOOD) for node in nodes}
    change = next_change(Configuration(tuple(voters), learners=tuple(learners)), members or nodes, views)
    return None if change is None else [(what.name, node) for what, node in change.members]


@pytest.mark.parametrize(
    ("asked", "change"),
    [
        (decided([1, 2, 3]), None),
        (decided([1], members=[1, 2]), [("ADD_LEARNER", 2)]),
        (decided([1], [2]), [("ADD_VOTER", 2)]),
        (decided([1], [2], n2=SLOW), None),
        (decided([1, 2, 3, 4, 5], [6]), None),
        (decided([1, 2, 3, 4, 5], members=range(1, 7)), [("ADD_LEARNER", 6)]),
        (decided([1, 2, 3, 4, 5], [6], n3=LOST), [("ADD_LEARNER", 3), ("ADD_VOTER", 6)]),
        (decided([1, 2, 3, 4, 5], [6], n3=LOST, n6=SLOW), None),
        (decided([1, 2, 3], n3=LOST), None),
        (decided([1, 2, 3], [4], n3=LOST), [("ADD_LEARNER", 3), ("ADD_VOTER", 4)]),
        (decided([1, 2, 3, 4, 5], [6], n1=DRAINING), [("ADD_LEARNER", 1), ("ADD_VOTER", 6)]),
        (decided([1, 2, 3, 4, 5], [6], n1=DRAINING, n5=LOST), [("ADD_LEARNER", 5), ("ADD_VOTER", 6)]),
        (decided([1, 2], [3], n3=DRAINING), None),
        (decided([1, 2, 3], members=[1, 2]), [("REMOVE", 3)]),
        (decided([1, 2, 3], [4], members=[1, 2, 4]), [("REMOVE", 3), ("ADD_VOTER", 4)]),
        (decided([1, 2, 3], [4], members=[1, 2, 3]), [("REMOVE", 4)]),
    ],
)
def test_the_next_change_of_members(asked: object, change: object) -> None:
    assert asked == change


def test_nothing_is_changed_while_two_configurations_hold() -> None:
    joint = Configuration((1, 2, 4), (1, 2, 3), auto_leave=True)
    assert next_change(joint, [1, 2, 4, 5], dict.fromkeys([1, 2, 3, 4], GOOD)) is None


def applied(configuration: Configuration, change: Change) -> Configuration:
    def none() -> Inflights:
        return Inflights(1)

    members = {
        node: Progress(1, none(), learner=node in configuration.learners)
        for node in (*configuration.voters, *configuration.learners)
    }
    done = Draft(configuration, members, 1, none).change(change)
    return Draft(done, members, 1, none).leave() if done.joint else done


@pytest.mark.parametrize("seed", range(200))
def test_by_whatever_way_the_members_change_it_comes_to_rest_with_as_many_good_voters_as_may_be(seed: int) -> None:
    chance = random.Random(seed)
    configuration, members, following = Configuration((1,)), {1}, 2
    views = {1: GOOD}
    for _ in range(12):
        if chance.random() < 0.6:
            members.add(following)
            following += 1
        elif len(members) > 1:
            members.remove(chance.choice(sorted(members)))
        views = {node: chance.choice([GOOD, GOOD, GOOD, LOST, SLOW, DRAINING]) for node in members}
        views[chance.choice(sorted(members))] = GOOD
        for _ in range(60):
            change = next_change(configuration, members, views)
            if change is None:
                break
            before = configuration
            configuration = applied(configuration, change)
            assert configuration.voters
            assert len({*before.voters} ^ {*configuration.voters}) <= 2, "one vote moves at a time"
        else:
            raise AssertionError(f"it never comes to rest: {configuration} of {members}")
        assert {*configuration.voters, *configuration.learners} == members
        assert len(configuration.voters) <= VOTERS_MAX
        spare = [node for node in configuration.learners if views[node] == GOOD]
        bad = [node for node in configuration.voters if views[node] in (LOST, DRAINING)]
        assert not (spare and (bad or len(configuration.voters) < VOTERS_MAX)), (configuration, views)
