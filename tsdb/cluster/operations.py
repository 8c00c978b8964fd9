"""What an operator's commands find and say, whoever keeps the metadata: a group of the nodes, or etcd."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from tsdb.cluster.metadata.records import LocationRecord, Member, Ring
from tsdb.cluster.metadata.state import State
from tsdb.errors import UndefinedObject

NOT_MOVED = "points do not move between nodes yet"
NOTES_MAX = 10
NAMES_MAX = 5


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
    return f"node {node} is given nothing new to hold. {leaving(state, node)}"


def leaving(state: State, node: int) -> str:
    """What becomes of the locations of a node that drains."""
    staying = sum(not each.gone and not each.draining for each in state.all(Member))
    counts = Counter(
        "waiting" if each.replication_factor > staying else "going"
        for location in state.all(LocationRecord)
        if node in (*location.voters, *location.learners) and (each := state.get(Ring, location.database)) is not None
    )  # fmt: skip
    texts = {
        "going": "{} go to other nodes",
        "waiting": f"{{}} stay until another node joins: {staying} nodes are too few for their databases",
    }
    parts = [text.format(counts[what]) for what, text in texts.items() if counts[what]]
    return f"It has {counts.total()} locations: {'; '.join(parts)}"


def notes(state: State, reached: Collection[int]) -> tuple[str, ...]:
    """What an operator should not overlook, a sentence each; ``reached``: the nodes that answer."""
    found = [
        f"node {each.node} drains. {leaving(state, each.node)}"
        for each in state.all(Member)
        if each.draining and not each.gone and held(state)[0][each.node]
    ]
    found += _without_majority(state, reached)
    more = len(found) - NOTES_MAX
    return (*found[:NOTES_MAX], f"… and {more} more of that kind") if more > 0 else tuple(found)


def _without_majority(state: State, reached: Collection[int]) -> Iterable[str]:
    """The databases that take no writes and no queries until other nodes are there again."""
    away: Counter[tuple[int, tuple[int, ...]]] = Counter()
    for each in state.all(LocationRecord):
        # Before an epoch is active, those of the last one that was have to say what they have.
        for voters in (each.active_voters, each.voters):
            if voters and 2 * sum(node in reached for node in voters) <= len(voters):
                away[each.database, voters] += 1
                break
    for nodes in sorted({voters for _, voters in away}):
        databases = sorted(database for database, voters in away if voters == nodes)
        names = ", ".join(name_of(state, each).removeprefix("database ") for each in databases[:NAMES_MAX])
        more = f" and {len(databases) - NAMES_MAX} more" if len(databases) > NAMES_MAX else ""
        count = locations_text(sum(away[each, nodes] for each in databases))
        missing_ones = ", ".join(str(node) for node in nodes if node not in reached)
        of = f"of the nodes {', '.join(map(str, nodes))} too few answer" if len(nodes) > 1 else "they are on one node"
        yield f"no writes to and no queries of {names}{more} ({count}): {of}. Start node {missing_ones} again"


def name_of(state: State, database: int) -> str:
    """For messages; a database that was dropped has its number alone."""
    found = state.catalog.databases_by_number.get(database)
    return f"database {database}" if found is None else f'database "{found.name}"'


def locations_text(count: int) -> str:
    return f"{count} location{'s' * (count != 1)}"


def removed(node: int) -> str:
    return f"node {node} is removed; its number and its data directory never come back, and it stops if it runs"
