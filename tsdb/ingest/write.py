"""A body of line protocol on its way into the store: parse, make the schema, bind, write. Blocks: runs in a worker
thread.

Large bodies are cut at line borders and go in parts, a few parsed at a time and written in order, so that memory stays
in proportion to a part. A numbered batch
goes in one piece, because its number covers all of it, and so does one that is all or nothing.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from tsdb.errors import (
    CannotConnectNow,
    DuplicateColumn,
    DuplicateTable,
    InvalidCatalogName,
    UndefinedColumn,
    UndefinedTable,
)
from tsdb.ingest.bind import Bound, bind, missing
from tsdb.ingest.faults import Limits
from tsdb.ingest.lineprotocol import Lines, Parsed, parse, split
from tsdb.ingest.outcome import Outcome
from tsdb.model import authorization
from tsdb.model.points import Points
from tsdb.model.roles import FIRST
from tsdb.model.schema import CreateDatabase, Database
from tsdb.model.store import Producer, Store, Written

PART_BYTES = 8 * 1024 * 1024
MAX_ERRORS = 100
# Parts of one body that are parsed before the one at hand is written, and threads for all of them.
PARTS_AHEAD = PARSERS = 2
_SCHEMA_ATTEMPTS = 16

_parsers = ThreadPoolExecutor(PARSERS, "tsdb-parse")


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """``precision`` is the unit of times without a suffix, or ``auto``; ``producer`` makes a retry harmless."""

    database: str
    precision: str = "ns"
    accept_partial: bool = True
    producer: Producer | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """A body handed to the store: it is durable when all ``futures`` have ended."""

    outcome: Outcome
    futures: tuple[Future[Written], ...]


def submit(
    store: Store,
    request: WriteRequest,
    body: bytes | bytearray,
    now_ns: int,
    limits: Limits,
    create_database: bool,
    role: int = FIRST,
    *,
    all_good: bool = False,
) -> Submitted:
    """Parse ``body`` and hand its good points to the store; does not wait for the disk.

    ``all_good``: nothing is written if a line is bad, without a time or older than its series' retention.

    ``now_ns`` is the time of points without one, ``role`` whose privileges hold. Raises InvalidCatalogName,
    InvalidParameterValue (precision), InsufficientPrivilege (nothing of the part of the body is written).
    """
    if request.database not in store.catalog.databases and not create_database:
        raise InvalidCatalogName(f'database not found: "{request.database}"')
    if all_good:
        request = replace(request, accept_partial=False)
    if request.producer is not None:
        request = replace(request, producer=replace(request.producer, digest=_digest(request, body)))
    timed = all_good or request.producer is not None
    whole = request.producer is not None or not request.accept_partial or len(body) <= 2 * PART_BYTES
    outcome, futures = Outcome(0), []
    parts = [_parsed(request, body, 1, now_ns, limits, timed)] if whole else _parts(request, body, now_ns, limits)
    for parsed in parts:
        done, future = submit_part(store, request, parsed, now_ns, role, all_good)
        outcome = joined(outcome, done)
        futures += future
    return Submitted(outcome, tuple(futures))


def _digest(request: WriteRequest, body: bytes | bytearray) -> int:
    """What makes a numbered body the same when it is sent again: its octets and the unit of its times."""
    found = hashlib.blake2b(request.precision.encode() + b"\n", digest_size=8)
    found.update(body)
    return int.from_bytes(found.digest()) or 1


def _parts(request: WriteRequest, body: bytes | bytearray, now_ns: int, limits: Limits) -> Iterator[Parsed]:
    """The parts of a large body in their order, of which a few are parsed at a time."""
    waiting: deque[Future[Parsed]] = deque()
    for part, line_first in split(body, -(-len(body) // PART_BYTES)):
        waiting.append(parse_ahead(request, part, line_first, now_ns, limits))
        if len(waiting) > PARTS_AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def parse_ahead(
    request: WriteRequest, part: bytes | bytearray | memoryview, line_first: int, now_ns: int, limits: Limits
) -> Future[Parsed]:
    """Parse a part of a body in another thread."""
    return _parsers.submit(_parsed, request, part, line_first, now_ns, limits)


def _parsed(
    request: WriteRequest,
    body: bytes | bytearray | memoryview,
    line_first: int,
    now_ns: int,
    limits: Limits,
    timed: bool = False,
) -> Parsed:
    auto = request.precision == "auto"
    parsed = parse(
        body,
        precision="ns" if auto else request.precision,
        now_ns=now_ns,
        limits=limits,
        require_time=timed,
        line_first=line_first,
    )
    return replace(parsed, lines=tuple(_guess_unit(lines) for lines in parsed.lines)) if auto else parsed


def submit_part(
    store: Store, request: WriteRequest, parsed: Parsed, now_ns: int, role: int, all_good: bool = False
) -> tuple[Outcome, list[Future[Written]]]:
    """Bind a part and hand its points to the store: (what became of its lines, when they are durable)."""
    if parsed.error_count and not request.accept_partial:
        return Outcome(0, tuple(parsed.errors), parsed.error_count), []
    database, bound = _bind(store, request.database, parsed, role)
    authorization.check_write(store.catalog, role, database, [points.series for points in bound.points])
    errors = tuple(sorted([*parsed.errors, *bound.errors], key=lambda e: e.line_number)[:MAX_ERRORS])
    error_count = parsed.error_count + bound.error_count
    if error_count and not request.accept_partial:
        return Outcome(0, errors, error_count), []
    points, beyond = _above_floor(bound.points, now_ns)
    if beyond and all_good:
        return Outcome(0, beyond_retention=beyond), []
    written = sum(len(p) for p in points)
    futures = [store.write(database, points, request.producer)] if points else []
    return Outcome(written, errors, error_count, beyond), futures


def _bind(store: Store, name: str, parsed: Parsed, role: int) -> tuple[Database, Bound]:
    """The parsed lines as points of a database that has everything in its schema they need, made if it has to be.

    Others may change the schema at the same moment, so this looks again until it holds still.
    """
    for _ in range(_SCHEMA_ATTEMPTS):
        database = store.catalog.databases.get(name)
        try:
            if database is None:
                wanted = [CreateDatabase(name, if_not_exists=True)]
                store.change(*authorization.permitted(store.catalog, role, wanted))
                continue
            changes = missing(parsed, database)
            if not changes:
                return database, bind(parsed, database)
            store.change(*authorization.permitted_by_write(store.catalog, role, changes))
        except (DuplicateColumn, DuplicateTable, InvalidCatalogName, UndefinedColumn, UndefinedTable):
            continue
    raise CannotConnectNow(f'the schema of database "{name}" keeps changing; try again')


def _above_floor(bound: Sequence[Points], now_ns: int) -> tuple[list[Points], int]:
    """The points their series still keeps, and how many are older than its retention."""
    kept, beyond = [], 0
    for points in bound:
        series = points.series
        floors = [series.floor_ns] if series.floor_ns is not None else []
        if series.retention_ns is not None:
            floors.append(now_ns - series.retention_ns)
        if not floors or len(points) == 0 or int(points.times.min()) >= max(floors):
            kept.append(points)
            continue
        rows = np.flatnonzero(points.times >= max(floors))
        beyond += len(points) - len(rows)
        if len(rows):
            kept.append(points.take(rows))
    return [p for p in kept if len(p)], beyond


# Bounds of InfluxDB 3's `auto` precision: seconds, milliseconds, microseconds by magnitude, else nanoseconds.
_AUTO_UNITS = ((5_000_000_000, 1_000_000_000), (5_000_000_000_000, 1_000_000), (5_000_000_000_000_000, 1_000))


def _guess_unit(lines: Lines) -> Lines:
    magnitude = np.abs(lines.times)
    scale = np.ones(len(lines.times), np.int64)
    for bound, factor in reversed(_AUTO_UNITS):
        scale[magnitude < bound] = factor
    return replace(lines, times=lines.times * scale)


def joined(before: Outcome, part: Outcome) -> Outcome:
    """What became of two parts of a body, one after the other."""
    return Outcome(
        before.written + part.written,
        (*before.errors, *part.errors)[:MAX_ERRORS],
        before.error_count + part.error_count,
        before.beyond_retention + part.beyond_retention,
    )
