"""A node gives what it leads to others while all goes on: before a planned stop, and when it is drained.

Locations go in two stages (replication design, 2.7): who is to lead has everything before the metadata say so, and
writes wait only for that. The lead of the metadata's group goes last, since the others are decided there. What nobody
can take stays, and is found missing when the node has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from typing import Protocol

from tsdb.cluster.group.supervisor import Supervisor
from tsdb.cluster.metadata.records import LocationRecord, Member
from tsdb.cluster.metadata.state import State
from tsdb.cluster.raft_driver import RaftDriver
from tsdb.cluster.replicas.driver import ReplicaDriver

log = logging.getLogger(__name__)

METADATA_SHARE = 0.3
"""Of the time there is, for the lead of the metadata's group."""
_LOOK_S = 0.02


class Leading(Protocol):
    """The part of ``group.Group`` that is needed here, on its event loop."""

    driver: RaftDriver
    replicas: ReplicaDriver
    supervisor: Supervisor

    @property
    def state(self) -> State: ...

    def answers(self, node: int) -> bool: ...


async def hand_over(group: Leading, seconds: float) -> None:
    """Until others lead what they can, for so many seconds at most."""
    now = asyncio.get_running_loop().time()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await _give_locations(group, now + (1 - METADATA_SHARE) * seconds)
            await _give_metadata(group, now + seconds)


async def give_when_drained(group: Leading) -> None:
    """One look: others lead what a drained node leads, if they stay themselves."""
    state, node = group.state, group.driver.status.node
    member = state.get(Member, node)
    if member is not None and member.draining and any(each.leader == node for each in state.all(LocationRecord)):
        await group.replicas.hand_over(_answering(group, lambda each: not each.draining))


async def _give_locations(group: Leading, end: float) -> None:
    loop = asyncio.get_running_loop()
    given: set[int] = set()
    while loop.time() < end:
        heirs = await group.replicas.hand_over(_answering(group, lambda _: True))
        given.update(heirs)
        left = [each for each in given if not _is_led_elsewhere(group, each)]
        if not left and not heirs:
            break
        await asyncio.sleep(_LOOK_S)
    if given:
        done = sum(_is_led_elsewhere(group, each) for each in given)
        log.info("others lead %d of %d locations that this node led and others have", done, len(given))


def _answering(group: Leading, may: Callable[[Member], bool]) -> Collection[int]:
    return frozenset(
        each.node for each in group.state.all(Member) if not each.gone and may(each) and group.answers(each.node)
    )


def _is_led_elsewhere(group: Leading, location: int) -> bool:
    """By one who takes writes; or there is no such location any more."""
    record = group.state.get(LocationRecord, location)
    return record is None or (record.leader != group.driver.status.node and record.active_epoch == record.epoch)


async def _give_metadata(group: Leading, end: float) -> None:
    loop = asyncio.get_running_loop()
    node = group.driver.status.node
    if group.driver.status.leader != node:
        return
    while loop.time() < end and group.driver.status.leader in (0, node):
        if not group.supervisor.hand_over(group.state):
            return
        await asyncio.sleep(_LOOK_S)
    log.info("node %d leads the metadata's group", group.driver.status.leader)
