"""Comparing what replicas have (anti-entropy, design 2.11): when, which points, and what is said of a difference.

The leader of locations appends a marker to each, whose body says which slices of time are compared. Every replica opens
a view when it has applied exactly that, a thread hashes the points of the database in it (``storage.copies.digests``),
at a part of the time of one core, and the core of replication compares (``replication.digests``). A database is gone
through from its oldest points to its newest, so many a round; an operator may have all of it compared at once, and does
not wait for rounds.

A replica whose points cannot be read says so, and differs by that. Markers without a body compare logs alone.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

import msgspec

from tsdb.clock import Clock
from tsdb.cluster.replicas.host import Host
from tsdb.cluster.replicas.marks import Marked
from tsdb.cluster.replicas.records import node_of
from tsdb.cluster.replication.record import Diverged
from tsdb.errors import AdminShutdown, DataCorrupted, IoError
from tsdb.model.cluster import ReplicaDifference
from tsdb.model.time import NS_MAX, NS_MIN, instant_text
from tsdb.storage.copies import digests
from tsdb.storage.engine import Engine
from tsdb.storage.view import StorageView

log = logging.getLogger(__name__)

LOOK_S = 1.0
POINTS_A_ROUND = 20_000_000
IDLE_ROUNDS = 6
"""A database that nothing was written to since is compared in every so manieth round: a marker is an op as well."""
SHARE = 0.25
"""Of one core's time, while nobody waits."""
WAITING_MAX = 256
"""Views that wait to be hashed, of some locations each: where much is written they come to a marker one by one. Older
ones are given up."""
KEPT = 1_000
UNREADABLE = b"unreadable"

Seen: TypeAlias = tuple[int | None, str | None]
"""How many points, and their digest."""

_ENCODER = msgspec.msgpack.Encoder()


class Wanted(msgspec.Struct, frozen=True, array_like=True):
    """The body of a marker: the slices of time that are compared, from each edge to the next, and whether somebody
    waits for it."""

    edges: tuple[int, ...]
    in_a_hurry: bool = False


_WANTED = msgspec.msgpack.Decoder(Wanted)


def wanted_by(body: bytes) -> Wanted:
    """Raises DataCorrupted."""
    try:
        wanted = _WANTED.decode(body)
    except msgspec.DecodeError as error:
        raise DataCorrupted(f"the body of a marker: {error}") from error
    edges = wanted.edges
    if len(edges) < 2 or any(low >= high for low, high in pairwise(edges)):
        raise DataCorrupted("the body of a marker names no slices of time")
    return wanted


@dataclass(slots=True)
class _Job:
    """Locations of a database, by their markers, and a view of the points as they are there."""

    database: int
    wanted: Wanted
    markers: dict[int, int]
    view: StorageView


@dataclass(slots=True)
class _Round:
    """How far a database that is led here is compared: where the next round begins, and how many found nothing new."""

    after: int = NS_MIN
    idle: int = 0
    applied: Mapping[int, int] = field(default_factory=dict)


