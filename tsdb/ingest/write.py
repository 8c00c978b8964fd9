"""A body of line protocol on its way into the store: parse, make the schema, bind, write. Blocks: runs in a worker
thread.

What is refused as a whole leaves nothing of a body. Only one that is longer than two parts is cut at line borders and
goes part by part, a few parsed at a time and written in order, so that memory stays in proportion to a part: what is
refused then has the parts before it stored, and says so. A numbered batch goes in one piece whatever its length,
because its number covers all of it, and so does one that is all or nothing.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from tsdb.errors import (
    CannotConnectNow,
    DuplicateColumn,
    DuplicateTable,
    InvalidCatalogName,
    TsdbError,
    UndefinedColumn,
    UndefinedTable,
)
from tsdb.ingest.bind import Bound, bind, missing
from tsdb.ingest.faults import Limits
from tsdb.ingest.lineprotocol import Lines, Parsed, parse, split
from tsdb.ingest.outcome import Outcome, note_stored
from tsdb.model import authorization
from tsdb.model.points import Points
from tsdb.model.roles import FIRST
from tsdb.model.schema import CreateDatabase, Database
from tsdb.model.store import Producer, Store, Written

PART_BYTES = 8 * 1024 * 1024
# Shorter bodies are parsed by one thread even when others have nothing to do.
SPREAD_BYTES = 1024 * 1024
MAX_ERRORS = 100
# Parts of one body that are parsed before the one at hand is written, and threads for all of them.
PARTS_AHEAD = PARSERS = 2
_SCHEMA_ATTEMPTS = 16

_parsers = ThreadPoolExecutor(PARSERS, "tsdb-parse")


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """``precision`` is the unit of times without a suffix, or ``auto``; ``producer`` makes a retry harmless; ``acks``
    says on how many replicas it is to be (None: as the series say). ``queue``: a numbered batch may wait at this node
    for who leads its database (``tsdb.ingest.hints``)."""

    database: str
    precision: str = "ns"
    accept_partial: bool = True
    producer: Producer | None = None
    acks: int | None = None
    queue: bool = False


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
    spread: bool = False,
) -> Submitted:
    """Parse ``body`` and hand its good points to the store; does not wait for the disk.

    ``all_good``: nothing is written if a line is bad, without a time or older than its series' retention. ``spread``:
    nobody else writes at the moment, so that a long body may be parsed by several threads.

    ``now_ns`` is the time of points without one, ``role`` whose privileges hold. Raises InvalidCatalogName,
    InvalidParameterValue (precision), InsufficientPrivilege.
    """
    if request.database not in store.catalog.databases and not create_database:
        raise InvalidCatalogName(f'database not found: "{request.database}"')
    if all_good:
        request = replace(request, accept_partial=False)
    if request.producer is not None:
        request = replace(request, producer=replace(request.producer, digest=digest_of(request, body)))
    timed = all_good or request.producer is not None
    whole = request.producer is not None or not request.accept_partial
    if not whole and len(body) > 2 * PART_BYTES:
        return _submit_parts(store, request, body, now_ns, limits, role)
    if not whole and spread and len(body) >= SPREAD_BYTES:
        parts = list(_parts(request, body, PARSERS, now_ns, limits))
    else:
        parts = [parsed_body(request, body, 1, now_ns, limits, timed)]
    outcome, futures = submit_parsed(store, request, parts, now_ns, role, all_good)
    return Submitted(outcome, tuple(futures))


def _submit_parts(
    store: Store, request: WriteRequest, body: bytes | bytearray, now_ns: int, limits: Limits, role: int
) -> Submitted:
    outcome, futures = Outcome(0), []
    try:
        for parsed in _parts(request, body, -(-len(body) // PART_BYTES), now_ns, limits):
            done, future = submit_parsed(store, request, [parsed], now_ns, role)
            outcome = joined(outcome, done)
            futures += future
    except TsdbError as error:
        note_stored(error, points_stored(futures))
        raise
    return Submitted(outcome, tuple(futures))


def points_stored(futures: Iterable[Future[Written]]) -> int:
    """Of those that did not fail; waits for all."""
    return sum(future.result().points for future in futures if future.exception() is None)


def digest_of(request: WriteRequest, body: bytes | bytearray) -> int:
    """What makes a numbered body the same when it is sent again: its octets and the unit of its times."""
    found = hashlib.blake2b(request.precision.encode() + b"\n", digest_size=8)
    found.update(body)
    return int.from_bytes(found.digest()) or 1


def _parts(request: WriteRequest, body: bytes | bytearray, count: int, now_ns: int, limits: Limits) -> Iterator[Parsed]:
    """The parts of a large body in their order, of which a few are parsed at a time."""
    waiting: deque[Future[Parsed]] = deque()
    for part, line_first in split(body, count):
        waiting.append(parse_ahead(request, part, line_first, now_ns, limits))
        if len(waiting) > PARTS_AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def parse_ahead(
    request: WriteRequest, part: bytes | bytearray | memoryview, line_first: int, now_ns: int, limits: Limits
) -> Future[Parsed]:
    """Parse a part of a body in another thread."""
    return _parsers.submit(parsed_body, request, part, line_first, now_ns, limits)


def parsed_body(
    request: WriteRequest,
    body: bytes | bytearray | memoryview,
    line_first: int,
    now_ns: int,
    limits: Limits,
    timed: bool = False,
) -> Parsed:
    """``timed``: a line without a time is wrong."""
    auto = request.precision == "auto"
    parsed = parse(
        body,
        precision="ns" if auto else request.precision,
        now_ns=now_ns,
        limits=limits,
        require_time=timed,
        line_first=line_first,
        recall=True,
    )
    return _with_units(parsed) if auto else parsed


def submit_parsed(
    store: Store, request: WriteRequest, parts: Sequence[Parsed], now_ns: int, role: int, all_good: bool = False
) -> tuple[Outcome, list[Future[Written]]]:
    """Bind parts of a body and hand their points to the store as one: (what became of their lines, when they are
    durable)."""
    found = [error for parsed in parts for error in parsed.errors]
    error_count = sum(parsed.error_count for parsed in parts)
    if error_count and not request.accept_partial:
        return Outcome(0, tuple(found), error_count), []
    points: list[Points] = []
    for parsed in parts:
        database, bound = _bind(store, request, parsed, role)
        points += bound.points
        found += bound.errors
        error_count += bound.error_count
    authorization.check_write(store.catalog, role, database, [each.series for each in points])
    errors = tuple(sorted(found, key=lambda e: e.line_number)[:MAX_ERRORS])
    if error_count and not request.accept_partial:
        return Outcome(0, errors, error_count), []
    points, beyond = above_floor(points, now_ns)
    if beyond and all_good:
        return Outcome(0, beyond_retention=beyond), []
    written = sum(len(p) for p in points)
    futures = [store.write(database, points, request.producer, request.acks)] if points else []
    return Outcome(written, errors, error_count, beyond), futures


def _bind(store: Store, request: WriteRequest, parsed: Parsed, role: int) -> tuple[Database, Bound]:
    """The parsed lines as points of a database that has everything in its schema they need, made if it has to be.

    Others may change the schema at the same moment, so this looks again until it holds still.
    """
    name = request.database
    for _ in range(_SCHEMA_ATTEMPTS):
        database = store.catalog.databases.get(name)
        try:
            if database is None:
                permitted = authorization.permitted(store.catalog, role, [CreateDatabase(name, if_not_exists=True)])
                store.check_creatable(name)
                store.change(*permitted)
                continue
            changes = missing(parsed, database)
            if not changes:
                return database, bind(parsed, database)
            if parsed.again is not None:
                # Columns come into being in the order in which this body names them.
                parsed = parsed.again()
                parsed = _with_units(parsed) if request.precision == "auto" else parsed
                continue
            permitted = authorization.permitted_by_write(store.catalog, role, changes)
            store.check_writable(database)
            store.change(*permitted)
        except (DuplicateColumn, DuplicateTable, InvalidCatalogName, UndefinedColumn, UndefinedTable):
            continue
    raise CannotConnectNow(f'the schema of database "{name}" keeps changing; try again')


def above_floor(bound: Sequence[Points], now_ns: int) -> tuple[list[Points], int]:
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


def _with_units(parsed: Parsed) -> Parsed:
    return replace(parsed, lines=tuple(_guess_unit(lines) for lines in parsed.lines))


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
