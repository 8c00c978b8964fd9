"""What became of a body of line protocol: counts, a text in InfluxDB's words, a status as HTTP has it.

The statuses decide whether Telegraf keeps or drops data, so they follow what it expects: what passes is 503, never 429.
Sources: InfluxDB 1.12 ``services/httpd/handler.go``, Telegraf's ``outputs.influxdb``.
"""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.errors import (
    AdminShutdown,
    CannotConnectNow,
    DiskFull,
    InsufficientPrivilege,
    InvalidCatalogName,
    LocationElsewhere,
    ObjectNotInPrerequisiteState,
    OutOfMemory,
    PointsBeyondRetention,
    ProgramLimitExceeded,
    StatementCompletionUnknown,
    TooManyConnections,
    TsdbError,
    UndefinedColumn,
    UndefinedTable,
)
from tsdb.ingest.faults import LineError
from tsdb.model.freshness import Ops

# Errors that pass: the client should send the same again later. Points below a floor are dropped before they are
# written; where one rose in between, the others of the body are still good.
_RETRY = (
    OutOfMemory,
    DiskFull,
    TooManyConnections,
    AdminShutdown,
    CannotConnectNow,
    StatementCompletionUnknown,
    LocationElsewhere,
    UndefinedTable,
    UndefinedColumn,
    PointsBeyondRetention,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a body: ``written`` points are durable; ``error_count`` lines are not, the first of them in
    ``errors``.

    ``beyond_retention`` counts the points that were older than their series' retention and so dropped. ``token``:
    their ops in databases that several nodes have; ``fell_short``: a majority has them, and more were asked for.
    ``queued``: all of it waits at this node, as a hint, and nothing is written yet.
    """

    written: int
    errors: tuple[LineError, ...] = ()
    error_count: int = 0
    beyond_retention: int = 0
    token: Ops = ()
    fell_short: bool = False
    queued: bool = False

    @property
    def dropped(self) -> int:
        return self.error_count + self.beyond_retention


def outcome_text(outcome: Outcome, partial: bool) -> str:
    """What is wrong with a body, in InfluxDB 1's words. ``partial``: good lines were stored although others are bad."""
    texts = [line_text(error) for error in outcome.errors]
    if outcome.error_count > len(texts):
        texts.append(f"and {outcome.error_count - len(texts)} more lines")
    if outcome.beyond_retention:
        texts.append("points beyond retention policy")
    conflict = any(error.message.startswith("field type conflict") for error in outcome.errors)
    if partial or conflict or outcome.beyond_retention:
        return f"partial write: {'; '.join(texts)} dropped={outcome.dropped}"
    return "\n".join(texts)


def line_text(error: LineError) -> str:
    """What InfluxDB 1 says of one line: a type conflict names the field, anything else quotes the line."""
    if error.message.startswith("field type conflict"):
        return error.message
    return f"unable to parse '{error.line}': {error.message}"


def note_stored(error: TsdbError, points: int) -> None:
    """Say in an error that so many points of the same body were stored before: InfluxDB's partial write. What passes
    stays as it is: who sends the whole body again does no harm, and Telegraf takes these words as "do not"."""
    if points and 400 <= status_of(error) < 500:
        error.message = stored_text(error.message, points)
        error.args = (error.message,)


def stored_text(why: str, points: int) -> str:
    """What was wrong with a body of which some points are stored."""
    return f"partial write: {why}; the {points} points before are stored"


def status_of(error: Exception) -> int:
    """The HTTP status of a write that failed as a whole: 503 send it again, 4xx never like this, 500 a defect."""
    if isinstance(error, InsufficientPrivilege):
        return 403
    if isinstance(error, InvalidCatalogName):
        return 404
    if isinstance(error, ObjectNotInPrerequisiteState) and not isinstance(error, LocationElsewhere):
        return 409
    if isinstance(error, ProgramLimitExceeded):
        return 413
    if isinstance(error, _RETRY):
        return 503
    if isinstance(error, TsdbError) and error.sqlstate[:2] not in ("XX", "58"):
        return 400
    return 500
