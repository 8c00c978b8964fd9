"""What a node does for others: writes, scans and looks at what it leads, as if they were its own clients'.

Questions come on the event loop of the group; what lasts is done in a few threads, and between two parts of a stream no
thread is held. A view that another node has open here is closed when that node says so, or begins a new life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from itertools import chain
from typing import Protocol, TypeVar

import pyarrow as pa

from tsdb.cluster.led import locations_in_range
from tsdb.cluster.metadata.agreement import Agreement
from tsdb.cluster.metadata.records import LocationRecord
from tsdb.cluster.refreshing import Wishes
from tsdb.cluster.routing.arrow import encoded
from tsdb.cluster.routing.conditions import request_of
from tsdb.cluster.routing.exchange import Outgoing
from tsdb.cluster.routing.fragment import Fragment
from tsdb.cluster.routing.holding import reply_of
from tsdb.cluster.routing.map import RingMap
from tsdb.cluster.routing.messages import (
    FATES,
    LEVELS,
    LOADS,
    CloseViews,
    CommitEffects,
    ConfirmOps,
    Done,
    HoldView,
    Led,
    LookAtChanges,
    LookAtHints,
    LookAtProgress,
    LookAtSequence,
    LookAtSizes,
    LookAtWaiting,
    LookAtWritten,
    Looks,
    Newness,
    NotLeader,
    Opened,
    OpenView,
    PutValue,
    Question,
    Reply,
    RunScan,
    SendCopy,
    SlotsKnown,
    Stored,
    TagValues,
    TakeValues,
    Texts,
    Values,
    WantRefresh,
    WriteParts,
)
from tsdb.cluster.routing.packing import Unpacking, known, points_of, producer_of
from tsdb.cluster.routing.router import Here as WrittenTo
from tsdb.cluster.transport.frames import Octets
from tsdb.errors import (
    CannotConnectNow,
    DataCorrupted,
    InvalidCatalogName,
    ProtocolViolation,
    TooManyConnections,
    UndefinedObject,
    UndefinedTable,
)
from tsdb.model.acks import QUORUM, Fate, are_acks
from tsdb.model.catalog import Catalog, Database
from tsdb.model.freshness import LINEARIZABLE, Freshness, Ops, Seen
from tsdb.model.points import Int64s, Points
from tsdb.model.refreshing import Held, Holding
from tsdb.model.relations import SequenceState, SqlSequence
from tsdb.model.ring import intervals_of
from tsdb.model.schema import Series
from tsdb.model.store import Effect, Moment, Scan, TimeRange, Written
from tsdb.storage.append import Piece, Write, WritePart
from tsdb.storage.view import StorageView

R = TypeVar("R")

THREADS = 8
VIEWS_MAX = 1024
"""Views that one other node has open here."""
CATCH_UP_S = 5.0
_NEWEST = Newness()


class Here(WrittenTo, Protocol):
    """What of this node is asked for: the part of ``node.Node`` that looks at nobody else."""

    def own_view(self, fresh: Freshness = LINEARIZABLE) -> StorageView: ...

    def hold_here(self, held: Held, counter: int | None, locations: Sequence[int]) -> Holding: ...

    def fates_here(self, ops: Ops) -> list[Fate]: ...

    def sizes(self) -> Mapping[int, int]: ...

    def loads(self) -> Mapping[int, int]: ...

    def written(self, database: int) -> Mapping[int, int]: ...

    def take_here(self, sequence: SqlSequence, count: int) -> Int64s: ...

    def put_here(self, sequence: SqlSequence, value: int, *, called: bool) -> None: ...

    def sequence_here(self, sequence: SqlSequence) -> SequenceState: ...

    @property
    def wishes(self) -> Wishes: ...


class Copies(Protocol):
    """Who sends copies of locations, and knows which cannot come yet (``replicas.copying.Copying``)."""

    def waiting(self) -> Collection[int]: ...

    async def send(self, peer: int, question: SendCopy, stream: Outgoing) -> Reply: ...


@dataclass(slots=True)
class _Looked:
    """A view that another node has open here, and what was read of it."""

    view: StorageView
    seen: Seen
    is_open: bool = True

    def close(self) -> None:
        self.is_open = False
        self.view.close()


class Answering:
    """An ``exchange.Answers``."""

    def __init__(
        self, here: Here, agreement: Agreement, ring: RingMap, copies: Copies, hints_waiting: Callable[[], int]
    ) -> None:
        self._here = here
        self._hints_waiting = hints_waiting
        self._copies = copies
        self._agreement = agreement
        self._ring = ring
        self._node = ring.node
        self.threads = ThreadPoolExecutor(THREADS, "for-other-nodes")
        self._views: dict[int, dict[int, _Looked]] = {}

    async def answer(self, peer: int, question: Question, body: memoryview, stream: Outgoing) -> tuple[Reply, Octets]:
        """Raises the error that a client of this node would be told."""
        match question:
            case WriteParts():
                return await self._write(question, body), b""
            case CommitEffects():
                return await self._commit(peer, question, body), b""
            case RunScan():
                return await self._scan(peer, question, stream), b""
            case TagValues():
                view = (await self._view(peer, question.looks)).view
                return Texts(), await self._run(lambda: _tag_values(view, question))
            case OpenView():
                looked = await self._view(peer, question.looks, question.newness)
                return Opened(looked.view.moment.counter), b""
            case CloseViews():
                for number in question.views:
                    if (found := self._views.get(peer, {}).pop(number, None)) is not None:
                        found.close()
                return Done(), b""
            case TakeValues() | PutValue() | LookAtSequence():
                await self._catch_up(question.catalog)
                return await self._run(lambda: self._of_sequence(question)), b""
            case LookAtProgress() | LookAtChanges():
                await self._catch_up(question.looks.catalog)
                looked = await self._view(peer, question.looks)
                return await self._run(lambda: self._of_continuous(question, looked.view)), b""
            case HoldView():
                await self._catch_up(question.catalog)
                refused = await self._not_led(question.led)
                return (await self._run(lambda: self._held(question)) if refused is None else refused), b""
            case WantRefresh():
                await self._catch_up(question.catalog)
                return await self._run(lambda: self._wanted_refresh(question)), b""
            case ConfirmOps():
                return await self._run(lambda: self._fates(question)), b""
            case LookAtSizes():
                sizes = await self._run(self._here.sizes)
                if not question.loads:
                    return Values(tuple(chain.from_iterable(sizes.items()))), b""
                loads = self._here.loads()
                of_each = ((number, size, loads.get(number, 0)) for number, size in sizes.items())
                return Values((LOADS, *chain.from_iterable(of_each))), b""
            case LookAtWritten():
                return Values(tuple(chain.from_iterable(self._here.written(question.database).items()))), b""
            case LookAtWaiting():
                return Values(tuple(await self._run(self._copies.waiting))), b""
            case LookAtHints():
                return Values((await self._run(self._hints_waiting),)), b""
            case SendCopy():
                await self._catch_up(question.catalog)
                return await self._copies.send(peer, question, stream), b""

    def left(self, peer: int) -> None:
        for looked in self._views.pop(peer, {}).values():
            looked.close()

    def close(self) -> None:
        self.threads.shutdown(wait=True, cancel_futures=True)
        for peer in list(self._views):
            self.left(peer)

    async def _run(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)

    # Whether it is this node's to answer

    async def _catch_up(self, catalog: int) -> None:
        """Until the schema is as new as the one of who asks."""
        if self._here.catalog.version < catalog:
            await self._run(lambda: self._agreement.wait_readable(CATCH_UP_S))

    async def _not_led(self, led: Sequence[Led]) -> NotLeader | None:
        """What this node does not lead; looked at again when who asks knows of a later epoch."""
        if self._newer(led):
            await self._run(lambda: self._agreement.wait_readable(CATCH_UP_S))
        return self._led_by_another(led)

    def _newer(self, led: Sequence[Led]) -> bool:
        """Whether who asks knows of later epochs."""
        return any((at := self._record(each.location)) is None or at.epoch < each.epoch for each in led)

    def _led_by_another(self, led: Sequence[Led]) -> NotLeader | None:
        for each in led:
            found = self._record(each.location)
            if found is None or found.leader != self._node:
                epoch, leader = (0, 0) if found is None else (found.epoch, found.leader)
                return NotLeader(each.location, epoch, leader)
        return None

    def _not_had(self, locations: Sequence[Led]) -> NotLeader | None:
        """What this node has no vote in. Whether it is new enough is seen when it is read."""
        for each in locations:
            found = self._record(each.location)
            if found is None or self._node not in found.voters:
                epoch, leader = (0, 0) if found is None else (found.epoch, found.leader)
                return NotLeader(each.location, epoch, leader)
        return None

    def _record(self, location: int) -> LocationRecord | None:
        return self._agreement.state.get(LocationRecord, location)

    # Writing

    async def _write(self, question: WriteParts, body: memoryview) -> Reply:
        _check_acks(question.acks)
        await self._catch_up(question.catalog)
        refused = await self._not_led([part.led for part in question.parts])
        if refused is not None:
            return refused
        step = await self._run(lambda: self._step(question, body))
        # Whoever asked may leave: what is written is written.
        written = await asyncio.shield(asyncio.wrap_future(self._here.write_here(step, question.acks)))
        return _stored(written, question.acks)

    def _step(self, question: WriteParts, body: memoryview) -> Write:
        catalog = self._here.catalog
        database = catalog.databases_by_number.get(question.database)
        if database is None:
            raise InvalidCatalogName(f"database {question.database} does not exist any more")
        if sum(part.size for part in question.parts) != len(body):
            raise ProtocolViolation(f"a write of {len(body)} bytes has not the parts that it is said to have")
        locations = {each.number: each for each in database.locations}
        batches: list[Points] = []
        parts, bodies, start = [], [], 0
        for part in question.parts:
            octets = body[start : start + part.size]
            start += part.size
            try:
                points = points_of(octets, lambda number: _series(catalog, number))
            except DataCorrupted as error:
                raise ProtocolViolation(f"a write of another node cannot be read: {error}") from None
            first = len(batches)
            batches += points
            location = locations.get(part.led.location)
            if location is None:
                raise UndefinedObject(f"database {database.name} has no location {part.led.location}")
            parts.append(WritePart(location, [Piece(at, None) for at in range(first, len(batches))]))
            bodies.append(bytes(octets))
        return Write(batches, parts, bodies, [part.checksum for part in question.parts], producer_of(question.numbered))

    async def _commit(self, peer: int, question: CommitEffects, body: memoryview) -> Reply:
        _check_acks(question.acks)
        await self._catch_up(question.catalog)
        refused = await self._not_led(question.led)
        if refused is not None:
            return refused

        def moments_of(numbers: Sequence[int]) -> tuple[Moment, ...]:
            views = self._views.get(peer, {})
            return tuple(views[number].view.moment for number in numbers if number in views)

        def unpacked() -> list[Effect]:
            return Unpacking(self._here.catalog, question.sizes, body, moments_of).effects(question.effects)

        effects = await self._run(unpacked)
        locations = frozenset(each.location for each in question.led)
        producer = producer_of(question.numbered)
        held = None if question.held is None else Held(*question.held)
        future = await self._run(lambda: self._here.commit_here(effects, locations, producer, question.acks, held))
        written = await asyncio.shield(asyncio.wrap_future(future))
        return _stored(written, question.acks)

    def _fates(self, question: ConfirmOps) -> Reply:
        return Values(tuple(map(FATES.index, self._here.fates_here(question.ops))))

    # Reading

    async def _view(self, peer: int, looks: Looks, newness: Newness = _NEWEST) -> _Looked:
        """The view of that number: the one that there is, or a new one."""
        views = self._views.setdefault(peer, {})
        found = views.get(looks.view)
        if found is None:
            if looks.again:
                raise CannotConnectNow("the node has not any more what the statement has begun to read there")
            if len(views) >= VIEWS_MAX:
                raise TooManyConnections(f"node {peer} reads {VIEWS_MAX} versions of the data here at once")
            await self._catch_up(looks.catalog)
            found = views.get(looks.view)
        if found is None:
            seen = Seen()
            found = views[looks.view] = _Looked(self._here.own_view(_freshness(newness, seen)), seen)
        return found

    async def fragment(self, peer: int, question: RunScan) -> Fragment | NotLeader:
        """A scan that has not begun. Raises the error that a client of this node would be told."""
        refused = self._not_had(question.led) if question.follows else await self._not_led(question.led)
        if refused is not None:
            return refused
        return self._fragment(await self._view(peer, question.looks), question)

    def fragment_now(self, peer: int, question: RunScan) -> Fragment | None:
        """From any thread, of a view that is open; None: it has to be waited for. Raises as ``fragment``."""
        looked = self._views.get(peer, {}).get(question.looks.view)
        if looked is None or self._newer(question.led):
            return None
        refused = self._not_had(question.led) if question.follows else self._led_by_another(question.led)
        return None if refused is not None else self._fragment(looked, question)

    def _fragment(self, looked: _Looked, question: RunScan) -> Fragment:
        view = looked.view
        request = request_of(question.conditions, view.catalog)
        numbers = {each.location for each in question.led}

        def begun() -> Scan:
            database, _ = view.catalog.series_by_number[request.series.number]
            locations = [each for each in database.locations if each.number in numbers]
            restricted = self._ring.restricted(request, database, locations)
            if restricted is not request and question.slots is not None:
                _check_slots(database, request.series, question.slots)
            return view.scan(restricted)

        return Fragment(request, begun, looked.seen, lambda: looked.is_open)

    async def _scan(self, peer: int, question: RunScan, stream: Outgoing) -> Reply:
        fragment = await self.fragment(peer, question)
        if isinstance(fragment, NotLeader):
            return fragment
        try:
            while (found := await stream.made(self._run(lambda: _next(fragment)))) is not None:
                stream.token = fragment.token
                await stream.part(found[0], cells=found[1])
        finally:
            await asyncio.shield(self._run(fragment.close))
        return fragment.ended(stream.count)

    def _of_sequence(self, question: TakeValues | PutValue | LookAtSequence) -> Reply:
        database = self._here.catalog.databases_by_number.get(question.database)
        sequence = None if database is None else database.sequences.get(question.path)
        if database is None or sequence is None:
            raise UndefinedTable(f'sequence "{question.path}" does not exist any more')
        self._check_first(database)
        if isinstance(question, TakeValues):
            return Values(tuple(self._here.take_here(sequence, question.count).tolist()))
        if isinstance(question, PutValue):
            self._here.put_here(sequence, question.value, called=question.called)
            return Done()
        state = self._here.sequence_here(sequence)
        return Values((state.last, state.left, int(state.called)))

    def _check_first(self, database: Database) -> None:
        record = self._record(database.locations[0].number)
        if record is None or record.leader != self._node:
            raise CannotConnectNow(
                f'node {self._node} does not lead the first location of "{database.name}" now', hint="Try again."
            )

    def _wanted_refresh(self, question: WantRefresh) -> Reply:
        series = _series(self._here.catalog, question.series)
        self._check_first(self._here.catalog.series_by_number[series.number][0])
        return Values(tuple(map(int, self._here.wishes.want(series.number, question.ticket))))

    def _held(self, question: HoldView) -> Reply:
        numbers = [each.location for each in question.led]
        return reply_of(self._here.hold_here(Held(*question.held), question.counter, numbers))

    def _of_continuous(self, question: LookAtProgress | LookAtChanges, view: StorageView) -> Reply:
        """As the view of who asks has it: its scans go by that."""
        span = TimeRange() if isinstance(question, LookAtProgress) else TimeRange(question.low, question.high)
        found_at = view.catalog.series_by_number.get(question.series)
        if found_at is None:
            # It was dropped, and who asks has not heard of it: nothing is stored, and all of it has changed.
            return Values(() if isinstance(question, LookAtProgress) or span.empty else (span.low, span.high))
        database, series = found_at
        asked = frozenset(question.locations)
        part = intervals_of(each for each in database.locations if each.number in asked) if asked else None
        if isinstance(question, LookAtProgress):
            whole = question.whole or part is not None
            progress = view.progress(series, part) if whole else view.version.progress.get(series.number)
            return Values(() if progress is None else astuple(progress))
        here = set(self._ring.nodes_in_range(database, series, span)) <= {self._node}
        there = {each.number for each in locations_in_range(database, series, span)}
        if question.slots is not None and asked and not there <= asked:
            _check_slots(database, series, question.slots)
        if here or self._ring.is_shared(database):
            found = view.changes(series, question.since, span, question.quantum_ns, part)
        else:
            # What changed at others is not known by this node's counters.
            found = [] if span.empty else [(span.low, span.high)]
        return Values(tuple(chain.from_iterable(found)))


def _freshness(newness: Newness, seen: Seen) -> Freshness:
    """Raises ProtocolViolation."""
    if not 0 <= newness.level < len(LEVELS):
        raise ProtocolViolation(f"a question of another node has no read level: {newness.level}")
    seen.wrote(newness.seen)
    return Freshness(LEVELS[newness.level], newness.staleness_ns, seen)


def _check_slots(database: Database, series: Series, asked: SlotsKnown) -> None:
    """Raises CannotConnectNow for who may have left out locations, since it does not know of slots by now."""
    if known(database.slots_of(series.number)) != asked:
        raise CannotConnectNow(
            f'slots of "{series.name}" were changed, and the node that asks does not know of it yet',
            hint="Run the statement again in a moment.",
        )


def _check_acks(acks: int) -> None:
    """Raises ProtocolViolation."""
    if not are_acks(acks):
        raise ProtocolViolation(f"a write of another node asks for {acks} acknowledgements")


def _stored(written: Written, acks: int) -> Stored:
    reached = QUORUM if written.fell_short else acks
    return Stored(written.points, written.duplicate, written.token, reached, written.counter)


def _series(catalog: Catalog, number: int) -> Series:
    found = catalog.series_by_number.get(number)
    if found is None:
        raise UndefinedTable(f"relation {number} does not exist any more")
    return found[1]


def _tag_values(view: StorageView, question: TagValues) -> pa.Buffer:
    found = view.catalog.series_by_number.get(question.series)
    if found is None:
        raise UndefinedTable(f"relation {question.series} does not exist any more")
    database, series = found
    ring = intervals_of(each for each in database.locations if each.number in question.locations)
    view.tell(series, TimeRange(), ring or None)
    tagsets = view.tagsets(question.series)
    texts = [tagsets.column(column)[1].arrow() for column in question.columns]
    longest = max(map(len, texts))
    padded = [pa.concat_arrays([each, pa.nulls(longest - len(each), pa.string())]) for each in texts]
    return encoded(pa.RecordBatch.from_arrays(padded, names=[str(c) for c in question.columns]))


def _next(fragment: Fragment) -> tuple[pa.Buffer, bool] | None:
    found = fragment.next()
    return None if found is None else (encoded(found[0]), found[1])
