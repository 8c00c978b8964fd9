"""What Flight raises, as the server's own errors: the SQLSTATE travels beside the text."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.flight as flight

from tsdb import errors
from tsdb.errors import CannotConnectNow, InvalidPassword, TsdbError


def _by_sqlstate() -> dict[str, type[TsdbError]]:
    found: dict[str, type[TsdbError]] = {}
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, TsdbError):
            found.setdefault(kind.sqlstate, kind)
    return found


_KINDS = _by_sqlstate()


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raise what Flight raises inside as the error that it stands for."""
    try:
        yield
    except (flight.FlightError, pa.ArrowException) as error:
        raise restated(error) from error


def restated(error: Exception) -> Exception:
    """The server's error that a Flight error carries; one without stays as it is, unless the server is not there."""
    extra = getattr(error, "extra_info", b"") or b""
    try:
        told = json.loads(extra)
    except ValueError:
        return _without_extra(error)
    kind = _KINDS.get(told.get("sqlstate", ""), TsdbError)
    found = kind(
        told.get("message", str(error)),
        detail=told.get("detail"),
        hint=told.get("hint"),
        position=told.get("position"),
    )
    found.sqlstate = told.get("sqlstate", kind.sqlstate)
    return found


def _without_extra(error: Exception) -> Exception:
    if isinstance(error, flight.FlightUnauthenticatedError):
        return InvalidPassword(str(error))
    if isinstance(error, flight.FlightUnavailableError):
        return CannotConnectNow(f"the server does not answer: {error}")
    return error
