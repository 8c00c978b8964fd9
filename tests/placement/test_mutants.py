"""The rules of placement are broken one by one, and some test must say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.placement import test_changing as changing
from tests.placement import test_division as division_tests
from tests.placement import test_growing as growing
from tests.placement import test_places as places_tests
from tests.placement import test_solver as solving
from tests.placement import test_steps as stepping
from tsdb.cluster.placement import division, places, schedule, solver, steps
from tsdb.cluster.placement.filling import Filling
from tsdb.cluster.placement.layout import LocationState

Patch = Callable[[Any, str, Any], None]


def learners_vote_before_they_have_the_data(patch: Patch) -> None:
    change = steps._change
    patch(steps, "_change", lambda at, *a: change(replace(at, caught_up=frozenset(at.learners)), *a))


def a_voter_goes_before_another_has_come(patch: Patch) -> None:
    change = steps._change
    patch(steps, "_change", lambda at, *a: change(replace(at, factor=at.factor - 1), *a))


def an_epoch_follows_one_that_has_not_begun(patch: Patch) -> None:
    patch(LocationState, "is_settled", property(lambda self: True))


def nobody_asks_whether_a_majority_is_up(patch: Patch) -> None:
    patch(LocationState, "can_change", lambda self, up: True)


def a_silent_node_gets_replicas(patch: Patch) -> None:
    add = steps._add
    patch(steps, "_add", lambda at, wanted, up: add(at, wanted, {*up, *wanted}))


def leaders_go_without_handing_over(patch: Patch) -> None:
    patch(steps, "_lead", lambda *a: None)


def zones_are_ignored(patch: Patch) -> None:
    patch(Filling, "open_to", lambda self, i: np.flatnonzero(self.receives & ~self.at[:, i]))
    patch(Filling, "crowded", lambda self, i: np.zeros(0, np.intp))


def a_move_that_has_begun_is_decided_again(patch: Patch) -> None:
    init = Filling.__init__

    def forgetful(self: Filling, *a: Any) -> None:
        init(self, *a)
        self.coming[:] = False

    patch(Filling, "__init__", forgetful)
    patch(solver, "_fullest", lambda filling, i, nodes: int(nodes[-1]))


def load_is_ignored(patch: Patch) -> None:
    weigh = Filling._weigh

    def light(self: Filling, bounds: Any) -> None:
        self.locations = tuple(replace(each, load=0.0) for each in self.locations)
        weigh(self, bounds)

    patch(Filling, "_weigh", light)


def nothing_is_moved_for_balance(patch: Patch) -> None:
    patch(solver._Balance, "_worst", lambda self: None)


def every_load_report_is_acted_on(patch: Patch) -> None:
    patch(solver, "_beyond", lambda filling, part: True)


def leaders_stay_where_they_are(patch: Patch) -> None:
    patch(solver, "choose_leaders", lambda filling, bounds, begun: tuple(each.leader for each in filling.locations))


def transfers_are_not_counted(patch: Patch) -> None:
    patch(schedule.Schedule, "_count", lambda self, at, sign: None)


def a_new_map_reaches_into_written_buckets(patch: Patch) -> None:
    next_map = division.next_map

    def early(*a: Any) -> Any:
        action = next_map(*a)
        return action and replace_struct(action, action.from_bucket - 20)

    patch(division_tests, "next_map", early)


def replace_struct(action: Any, from_bucket: int) -> Any:
    return type(action)(action.database, action.version, from_bucket, action.intervals)


def buckets_are_looked_up_in_the_last_map(patch: Patch) -> None:
    patch(places, "map_at", lambda ring, bucket: ring.maps[-1])


MUTANTS = (
    learners_vote_before_they_have_the_data, a_voter_goes_before_another_has_come,
    an_epoch_follows_one_that_has_not_begun, nobody_asks_whether_a_majority_is_up, a_silent_node_gets_replicas,
    leaders_go_without_handing_over, zones_are_ignored, a_move_that_has_begun_is_decided_again, load_is_ignored,
    nothing_is_moved_for_balance, every_load_report_is_acted_on, leaders_stay_where_they_are,
    transfers_are_not_counted, a_new_map_reaches_into_written_buckets, buckets_are_looked_up_in_the_last_map,
)  # fmt: skip

CHECKS: tuple[Callable[[], None], ...] = (
    stepping.test_each_state_of_a_location_has_its_step,
    stepping.test_a_leader_that_goes_hands_over_first_and_a_single_one_with_its_epoch,
    stepping.test_no_epoch_is_begun_without_a_majority_of_both,
    stepping.test_a_silent_node_is_waited_for,
    stepping.test_what_has_begun_goes_on,
    solving.test_a_hot_location_and_a_large_one_do_not_stay_together,
    solving.test_leaders_are_even_although_replicas_cannot_be,
    solving.test_why_something_moves_is_said,
    growing.test_no_node_sends_or_receives_more_at_once_than_it_may,
    division_tests.test_hot_locations_are_split_in_one_map_that_begins_after_what_was_written,
    lambda: growing.test_three_servers_become_four_and_each_owns_a_fourth(2),
    lambda: solving.test_loads_that_vary_by_less_than_the_bounds_move_nothing(1),
    lambda: places_tests.test_what_was_written_is_found_by_all_later_maps_where_it_is(1),
    lambda: changing.test_no_step_is_unsafe_whatever_happens_and_in_the_end_all_is_well(1),
)


def failed() -> bool:
    """Whether some check says that something is wrong."""
    for check in CHECKS:
        try:
            check()
        except (AssertionError, IndexError, KeyError, ValueError):
            return True
    return False


def test_without_a_mutant_all_checks_pass() -> None:
    assert not failed()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_a_broken_rule_is_found(mutant: Callable[[Patch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch.setattr)
    assert failed()
