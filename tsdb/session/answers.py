"""The one place that turns an exception into the error a client is told."""

from __future__ import annotations

import logging

from tsdb.errors import InternalError, OutOfMemory, TsdbError

logger = logging.getLogger(__name__)


def condition(error: BaseException) -> TsdbError:
    """A TsdbError as it is; anything else is logged with its traceback, and its text is not sent."""
    if isinstance(error, TsdbError):
        return error
    if isinstance(error, MemoryError):
        return OutOfMemory("out of memory", hint="Ask for less at a time.")
    logger.error("a statement failed", exc_info=error)
    return InternalError("internal error", hint="The server's log says more.")
