"""Writes on their way to the nodes that lead their locations, and what became of them together.

A part that another node leads is asked of it; whatever the answers, one future ends with all of them: done, or an error
that says what is where. Nothing is sent twice unless it is sure that it was not taken, or its producer's number makes
that harmless. While a location with replicas has no leader its parts wait (``WAIT_S``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from tsdb.cluster.metadata.agreement import Agreement
from tsdb.cluster.refusals import nothing_stored
from tsdb.cluster.routing.exchange import CONNECT_S, Exchange, NoAnswer
from tsdb.cluster.routing.map import RingMap
from tsdb.cluster.routing.messages import CommitEffects, NotLeader, PartSent, Stored, WriteParts
from tsdb.cluster.routing.moments import since_at, views_at
from tsdb.cluster.routing.packing import Packing, numbered
from tsdb.cluster.routing.shares import InRange, Share, database_of, shares_of
from tsdb.errors import (
    AdminShutdown,
    CannotConnectNow,
    InternalError,
    QueryCanceled,
    StatementCompletionUnknown,
    TsdbError,
)
from tsdb.leaving import IsLeft, Statement, here, never
from tsdb.leaving import left as left_alone
from tsdb.model.acks import fell_short
from tsdb.model.catalog import Catalog
from tsdb.model.freshness import Ops, merged
from tsdb.model.points import Points
from tsdb.model.refreshing import Held
from tsdb.model.ring import Location
from tsdb.model.schema import Database
from tsdb.model.store import Effect, Producer, Written
from tsdb.storage.append import Piece, Write, WritePart, write_step

WAIT_S = 10.0
"""How long a write waits for somebody to lead."""
AGAIN_S = 0.2
"""It looks again after so long, and sooner at first: a lead that is handed over is soon somebody else's."""
FIRST_AGAIN_S = 0.025
GONE_S = 0.25
"""A node that others may lead for is waited for no longer until there is a connection: it may be gone for good, and
meanwhile another one leads."""


class Here(Protocol):
    """What of this node is written to."""

    @property
    def catalog(self) -> Catalog: ...

    def write_here(self, step: Write, acks: int) -> Future[Written]: ...

    def commit_here(
        self,
        effects: Sequence[Effect],
        locations: frozenset[int],
        producer: Producer | None,
        acks: int,
        held: Held | None = None,
    ) -> Future[Written]: ...


@dataclass(slots=True)
class _Outcome:
    """What became of the parts so far. ``database``: its name; "" where an earlier try may be there."""

    points: int
    acks: int
    replicas: int
    database: str
    left: IsLeft = never
    stored: int = 0
    new: bool = False
    fell_short: bool = False
    errors: list[TsdbError] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    ops: list[Ops] = field(default_factory=list)

    def add(self, stored: Stored | Written) -> None:
        self.stored += stored.points
        self.new = self.new or not stored.duplicate
        self.ops.append(stored.token)
        self.fell_short = self.fell_short or _fell_short(stored, self.acks, self.replicas)

    def is_left(self) -> bool:
        """Whether nobody waits for it, and nothing of it may be stored."""
        return not (self.ops or self.errors or self.unknown) and self.left()

    def result(self) -> Written:
        """Raises what is to be told of all of it."""
        if self.unknown:
            raise StatementCompletionUnknown(
                f"whether {_all_of(self.points)} stored is not known: {'; '.join(self.unknown)}",
                detail=f"{self.stored} of them are, durably.",
                hint="Send the same again: points that are there merge with their like, numbered batches count once.",
            )
        if self.errors:
            error = self.errors[0]
            if self.stored:
                there = f"{self.stored} of {self.points} points are stored, at other nodes."
                error.detail = there if error.detail is None else f"{error.detail} {there}"
            elif self.database and isinstance(error, CannotConnectNow) and len(self.errors) == 1:
                raise nothing_stored(error, self.database) from error
            raise error
        return Written(self.points, not self.new, merged(*self.ops), self.fell_short)


