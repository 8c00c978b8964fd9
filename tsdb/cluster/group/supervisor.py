"""What the leader of the group does unasked: it looks who answers, has the right nodes vote, and others lead locations
whose leaders are lost.

``look`` is called a few times a second, on the event loop of the group.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from tsdb.cluster.group.voters import Seen, next_change
from tsdb.cluster.metadata.commands import Action, Assignment
from tsdb.cluster.metadata.records import Member
from tsdb.cluster.metadata.state import State
from tsdb.cluster.raft.changes import MemberChange
from tsdb.cluster.raft.entries import Configuration
from tsdb.cluster.raft.node import Status
from tsdb.cluster.raft.progress import Progress, ProgressState
from tsdb.cluster.raft.state import Role
from tsdb.cluster.raft_driver import RaftDriver
from tsdb.cluster.replicas.failover import Failover
from tsdb.cluster.replicas.moving import Waiting, next_steps

log = logging.getLogger(__name__)

LAG_MAX = 100
"""Entries that a learner that has caught up may be behind."""
SILENT_S = 3.0
"""Who leads locations and was not heard of for so long is lost: others lead them (replication design, 2.7)."""
CUT_OFF_S = 1.5
"""So is one that has had no connection to the leader of the group for so long."""
AGAIN_S = 3.0
"""A change of members that is not done after so long is decided on anew."""


class Supervisor:
    """One leader's view of the others in one term. ``lost_s`` and ``lost_node_s``: see ``joining.Place``."""

    def __init__(self, driver: RaftDriver, lost_s: float, lost_node_s: float, connected: Callable[[int], bool]) -> None:
        self._driver = driver
        self._lost_s = lost_s
        self._lost_node_s = lost_node_s
        self._term = 0
        self._connected = connected
        self._connected_at: dict[int, float] = {}
        self._failover = Failover()
        self._heard: dict[int, float] = {}
        self._changed_at = float("-inf")
        self._configuration = Configuration()

    def silent_s(self, node: int, now: float) -> float:
        """For how long the leader has heard nothing of a node; −1 where this node does not lead."""
        heard = self._heard.get(node)
        return -1.0 if heard is None else now - heard

    def look(self, state: State, now: float) -> None:
        status = self._driver.status
        # Who begins to lead knows already who has been cut off from here, and for how long.
        for member in state.all(Member):
            if self._connected(member.node) or member.node not in self._connected_at:
                self._connected_at[member.node] = now
        if status.role is not Role.LEADER:
            self._heard.clear()
            return
        if status.term != self._term:
            self._term = status.term
            self._heard = dict.fromkeys(status.members, now)
            self._failover = Failover()
        self._listen(status, now)
        members = {each.node: each for each in state.all(Member) if not each.gone}
        if self._hand_over(status, members):
            return
        if status.configuration == self._configuration and now - self._changed_at < AGAIN_S:
            return
        seen = {node: self._seen(status, node, members.get(node), now) for node in status.members}
        change = next_change(status.configuration, members, seen)
        if change is not None:
            log.info("the votes for the metadata change: %s", ", ".join(_text(*each) for each in change.members))
            self._configuration, self._changed_at = status.configuration, now
            self._driver.propose_change(change)

    def assignments(self, state: State, now: float) -> list[Assignment]:
        """Epochs for locations whose leaders are lost, after ``look``; nothing where this node does not lead."""
        if not self.leads:
            return []
        status = self._driver.status
        return self._failover.decide(state, lambda node: self._is_lost(status, node, now), now)

    @property
    def leads(self) -> bool:
        status = self._driver.status
        return status.role is Role.LEADER and status.term == self._term

    def moves(self, state: State, now: float, waiting: Waiting) -> list[Action]:
        """The next steps of databases that are not at the nodes where they should be; nothing where this node does not
        lead. Who has not answered for ``lost_node_s`` is not waited for any longer."""
        if not self.leads:
            return []
        members = self._driver.status.members
        return next_steps(
            state, lambda node: node not in members or self.silent_s(node, now) >= self._lost_node_s, waiting
        )

    def _is_lost(self, status: Status, node: int, now: float) -> bool:
        if node not in status.members:
            return True
        silent = now - self._heard.get(node, now)
        return silent >= SILENT_S or now - self._connected_at.setdefault(node, now) >= CUT_OFF_S

    def _listen(self, status: Status, now: float) -> None:
        for node, progress in status.members.items():
            # The core asks each member for a sign of life once an election's time, and notes it here.
            if node == status.node or progress.recent_active or node not in self._heard:
                self._heard[node] = now
        self._heard = {node: at for node, at in self._heard.items() if node in status.members}

    def _seen(self, status: Status, node: int, member: Member | None, now: float) -> Seen:
        return Seen(
            node == status.node or has_caught_up(status.members[node], status.committed),
            now - self._heard[node] >= self._lost_s,
            member is not None and member.draining,
        )

    def hand_over(self, state: State) -> bool:
        """Have another voter lead, if this node does. Whether there is something to wait for."""
        status = self._driver.status
        if status.role is not Role.LEADER:
            return status.leader in (0, status.node)
        return self._transfer(status, {each.node: each for each in state.all(Member) if not each.gone})

    def _hand_over(self, status: Status, members: dict[int, Member]) -> bool:
        """Who is to leave does not lead, if somebody else can."""
        me = members.get(status.node)
        return (me is None or me.draining) and self._transfer(status, members)

    def _transfer(self, status: Status, members: dict[int, Member]) -> bool:
        others = [
            node
            for node in status.configuration.voters
            if node != status.node
            and (each := members.get(node)) is not None
            and not each.draining
            and has_caught_up(status.members[node], status.committed)
        ]
        if others and not status.transferee:
            self._driver.transfer_leadership(max(others, key=lambda node: status.members[node].match))
        return bool(others)


def has_caught_up(progress: Progress, committed: int) -> bool:
    return progress.state is ProgressState.REPLICATE and progress.match + LAG_MAX >= committed


def _text(change: MemberChange, node: int) -> str:
    """For the log."""
    match change:
        case MemberChange.ADD_VOTER:
            return f"node {node} gets a vote"
        case MemberChange.ADD_LEARNER:
            return f"node {node} follows without a vote"
        case MemberChange.REMOVE:
            return f"node {node} is no member any more"
        case MemberChange.UPDATE:
            return f"node {node} stays as it is"
