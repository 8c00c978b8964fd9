"""A database moves between five nodes through crashes, losses and drains: what was acknowledged is there, once."""

from __future__ import annotations

import pytest

from tests.replicas.moving import Moving

STEPS = 600


@pytest.fixture(autouse=True)
def few_locations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three a database: more show nothing else here."""
    monkeypatch.setattr("tsdb.model.change_databases.LOCATIONS_PER_DATABASE", 3)


def run(seed: int, steps: int = STEPS) -> Moving:
    moving = Moving(seed)
    for _ in range(steps):
        moving.step()
    moving.heal()
    moving.check()
    return moving


@pytest.mark.parametrize("seed", range(30))
def test_what_was_acknowledged_is_at_all_voters_once(seed: int) -> None:
    run(seed)


def test_the_runs_move_copy_and_acknowledge_much() -> None:
    """Or they would show nothing."""
    runs = [run(seed) for seed in range(10)]
    assert sum(each.installed for each in runs) > 3
    assert sum(each.begun_again for each in runs) > 3
    assert sum(each.written for each in runs) > 100


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(0, 4_000, 400))
def test_many_runs(first: int) -> None:
    for seed in range(first, first + 400):
        run(seed)
