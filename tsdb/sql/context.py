"""What a statement needs to know about its session: nothing here changes while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from tsdb.errors import InvalidParameterValue
from tsdb.model.catalog import Series
from tsdb.model.cluster import ClusterLocation, ClusterMember, ReplicaDifference
from tsdb.model.hints import Hint
from tsdb.model.points import Int64s
from tsdb.model.relations import SequenceState, SqlSequence, Use
from tsdb.model.roles import FIRST
from tsdb.model.store import Block, Compaction, RevertedOp, SeriesStatistics
from tsdb.sql.chance import Chance
from tsdb.sql.continuous.state import ContinuousState


class Cancellable(Protocol):
    def cancel(self) -> None: ...


class SettingValues(dict[str, str]):
    """Settings by lower-case name that do not change any more; ``key`` stands for them in caches."""

    @cached_property
    def key(self) -> frozenset[tuple[str, str]]:
        return frozenset(self.items())


class SequenceAccess(Protocol):
    """SQL sequences as a session counts them. A sequence is named by its OID where a function names it.

    Raises InsufficientPrivilege, UndefinedTable, WrongObjectType, ReadOnlySqlTransaction,
    ObjectNotInPrerequisiteState, SequenceGeneratorLimitExceeded.
    """

    def take(self, sequence: SqlSequence, count: int) -> Int64s:
        """The next values for an identity column: no privilege is asked for."""
        ...

    def nextval(self, oid: int, count: int) -> Int64s: ...

    def currval(self, oid: int, count: int) -> int | Int64s: ...

    def lastval(self) -> int: ...

    def setval(self, oid: int, value: int, *, called: bool) -> int: ...

    def state(self, sequence: SqlSequence, role: int | None) -> SequenceState:
        """What SELECT shows of it; ``role``: the owner of the view that selects."""
        ...


class SessionAccess(Protocol):
    """What functions and relations ask of the session that runs them. Called from any thread while a query runs."""

    @property
    def sequences(self) -> SequenceAccess: ...

    @property
    def chance(self) -> Chance: ...

    def call(self, function: str, arguments: Sequence[str | None]) -> str | None:
        """A function with effects on sessions (``tsdb.sql.session_calls``): its arguments and its value as texts."""
        ...

    def blocks(self, series: Series) -> Sequence[Block]:
        """What a series has on disk."""
        ...

    def compactions(self) -> Sequence[Compaction]:
        """What compaction has done of late."""
        ...

    def reverted(self) -> Sequence[RevertedOp]:
        """What later leaders have taken back of this node."""
        ...

    def members(self) -> Sequence[ClusterMember]:
        """The nodes of the cluster."""
        ...

    def locations(self) -> Sequence[ClusterLocation]:
        """The ring locations of all databases."""
        ...

    def replica_differences(self) -> Sequence[ReplicaDifference]:
        """What this node has found at replicas that others had not."""
        ...

    def hints(self) -> Sequence[Hint]:
        """The batches that wait at this node, and those of them that were refused."""
        ...

    def continuous(self, views: Sequence[Series]) -> Mapping[int, ContinuousState]:
        """How far continuous views are stored, by series number."""
        ...

    def rows(self, relation: str) -> list[tuple[Any, ...]]:
        """The rows of a relation about sessions (``tsdb.sql.session_relations``), in the order of its columns."""
        ...


@dataclass(frozen=True)
class Context:
    """A statement's surroundings.

    ``now_us`` is the transaction's time in µs since 1970 UTC (``now()``). ``settings`` holds PostgreSQL's settings by
    lower-case name (``timezone``, ``search_path`` …) and ours (``tsdb.prune``: off reads without pruning).
    ``deadline`` is when the statement must end, in seconds of ``time.monotonic()``; None is never. ``running`` is told
    of each query just before it starts, since starting may take long and be cancelled, too. ``user`` is current_user
    and ``role`` the number of the role whose privileges hold: on an open port a name that no role has stands for the
    first role. ``statistics`` measures a series. ``written_in`` is the time zone of literals, where it is not the
    session's: in a view's text; ``uses`` are what the names in it mean.
    """

    database: str
    now_us: int = 0
    user: str = "tsdb"
    settings: Mapping[str, str] = field(default_factory=dict)
    deadline: float | None = None
    backend_pid: int = 0
    running: Callable[[Cancellable], None] | None = field(default=None, compare=False, repr=False)
    session: SessionAccess | None = field(default=None, compare=False, repr=False)
    session_user: str = "tsdb"
    role: int = FIRST
    statistics: Callable[[Series], SeriesStatistics] | None = field(default=None, compare=False, repr=False)
    written_in: str | None = None
    uses: tuple[Use, ...] | None = None

    def again(self, now_us: int, deadline: float | None, running: Callable[[Cancellable], None] | None) -> Context:
        """The surroundings of another statement, all else being the same."""
        made = object.__new__(Context)
        made.__dict__.update(self.__dict__, now_us=now_us, deadline=deadline, running=running)
        return made

    @property
    def time_zone(self) -> str:
        return self.settings.get("timezone", "UTC")

    @cached_property
    def literal_zone(self) -> ZoneInfo:
        """In which literals are read."""
        return self.zone if self.written_in is None else zone_of(self.written_in)

    @property
    def prune(self) -> bool:
        return self.settings.get("tsdb.prune", "on") not in ("off", "false", "0", "no")

    @cached_property
    def zone(self) -> ZoneInfo:
        return zone_of(self.time_zone)


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its name, whatever its case. Raises InvalidParameterValue."""
    try:
        return ZoneInfo(name if name.upper() not in ("UTC", "GMT", "Z") else "UTC")
    except (KeyError, ValueError, OSError):
        raise InvalidParameterValue(f'time zone "{name}" not recognized') from None
