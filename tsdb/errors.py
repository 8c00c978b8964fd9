"""One tree of errors, each named by its PostgreSQL condition and carrying its SQLSTATE.

    TsdbError                         an answer to a client (ErrorResponse, HTTP status)
    ├── class 08  ProtocolViolation
    ├── class 0A  FeatureNotSupported
    ├── class 22  DataError: InvalidTextRepresentation, NumericValueOutOfRange, DivisionByZero, ...
    ├── class 23  NotNullViolation, UniqueViolation, CheckViolation
    ├── class 25  ActiveSqlTransaction, InFailedSqlTransaction
    ├── class 26, 34, 3D, 42  names and syntax
    ├── class 40  SerializationFailure; StatementCompletionUnknown: appended, but its fate is not known yet
    ├── class 53, 54, 55, 57  resources, limits, state, operator
    └── class XX  InternalError, DataCorrupted
    ConfigurationError                wrong settings: the process does not start (exit code 2)
    StartupError                      it cannot start: taken port, locked directory (exit code 1)

One place turns an exception into an ErrorResponse (``tsdb.session``). What is not a ``TsdbError`` is answered as
``XX000`` without its text and logged with its traceback. Broken invariants are ``assert``.

Source: PostgreSQL 15 manual, Appendix A (error codes), and 55.8 (error and notice fields).
"""

from __future__ import annotations

import re

_LONG_MESSAGE = 500
_LONG_NAME = re.compile(r'"([^"]{63})[^"]{20,}"')


def _shortened(message: str) -> str:
    """A text that quotes long names or values, with the first 63 characters of each: PostgreSQL's NAMEDATALEN."""
    shown = _LONG_NAME.sub(r'"\1…"', message)
    return shown if len(shown) <= 4000 else f"{shown[:4000]}…"


class TsdbError(Exception):
    """An error a client is told about.

    ``message`` says what was wrong and where; ``detail`` and ``hint`` say more and what to do; ``position`` is the
    1-based character in the statement's text that a client may point its caret at; ``where`` is the context, such as
    the line and column of a COPY; ``column`` is the (schema, table, column) that it is about, ``constraint`` the
    (schema, table, constraint).
    """

    sqlstate = "XX000"

    def __init__(
        self, message: str, *, detail: str | None = None, hint: str | None = None, position: int | None = None
    ) -> None:
        message = message if len(message) <= _LONG_MESSAGE else _shortened(message)
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint
        self.position = position
        self.where: str | None = None
        self.column: tuple[str, str, str] | None = None
        self.constraint: tuple[str, str, str] | None = None


class ProtocolViolation(TsdbError):
    sqlstate = "08P01"


class FeatureNotSupported(TsdbError):
    sqlstate = "0A000"


class DataError(TsdbError):
    sqlstate = "22000"


class InvalidTextRepresentation(DataError):
    sqlstate = "22P02"


class InvalidBinaryRepresentation(DataError):
    sqlstate = "22P03"


class NumericValueOutOfRange(DataError):
    sqlstate = "22003"


class NullValueNotAllowed(DataError):
    sqlstate = "22004"


class DivisionByZero(DataError):
    sqlstate = "22012"


class DatetimeFieldOverflow(DataError):
    sqlstate = "22008"


class InvalidDatetimeFormat(DataError):
    sqlstate = "22007"


class InvalidTimeZoneDisplacementValue(DataError):
    sqlstate = "22009"


class IntervalFieldOverflow(DataError):
    sqlstate = "22015"


class InvalidParameterValue(DataError):
    sqlstate = "22023"


class BadCopyFileFormat(DataError):
    sqlstate = "22P04"


class CharacterNotInRepertoire(DataError):
    sqlstate = "22021"


class UntranslatableCharacter(DataError):
    sqlstate = "22P05"


class InvalidRegularExpression(DataError):
    sqlstate = "2201B"


class InvalidEscapeSequence(DataError):
    sqlstate = "22025"


class StringDataRightTruncation(DataError):
    sqlstate = "22001"


class PointsBeyondRetention(DataError):
    """A point older than its series' retention floor; Telegraf knows this text and does not retry."""

    sqlstate = "22008"


class NotNullViolation(TsdbError):
    sqlstate = "23502"


class UniqueViolation(TsdbError):
    sqlstate = "23505"


class CheckViolation(TsdbError):
    sqlstate = "23514"


class CardinalityViolation(TsdbError):
    sqlstate = "21000"


class ActiveSqlTransaction(TsdbError):
    sqlstate = "25001"


class NoActiveSqlTransaction(TsdbError):
    sqlstate = "25P01"


class ReadOnlySqlTransaction(TsdbError):
    sqlstate = "25006"


class IdleInTransactionSessionTimeout(TsdbError):
    sqlstate = "25P03"


class InFailedSqlTransaction(TsdbError):
    sqlstate = "25P02"


class InvalidSqlStatementName(TsdbError):
    sqlstate = "26000"


class InvalidAuthorizationSpecification(TsdbError):
    sqlstate = "28000"


class InvalidPassword(TsdbError):
    sqlstate = "28P01"


class InvalidCursorDefinition(TsdbError):
    sqlstate = "42P11"


