"""One node as the whole store: cut by ring location, one op a location, everything local."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from tsdb.cluster.listing import cluster_locations, cluster_members
from tsdb.cluster.metadata.commands import Action, ChangeSchema, Command, Found, NewMember
from tsdb.cluster.metadata.group_of_one import GroupOfOne
from tsdb.cluster.metadata.machine import Outcome
from tsdb.cluster.metadata.records import NO_ID
from tsdb.cluster.metadata.state import State
from tsdb.errors import DataCorrupted, StartupError, TsdbError, UndefinedTable
from tsdb.model.continuous import Progress
from tsdb.model.points import Int64s, Points
from tsdb.model.relations import SequenceState, SqlSequence, passes_with_its_process
from tsdb.model.ring import Location, cut, locations_of_buckets
from tsdb.model.role_changes import SetSecret
from tsdb.model.schema import (
    Catalog,
    CreateDatabase,
    Database,
    DropSequence,
    DropSeries,
    DropView,
    SchemaChange,
    Series,
    applied,
)
from tsdb.model.store import (
    Block,
    ClusterLocation,
    ClusterMember,
    Compaction,
    Deletion,
    Effect,
    KeyDeletion,
    Producer,
    RangeDeletion,
    SeriesStatistics,
    VacuumProgress,
    View,
    Write,
    Written,
)
from tsdb.model.time import BUCKET_NS, bucket_of
from tsdb.storage.append import DeletePart, NewPoints, Piece, Seen, Step, WritePart, delete_step, write_step
from tsdb.storage.engine import Engine
from tsdb.storage.group import check_once
from tsdb.storage.options import Options
from tsdb.storage.tombstone import MAX_KEYS, KeyTombstone, Tombstone

FIRST_DATABASES = ("tsdb", "postgres")
SECRET_BYTES = 32
# A deletion over more buckets than this goes to every location: nearly all would be hit anyway.
BUCKETS_LOOKED_AT = 512
# Points of one step of a commit, and so of one op; an effect is never cut.
ROWS_A_STEP = 65_536
# A process that is told to stop has two seconds; what is not in blocks then is replayed from the log.
FLUSH_SECONDS = 1.0


class Node:
    """A cluster of one node. Implements ``tsdb.model.store.Store``."""

    def __init__(self, engine: Engine, options: Options) -> None:
        self._engine = engine
        self._clock = options.clock
        self._group: GroupOfOne = engine.call(
            lambda: GroupOfOne(engine.records, options.node_id, engine, engine.catalog, options.abort)
        )
        if self._group.state.group.cluster == NO_ID:
            self._found(options.node_id)
        if engine.catalog.next_database == 1:
            self.change(*(CreateDatabase(name) for name in FIRST_DATABASES))
        if not engine.catalog.roles.secret:
            self.change(SetSecret(secrets.token_bytes(SECRET_BYTES)))
        leftovers = tuple(_leftovers(engine.catalog))
        if leftovers:
            self.change(*leftovers)

    @classmethod
    def open(cls, path: Path, options: Options | None = None) -> Node:
        """The node whose data is at ``path``; made when there is none. Raises StartupError."""
        options = options or Options()
        engine = Engine.open(path, options)
        try:
            return cls(engine, options)
        except DataCorrupted as error:
            engine.close()
            raise StartupError(
                f"the metadata in {path} is damaged and was not opened: {error}; restore it from a backup"
            ) from error

    def _found(self, node: int) -> None:
        """A cluster of this node alone; a directory from before there were groups becomes one."""
        member = NewMember(uuid4().bytes)
        found = Found(uuid4().bytes, member)
        answer = self._engine.call(lambda: self._propose(found)).answer
        assert answer.values == (node,), f"the first node is node {node}, and not {answer}"

    @property
    def engine(self) -> Engine:
        return self._engine

    @property
    def catalog(self) -> Catalog:
        return self._engine.catalog

    @property
    def metadata(self) -> State:
        """What the cluster has agreed on, as this node has applied it."""
        return self._group.state

    def change(self, *changes: SchemaChange) -> Catalog:
        return self._engine.call(lambda: self._change(changes))

    def _change(self, changes: Sequence[SchemaChange]) -> Catalog:
        """In the committer's thread: nothing changes between the look and the command."""
        before = self._engine.catalog
        self._engine.check_unchanged(changes)
        # What is refused or changes nothing needs no place in the log.
        if applied(before, changes).catalog is not before:
            outcome = self._propose(ChangeSchema.of(changes))
            if outcome.error is not None:
                raise outcome.error
        return self._engine.catalog

    def _propose(self, action: Action) -> Outcome:
        return self._group.propose(Command(action, self._clock.now_ns()))

    def members(self) -> Sequence[ClusterMember]:
        return cluster_members(self.metadata)

    def locations(self) -> Sequence[ClusterLocation]:
        return cluster_locations(self.metadata)

    def write(
        self,
        database: Database,
        points: Sequence[Points],
        producer: Producer | None = None,
    ) -> Future[Written]:
        filled = [batch for batch in points if len(batch)]
        return self._engine.write(filled, cut_points(database, filled), producer)

    def delete(self, database: Database, deletion: Deletion) -> Future[None]:
        return self._engine.delete(cut_deletion(database, deletion))

    def commit(self, effects: Sequence[Effect], producer: Producer | None = None) -> Future[Written]:
        try:
            seen = rows_seen(effects)
            check_once(seen)
            steps = [step for joined in _joined(effects) for step in self._steps(joined)]
        except TsdbError as error:
            failed: Future[Written] = Future()
            failed.set_exception(error)
            return failed
        return self._engine.commit(steps, seen, new_points(effects), producer)

    def _steps(self, effects: Sequence[Effect]) -> Iterator[Step]:
        """What is logged for one effect, or for several mere writes to one database."""
        database = self._database_of(effects[0])
        for effect in effects:
            deletion = effect.replaces if isinstance(effect, Write) else effect
            if deletion is not None:
                yield delete_step(cut_deletion(database, deletion))
        points = [effect.points for effect in effects if isinstance(effect, Write) and len(effect.points)]
        if points:
            yield write_step(points, cut_points(database, points))

    def _database_of(self, effect: Effect) -> Database:
        """By number: names may have changed since the statement."""
        series = _series_of(effect)
        found = self.catalog.series_by_number.get(series.number)
        if found is None:
            raise UndefinedTable(f'relation "{series.name}" does not exist any more')
        return found[0]

    def view(self) -> View:
        return self._engine.view()

    def flush(self) -> None:
        self._engine.flush()

    def take_values(self, sequence: SqlSequence, count: int) -> Int64s:
        return self._engine.take_values(sequence, count)

    def put_value(self, sequence: SqlSequence, value: int, *, called: bool) -> None:
        self._engine.put_value(sequence, value, called=called)

    def sequence_state(self, sequence: SqlSequence) -> SequenceState:
        return self._engine.sequence_state(sequence)

    def advance(self, series: Series, progress: Progress) -> None:
        self._engine.advance(series, progress)

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

    def close(self, flush_seconds: float | None = FLUSH_SECONDS) -> None:
        """Flush and stop: the next start has nothing to replay, unless the flush takes longer (None: no limit)."""
        self._engine.close(flush_seconds)


