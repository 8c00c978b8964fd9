"""What the floors above ask of the data: a Store gives Views to read and takes writes, deletions and schema changes.

``tsdb.cluster`` implements Store over ``tsdb.storage``: on a single node directly, in a cluster by routing. Everything
here blocks or returns a future and is safe to call from any thread; nothing here runs on the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.model.acks import Fate
from tsdb.model.cluster import ClusterLocation, ClusterMember, ReplicaDifference
from tsdb.model.continuous import Progress, Spans
from tsdb.model.freshness import LINEARIZABLE, Freshness, Ops
from tsdb.model.points import Int64s, Points
from tsdb.model.relations import SequenceState, SqlSequence
from tsdb.model.ring import Intervals, Slots
from tsdb.model.schema import Catalog, Database, SchemaChange, Series
from tsdb.model.summaries import CellRequest, Groups, SummaryCells
from tsdb.model.time import NS_MAX, NS_MIN

if TYPE_CHECKING:
    from tsdb.model.refreshing import Refreshing


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Half-open [low, high) in ns. ``high`` = NS_MAX holds every point (no point has that time)."""

    low: int = NS_MIN
    high: int = NS_MAX

    @property
    def empty(self) -> bool:
        return self.low >= self.high


@dataclass(frozen=True, slots=True)
class TagMatch:
    """A condition on one tag: ``test`` is asked once for each distinct value, None for an absent tag.

    A scan leaves out exactly the rows whose value fails it. A planner may keep more (a test that is not sure says True)
    when the statement's own condition is evaluated again on what is left. ``values``, where they are given, are all
    that pass: then they are looked up, and none is asked for.
    """

    column: int
    test: Callable[[str | None], bool]
    values: frozenset[str | None] | None = None


@dataclass(frozen=True, slots=True)
class FieldBound:
    """A row is wanted only if ``low`` <= value <= ``high`` (None: open): a scan may leave out the others, and blocks
    by their field's min and max; it may give more.

    NaN lies above every number and within any bound that is open above.
    """

    column: int
    low: float | int | None = None
    high: float | int | None = None


@dataclass(frozen=True, slots=True)
class Newest:
    """Of each group of rows only the ``rows`` newest (``oldest``: its oldest ones) matter.

    A group has equal values in the tags ``by`` (column numbers; without any, all rows of the scan are one group). A
    scan may leave out a row if ``rows`` others of its group come before it, newer (older) by SQL's time, in whole µs;
    without ``ties`` also if they are as new as itself, where less than ``slack_us`` is no difference. It may give more.
    """

    rows: int
    by: tuple[int, ...] = ()
    oldest: bool = False
    ties: bool = True
    slack_us: int = 0


# Names of the hidden and the time column in a ScanRequest and in its batches.
TIME = "time"
TIME_NS = "time_ns"
SEQUENCE = "sequence"


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """What a scan reads: the visible, merged points of one series.

    ``columns`` in the wanted order: column numbers of tags and fields, or the names TIME (timestamp[us, UTC], floored),
    TIME_NS (int64) and SEQUENCE (int64). Tags come as dictionary<int32, string>, fields in their kind's Arrow type.
    ``tags`` are conjuncts. ``newest`` names the rows that matter, among those in range and of the tags.
    ``prune=False`` reads everything in range and ignores tags, bounds and ``newest``: for comparing. ``cells``: the
    scan may say some points in summary cells instead.

    Only rows ``within`` these spans (disjoint, ascending [low, high) in ns), and in buckets that hash into these
    intervals of the database's ``ring``, are there, also without pruning; what is newest is so among them. None: all.

    ``measured``: the bytes that come from other nodes are counted, which takes time.
    """

    series: Series
    columns: tuple[int | str, ...]
    range: TimeRange = TimeRange()
    tags: tuple[TagMatch, ...] = ()
    bounds: tuple[FieldBound, ...] = ()
    prune: bool = True
    newest: Newest | None = None
    cells: CellRequest | None = None
    within: Spans | None = None
    ring: Intervals | None = None
    measured: bool = False


@dataclass(slots=True)
class NodeShare:
    """What another node did for a scan: rows that came from it, in how many bytes of packed Arrow (where that was
    ``measured``), and microseconds by its own clock."""

    node: int
    name: str
    rows: int = 0
    bytes: int = 0
    micros: int = 0


