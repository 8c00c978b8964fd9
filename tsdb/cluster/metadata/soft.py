"""Soft state: what the group's leader has heard of the nodes lately. Nothing of it is logged.

Nodes report to the leader of the group; what follows from it (a new epoch for the locations of a silent node) is a
command, and only that is agreed on. A new leader knows nothing and calls nobody silent before he has listened for as
long as a node may be. Time is ticks, and memory is bounded by the members there are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import msgspec

LOCATIONS_MAX = 65_536


class LocationReport(msgspec.Struct, frozen=True, array_like=True):
    """A replica as its node has it: the end of its log, its high watermark, the last bucket it has written, for how
    many ticks it has heard nothing of its leader, what it takes on disk, and points written and read a second."""

    location: int
    epoch: int
    last_epoch: int
    last_op: int
    high_watermark: int
    last_bucket: int
    unled_ticks: int = 0
    size_bytes: int = 0
    load: float = 0.0


class Heartbeat(msgspec.Struct, frozen=True, array_like=True):
    """One node's report, whole: ``load`` are rates and sizes by name. ``number`` rises with each one of a node's life,
    ``life`` with each start, so that a late one changes nothing."""

    node: int
    life: int
    number: int
    locations: tuple[LocationReport, ...] = ()
    load: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Heard:
    """A node's last report, and the tick at which it came."""

    heartbeat: Heartbeat
    tick: int


class SoftState:
    """What one leader of the group has heard in one term."""

    def __init__(self, tick: int) -> None:
        self._since = tick
        self._heard: dict[int, Heard] = {}

    @property
    def heard(self) -> Mapping[int, Heard]:
        return self._heard

    def hear(self, heartbeat: Heartbeat, tick: int, members: Collection[int]) -> bool:
        """Take a report; False for one of nobody's, an old one, or one that is too long."""
        if heartbeat.node not in members or len(heartbeat.locations) > LOCATIONS_MAX:
            return False
        last = self._heard.get(heartbeat.node)
        order = heartbeat.life, heartbeat.number
        if last is not None and order <= (last.heartbeat.life, last.heartbeat.number):
            return False
        self._heard[heartbeat.node] = Heard(heartbeat, tick)
        return True

    def forget(self, members: Collection[int]) -> None:
        """Only these are members now."""
        self._heard = {node: heard for node, heard in self._heard.items() if node in members}

    def silent(self, tick: int, ticks: int, members: Collection[int]) -> list[int]:
        """Members of whom nothing was heard for so many ticks."""
        last = {node: self._heard[node].tick if node in self._heard else self._since for node in members}
        return sorted(node for node, at in last.items() if tick - at >= ticks)
