"""Followers that are no members: everything that is committed, once and in order, from whomever they ask."""

from __future__ import annotations

import random

import pytest

from tsdb.cluster.raft.clients import ClientLearner, Feed, FeedMessage, Feeds, FeedSnapshot, Follow, Followed
from tsdb.cluster.raft.entries import Configuration, Entry, Snapshot

MEMBERS = (1, 2, 3)


class Log:
    """A committed log: a prefix of the same entries everywhere, forgotten up to somewhere."""

    def __init__(self) -> None:
        self.first, self.last = 1, 0

    def committed_after(self, index: int, bytes_max: int) -> list[Entry] | None:
        if index + 1 < self.first:
            return None
        return [Entry(1, i, body=b"%d" % i) for i in range(index + 1, min(self.last, index + 1 + bytes_max) + 1)]

    def snapshot(self) -> Snapshot | None:
        return Snapshot(self.last, 1, Configuration(MEMBERS), b"%d" % self.last)


def run(seed: int, loss: float) -> None:
    chance = random.Random(seed)
    logs = {node: Log() for node in MEMBERS}
    feeds = {n: Feeds(n, bytes_max=3, window=8, beat_ticks=2, patience_ticks=20) for n in MEMBERS}
    follower = ClientLearner(9, MEMBERS, patience_ticks=8)
    state, committed = 0, 0
    wire: list[FeedMessage] = []
    for tick in range(800):
        faults = tick < 500
        committed += chance.random() < 0.3 and faults
        for log in logs.values():
            log.last = max(log.last, chance.randint(log.last, committed)) if faults else committed
            if chance.random() < 0.02 and faults:
                log.first = chance.randint(log.first, log.last + 1)
        dead = chance.choice(MEMBERS) if faults and chance.random() < 0.3 else 0
        wire += follower.tick()
        for node, feed in feeds.items():
            feed.tick()
            if node != dead:
                wire += feed.messages(logs[node])
        chance.shuffle(wire) if faults else None
        taken, wire = wire[: chance.randint(0, 6)] if faults else wire, []
        for message in taken:
            for _ in range((0 if chance.random() < loss else 1 + (chance.random() < loss)) if faults else 1):
                if isinstance(message, (Follow, Followed)):
                    feeds[message.to].step(message)
                    continue
                snapshot, entries, said = follower.step(message)
                if snapshot is not None:
                    assert snapshot.index > state
                    state = snapshot.index
                for entry in entries:
                    assert (entry.index, entry.body) == (state + 1, b"%d" % (state + 1))
                    state += 1
                assert follower.index == state
                wire += said
    assert state == committed


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_it_gets_everything_once_and_in_order(loss: float) -> None:
    for seed in range(60):
        run(seed, loss)


def test_what_an_earlier_session_sends_is_not_taken() -> None:
    follower = ClientLearner(9, MEMBERS, patience_ticks=1)
    (first,) = follower.tick()
    follower.tick()
    (second,) = follower.tick()
    assert isinstance(first, Follow)
    assert isinstance(second, Follow)
    assert first.to != second.to
    assert follower.step(Feed(first.to, 9, first.session, 0, (Entry(1, 1),))) == (None, (), [])
    snapshot = FeedSnapshot(second.to, 9, second.session, Snapshot(5, 1, Configuration(MEMBERS)))
    assert follower.step(snapshot)[0] == snapshot.snapshot
    assert follower.index == 5


def test_a_member_forgets_who_is_silent_and_refuses_one_too_many() -> None:
    feeds = Feeds(1, followers_max=1, patience_ticks=3)
    feeds.step(Follow(8, 1, 1, 0))
    feeds.step(Follow(9, 1, 1, 0))
    assert {message.to for message in feeds.messages(Log())} == {8}
    for _ in range(4):
        feeds.tick()
    assert len(feeds) == 0
    feeds.step(Follow(9, 1, 1, 0))
    assert {message.to for message in feeds.messages(Log())} == {9}


def test_a_slow_follower_has_no_more_than_a_window_on_its_way() -> None:
    log, feeds = Log(), Feeds(1, window=4, bytes_max=2)
    log.last = 100
    feeds.step(Follow(9, 1, 1, 0))
    sent = [message for _ in range(10) for message in feeds.messages(log)]
    assert sum(len(message.entries) for message in sent if isinstance(message, Feed)) in range(4, 7)
    feeds.step(Followed(9, 1, 1, 4))
    assert feeds.messages(log)
