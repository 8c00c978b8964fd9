"""A write or a commit on its way through this node's replicas, in the committer's thread: it waits for its turn at its
locations, what it rests on is looked at, its ops are logged, and their answers become one.

What a commit does in one location is one op, so that it is there or not whatever happens to the leader. Of several
locations each is for itself: those that get points come first, and only when they have them, those from which rows are
merely taken away. A row that moves may then be at both places when the leader is lost, and never at none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from tsdb.cluster.refusals import TRY_AGAIN
from tsdb.cluster.replicas.asked import Told
from tsdb.cluster.replicas.host import OP_BYTES_MAX
from tsdb.cluster.replicas.numbered import Logs, Number
from tsdb.cluster.replicas.turns import Turn, Turns
from tsdb.cluster.replication.clients import Answer, NotLeader, Unknown, Write, Written
from tsdb.cluster.replication.ops import OpKind
from tsdb.cluster.replication.record import Record
from tsdb.errors import CannotConnectNow, StatementCompletionUnknown, TsdbError
from tsdb.leaving import IsLeft, left, never
from tsdb.model.acks import QUORUM, fell_short, replicas_needed
from tsdb.model.freshness import Ops, merged
from tsdb.model.store import Written as Stored
from tsdb.storage import append
from tsdb.storage.append import Step
from tsdb.storage.change_body import HEAD, ChangePart, encode_change

PATIENCE_TICKS = 50
"""How long a write waits for its replicas, and before that for an epoch to become active: five seconds."""
UNCOMMITTED_BYTES_MAX = 64 << 20
"""With more of them no write is acknowledged by fewer than a majority: who is not waited for would fill the memory."""


@dataclass(frozen=True, slots=True)
class Part:
    """One op: its location, and how many counters its rows take. ``only_hides``: it brings no point."""

    location: int
    kind: OpKind
    body: bytes
    counters: int
    only_hides: bool


def parts_of(steps: Iterable[Step]) -> list[Part]:
    """What steps do in each location, in their order, in as few ops as there can be."""
    found: dict[int, list[ChangePart]] = {}
    for step in steps:
        kind = OpKind.WRITE if isinstance(step, append.Write) else OpKind.DELETE
        for at, body in enumerate(step.bodies):
            found.setdefault(step.parts[at].location.number, []).append(ChangePart(kind, _counters(step, at), body))
    return [part for location, pieces in found.items() for part in _joined(location, pieces)]


def _counters(step: Step, at: int) -> int:
    """Of a part of a step: its rows. A deletion takes one."""
    if not isinstance(step, append.Write):
        return 1
    pieces = step.parts[at].pieces
    return sum(len(step.batches[each.batch]) if each.rows is None else len(each.rows) for each in pieces)


def _joined(location: int, pieces: Sequence[ChangePart]) -> Iterable[Part]:
    """One op, unless it would be larger than nodes send each other."""
    start, size = 0, 0
    for at, piece in enumerate(pieces):
        own = HEAD.size + len(piece.body)
        if at > start and size + own > OP_BYTES_MAX:
            yield _part(location, pieces[start:at])
            start, size = at, 0
        size += own
    yield _part(location, pieces[start:])


def _part(location: int, pieces: Sequence[ChangePart]) -> Part:
    only_hides = all(piece.kind == OpKind.DELETE for piece in pieces)
    if len(pieces) == 1:
        (piece,) = pieces
        return Part(location, OpKind(piece.kind), bytes(piece.body), piece.counters, only_hides)
    counters = sum(piece.counters for piece in pieces)
    return Part(location, OpKind.CHANGE, encode_change(pieces), counters, only_hides)


@dataclass(slots=True)
class Answers:
    """To several questions to replicas; ``ended`` is called when all have come."""

    waits: int
    ended: Callable[[Answers], None]
    done: int = 0
    unknown: int = 0
    refusals: list[TsdbError] = field(default_factory=list)

    def told(self, answer: Answer, error: TsdbError | None = None) -> None:
        """``error``: what a refusal is told as, if it is of its own kind."""
        self.waits -= 1
        if isinstance(answer, Written):
            self.done += 1
        elif isinstance(answer, Unknown):
            self.unknown += 1
        else:
            self.refusals.append(error or not_now(reason(answer)))
        if self.waits == 0:
            self.ended(self)


def not_now(why: str) -> CannotConnectNow:
    return CannotConnectNow(why, hint=TRY_AGAIN)


def reason(answer: Answer) -> str:
    if isinstance(answer, NotLeader):
        return "a location that is asked for is not led by this node now"
    if isinstance(answer, Unknown):
        return "a location that is asked for has just left this node"
    return f"a location that is asked for is not ready: {getattr(answer, 'reason', type(answer).__name__)}"


class Replicas(Logs, Protocol):
    """What of ``host.Host`` is written to."""

    @property
    def uncommitted_bytes(self) -> int: ...

    @property
    def last_counter(self) -> int: ...

    def write(
        self, location: int, write: Callable[[int, Record], Write], patience: int, told: Told, is_left: IsLeft
    ) -> None: ...

    def when_settled(
        self, locations: Collection[int], patience: int, told: Callable[[bool], None], is_left: IsLeft
    ) -> None: ...


class Writing:
    """``check`` raises what speaks against it, as things are when it is called: before anything of it is logged. It is
    told whether the conditions count: of a numbered batch that is there already they held the first time.

    ``rests_on``: the locations of rows that must be as they were seen; with any it has all its locations for itself,
    and a majority is the least that it is acknowledged by, whatever ``acks`` says: what comes first must be there
    before what rests on it is done. ``schema``: the version that it is logged under, ``wall_ns`` the time. With a
    ``number`` each location has it once. ``is_held``: of a refresh that holds its view at who leads now. ``is_left``:
    nobody waits for it any more; what is not logged by then is not, and it ends with QueryCanceled if that is all.
    """

    def __init__(
        self,
        host: Replicas,
        turns: Turns,
        parts: Sequence[Part],
        points: int,
        rests_on: Collection[int],
        check: Callable[[bool], None],
        schema: Callable[[], int],
        wall_ns: int,
        acks: int,
        future: Future[Any],
        number: Number | None = None,
        *,
        is_held: bool = False,
        is_left: IsLeft = never,
    ) -> None:
        self._host = host
        self._turns = turns
        self._points = points
        self._check = check
        self._schema = schema
        self._wall_ns = wall_ns
        self._acks = acks
        self._future = future
        self._number = number
        self._is_left = is_left
        self._rests_on = frozenset(rests_on)
        self._is_conditional = bool(rests_on)
        # What was looked at holds for now: if this node does not lead, it is not asked again when it does.
        self._patience = 0 if rests_on or is_held else PATIENCE_TICKS
        self._is_new = number is None or not parts
        hiding = [part for part in parts if part.only_hides]
        bringing = [part for part in parts if not part.only_hides]
        self._stages = [stage for stage in (bringing, hiding) if stage] if self._is_conditional else [list(parts)]
        self._ops: list[Ops] = []
        self._fell_short = False
        self._replicas = 0
        self._answers = Answers(0, lambda _: None)
        self._turn = Turn(frozenset({*rests_on, *(part.location for part in parts)}), self._is_conditional, self._begin)

    def start(self) -> None:
        self._turns.enter(self._turn)

    def _begin(self) -> None:
        if self._is_conditional:
            self._host.when_settled(self._turn.locations, PATIENCE_TICKS, self._settled, self._is_left)
        else:
            self._log_all()

    def _settled(self, is_settled: bool) -> None:
        if is_settled:
            self._log_all()
        else:
            why = "a location that is asked for is not led by this node now, or waits for other nodes"
            self._end(self._refused(not_now(why)))

    def _log_all(self) -> None:
        number = self._number
        try:
            if number is not None:
                number.check(self._host, (part.location for stage in self._stages for part in stage))
            is_there = number is not None and self._is_conditional and number.is_in(self._host, self._rests_on)
            self._check(not is_there)
        except TsdbError as error:
            self._end(error)
            return
        self._log_stage()

    def _log_stage(self) -> None:
        if not self._stages or not self._stages[0]:
            self._end(None)
            return
        stage = self._stages.pop(0)
        before = self._answers
        self._answers = answers = Answers(len(stage), self._answered, before.done)
        for part in stage:
            told = partial(self._told, answers, part.location)
            self._host.write(part.location, self._op(part), self._patience, told, self._is_left)

    def _told(self, answers: Answers, location: int, answer: Answer) -> None:
        if isinstance(answer, Written):
            self._ops.append(((location, answer.epoch, answer.sequence),))
            self._fell_short = self._fell_short or fell_short(self._acks, answer.acks, self._replicas)
            self._is_new = self._is_new or not answer.duplicate
        answers.told(answer, None if self._number is None else self._number.error(answer))

    def _op(self, part: Part) -> Callable[[int, Record], Write]:
        schema, number = self._schema(), self._number

        def write(id: int, record: Record) -> Write:
            plain = Write(
                id, record.low, record.high, record.map_version, part.body, part.counters, acks=self._acks_at(record),
                ticks=PATIENCE_TICKS, wall_ns=self._wall_ns, kind=part.kind, metadata_index=schema,
            )  # fmt: skip
            return plain if number is None else number.put_on(plain)

        return write

    def _acks_at(self, record: Record) -> int:
        self._replicas = max(self._replicas, len(record.voters))
        is_less = replicas_needed(self._acks, len(record.voters)) < replicas_needed(QUORUM, len(record.voters))
        if is_less and (self._is_conditional or self._host.uncommitted_bytes > UNCOMMITTED_BYTES_MAX):
            return QUORUM
        return self._acks

    def _answered(self, answers: Answers) -> None:
        left = sum(map(len, self._stages))
        if not answers.unknown and not answers.refusals:
            self._log_stage()
        elif answers.refusals and not answers.unknown and not answers.done:
            self._end(self._refused(answers.refusals[0]))
        else:
            looks = self._is_conditional and self._number is None
            self._end(
                StatementCompletionUnknown(
                    "not all of a write is known to be on as many replicas as it has to be",
                    detail=f"Of its parts {answers.done} are stored, {answers.unknown} may be, "
                    f"{len(answers.refusals) + left} are not.",
                    hint="Look at the data before you do the same again." if looks else self._again(),
                )
            )

    def _refused(self, error: TsdbError) -> TsdbError:
        """Nothing of it is logged."""
        return left() if self._is_left() and isinstance(error, CannotConnectNow) else error

    def _again(self) -> str:
        if self._number is not None:
            return "Send it again with the same number: what is stored of it is not stored twice."
        return "Send it again: points with the same time and tags take the place of those that are there."

    def _end(self, error: TsdbError | None) -> None:
        """The client is told first: whoever comes next begins in here."""
        if self._future.done():
            pass
        elif error is None:
            token, counter = merged(*self._ops), self._host.last_counter
            self._future.set_result(Stored(self._points, not self._is_new, token, self._fell_short, counter))
        else:
            self._future.set_exception(error)
        self._turns.leave(self._turn)
