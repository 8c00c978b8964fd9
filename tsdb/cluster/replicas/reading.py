"""A read on its way through this node's replicas, in the committer's thread: each is asked whether it is new enough,
and when all have said so, the view is opened. Everything that they speak of is visible when they do.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tsdb.cluster.metadata.agreement import Opened
from tsdb.cluster.replicas.asked import Question
from tsdb.cluster.replicas.writing import not_now, reason
from tsdb.cluster.replication.clients import Answer, ReadAt, TokenReverted
from tsdb.cluster.replication.replica import Replica
from tsdb.errors import SerializationFailure
from tsdb.model.freshness import Freshness, Level, Token
from tsdb.storage.view import StorageView


def question_of(fresh: Freshness, now_ns: int) -> Callable[[int], Question]:
    """What the replica of a location is asked."""
    if fresh.level is Level.ANY:
        return lambda location: Replica.read_anything
    if fresh.level is Level.BOUNDED:
        oldest = now_ns - fresh.staleness_ns
        return lambda location: partial(_read_since, oldest)
    if fresh.level is Level.SESSION and fresh.seen is not None:
        token = fresh.seen.token
        # Who does not have it yet need not wait for it: the leader has it.
        return lambda location: having(token.get(location, (0, 0)), 0)
    return lambda location: Replica.read


def _read_since(oldest_ns: int, replica: Replica, id: int) -> None:
    replica.read_since(id, oldest_ns)


def having(op: tuple[int, int], ticks: int) -> Question:
    """Whether the op (epoch, sequence) is applied, within so many ticks."""
    return partial(_read_after, op, ticks)


def _read_after(op: tuple[int, int], ticks: int, replica: Replica, id: int) -> None:
    replica.read_after(id, *op, ticks)


@dataclass(slots=True)
class Opening:
    """``open`` gives the newest view of the node's data, and what it shows of the locations."""

    future: Future[Any]
    waits: int
    open: Callable[[], tuple[StorageView, Token]]
    needs: dict[int, int] = field(default_factory=dict)
    refusal: str = ""
    reverted: list[int] = field(default_factory=list)

    def told(self, location: int, answer: Answer) -> None:
        self.waits -= 1
        if isinstance(answer, ReadAt):
            self.needs[location] = answer.needs
        elif isinstance(answer, TokenReverted):
            self.reverted.append(location)
        else:
            self.refusal = self.refusal or reason(answer)
        if self.waits or self.future.done():
            return
        if self.reverted:
            self.future.set_exception(SerializationFailure("what this session wrote was taken back by a later leader"))
        elif self.refusal:
            self.future.set_exception(not_now(self.refusal))
        else:
            view, applied = self.open()
            if all(applied.get(location, (0, -1))[1] >= needs for location, needs in self.needs.items()):
                self.future.set_result(Opened(view, applied, self.needs))
                return
            # One has left this node since it said so, and its points may be gone.
            view.close()
            self.future.set_exception(not_now("a location that is asked for has just left this node"))