@dataclass(frozen=True, slots=True)
class _Part:
    """One location's, with its points and their encoding."""

    part: WritePart
    step: Write

    @property
    def location(self) -> Location:
        return self.part.location


@dataclass(frozen=True, slots=True)
class PlainWrite:
    """Points for locations of a database, that rest on nothing that was read."""

    database: Database
    batches: Sequence[Points]
    parts: Sequence[WritePart]
    producer: Producer | None
    acks: int
    is_left: IsLeft = never

    def encoded(self) -> list[_Part]:
        """Raises what is wrong with the points."""
        return [_alone(self.batches, part, self.producer) for part in self.parts]


class Router:
    """Safe to call from any thread; it answers from the group's event loop."""

    def __init__(self, here: Here, ring: RingMap, exchange: Exchange, agreement: Agreement, in_range: InRange) -> None:
        self._here = here
        self._ring = ring
        self._exchange = exchange
        self._agreement = agreement
        self._in_range = in_range

    # Points

    def write(self, plain: PlainWrite) -> Future[Written]:
        """Encodes ops in the calling thread. Raises what is wrong with the points."""
        return self._exchange.run(self._write(plain, plain.encoded()))

    async def write_again(self, plain: PlainWrite) -> Written:
        """As ``write``, on the event loop, which encodes nothing itself."""
        return await self._write(plain, await asyncio.get_running_loop().run_in_executor(None, plain.encoded))

    def _replicas(self, locations: Iterable[int]) -> int:
        return max(map(self._ring.replicas_of, locations), default=1)

    def elsewhere(
        self,
        first: Future[Written],
        is_moved: Callable[[], bool],
        again: Callable[[], Coroutine[Any, Any, Written]],
        database: str,
    ) -> Future[Written]:
        """What this node was to do, and has not begun since somebody else leads meanwhile, that one does. ``database``:
        its name; "" where an earlier try may be there."""
        done: Future[Written] = Future()
        # Who gives up waiting does not undo what is under way.
        done.set_running_or_notify_cancel()

        def told(ended: Future[Written]) -> None:
            error = None if ended.cancelled() else ended.exception()
            if not isinstance(error, CannotConnectNow):
                _copy(ended, done)
                return
            if not is_moved():
                done.set_exception(nothing_stored(error, database) if database else error)
                return
            try:
                self._exchange.run(again()).add_done_callback(lambda found: _copy(found, done))
            except TsdbError as stopped:
                done.set_exception(stopped)

        first.add_done_callback(told)
        return done

    async def _write(self, plain: PlainWrite, parts: Sequence[_Part]) -> Written:
        database, producer = plain.database, plain.producer
        replicas = self._replicas(part.location.number for part in parts)
        # Of a numbered batch an earlier try may be there.
        is_left = plain.is_left if producer is None else never
        name = plain.database.name if producer is None else ""
        outcome = _Outcome(sum(map(len, plain.batches)), plain.acks, replicas, name, is_left)
        end = asyncio.get_running_loop().time() + WAIT_S
        waiting = list(parts)
        pause = FIRST_AGAIN_S
        while waiting:
            found: dict[int, list[_Part]] = {}
            again: TsdbError | None
            try:
                for part in waiting:
                    found.setdefault(self._ring.leader_of(part.location), []).append(part)
            except CannotConnectNow as error:
                left, again = waiting, error
            else:
                asked = [self._write_at(node, database, own, producer, outcome) for node, own in found.items()]
                answers = await asyncio.gather(*asked)
                left = [part for own, error in answers if error is not None for part in own]
                again = next((error for _, error in answers if error is not None), None)
            if again is None:
                break
            if outcome.is_left():
                raise left_alone()
            if asyncio.get_running_loop().time() > end or not self._may_change(left, again):
                outcome.errors.append(again)
                break
            waiting = left
            pause = await self._look_again(pause)
        return outcome.result()

    def _may_change(self, parts: Sequence[_Part], why: TsdbError) -> bool:
        """Whether it is worth waiting for somebody else to lead."""
        return isinstance(why, _Moved) or any(self._ring.others_may_lead(part.location.number) for part in parts)

    def _patience_s(self, locations: Collection[int]) -> float:
        return GONE_S if locations and all(map(self._ring.others_may_lead, locations)) else CONNECT_S

    async def _look_again(self, pause: float) -> float:
        """After a pause; the next one's length."""
        await asyncio.sleep(pause)
        loop = asyncio.get_running_loop()
        # If nobody says what is agreed on, what is known has to do.
        with contextlib.suppress(CannotConnectNow):
            await loop.run_in_executor(None, lambda: self._agreement.wait_readable(1.0))
        return min(2 * pause, AGAIN_S)

    async def _write_at(
        self, node: int, database: Database, parts: list[_Part], producer: Producer | None, outcome: _Outcome
    ) -> tuple[list[_Part], TsdbError | None]:
        """The parts that may be tried again, and why; all else is in the outcome."""
        try:
            if node == self._ring.node:
                with Statement(outcome.is_left):
                    future = self._here.write_here(_together(parts), outcome.acks)
                written = await asyncio.shield(asyncio.wrap_future(future))
                outcome.add(written)
                return [], None
            sent = tuple(
                PartSent(self._ring.led([part.location])[0], len(part.step.bodies[0]), part.step.checksums[0])
                for part in parts
            )
            question = WriteParts(self._here.catalog.version, database.number, sent, numbered(producer), outcome.acks)
            body = b"".join(part.step.bodies[0] for part in parts)
            patience_s = self._patience_s([part.location.number for part in parts])
            reply = await self._exchange.ask(node, question, body, connect_s=patience_s)
        except NoAnswer as error:
            if producer is not None:
                return parts, CannotConnectNow(str(error))
            outcome.unknown.append(str(error))
        except CannotConnectNow as error:
            # It was not sent, or not begun.
            return parts, error
        except QueryCanceled:
            # Nor this. It ends with that if no other part is done meanwhile.
            return parts, CannotConnectNow("nobody led when the statement was cancelled", hint="Try again.")
        except StatementCompletionUnknown as error:
            if producer is not None:
                # What is there of it does not count again.
                outcome.new = True
                return parts, error
            outcome.errors.append(error)
        except TsdbError as error:
            outcome.errors.append(error)
        else:
            if isinstance(reply, NotLeader):
                return parts, _moved(reply, self._exchange.name_of(node))
            assert isinstance(reply, Stored), f"a write is not answered by {reply}"
            outcome.add(reply)
        return [], None

    # Effects

    def commit(
        self, effects: Sequence[Effect], producer: Producer | None, acks: int, held: Held | None = None
    ) -> Future[Written]:
        """Each node's share is done there or not, as a whole. ``held``: a refresh's, which nobody takes when it is not.
        Raises what is wrong with the effects."""
        shares = self._shares(effects)
        return self._exchange.run(self._commit(shares, producer, self._doing(shares, acks, producer, here(), held)))

    async def commit_again(
        self, effects: Sequence[Effect], producer: Producer | None, acks: int, is_left: IsLeft
    ) -> Written:
        """As ``commit``, on the event loop."""
        shares = await asyncio.get_running_loop().run_in_executor(None, self._shares, effects)
        return await self._commit(shares, producer, self._doing(shares, acks, producer, is_left))

    def _doing(
        self, shares: dict[int, Share], acks: int, producer: Producer | None, is_left: IsLeft, held: Held | None = None
    ) -> _Doing:
        replicas = self._replicas(number for share in shares.values() for number in share.locations)
        may_be_left = producer is None and held is None
        names = (self._database_of(share.effects[0]).name for share in shares.values())
        name = next(names, "") if may_be_left else ""
        return _Doing(acks, replicas, held, name, is_left if may_be_left else never, numbered=producer is not None)

    def _shares(self, effects: Sequence[Effect]) -> dict[int, Share]:
        return shares_of(effects, self._database_of, self._ring.leader_of, self._in_range)

    def _database_of(self, effect: Effect) -> Database:
        return database_of(self._here.catalog, effect)

    async def _commit(self, shares: dict[int, Share], producer: Producer | None, doing: _Doing) -> Written:
        end = asyncio.get_running_loop().time() + WAIT_S
        pause = FIRST_AGAIN_S
        while True:
            # What may be refused comes first, one node after the other: then mostly nothing is done yet.
            left: list[Share] = []
            for node in [node for node, share in shares.items() if share.conditional]:
                left += await self._commit_at(node, shares.pop(node), producer, doing)
            mere = [self._commit_at(node, share, producer, doing) for node, share in shares.items()]
            for rest in await asyncio.gather(*mere, return_exceptions=False):
                left += rest
            if not left:
                return doing.result()
            if doing.is_left():
                raise left_alone()
            if asyncio.get_running_loop().time() > end:
                doing.refused(doing.moved or InternalError("nobody leads"), "")
                return doing.result()
            pause = await self._look_again(pause)
            try:
                shares = self._shares([effect for share in left for effect in share.effects])
            except CannotConnectNow as error:
                doing.refused(error, "the others")
                return doing.result()

    async def _commit_at(self, node: int, share: Share, producer: Producer | None, doing: _Doing) -> list[Share]:
        """The share, if it may be tried again."""
        name = self._exchange.name_of(node)
        if doing.stopped:
            return []
        try:
            reply = await self._commit_sent(node, share, producer, doing)
        except NoAnswer as error:
            doing.unknown(str(error), name)
        except CannotConnectNow as error:
            if any(map(self._ring.others_may_lead, share.locations)):
                doing.moved = error
                return [share]
            doing.refused(error, name)
        except TsdbError as error:
            doing.refused(error, name)
        else:
            if isinstance(reply, NotLeader):
                doing.moved = _moved(reply, name)
                return [share]
            assert isinstance(reply, Stored | Written), f"a commit is not answered by {reply}"
            doing.done(reply, name)
        return []

    async def _commit_sent(self, node: int, share: Share, producer: Producer | None, doing: _Doing) -> object:
        loop, acks, held = asyncio.get_running_loop(), doing.acks, doing.held
        numbers = frozenset(share.locations)
        if node == self._ring.node:

            def begin() -> Future[Written]:
                with Statement(doing.is_left):
                    return self._here.commit_here(share.effects, numbers, producer, acks, held)

            return await asyncio.shield(asyncio.wrap_future(await loop.run_in_executor(None, begin)))

        def packed() -> Packing:
            packing = Packing(lambda moments: views_at(moments, node), lambda free: since_at(free, node))
            for effect in share.effects:
                packing.add(effect)
            return packing

        packing = await loop.run_in_executor(None, packed)
        led = self._ring.led([Location(number, 0, 1) for number in sorted(numbers)])
        question = CommitEffects(
            self._here.catalog.version, led, tuple(packing.sent), tuple(map(len, packing.blobs)), numbered(producer),
            acks, None if held is None else (held.view, held.ticket),
        )  # fmt: skip
        return await self._exchange.ask(node, question, b"".join(packing.blobs), connect_s=self._patience_s(numbers))


