"""The sessions of producers whose batches go to databases that several nodes have.

The metadata know a producer by its database and name and give it a client's number; with that its batches are in the op
logs, and count once in each (``tsdb.cluster.replication.producers``), whichever node they come to.
"""

from __future__ import annotations

from dataclasses import replace

from tsdb.clock import Clock
from tsdb.cluster.metadata.agreement import Agreement
from tsdb.cluster.metadata.clients import TTL_NS_MIN
from tsdb.cluster.metadata.commands import OpenProducer
from tsdb.cluster.metadata.records import ClientSession
from tsdb.errors import InternalError
from tsdb.model.store import Producer
from tsdb.prompt import may_wait
from tsdb.storage.producers import check_producer


class Sessions:
    """``window_s``: a producer that has not written for so long is forgotten. Thread-safe.

    A session is used for half of its time at most before the metadata hear of it again. So one that has ended is not
    taken for an open one by a node that has not heard of its end, unless its clock is behind by the other half.
    """

    def __init__(self, agreement: Agreement, window_s: float, clock: Clock) -> None:
        self._agreement = agreement
        self._ttl_ns = max(int(window_s * 10**9), TTL_NS_MIN)
        self._clock = clock
        self._known: dict[tuple[int, str], int] = {}

    def opened(self, database: int, producer: Producer) -> Producer:
        """The producer with its session's number. Raises InvalidParameterValue, ConfigurationLimitExceeded, and what
        ``Agreement.propose`` raises."""
        if producer.session:
            return producer
        check_producer(producer)
        key = database, producer.name
        client = self._known.get(key, 0)
        if not self._is_fresh(client, key):
            may_wait()
            answer = self._agreement.propose(OpenProducer(database, producer.name, self._ttl_ns))
            if len(answer.values) != 1:
                raise InternalError(f"a producer's session has no number but {answer.values}")
            (client,) = answer.values
            self._forget_ended()
            self._known[key] = client
        return replace(producer, session=client)

    def _is_fresh(self, client: int, key: tuple[int, str]) -> bool:
        session = self._agreement.state.get(ClientSession, client)
        if session is None or (session.database, session.name) != key:
            return False
        return self._clock.now_ns() - session.heard_ns < session.ttl_ns // 2

    def _forget_ended(self) -> None:
        state = self._agreement.state
        for key, client in list(self._known.items()):
            if state.get(ClientSession, client) is None:
                self._known.pop(key, None)
