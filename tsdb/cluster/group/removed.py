"""Whether a node was removed from its cluster while it could not hear of it.

Nobody talks to a node that is none of the cluster's: it would wait for ever, with the schema of the day when it was
removed. So it asks as operators do, whom nodes answer by their certificate alone. Who has applied at least as much as
this node, which knows itself as a member, and does not list it, knows of its removal; and a removal is for ever. Others
may not know of it yet, and say nothing by listing it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tsdb.cluster.group import control
from tsdb.cluster.group.joining import CLUSTER
from tsdb.cluster.group.operator import ask
from tsdb.cluster.metadata.records import Member
from tsdb.cluster.metadata.state import State
from tsdb.cluster.transport.tls import NodeTls
from tsdb.errors import NodeRemoved, TsdbError
from tsdb.storage.identity import Identity

WITHIN_S = 2.0
"""For all answers together; who does not answer says nothing."""


def check_not_removed(state: State, known: Identity, tls: NodeTls) -> None:
    """Raises NodeRemoved."""
    said = removal(state, known, tls)
    if said is not None:
        raise NodeRemoved(said)


def removal(state: State, known: Identity, tls: NodeTls) -> str | None:
    """What there is to say of this node's removal; None: nobody who could be asked knows of any. It blocks."""
    own = state.get(Member, known.node)
    if own is not None and own.gone:
        return _GONE.format(known.node, "")
    addresses = [
        address
        for each in state.all(Member)
        if each.node != known.node and not each.gone and (address := dict(each.addresses).get(CLUSTER))
    ]
    if not addresses:
        return None
    with ThreadPoolExecutor(len(addresses), "ask") as pool:
        for report in pool.map(lambda address: _asked(address, tls), addresses):
            if report is not None and _knows(report, state, known):
                return _GONE.format(known.node, f", says node {report.node}") + _KEPT
    return None


def _asked(address: str, tls: NodeTls) -> control.Report | None:
    try:
        answer = ask(address, control.Status(), tls, WITHIN_S)
    except (TsdbError, ValueError):
        return None
    return answer if isinstance(answer, control.Report) else None


def _knows(report: control.Report, state: State, known: Identity) -> bool:
    is_later = report.cluster == known.cluster.bytes and report.applied >= state.group.applied
    return is_later and all(each.uuid != known.uuid.bytes for each in report.nodes)


_GONE = (
    "this node, {}, was removed from the cluster{}: its directory is never let in again. Begin with an empty one to "
    "join as a new node"
)
_KEPT = "; tsdb cluster force-recover --accept-loss makes a cluster of this one alone, with the points that it has"
