"""Locations: who has replicas of each, who leads it, in which epoch (replication design, 2.0 and 2.3).

An epoch is assigned as the last one and one, and so is refused to whoever decided on an older state; it is *activated*
when its beginning is on a majority of its voters' disks. The first epoch of a location needs that not: nobody can have
promised or written anything before, so whoever leads next fences its voters as those of any active epoch.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeVar

import mmh3
from msgspec.structs import replace

from tsdb.cluster.metadata import continuous
from tsdb.cluster.metadata.commands import Activate, Assign, Assignment, SetIntent, SetLearners
from tsdb.cluster.metadata.records import REPLICA_BITS, LocationRecord, Member, Ring
from tsdb.cluster.metadata.state import Draft
from tsdb.errors import InvalidParameterValue, SerializationFailure, TsdbError, UndefinedObject

REPLICAS_MAX = 15
ASSIGNMENTS_MAX = 65_536

T = TypeVar("T")
_RANK = struct.Struct(">qq")
_DATABASE = 1 << 62


def begin(draft: Draft, location: int, database: int, map_version: int) -> None:
    """A new location, in its first epoch if there are nodes."""
    _put(draft, _placed(draft, LocationRecord(location, database, map_version=map_version)))


def _put(draft: Draft, record: LocationRecord) -> None:
    """With a number for each replica: a new one for a node that had none just now."""
    nodes = sorted({*record.voters, *record.learners, *record.active_voters})
    known = dict(record.replicas)
    numbers = tuple((node, known.get(node, node << REPLICA_BITS | draft.index)) for node in nodes)
    draft.put(replace(record, replicas=numbers))


def begin_shared(draft: Draft, database: int) -> None:
    """Who has a database for itself leads all of it in a new epoch."""
    for was in list(draft.all(LocationRecord)):
        if was.database == database and was.epoch:
            _put(draft, replace(was, epoch=was.epoch + 1, active_epoch=was.epoch + 1, active_voters=was.voters))


def place_the_unplaced(draft: Draft) -> None:
    """Locations that are older than the first node get theirs."""
    for record in list(draft.all(LocationRecord)):
        if record.epoch == 0:
            _put(draft, _placed(draft, record))


def _placed(draft: Draft, record: LocationRecord, *, draining_too: bool = False) -> LocationRecord:
    ring = draft.get(Ring, record.database)
    factor = draft.group.replication_factor if ring is None else ring.replication_factor
    # A database is whole at one node, or at the same ones: a statement is one node's, then, and a node that has the
    # points of a location as a follower is never asked for those of another one of the same database.
    place = _DATABASE | record.database
    members = [each for each in draft.all(Member) if not each.gone]
    staying = [each for each in members if not each.draining]
    nodes = first_nodes(place, staying or members if draining_too else staying, factor)
    if not nodes:
        return record
    voters = tuple(sorted(nodes))
    return replace(record, epoch=1, leader=nodes[0], voters=voters, active_epoch=1, active_voters=voters)


def first_nodes(location: int, members: Sequence[Member], factor: int) -> list[int]:
    """Where a new location begins, its leader first: by a hash, so that all nodes get about as much; of each zone one
    node before any gets a second. Better places are a solver's, later, by epochs."""
    ranked = sorted(members, key=lambda member: mmh3.hash64(_RANK.pack(location, member.node), signed=False))
    chosen: list[int] = []
    while ranked and len(chosen) < factor:
        zones: set[str] = set()
        left: list[Member] = []
        for member in ranked:
            if member.zone in zones or len(chosen) == factor:
                left.append(member)
            else:
                zones.add(member.zone)
                chosen.append(member.node)
        ranked = left
    return chosen


def record_of(draft: Draft, location: int) -> LocationRecord:
    """Raises UndefinedObject."""
    found = draft.get(LocationRecord, location)
    if found is None:
        raise UndefinedObject(f"there is no location {location}")
    return found


def assign(draft: Draft, action: Assign) -> tuple[int, ...]:
    _check_count(len(action.assignments))
    if len({each.location for each in action.assignments}) < len(action.assignments):
        raise InvalidParameterValue("a location gets one epoch at once")
    return _each(draft, [(each.location, each) for each in action.assignments], _assign)


def _assign(draft: Draft, wanted: Assignment) -> None:
    was = record_of(draft, wanted.location)
    if wanted.epoch != was.epoch + 1:
        raise SerializationFailure(
            f"location {was.location} is in epoch {was.epoch}, and epoch {wanted.epoch} was decided on another state",
            hint="Look again, and decide again.",
        )
    _check_replicas(draft, was, wanted.leader, wanted.voters, wanted.learners)
    voters, learners = tuple(sorted(wanted.voters)), tuple(sorted(wanted.learners))
    _put(draft, replace(was, epoch=wanted.epoch, leader=wanted.leader, voters=voters, learners=learners))


