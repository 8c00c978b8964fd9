"""A node gives what it leads to others while all goes on: before a planned stop, when it is drained, and when its disk
is full.

Locations go in two stages (replication design, 2.7): who is to lead has everything before the metadata say so, and
writes wait only for that. The lead of the metadata's group goes last, since the others are decided there. What nobody
can take stays, and is found missing when the node has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from tsdb.cluster.group.supervisor import Supervisor
from tsdb.cluster.metadata.records import LocationRecord, Member
from tsdb.cluster.metadata.state import State
from tsdb.cluster.raft_driver import RaftDriver
from tsdb.cluster.replicas.driver import ReplicaDriver
from tsdb.storage.engine import Engine

log = logging.getLogger(__name__)

METADATA_SHARE = 0.3
"""Of the time there is, for the lead of the metadata's group."""
_LOOK_S = 0.02
FULL_AGAIN_S = 5.0
"""A node that has got a lead again and still has no room on its disk gives it away after so long, then after twice as
long, and so on."""
FULL_AGAIN_MAX_S = 600.0


class Leading(Protocol):
    """The part of ``group.Group`` that is needed here, on its event loop."""

    engine: Engine
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


@dataclass(slots=True)
class FullDisk:
    """A leader without room on its disk takes no write, and others may have room: they lead instead.

    Nobody knows of another node's disk, so one node after the other gets the leads; one that is full as well gives them
    on. Where all are, the pauses grow."""

    _turn: int = 0
    _pause_s: float = FULL_AGAIN_S
    _not_before: float = 0.0

    async def look(self, group: Leading, now: float) -> None:
        """One look."""
        if group.engine.has_room_on_disk:
            self._pause_s, self._not_before = FULL_AGAIN_S, 0.0
            return
        node = group.driver.status.node
        others = sorted(_answering(group, lambda each: not each.draining and each.node != node))
        if now < self._not_before or not others:
            return
        heir = others[self._turn % len(others)]
        self._turn += 1
        given = await group.replicas.hand_over([heir])
        if given:
            log.warning("the disk is nearly full: node %d is to lead %d locations that this node led", heir, len(given))
            self._not_before = now + self._pause_s
            self._pause_s = min(2 * self._pause_s, FULL_AGAIN_MAX_S)


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