class Comparing:
    """``marked`` and ``differs`` are called in the committer's thread, the rest on the group's event loop."""

    def __init__(self, engine: Engine, clock: Clock, host: Callable[[], Host], marker_s: float, check_s: float) -> None:
        self._engine = engine
        self._clock = clock
        self._host = host
        self._marker_s, self._check_s = marker_s, check_s
        self._threads = ThreadPoolExecutor(1, "comparing")
        self._jobs: deque[_Job] = deque()
        self._urgent: deque[_Job] = deque()
        """Somebody waits for these: before all others, and without a pause."""
        self._rounds: dict[int, _Round] = {}
        self._edges: dict[tuple[int, int], tuple[int, ...]] = {}
        self._stopped = False
        self._paused_at = 0.0
        self._hurry = threading.Event()
        self.differences: deque[ReplicaDifference] = deque(maxlen=KEPT)
        self.found = self.computed = 0

    def stop(self) -> None:
        """Hash no further: before the tasks are cancelled."""
        self._stopped = True
        self._hurry.set()

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        for jobs in (self._urgent, self._jobs):
            while jobs:
                jobs.popleft().view.close()

    def gauges(self) -> Mapping[str, float]:
        return {"replica_digests_total": self.computed, "replica_differences_total": self.found}

    # When

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        marked = checked = loop.time()
        while True:
            await asyncio.sleep(LOOK_S)
            if loop.time() - marked >= self._marker_s:
                marked = loop.time()
                self._engine.turn(lambda: self._host().marks.mark_new(self._clock.now_ns()))
            if self._check_s and loop.time() - checked >= self._check_s:
                checked = loop.time()
                await loop.run_in_executor(self._threads, self._next_rounds)

    def _next_rounds(self) -> None:
        try:
            led = self._engine.call(lambda: self._host().marks.led)
            self._rounds = {database: state for database, state in self._rounds.items() if database in led}
            for database in led:
                self._next_round(database)
        except AdminShutdown:
            return

    def _next_round(self, database: int) -> None:
        state = self._rounds.setdefault(database, _Round())
        applied = self._engine.call(lambda: self._host().marks.written(database))
        state.idle = state.idle + 1 if applied == state.applied else 0
        if state.idle % IDLE_ROUNDS:
            return
        edges = self._edges_of(database, POINTS_A_ROUND, state.after)
        if edges is not None:
            state.after = NS_MIN if edges[-1] == NS_MAX else edges[-1]
            self._begin(database, Wanted(edges))
            state.applied = self._engine.call(lambda: self._host().marks.written(database))

    def _edges_of(self, database: int, points_max: int, after: int) -> tuple[int, ...] | None:
        view = self._engine.view()
        try:
            found = view.catalog.databases_by_number.get(database)
            return None if found is None else digests.edges_of(view, found, points_max, after)
        finally:
            view.close()

    def _begin(self, database: int, wanted: Wanted) -> dict[int, int]:
        """The markers, by location."""
        markers: dict[int, int] = {}
        body = _ENCODER.encode(wanted)
        now = self._clock.now_ns()
        self._engine.turn(lambda: markers.update(self._host().marks.mark(database, now, body))).result()
        return markers

    # On demand

    async def check(self, database: int, seconds: float) -> tuple[Collection[int], Collection[int]]:
        """Compare all points of what this node leads of a database, now: the locations of which all voters have said
        what they have, and those of them where something differs."""
        loop = asyncio.get_running_loop()
        markers = await loop.run_in_executor(None, self._check, database)
        end = loop.time() + seconds
        while True:
            same = await loop.run_in_executor(None, self._outcomes, markers)
            # Where something was found another epoch has begun, which knows nothing of the marker.
            found = {each.location for each in self.differences if markers.get(each.location) == each.marker}
            different = found | {location for location in same if not same[location]}
            if len(different | same.keys()) == len(markers) or loop.time() >= end:
                return different | same.keys(), different
            await asyncio.sleep(0.05)

    def _check(self, database: int) -> dict[int, int]:
        edges = self._edges_of(database, 1 << 62, NS_MIN)
        return {} if edges is None else self._begin(database, Wanted(edges, in_a_hurry=True))

    def _outcomes(self, markers: Mapping[int, int]) -> dict[int, bool]:
        return self._engine.call(lambda: self._host().marks.outcomes(markers))

    # At each replica

    def marked(self, marks: Sequence[Marked]) -> None:
        """These replicas are exactly at a marker. In a turn of the host."""
        by_round: dict[tuple[int, bytes], dict[int, int]] = {}
        for mark in marks:
            by_round.setdefault((mark.database, mark.body), {})[mark.location] = mark.sequence
        for (database, body), markers in by_round.items():
            try:
                wanted = wanted_by(body)
            except DataCorrupted as error:
                log.error("a marker of database %d is not understood: %s", database, error)
                continue
            for location, sequence in markers.items():
                self._edges[location, sequence] = wanted.edges
            jobs = self._urgent if wanted.in_a_hurry else self._jobs
            jobs.append(_Job(database, wanted, markers, self._engine.view()))
            if wanted.in_a_hurry:
                self._hurry.set()
            if not self._stopped:
                self._threads.submit(self._work)
        for jobs in (self._urgent, self._jobs):
            while len(jobs) > WAITING_MAX:
                log.warning("this node is too busy to compare all of its points with others")
                jobs.popleft().view.close()
        while len(self._edges) > KEPT:
            del self._edges[next(iter(self._edges))]

    def _work(self) -> None:
        """In the thread that compares."""
        try:
            job = (self._urgent or self._jobs).popleft()
        except IndexError:
            return
        try:
            if job.wanted.in_a_hurry:
                self._hurry.set()
            found = self._digests(job)
            schema = job.view.catalog.version
            self._engine.turn(lambda: self._tell(job, found, schema)).result()
        except AdminShutdown:
            return
        except Exception:
            log.exception("points of database %d could not be compared", job.database)
        finally:
            job.view.close()
            if not self._urgent and not self._stopped:
                self._hurry.clear()

    def _digests(self, job: _Job) -> dict[int, bytes]:
        """By location. Raises AdminShutdown."""
        self._paused_at = time.monotonic()
        database = job.view.catalog.databases_by_number.get(job.database)
        if database is None:
            return {}
        try:
            return digests.digests_of(job.view, database, job.wanted.edges, self._pause)
        except (DataCorrupted, IoError) as error:
            log.error("points of database %s cannot be read, and have to be copied: %s", database.name, error)
            return dict.fromkeys(job.markers, UNREADABLE)

    def _pause(self) -> None:
        if self._stopped:
            raise AdminShutdown("the node stops")
        worked = time.monotonic() - self._paused_at
        self._hurry.wait(worked * (1 / SHARE - 1))
        self._paused_at = time.monotonic()

    def _tell(self, job: _Job, found: Mapping[int, bytes], schema: int) -> None:
        for location, sequence in job.markers.items():
            if location in found:
                self._host().marks.digest(location, sequence, found[location], schema)
                self.computed += 1

    # What differs

    def differs(self, request: Diverged) -> None:
        """Keep what there is to be seen of it: it is in the log, and in tsdb.replica_differences of this node."""
        self.found += 1
        agreed = tuple(map(node_of, request.agreed))
        for low, high, what, its, theirs in self._slices(request):
            difference = ReplicaDifference(
                self._clock.now_ns(), request.location, node_of(request.replica), agreed, request.epoch,
                request.sequence, what, low, high, *its, *theirs,
            )  # fmt: skip
            self.differences.append(difference)
            log.error(
                "location %d: what node %d has is not what nodes %s have at marker %d of epoch %d, and is made anew: "
                "%s, times from %s to %s, %s points (digest %s) and not %s (digest %s)", request.location,
                difference.node, ", ".join(map(str, agreed)), request.sequence, request.epoch, what,
                "the first" if low is None else instant_text(low), "the last" if high is None else instant_text(high),
                *its, *theirs,
            )  # fmt: skip

    def _slices(self, request: Diverged) -> Iterator[tuple[int | None, int | None, str, Seen, Seen]]:
        its, theirs = request.its, request.theirs
        if (its.epoch, its.chain) != (theirs.epoch, theirs.chain):
            yield None, None, "log", (None, its.chain.hex()), (None, theirs.chain.hex())
        if its.points == theirs.points or its.schema != theirs.schema:
            return
        edges = self._edges.get((request.location, request.sequence), (NS_MIN, NS_MAX))
        size = digests.BYTES * (len(edges) - 1)
        if len(its.points) != size or len(theirs.points) != size:
            # Whoever could not read says nothing of slices.
            yield _low(edges[0]), _high(edges[-1]), "unreadable", (None, None), (None, None)
            return
        for at, (own, other) in enumerate(zip(digests.decode(its.points), digests.decode(theirs.points), strict=True)):
            if own != other:
                yield (
                    _low(edges[at]), _high(edges[at + 1]), "points", (own[0], f"{own[1]:016x}"),
                    (other[0], f"{other[1]:016x}"),
                )  # fmt: skip


def _low(edge: int) -> int | None:
    return None if edge == NS_MIN else edge


def _high(edge: int) -> int | None:
    return None if edge == NS_MAX else edge