def _check_replicas(
    draft: Draft, was: LocationRecord, leader: int, voters: tuple[int, ...], learners: tuple[int, ...]
) -> None:
    nodes = (*voters, *learners)
    if leader not in voters or len(set(nodes)) < len(nodes) or len(nodes) > REPLICAS_MAX:
        raise InvalidParameterValue(
            f"location {was.location}: a leader is one of the voters, a node has one replica, and there are at most "
            f"{REPLICAS_MAX}; not leader {leader}, voters {voters}, learners {learners}"
        )
    for node in nodes:
        member = draft.get(Member, node)
        if member is None or member.gone:
            raise UndefinedObject(f"there is no node {node}")
        if member.draining and node not in (*was.voters, *was.learners):
            raise InvalidParameterValue(f"node {node} is draining and gets no replica of location {was.location}")


def set_learners(draft: Draft, action: SetLearners) -> tuple[int, ...]:
    """Replicas on their way: no epoch, since they count for nothing until one names them as voters."""
    was = record_of(draft, action.location)
    if action.epoch != was.epoch or was.epoch == 0:
        raise SerializationFailure(
            f"location {was.location} is in epoch {was.epoch}, and its learners were decided on in {action.epoch}",
            hint="Look again, and decide again.",
        )
    _check_replicas(draft, was, was.leader, was.voters, action.learners)
    _put(draft, replace(was, learners=tuple(sorted(action.learners))))
    return ()


def activate(draft: Draft, action: Activate) -> tuple[int, ...]:
    _check_count(len(action.epochs))
    return _each(draft, [(location, (location, epoch)) for location, epoch in action.epochs], _activate)


def _activate(draft: Draft, wanted: tuple[int, int]) -> None:
    location, epoch = wanted
    was = record_of(draft, location)
    if epoch != was.epoch or was.epoch == 0:
        raise SerializationFailure(f"location {location} is in epoch {was.epoch}, and not in {epoch}")
    if was.active_epoch != was.epoch:
        _put(draft, replace(was, active_epoch=was.epoch, active_voters=was.voters))


def _check_count(count: int) -> None:
    if not 1 <= count <= ASSIGNMENTS_MAX:
        raise InvalidParameterValue(f"1 to {ASSIGNMENTS_MAX} locations at once, not {count}")


def _each(draft: Draft, wanted: Iterable[tuple[int, T]], do: Callable[[Draft, T], None]) -> tuple[int, ...]:
    """The locations for which it went well; the first error if there is none."""
    done: list[int] = []
    first: TsdbError | None = None
    for location, entry in wanted:
        try:
            do(draft, entry)
        except TsdbError as error:
            first = first or error
        else:
            done.append(location)
    if not done and first is not None:
        raise first
    return tuple(done)


def set_intent(draft: Draft, action: SetIntent) -> tuple[int, ...]:
    was = record_of(draft, action.location)
    draft.put(replace(was, intent=action.intent))
    return ()


def give_up(draft: Draft, nodes: Collection[int]) -> None:
    """These nodes have no replica any more: in the next epoch of each of their locations others are its voters.

    Whoever is left leads and needs no promise of those that are gone; where nobody is left the location begins anew,
    at a node that is there.
    """
    concerned = [
        each for each in draft.all(LocationRecord) if {*each.voters, *each.learners, *each.active_voters} & {*nodes}
    ]
    continuous.give_up(draft, {each.database for each in concerned})
    for was in concerned:
        left = tuple(node for node in was.voters if node not in nodes)
        record = replace(was, voters=(), learners=(), active_voters=(), leader=0)
        if not left:
            begun = _placed(draft, record, draining_too=True)
            _put(draft, replace(begun, epoch=was.epoch + 1, active_epoch=was.epoch + 1))
            continue
        leader = was.leader if was.leader in left else left[0]
        learners = tuple(node for node in was.learners if node not in nodes)
        _put(
            draft,
            replace(
                record, epoch=was.epoch + 1, leader=leader, voters=left, learners=learners,
                active_epoch=was.epoch + 1, active_voters=left,
            ),
        )  # fmt: skip


def forget(draft: Draft, database: int) -> None:
    """All locations of a dropped database."""
    for record in list(draft.all(LocationRecord)):
        if record.database == database:
            draft.remove(LocationRecord, record.location)