@dataclass(slots=True)
class ScanStatistics:
    """Counted while a scan is read; EXPLAIN ANALYZE prints them. ``nodes`` are the others that were asked."""

    blocks_total: int = 0
    blocks_pruned_time: int = 0
    blocks_pruned_tags: int = 0
    blocks_pruned_fields: int = 0
    blocks_older: int = 0
    blocks_read: int = 0
    rows_head: int = 0
    rows_read: int = 0
    rows_returned: int = 0
    bytes_read: int = 0
    tagsets_total: int = 0
    tagsets_matched: int = 0
    merged_rows: int = 0
    cells_used: int = 0
    rows_in_cells: int = 0
    nodes: tuple[NodeShare, ...] = ()


@dataclass(frozen=True, slots=True)
class Scan:
    """A running scan: iterate ``batches`` (bounded in memory); ``statistics`` fill up as it goes.

    ``cells``: points that are in no batch, if the request allows for them. Read them to the end before the batches.
    ``groups``, under the same condition: all points; then there are neither cells nor batches. ``cancel``: whoever
    waits for what comes next hears of it at once, by QueryCanceled; None where nothing is waited for.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    statistics: ScanStatistics
    cells: Iterator[SummaryCells] = field(default_factory=lambda: iter(()))
    groups: Groups | None = None
    cancel: Callable[[], None] | None = None


class Moment:
    """What a view sees, as something to hold: all versions of points with a counter up to ``counter``.

    Whoever writes because of what it read holds the view's moment until then: versions that it saw and later ones are
    not merged on disk meanwhile, so that a deletion hides the ones and spares the others. ``number`` is the version of
    the data, which says whether anything has changed since.
    """

    __slots__ = ("__weakref__", "counter", "number")

    def __init__(self, number: int, counter: int) -> None:
        self.number = number
        self.counter = counter


class View(Protocol):
    """One immutable version of the data: what a statement reads from its first scan to its last. Close it.

    A scan that is still read keeps its version after ``close``.
    """

    @property
    def catalog(self) -> Catalog: ...

    @property
    def moment(self) -> Moment: ...

    def scan(self, request: ScanRequest) -> Scan: ...

    def knows(self, series: Series, tagsets: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        """Which tag sets (by value) may have points: of the others there are none. Nothing is read for it."""
        ...

    def may_meet(self, request: ScanRequest, values: Sequence[pa.Array]) -> npt.NDArray[np.bool_]:
        """Which rows of ``values``, one array for each of the request's first columns, may have an equal one in the
        scan: the others have none. A transaction's changes cost next to nothing here."""
        ...

    def progress(self, series: Series) -> Progress | None:
        """How far a continuous view's stored buckets go; None: nothing is stored."""
        ...

    def changes(self, series: Series, since: int, span: TimeRange, quantum_ns: int) -> Sequence[tuple[int, int]]:
        """Ranges [low, high) of ns that hold the times of all rows in ``span`` that were written, changed or deleted
        since a counter; the bounds are multiples of ``quantum_ns``. The changes of a transaction of its own may be
        everything."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class TagIn:
    """A tag predicate by value: the tag's value is (or, negated, is not) one of ``values``; None is an absent tag."""

    column: int
    values: frozenset[str | None]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class RangeDeletion:
    """DELETE by time and tags alone: one tombstone per location in range. ``tags`` are conjuncts. ``if_empty``: it is
    refused if there is a version of a point in range, hidden ones too: each location says where none is. ``slots``: by
    which the locations were chosen that it is sent to; None: it is sent to nobody."""

    series: Series
    range: TimeRange = TimeRange()
    tags: tuple[TagIn, ...] = ()
    if_empty: bool = False
    slots: tuple[Slots, ...] | None = None


@dataclass(frozen=True, slots=True)
class KeyDeletion:
    """DELETE of named points: (tag set by value, time in ns, sequence).

    The sequence names one row of a keyless series; in a keyed one it is the highest version that was seen, and what was
    written since stays. 0 (or None for all) stands for any version before the DELETE. ``moments`` are those of
    the views in which the points were seen; held here, they keep seen and later versions apart.
    """

    series: Series
    tagsets: Sequence[bytes]
    tagset: npt.NDArray[np.int32]
    times: npt.NDArray[np.int64]
    sequences: npt.NDArray[np.int64] | None = None
    moments: tuple[Moment, ...] = ()


Deletion = RangeDeletion | KeyDeletion


MAY_MEET, LOOKED_NOWHERE = -1, -2
"""In ``Free.since``: the point may meet others; its statement has not looked (0 is a look at an empty store)."""


