"""Which locations get another leader, and when: what the leader of the metadata's group decides. Pure.

Any choice is safe (replication design, 2.13); what is decided here is only how soon writes go on. A location is given
to another voter when its leader is lost, or is drained and has not given it away itself, and a majority of those whom
the next leader must reach is there; not again before a while, which doubles as long as it does not help (hysteresis).
Who leads least gets it, an arc as a whole (``leads``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from tsdb.cluster.metadata.commands import Assignment
from tsdb.cluster.metadata.records import LocationRecord, Member, Ring
from tsdb.cluster.metadata.state import State
from tsdb.cluster.replicas.leads import Leads
from tsdb.cluster.replicas.moving import next_epoch
from tsdb.cluster.replicas.records import is_shared

AGAIN_S = 2.0
AGAIN_MAX_S = 32.0
HAND_OVER_S = 3.0
"""Who is drained gives away by itself what it leads (``moving.heirs_of``); after so long it is taken from it."""
ASSIGNMENTS_MAX = 4_096
"""At once; the others in the next round."""


@dataclass(slots=True)
class Failover:
    """One leader's decisions in one term. ``_tried``: by location when, and how long to wait after it. ``_drains``: by
    node, since when it is known to be drained."""

    _tried: dict[int, tuple[float, float]] = field(default_factory=dict)
    _drains: dict[int, float] = field(default_factory=dict)

    def decide(self, state: State, is_lost: Callable[[int], bool], now: float) -> list[Assignment]:
        lost: dict[int, bool] = {}

        def gone(node: int) -> bool:
            if node not in lost:
                lost[node] = is_lost(node)
            return lost[node]

        found: list[Assignment] = []
        leads: Leads | None = None
        self._tried = {at: tried for at, tried in self._tried.items() if state.get(LocationRecord, at) is not None}
        draining = {each.node for each in state.all(Member) if each.draining}
        self._drains = {node: self._drains.get(node, now) for node in draining}
        late = {node for node, since in self._drains.items() if now - since >= HAND_OVER_S}
        shared = {ring.database for ring in state.all(Ring) if is_shared(ring)}
        for was in state.all(LocationRecord) if shared else ():
            if was.database not in shared or not was.epoch:
                continue
            if not gone(was.leader) and (was.leader not in late or not {*was.voters} - draining):
                if was.active_epoch == was.epoch:
                    self._tried.pop(was.location, None)
                continue
            able = _able(was, gone, draining)
            if able and self._may_try(was.location, now) and len(found) < ASSIGNMENTS_MAX:
                leads = leads or Leads(state)
                found.append(next_epoch(was, leads.give(was, able)))
        return found

    def _may_try(self, location: int, now: float) -> bool:
        at, wait = self._tried.get(location, (float("-inf"), AGAIN_S / 2))
        if now < at + wait:
            return False
        self._tried[location] = now, min(2 * wait, AGAIN_MAX_S)
        return True


def _able(was: LocationRecord, gone: Callable[[int], bool], draining: Collection[int]) -> list[int]:
    """Who can lead it next; nobody without a majority of those that the next leader has to reach."""
    there = [node for node in was.voters if not gone(node)]
    there = [node for node in there if node not in draining] or [node for node in there if node != was.leader] or there
    for voters in (was.voters, was.active_voters):
        if 2 * sum(not gone(node) for node in voters) <= len(voters):
            return []
    return there if there != [was.leader] else []
