"""The checker of histories is checked: known good and bad ones, against trying all orders, and how long it takes."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sim import histories
from tests.sim.linearizable import READ, Call, compare_and_set, fault, register, saw, write


def w(value: int, begin: float, end: float = math.inf) -> Call:
    return Call("x", write(value), begin, True if end < math.inf else None, end)


def r(value: int, begin: float, end: float) -> Call:
    return Call("x", READ, begin, saw(value), end)


def cas(expected: int, value: int, done: bool | None, begin: float, end: float = math.inf) -> Call:
    return Call("x", compare_and_set(expected, value), begin, done, end)


GOOD = {
    "nothing happened": [],
    "a read before any write": [r(0, 1, 2)],
    "one after the other": [w(1, 1, 2), r(1, 3, 4), w(2, 5, 6), r(2, 7, 8)],
    "a read beside a write sees either": [w(1, 1, 9), r(0, 2, 3), r(1, 4, 5)],
    "a value that is written again": [w(1, 1, 2), w(2, 3, 4), w(1, 5, 6), r(1, 7, 8)],
    "an unanswered write takes effect late": [w(1, 1), r(0, 2, 3), r(0, 4, 5), r(1, 6, 7)],
    "an unanswered write never takes effect": [w(1, 1), r(0, 2, 3)],
    "compare-and-set": [cas(0, 1, True, 1, 2), cas(0, 2, False, 3, 4), r(1, 5, 6), cas(1, 3, True, 7, 8)],
    "one of two compare-and-sets": [cas(0, 1, True, 1, 9), cas(0, 2, False, 1, 9), r(1, 10, 11)],
    "two that follow each other beside each other": [cas(0, 1, True, 1, 9), cas(1, 2, True, 1, 9), r(2, 10, 11)],
    "one that failed beside the write that it would have needed": [cas(5, 6, False, 1, 9), w(5, 2, 3)],
    "an unanswered compare-and-set that was done": [cas(0, 1, None, 1), r(0, 2, 3), r(1, 4, 5)],
    "an unanswered compare-and-set that was not": [cas(7, 1, None, 1), r(0, 2, 3)],
    "those that touch in time are beside each other": [w(1, 1, 2), w(2, 2, 3), r(1, 4, 5)],
}
BAD = {
    "a stale read": [w(1, 1, 2), w(2, 3, 4), r(1, 5, 6)],
    "a lost write": [w(1, 1, 2), r(0, 3, 4)],
    "a read that goes back": [w(1, 1, 10), r(1, 2, 3), r(0, 4, 5)],
    "a read of the future": [r(1, 1, 2), w(1, 3, 4)],
    "a read of what nobody wrote": [r(7, 1, 2)],
    "an unanswered write that was seen and vanished": [w(1, 1), r(1, 2, 3), r(0, 4, 5)],
    "both compare-and-sets of the same value": [cas(0, 1, True, 1, 9), cas(0, 2, True, 1, 9)],
    "a compare-and-set that failed and was done": [cas(0, 1, False, 1, 2)],
    "one that was refused although nothing else happened": [w(1, 1, 2), cas(1, 2, False, 3, 4)],
    "one that succeeded on what was over": [w(1, 1, 2), w(2, 3, 4), cas(1, 3, True, 5, 6)],
    "one that counts twice": [cas(0, 1, True, 1, 2), cas(1, 0, True, 3, 4), r(1, 5, 6)],
    "two readers that saw two orders": [w(1, 1, 20), w(2, 1, 20), r(1, 2, 3), r(2, 4, 5), r(1, 6, 7)],
}


def found(history: Sequence[Call]) -> bool:
    return fault(history, register, 0) is not None


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_passes(name: str) -> None:
    assert fault(GOOD[name], register, 0) is None
    assert explained(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_found(name: str) -> None:
    wrong = fault(BAD[name], register, 0)
    assert wrong is not None
    assert wrong.explained < wrong.calls
    assert not explained(BAD[name])


def explained(history: Sequence[Call]) -> bool:
    """Whether any order of the answered calls, and any of the others, does; by trying all of them."""
    surely = [at for at, call in enumerate(history) if call.answered]
    perhaps = [at for at, call in enumerate(history) if not call.answered]
    for count in range(len(perhaps) + 1):
        for some in itertools.combinations(perhaps, count):
            for order in itertools.permutations([*surely, *some]):
                if in_time([history[at] for at in order]) and answers([history[at] for at in order]):
                    return True
    return False


def in_time(order: Sequence[Call]) -> bool:
    return all(later.end >= earlier.begin for earlier, later in itertools.combinations(order, 2))


def answers(order: Sequence[Call]) -> bool:
    state: object = 0
    for call in order:
        fits, state = register(state, call.asked, call.answer)
        if not fits:
            return False
    return True


@st.composite
def calls(draw: st.DrawFn, count_max: int = 5) -> list[Call]:
    """A few calls over distinct moments, with answers that may be or not."""
    count = draw(st.integers(0, count_max))
    moments = draw(st.permutations(range(1, 2 * count + 1)))
    made: list[Call] = []
    value = st.integers(0, 2)
    for at in range(count):
        begin, end = sorted(moments[2 * at : 2 * at + 2])
        kind = draw(st.sampled_from("rrwcc"))
        if kind == "r":
            made.append(r(draw(value), begin, end))
        elif kind == "w":
            made.append(w(draw(value), begin, draw(st.sampled_from([end, math.inf]))))
        else:
            done = draw(st.sampled_from([True, False, None]))
            made.append(cas(draw(value), draw(value), done, begin, math.inf if done is None else end))
    return made


@settings(max_examples=600, deadline=None)
@given(calls())
def test_the_checker_says_what_trying_all_orders_says(history: list[Call]) -> None:
    assert found(history) is not explained(history)


@st.composite
def written_once(draw: st.DrawFn) -> list[histories.Operation]:
    count = draw(st.integers(1, 9))
    moments = draw(st.permutations(range(1, 2 * count + 1)))
    made: list[histories.Operation] = []
    values = 0
    for at in range(count):
        begin, end = sorted(moments[2 * at : 2 * at + 2])
        if draw(st.booleans()):
            values += 1
            made.append(histories.Operation(True, values, begin, draw(st.sampled_from([end, math.inf]))))
        else:
            made.append(histories.Operation(False, draw(st.integers(0, 3)), begin, end))
    return made


@settings(max_examples=300, deadline=None)
@given(written_once())
def test_two_checkers_that_know_nothing_of_each_other_agree(history: list[histories.Operation]) -> None:
    same = [w(o.value, o.begin, o.end) if o.write else r(o.value, o.begin, o.end) for o in history]
    assert found(same) is (histories.fault(history) is not None)


def a_run(chance: random.Random, clients: int, count: int, lost: float) -> list[Call]:
    """What clients of a real register see, each with one call at a time."""
    value, now = 0, 0.0
    running: dict[int, tuple[float, tuple[object, ...], object]] = {}
    history: list[Call] = []
    for number in range(count):
        now += 1
        client = chance.randrange(clients)
        if client in running:
            begin, asked, answer = running.pop(client)
            answered = asked == READ or chance.random() >= lost
            history.append(Call(0, asked, begin, answer, now) if answered else Call(0, asked, begin))
        else:
            asked = chance.choice((READ, write(number), compare_and_set(value, number), compare_and_set(-1, number)))
            answer = saw(value) if asked == READ else True
            if asked[0] == "compare and set":
                answer = asked[1] == value
            if asked[0] == "write" or (asked[0] == "compare and set" and answer):
                value = number
            running[client] = now, asked, answer
    return history + [Call(0, asked, begin) for begin, asked, _ in running.values() if asked != READ]


def test_a_long_history_is_judged_in_time_and_one_wrong_answer_in_it_is_found() -> None:
    begin = time.process_time()
    for seed in range(3):
        chance = random.Random(seed)
        history = a_run(chance, clients=5, count=1_000, lost=0.01)
        assert len(history) > 450
        assert fault(history, register, 0) is None
        reads = [at for at, call in enumerate(history) if call.asked == READ]
        at = chance.choice(reads)
        bad = list(history)
        # What was there long before.
        bad[at] = Call(0, READ, history[at].begin, saw(-5), history[at].end)
        assert found(bad)
    assert time.process_time() - begin < 10


def test_objects_are_judged_one_by_one() -> None:
    good = [Call(key, write(1), 1, True, 2) for key in range(3)]
    bad = Call(2, READ, 3, saw(0), 4)
    wrong = fault([*good, bad], register, 0)
    assert wrong is not None
    assert (wrong.key, wrong.explained, wrong.calls, wrong.stuck) == (2, 1, 2, (bad,))
    assert "none of: Call(key=2" in str(wrong)