@dataclass(frozen=True, slots=True)
class Free:
    """What points of a reference table have to themselves: unique columns' values, free when their statement looked.

    ``since`` is for each point the counter up to which it looked, or LOOKED_NOWHERE, or MAY_MEET; ``moments`` are the
    views' in which it did. ``again``: for which points the statement would do otherwise if it looked again.
    """

    since: npt.NDArray[np.int64]
    again: npt.NDArray[np.bool_]
    moments: tuple[Moment, ...]


@dataclass(frozen=True, slots=True)
class Write:
    """Points to be written.

    ``replaces``: the rows whose place they take; each must still be as it was seen, or the write is refused.
    ``updates``: rows whose fields they change; each must still be there. ``depends``: the same rows, where what is
    written was made of what they held; each must still be as it was seen. ``free``: what must not be there by now.
    """

    points: Points
    replaces: KeyDeletion | None = None
    updates: KeyDeletion | None = None
    depends: KeyDeletion | None = None
    free: Free | None = None


# What a statement does to the data.
Effect = Write | Deletion


@dataclass(frozen=True, slots=True)
class Producer:
    """Who writes (a client's name, at most 64 bytes) and its number for this batch (from 1): a retry is harmless.

    ``digest`` is of what is sent (64 bits, 0: unknown): the same number with another one is no retry. ``session`` is
    the number that the metadata have given the name, for databases that several nodes have (0: not asked yet).
    """

    name: str
    batch: int
    digest: int = field(default=0, compare=False)
    session: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Written:
    """Durable and visible; what fewer replicas than a majority were asked for may be neither. ``duplicate``: every part
    of this numbered batch was applied before. ``token``: its ops in databases that several nodes have, by which it is
    seen and confirmed. ``fell_short``: a majority has it, and more were asked for and did not have it in time.
    ``counter``: none that it was given is higher (0: not known)."""

    points: int
    duplicate: bool = False
    token: Ops = ()
    fell_short: bool = False
    counter: int = 0


@dataclass(frozen=True, slots=True)
class RevertedOp:
    """A part of a write that this node had, and a later leader's log has not; ``written_ns`` by its leader's clock."""

    location: int
    epoch: int
    sequence: int
    rows: int
    written_ns: int


@dataclass(frozen=True, slots=True)
class Compaction:
    """Blocks of a series that were merged into others, or dropped, for one ``reason``; ``finished_ns`` None: are being.

    ``min_time_ns`` and ``max_time_ns`` are of the blocks before; rows are versions; bytes are those of the values.
    """

    series: int
    reason: str
    started_ns: int
    finished_ns: int | None
    min_time_ns: int
    max_time_ns: int
    blocks_in: int
    blocks_out: int
    rows_in: int
    rows_out: int
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, slots=True)
class VacuumProgress:
    """How far a request to compact a series is: which of the blocks that are to be merged or dropped were read, and
    which have others in their place. ``phase`` in the words of PostgreSQL's pg_stat_progress_vacuum."""

    series: int
    phase: str = "initializing"
    blocks_total: int = 0
    blocks_read: int = 0
    blocks_done: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """An immutable run of a series' points on disk. Times and tag set ids are inclusive; ``rows`` are versions.

    ``unique``: no point has two versions in it. ``bytes`` are those of its values, ``summary_bytes`` of them summaries.
    """

    number: int
    min_time_ns: int
    max_time_ns: int
    min_tagset: int
    max_tagset: int
    rows: int
    columns: int
    unique: bool
    bytes: int
    summary_bytes: int


@dataclass(frozen=True, slots=True)
class SeriesStatistics:
    """Sizes of one series on this node: ``rows`` counts versions in blocks and head, ``bytes`` what is on disk."""

    rows: int = 0
    bytes: int = 0
    blocks: int = 0
    tagsets: int = 0
    min_time_ns: int | None = None
    max_time_ns: int | None = None
    column_bytes: Mapping[int, int] = field(default_factory=dict)


