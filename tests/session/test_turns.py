"""Turns: so many at a time, first come first served, and none for ever."""

from __future__ import annotations

import random

import pytest

from tsdb.errors import TooManyConnections
from tsdb.session.turns import NoTurn, State, Turn, Turns


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def entered(turn: Turn) -> bool:
    """True if it has a turn; else it waits."""
    try:
        turn.enter()
    except NoTurn as without:
        without.turn.wait(lambda: None)
    return turn.state is State.HELD


def test_so_many_run_and_the_others_wait_in_order() -> None:
    turns = Turns(2, now=Time())
    first, second, third, fourth = (turns.turn() for _ in range(4))
    assert [entered(each) for each in (first, second, third, fourth)] == [True, True, False, False]
    second.leave()
    assert (third.state, fourth.state) == (State.HELD, State.WAITING)
    first.leave()
    assert fourth.state is State.HELD
    assert (turns.held_count, turns.waiting_count) == (2, 0)


def test_who_has_a_turn_may_enter_again() -> None:
    turns = Turns(1, now=Time())
    only = turns.turn()
    assert entered(only)
    assert entered(only)
    assert turns.held_count == 1


def test_who_comes_does_not_go_before_those_who_wait() -> None:
    turns = Turns(1, now=Time())
    running, waiting, later = (turns.turn() for _ in range(3))
    assert entered(running)
    assert not entered(waiting)
    running.leave()
    assert not entered(running)
    assert not entered(later)
    waiting.leave()
    assert running.state is State.HELD


def test_long_ones_do_not_count_against_new_ones_up_to_as_many() -> None:
    clock = Time()
    turns = Turns(2, long_s=1.0, now=clock)
    held = [turns.turn() for _ in range(2)]
    assert all(map(entered, held))
    late = turns.turn()
    assert not entered(late)
    clock.now = 1.5
    turns.look()
    assert late.state is State.HELD
    assert entered(turns.turn())
    clock.now = 9.0
    assert not entered(turns.turn())
    assert turns.held_count == 4


def test_more_than_may_wait_are_refused() -> None:
    turns = Turns(1, waiting_max=1, now=Time())
    assert entered(turns.turn())
    assert not entered(turns.turn())
    refused = turns.turn()
    with pytest.raises(TooManyConnections):
        entered(refused)
    assert refused.state is State.OUT
    assert turns.refused_count == 1


def test_who_stops_waiting_holds_up_nobody() -> None:
    turns = Turns(1, now=Time())
    running, gone, next_one = (turns.turn() for _ in range(3))
    assert entered(running)
    assert not entered(gone)
    assert not entered(next_one)
    gone.leave()
    running.leave()
    assert next_one.state is State.HELD


def test_whatever_comes_and_goes_the_bound_holds_and_nobody_is_forgotten() -> None:
    for seed in range(50):
        chance, clock = random.Random(seed), Time()
        turns = Turns(chance.randint(1, 4), long_s=1.0, now=clock)
        every = [turns.turn() for _ in range(12)]
        for _ in range(400):
            clock.now += chance.random() * 0.3
            turn = chance.choice(every)
            if turn.state is State.OUT:
                entered(turn)
            elif chance.random() < 0.7:
                turn.leave()
            turns.look()
            assert turns.held_count <= 2 * turns.limit
            if turns.waiting_count:
                assert turns.held_count >= turns.limit
        for turn in every:
            turn.leave()
        assert (turns.held_count, turns.waiting_count) == (0, 0)
