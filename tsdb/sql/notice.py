"""What a statement says beside its result: a severity and a condition, sent as a NoticeResponse."""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.errors import TsdbError


class SuccessfulCompletion(TsdbError):
    """Not an error: the condition of a plain NOTICE."""

    sqlstate = "00000"


class NoticeWarning(TsdbError):
    """Not an error: the condition of a WARNING without a class of its own."""

    sqlstate = "01000"


@dataclass(frozen=True, slots=True)
class Notice:
    condition: TsdbError
    severity: str = "NOTICE"


def notice(message: str, *, detail: str | None = None, hint: str | None = None) -> Notice:
    return Notice(SuccessfulCompletion(message, detail=detail, hint=hint))


def skipped(condition: TsdbError) -> Notice:
    """What IF NOT EXISTS leaves alone: the error that would be, as a NOTICE with its SQLSTATE."""
    condition.message = f"{condition.message}, skipping"
    return Notice(condition)


def warning(message: str, *, hint: str | None = None) -> Notice:
    return Notice(NoticeWarning(message, hint=hint), "WARNING")
