"""What replicas ask of the metadata, as commands. Pure."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from tsdb.cluster.metadata.commands import Action, Activate, Assign, Assignment
from tsdb.cluster.metadata.records import LocationRecord
from tsdb.cluster.metadata.state import State
from tsdb.cluster.replicas.moving import handed_over, next_epoch, taken_out
from tsdb.cluster.replicas.records import node_of, replica_on
from tsdb.cluster.replication import record as core
from tsdb.cluster.replication.record import Request

log = logging.getLogger(__name__)


def actions_of(state: State, requests: Iterable[Request]) -> list[Action]:
    """Each a compare-and-set on the epoch that it was asked for in; what is out of date already is left out."""
    activated: dict[int, int] = {}
    assigned: dict[int, Assignment] = {}
    for request in requests:
        was = state.get(LocationRecord, request.location)
        if was is None or was.epoch != request.epoch:
            continue
        if isinstance(request, core.Activate):
            if was.active_epoch != was.epoch:
                activated[was.location] = was.epoch
        elif isinstance(request, core.NewEpoch):
            assigned[was.location] = next_epoch(was, was.leader)
        elif isinstance(request, core.Abdicate):
            if node_of(request.to) in was.voters:
                assigned[was.location] = next_epoch(was, node_of(request.to))
        elif isinstance(request, core.Behind):
            heir = handed_over(was, node_of(request.source))
            if replica_on(was, was.leader) == request.replica and heir is not None:
                assigned[was.location] = heir
        elif isinstance(request, core.Diverged):
            found = taken_out(was, node_of(request.replica), [node_of(each) for each in request.agreed])
            # It may have come anew meanwhile.
            if found is not None and replica_on(was, node_of(request.replica)) == request.replica:
                assigned[was.location] = found
        else:
            # Nobody can be rebuilt yet: it is for an operator to see.
            log.error("location %d: %s", request.location, request)
    actions: list[Action] = []
    if activated:
        actions.append(Activate(tuple(sorted(activated.items()))))
    if assigned:
        actions.append(Assign(tuple(assigned.values())))
    return actions
