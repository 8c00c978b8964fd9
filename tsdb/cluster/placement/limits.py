"""Bounds of a placement, and limits of what is done at once. Each has a default that suits a cluster of any size."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Bounds:
    """How even is even enough; parts of a node's share.

    Nothing is moved for balance until a node is off its share by more than ``trigger``; then until all are within
    ``aim``, or no move is left that makes it better by enough. A move is good enough if the excess of the node that
    gives is above that of the node that takes by 1 + ``reluctance`` times what is moved: moving it back then takes a
    change of the same size. So a node has at most its share, ``aim`` of it, and 1 + ``reluctance`` times the largest
    location. ``size_min`` is what a location weighs at least: empty ones are balanced by count.
    """

    aim: float = 0.05
    trigger: float = 0.15
    reluctance: float = 0.25
    size_min: int = MIB
    silence_s_max: float = 3.0
    """A node that is silent for longer gets nothing new."""
    lost_after_s: float = 600.0
    """… and for longer than this, its replicas are made anew elsewhere."""


DEFAULT = Bounds()


@dataclass(frozen=True, slots=True)
class Limits:
    """Transfers that a node sends at once, and that it receives; those of all nodes; epochs that are begun at once; and
    bytes a second that a node sends, and that it receives, for all its transfers."""

    transfers_a_node_max: int = 2
    transfers_max: int = 256
    epochs_max: int = 256
    bytes_per_second: int = 50 * MIB

    @property
    def transfer_rate(self) -> float:
        """Bytes a second that one transfer may take: the same whether others run or not, so no sum is above the
        node's."""
        return self.bytes_per_second / self.transfers_a_node_max


DEFAULT_LIMITS = Limits()
