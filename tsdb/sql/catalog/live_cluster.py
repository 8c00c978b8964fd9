"""``tsdb.members`` and ``tsdb.locations``: the nodes of the cluster, and which of them has which part of the rings;
``tsdb.reverted``: what a session's node had, and later leaders have taken back; ``tsdb.replica_differences``: who had
something else than the others; ``tsdb.hints``: the batches that wait at a session's node for who leads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from tsdb.model.cluster import ClusterLocation, ClusterMember, ReplicaDifference
from tsdb.model.hints import Hint
from tsdb.model.store import RevertedOp
from tsdb.model.time import us_of_one
from tsdb.sql.catalog.live import Glance, live
from tsdb.sql.catalog.own_views import SCHEMA
from tsdb.types import TIMESTAMPTZ

Row = tuple[ClusterMember, int, int]


@live(SCHEMA, "members", {
    "node": lambda r, m: r[0].node, "name": lambda r, m: r[0].name or None, "uuid": lambda r, m: r[0].uuid,
    "addresses": lambda r, m: list(r[0].addresses),
    "zone": lambda r, m: r[0].zone, "capacity_bytes": lambda r, m: r[0].capacity_bytes,
    "draining": lambda r, m: r[0].draining, "locations": lambda r, m: r[1], "leads": lambda r, m: r[2],
}, kept=False)  # fmt: skip
def members(glance: Glance) -> Sequence[Row]:
    session = glance.context.session
    if session is None:
        return []
    places = session.locations()
    held = Counter(node for place in places for node in {*place.voters, *place.learners})
    led = Counter(place.leader for place in places)
    return [(each, held[each.node], led[each.node]) for each in session.members()]


def _place(place: int) -> str:
    return f"{place:016x}"


@live(SCHEMA, "locations", {
    "location": lambda r, m: r.number, "datname": lambda r, m: r.database,
    "first_place": lambda r, m: _place(r.first), "last_place": lambda r, m: _place(r.last),
    "map_version": lambda r, m: r.map_version, "epoch": lambda r, m: r.epoch, "leader": lambda r, m: r.leader,
    "voters": lambda r, m: list(r.voters), "learners": lambda r, m: list(r.learners),
    "active_epoch": lambda r, m: r.active_epoch, "active_voters": lambda r, m: list(r.active_voters),
    "intent": lambda r, m: r.intent, "goal": lambda r, m: list(r.goal) or None,
    "arc": lambda r, m: r.arc + 1,
}, kept=False)  # fmt: skip
def locations(glance: Glance) -> Sequence[ClusterLocation]:
    session = glance.context.session
    return [] if session is None else session.locations()


@live(SCHEMA, "reverted", {
    "location": lambda r, m: r[0].location, "datname": lambda r, m: r[1], "epoch": lambda r, m: r[0].epoch,
    "sequence": lambda r, m: r[0].sequence, "rows": lambda r, m: r[0].rows,
    "written_at": lambda r, m: pa.scalar(us_of_one(r[0].written_ns), TIMESTAMPTZ.arrow),
}, kept=False)  # fmt: skip
def reverted(glance: Glance) -> Sequence[tuple[RevertedOp, str | None]]:
    session = glance.context.session
    if session is None:
        return []
    databases = {each.number: each.database for each in session.locations()}
    return [(each, databases.get(each.location)) for each in session.reverted()]


def _instant(ns: int | None) -> pa.Scalar | None:
    return None if ns is None else pa.scalar(us_of_one(ns), TIMESTAMPTZ.arrow)


@live(SCHEMA, "replica_differences", {
    "found_at": lambda r, m: _instant(r.found_ns), "location": lambda r, m: r.location, "node": lambda r, m: r.node,
    "agreed": lambda r, m: list(r.agreed), "epoch": lambda r, m: r.epoch, "marker": lambda r, m: r.marker,
    "what": lambda r, m: r.what, "min_time": lambda r, m: _instant(r.low), "max_time": lambda r, m: _instant(r.high),
    "points": lambda r, m: r.points, "digest": lambda r, m: r.digest,
    "agreed_points": lambda r, m: r.agreed_points, "agreed_digest": lambda r, m: r.agreed_digest,
}, kept=False)  # fmt: skip
def replica_differences(glance: Glance) -> Sequence[ReplicaDifference]:
    session = glance.context.session
    return [] if session is None else session.replica_differences()


@live(SCHEMA, "hints", {
    "file": lambda h, m: h.file, "state": lambda h, m: "refused" if h.refused else "waiting",
    "datname": lambda h, m: h.name or None, "producer": lambda h, m: h.producer or None,
    "batch": lambda h, m: h.batch or None, "username": lambda h, m: m.role_name(h.role) if h.role else None,
    "queued_at": lambda h, m: _instant(h.queued_ns or None), "refused_at": lambda h, m: _instant(h.refused_ns or None),
    "bytes": lambda h, m: h.body_bytes, "reason": lambda h, m: h.refused or h.waits_for or None,
}, kept=False)  # fmt: skip
def hints(glance: Glance) -> Sequence[Hint]:
    session = glance.context.session
    return [] if session is None else session.hints()
