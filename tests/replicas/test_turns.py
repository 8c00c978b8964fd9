"""Who may write where: nobody beside one that has its locations for itself, first come first served, none for ever."""

from __future__ import annotations

from random import Random

import pytest

from tsdb.cluster.replicas.turns import Turn, Turns


class Run:
    """Random entering and leaving; each turn knows its number."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.turns = Turns()
        self.entered: list[tuple[int, Turn]] = []
        self.begun: list[tuple[int, Turn]] = []
        self.ended: set[int] = set()

    def enter(self) -> None:
        number = len(self.entered)
        locations = frozenset(self.chance.sample(range(4), self.chance.randint(0, 3)))
        leaves_at_once = self.chance.random() < 0.2

        def begin() -> None:
            self.check(number, turn)
            self.begun.append((number, turn))
            if leaves_at_once:
                self.leave(number, turn)

        turn = Turn(locations, self.chance.random() < 0.3, begin)
        self.entered.append((number, turn))
        self.turns.enter(turn)

    def leave(self, number: int, turn: Turn) -> None:
        self.ended.add(number)
        self.turns.leave(turn)

    def running(self) -> list[tuple[int, Turn]]:
        return [each for each in self.begun if each[0] not in self.ended]

    def check(self, number: int, turn: Turn) -> None:
        """It may begin now."""
        for _, other in self.running():
            assert turn.locations.isdisjoint(other.locations) or not (turn.alone or other.alone)
        begun = {other for other, _ in self.begun}
        for before, other in self.entered[:number]:
            # Whoever came earlier and still waits for one of the same locations comes first.
            assert before in begun or turn.locations.isdisjoint(other.locations)

    def step(self) -> None:
        running = self.running()
        if running and self.chance.random() < 0.5:
            self.leave(*self.chance.choice(running))
        else:
            self.enter()

    def finish(self) -> None:
        while running := self.running():
            self.leave(*running[0])


@pytest.mark.parametrize("seed", range(50))
def test_nobody_is_beside_one_who_is_alone_and_everybody_has_a_turn(seed: int) -> None:
    run = Run(seed)
    for _ in range(200):
        run.step()
    run.finish()
    assert len(run.begun) == len(run.entered)
    assert run.turns.waiting == 0


def test_many_write_at_the_same_time_where_nobody_wants_to_be_alone() -> None:
    turns, begun = Turns(), []
    for number in range(3):
        turns.enter(Turn(frozenset({1}), False, lambda number=number: begun.append(number)))  # type: ignore[misc]
    assert begun == [0, 1, 2]