class InvalidCursorName(TsdbError):
    sqlstate = "34000"


class InvalidSavepointSpecification(TsdbError):
    sqlstate = "3B001"


class InvalidCatalogName(TsdbError):
    """Unknown database."""

    sqlstate = "3D000"


class SerializationFailure(TsdbError):
    """What a transaction read and wants to change was changed by another one: to be run again from its start."""

    sqlstate = "40001"


class StatementCompletionUnknown(TsdbError):
    sqlstate = "40003"


class SqlSyntaxError(TsdbError):
    sqlstate = "42601"


class InsufficientPrivilege(TsdbError):
    sqlstate = "42501"


class UndefinedColumn(TsdbError):
    sqlstate = "42703"


class UndefinedFunction(TsdbError):
    sqlstate = "42883"


class UndefinedTable(TsdbError):
    sqlstate = "42P01"


class UndefinedParameter(TsdbError):
    sqlstate = "42P02"


class UndefinedObject(TsdbError):
    sqlstate = "42704"


class DuplicateColumn(TsdbError):
    sqlstate = "42701"


class DuplicateDatabase(TsdbError):
    sqlstate = "42P04"


class DuplicateTable(TsdbError):
    sqlstate = "42P07"


class DuplicateObject(TsdbError):
    sqlstate = "42710"


class DependentObjectsStillExist(TsdbError):
    sqlstate = "2BP01"


class InvalidGrantOperation(TsdbError):
    sqlstate = "0LP01"


class DuplicatePreparedStatement(TsdbError):
    sqlstate = "42P05"


class DuplicateCursor(TsdbError):
    sqlstate = "42P03"


class AmbiguousAlias(TsdbError):
    sqlstate = "42P09"


class AmbiguousColumn(TsdbError):
    sqlstate = "42702"


class AmbiguousFunction(TsdbError):
    sqlstate = "42725"


class CannotCoerce(TsdbError):
    sqlstate = "42846"


class InvalidSchemaName(TsdbError):
    sqlstate = "3F000"


class DuplicateSchema(TsdbError):
    sqlstate = "42P06"


class SequenceGeneratorLimitExceeded(TsdbError):
    """A sequence that does not cycle has reached its end."""

    sqlstate = "2200H"


class GeneratedAlways(TsdbError):
    """A value for a column that is GENERATED ALWAYS."""

    sqlstate = "428C9"


class InvalidRowCountInLimitClause(DataError):
    sqlstate = "2201W"


class InvalidRowCountInOffsetClause(DataError):
    sqlstate = "2201X"


class DuplicateAlias(TsdbError):
    sqlstate = "42712"


class GroupingError(TsdbError):
    sqlstate = "42803"


class WindowingError(TsdbError):
    sqlstate = "42P20"


class DatatypeMismatch(TsdbError):
    sqlstate = "42804"


class WrongObjectType(TsdbError):
    sqlstate = "42809"


class IndeterminateDatatype(TsdbError):
    sqlstate = "42P18"


class InvalidTableDefinition(TsdbError):
    sqlstate = "42P16"


class InvalidName(TsdbError):
    sqlstate = "42602"


class ReservedName(TsdbError):
    sqlstate = "42939"


class InvalidColumnReference(TsdbError):
    sqlstate = "42P10"


class CantChangeRuntimeParam(TsdbError):
    sqlstate = "55P02"


class DiskFull(TsdbError):
    sqlstate = "53100"


class OutOfMemory(TsdbError):
    """The head is full or a query's memory is used up: try again later, or with less."""

    sqlstate = "53200"


class TooManyConnections(TsdbError):
    sqlstate = "53300"


class ConfigurationLimitExceeded(TsdbError):
    sqlstate = "53400"


class ProgramLimitExceeded(TsdbError):
    sqlstate = "54000"


class StatementTooComplex(TsdbError):
    sqlstate = "54001"


class TooManyColumns(TsdbError):
    sqlstate = "54011"


class ObjectNotInPrerequisiteState(TsdbError):
    sqlstate = "55000"


class LocationElsewhere(ObjectNotInPrerequisiteState):
    """What a statement needs is at another node of the cluster, which the message names."""


class ObjectInUse(TsdbError):
    sqlstate = "55006"


class QueryCanceled(TsdbError):
    sqlstate = "57014"


class AdminShutdown(TsdbError):
    sqlstate = "57P01"


class IdleSessionTimeout(TsdbError):
    sqlstate = "57P05"


class CannotConnectNow(TsdbError):
    """``passes``: another node may be about to answer instead; a query that has given nothing yet is run again."""

    sqlstate = "57P03"
    passes = False


class IoError(TsdbError):
    sqlstate = "58030"


class InternalError(TsdbError):
    sqlstate = "XX000"


class DataCorrupted(TsdbError):
    """A checksum or a format does not hold. Never read past it."""

    sqlstate = "XX001"


class ConfigurationError(Exception):
    """Settings that cannot be: the process prints the text on one line and exits with 2."""


class StartupError(Exception):
    """The process cannot start here and now: it prints the text on one line and exits with ``exit_code``."""

    exit_code = 1


class NodeRemoved(StartupError):
    """Nor will it ever: its directory is of a node that was removed from its cluster."""

    exit_code = 3