class _Doing:
    """A commit at several nodes. ``database``: its name; "" where an earlier try may be there, or nobody sent it."""

    def __init__(
        self, acks: int, replicas: int, held: Held | None, database: str, left: IsLeft, *, numbered: bool
    ) -> None:
        self._hint = "Look at the data before you do the same again."
        if numbered:
            self._hint = "Do the same again with the same number: what is done of it is not done twice."
        self.acks = acks
        self.held = held
        self._replicas = replicas
        self._database = database
        self._left = left
        self._written: list[Written | Stored] = []
        self._where: list[str] = []
        self._error: TsdbError | None = None
        self._failed_at = ""
        self._unknown: list[str] = []
        self.moved: TsdbError | None = None

    @property
    def stopped(self) -> bool:
        return self._error is not None or bool(self._unknown)

    def is_left(self) -> bool:
        """Whether nobody waits for it, and nothing of it may be done."""
        return not self._where and not self.stopped and self._left()

    def done(self, written: Written | Stored, name: str) -> None:
        self._written.append(written)
        self._where.append(name)

    def refused(self, error: TsdbError, name: str) -> None:
        if self._error is None:
            self._error, self._failed_at = error, name

    def unknown(self, why: str, name: str) -> None:
        self._unknown.append(why)
        self._failed_at = self._failed_at or name

    def result(self) -> Written:
        """Raises StatementCompletionUnknown where some nodes have done their share and others have not."""
        where = ", ".join(self._where)
        if self._unknown:
            raise StatementCompletionUnknown(
                f"whether the transaction is done is not known: {'; '.join(self._unknown)}",
                detail=f"It is done at {where}." if where else None,
                hint=self._hint,
            )
        if self._error is not None:
            if not where and self._database and isinstance(self._error, CannotConnectNow):
                raise nothing_stored(self._error, self._database) from self._error
            if not where:
                raise self._error
            raise StatementCompletionUnknown(
                f"the transaction is done at {where}, and not at {self._failed_at}: {self._error.message}",
                detail="Points of one node are written all or none; those of several are not.",
                hint=self._hint,
            ) from self._error
        written = self._written
        return Written(
            sum(each.points for each in written),
            bool(written) and all(each.duplicate for each in written),
            merged(*(each.token for each in written)),
            any(_fell_short(each, self.acks, self._replicas) for each in written),
            max((each.counter for each in written), default=0),
        )