class Store(Protocol):
    """The data of this node or cluster."""

    @property
    def catalog(self) -> Catalog:
        """The newest schema; immutable."""
        ...

    def change(self, *changes: SchemaChange) -> Catalog:
        """Apply schema changes durably, all or none; returns the catalog after them. Raises their errors."""
        ...

    def catch_up(self) -> bool:
        """Whether the schema is newer than it was, after a look at what other nodes have agreed on.

        For who finds no such name: it may have been made at another node just now. It waits a second at most; on an
        event loop not at all. Raises MayWait.
        """
        ...

    def caught_up(self) -> Future[None]:
        """Ends when ``catalog`` has what other nodes had agreed on before this was called, or nobody has said in time
        what that is: after two seconds at most. Done at once where nobody else is. May be called on an event loop.
        """
        ...

    def check_writable(self, database: Database) -> None:
        """Raises LocationElsewhere where no point could be written to the database: before its schema grows for it."""
        ...

    def check_creatable(self, name: str) -> None:
        """Raises LocationElsewhere where a new database would be at another node, so that none is made by a write that
        could not go there."""
        ...

    def write(
        self,
        database: Database,
        points: Sequence[Points],
        producer: Producer | None = None,
        acks: int | None = None,
    ) -> Future[Written]:
        """Cut by ring location, log, apply. The future ends when all is on disk and visible to the next view.

        ``acks``: on how many replicas it is to be (``tsdb.model.acks``); None: as its series say.

        Its errors: OutOfMemory (the head is full, try later), DiskFull, ObjectNotInPrerequisiteState (batch number
        below the window), PointsBeyondRetention, UndefinedTable (dropped meanwhile).
        """
        ...

    def delete(self, database: Database, deletion: Deletion) -> Future[None]:
        """Hide what was written before: durable and visible to the next view when the future ends."""
        ...

    def commit(
        self, effects: Sequence[Effect], producer: Producer | None = None, acks: int | None = None
    ) -> Future[Written]:
        """Effects in order, in one step: all are durable and visible to the next view, or none is.

        ``producer`` numbers all of them together: when any effect with that number is there, none is done again.
        ``acks`` as in ``write``; what rests on rows that were read is always on a majority.

        Its errors, beside those of ``write``: SerializationFailure, when a row that was seen (a replaced or updated
        one, or one of a keyless series that is deleted by its sequence) was changed or deleted since; UniqueViolation
        (or SerializationFailure, see ``Free``), when a point would no longer have its unique columns' values alone;
        FeatureNotSupported, when two of the effects replace the same row.
        """
        ...

    def confirm(self, token: Ops) -> Fate:
        """What became of a write, by its token: asked of whichever nodes know."""
        ...

    def reverted(self) -> Sequence[RevertedOp]:
        """What later leaders have taken back of this node, since it began: the last, oldest first."""
        ...

    def view(self, fresh: Freshness = LINEARIZABLE) -> View: ...

    def flush(self) -> None:
        """Write all heads to blocks and wait for it."""
        ...

    def take_values(self, sequence: SqlSequence, count: int) -> Int64s:
        """The next values of an SQL sequence, each given once, also after a crash; gaps may be.

        Raises SequenceGeneratorLimitExceeded.
        """
        ...

    def put_value(self, sequence: SqlSequence, value: int, *, called: bool) -> None:
        """Let a sequence go on as if it had given ``value`` last (``called``), or give it next."""
        ...

    def refreshing(self, series: Series) -> Refreshing:
        """To refresh a continuous view, where its database is looked after; close it. Raises LocationElsewhere,
        CannotConnectNow."""
        ...

    def refresh_elsewhere(self, series: Series, check: Callable[[], None]) -> None:
        """Have the node refresh a continuous view that looks after its database, and wait for it; ``check`` raises to
        give up waiting. Raises LocationElsewhere where that node cannot be asked, and what it is refused with."""
        ...

    def sequence_state(self, sequence: SqlSequence) -> SequenceState: ...

    def statistics(self, series: Series) -> SeriesStatistics: ...

    def blocks(self, series: Series) -> Sequence[Block]:
        """The blocks of a series on this node, by time."""
        ...

    def compactions(self) -> Sequence[Compaction]:
        """What compaction on this node has done of late, the oldest first."""
        ...

    def members(self) -> Sequence[ClusterMember]:
        """The nodes of the cluster, as this one knows them."""
        ...

    def locations(self) -> Sequence[ClusterLocation]:
        """The ring locations of all databases, as this node knows them."""
        ...

    def replica_differences(self) -> Sequence[ReplicaDifference]:
        """What this node, as a leader, has found at other replicas or its own since it was started; oldest first."""
        ...

    def compact(
        self,
        series: Sequence[Series],
        *,
        full: bool = False,
        told: Callable[[Compaction], None] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
        shown: Callable[[VacuumProgress], None] = lambda _: None,
    ) -> None:
        """Write heads to blocks, merge the blocks of some series as far as they can be, and wait for it.

        ``full``: all of them are written again. ``told`` hears of each task and ``shown`` of progress, both in another
        thread; ``cancelled`` is asked between tasks. Raises QueryCanceled, AdminShutdown.
        """
        ...
