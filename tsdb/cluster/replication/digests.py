"""Anti-entropy (2.11): at every marker the replicas compare what they have, and who differs from a majority is rebuilt.

The one who drives a replica hashes the location's points when a marker is applied (``Replica.digest``); with the chain
hash of the log there that is the replica's digest. Followers tell their leader theirs. Where a majority of the voters
agree, each of the others, the leader included, is named to the metadata, which take it out of the location's voters;
what it has is reported as evidence. Where nobody has a majority there is nothing to rebuild from, and nobody is named.

Points are compared among those who had the same schema, which may show more or less of the same points; logs always.
"""

from __future__ import annotations

from collections import Counter

from tsdb.cluster.replication.clients import NOBODY
from tsdb.cluster.replication.messages import Digest
from tsdb.cluster.replication.ops import Op, OpKind
from tsdb.cluster.replication.record import Diverged, Had
from tsdb.cluster.replication.state import Role, State

MARKERS_KEPT = 16
"""How many of the latest markers are still compared: a follower that is further behind has others to come."""


def applied(state: State, ops: tuple[Op, ...]) -> None:
    """Ops that are handed out to be applied: the markers among them will be asked about."""
    for op in ops:
        if op.kind is OpKind.MARKER:
            state.markers[op.sequence] = (op.epoch, op.chain)
    while len(state.markers) > MARKERS_KEPT:
        del state.markers[min(state.markers)]


def computed(state: State, sequence: int, points: bytes, schema: int) -> None:
    """This replica's points had that hash when the marker at ``sequence`` was applied, under that schema."""
    marker = state.markers.get(sequence)
    if marker is None:
        return
    if state.role is Role.LEADER:
        _compare(state, state.replica, sequence, Had(*marker, schema, points))
    elif state.leader != NOBODY:
        state.send(
            Digest(state.replica, state.leader, state.location, state.promised, sequence, *marker, points, schema)
        )


def told(state: State, message: Digest) -> None:
    if message.epoch == state.epoch and state.heard_from(message.sender) is not None:
        had = Had(message.sequence_epoch, message.chain, message.schema, message.points)
        _compare(state, message.sender, message.sequence, had)


def _compare(state: State, replica: int, sequence: int, had: Had) -> None:
    known = state.digests.setdefault(sequence, {})
    known[replica] = had
    while len(state.digests) > MARKERS_KEPT:
        gone = min(state.digests)
        del state.digests[gone]
        state.diverged -= {(other, at) for other, at in state.diverged if at <= gone}
    votes = Counter(each for voter, each in known.items() if voter in state.voters)
    agreed = next((each for each, count in votes.items() if count >= state.majority), None)
    if agreed is None:
        return
    for other, each in sorted(known.items()):
        if differs(each, agreed) and (other, sequence) not in state.diverged:
            state.diverged.add((other, sequence))
            others = tuple(sorted(voter for voter in state.voters if known.get(voter) == agreed))
            state.request(Diverged(state.location, state.epoch, other, sequence, others, agreed, each))


def differs(one: Had, other: Had) -> bool:
    """Whether two replicas have something else; another schema may show other points of the same ones."""
    if (one.epoch, one.chain) != (other.epoch, other.chain):
        return True
    return one.schema == other.schema and one.points != other.points
