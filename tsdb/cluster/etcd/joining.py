"""How a data directory comes to follow a log in etcd, and how its node becomes a member of the cluster.

A new directory takes the log that it finds, or begins one; from then on it follows that log and no other. A node that
was here before starts though etcd cannot be reached: with the schema that it knows, and without a change of it.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from tsdb.cluster.etcd.address import Address
from tsdb.cluster.etcd.agreement import LIMITS, EtcdAgreement, Limits
from tsdb.cluster.etcd.directory import follow, followed
from tsdb.cluster.etcd.gateway import PACE, Gateway, Pace, Unreachable
from tsdb.cluster.etcd.log import CommandLog
from tsdb.cluster.etcd.replica import Replica
from tsdb.cluster.etcd.tls import EtcdTls
from tsdb.cluster.founding import FIRST_DATABASES, SECRET_BYTES
from tsdb.cluster.metadata.commands import Action, AddMember, ChangeSchema, Found, NewMember
from tsdb.cluster.metadata.group_of_one import METADATA_GROUP
from tsdb.cluster.metadata.records import NO_ID, Member
from tsdb.errors import NodeRemoved, StartupError, TsdbError
from tsdb.model.role_changes import SetSecret
from tsdb.model.schema import CreateDatabase
from tsdb.storage.engine import Engine
from tsdb.storage.identity import Identity
from tsdb.storage.options import Options
from tsdb.storage.raft_log import RaftLog

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the metadata is kept, and what shows there who this is. ``password`` is in no text of this."""

    address: Address
    password: str = ""
    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    pace: Pace = PACE
    limits: Limits = LIMITS

    def __repr__(self) -> str:
        return f"Place({self.address})"

    def gateway(self) -> Gateway:
        """Raises StartupError for certificates that are of no use."""
        tls = EtcdTls(self.authority, self.certificate, self.key) if self.authority is not None else None
        return Gateway(self.address, self.password, tls, self.pace)


class _Done(Exception):
    """Another node has done it."""


def agree(engine: Engine, options: Options, place: Place) -> EtcdAgreement:
    """The agreement of the node whose engine this is, as a member. Raises StartupError, DataCorrupted."""
    gateway = place.gateway()
    try:
        return _agreed(engine, options, place, gateway)
    except StartupError:
        gateway.close()
        raise
    except TsdbError as error:
        gateway.close()
        hint = f" ({error.hint})" if error.hint else ""
        raise StartupError(f"the metadata at {place.address} is not to be had: {error.message}{hint}") from error


def _agreed(engine: Engine, options: Options, place: Place, gateway: Gateway) -> EtcdAgreement:
    command_log = CommandLog(gateway, place.address.prefix)
    log_id = followed(engine)
    known = engine.identity
    if not log_id:
        log_id = _found_log(engine, command_log)
        follow(engine, log_id)
    agreement = EtcdAgreement(
        gateway, command_log, log_id, Replica(engine, options.abort), options.clock, options.abort, place.limits
    )
    try:
        agreement.wait_readable()
    except Unreachable as error:
        if known is None or not known.joined:
            raise
        log.warning("etcd is not reached: this node shows the schema that it knows, and cannot change it: %s", error)
    else:
        known = _enter(engine, agreement)
    agreement.start(engine, known.node, options.leave)
    return agreement


def _found_log(engine: Engine, command_log: CommandLog) -> bytes:
    """The id of the log that a new directory is to follow."""
    if not RaftLog(engine.records, METADATA_GROUP).is_new or engine.catalog.next_database > 1:
        raise StartupError(
            "the metadata of this data directory is in the directory itself, and cannot be kept in etcd as well: start "
            "it without --metadata, or begin with an empty directory"
        )
    present = command_log.look()
    return (present if present.log_id else command_log.begin()).log_id


# Which node


def _enter(engine: Engine, agreement: EtcdAgreement) -> Identity:
    """Found the cluster if there is none, and be a member of it."""
    known = engine.identity or _identify(engine, Identity(uuid4()))
    new = NewMember(known.uuid.bytes)
    _once(agreement, Found(uuid4().bytes, new), lambda: agreement.state.group.cluster != NO_ID)
    cluster = UUID(bytes=agreement.state.group.cluster)
    if known.joined:
        _check_member(agreement, known, cluster)
    else:
        answer = agreement.propose(AddMember(new))
        known = _identify(engine, Identity(known.uuid, cluster, answer.values[0]))
    first = ChangeSchema.of(CreateDatabase(name) for name in FIRST_DATABASES)
    _once(agreement, first, lambda: agreement.state.catalog.next_database > 1)
    secret = ChangeSchema.of([SetSecret(secrets.token_bytes(SECRET_BYTES))])
    _once(agreement, secret, lambda: bool(agreement.state.catalog.roles.secret))
    return known


def _identify(engine: Engine, identity: Identity) -> Identity:
    engine.call(lambda: engine.identify(identity))
    return identity


def _check_member(agreement: EtcdAgreement, known: Identity, cluster: UUID) -> None:
    if known.cluster != cluster:
        raise StartupError(f"this is node {known.node} of cluster {known.cluster}, and in etcd is cluster {cluster}")
    member = agreement.state.get(Member, known.node)
    if member is None or member.gone:
        raise NodeRemoved(
            f"node {known.node} was removed from the cluster: begin with an empty directory to be a new node of it"
        )


def _once(agreement: EtcdAgreement, action: Action, done: Callable[[], bool]) -> None:
    """Propose what needs doing once in a cluster's life, whoever does it."""

    def check() -> None:
        if done():
            raise _Done

    try:
        agreement.propose(action, check=check)
    except _Done:
        return
