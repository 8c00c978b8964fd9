"""Rules of Raft, each by a schedule that would show its breach."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.raft.schedules import SCHEDULES


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.__name__)
def test_a_rule_holds(schedule: Callable[[], None]) -> None:
    schedule()
