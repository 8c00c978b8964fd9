"""Members come, change, and go. Which of them vote in the group is Raft's configuration and is not kept here."""

from __future__ import annotations

from uuid import UUID

from msgspec.structs import replace

from tsdb.cluster.metadata import locations
from tsdb.cluster.metadata.commands import AddMember, ChangeMember, Found, NewMember, Recover, RemoveMember
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
NAME_BYTES_MAX = 64
NO_NODE = 0
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
    _check_name(draft, new.name, NO_NODE)
    if group.next_node > NODE_MAX:
        raise ConfigurationLimitExceeded(f"all {NODE_MAX} node ids were given")
    draft.put(replace(draft.group, next_node=group.next_node + 1))
    member = Member(
        group.next_node, new.uuid, new.addresses, new.zone, new.capacity_bytes, machine=new.machine, name=new.name
    )
    draft.put(member)
    locations.place_the_unplaced(draft)
    return (group.next_node,)


def _check(new: NewMember) -> None:
    if len(new.uuid) != UUID_BYTES or new.uuid == NO_ID:
        raise InvalidParameterValue(f"a node's uuid has {UUID_BYTES} bytes, not all zero")
    _check_fields(new.addresses, (new.zone, new.machine), new.capacity_bytes)


def _check_name(draft: Draft, name: str, node: int) -> None:
    """A name is one node's; that of a node that is gone may be given again."""
    if len(name.encode()) > NAME_BYTES_MAX:
        raise InvalidParameterValue(f"a node's name has at most {NAME_BYTES_MAX} bytes")
    for member in draft.all(Member):
        if name and member.name == name and member.node != node and not member.gone:
            raise DuplicateObject(
                f"{name} is a member already, node {member.node}, and has another data directory (uuid "
                f"{UUID(bytes=member.uuid)})",
                hint=f"If its disk is lost, give it up first: tsdb cluster remove {member.node} --accept-loss",
            )


def _check_fields(addresses: tuple[tuple[str, str], ...], names: tuple[str, str], capacity_bytes: int) -> None:
    if len(addresses) > ADDRESSES_MAX:
        raise InvalidParameterValue(f"a node has at most {ADDRESSES_MAX} addresses, not {len(addresses)}")
    if any(len(text.encode()) > TEXT_BYTES_MAX for text in (*names, *(t for pair in addresses for t in pair))):
        raise InvalidParameterValue(f"zones, machines and addresses have at most {TEXT_BYTES_MAX} bytes")
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
        for name in ("addresses", "zone", "capacity_bytes", "draining", "machine", "name")
        if (value := getattr(action, name)) is not None
    }
    now = replace(was, **given)
    _check_fields(now.addresses, (now.zone, now.machine), now.capacity_bytes)
    _check_name(draft, now.name, now.node)
    draft.put(now)
    return ()


def remove(draft: Draft, action: RemoveMember) -> tuple[int, ...]:
    was = member(draft, action.node)
    held = [
        each.location
        for each in draft.all(LocationRecord)
        if action.node in (*each.voters, *each.learners, *each.active_voters)
    ]
    if held and not action.accept_loss:
        raise ObjectInUse(
            f"node {action.node} holds {len(held)} locations",
            hint=f"tsdb cluster drain {action.node}, and wait until tsdb cluster status shows none there; or say "
            "--accept-loss: what only it has is lost then.",
        )
    if sum(not each.gone for each in draft.all(Member)) == 1:
        raise ObjectInUse(f"node {action.node} is the last one")
    draft.put(Member(was.node, was.uuid, (), "", 0, gone=True, name=was.name))
    locations.give_up(draft, {action.node})
    return ()


def recover(draft: Draft, action: Recover) -> tuple[int, ...]:
    """The nodes that are given up."""
    if len(action.cluster) != UUID_BYTES or action.cluster in (NO_ID, draft.group.cluster):
        raise InvalidParameterValue(f"a recovered cluster has another id, of {UUID_BYTES} bytes, not all zero")
    member(draft, action.node)
    gone = [each for each in draft.all(Member) if not each.gone and each.node != action.node]
    for each in gone:
        draft.put(Member(each.node, each.uuid, (), "", 0, gone=True, name=each.name))
    draft.put(replace(draft.group, cluster=action.cluster))
    nodes = {each.node for each in gone}
    locations.give_up(draft, nodes)
    return tuple(sorted(nodes))


def set_default_factor(draft: Draft, factor: int) -> None:
    group: Group = draft.group
    check_factor(factor)
    draft.put(replace(group, replication_factor=factor))
