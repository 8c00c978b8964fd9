"""Whether clients are better sent to another node: what a balancer asks of each.

It is about this node: where nobody can answer, since too few of those run that have a database, no other node would do
better, and all of them stay ready for what else there is. What passes within seconds (an election, the lead of a lost
node) is waited for by statements, and so here; but a node that has just begun is ready when nothing is in the way.
"""

from __future__ import annotations

from collections.abc import Callable

from tsdb.cluster.metadata.records import LocationRecord, Member
from tsdb.cluster.metadata.state import State

LASTS_S = 5.0
"""What is in the way for so long counts: others lead what a lost node led after three to four seconds."""


def obstacle_of(state: State, *, has_leader: bool, answers: Callable[[int], bool]) -> str | None:
    """What is in the way of writes and of queries at the default level, at a node that has these connections."""
    if not has_leader:
        return "this node reaches no majority of the nodes that vote"
    away = {each.node for each in state.all(Member) if not each.gone and not answers(each.node)}
    for record in state.all(LocationRecord) if away else ():
        if record.leader in away and 2 * len(away.intersection(record.voters)) < len(record.voters):
            return f"this node does not reach node {record.leader}, which leads what others have that it does reach"
    return None


class Readiness:
    """``look`` is told again and again; any thread may ask ``obstacle``."""

    def __init__(self) -> None:
        self._since: float | None = float("-inf")
        self.obstacle: str | None = "this node has just begun"

    def look(self, found: str | None, now: float) -> None:
        """What is in the way now."""
        if found is None:
            self._since = None
        elif self._since is None:
            self._since = now
        lasts = self._since is not None and now - self._since >= LASTS_S
        self.obstacle = found if lasts else None
