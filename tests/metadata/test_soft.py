"""Soft state: the newest report of each member counts, nobody else's, and silence is told by ticks."""

from __future__ import annotations

import random

from tsdb.cluster.metadata.soft import LOCATIONS_MAX, Heartbeat, LocationReport, SoftState


def test_the_newest_report_of_a_node_counts_in_any_order_of_arrival() -> None:
    for seed in range(50):
        chance = random.Random(seed)
        reports = [Heartbeat(node, life, n) for node in (1, 2, 3) for life in (1, 2) for n in (1, 2, 3)]
        sent = reports * 2
        chance.shuffle(sent)
        soft = SoftState(0)
        for tick, each in enumerate(sent):
            soft.hear(each, tick, {1, 2})
        assert {node: (h.heartbeat.life, h.heartbeat.number) for node, h in soft.heard.items()} == {
            1: (2, 3),
            2: (2, 3),
        }


def test_a_report_that_is_too_long_is_not_kept() -> None:
    soft = SoftState(0)
    long = Heartbeat(1, 1, 1, (LocationReport(1, 1, 1, 1, 1, 1),) * (LOCATIONS_MAX + 1))
    assert not soft.hear(long, 0, {1})
    assert not soft.heard


def test_a_new_leader_listens_before_it_calls_anybody_silent() -> None:
    soft = SoftState(100)
    assert soft.silent(109, 10, {1, 2}) == []
    soft.hear(Heartbeat(1, 1, 1), 105, {1, 2})
    assert soft.silent(110, 10, {1, 2}) == [2]
    assert soft.silent(115, 10, {1, 2}) == [1, 2]
    # One that came late says when it came, not when it was sent.
    assert not soft.hear(Heartbeat(1, 1, 1), 115, {1, 2})
    assert soft.silent(115, 10, {1, 2}) == [1, 2]


def test_who_is_no_member_any_more_is_forgotten() -> None:
    soft = SoftState(0)
    soft.hear(Heartbeat(1, 1, 1), 0, {1})
    soft.forget({2})
    assert not soft.heard
