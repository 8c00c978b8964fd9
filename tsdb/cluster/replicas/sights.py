"""What a node's replicas show at one moment, seen by any thread without a turn of theirs, and whether that is enough.

It is seen as long as nothing is just becoming visible, and known from the last time as long as nothing has
(``Host.version``). A read may see it after its round was won, or at once: then the round says afterwards whether what
it saw is all there was to be seen. Either way it was seen after the read came, so of what was acknowledged before
that a leader whose round is won shows all, and a follower what it had applied, which is compared with its leader's
high watermark. Levels that need no round are told by what is shown, too: which ops there are, and by what its leader
said last when all was there that was acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tsdb.cluster.metadata.agreement import Opened
from tsdb.cluster.replicas.host import Host
from tsdb.cluster.replicas.mine import Mine
from tsdb.cluster.replicas.rounds import Agreed
from tsdb.cluster.replication.reads import NO_TIME
from tsdb.model.freshness import Freshness, Level, Token
from tsdb.storage.engine import Engine
from tsdb.storage.view import StorageView

KNOWN_MAX = 256
_NOTHING = 0, 0


@dataclass(frozen=True, slots=True)
class _Shown:
    """At a version of the host. ``applied``: of a database's locations, what is visible. ``leads``, of those that were
    asked for: (epoch, barrier) where this node leads, else (0, 0). It keeps no replica: one may go."""

    version: int
    leads: Mapping[int, tuple[int, int]]
    applied: Token


@dataclass(frozen=True, slots=True)
class Sight:
    """``view`` shows what is ``_shown``."""

    view: StorageView
    _shown: _Shown
    _find: Callable[[int], Mine | None]

    @property
    def applied(self) -> Token:
        return self._shown.applied

    def is_enough(self, agreed: Agreed) -> bool:
        """Whether this shows all that a round was about."""
        leads, applied = self._shown.leads, self._shown.applied
        for location, epoch in agreed.led.items():
            # Of what is led here all that is acknowledged is applied; of what another node leads it need not be.
            if leads[location][0] != epoch or applied.get(location, _NOTHING)[0] < epoch:
                return False
        for location, (epoch, committed) in agreed.followed.items():
            shown = applied.get(location, _NOTHING)
            if shown[0] < epoch or shown[1] < committed:
                return False
        return True

    def opened_for(self, fresh: Freshness, now_ns: int) -> Opened | None:
        """For a level that needs no round; None where this is not known to be new enough, as the replicas may do."""
        needs: dict[int, int] = {}
        if fresh.level is Level.SESSION and fresh.seen is not None:
            token = fresh.seen.token
            for location in self._shown.leads.keys() & token.keys():
                epoch, sequence = token[location]
                # Where the last op is of another epoch, what became of that one only the log says.
                if sequence and not (self._shows(location, epoch, sequence) and self.applied[location][0] == epoch):
                    return None
                needs[location] = sequence
        elif fresh.level is Level.BOUNDED:
            for location in self._shown.leads:
                # What it proves now goes for what it showed, if that was enough.
                mine = self._find(location)
                proved_ns, sequence = (NO_TIME, 0) if mine is None else mine.proof
                if proved_ns < now_ns - fresh.staleness_ns or not self._shows(location, 0, sequence):
                    return None
                needs[location] = sequence
        elif fresh.level is not Level.ANY:
            return None
        return Opened(self.view, self.applied, needs)

    def _shows(self, location: int, epoch: int, sequence: int) -> bool:
        shown = self.applied.get(location, _NOTHING)
        return shown[0] >= epoch and shown[1] >= sequence

    def opened(self, agreed: Agreed) -> Opened:
        needs = {location: self._shown.leads[location][1] for location in agreed.led}
        return Opened(self.view, self.applied, {**needs, **{each: op[1] for each, op in agreed.followed.items()}})


class Sights:
    """Any thread may see."""

    def __init__(self, engine: Engine, host: Host) -> None:
        self._engine = engine
        self._host = host
        self._known: dict[tuple[tuple[int, ...], tuple[int, ...]], _Shown] = {}

    def see(self, locations: Sequence[int], whole: Sequence[int]) -> Sight | None:
        """None where the replicas have something to do first. ``whole``: all locations of the database."""
        version = self._host.version
        if version % 2:
            return None
        of = tuple(locations), tuple(whole)
        shown = self._known.get(of)
        if shown is None or shown.version != version:
            shown = self._look(version, *of)
            if shown is None:
                return None
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[of] = shown
        view = self._engine.view()
        # The points of a replica go only after it, and then it is another version.
        if self._host.version != version:
            view.close()
            return None
        return Sight(view, shown, self._host.find)

    def _look(self, version: int, locations: Sequence[int], whole: Sequence[int]) -> _Shown | None:
        find = self._host.find
        leads = {location: mine.lead for location in locations if (mine := find(location)) is not None}
        if len(leads) < len(locations):
            return None
        return _Shown(version, leads, {each: mine.shown for each in whole if (mine := find(each)) is not None})
