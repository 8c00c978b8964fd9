"""The rules of the metadata are broken one by one; what is wrong on all nodes alike must be found by a property."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from tests.metadata import test_machine as machines
from tests.metadata import test_rules as rules
from tests.metadata import test_watch as watches
from tsdb.cluster.metadata import arcs, clients, locations, machine, members, rings, watch
from tsdb.cluster.metadata.records import Member
from tsdb.cluster.metadata.state import Draft
from tsdb.errors import TsdbError

Patch = Callable[[Any, str, Any], None]
SEEDS = range(6)


def stale_decisions_pass(patch: Patch) -> None:
    patch(machine, "_check_expected", lambda draft, expected: None)


def a_refusal_keeps_what_was_done(patch: Patch) -> None:
    carried_out = machine._carried_out

    def keeps(draft: Draft, action: Any) -> tuple[int, ...]:
        try:
            return carried_out(draft, action)
        except TsdbError:
            draft._under.take(draft)  # type: ignore[union-attr]
            raise

    patch(machine, "_carried_out", keeps)


def any_later_epoch_is_taken(patch: Patch) -> None:
    assign = locations._assign

    def eager(draft: Draft, wanted: Any) -> None:
        was = locations.record_of(draft, wanted.location)
        if wanted.epoch > was.epoch:
            draft.put(replace(was, epoch=wanted.epoch - 1))
        assign(draft, wanted)

    patch(locations, "_assign", eager)


def an_epoch_is_active_when_it_is_assigned(patch: Patch) -> None:
    assign = locations._assign

    def at_once(draft: Draft, wanted: Any) -> None:
        assign(draft, wanted)
        locations._activate(draft, (wanted.location, wanted.epoch))

    patch(locations, "_assign", at_once)


def learners_of_another_epoch_are_taken(patch: Patch) -> None:
    set_learners = locations.set_learners

    def late(draft: Draft, action: Any) -> tuple[int, ...]:
        return set_learners(draft, replace(action, epoch=locations.record_of(draft, action.location).epoch))

    patch(locations, "set_learners", late)


def a_retry_counts_again(patch: Patch) -> None:
    patch(clients, "given", lambda draft, command: None)


def sessions_never_end(patch: Patch) -> None:
    patch(clients, "expire", lambda draft, now: None)


def a_node_that_holds_locations_is_removed(patch: Patch) -> None:
    patch(members, "LocationRecord", Member)


def a_map_reaches_into_the_last_ones_time(patch: Patch) -> None:
    change = rings.change_ring

    def anywhere(draft: Draft, action: Any) -> tuple[int, ...]:
        ring = arcs.ring_of(draft, action.database)
        return change(draft, replace(action, from_bucket=max(action.from_bucket, ring.maps[-1].from_bucket + 1)))

    patch(rings, "change_ring", anywhere)


def new_locations_get_numbers_that_were_given(patch: Patch) -> None:
    patch(rings, "_take_numbers", lambda draft, database, count: None)


def a_watcher_misses_what_was_forgotten(patch: Patch) -> None:
    after = watch.History.after

    def silent(self: watch.History, index: int, changes_max: int) -> list[watch.Event]:
        return after(self, max(index, self.begins_after), changes_max)

    patch(watch.History, "after", silent)


def events_are_told_twice(patch: Patch) -> None:
    after = watch.History.after
    patch(watch.History, "after", lambda self, index, most: after(self, max(index - 1, self.begins_after), most))


MUTANTS = (
    stale_decisions_pass, a_refusal_keeps_what_was_done, any_later_epoch_is_taken,
    an_epoch_is_active_when_it_is_assigned, learners_of_another_epoch_are_taken, a_retry_counts_again,
    sessions_never_end, a_node_that_holds_locations_is_removed,
    a_map_reaches_into_the_last_ones_time,
    new_locations_get_numbers_that_were_given, a_watcher_misses_what_was_forgotten, events_are_told_twice,
)  # fmt: skip

DIRECTED: tuple[Callable[[], None], ...] = (
    machines.test_a_decision_on_what_a_record_was_is_refused_when_it_has_changed,
    machines.test_sessions_end_by_the_time_that_commands_bring_and_it_never_goes_back,
    machines.test_an_answer_tells_others_of_the_refusal,
    rules.test_a_cluster_is_founded_whole_or_not_at_all,
    rules.test_who_holds_a_location_or_is_the_last_one_is_not_removed,
    rules.test_an_epoch_follows_the_last_one_and_each_location_is_for_itself,
    rules.test_learners_come_and_go_within_an_epoch,
    rules.test_the_active_epoch_stays_until_the_next_one_is_activated,
    rules.test_a_map_is_refused_that_follows_another_one_or_reaches_into_its_time,
    rules.test_a_later_map_names_its_bucket_and_gives_new_locations_numbers_of_their_own,
    watches.test_after_a_snapshot_nothing_is_known_of_what_was_before,
)
RANDOM: tuple[Callable[[int], None], ...] = (
    machines.test_a_refused_command_changes_nothing_but_the_groups_time,
    watches.test_what_a_watcher_was_told_is_the_log,
)


def found() -> str | None:
    """The name of the first property that does not hold."""
    for directed in DIRECTED:
        try:
            directed()
        except (AssertionError, pytest.fail.Exception, TypeError, KeyError, AttributeError):
            return directed.__name__
    for seed in SEEDS:
        for random in RANDOM:
            try:
                random(seed)
            except (AssertionError, TypeError, KeyError, AttributeError):
                return random.__name__
    return None


def test_without_a_mutant_all_properties_hold() -> None:
    assert found() is None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_a_broken_rule_is_found(mutant: Callable[[Patch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch.setattr)
    assert found() is not None
