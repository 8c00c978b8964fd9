"""Members come, change, and go. Which of them vote in the group is Raft's configuration and is not kept here."""

from __future__ import annotations

from msgspec.structs import replace

from tsdb.cluster.metadata import locations
from tsdb.cluster.metadata.commands import AddMember, ChangeMember, Found, NewMember, RemoveMember
from tsdb.cluster.metadata.records import NO_ID, NODE_MAX, UUID_BYTES, Group, LocationRecord, Member
from tsdb.cluster.metadata.state import Draft
from tsdb.errors import (
    ConfigurationLimitExceeded,
    DuplicateObject,
    InvalidParameterValue,
    ObjectInUse,
    ObjectNotInPrerequisiteState,
    UndefinedObject,
)

ADDRESSES_MAX = 16
TEXT_BYTES_MAX = 255
FACTOR_MAX = 7


def found(draft: Draft, action: Found) -> tuple[int, ...]:
    group = draft.group
    if group.cluster != NO_ID:
        raise ObjectNotInPrerequisiteState(f"the cluster was founded already, as {group.cluster.hex()}")
    if len(action.cluster) != UUID_BYTES or action.cluster == NO_ID:
        raise InvalidParameterValue(f"a cluster's id has {UUID_BYTES} bytes, not all zero")
    check_factor(action.replication_factor)
    draft.put(replace(group, cluster=action.cluster, replication_factor=action.replication_factor))
    return add(draft, AddMember(action.member))


def check_factor(factor: int) -> None:
    if not 1 <= factor <= FACTOR_MAX:
        raise InvalidParameterValue(f"a replication factor is 1 to {FACTOR_MAX}, not {factor}")


def add(draft: Draft, action: AddMember) -> tuple[int, ...]:
    """The node id; the one it has, for a disk that is a member."""
    new, group = action.member, draft.group
    if group.cluster == NO_ID:
        raise ObjectNotInPrerequisiteState("there is no cluster yet", hint="Found it with its first node.")
    _check(new)
    for member in draft.all(Member):
        if member.uuid == new.uuid and member.gone:
            raise DuplicateObject(
                f"the disk {new.uuid.hex()} was removed from the cluster as node {member.node}",
                hint="Let it join with an empty data directory: it gets a new id.",
            )
        if member.uuid == new.uuid:
            return (member.node,)
    if group.next_node > NODE_MAX:
        raise ConfigurationLimitExceeded(f"all {NODE_MAX} node ids were given")
    draft.put(replace(draft.group, next_node=group.next_node + 1))
    draft.put(Member(group.next_node, new.uuid, new.addresses, new.zone, new.capacity_bytes))
    locations.place_the_unplaced(draft)
    return (group.next_node,)


def _check(new: NewMember) -> None:
    if len(new.uuid) != UUID_BYTES or new.uuid == NO_ID:
        raise InvalidParameterValue(f"a node's uuid has {UUID_BYTES} bytes, not all zero")
    _check_fields(new.addresses, new.zone, new.capacity_bytes)


def _check_fields(addresses: tuple[tuple[str, str], ...], zone: str, capacity_bytes: int) -> None:
    if len(addresses) > ADDRESSES_MAX:
        raise InvalidParameterValue(f"a node has at most {ADDRESSES_MAX} addresses, not {len(addresses)}")
    if any(len(text.encode()) > TEXT_BYTES_MAX for text in (zone, *(t for pair in addresses for t in pair))):
        raise InvalidParameterValue(f"zones and addresses have at most {TEXT_BYTES_MAX} bytes")
    if len({purpose for purpose, _ in addresses}) < len(addresses):
        raise InvalidParameterValue("a node has one address for each purpose")
    if not 0 <= capacity_bytes < 2**63:
        raise InvalidParameterValue(f"a capacity is 0 to 2^63 - 1 bytes, not {capacity_bytes}")


def member(draft: Draft, node: int) -> Member:
    """Raises UndefinedObject."""
    found = draft.get(Member, node)
    if found is None or found.gone:
        raise UndefinedObject(f"there is no node {node}")
    return found


def change(draft: Draft, action: ChangeMember) -> tuple[int, ...]:
    was = member(draft, action.node)
    given = {
        name: value
        for name in ("addresses", "zone", "capacity_bytes", "draining")
        if (value := getattr(action, name)) is not None
    }
    now = replace(was, **given)
    _check_fields(now.addresses, now.zone, now.capacity_bytes)
    draft.put(now)
    return ()


def remove(draft: Draft, action: RemoveMember) -> tuple[int, ...]:
    was = member(draft, action.node)
    held = [
        each.location
        for each in draft.all(LocationRecord)
        if action.node in (*each.voters, *each.learners, *each.active_voters)
    ]
    if held:
        raise ObjectInUse(
            f"node {action.node} holds {len(held)} locations, {held[0]} among them", hint="Drain it, and wait."
        )
    if sum(not each.gone for each in draft.all(Member)) == 1:
        raise ObjectInUse(f"node {action.node} is the last one")
    draft.put(Member(was.node, was.uuid, (), "", 0, gone=True))
    return ()


def set_default_factor(draft: Draft, factor: int) -> None:
    group: Group = draft.group
    check_factor(factor)
    draft.put(replace(group, replication_factor=factor))
