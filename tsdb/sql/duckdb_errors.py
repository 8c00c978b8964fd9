"""DuckDB's errors as PostgreSQL's: a SQLSTATE and a text without DuckDB's words and without generated names."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

import duckdb

from tsdb.errors import (
    CardinalityViolation,
    DatetimeFieldOverflow,
    DivisionByZero,
    FeatureNotSupported,
    InternalError,
    InvalidDatetimeFormat,
    InvalidEscapeSequence,
    InvalidParameterValue,
    InvalidRegularExpression,
    InvalidRowCountInLimitClause,
    InvalidRowCountInOffsetClause,
    InvalidTextRepresentation,
    NumericValueOutOfRange,
    OutOfMemory,
    ProgramLimitExceeded,
    QueryCanceled,
    StatementTooComplex,
    TsdbError,
)
from tsdb.sql.catalog.calls import ERROR_MARK
from tsdb.sql.computed.registry import SEPARATOR

logger = logging.getLogger(__name__)

_NAMES = {
    "INT16": "smallint", "INT32": "integer", "INT64": "bigint", "INT128": "numeric", "HUGEINT": "numeric",
    "DOUBLE": "double precision", "FLOAT": "real", "DATE": "date", "BOOL": "boolean", "BOOLEAN": "boolean",
    "UUID": "uuid", "INTERVAL": "interval",
}  # fmt: skip


class _Other(TsdbError):
    """An error raised by a macro with a SQLSTATE of its own."""


_STATES: dict[str, type[TsdbError]] = {
    c.sqlstate: c
    for c in (
        DivisionByZero, InvalidTextRepresentation, NumericValueOutOfRange, InvalidParameterValue,
        FeatureNotSupported, DatetimeFieldOverflow, ProgramLimitExceeded, InvalidRowCountInLimitClause,
        InvalidRowCountInOffsetClause,
    )
}  # fmt: skip
_FROM_CATALOG = re.compile(ERROR_MARK + r"([0-9A-Z]{5}):([^\n]*)")
_OWN = re.compile(
    r"(?:Invalid Input Error|UDF: ValueError): ([0-9A-Z]{5}):(.*)"
    r"|Could not convert string '([0-9A-Z]{5}):([^~']*)~[^']*' to DOUBLE",
    re.DOTALL,
)


def _out_of_range(found: re.Match[str]) -> TsdbError:
    named = re.findall(r"INT\d+|HUGEINT|DOUBLE|FLOAT|DATE", found.string)
    # "Type DOUBLE with value … can't be cast to … type INT64": the last one is the target.
    name = _NAMES.get(named[-1], "value") if named else "value"
    return NumericValueOutOfRange(f"{name} out of range")


def _field_overflow(found: re.Match[str]) -> TsdbError:
    precision, scale = (int(g) for g in found.groups() if g is not None)
    return NumericValueOutOfRange(
        "numeric field overflow",
        detail=f"A field with precision {precision}, scale {scale} must round to an absolute value less than "
        f"10^{precision - scale}.",
    )


_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], TsdbError]], ...] = (
    (
        re.compile(
            r"[Mm]ax(?:imum)? (?:expression |recursion |nesting )?depth|stack overflow|nested too deep|too complex",
            re.I,
        ),
        lambda m: StatementTooComplex("stack depth limit exceeded", hint="Nest the statement less deeply."),
    ),
    (
        re.compile(r"Like pattern must not end with escape|LIKE pattern must not end", re.I),
        lambda m: InvalidEscapeSequence("LIKE pattern must not end with escape character"),
    ),
    (
        re.compile(r"Could not cast value .* to DECIMAL\((\d+),(\d+)\)|[Cc]asting .* to DECIMAL\((\d+),(\d+)\) failed"),
        _field_overflow,
    ),
    (re.compile(r"division by zero", re.I), lambda m: DivisionByZero("division by zero")),
    (
        re.compile(r"[Cc]ould not convert string ['\"](.*?)['\"] to (\w+)", re.DOTALL),
        lambda m: InvalidTextRepresentation(
            f'invalid input syntax for type {_NAMES.get(m[2], m[2].lower())}: "{m[1]}"'
        ),
    ),
    (
        re.compile(r"invalid (timestamp|date|time|interval) field format: \"(.*?)\"", re.DOTALL),
        lambda m: InvalidDatetimeFormat(f'invalid input syntax for type {m[1]}: "{m[2]}"'),
    ),
    (
        re.compile(r"(timestamp|date|time) field value out of range: \"(.*?)\"", re.DOTALL),
        lambda m: DatetimeFieldOverflow(f'date/time field value out of range: "{m[2]}"'),
    ),
    (
        re.compile(r"Unknown TimeZone '?(.*?)'?[!.\n]", re.DOTALL),
        lambda m: InvalidParameterValue(f'time zone "{m[1]}" not recognized'),
    ),
    (
        re.compile(r"(?:regex|Invalid Input Error: (?:missing|invalid|bad|no argument|unexpected))", re.I),
        lambda m: InvalidRegularExpression("invalid regular expression"),
    ),
    (
        re.compile(r"[Mm]ore than one row returned by a subquery|scalar subquery", re.I),
        lambda m: CardinalityViolation("more than one row returned by a subquery used as an expression"),
    ),
    (re.compile(r"Malformed JSON.*", re.I), lambda m: InvalidTextRepresentation("invalid input syntax for type json")),
    (
        re.compile(r"Lists larger than|maximum (?:string|list) (?:size|length)|exceeds .* limit", re.I),
        lambda m: ProgramLimitExceeded("array or text size exceeds the maximum allowed"),
    ),
    (
        re.compile(r"Out of Range Error|Overflow|out of range", re.I),
        _out_of_range,
    ),
)


def to_error(error: BaseException) -> TsdbError:
    """The TsdbError for what DuckDB raised; what is not known is XX000, logged with its text."""
    if isinstance(error, TsdbError):
        return error
    text = str(error)
    if isinstance(error, duckdb.InterruptException):
        return QueryCanceled("canceling statement due to user request")
    own = _OWN.search(text) or _FROM_CATALOG.search(text)
    if own is not None:
        return _raised(*(group for group in own.groups() if group is not None))
    if isinstance(error, duckdb.OutOfMemoryException):
        return OutOfMemory("out of memory", hint="Read a shorter time range, group by less, or raise the memory limit.")
    # What follows quotes our own text, with its types.
    text = text.partition("\n\nLINE")[0]
    for pattern, make in _RULES:
        found = pattern.search(text)
        if found is not None:
            return make(found)
    if isinstance(error, duckdb.OutOfRangeException | duckdb.ConversionException | duckdb.InvalidInputException):
        return InvalidParameterValue("invalid value for a function or a cast")
    logger.error("DuckDB refused a statement of ours: %s", text)
    return InternalError("the statement could not be executed", hint="This is a defect of tsdb: please report it.")


def _raised(state: str, text: str) -> TsdbError:
    """``text`` may be followed by a detail and a hint (``computed.registry``)."""
    message, *more = text.split(SEPARATOR)
    known = _STATES.get(state, _Other)(
        message, detail=(more[0] or None) if more else None, hint=(more[1] or None) if len(more) > 1 else None
    )
    known.sqlstate = state
    return known
