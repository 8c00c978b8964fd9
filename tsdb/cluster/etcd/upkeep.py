"""What a member does unasked as time passes: others know where it is, what an earlier life of it left is dropped, and,
while it decides, sessions that nothing was heard of end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tsdb.clock import Clock
from tsdb.cluster.founding import change_schema, leftovers, made_by
from tsdb.cluster.metadata.commands import ChangeMember, PassTime
from tsdb.cluster.metadata.records import ClientSession, Member
from tsdb.storage.engine import Engine

if TYPE_CHECKING:
    from tsdb.cluster.etcd.agreement import EtcdAgreement


class Upkeep:
    """``look`` is called now and then, in one thread. What fails is tried again the next time."""

    def __init__(
        self, agreement: EtcdAgreement, engine: Engine, node: int, clock: Clock, leave: Callable[[str], None]
    ) -> None:
        """``leave`` ends the process of a node that was removed."""
        self._agreement = agreement
        self._engine = engine
        self._node = node
        self._clock = clock
        self._leave = leave
        self._addresses: dict[str, str] = {}
        self._cleaned = False

    def introduce(self, addresses: Mapping[str, str]) -> None:
        self._addresses = dict(addresses)

    def look(self) -> None:
        """Raises what ``Agreement.propose`` raises."""
        for each in (self._clean_up, self._introduce, self._pass_time):
            each()

    def _clean_up(self) -> None:
        if not self._cleaned:
            left = tuple(leftovers(self._engine.catalog, made_by(self._node)))
            if left:
                change_schema(self._engine, self._agreement, left)
            self._cleaned = True

    def _introduce(self) -> None:
        member = self._agreement.state.get(Member, self._node)
        if member is None or member.gone:
            self._leave(f"this node, {self._node}, was removed from the cluster: its directory is never let in again")
            return
        addresses = tuple(sorted(self._addresses.items()))
        # They are known when the ports of clients are open.
        if addresses and member.addresses != addresses:
            self._agreement.propose(ChangeMember(self._node, addresses))

    def _pass_time(self) -> None:
        if not self._agreement.standing.leads:
            return
        now = self._clock.now_ns()
        if any(each.ends_ns < now for each in self._agreement.state.all(ClientSession)):
            self._agreement.decide(PassTime())
