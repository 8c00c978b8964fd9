"""Whether a body may wait as a hint, and one try to store one. Blocks: runs in worker threads.

A hint is stored by the way that bodies take, as if it came only then: with the schema and the privileges of that time,
and with points in the order of that time, behind all that was stored meanwhile. What has changed so that it would mean
something else than when it was taken makes it refused: a table of its lines that was dropped or renamed does not come
into being again, a database that was dropped neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass
from enum import Enum, auto

from tsdb.errors import ConfigurationLimitExceeded, FeatureNotSupported, ObjectNotInPrerequisiteState, TsdbError
from tsdb.ingest.bind import bind, missing
from tsdb.ingest.faults import Limits
from tsdb.ingest.hints.queue import NotQueued
from tsdb.ingest.lineprotocol import Parsed
from tsdb.ingest.outcome import Outcome, line_text, outcome_text, status_of
from tsdb.ingest.write import WriteRequest, above_floor, digest_of, parsed_body, submit
from tsdb.model import authorization
from tsdb.model.catalog import Database
from tsdb.model.hints import Hint
from tsdb.model.schema import imagined
from tsdb.model.store import Producer, Store, Written

PATIENCE_S = 60.0
"""For one try: whoever leads is waited for less long."""
MAY_BE_STORED = (
    "; a try before may have stored it: send it again, mended, under the same number and no other: it counts once, and "
    "409 says that it is stored"
)
"""Of what is refused before anybody who has the data was asked: nobody has looked there for its number."""


def examine(
    store: Store, request: WriteRequest, body: bytes | bytearray, now_ns: int, limits: Limits, role: int
) -> Hint:
    """The hint that a numbered body may be, without its number in the queue. Only what is wholly good may wait: what is
    wrong is told now. Raises NotQueued, InsufficientPrivilege, and InvalidParameterValue (precision)."""
    catalog, producer = store.catalog, request.producer
    assert producer is not None, "only a numbered batch counts once"
    database = catalog.databases.get(request.database)
    if database is None:
        raise NotQueued(f'database "{request.database}" is not there yet')
    parsed = parsed_body(request, body, 1, now_ns, limits, timed=True)
    errors = list(parsed.errors)
    if not errors:
        changes = missing(parsed, database)
        permitted = authorization.permitted_by_write(catalog, role, changes)
        grown = imagined(catalog, permitted).databases[database.name] if permitted else database
        bound = bind(parsed, grown)
        errors = bound.errors
        authorization.check_connect(catalog, role, database)
        known = [each.series for each in bound.points if each.series.number in catalog.series_by_number]
        authorization.check_write(catalog, role, database, known)
        if above_floor(bound.points, now_ns)[1]:
            raise NotQueued("points beyond retention policy")
    if errors:
        raise NotQueued(f"line {errors[0].line_number} is not good: {line_text(errors[0])}")
    return Hint(
        0, database.number, database.name, producer.name, producer.batch, digest_of(request, body), request.precision,
        request.accept_partial, request.acks, role, catalog.version, _series_of(parsed, database), now_ns,
    )  # fmt: skip


class End(Enum):
    """Of one try."""

    STORED = auto()
    REFUSED = auto()
    LATER = auto()


@dataclass(frozen=True, slots=True)
class Verdict:
    end: End
    why: str = ""


def deliver(store: Store, hint: Hint, body: bytes, now_ns: int, limits: Limits, window_ns: int) -> Verdict:
    """``window_ns``: for how long a producer's numbers are known."""
    if now_ns - hint.queued_ns > window_ns // 2:
        return Verdict(
            End.REFUSED,
            f"it has waited for longer than half of producer_window ({window_ns // 2 // 10**9} s): whether something "
            "of it was stored before can be told no more",
        )
    if store.catalog.version < hint.catalog:
        store.catch_up()
        if store.catalog.version < hint.catalog:
            return Verdict(End.LATER, "this node does not know yet of the schema that the batch was taken under")
    database = store.catalog.databases_by_number.get(hint.database)
    if database is None:
        return Verdict(End.REFUSED, f'database "{hint.name}" was dropped')
    for name, number in hint.series:
        series = database.series.get(name)
        if series is None or series.number != number:
            return Verdict(End.REFUSED, f'table "{name}" was dropped or renamed{MAY_BE_STORED}')
    producer = Producer(hint.producer, hint.batch)
    request = WriteRequest(database.name, hint.precision, hint.accept_partial, producer, hint.acks)
    try:
        submitted = submit(store, request, body, now_ns, limits, create_database=False, role=hint.role)
        written = [future.result(PATIENCE_S) for future in submitted.futures]
    except TsdbError as error:
        if _passes(error):
            return Verdict(End.LATER, error.message)
        is_of_number = isinstance(error, ObjectNotInPrerequisiteState)
        return Verdict(End.REFUSED, error.message if is_of_number else error.message + MAY_BE_STORED)
    except NotInTime:
        return Verdict(End.LATER, f"it took longer than {PATIENCE_S:g} s")
    return _verdict(submitted.outcome, written)


def _verdict(outcome: Outcome, written: Sequence[Written]) -> Verdict:
    if outcome.dropped == 0:
        return Verdict(End.STORED)
    why = outcome_text(outcome, outcome.written > 0)
    if not written:
        return Verdict(End.REFUSED, f"{why}; nothing was stored by this try{MAY_BE_STORED}")
    if all(each.duplicate for each in written):
        return Verdict(End.REFUSED, f"{why}; a try before has stored it, as it was understood then")
    points = "1 point is" if outcome.written == 1 else f"{outcome.written} points are"
    return Verdict(End.REFUSED, f"{why}; {points} stored")


def _passes(error: TsdbError) -> bool:
    """Of what is a defect nobody knows: the lines wait, and are tried again until they are too old."""
    return status_of(error) >= 500 or isinstance(error, (ConfigurationLimitExceeded, FeatureNotSupported))


def _series_of(parsed: Parsed, database: Database) -> tuple[tuple[str, int], ...]:
    """The tables of its lines that there are."""
    found = (database.series.get(lines.measurement) for lines in parsed.lines)
    return tuple((series.name, series.number) for series in found if series is not None)