def rows_seen(effects: Iterable[Effect]) -> list[Seen]:
    """What must still hold when the effects are logged.

    A deletion by keys in a keyed series needs nothing: what was written since stays, whatever it is.
    """
    found: list[Seen] = []
    for effect in effects:
        if isinstance(effect, Write):
            if effect.replaces is not None and effect.replaces.sequences is not None:
                found.append(Seen(effect.replaces, exactly=True))
            if effect.updates is not None:
                found.append(Seen(effect.updates, exactly=False))
            if effect.depends is not None:
                found.append(Seen(effect.depends, exactly=True, replaced=False))
        elif isinstance(effect, KeyDeletion) and effect.sequences is not None and not effect.series.keyed:
            found.append(Seen(effect, exactly=True))
    return [seen for seen in found if len(seen.rows.times)]


def new_points(effects: Iterable[Effect]) -> list[NewPoints]:
    """The points that must be free of others when the effects are logged."""
    writes = [effect for effect in effects if isinstance(effect, Write) and len(effect.points)]
    return [NewPoints(write.points, write.free) for write in writes if write.free is not None]


def _series_of(effect: Effect) -> Series:
    return effect.points.series if isinstance(effect, Write) else effect.series


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


def _leftovers(catalog: Catalog) -> Iterator[SchemaChange]:
    """What passes with its process and was left by one that was killed: temporary tables, unfinished content."""
    for database in catalog.databases.values():
        for view in database.views.values():
            if passes_with_its_process(view.schema):
                yield DropView(database.name, view.path, cascade=True)
        for series in database.series.values():
            if passes_with_its_process(series.schema):
                yield DropSeries(database.name, series.path, cascade=True)
        for sequence in database.sequences.values():
            if passes_with_its_process(sequence.schema) and not sequence.series:
                yield DropSequence(database.name, sequence.path, cascade=True)


