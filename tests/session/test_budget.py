"""The budget of results: its rules as a model, and no way to a deadlock."""

from __future__ import annotations

import random
import threading

import pytest

from tsdb.errors import OutOfMemory
from tsdb.session.budget import BASE_BYTES, MIB, SMALL_BYTES, Budget, Claim, Owner, State

LIMIT = 64 * MIB
LARGE = 8 * MIB


def enter_or_wait(claim: Claim, wanted: int) -> bool:
    """True if it has entered; else it waits."""
    if claim.enter(wanted):
        return True
    claim.wait(lambda: None)
    return claim.entered


def test_what_fits_enters_and_what_does_not_waits_until_there_is_room() -> None:
    budget = Budget(LIMIT)
    first, second = (budget.claim() for _ in range(2))
    assert enter_or_wait(first, LIMIT // 2)
    assert not enter_or_wait(second, LARGE)
    assert budget.waiting_count == 1
    first.release()
    assert second.entered
    assert budget.held_bytes == LARGE


def test_one_claim_enters_however_large_it_is_if_no_other_large_one_is_there() -> None:
    assert enter_or_wait(Budget(LIMIT).claim(), 10 * LIMIT)


def test_small_claims_enter_beside_a_wide_result_that_nobody_takes() -> None:
    budget = Budget(LIMIT)
    wide = budget.claim()
    assert wide.enter(SMALL_BYTES)
    wide.hold(10 * LIMIT)
    assert all(enter_or_wait(budget.claim(), SMALL_BYTES) for _ in range(LIMIT // 2 // SMALL_BYTES))
    assert not enter_or_wait(budget.claim(), SMALL_BYTES)


def test_a_result_that_has_begun_goes_before_new_ones() -> None:
    budget = Budget(LIMIT)
    begun, holding = budget.claim(), budget.claim()
    assert begun.enter(LARGE)
    assert holding.enter(LARGE)
    begun.hold(0)
    holding.hold(LIMIT)
    new = budget.claim()
    assert not enter_or_wait(new, LARGE)
    assert not enter_or_wait(begun, LIMIT // 2)
    holding.release()
    assert begun.entered
    assert not new.entered
    begun.release()
    assert new.entered


def test_who_was_let_in_goes_on_before_those_who_wait_however_much_is_held() -> None:
    budget = Budget(LIMIT)
    first, second, holding = (budget.claim() for _ in range(3))
    for claim in (first, second, holding):
        assert claim.enter(LARGE)
    for claim in (first, second, holding):
        claim.hold(LIMIT)
    assert not enter_or_wait(first, 2 * LIMIT)
    assert not enter_or_wait(second, 2 * LIMIT)
    holding.release()
    assert first.enter(2 * LIMIT)
    assert second.state is State.WAITING


def test_holding_counts_the_batch_twice_for_its_encoded_form() -> None:
    claim = Budget(LIMIT).claim()
    assert claim.enter(SMALL_BYTES)
    assert claim.hold(3 * MIB) == BASE_BYTES + 6 * MIB


def test_cursors_that_nobody_fetches_are_bounded_and_leave_room_for_queries() -> None:
    budget = Budget(LIMIT)
    for _ in range(100):
        try:
            budget.check_cursors()
        except OutOfMemory as error:
            assert "cursors" in error.message
            break
        cursor = budget.claim()
        assert cursor.enter(SMALL_BYTES)
        cursor.rest(MIB)
    else:
        pytest.fail("cursors are not bounded")
    assert budget.held_bytes <= LIMIT // 4
    assert enter_or_wait(budget.claim(), SMALL_BYTES)


class Silent(Owner):
    """A client that has taken nothing for some seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.cut = False

    def stalled_s(self) -> float:
        return self.seconds

    def disconnect(self) -> None:
        self.cut = True


def test_the_client_that_stalled_longest_is_cut_and_only_if_that_is_too_long() -> None:
    budget = Budget(LIMIT, stall_s=60)
    owners = [Silent(59), Silent(61), Silent(90), Silent(0)]
    for owner in owners:
        assert budget.claim(owner).enter(SMALL_BYTES)
    budget.cut_stalled()
    assert [owner.cut for owner in owners] == [False, False, True, False]


def test_a_patient_budget_cuts_nobody() -> None:
    budget = Budget(LIMIT, stall_s=60)
    owner = Silent(59.9)
    assert budget.claim(owner).enter(SMALL_BYTES)
    budget.cut_stalled()
    assert not owner.cut


@pytest.mark.parametrize("seed", range(20))
def test_random_results_all_end_and_small_ones_keep_the_bound(seed: int) -> None:
    """Each result is pulled batch by batch, of random size; in each step one that is active moves."""
    chance = random.Random(seed)
    budget = Budget(LIMIT)
    left = {budget.claim(): chance.randrange(1, 6) for _ in range(60)}
    wanted = {claim: chance.choice((SMALL_BYTES, SMALL_BYTES, LARGE, LIMIT // 4)) for claim in left}
    resting: set[Claim] = set()
    steps = 0
    while left:
        steps += 1
        assert steps < 5_000, "somebody waits for ever"
        movable = [claim for claim in left if claim.state is not State.WAITING]
        assert movable, "deadlock"
        claim = chance.choice(movable)
        if not enter_or_wait(claim, wanted[claim]):
            continue
        resting.discard(claim)
        wanted[claim] = max(SMALL_BYTES, claim.hold(chance.choice((0, 1000, MIB // 2, MIB, 20 * MIB))))
        left[claim] -= 1
        if left[claim] == 0:
            claim.release()
            del left[claim]
        elif chance.random() < 0.2:
            claim.rest(MIB)
            resting.add(claim)
        small = sum(each.bytes for each in left if not each.large)
        assert small <= LIMIT + len(resting) * 2 * MIB
    assert budget.held_bytes == 0
    assert budget.waiting_count == 0


def test_threads_that_enter_and_leave_all_get_their_turn() -> None:
    budget = Budget(LIMIT)
    done = []

    def run(number: int) -> None:
        chance = random.Random(number)
        for _ in range(50):
            claim = budget.claim()
            wanted = chance.choice((SMALL_BYTES, LARGE, LIMIT))
            if not claim.enter(wanted):
                entered = threading.Event()
                claim.wait(entered.set)
                assert entered.wait(20)
            claim.hold(chance.choice((0, MIB, LIMIT)))
            claim.release()
        done.append(number)

    threads = [threading.Thread(target=run, args=[number]) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(done) == 12
    assert budget.held_bytes == 0
