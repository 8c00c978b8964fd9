"""One node as the whole store: cut by ring location, one op a location, everything local."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tsdb.cluster.acknowledged import fate_of, wanted_by
from tsdb.cluster.alone import Alone
from tsdb.cluster.conditions import empty_ranges, new_points, rests_on, rows_seen
from tsdb.cluster.counting import SequenceValues
from tsdb.cluster.cutting import cut_deletion, cut_points
from tsdb.cluster.founding import change_schema
from tsdb.cluster.gate import Gate
from tsdb.cluster.led import Leaders, LedView
from tsdb.cluster.listing import cluster_locations, cluster_members
from tsdb.cluster.looking import Looking
from tsdb.cluster.metadata.agreement import Agreement, Shared
from tsdb.cluster.metadata.records import LocationRecord
from tsdb.cluster.metadata.state import State
from tsdb.cluster.numbering import Sessions
from tsdb.cluster.refreshing import OwnRefreshing, SharedRefreshing, Wishes, check_unchanged
from tsdb.cluster.routing.home import Home
from tsdb.cluster.routing.router import PlainWrite
from tsdb.cluster.routing.shares import database_of, series_at, series_of
from tsdb.cluster.routing.wide import Wide, wide_of
from tsdb.errors import (
    CannotConnectNow,
    DataCorrupted,
    FeatureNotSupported,
    LocationElsewhere,
    StartupError,
    TsdbError,
)
from tsdb.leaving import here
from tsdb.model.acks import QUORUM, Fate
from tsdb.model.cluster import ClusterLocation, ClusterMember, ReplicaDifference
from tsdb.model.freshness import LINEARIZABLE, Freshness, Ops
from tsdb.model.points import Int64s, Points
from tsdb.model.refreshing import Held, Holding, Refreshing
from tsdb.model.relations import SequenceState, SqlSequence
from tsdb.model.schema import Catalog, Database, SchemaChange, Series, SetRetention
from tsdb.model.store import (
    Block,
    Compaction,
    Deletion,
    Effect,
    Producer,
    RevertedOp,
    SeriesStatistics,
    VacuumProgress,
    View,
    Write,
    Written,
)
from tsdb.prompt import may_wait
from tsdb.storage.append import Append, DeletePart, Step, WritePart, delete_step, write_step
from tsdb.storage.append import Write as WriteStep
from tsdb.storage.checks import ReplicatedNow
from tsdb.storage.engine import Engine
from tsdb.storage.group import check_once
from tsdb.storage.options import Options
from tsdb.storage.producers import check_producer
from tsdb.storage.view import StorageView

Agree = Callable[[Engine, Options], Agreement]
# Points of one step of a commit, and so of one op; an effect is never cut.
ROWS_A_STEP = 65_536
# Who names what is not known waits so long at most until it is sure.
CATCH_UP_S = 1.0
# A process that is told to stop has two seconds; what is not in blocks then is replayed from the log.
FLUSH_SECONDS = 1.0


class Node:
    """What this node has of the cluster. Implements ``tsdb.model.store.Store``."""

    def __init__(self, engine: Engine, agreement: Agreement, options: Options) -> None:
        self._engine = engine
        self._agreement = agreement
        self._leaders = Leaders(agreement, engine.node)
        self._shared = agreement.shared
        self._wide: Wide | None = wide_of(self, agreement, self._leaders, engine.node)
        self._looking = Looking(self.catch_up)
        self.wishes = Wishes()
        self._sessions = Sessions(agreement, options.producer_window, options.clock)
        self._sequences = SequenceValues(engine, self._leaders, agreement, self._home_of)

    @classmethod
    def open(cls, path: Path, options: Options | None = None, agree: Agree = Alone) -> Node:
        """The node whose data is at ``path``; made when there is none. ``agree`` says how it agrees with others.

        Raises StartupError.
        """
        options = options or Options()
        engine = Engine.open(path, options)
        try:
            agreement = agree(engine, options)
        except DataCorrupted as error:
            engine.close()
            raise StartupError(
                f"the metadata in {path} is damaged and was not opened: {error}; restore it from a backup or replace "
                "this node"
            ) from error
        except BaseException:
            engine.close()
            raise
        return cls(engine, agreement, options)

    @property
    def engine(self) -> Engine:
        return self._engine

    @property
    def agreement(self) -> Agreement:
        return self._agreement

    @property
    def catalog(self) -> Catalog:
        return self._engine.catalog

    @property
    def metadata(self) -> State:
        """What the cluster has agreed on, as this node has applied it."""
        return self._agreement.state

    def change(self, *changes: SchemaChange) -> Catalog:
        """Raises, beside their errors, what ``Agreement.propose`` raises, and FeatureNotSupported."""
        floors = [each for each in changes if isinstance(each, SetRetention) and each.unchanged_since is not None]
        if any(self.catalog.find(each.database).number in self._leaders.spread for each in floors):
            check_unchanged(self.view, floors)
        change_schema(self._engine, self._agreement, changes)
        return self._engine.catalog

    def catch_up(self) -> bool:
        if not self._agreement.has_others:
            return False
        may_wait()
        version = self.catalog.version
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop()
            return False
        with contextlib.suppress(CannotConnectNow):
            self._agreement.wait_readable(CATCH_UP_S)
        return self.catalog.version != version

    def caught_up(self) -> Future[None]:
        return self._looking.soon() if self._agreement.has_others else _done()

    def members(self) -> Sequence[ClusterMember]:
        return cluster_members(self.metadata)

    def locations(self) -> Sequence[ClusterLocation]:
        return cluster_locations(self.metadata)

    def replica_differences(self) -> Sequence[ReplicaDifference]:
        shared = self._agreement.shared
        return [] if shared is None else shared.differences()

    def write(
        self,
        database: Database,
        points: Sequence[Points],
        producer: Producer | None = None,
        acks: int | None = None,
    ) -> Future[Written]:
        filled = [batch for batch in points if len(batch)]
        parts = cut_points(database, filled)
        is_shared = database.number in self._leaders.shared
        if self._leaders.all_here and not is_shared:
            return self._write_own(database, filled, parts, producer, acks)
        wanted = self._wanted((each.series for each in filled), acks)
        try:
            producer = self._numbered(database, producer)
            plain = PlainWrite(database, filled, parts, producer, wanted, here())
            if self._wide is not None and not self._leads(parts):
                return self._wide.router.write(plain)
            self._check_led(database, parts)
            if is_shared:
                first = self._write_shared(Append([write_step(filled, parts)], producer=producer), (), wanted)
                return first if self._wide is None else self._wide.follow(first, plain)
        except TsdbError as error:
            return _failed(error)
        return self._write_own(database, filled, parts, producer, acks)

    def _write_own(
        self,
        database: Database,
        points: Sequence[Points],
        parts: Sequence[WritePart],
        producer: Producer | None,
        acks: int | None,
    ) -> Future[Written]:
        """Into the logs of this node alone, if they still are that."""
        first = self._engine.write(points, parts, producer)
        if self._wide is None:
            return first
        is_ready = partial(self._has_come, (database.number,))
        return self._wide.or_again(first, is_ready, lambda: self.write(database, points, producer, acks))

    def _has_come(self, databases: Collection[int]) -> bool:
        """Whether none of them is about to be shared, any more, or one that cannot be goes on as it was."""
        return self._leaders.coming.isdisjoint(databases) or self._engine.stopped.isdisjoint(databases)

    def _write_shared(self, append: Append, rests_on: Collection[int], acks: int) -> Future[Written]:
        if append.producer is not None and not append.producer.session:
            return _failed(ReplicatedNow("a numbered batch came under a name that the database did not know of"))
        return self._ways_to_shared().write(append, rests_on, acks)

    def _wanted(self, series: Iterable[Series], acks: int | None) -> int:
        """How many replicas a write waits for."""
        return wanted_by(self.catalog, self._leaders, (each.number for each in series)) if acks is None else acks

    def _numbered(self, database: Database, producer: Producer | None) -> Producer | None:
        """A producer, with a session where several nodes have the database. Raises as ``Sessions.opened``, and
        InvalidParameterValue."""
        if producer is None:
            return None
        if database.number in self._leaders.shared:
            return self._sessions.opened(database.number, producer)
        check_producer(producer)
        return producer

    def _ways_to_shared(self) -> Shared:
        """Raises FeatureNotSupported."""
        if self._shared is None:
            raise FeatureNotSupported(
                "this node runs by itself, and the database is one that several nodes have",
                hint="Start it with --cluster-listen and its certificate.",
            )
        return self._shared

    def _leads(self, parts: Iterable[WritePart]) -> bool:
        return all(self._leaders.leader_of(part.location.number) == self._engine.node for part in parts)

    def _check_led(self, database: Database, parts: Sequence[WritePart] | Sequence[DeletePart]) -> None:
        """Raises LocationElsewhere."""
        self._leaders.check((part.location for part in parts), f'a part of database "{database.name}"')

    def check_writable(self, database: Database) -> None:
        if self._wide is not None:
            self._wide.check_writable(database)
        elif not self._leaders.has_part(database):
            self._leaders.check(database.locations, f'a part of database "{database.name}"')

    def check_creatable(self, name: str) -> None:
        # Who reaches the others hands them what is theirs.
        if self._wide is not None or not self._agreement.has_others:
            return
        try:
            self._leaders.check_new(name)
        except LocationElsewhere:
            # Where it would be hangs on the databases there are, and another node may just have made one.
            self._agreement.wait_readable(CATCH_UP_S)
            self._leaders.check_new(name)

    def leads(self, database: Database) -> bool:
        """Whether this node looks after a database: what it has once is here, and what others have can be asked; of a
        replicated one in one arc, whether it leads all of it."""
        if self._wide is None or database.number in self._leaders.shared - self._leaders.spread:
            return self._leaders.has(database)
        return self._leaders.leads_first(database)

    def leads_all(self, database: Database) -> bool:
        """Whether all of a database's points are here."""
        return self._leaders.has(database)

    def delete(self, database: Database, deletion: Deletion) -> Future[None]:
        if self._wide is not None and not self._leaders.has(database):
            return nothing_more(self._wide.commit([deletion], None, QUORUM))
        parts = cut_deletion(database, deletion)
        try:
            self._check_led(database, parts)
            if database.number in self._leaders.shared:
                return nothing_more(self._ways_to_shared().write(Append([delete_step(parts)])))
        except TsdbError as error:
            return _failed(error)
        first = self._engine.delete(parts)
        if self._wide is None:
            return first
        return self._wide.or_again(
            first, partial(self._has_come, (database.number,)), lambda: self.delete(database, deletion)
        )

    def commit(
        self, effects: Sequence[Effect], producer: Producer | None = None, acks: int | None = None
    ) -> Future[Written]:
        wanted = self._wanted(map(series_of, effects), acks)
        try:
            if producer is not None and effects:
                producer = self._numbered(self._database_of(effects[0]), producer)
            if self._wide is not None and not self._all_led(effects):
                return self._wide.commit(effects, producer, wanted)
        except TsdbError as error:
            return _failed(error)
        done = self._commit(effects, producer, wanted)
        if self._wide is None:
            return done
        done = self._wide.or_again(done, partial(self._all_come, effects), lambda: self.commit(effects, producer, acks))
        if not self._leaders.shared:
            return done
        return self._wide.follow_commit(done, lambda: self._all_led(effects), effects, producer, wanted)

    def _all_come(self, effects: Sequence[Effect]) -> bool:
        return self._has_come({self._database_of(effect).number for effect in effects})

    def _all_led(self, effects: Sequence[Effect]) -> bool:
        return self._leaders.all_here or all(
            (found := self.catalog.series_by_number.get(series_of(effect).number)) is not None
            and self._leaders.has(found[0])
            for effect in effects
        )

    def _commit(
        self,
        effects: Sequence[Effect],
        producer: Producer | None,
        acks: int,
        only: frozenset[int] | None = None,
        held: Held | None = None,
    ) -> Future[Written]:
        """All at this node; ``only`` in these locations."""
        try:
            seen = rows_seen(effects)
            check_once(seen)
            news, empty = new_points(effects), empty_ranges(effects)
            steps = [step for joined in _joined(effects) for step in self._steps(joined, only)]
            if self._leaders.shared and self._is_shared(effects):
                places = rests_on(self.catalog, seen, news, empty, only)
                return self._write_shared(Append(steps, seen, news, producer, empty, held), places, acks)
        except LocationElsewhere as error:
            # The lead has moved just now, and nothing is logged: whoever asked asks who leads.
            return _failed(error if self._wide is None else CannotConnectNow(error.message, hint="Try again."))
        except TsdbError as error:
            return _failed(error)
        return self._engine.commit(steps, seen, news, producer, empty)

    def _is_shared(self, effects: Sequence[Effect]) -> bool:
        """Raises FeatureNotSupported for some that are and others that are not."""
        shared = {self._database_of(effect).number in self._leaders.shared for effect in effects}
        if len(shared) > 1:
            raise FeatureNotSupported("a transaction cannot write to a replicated database and to one that is not")
        return True in shared

    def _steps(self, effects: Sequence[Effect], only: frozenset[int] | None) -> Iterator[Step]:
        """What is logged for one effect, or for several mere writes to one database."""
        database = self._database_of(effects[0])
        for effect in effects:
            deletion = effect.replaces if isinstance(effect, Write) else effect
            if deletion is not None:
                deletes = cut_deletion(database, deletion, only)
                self._check_led(database, deletes)
                yield delete_step(deletes)
        points = [effect.points for effect in effects if isinstance(effect, Write) and len(effect.points)]
        if points:
            parts = cut_points(database, points)
            self._check_led(database, parts)
            yield write_step(points, parts)

    def _database_of(self, effect: Effect) -> Database:
        return database_of(self.catalog, effect)

    def view(self, fresh: Freshness = LINEARIZABLE) -> View:
        view, gate = self._opened(fresh)
        if self._leaders.all_here:
            return view
        return LedView(view, self._leaders) if self._wide is None else self._wide.view(view, gate)

    def _opened(self, fresh: Freshness) -> tuple[StorageView, Gate | None]:
        """The gate is None where other nodes have nothing of what this one has."""
        view = self._engine.view()
        if not self._leaders.shared:
            return view, None
        gate = Gate(view.catalog, self._leaders, self._ways_to_shared, fresh)
        view.before = gate.tell
        return view, gate

    # What other nodes ask of this one (``routing.answering.Here``)

    def own_view(self, fresh: Freshness = LINEARIZABLE) -> StorageView:
        return self._opened(fresh)[0]

    def write_here(self, step: WriteStep, acks: int) -> Future[Written]:
        databases = self._databases_of(step)
        first = self._write_here(step, databases, acks)
        if self._wide is None:
            return first

        def again() -> Future[Written]:
            return self.write_here(replace(step, producer=self._numbered(databases[0], step.producer)), acks)

        return self._wide.or_again(first, partial(self._has_come, [each.number for each in databases]), again)

    def _databases_of(self, step: WriteStep) -> list[Database]:
        known = self.catalog.series_by_number
        return [found[0] for points in step.batches if (found := known.get(points.series.number)) is not None]

    def _write_here(self, step: WriteStep, databases: Sequence[Database], acks: int) -> Future[Written]:
        try:
            if any(each.number in self._leaders.shared for each in databases):
                return self._write_shared(Append([step], producer=step.producer), (), acks)
        except TsdbError as error:
            return _failed(error)
        return self._engine.commit([step], [])

    def commit_here(
        self,
        effects: Sequence[Effect],
        locations: frozenset[int],
        producer: Producer | None,
        acks: int,
        held: Held | None = None,
    ) -> Future[Written]:
        first = self._commit(effects, producer, acks, locations, held)
        if self._wide is None:
            return first

        def again() -> Future[Written]:
            numbered = self._numbered(self._database_of(effects[0]), producer)
            return self.commit_here(effects, locations, numbered, acks, held)

        return self._wide.or_again(first, partial(self._all_come, effects), again)

    def hold_here(self, held: Held, counter: int | None, locations: Sequence[int]) -> Holding:
        return self._ways_to_shared().hold(held, counter, locations)

    def fates_here(self, ops: Ops) -> list[Fate]:
        return [Fate.UNKNOWN for _ in ops] if self._shared is None else self._shared.confirm(ops)

    # What became of writes

    def confirm(self, token: Ops) -> Fate:
        if any(self.metadata.get(LocationRecord, location) is None for location, _, _ in token):
            self.catch_up()
        exchange = None if self._wide is None else self._wide.exchange
        return fate_of(token, self._shared, self._agreement, exchange, self._engine.node)

    def reverted(self) -> Sequence[RevertedOp]:
        return [] if self._shared is None else self._shared.reverted()

    def take_here(self, sequence: SqlSequence, count: int) -> Int64s:
        return self._sequences.take_here(sequence, count)

    def put_here(self, sequence: SqlSequence, value: int, *, called: bool) -> None:
        self._sequences.put_here(sequence, value, called=called)

    def sequence_here(self, sequence: SqlSequence) -> SequenceState:
        return self._sequences.state_here(sequence)

    def sizes(self) -> Mapping[int, int]:
        return self._engine.sizes()

    def loads(self) -> Mapping[int, int]:
        return self._engine.loads()

    def written(self, database: int) -> Mapping[int, int]:
        return self._engine.written(database)

    def flush(self) -> None:
        self._engine.flush()

    def take_values(self, sequence: SqlSequence, count: int) -> Int64s:
        return self._sequences.take(sequence, count)

    def put_value(self, sequence: SqlSequence, value: int, *, called: bool) -> None:
        self._sequences.put(sequence, value, called=called)

    def sequence_state(self, sequence: SqlSequence) -> SequenceState:
        return self._sequences.state(sequence)

    def _home_of(self, database: Database, what: str) -> Home:
        """The node that leads the first location of a database. Raises LocationElsewhere where it cannot be asked."""
        if self._wide is None:
            self._leaders.check(database.locations[:1], what)
            raise CannotConnectNow(f"the node that has {what} has just changed", hint="Try again.")
        return self._wide.home(database)

    def refreshing(self, series: Series) -> Refreshing:
        database = series_at(self.catalog, series)
        is_shared, is_spread = (database.number in each for each in (self._leaders.shared, self._leaders.spread))
        looked = database.locations if is_shared and not is_spread else database.locations[:1]
        self._leaders.check(looked, f'what is stored of "{series.name}"')
        if is_shared:
            return SharedRefreshing(self._agreement, self, self._engine.node, database, series)
        if database.number in self._engine.stopped:
            raise CannotConnectNow(f'"{database.name}" is being replicated', hint="Try again.")
        commit = self._commit if self._leaders.has(database) else self.commit
        return OwnRefreshing(self.view(), self._engine, series, commit)

    def hold(self, database: Database, held: Held, counter: int | None) -> Holding:
        """Hold a continuous view of a replicated database at all who lead it: see ``Shared.hold``."""
        if self._wide is not None:
            return self._wide.hold(database, held, counter)
        return self.hold_here(held, counter, [each.number for each in database.locations])

    def commit_held(self, effects: Sequence[Effect], held: Held) -> Future[Written]:
        """Rows of a refresh, while it holds its view."""
        if self._wide is not None and not self._all_led(effects):
            return self._wide.commit(effects, None, QUORUM, held)
        return self._commit(effects, None, QUORUM, held=held)

    def refresh_elsewhere(self, series: Series, check: Callable[[], None]) -> None:
        database = series_at(self.catalog, series)
        if self._leaders.leads_first(database):
            raise CannotConnectNow(f'several nodes lead parts of "{database.name}" just now', hint="Try again.")
        self._home_of(database, f'what is stored of "{series.name}"').refresh(series, check)
        self.catch_up()

    def statistics(self, series: Series) -> SeriesStatistics:
        return self._engine.statistics(series)

    def blocks(self, series: Series) -> Sequence[Block]:
        return self._engine.blocks(series)

    def compactions(self) -> Sequence[Compaction]:
        return self._engine.compactions()

    def compact(
        self,
        series: Sequence[Series],
        *,
        full: bool = False,
        told: Callable[[Compaction], None] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
        shown: Callable[[VacuumProgress], None] = lambda _: None,
    ) -> None:
        self._engine.flush()
        numbers = [each.number for each in series]
        self._engine.compact(numbers, full=full, told=told, cancelled=cancelled, shown=shown).result()

    def hand_over(self, seconds: float) -> None:
        """Before a planned stop: others lead what they can, so that nobody waits for this node. All goes on."""
        self._agreement.hand_over(seconds)

    def close(self, flush_seconds: float | None = FLUSH_SECONDS) -> None:
        """Flush and stop: the next start has nothing to replay, unless the flush takes longer (None: no limit)."""
        self._looking.close()
        self._agreement.close()
        if self._wide is not None:
            self._wide.close()
        self._engine.close(flush_seconds)


def nothing_more(done: Future[Written]) -> Future[None]:
    """Ends when another future does, with nothing, or with its error."""
    future: Future[None] = Future()

    def tell(ended: Future[Written]) -> None:
        error = ended.exception()
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    done.add_done_callback(tell)
    return future


def _done() -> Future[None]:
    future: Future[None] = Future()
    future.set_result(None)
    return future


def _failed(error: TsdbError) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def _joined(effects: Iterable[Effect]) -> Iterator[list[Effect]]:
    """Writes that replace nothing, in a row, up to a size; any other effect alone."""
    joined: list[Effect] = []
    rows = 0
    for effect in effects:
        is_mere_write = isinstance(effect, Write) and effect.replaces is None
        if joined and (not is_mere_write or rows >= ROWS_A_STEP):
            yield joined
            joined, rows = [], 0
        if isinstance(effect, Write) and is_mere_write:
            joined.append(effect)
            rows += len(effect.points)
        else:
            yield [effect]
    if joined:
        yield joined
