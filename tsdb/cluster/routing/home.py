"""What a database has once, at the node that leads its first location: the values of its sequences, and who refreshes
its continuous views. It blocks."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from tsdb.cluster.routing.exchange import Exchange, NoAnswer
from tsdb.cluster.routing.messages import (
    Done,
    LookAtSequence,
    PutValue,
    Question,
    Reply,
    TakeValues,
    Values,
    WantRefresh,
)
from tsdb.errors import CannotConnectNow, InternalError, StatementCompletionUnknown
from tsdb.model.points import Int64s
from tsdb.model.relations import SequenceState, SqlSequence
from tsdb.model.schema import Series
from tsdb.prompt import may_wait

REFRESHED_S = 0.1


class Home:
    """Another node, for one database, by a version of the schema."""

    def __init__(self, exchange: Exchange, node: int, database: int, catalog: int) -> None:
        self._exchange = exchange
        self._node = node
        self._database = database
        self._catalog = catalog

    def take(self, sequence: SqlSequence, count: int) -> Int64s:
        """Values that are given twice to nobody: of an answer that is lost they are skipped."""
        return np.array(self._numbers(TakeValues(self._catalog, self._database, sequence.path, count)), np.int64)

    def put(self, sequence: SqlSequence, value: int, *, called: bool) -> None:
        reply = self._told(PutValue(self._catalog, self._database, sequence.path, value, called))
        if not isinstance(reply, Done):
            raise InternalError(f"a sequence is not put by {reply}")

    def state(self, sequence: SqlSequence) -> SequenceState:
        last, left, called = self._numbers(LookAtSequence(self._catalog, self._database, sequence.path))
        return SequenceState(last, left, bool(called))

    def refresh(self, series: Series, check: Callable[[], None]) -> None:
        """Have a continuous view refreshed, and wait for it."""
        ticket, done = self._wanted(series, 0)
        while not done:
            check()
            time.sleep(REFRESHED_S)
            _, done = self._wanted(series, ticket)

    def _wanted(self, series: Series, ticket: int) -> tuple[int, int]:
        may_wait()
        question = WantRefresh(self._catalog, series.number, ticket)
        try:
            reply = self._exchange.run(self._exchange.ask(self._node, question)).result()
        except NoAnswer as error:
            raise CannotConnectNow(str(error), hint="Try again.") from None
        if not isinstance(reply, Values) or len(reply.numbers) != 2:
            raise InternalError(f"a refresh is not told of by {reply}")
        return reply.numbers[0], reply.numbers[1]

    def _numbers(self, question: Question) -> tuple[int, ...]:
        reply = self._told(question)
        if not isinstance(reply, Values):
            raise InternalError(f"numbers are not told by {reply}")
        return reply.numbers

    def _told(self, question: Question) -> Reply:
        may_wait()
        try:
            return self._exchange.run(self._exchange.ask(self._node, question)).result()
        except NoAnswer as error:
            raise StatementCompletionUnknown(
                f"a sequence was asked for a value, and what became of that is not known: {error}"
            ) from None
