"""What members, location records and client sessions should do, said once more and in another way: plain dictionaries.

The schema is not in it (it has tests of its own), nor are rings: a location is known by what the machine began it as.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tsdb.cluster.metadata.commands import (
    Activate,
    AddMember,
    Assign,
    Assignment,
    ChangeMember,
    CloseClient,
    Command,
    KeepClients,
    OpenClient,
    RemoveMember,
    SetLearners,
)

SECOND = 10**9
WINDOW = 64


@dataclass
class Location:
    epoch: int
    holders: frozenset[int]
    voters: tuple[int, ...]
    active: tuple[int, tuple[int, ...]]


@dataclass
class Model:
    """``answers``: what each (client, number) was told, for ever; ``acknowledged`` by client."""

    founded: bool = False
    nodes: dict[int, bytes] = field(default_factory=dict)
    draining: set[int] = field(default_factory=set)
    gone: dict[int, bytes] = field(default_factory=dict)
    locations: dict[int, Location] = field(default_factory=dict)
    time: int = 0
    heard: dict[int, tuple[int, int]] = field(default_factory=dict)
    acknowledged: dict[int, int] = field(default_factory=dict)
    answers: dict[tuple[int, int], object] = field(default_factory=dict)

    def begin(self, index: int, command: Command) -> object:
        """Time passes; what the command must be answered: an answer it had, "refused", or None for: carry it out."""
        self.time = max(self.time, command.time_ns)
        self.heard = {c: (at, ttl) for c, (at, ttl) in self.heard.items() if at + ttl >= self.time}
        client, number = command.client, command.number
        if not client:
            return None
        if client not in self.heard:
            return "refused"
        low = self.acknowledged.get(client, 0)
        if number > low and (client, number) in self.answers:
            self.listen(command)
            return self.answers[client, number]
        return None if low < number <= low + WINDOW else "refused"

    def listen(self, command: Command) -> None:
        """A client was heard of."""
        client = command.client
        if client in self.heard:
            self.heard[client] = (self.time, self.heard[client][1])
            low = self.acknowledged.get(client, 0)
            self.acknowledged[client] = max(low, min(command.acknowledged, command.number - 1))

    def expected(self, index: int, action: Any) -> object:
        """The values that an action of these kinds gives, or "refused"; carried out."""
        match action:
            case AddMember(new):
                return self._add(new.uuid)
            case ChangeMember(node=node, draining=draining):
                if node not in self.nodes:
                    return "refused"
                if draining is not None:
                    (self.draining.add if draining else self.draining.discard)(node)
                return ()
            case RemoveMember(node):
                return self._remove(node)
            case Assign(assignments):
                if len({a.location for a in assignments}) < len(assignments):
                    return "refused"
                return self._some([(a.location, self._assign(a)) for a in assignments])
            case SetLearners(location, epoch, learners):
                return () if self._set_learners(location, epoch, learners) else "refused"
            case Activate(epochs):
                return self._some([(location, self._activate(location, epoch)) for location, epoch in epochs])
            case OpenClient(_, ttl):
                if ttl < SECOND:
                    return "refused"
                self.heard[index] = (self.time, ttl)
                return (index,)
            case KeepClients(clients):
                known = [c for c in dict.fromkeys(clients) if c in self.heard]
                self.heard.update({c: (self.time, self.heard[c][1]) for c in known})
                return tuple(known)
            case CloseClient(client):
                return () if self.heard.pop(client, None) else "refused"
        raise AssertionError(action)

    def _add(self, uuid: bytes) -> object:
        if not self.founded or uuid in self.gone.values():
            return "refused"
        for node, known in self.nodes.items():
            if known == uuid:
                return (node,)
        node = len(self.nodes) + len(self.gone) + 1
        self.nodes[node] = uuid
        return (node,)

    def _remove(self, node: int) -> object:
        held = any(node in (*at.holders, *at.active[1]) for at in self.locations.values())
        if node not in self.nodes or held or len(self.nodes) == 1:
            return "refused"
        self.gone[node] = self.nodes.pop(node)
        self.draining.discard(node)
        return ()

    def _some(self, done: list[tuple[int, bool]]) -> object:
        taken = tuple(location for location, ok in done if ok)
        return taken if taken else "refused"

    def _assign(self, a: Assignment) -> bool:
        was = self.locations.get(a.location)
        nodes = [*a.voters, *a.learners]
        if was is None or a.epoch != was.epoch + 1 or a.leader not in a.voters or len(set(nodes)) < len(nodes):
            return False
        if any(node not in self.nodes or (node in self.draining and node not in was.holders) for node in nodes):
            return False
        was.epoch, was.holders, was.voters = a.epoch, frozenset(nodes), tuple(sorted(a.voters))
        return True

    def _set_learners(self, location: int, epoch: int, learners: tuple[int, ...]) -> bool:
        was = self.locations.get(location)
        if (
            was is None
            or epoch != was.epoch
            or epoch == 0
            or len({*was.voters, *learners}) < len((*was.voters, *learners))
        ):
            return False
        if any(node not in self.nodes or (node in self.draining and node not in was.holders) for node in learners):
            return False
        was.holders = frozenset((*was.voters, *learners))
        return True

    def _activate(self, location: int, epoch: int) -> bool:
        was = self.locations.get(location)
        if was is None or was.epoch != epoch or epoch == 0:
            return False
        was.active = (epoch, was.voters)
        return True
