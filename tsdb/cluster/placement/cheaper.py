"""The same evenness for fewer bytes: moves are taken back, or replaced by the move of something smaller.

Where locations are many, moves from the fullest nodes to the emptiest are next to the least there can be. Where they
are few and large, which of them move matters: each move for balance, the largest first, is taken back on trial, and
anything that is cheaper and leaves no node further off its share than the worst one was takes its place. A number of
trials ends it, and large clusters never begin.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

import numpy as np

from tsdb.cluster.placement.arrays import Bools, Floats
from tsdb.cluster.placement.filling import Filling

TRIALS_MAX = 2_000
REPLICAS_MAX = 64

W = TypeVar("W")
Move = tuple[int, int, int]
"""Location, the node that gives, the node that takes; by index."""


class Cheaper(Generic[W]):
    """``before``: who had what before anything was moved for balance. ``why`` by (location, node) follows the moves."""

    def __init__(self, filling: Filling, before: Bools, why: dict[tuple[int, int], W]) -> None:
        self._filling = filling
        self._before = before
        self._why = why
        self._trials = 0

    def run(self) -> None:
        if int(self._filling.at.sum()) > REPLICAS_MAX:
            return
        while self._trials < TRIALS_MAX and any(self._replace(move) for move in self._moves()):
            pass

    def _moves(self) -> list[Move]:
        """What was moved, the largest first."""
        filling = self._filling
        found = []
        for taker, i in np.argwhere(filling.at & ~self._before).tolist():
            givers = np.flatnonzero(self._before[:, i] & ~filling.at[:, i])
            if len(givers) and filling.can_change[i]:
                found.append((i, int(givers[0]), taker))
        return sorted(found, key=lambda move: (-filling.weights[0, move[0]], move))

    def _replace(self, move: Move) -> bool:
        """Whether something cheaper has taken a move's place."""
        filling = self._filling
        i, giver, taker = move
        if not filling.may_take(taker, giver) or i not in filling.movable(taker, giver):
            # Its way back is closed: another replica has come to that zone.
            return False
        worst = self._worst() + 1e-12
        self._carry_out(i, taker, giver)
        if self._is_within(worst):
            self._note(move, None)
            return True
        cost = float(filling.weights[0, i])
        best: tuple[float, Move] | None = None
        for price, other in self._others(i, cost):
            self._trials += 1
            if best is not None and price >= best[0]:
                continue
            self._carry_out(*other)
            if self._is_within(worst):
                best = price, other
            self._carry_out(other[0], other[2], other[1])
        if best is None:
            self._carry_out(i, giver, taker)
            return False
        self._carry_out(*best[1])
        self._note(move, best[1])
        return True

    def _others(self, i: int, cost: float) -> Iterator[tuple[float, Move]]:
        """(bytes that it moves beyond what is moved, a move) of all that are cheaper."""
        filling, before = self._filling, self._before
        count = len(filling.nodes)
        for giver, taker in ((a, b) for a in range(count) for b in range(count) if a != b):
            if not filling.may_take(giver, taker) or self._trials >= TRIALS_MAX:
                continue
            for j in filling.movable(giver, taker).tolist():
                price = float(filling.weights[0, j]) * (int(before[giver, j]) - int(before[taker, j]))
                if j != i and price < cost - 1e-12:
                    yield price, (j, giver, taker)

    def _carry_out(self, i: int, giver: int, taker: int) -> None:
        self._filling.drop(i, giver)
        self._filling.put(i, taker)

    def _worst(self) -> Floats:
        """By measure, how far the node that is furthest off is off its share: where one thing is so busy that nothing
        helps, bytes are to be even all the same."""
        filling = self._filling
        found: Floats = (np.abs(filling.excess) / np.maximum(filling.shares, 1e-12)).max(axis=1)
        return found

    def _is_within(self, worst: Floats) -> bool:
        return bool((self._worst() <= worst).all())

    def _note(self, move: Move, other: Move | None) -> None:
        locations, nodes = self._filling.locations, self._filling.nodes
        why = self._why.pop((locations[move[0]].location, nodes[move[2]]), None)
        if other is not None:
            there = self._why.pop((locations[other[0]].location, nodes[other[1]]), why)
            if there is not None:
                self._why[locations[other[0]].location, nodes[other[2]]] = there
