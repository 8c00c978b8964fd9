"""What a node's replicas show at one moment, seen by any thread without a turn of theirs, and whether that is enough.

It is seen as long as nothing is just becoming visible (``Host.version``). A read may see it after its round was won, or
at once: then the round says afterwards whether what it saw is all there was to be seen. Either way it was seen after
the read came, so of what was acknowledged before that a leader whose round is won shows all, and a follower what it had
applied, which is compared with its leader's high watermark. Levels that need no round are told by what is shown, too:
which ops there are, and by what its leader said last when all was there that was acknowledged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tsdb.cluster.metadata.agreement import Opened
from tsdb.cluster.replicas.host import Host
from tsdb.cluster.replicas.rounds import Agreed
from tsdb.model.freshness import Freshness, Level, Token
from tsdb.storage.engine import Engine
from tsdb.storage.view import StorageView


@dataclass(frozen=True, slots=True)
class Sight:
    """``applied``: of a database's locations, what ``view`` shows. Of those that were asked for, ``leads``: (epoch,
    barrier) where this node leads, else (0, 0); and ``proofs``, how fresh they are (``Mine.proof``)."""

    view: StorageView
    applied: Token
    leads: Mapping[int, tuple[int, int]]
    proofs: Mapping[int, tuple[int, int]]

    def is_enough(self, agreed: Agreed) -> bool:
        """Whether this shows all that a round was about."""
        # Of what is led here all that is acknowledged is applied; of what another node leads it need not be.
        return all(
            self.leads[location][0] == epoch and self._shows(location, epoch, 0)
            for location, epoch in agreed.led.items()
        ) and all(self._shows(location, *committed) for location, committed in agreed.followed.items())

    def opened_for(self, fresh: Freshness, now_ns: int) -> Opened | None:
        """For a level that needs no round; None where this is not known to be new enough, as the replicas may do."""
        needs: dict[int, int] = {}
        if fresh.level is Level.SESSION and fresh.seen is not None:
            token = fresh.seen.token
            for location in self.leads.keys() & token.keys():
                epoch, sequence = token[location]
                # Where the last op is of another epoch, what became of that one only the log says.
                if sequence and not (self._shows(location, epoch, sequence) and self.applied[location][0] == epoch):
                    return None
                needs[location] = sequence
        elif fresh.level is Level.BOUNDED:
            for location, (proved_ns, sequence) in self.proofs.items():
                if proved_ns < now_ns - fresh.staleness_ns or not self._shows(location, 0, sequence):
                    return None
                needs[location] = sequence
        elif fresh.level is not Level.ANY:
            return None
        return Opened(self.view, self.applied, needs)

    def _shows(self, location: int, epoch: int, sequence: int) -> bool:
        shown = self.applied.get(location, (0, 0))
        return shown[0] >= epoch and shown[1] >= sequence

    def opened(self, agreed: Agreed) -> Opened:
        needs = {location: self.leads[location][1] for location in agreed.led}
        return Opened(self.view, self.applied, {**needs, **{each: op[1] for each, op in agreed.followed.items()}})


def see(engine: Engine, host: Host, locations: Collection[int], whole: Collection[int]) -> Sight | None:
    """None where the replicas have something to do first. ``whole``: all locations of the database."""
    version = host.version
    found = {location: host.find(location) for location in locations}
    there = {location: mine for location, mine in found.items() if mine is not None}
    leads = {location: mine.lead for location, mine in there.items()}
    proofs = {location: mine.proof for location, mine in there.items()}
    view = engine.view()
    sight = Sight(view, host.shown_of(whole), leads, proofs)
    # The points of a replica go only after it.
    is_there = len(there) == len(found) and all(host.find(location) is mine for location, mine in there.items())
    if version % 2 or host.version != version or not is_there:
        view.close()
        return None
    return sight
