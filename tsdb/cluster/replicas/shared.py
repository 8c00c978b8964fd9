"""The way to data that several nodes have, at the node that leads it: writes, and reads of all that was acknowledged.

From any thread; what is asked is done by the host in the committer's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from tsdb.clock import Clock
from tsdb.cluster.replicas.host import OP_BYTES_MAX, Host
from tsdb.cluster.replication.clients import Answer, NotLeader, ReadAt, Unknown, Write, Written
from tsdb.cluster.replication.ops import OpKind
from tsdb.cluster.replication.record import Record
from tsdb.errors import (
    AdminShutdown,
    CannotConnectNow,
    OutOfMemory,
    ProgramLimitExceeded,
    StatementCompletionUnknown,
    TsdbError,
)
from tsdb.model.store import Written as Stored
from tsdb.prompt import may_wait
from tsdb.storage import append
from tsdb.storage.append import Step
from tsdb.storage.engine import Engine

PATIENCE_TICKS = 50
"""How long a write waits for its quorum, and before that for an epoch to become active: five seconds."""
READ_PATIENCE_S = 6.0
ROOM_S = 10.0
IN_FLIGHT_BYTES_MAX = 128 << 20
"""Of writes that are not answered yet; a larger one goes alone."""


class Shared:
    """``host`` belongs to the committer's thread of ``engine``."""

    def __init__(self, engine: Engine, host: Host, clock: Clock) -> None:
        self._engine = engine
        self._host = host
        self._clock = clock
        self._room = threading.Condition()
        self._in_flight = 0

    # Writes

    def write(self, steps: Sequence[Step]) -> Future[Stored]:
        """Log the parts of all steps; answered when a majority has each of them on disk and they are visible here.

        Each part for itself: what failed may be there in part, and the error says so. Raises by the future
        CannotConnectNow when nothing of it is logged, StatementCompletionUnknown when that is not known, and what
        speaks against a step.
        """
        size = sum(step.bytes for step in steps)
        for step in steps:
            longest = max(map(len, step.bodies), default=0)
            if longest > OP_BYTES_MAX:
                return _failed(
                    ProgramLimitExceeded(
                        f"a write of {longest} bytes to one location is more than the {OP_BYTES_MAX} bytes that nodes "
                        "send each other at once",
                        hint="Send smaller batches.",
                    )
                )
        try:
            self._wait_for_room(size)
        except TsdbError as error:
            return _failed(error)
        answer = self._engine.feed(lambda future: self._feed(steps, future), size)
        answer.add_done_callback(lambda _: self._leave(size))
        return answer

    def _wait_for_room(self, size: int) -> None:
        with self._room:
            if not self._has_room(size):
                may_wait()
                if not self._room.wait_for(lambda: self._has_room(size), ROOM_S):
                    raise OutOfMemory(
                        "too many writes wait for other nodes",
                        detail=f"{self._in_flight} of {IN_FLIGHT_BYTES_MAX} bytes are in use.",
                        hint="Try again later.",
                    )
            self._in_flight += size

    def _has_room(self, size: int) -> bool:
        return not self._in_flight or self._in_flight + size <= IN_FLIGHT_BYTES_MAX

    def _leave(self, size: int) -> None:
        with self._room:
            self._in_flight -= size
            self._room.notify_all()

    def _feed(self, steps: Sequence[Step], future: Future[Any]) -> None:
        """In the committer's thread. Raises what speaks against a step, before anything of them is logged."""
        for step in steps:
            self._engine.check(step)
        parts = sum(len(step.parts) for step in steps)
        points = sum(step.points for step in steps if isinstance(step, append.Write))
        collecting = _Collecting(future, Stored(points), parts)
        if not parts:
            future.set_result(Stored(points))
        for step in steps:
            kind = OpKind.WRITE if isinstance(step, append.Write) else OpKind.DELETE
            for at, body in enumerate(step.bodies):
                location = step.parts[at].location.number
                self._host.write(location, self._op(kind, body, _rows(step, at)), PATIENCE_TICKS, collecting.told)

    def _op(self, kind: OpKind, body: bytes, rows: int) -> Callable[[int, Record], Write]:
        schema, now = self._engine.catalog.version, self._clock.now_ns()

        def write(id: int, record: Record) -> Write:
            return Write(
                id, record.low, record.high, record.map_version, body, rows, ticks=PATIENCE_TICKS, wall_ns=now,
                kind=kind, metadata_index=schema,
            )  # fmt: skip

        return write

    # Reads

    def confirm(self, locations: Iterable[int]) -> None:
        """Until it is sure that what this node had applied when this was called is all that was acknowledged anywhere
        before: a majority of each location's replicas says that nobody leads it later. Raises CannotConnectNow."""
        may_wait()
        future: Future[Any] = Future()
        wanted = list(locations)
        collecting = _Collecting(future, None, len(wanted))

        def feed() -> None:
            for location in wanted:
                self._host.read(location, PATIENCE_TICKS, collecting.told)

        if not wanted:
            return
        self._engine.turn(feed).add_done_callback(lambda turn: _stopped(turn, future))
        try:
            future.result(READ_PATIENCE_S)
        except TimeoutError:
            raise CannotConnectNow("the replicas of what is read did not say in time that it is all there is") from None


def _rows(step: Step, at: int) -> int:
    """Of a part: how many counters its op takes. A deletion takes one."""
    if not isinstance(step, append.Write):
        return 1
    pieces = step.parts[at].pieces
    return sum(len(step.batches[each.batch]) if each.rows is None else len(each.rows) for each in pieces)


@dataclass(slots=True)
class _Collecting:
    """The answers to all parts of one write, or of one read: in the committer's thread."""

    future: Future[Any]
    result: Stored | None
    waits: int
    done: int = 0
    unknown: int = 0
    refusals: list[str] = field(default_factory=list)

    def told(self, answer: Answer) -> None:
        self.waits -= 1
        if isinstance(answer, (Written, ReadAt)):
            self.done += 1
        elif isinstance(answer, Unknown):
            self.unknown += 1
        else:
            self.refusals.append(_reason(answer))
        if self.waits == 0 and not self.future.done():
            self._finish()

    def _finish(self) -> None:
        if not self.unknown and not self.refusals:
            self.future.set_result(self.result)
        elif self.result is None or (self.refusals and not self.unknown and not self.done):
            self.future.set_exception(
                CannotConnectNow(self.refusals[0], hint="Try again: another replica may be about to take over.")
            )
        else:
            self.future.set_exception(
                StatementCompletionUnknown(
                    "not all of a write is known to be on a majority of its replicas",
                    detail=f"Of its parts {self.done} are stored, {self.unknown} may be, {len(self.refusals)} are not.",
                    hint="Send it again: points with the same time and tags take the place of those that are there.",
                )
            )


def _stopped(turn: Future[None], future: Future[Any]) -> None:
    if turn.exception() is not None and not future.done():
        future.set_exception(AdminShutdown("the node stops"))


def _reason(answer: Answer) -> str:
    if isinstance(answer, NotLeader):
        return "a location that is asked for is not led by this node now"
    return f"a location that is asked for is not ready: {getattr(answer, 'reason', type(answer).__name__)}"


def _failed(error: TsdbError) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
