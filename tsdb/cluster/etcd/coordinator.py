"""Who decides: the node that holds the coordinator's key, by a lease that it has to renew.

A node decides only while its own clock says that the lease it was last promised still runs, counted from before it
asked; and what it appends as the coordinator is compared, in etcd's transaction, with the revision at which its office
began. The first is what makes a node that cannot reach etcd stop; the second is what holds, whatever the clock says.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tsdb.cluster.etcd import layout
from tsdb.cluster.etcd.gateway import Gateway
from tsdb.cluster.etcd.layout import Coordinator
from tsdb.cluster.etcd.log import CommandLog, Office, Present
from tsdb.cluster.etcd.messages import Done, Grant, Granted, Revoke
from tsdb.errors import TsdbError

log = logging.getLogger(__name__)

# Of a lease's time; the rest is for clocks that do not run alike.
TRUSTED = 0.9
GOODBYE_S = 1.0


@dataclass(frozen=True, slots=True)
class _Lease:
    id: int
    until_s: float
    """By this node's monotonic clock."""


class Coordination:
    """Keeps a lease, takes the office when it is free, and knows who has it. ``run`` is for a thread of its own."""

    def __init__(
        self, gateway: Gateway, command_log: CommandLog, node: int, lease_s: int, clock: Callable[[], float]
    ) -> None:
        """``clock``: seconds that only go forward (``time.monotonic``)."""
        self._gateway = gateway
        self._log = command_log
        self._lease_s = lease_s
        self._clock = clock
        self._wake = threading.Event()
        self._stopping = False
        self._lease: _Lease | None = None
        self._announced = 0
        self._mine: Office | None = None
        self._known: Office | None = None
        self._self = Coordinator(node, secrets.token_bytes(layout.ID_BYTES))

    @property
    def office(self) -> Office | None:
        """This node's, while it decides."""
        mine, lease = self._mine, self._lease
        if mine is None or lease is None or lease.id != mine.lease or self._clock() >= lease.until_s:
            return None
        return mine

    @property
    def leader(self) -> int:
        """Who decides, as far as this node knows; 0: nobody."""
        if self.office is not None:
            return self._self.node
        known = self._known
        return known.coordinator.node if known is not None and known.coordinator != self._self else 0

    def seen(self, present: Present) -> None:
        """What there was, read by whoever follows the log."""
        mine = self._mine
        if mine is not None and present.revision > mine.revision and present.office != mine:
            # The lease has ended, or an operator has taken the key away.
            self._mine = None
        self._known = present.office
        if present.office is None:
            self._wake.set()

    def wake(self) -> None:
        """Have ``also`` called soon."""
        self._wake.set()

    def run(self, also: Callable[[], None]) -> None:
        """Until ``stop``; ``also`` is called each time, for what has to be decided as time passes."""
        while not self._stopping:
            try:
                self.step()
                also()
            except TsdbError as error:
                if not self._stopping:
                    log.warning("this node's lease in etcd is not renewed: %s", error)
            self._wake.wait(self._lease_s / 3)
            self._wake.clear()
            # Not in a circle, should the key come and go.
            time.sleep(0.01)
        self.leave()

    def step(self) -> None:
        """Renew the lease, or get one, by which this node is seen to run; and be the coordinator if nobody is.

        Raises what the gateway raises.
        """
        asked = self._clock()
        within_s = self._lease_s / 3
        lease = self._lease
        if lease is not None:
            seconds = self._gateway.keep_alive(lease.id, within_s)
            lease = _Lease(lease.id, asked + TRUSTED * seconds) if seconds > 0 else None
        if lease is None:
            self._mine = None
            asked = self._clock()
            granted = self._gateway.call("lease/grant", Grant(self._lease_s), Granted, within_s)
            lease = _Lease(granted.lease, asked + TRUSTED * granted.seconds)
        self._lease = lease
        if self._announced != lease.id:
            self._log.announce(self._self.node, lease.id)
            self._announced = lease.id
        if self._mine is None:
            self._take_office(lease)

    def _take_office(self, lease: _Lease) -> None:
        wanted = Coordinator(self._self.node, secrets.token_bytes(layout.ID_BYTES))
        found = self._log.take_office(wanted, lease.id)
        self._known = found
        if found is not None and found.coordinator == wanted:
            self._self, self._mine = wanted, found
            log.info("this node decides now", extra={"fields": {"node": wanted.node}})

    def stop(self) -> None:
        """Have ``run`` end, from any thread."""
        self._stopping = True
        self._wake.set()

    def leave(self) -> None:
        """Out of office at once, so that another node need not wait for the lease to end."""
        self._mine, lease, self._lease = None, self._lease, None
        if lease is not None:
            try:
                self._gateway.call("lease/revoke", Revoke(lease.id), Done, GOODBYE_S)
            except TsdbError as error:
                log.info("this node's lease in etcd ends by itself: %s", error)
