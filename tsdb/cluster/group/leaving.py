"""A node leaves the group: its vote goes first, while it can still be asked, and then the node.

Once the metadata says that a node is gone nobody talks to it any more. If it still voted then, the change that takes
its vote might need its own agreement, which never comes. So it is drained (nobody gives it a vote again, and it hands
the lead over), made a learner, and removed as one. Who was interrupted in between removes it again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from tsdb.cluster.metadata import members
from tsdb.cluster.metadata.commands import Action, ChangeMember, RemoveMember
from tsdb.cluster.metadata.records import Answer, Member
from tsdb.cluster.metadata.state import Draft, State
from tsdb.cluster.raft.changes import Change, MemberChange
from tsdb.cluster.raft_driver import RaftDriver
from tsdb.errors import ObjectNotInPrerequisiteState, TsdbError

log = logging.getLogger(__name__)

CONNECT_S = 2.0
"""For how long voters that do not answer are waited for: they may have just begun to."""
VOTE_S = 8.0
AGAIN_S = 1.0
_LOOK_S = 0.05


class Left(Protocol):
    """The part of ``group.Group`` that is needed here, on its event loop."""

    driver: RaftDriver

    @property
    def state(self) -> State: ...

    async def propose_here(self, action: Action) -> Answer: ...

    def answers(self, node: int) -> bool: ...


async def leave(group: Left, action: RemoveMember, check: Callable[[], Awaitable[None]]) -> None:
    """``check`` is asked when the node is drained, and so takes nothing more that only it has: what it raises is raised
    when the node has been taken back, if it was drained for this.

    Raises the refusal, ObjectNotInPrerequisiteState where the voters that answer are too few, and as
    ``Proposer.propose``."""
    # What the removal itself would refuse is refused before anything is changed.
    members.remove(Draft(group.state, 0), action)
    await _check_majorities(group, action.node)
    found = group.state.get(Member, action.node)
    drains = found is not None and not found.draining
    if drains:
        await group.propose_here(ChangeMember(action.node, draining=True))
    try:
        await check()
    except TsdbError:
        if drains:
            await group.propose_here(ChangeMember(action.node, draining=False))
        raise
    await _take_vote(group, action.node)
    await group.propose_here(action)


async def _check_majorities(group: Left, node: int) -> None:
    """More than half must answer of the voters as they are, and of those that stay."""
    voters = group.driver.status.configuration.voters
    if node not in voters:
        return
    stay = [each for each in voters if each != node]

    def enough() -> bool:
        return _is_majority(group, voters) and (not stay or _is_majority(group, stay))

    if await _within(CONNECT_S, enough):
        return
    silent = ", ".join(str(each) for each in voters if not group.answers(each))
    if not _is_majority(group, voters):
        raise ObjectNotInPrerequisiteState(
            f"node {node} cannot be removed: of the voters {_listed(voters)}, {silent} cannot be reached, and more "
            "than half of them must agree; nothing was changed",
            hint="Start them, node by node, and try again. If they are lost for good: tsdb cluster force-recover.",
        )
    raise ObjectNotInPrerequisiteState(
        f"node {node} cannot be removed: {silent} cannot be reached, and of the voters {_listed(stay)} that would stay "
        "more than half must be; nothing was changed",
        hint="Start those that cannot be reached, or remove them first.",
    )


async def _take_vote(group: Left, node: int) -> None:
    """Until this node has applied a configuration, not a joint one, in which the other has no vote."""
    change = Change(((MemberChange.ADD_LEARNER, node),))
    asked_at = float("-inf")
    now = asyncio.get_running_loop().time

    def gone() -> bool:
        nonlocal asked_at
        status = group.driver.status
        configuration = status.configuration
        if not configuration.joint and node not in configuration.voters:
            return True
        # Who leads hands over first, and the only voter waits for a learner to have a vote.
        may = not configuration.joint and status.leader not in (0, node) and len(configuration.voters) > 1
        if may and now() - asked_at >= AGAIN_S:
            asked_at = now()
            log.info("node %d gives its vote away", node)
            group.driver.propose_change(change)
        return False

    if not await _within(VOTE_S, gone):
        raise ObjectNotInPrerequisiteState(
            f"node {node} is drained, and still votes after {VOTE_S:g} s: it was not removed",
            hint="More than half of the voters must run and reach each other, and one that stays must not be drained "
            f"(tsdb cluster status): then remove it again, or take it back with tsdb cluster add {node}.",
        )


async def _within(seconds: float, look: Callable[[], bool]) -> bool:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not look():
        if loop.time() >= end:
            return False
        await asyncio.sleep(_LOOK_S)
    return True


def _is_majority(group: Left, voters: Collection[int]) -> bool:
    return 2 * sum(group.answers(each) for each in voters) > len(voters)


def _listed(voters: Collection[int]) -> str:
    return ", ".join(map(str, voters))
