"""Comparing clocks: whose is wrong, and what that node may still do."""

from __future__ import annotations

import random

import pytest

from tests.raft.schedules import carry_out, lead, node_of
from tsdb.cluster.raft.clock_check import ClockCheck
from tsdb.cluster.raft.entries import Configuration
from tsdb.cluster.raft.messages import AppendReply, TimeoutNow
from tsdb.cluster.raft.state import ClockState

MS = 1_000_000
VOTERS = (1, 2, 3)


def check(offsets_ms: dict[int, int], round_trip_ms: int = 0) -> ClockCheck:
    made = ClockCheck(500 * MS, 10_000 * MS)
    for peer, offset in offsets_ms.items():
        half = round_trip_ms * MS // 2
        made.sample(peer, 0, half + offset * MS, 2 * half)
    return made


@pytest.mark.parametrize(
    ("offsets", "state"),
    [
        ({2: 10, 3: -10}, ClockState.AGREES),
        ({2: 250, 3: 250}, ClockState.AGREES),
        ({2: 260, 3: 260}, ClockState.DOUBTFUL),
        ({2: -390, 3: -400}, ClockState.DOUBTFUL),
        ({2: 450, 3: 410}, ClockState.WRONG),
        # One peer's clock is wrong, not this node's.
        ({2: 5, 3: 90_000}, ClockState.AGREES),
        # Nobody was heard.
        ({}, ClockState.DOUBTFUL),
    ],
)
def test_the_median_says_whose_clock_is_wrong(offsets: dict[int, int], state: ClockState) -> None:
    assert check(offsets).state(1, VOTERS, 0) is state


def test_half_the_round_trip_is_taken_off() -> None:
    assert check({2: 100, 3: 100}, round_trip_ms=80).offset_ns(1, VOTERS, 0) == 100 * MS


def test_a_slow_answer_and_an_old_one_say_nothing() -> None:
    assert check({2: 100, 3: 100}, round_trip_ms=300).offset_ns(1, VOTERS, 0) is None
    assert check({2: 100, 3: 100}).offset_ns(1, VOTERS, 10_001 * MS) is None


def test_the_measured_offset_is_off_by_at_most_half_the_round_trip() -> None:
    chance = random.Random(5)
    for _ in range(500):
        offset, there, back = chance.randint(-200, 200) * MS, chance.randint(0, 100) * MS, chance.randint(0, 100) * MS
        made = ClockCheck(500 * MS, 10_000 * MS)
        made.sample(2, 0, there + offset, there + back)
        measured = made.offset_ns(1, (2,), 0)
        assert measured is not None
        assert abs(measured - offset) <= (there + back) // 2


def test_a_leader_with_a_wrong_clock_hands_over_and_does_not_campaign() -> None:
    node, storage = node_of(Configuration(VOTERS))
    lead(node, storage)
    node.set_clock(ClockState.WRONG)
    node.step(AppendReply(2, 1, node.status.term, node.status.members[1].match))
    assert any(isinstance(message, TimeoutNow) and message.to == 2 for message in carry_out(node, storage))

    other, storage = node_of(Configuration(VOTERS))
    other.set_clock(ClockState.WRONG)
    other.campaign()
    assert not carry_out(other, storage)
    other.set_clock(ClockState.DOUBTFUL)
    other.campaign()
    assert len(carry_out(other, storage)) == 2
