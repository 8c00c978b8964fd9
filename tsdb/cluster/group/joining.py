"""How a data directory comes to be a node of a cluster, and how it is known again: its identity, and whom it asks."""

from __future__ import annotations

import logging
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from tsdb.cluster.alone import Alone
from tsdb.cluster.etcd.directory import check_follows_none
from tsdb.cluster.group import control
from tsdb.cluster.group.operator import NotThere, ask, split_address
from tsdb.cluster.metadata.commands import NewMember
from tsdb.cluster.metadata.group_of_one import METADATA_GROUP
from tsdb.cluster.transport.greeting import Identity as Greeted
from tsdb.cluster.transport.members import Member
from tsdb.cluster.transport.tls import NodeTls
from tsdb.errors import StartupError, TsdbError
from tsdb.storage.engine import Engine
from tsdb.storage.identity import Identity
from tsdb.storage.options import Options
from tsdb.storage.raft_log import RaftLog

log = logging.getLogger(__name__)

CLUSTER = "cluster"
"""The purpose of the address at which other nodes reach a node."""
ROWS = "rows"
"""That of the address at which they fetch the rows of fragments."""
LISTENS_S = 60.0
"""For so long a node that is to be joined is waited for to listen."""
_AGAIN_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a node listens for others, at which address they find it, and what shows that it is one.

    ``rows_port``: where they fetch rows, 0: any free one, None: nowhere.

    ``join``: any node of the cluster, for a directory that is new. ``lost_s``: who has not answered the leader for so
    long loses its vote to a learner. ``patience_s``: how long a change of the metadata, or a linearizable read of them,
    may take.
    """

    host: str
    port: int
    address: str
    certificate: Path
    key: Path
    authority: Path
    join: str | None = None
    lost_s: float = 30.0
    lost_node_s: float = 900.0
    patience_s: float = 10.0
    rows_port: int | None = 0


def come_in(engine: Engine, options: Options, place: Place, tls: NodeTls) -> tuple[Identity, list[Member]]:
    """Who this node is, and, of one that has nothing of the metadata yet, where the others are. Raises StartupError."""
    check_follows_none(engine)
    known = engine.identity
    if known is None and engine.catalog.next_database > 1:
        # A directory from before there were identities, or before there were groups, or of a node by itself.
        Alone(engine, options)
        known = engine.identity
    if known is None:
        if place.join is None:
            raise StartupError(
                "the data directory is new: found a cluster in it with tsdb cluster init, or join one with "
                "--join HOST:PORT"
            )
        known = _identify(engine, Identity(uuid4()))
    # A term may be known, and nothing else: only who has applied something knows the others.
    if RaftLog(engine.records, METADATA_GROUP).applied_index:
        return known, []
    if place.join is None:
        raise StartupError("this node has not got the cluster's metadata yet: start it once more with --join HOST:PORT")
    return _joined(engine, known, place, tls)


def _identify(engine: Engine, identity: Identity) -> Identity:
    engine.call(lambda: engine.identify(identity))
    return identity


def _joined(engine: Engine, known: Identity, place: Place, tls: NodeTls) -> tuple[Identity, list[Member]]:
    """Ask to be a member; under the same uuid the answer is the same, however often it is asked."""
    assert place.join is not None
    _check_free(place)
    new = NewMember(known.uuid.bytes, ((CLUSTER, place.address),), name=tls.name)
    try:
        answer = _asked(place.join, control.Join(new), tls)
    except (TsdbError, ValueError) as error:
        hint = getattr(error, "hint", None)
        text = f"this node cannot join at {place.join}: {error}{f' ({hint})' if hint else ''}"
        raise StartupError(text) from None
    if not isinstance(answer, control.Joined):
        raise StartupError(f"the node at {place.join} gave an answer that this one does not know")
    cluster = UUID(bytes=answer.cluster)
    if known.joined and (known.cluster, known.node) != (cluster, answer.node):
        raise StartupError(
            f"this is node {known.node} of cluster {known.cluster}, and the one at {place.join} is cluster {cluster}"
        )
    known = _identify(engine, Identity(known.uuid, cluster, answer.node))
    members = [
        member_of(cluster, peer.node, peer.uuid, peer.name, peer.address)
        for peer in answer.peers
        if peer.address and peer.name
    ]
    return known, members


def _check_free(place: Place) -> None:
    """Before the others know of this node, and wait for it where another one listens. Raises StartupError."""
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        family, kind, proto, _, address = found[0]
        with socket.socket(family, kind, proto) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        text = f"cannot listen for nodes on {place.host}:{place.port}: {error.strerror or error}"
        raise StartupError(text) from None


def _asked(address: str, request: control.Join, tls: NodeTls) -> control.Response:
    """Nodes are started together, too: the other one may not listen yet."""
    end = time.monotonic() + LISTENS_S
    told = False
    while True:
        try:
            return ask(address, request, tls)
        except NotThere as error:
            if time.monotonic() >= end:
                raise
            if not told:
                log.info("%s; it is asked again for %g s", error.message, LISTENS_S)
                told = True
            time.sleep(_AGAIN_S)


def check_meant(known: Identity, is_single: bool, place: Place, tls: NodeTls) -> None:
    """Refuse a directory that is a cluster by itself where somebody wants it to be a node of another one.

    It would run, beside that cluster, and take what was meant for it. Who does not answer is not waited for: the
    setting may stay when it has had its effect. Raises StartupError.
    """
    if place.join is None or place.join == place.address or not is_single:
        return
    try:
        answer = ask(place.join, control.Status(), tls)
    except (TsdbError, ValueError):
        return
    if isinstance(answer, control.Report) and answer.cluster != known.cluster.bytes:
        raise StartupError(
            f"this data directory is cluster {known.cluster} by itself, and the node at {place.join} is of cluster "
            f"{UUID(bytes=answer.cluster)}: join it with an empty directory, or start this one without --join"
        )


def member_of(cluster: UUID, node: int, uuid: bytes, name: str, address: str) -> Member:
    """Raises ValueError for what is no address."""
    host, port = split_address(address)
    return Member(Greeted(cluster, node, UUID(bytes=uuid), name), host, port)
