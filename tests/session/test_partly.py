"""Of what is written in several steps the error of a later one does not say that nothing is there."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tsdb.errors import CannotConnectNow, QueryCanceled, SerializationFailure, StatementCompletionUnknown, TsdbError
from tsdb.model.points import Points
from tsdb.model.store import Write, Written
from tsdb.session import effects
from tsdb.session.writing import Writing

NOTHING = [CannotConnectNow("nothing of it is stored"), QueryCanceled("cancelled")]


class Steps:
    """A store whose steps end as they are told to."""

    def __init__(self, *ends: TsdbError | None) -> None:
        self._ends = iter(ends)

    def commit(self, *_: object) -> Future[Written]:
        future: Future[Written] = Future()
        end = next(self._ends)
        if end is None:
            future.set_result(Written(1))
        else:
            future.set_exception(end)
        return future


def _writes(count: int) -> list[Write]:
    series: Any = SimpleNamespace(number=1)
    return [Write(Points(series, np.arange(1) + at, [b""], np.zeros(1, np.int32), {})) for at in range(count)]


@pytest.mark.parametrize("error", NOTHING)
def test_a_later_step_that_fails_does_not_say_that_nothing_is_there(
    error: TsdbError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "STEP_ROWS_MAX", 1)
    monkeypatch.setattr(effects, "_SMALL_STEP_ROWS", 1)
    monkeypatch.setattr(effects, "_WRITE_ROWS_MAX", 1)
    with pytest.raises(type(error)):
        effects.write(Steps(error, error), _writes(2))  # type: ignore[arg-type]
    with pytest.raises(StatementCompletionUnknown) as unknown:
        effects.write(Steps(None, error), _writes(2))  # type: ignore[arg-type]
    assert unknown.value.detail == "1 of 2 rows had been written before and stay."
    lost = StatementCompletionUnknown("lost")
    with pytest.raises(StatementCompletionUnknown, match="lost"):
        effects.write(Steps(error, lost), _writes(2))  # type: ignore[arg-type]


@pytest.mark.parametrize("error", NOTHING)
def test_nor_does_a_transaction_of_which_something_was_written_early(
    error: TsdbError, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[TsdbError | None] = [None, error, error, None, SerializationFailure("lost a race")]

    def write(*_: object) -> Written:
        end = ends.pop(0)
        if end is not None:
            raise end
        return Written(1)

    monkeypatch.setattr(effects, "write", write)
    parts: Any = SimpleNamespace(
        take=lambda: [object()], pending=True, producer=lambda: None, waiting=False, acks=lambda: None,
        wrote=lambda _: None,
    )  # fmt: skip
    writing = Writing(parts, parts, parts, "d", lambda: False, parts, parts, lambda _: None)
    writing.write_pending()
    with pytest.raises(StatementCompletionUnknown, match=error.message):
        writing.commit()
    writing.release()
    with pytest.raises(type(error)):
        writing.commit()
    writing.write_pending()
    with pytest.raises(SerializationFailure):
        writing.commit()
