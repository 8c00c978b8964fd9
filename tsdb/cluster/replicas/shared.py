"""The way to data that several nodes have, at one of them: writes where it is led, and reads as new as they have to be.

From any thread; what is asked is done by the host in the committer's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from tsdb.clock import Clock
from tsdb.cluster.metadata.agreement import Opened
from tsdb.cluster.metadata.records import LocationRecord
from tsdb.cluster.metadata.state import State
from tsdb.cluster.refusals import TRY_AGAIN
from tsdb.cluster.replicas import refreshing
from tsdb.cluster.replicas.comparing import Comparing
from tsdb.cluster.replicas.direct import DirectRounds
from tsdb.cluster.replicas.host import OP_BYTES_MAX, Host
from tsdb.cluster.replicas.numbered import Number
from tsdb.cluster.replicas.reading import Opening, having, question_of
from tsdb.cluster.replicas.rounds import Agreed, Rounds
from tsdb.cluster.replicas.sights import Sights
from tsdb.cluster.replicas.turns import Turns
from tsdb.cluster.replicas.writing import PATIENCE_TICKS, Part, Writing, parts_of
from tsdb.errors import (
    AdminShutdown,
    CannotConnectNow,
    OutOfMemory,
    ProgramLimitExceeded,
    QueryCanceled,
    SerializationFailure,
    TsdbError,
)
from tsdb.leaving import here, never, result_of
from tsdb.model.acks import QUORUM, Fate
from tsdb.model.cluster import ReplicaDifference
from tsdb.model.freshness import Freshness, Level, Ops, Token
from tsdb.model.refreshing import Held, Holding
from tsdb.model.store import RevertedOp
from tsdb.model.store import Written as Stored
from tsdb.prompt import Validation, may_wait, validations
from tsdb.storage.append import Append
from tsdb.storage.engine import Engine
from tsdb.storage.view import StorageView

READ_PATIENCE_S = 6.0
ROOM_S = 10.0
HOLDING_S = 0.02
FOLLOWER_TICKS = 2
"""A follower waits so long until it has what its leader has committed; then that is asked for the points."""
IN_FLIGHT_BYTES_MAX = 128 << 20
"""Of writes that are not answered yet; a larger one goes alone."""


class Shared:
    """``host`` belongs to the committer's thread of ``engine``; ``state`` is of the metadata."""

    def __init__(
        self, engine: Engine, host: Host, clock: Clock, state: Callable[[], State], rounds: Rounds,
        direct: DirectRounds, comparing: Comparing,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._host = host
        self._clock = clock
        self._state = state
        self._rounds = rounds
        self._direct = direct
        self._comparing = comparing
        self._turns = Turns()
        self._sights = Sights(engine, host)
        self._room = threading.Condition()
        self._in_flight = 0

    def differences(self) -> Sequence[ReplicaDifference]:
        """What was found at replicas that others have not, oldest first."""
        return [*self._comparing.differences]

    # Writes

    def write(self, append: Append, rests_on: Collection[int] = (), acks: int = QUORUM) -> Future[Stored]:
        """Log the parts of all steps; answered when a majority has each of them on disk and they are visible here, or
        as ``acks`` says.

        ``rests_on``: the locations of what the append has seen, and of what must not be there. What is done in one
        location is there as a whole or not; what failed may be there in part, and the error says so. Raises by the
        future CannotConnectNow when nothing of it is logged, StatementCompletionUnknown when that is not known, and
        what speaks against it, QueryCanceled when this thread's statement is left before anything is logged. With
        ``append.producer``, which has a session then, it is in each location once.
        """
        parts, size = parts_of(append.steps), append.bytes
        # An earlier try of a numbered batch may be there, and a refresh asks by itself.
        is_left = here() if append.producer is None and append.held is None else never
        number = None if append.producer is None else Number(append.producer, self._state)
        try:
            _check_size(parts, number)
            self._wait_for_room(size)
        except TsdbError as error:
            return _failed(error)

        def feed(future: Future[Any]) -> None:
            Writing(
                self._host, self._turns, parts, append.points, rests_on,
                lambda conditions: self._engine.check(append if conditions else append.unconditional),
                lambda: self._engine.catalog.version, self._clock.now_ns(), acks, future, number,
                is_held=append.held is not None, is_left=is_left,
            ).start()  # fmt: skip

        answer = self._engine.feed(feed, size)
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

    # What became of them

    def confirm(self, ops: Ops) -> list[Fate]:
        """As far as the replicas of this node know."""
        return self._engine.call(lambda: [self._host.confirm(*op) for op in ops])

    def reverted(self) -> Sequence[RevertedOp]:
        return self._engine.call(lambda: [*self._host.reverted])

    # Continuous views

    def hold(self, held: Held, counter: int | None, locations: Collection[int]) -> Holding:
        """Hold a view for a refresh: no row of another one is taken from when it begins (``counter`` None). Counters go
        on above ``counter``, and all that is in the logs of these locations is applied. Raises CannotConnectNow where
        this node does not lead all of them, and SerializationFailure where another one has begun since."""
        may_wait()
        find = self._host.find

        def begin() -> dict[int, int]:
            self._engine.hold(held, begins=counter is None)
            self._engine.raise_counter(counter or 0)
            return refreshing.ends(find, locations)

        reached = self._engine.call(begin)
        end = time.monotonic() + READ_PATIENCE_S
        while True:
            found = self._engine.call(lambda: refreshing.holding(self._engine, find, reached, locations))
            if found is not None:
                return found
            if time.monotonic() > end:
                raise CannotConnectNow("this node does not lead all of what is to be refreshed", hint="Try again.")
            time.sleep(HOLDING_S)

    # Reads

    def open(self, locations: Sequence[int], fresh: Freshness, whole: Sequence[int]) -> Opened:
        """The newest version of the data here, when this node's replica of each location has said that it is as new as
        that. Raises CannotConnectNow where one is not, or does not know it in time.

        ``whole`` are all locations of the database.
        """
        if fresh.level is Level.LINEARIZABLE:
            found = self._open_unvalidated(locations, whole, follows=fresh.anywhere)
        else:
            found = self._open_seen(locations, whole, fresh)
        if found is not None:
            return found
        may_wait()
        if fresh.level is Level.LINEARIZABLE:
            found = self._open_agreed(locations, whole, follows=fresh.anywhere)
            if found is not None:
                return found
        future: Future[Opened] = Future()
        opening = Opening(future, len(locations), partial(self._now, whole))
        # Only the leader's answer is worth waiting for until it leads.
        patience = PATIENCE_TICKS if fresh.level is Level.LINEARIZABLE else 0
        question = question_of(fresh, self._clock.now_ns())

        def feed() -> None:
            for location in locations:
                self._host.read(location, question(location), patience, partial(opening.told, location))

        self._engine.turn(feed).add_done_callback(lambda turn: _stopped(turn, future))
        try:
            return result_of(future, READ_PATIENCE_S)
        except SerializationFailure:
            if fresh.seen is not None:
                fresh.seen.forget(opening.reverted)
            raise
        except QueryCanceled:
            future.add_done_callback(_unread)
            raise
        except TimeoutError:
            future.add_done_callback(_unread)
            raise self._not_in_time(locations) from None

    def _not_in_time(self, locations: Sequence[int]) -> CannotConnectNow:
        records = (self._state().get(LocationRecord, each) for each in locations)
        numbers = {each.database for each in records if each is not None}
        names = [name for name, each in self._engine.catalog.databases.items() if each.number in numbers]
        of = f'database "{names[0]}"' if names else "what is read"
        return CannotConnectNow(f"the replicas of {of} did not say in time that it is all there is", hint=TRY_AGAIN)

    def _now(self, whole: Sequence[int]) -> tuple[StorageView, Token]:
        """In the committer's thread."""
        find = self._host.find
        return self._engine.view(), {each: mine.replica.applied for each in whole if (mine := find(each)) is not None}

    def _open_seen(self, locations: Sequence[int], whole: Sequence[int], fresh: Freshness) -> Opened | None:
        """What there is now, where that is known to be new enough without a turn of the replicas."""
        sight = self._sights.see(locations, whole)
        opened = None if sight is None else sight.opened_for(fresh, self._clock.now_ns())
        if sight is not None and opened is None:
            sight.view.close()
        return opened

    def _open_unvalidated(self, locations: Sequence[int], whole: Sequence[int], *, follows: bool) -> Opened | None:
        """What there is now, while a round says whether that is all there is: where somebody waits for that before
        anything is given of it."""
        waiting = validations()
        if waiting is None or waiting:
            return None
        sight = self._sights.see(locations, whole)
        if sight is None:
            return None
        valid = Validation()

        def agreed(found: Agreed | None) -> None:
            valid.say(found is not None and sight.is_enough(found))

        if not (
            self._direct.begin(locations, agreed, follows=follows)
            or self._rounds.begin(locations, agreed, follows=follows, goes_on=True)
        ):
            sight.view.close()
            return None
        waiting.append(valid)
        return Opened(sight.view, sight.applied, {})

    def _open_agreed(self, locations: Sequence[int], whole: Sequence[int], *, follows: bool) -> Opened | None:
        """By a round; None where that does not say enough. Raises CannotConnectNow for a follower that has not come as
        far as its leader."""
        future: Future[Opened | None] = Future()

        def agreed(found: Agreed | None) -> None:
            opened = None if found is None else self._open_at_once(found, whole)
            if found is not None and opened is None:
                turn = self._engine.turn(lambda: self._open_at(found, whole, future))
                turn.add_done_callback(lambda turn: _stopped(turn, future))
            elif future.set_running_or_notify_cancel():
                future.set_result(opened)
            elif opened is not None:
                opened.view.close()

        if not self._rounds.begin(locations, agreed, follows=follows):
            return None
        try:
            return result_of(future, READ_PATIENCE_S)
        except QueryCanceled:
            if not future.cancel():
                future.add_done_callback(_unread)
            raise
        except TimeoutError:
            if future.cancel():
                return None
            future.add_done_callback(_unread)
            raise self._not_in_time(locations) from None

    def _open_at_once(self, agreed: Agreed, whole: Sequence[int]) -> Opened | None:
        """None where the replicas have something to do first."""
        sight = self._sights.see([*agreed.led, *agreed.followed], whole)
        if sight is None or sight.is_enough(agreed):
            return None if sight is None else sight.opened(agreed)
        sight.view.close()
        return None

    def _open_at(self, agreed: Agreed, whole: Sequence[int], future: Future[Opened | None]) -> None:
        """In the committer's thread. What is led in these epochs still, and applied, has all that was acknowledged when
        the read came; what others lead has it when it has come to their high watermarks."""
        if not future.set_running_or_notify_cancel():
            return
        needs: dict[int, int] = {}
        for location, epoch in agreed.led.items():
            lead = self._host.lead(location)
            if lead is None or lead[0] != epoch:
                future.set_result(None)
                return
            needs[location] = lead[1]
        if not agreed.followed:
            future.set_result(Opened(*self._now(whole), needs))
            return
        opening = Opening(future, len(agreed.followed), partial(self._now, whole), needs)
        for location, committed in agreed.followed.items():
            self._host.hear_commit(location, *committed)
            self._host.read(location, having(committed, FOLLOWER_TICKS), 0, partial(opening.told, location))


def _unread(future: Future[Any]) -> None:
    """What has come when nobody waits for it any more: a view pins what it shows."""
    if not future.cancelled() and future.exception() is None and future.result() is not None:
        future.result().view.close()


def _stopped(turn: Future[None], future: Future[Any]) -> None:
    if turn.exception() is not None and not future.done():
        future.set_exception(AdminShutdown("the node stops"))


def _check_size(parts: Sequence[Part], number: Number | None) -> None:
    """Raises ProgramLimitExceeded."""
    longest = max((len(part.body) for part in parts), default=0)
    if longest > OP_BYTES_MAX:
        raise ProgramLimitExceeded(
            f"a write of {longest} bytes to one location is more than the {OP_BYTES_MAX} bytes that nodes send each "
            "other at once",
            hint="Send smaller batches.",
        )
    if number is not None and len({part.location for part in parts}) < len(parts):
        # Its ops would have to count as one.
        raise ProgramLimitExceeded(
            f"a numbered batch has more than the {OP_BYTES_MAX} bytes for one location that nodes send each other at "
            "once",
            hint="Send smaller batches.",
        )


def _failed(error: TsdbError) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
