"""What a node's replicas show at one moment, seen by any thread without a turn of theirs, and whether that is enough.

It is seen as long as nothing is just becoming visible (``Host.version``). A read may see it after its round was won, or
at once: then the round says afterwards whether what it saw is all there was to be seen. Either way it was seen after
the read came, so of what was acknowledged before that a leader whose round is won shows all, and a follower what it had
applied, which is compared with its leader's high watermark.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tsdb.cluster.metadata.agreement import Opened
from tsdb.cluster.replicas.host import Host
from tsdb.cluster.replicas.rounds import Agreed
from tsdb.model.freshness import Token
from tsdb.storage.engine import Engine
from tsdb.storage.view import StorageView


@dataclass(frozen=True, slots=True)
class Sight:
    """``applied``: of a database's locations, what ``view`` shows. ``leads``: of those that were asked for, (epoch,
    barrier) where this node leads, else (0, 0)."""

    view: StorageView
    applied: Token
    leads: Mapping[int, tuple[int, int]]

    def is_enough(self, agreed: Agreed) -> bool:
        """Whether this shows all that a round was about."""
        # Of what is led here all that is acknowledged is applied; of what another node leads it need not be.
        return all(
            self.leads[location][0] == epoch and self._shows(location, epoch, 0)
            for location, epoch in agreed.led.items()
        ) and all(self._shows(location, *committed) for location, committed in agreed.followed.items())

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
    leads = {location: (0, 0) if mine is None else mine.lead for location, mine in found.items()}
    view = engine.view()
    sight = Sight(view, host.shown_of(whole), leads)
    # The points of a replica go only after it.
    is_there = all(mine is not None and host.find(location) is mine for location, mine in found.items())
    if version % 2 or host.version != version or not is_there:
        view.close()
        return None
    return sight
