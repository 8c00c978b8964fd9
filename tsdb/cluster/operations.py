"""What an operator's commands find and say, whoever keeps the metadata: a group of the nodes, or etcd."""

from __future__ import annotations

from collections import Counter

from tsdb.cluster.metadata.records import LocationRecord, Member, Ring
from tsdb.cluster.metadata.rings import is_shareable
from tsdb.cluster.metadata.state import State
from tsdb.errors import UndefinedObject

NOT_MOVED = "points do not move between nodes yet"
ALONE_NOT_MOVED = "databases of one replica with continuous views do not move between nodes yet"
MOVING = "they go to other nodes, as far as there are enough of them"


def missing(state: State, node: int) -> UndefinedObject | None:
    """What is wrong with the number of a node; None for one that there is."""
    found = state.get(Member, node)
    if found is not None and not found.gone:
        return None
    text = f"there is no node {node}" if found is None else f"node {node} was removed"
    return UndefinedObject(text, hint="tsdb cluster status lists the nodes.")


def held(state: State) -> tuple[Counter[int], Counter[int]]:
    """Of how many locations each node has a replica, and how many it leads."""
    has: Counter[int] = Counter()
    leads: Counter[int] = Counter()
    for location in state.all(LocationRecord):
        has.update({*location.voters, *location.learners})
        leads[location.leader] += 1
    return has, leads


def drained(state: State, node: int, *, draining: bool, moves: bool) -> str:
    """What is said when a node drains, or does not any more; ``moves``: whether points go to other nodes."""
    if not draining:
        return f"node {node} may hold parts of databases again"
    count = held(state)[0][node]
    if not count:
        return f"node {node} is given nothing new to hold, and holds nothing: it can be removed"
    if not moves:
        return f"node {node} is given nothing new to hold. It keeps the {count} locations that it has: {NOT_MOVED}"
    text = f"node {node} is given nothing new to hold. It has {count} locations: {MOVING}"
    kept = count - moving_from(state, node)
    return f"{text}; it keeps {kept}: {ALONE_NOT_MOVED}" if kept else text


def moving_from(state: State, node: int) -> int:
    """How many locations a node has that go elsewhere when it is drained."""
    moving = {ring.database for ring in state.all(Ring) if ring.is_shared or is_shareable(state.catalog, ring.database)}
    return sum(each.database in moving and node in (*each.voters, *each.learners) for each in state.all(LocationRecord))


def removed(node: int) -> str:
    return f"node {node} is removed; its number and its data directory never come back, and it stops if it runs"
