"""A node's clock is wrong: its metrics say so, it does not lead, and everything goes on."""

from __future__ import annotations

import pytest

from tests.fixtures.waiting import until
from tests.group.together import Together
from tsdb.cluster.group.control import Done, Transfer
from tsdb.errors import ObjectNotInPrerequisiteState
from tsdb.model.schema import CreateDatabase

AGREES, DOUBTFUL, WRONG = 0, 1, 2


def gauge(together: Together, place: int, name: str) -> float:
    return together.nodes[place].agreement.gauges()[name]


def offset_s(together: Together, place: int) -> float:
    return gauge(together, place, "clock_offset_seconds")


def test_a_node_whose_clock_is_wrong_says_so_and_does_not_lead_until_it_is_right_again(together: Together) -> None:
    until(lambda: all(gauge(together, place, "clock_state") == AGREES for place in (1, 2, 3)))
    # Beyond half of what may be at all it is doubted; nobody else is.
    together.clocks[2].ahead_s = 0.33
    until(lambda: gauge(together, 3, "clock_state") == DOUBTFUL and -0.4 < offset_s(together, 3) < -0.25)
    together.clocks[2].ahead_s = -60.0
    until(lambda: gauge(together, 3, "clock_state") == WRONG and 59.5 < offset_s(together, 3) < 60.5)
    with pytest.raises(ObjectNotInPrerequisiteState, match="node 3 does not lead after"):
        together.ask(1, Transfer(3))
    # What it is asked is done: only leading is denied to it.
    together.nodes[3].change(CreateDatabase("by_a_slow_clock"))
    until(lambda: "by_a_slow_clock" in together.nodes[1].catalog.databases)
    together.clocks[2].ahead_s = 0.0
    until(lambda: gauge(together, 3, "clock_state") == AGREES)
    assert isinstance(together.ask(1, Transfer(3)), Done)


def test_a_leader_whose_clock_jumps_hands_over(together: Together) -> None:
    until(lambda: all(gauge(together, place, "clock_state") == AGREES for place in (1, 2, 3)))
    leader = together.report(2).leader
    other = next(place for place in (1, 2, 3) if place != leader)
    together.clocks[leader - 1].ahead_s = 60.0
    until(lambda: gauge(together, leader, "clock_state") == WRONG)
    until(lambda: together.report(other).leader not in (0, leader))
    for place in (1, 2, 3):
        together.nodes[place].change(CreateDatabase(f"by_{place}"))
    made = {f"by_{place}" for place in (1, 2, 3)}
    for place in (1, 2, 3):
        until(lambda: {*together.nodes[place].catalog.databases} >= made)  # noqa: B023
    until(lambda: gauge(together, other, "clock_state") == AGREES)
    assert together.report(other).leader != leader