def _fell_short(stored: Stored | Written, acks: int, replicas: int) -> bool:
    """Of a node that does not know of acknowledgements a majority is all that is known."""
    return fell_short(acks, stored.acks, replicas) if isinstance(stored, Stored) else stored.fell_short


def _copy(ended: Future[Written], to: Future[Written]) -> None:
    """To one who waits, also when what has ended was cancelled."""
    error = AdminShutdown("the node stops") if ended.cancelled() else ended.exception()
    if error is None:
        to.set_result(ended.result())
    else:
        to.set_exception(error)


class _Moved(CannotConnectNow):
    """The asked node does not lead."""


def _moved(reply: NotLeader, name: str) -> _Moved:
    who = f"node {reply.leader} does" if reply.leader else "nobody does"
    return _Moved(f"{name} does not lead location {reply.location}: {who}", hint="Try again.")


def _alone(batches: Sequence[Points], part: WritePart, producer: Producer | None) -> _Part:
    """A part with its own points."""
    points = [
        batches[piece.batch] if piece.rows is None else batches[piece.batch].take(piece.rows) for piece in part.pieces
    ]
    own = WritePart(part.location, [Piece(at, None) for at in range(len(points))])
    return _Part(own, write_step(points, [own], producer))


def _together(parts: Sequence[_Part]) -> Write:
    batches: list[Points] = []
    pieces: list[WritePart] = []
    for part in parts:
        first = len(batches)
        batches += part.step.batches
        pieces.append(WritePart(part.location, [Piece(first + at, None) for at in range(len(part.step.batches))]))
    return Write(
        batches, pieces, [part.step.bodies[0] for part in parts], [part.step.checksums[0] for part in parts],
        parts[0].step.producer,
    )  # fmt: skip


def _all_of(points: int) -> str:
    return "the point is" if points == 1 else f"all of the {points} points are"
