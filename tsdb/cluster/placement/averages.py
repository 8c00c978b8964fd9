"""Loads as they are in the mean: what is decided on is not what somebody reported last.

Each report moves a location's mean towards it, the further the more time has passed, by halves in ``half_life_s``. A
location of which nothing was heard keeps its mean. Whoever leads the group has this in memory, and begins anew with the
first reports when he begins to lead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tsdb.cluster.placement.layout import Layout

HALF_LIFE_S = 300.0


class Averages:
    """Mean loads by location. Time is what the caller counts, in seconds."""

    def __init__(self, half_life_s: float = HALF_LIFE_S) -> None:
        assert half_life_s > 0
        self._half_life_s = half_life_s
        self._means: dict[int, tuple[float, float]] = {}

    def hear(self, loads: Mapping[int, float], now_s: float) -> None:
        """Loads that were reported, by location."""
        for location, load in loads.items():
            mean, at_s = self._means.get(location, (load, now_s))
            kept = 0.5 ** (max(0.0, now_s - at_s) / self._half_life_s)
            self._means[location] = load + (mean - load) * kept, now_s

    def keep(self, layout: Layout) -> Layout:
        """A layout with mean loads; locations that are not in it are forgotten."""
        there = {each.location for each in layout.locations}
        self._means = {location: mean for location, mean in self._means.items() if location in there}
        return Layout(
            layout.nodes,
            tuple(replace(at, load=self._means.get(at.location, (at.load, 0.0))[0]) for at in layout.locations),
        )
