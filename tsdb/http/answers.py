"""What a write answers: status and JSON in the words of the API that was called.

The statuses decide whether Telegraf keeps or drops data, so they follow what it expects (``/write``: overload is 503,
never 429). Sources: InfluxDB 1.12 ``services/httpd/handler.go``, InfluxDB 2 and 3 API references, Telegraf's
``outputs.influxdb``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tsdb.errors import TsdbError
from tsdb.http.authentication import Unauthorized
from tsdb.http.request import Api, BadRequest, SlowBody
from tsdb.ingest import outcome as outcomes
from tsdb.ingest.outcome import Outcome, outcome_text, status_of

MAX_HEADER_CHARACTERS = 1024
RETRY_AFTER_SECONDS = 2
# A batch waits at the node and nobody sees it yet.
QUEUED_HEADER = "X-Tsdb-Queued"
_QUEUED = {
    "queued": True,
    "message": "the batch is on this node's disk, waits for a node that leads its database, and is not visible yet; "
    "the same number sent again is answered 204 when it is",
}


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: Mapping[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)


def outcome_reply(api: Api, outcome: Outcome, partial: bool) -> Reply:
    """204 when every line is stored, 202 when all of them wait, else 400 with what was wrong by line.

    ``partial``: good lines were stored although others are bad.
    """
    if outcome.queued:
        return Reply(202, _QUEUED, {QUEUED_HEADER: "true"})
    if outcome.dropped == 0:
        return Reply(204)
    partial = partial and outcome.written > 0
    text = outcome_text(outcome, partial)
    match api:
        case Api.V1:
            return _error(400, {"error": text, "data": _data(outcome)}, text)
        case Api.V2:
            body: dict[str, Any] = {"code": "invalid", "message": text}
            if outcome.errors:
                body["line"] = outcome.errors[0].line_number
            return _error(400, body, text)
        case Api.V3:
            what = "partial write of line protocol occurred" if partial else "parsing failed for write_lp endpoint"
            if outcome.beyond_retention and not outcome.errors:
                what = text
            return _error(400, {"error": what, "data": _data(outcome)}, text)


def exception_reply(api: Api | None, error: Exception) -> Reply:
    """The reply for a request that failed as a whole."""
    if isinstance(error, BadRequest):
        reply = _failure(api, error.status, error.message)
        if isinstance(error, SlowBody):
            reply.headers.update({"Retry-After": str(RETRY_AFTER_SECONDS), "Connection": "close"})
        return reply
    if isinstance(error, Unauthorized):
        return _unauthorized(api, error.message)
    status = status_of(error)
    if status == 500:
        return _failure(api, 500, "internal error; the server's log says more")
    assert isinstance(error, TsdbError)
    reply = _failure(api, status, error.message)
    if status == 503:
        reply.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return reply


def note_stored(error: BaseException, points: int) -> None:
    """Say in the error of a body that so many of its points were stored before."""
    if isinstance(error, TsdbError):
        outcomes.note_stored(error, points)
    elif isinstance(error, BadRequest) and points and error.status < 500:
        error.message = outcomes.stored_text(error.message, points)


def _failure(api: Api | None, status: int, text: str) -> Reply:
    if api is Api.V2:
        return _error(status, {"code": _V2_CODES.get(status, "internal error"), "message": text}, text)
    return _error(status, {"error": text}, text)


def _unauthorized(api: Api | None, text: str) -> Reply:
    """401 in the words of each API; only InfluxDB 1 asks for a password by a challenge."""
    match api:
        case Api.V2:
            return _error(401, {"code": "unauthorized", "message": "unauthorized access"}, text)
        case Api.V3:
            return _error(401, {"error": "the request was not authenticated"}, text)
    reply = _error(401, {"error": text}, text)
    reply.headers["WWW-Authenticate"] = 'Basic realm="tsdb"'
    return reply


_V2_CODES = {
    400: "invalid",
    403: "forbidden",
    404: "not found",
    409: "conflict",
    413: "request too large",
    415: "invalid",
    503: "unavailable",
}


def _error(status: int, body: Mapping[str, Any], text: str) -> Reply:
    header = " ".join(text[:MAX_HEADER_CHARACTERS].splitlines())
    printable = "".join(c if " " <= c <= "~" else "?" for c in header)
    return Reply(status, body, {"X-Influxdb-Error": printable})


def _data(outcome: Outcome) -> list[dict[str, Any]]:
    return [{"original_line": e.line, "line_number": e.line_number, "error_message": e.message} for e in outcome.errors]
