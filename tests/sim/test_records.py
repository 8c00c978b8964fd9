"""Histories of reads, writes and compare-and-sets of the metadata, under faults: each is linearizable."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.sim.mutants import Mutant, Patch, reads_before_the_terms_first_commit
from tests.sim.world import World
from tsdb.cluster.metadata import machine

CI_SEEDS = 60
MUTANT_SEEDS = 60
NIGHTLY_SEEDS = 5_000
CLIENTS = 3


def expectations_are_not_looked_at(patch: Patch) -> None:
    patch(machine, "_check_expected", lambda draft, expected: None)


def an_expectation_in_four_is_looked_at(patch: Patch) -> None:
    check = machine._check_expected
    patch(machine, "_check_expected", lambda draft, expected: None if draft.index % 4 else check(draft, expected))


# All nodes do the same, so that a history alone shows it.
SEEN_IN_HISTORIES = (
    expectations_are_not_looked_at,
    an_expectation_in_four_is_looked_at,
    reads_before_the_terms_first_commit,
)


def run(first: int, count: int) -> None:
    for seed in range(first, first + count):
        try:
            World(seed, record_clients=CLIENTS).run()
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


@pytest.mark.parametrize("first", range(0, CI_SEEDS, 20))
def test_what_clients_see_of_the_metadata_is_linearizable_whatever_happens(first: int) -> None:
    run(first, 20)


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(20_000, 20_000 + NIGHTLY_SEEDS, 250))
def test_many_more_seeds(first: int) -> None:
    run(first, 250)


def found(seeds: int) -> str:
    for seed in range(seeds):
        try:
            World(seed, record_clients=CLIENTS).run()
        except Exception as error:
            return f"seed {seed}: {type(error).__name__}: {str(error)[:100]}"
    return ""


@pytest.mark.parametrize("mutant", SEEN_IN_HISTORIES, ids=lambda m: m.__name__)
def test_a_bug_that_only_a_history_shows_is_found(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch.setattr)
    assert "is not linearizable" in found(MUTANT_SEEDS)


def test_the_runs_are_worth_their_time() -> None:
    """All kinds of calls with all kinds of answers: in 20 seeds."""
    seen: Counter[str] = Counter()
    for seed in range(20):
        world = World(seed, record_clients=CLIENTS)
        world.run()
        seen.update(f"{call.asked[0]} {call.answer if call.asked[0] != 'read' else ''}" for call in world.checks.calls)
    assert seen["read "] > 200, seen
    assert seen["write True"] > 100, seen
    assert seen["compare and set True"] > 100, seen
    assert seen["compare and set False"] > 3, seen
    assert seen["write None"] + seen["compare and set None"] > 10, seen
