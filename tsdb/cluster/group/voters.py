"""Who should vote: what the leader of the group changes next in its configuration. A pure decision.

Up to ``VOTERS_MAX`` nodes vote; the others are learners, which get the log and take the place of a voter that is lost.
One change at a time: the next is decided on when it is applied.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tsdb.cluster.raft.changes import Change, MemberChange
from tsdb.cluster.raft.entries import Configuration

VOTERS_MAX = 5


@dataclass(frozen=True, slots=True)
class Seen:
    """A node as the leader of the group sees it. ``caught_up``: it has (nearly) all that is committed. ``lost``: it has
    not answered for so long that another one should vote in its place."""

    caught_up: bool
    lost: bool
    draining: bool


def next_change(configuration: Configuration, members: Collection[int], seen: Mapping[int, Seen]) -> Change | None:
    """``members`` are the nodes of the cluster, as its metadata has them. None: it is as it should be, or must wait."""
    if configuration.joint:
        return None
    voters = set(configuration.voters)
    spare = [node for node in configuration.learners if node in members and _is_good(seen.get(node))]
    gone = [node for node in (*configuration.voters, *configuration.learners) if node not in members]
    if gone:
        return _without(gone[0], voters, spare)
    new = sorted({*members} - {*configuration.voters, *configuration.learners})
    if new:
        return Change(((MemberChange.ADD_LEARNER, new[0]),))
    if not spare:
        return None
    if len(voters) < VOTERS_MAX and not any(_is_lost(seen.get(node)) for node in voters):
        return Change(((MemberChange.ADD_VOTER, spare[0]),))
    replaced = [node for node in configuration.voters if _is_lost(seen.get(node))]
    replaced += [node for node in configuration.voters if (found := seen.get(node)) is not None and found.draining]
    if replaced:
        return Change(((MemberChange.ADD_LEARNER, replaced[0]), (MemberChange.ADD_VOTER, spare[0])))
    return None


def _without(node: int, voters: set[int], spare: list[int]) -> Change:
    """A node goes; if it had a vote, a learner has it from then on."""
    if node in voters and spare:
        return Change(((MemberChange.REMOVE, node), (MemberChange.ADD_VOTER, spare[0])))
    return Change(((MemberChange.REMOVE, node),))


def _is_good(seen: Seen | None) -> bool:
    return seen is not None and seen.caught_up and not seen.lost and not seen.draining


def _is_lost(seen: Seen | None) -> bool:
    return seen is not None and seen.lost