def cut_points(database: Database, batches: Sequence[Points]) -> list[WritePart]:
    """The parts of a write, one for each ring location that gets points of it, by location number."""
    found: dict[int, tuple[Location, list[Piece]]] = {}
    for at, points in enumerate(batches):
        pieces = cut(database.locations, database.number, points.series.number, bucket_of(points.times))
        for location, rows in pieces:
            found.setdefault(location.number, (location, []))[1].append(Piece(at, rows))
    return [WritePart(location, pieces) for _, (location, pieces) in sorted(found.items())]


def cut_deletion(database: Database, deletion: Deletion) -> list[DeletePart]:
    """The parts of a deletion, one for each ring location that may hold what it hides."""
    series = deletion.series.number
    if isinstance(deletion, RangeDeletion):
        low, high, tags = deletion.range.low, deletion.range.high, deletion.tags
        return [
            DeletePart(at, [Tombstone(series, at.low, at.high, 0, low, high, tags)])
            for at in _locations_in_range(database, deletion)
        ]
    found = cut(database.locations, database.number, series, bucket_of(deletion.times))
    return [DeletePart(location, _key_tombstones(deletion, location, rows)) for location, rows in found]


def _locations_in_range(database: Database, deletion: RangeDeletion) -> Sequence[Location]:
    if deletion.range.empty:
        return []
    first, last = deletion.range.low // BUCKET_NS, (deletion.range.high - 1) // BUCKET_NS
    if last - first >= BUCKETS_LOOKED_AT:
        return database.locations
    return locations_of_buckets(database.locations, database.number, deletion.series.number, range(first, last + 1))


def _key_tombstones(deletion: KeyDeletion, location: Location, rows: npt.NDArray[np.intp] | None) -> list[KeyTombstone]:
    chosen = np.arange(len(deletion.times)) if rows is None else rows
    return [
        _key_tombstone(deletion, location, chosen[start : start + MAX_KEYS])
        for start in range(0, len(chosen), MAX_KEYS)
    ]


def _key_tombstone(deletion: KeyDeletion, location: Location, rows: npt.NDArray[np.intp]) -> KeyTombstone:
    used, tagset = np.unique(deletion.tagset[rows], return_inverse=True)
    return KeyTombstone(
        deletion.series.number,
        location.low,
        location.high,
        0,
        tuple(deletion.tagsets[i] for i in used.tolist()),
        tagset.astype(np.int32),
        deletion.times[rows],
        None if deletion.sequences is None else deletion.sequences[rows],
    )
