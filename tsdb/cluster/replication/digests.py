"""Anti-entropy (2.11): at every marker the replicas compare what they have, and who differs from a majority is rebuilt.

The one who drives a replica hashes the location's points when a marker is applied (``Replica.digest``); with the chain
hash of the log there that is the replica's digest. Followers tell their leader theirs. Where a majority of the voters
agree, each of the others, the leader included, is named to the metadata, which replace it as one whose disk was lost;
what it has is kept as evidence. Where nobody has a majority there is nothing to rebuild from, and nobody is named.
"""

from __future__ import annotations

from collections import Counter

from tsdb.cluster.replication.clients import NOBODY
from tsdb.cluster.replication.messages import Digest
from tsdb.cluster.replication.ops import Op, OpKind
from tsdb.cluster.replication.record import Diverged
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


def computed(state: State, sequence: int, points: bytes) -> None:
    """This replica's points had that hash when the marker at ``sequence`` was applied."""
    marker = state.markers.get(sequence)
    if marker is None:
        return
    if state.role is Role.LEADER:
        _compare(state, state.replica, sequence, (*marker, points))
    elif state.leader != NOBODY:
        state.send(Digest(state.replica, state.leader, state.location, state.promised, sequence, *marker, points))


def told(state: State, message: Digest) -> None:
    if message.epoch == state.epoch and state.heard_from(message.sender) is not None:
        digest = (message.sequence_epoch, message.chain, message.points)
        _compare(state, message.sender, message.sequence, digest)


def _compare(state: State, replica: int, sequence: int, digest: tuple[int, bytes, bytes]) -> None:
    known = state.digests.setdefault(sequence, {})
    known[replica] = digest
    while len(state.digests) > MARKERS_KEPT:
        del state.digests[min(state.digests)]
    votes = Counter(each for voter, each in known.items() if voter in state.voters)
    agreed = next((each for each, count in votes.items() if count >= state.majority), None)
    if agreed is None:
        return
    for other, each in sorted(known.items()):
        if each != agreed and other not in state.diverged:
            state.diverged.add(other)
            state.request(Diverged(state.location, state.epoch, other, sequence))
