"""Numbered transactions: a producer's name and a number make a retry harmless, as they do over HTTP.

    SET tsdb.producer = 'loader';            for the session
    SET tsdb.batch = 7;                      for the next transaction that changes data, then 0 again
    COPY t FROM STDIN WITH (PRODUCER 'loader', BATCH 7)

What a transaction with a number writes is one batch. When that number is there already, nothing is written again, and
the answers are those of the first time, with a NOTICE (design.md 4.6).
"""

from __future__ import annotations

from collections.abc import Callable

from tsdb.errors import InvalidParameterValue
from tsdb.model.store import Producer
from tsdb.session.variables import Variables
from tsdb.sql.notice import Notice, notice


class Numbering:
    """The number of a session's next transaction. ``tell`` sends a notice to its client."""

    def __init__(self, variables: Variables, tell: Callable[[Notice], None]) -> None:
        self._variables = variables
        self._tell = tell
        self._said: Producer | None = None
        self._ran: Producer | None = None

    def producer(self) -> Producer | None:
        """Raises InvalidParameterValue for a number without a name."""
        if self._said is not None:
            return self._said
        batch = int(self._variables.get("tsdb.batch"))
        if not batch:
            return None
        name = self._variables.get("tsdb.producer")
        if not name:
            raise InvalidParameterValue("tsdb.batch needs tsdb.producer, the name of who numbers")
        return Producer(name, batch)

    def runs(self) -> bool:
        """Something that changes data runs, though it may find nothing to change: is it numbered? Raises as
        ``producer``."""
        self._ran = self.producer()
        return self._ran is not None

    def say(self, producer: Producer) -> None:
        """COPY's options number its transaction. Raises InvalidParameterValue for a second number."""
        known = self.producer()
        if known is not None and known != producer:
            raise InvalidParameterValue(f'the transaction is batch {known.batch} of producer "{known.name}" already')
        self._said = producer

    def used(self, producer: Producer, *, duplicate: bool) -> None:
        """The transaction is durable: its number is not the next one's."""
        self._variables.assume("tsdb.batch", "0")
        if duplicate:
            self._tell(
                notice(
                    f'batch {producer.batch} of producer "{producer.name}" was applied before',
                    detail="Nothing was written again.",
                )
            )

    def end(self, *, committed: bool) -> None:
        """The transaction is over. If it had nothing to change, as a retry may, its number is not the next one's
        either: that would be taken for another retry."""
        if committed and self._ran is not None and int(self._variables.get("tsdb.batch")) == self._ran.batch:
            self._variables.assume("tsdb.batch", "0")
        self._said = self._ran = None
