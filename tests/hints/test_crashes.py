"""A queue of hints whose node crashes at any step: what was answered QUEUED is stored once, in order, or listed."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest

from tests.hints.lossy import Crash, LossyDisk
from tsdb.ingest.hints.queue import REST_TICKS, HintQueue
from tsdb.model.hints import Hint

BYTES_MAX = 1 << 20
PRODUCERS = ("a", "b")


@dataclass
class World:
    """A client that sends again what was not answered, a node with its queue, and a database: sometimes nobody leads
    it, some batches do not fit into it, and each number counts there once."""

    chance: Random
    disk: LossyDisk
    queue: HintQueue = field(init=False)
    stored: list[tuple[str, int]] = field(default_factory=list)
    queued: set[tuple[str, int]] = field(default_factory=set)
    refused: set[tuple[str, int]] = field(default_factory=set)
    sent_again: set[tuple[str, int]] = field(default_factory=set)
    """By a client that had not heard of their refusal: another time they may be good."""
    sent: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PRODUCERS, 0))
    tick: int = 0
    crashes: int = 0

    def __post_init__(self) -> None:
        self.queue = HintQueue(self.disk, BYTES_MAX)

    @staticmethod
    def body(producer: str, batch: int) -> bytes:
        return f"m,p={producer} n={batch}i\n".encode() * batch

    def take(self, producer: str) -> None:
        """The next batch, sometimes twice. One that was not answered, since the node crashed, is the next again."""
        batch = self.sent[producer] + 1
        there = self.queue.waiting()
        if (producer, batch) in self.refused:
            self.sent_again.add((producer, batch))
        for _ in range(self.chance.randint(1, 2)):
            hint = Hint(0, 1, "d", producer, batch, digest=batch)
            assert self.queue.take(hint, self.body(producer, batch)).batch == batch
            self.queued.add((producer, batch))
            self.sent[producer] = batch
        assert self.queue.waiting() <= there + 1

    def again(self) -> None:
        """A node crashes, and is started again."""
        self.crashes += 1
        self.disk.crash()
        self.queue = HintQueue(self.disk, BYTES_MAX)

    def deliver(self, *, is_led: bool) -> bool:
        """Whether there was something to be tried."""
        self.tick += REST_TICKS
        hint = self.queue.next(self.tick)
        if hint is None:
            return False
        what = hint.producer, hint.batch
        if not is_led:
            self.queue.failed(hint, "nobody leads", self.tick)
            return True
        assert self.queue.body(hint) == self.body(*what)
        if hint.batch % 5 == 0 and what not in self.stored and self.chance.random() < 0.8:
            self.refused.add(what)
            self.disk.step()
            self.queue.refuse(hint, "does not fit", self.tick)
        else:
            if what not in self.stored:
                self.stored.append(what)
            self.disk.step()
            self.queue.delivered(hint)
        return True

    def run(self, actions: int) -> None:
        for _ in range(actions):
            try:
                if self.chance.random() < 0.5:
                    self.take(self.chance.choice(PRODUCERS))
                else:
                    self.deliver(is_led=self.chance.random() < 0.7)
            except Crash:
                self.again()

    def check(self) -> None:
        """After all that waits was tried with a leader."""
        while self.deliver(is_led=True):
            pass
        assert self.queue.waiting() == 0
        listed = [(hint.producer, hint.batch) for hint in self.queue.listing()]
        assert self.queued <= {*self.stored, *listed}
        assert {*listed} <= self.refused
        assert {*listed}.isdisjoint({*self.stored} - self.sent_again)
        assert len(self.stored) == len({*self.stored})
        for producer in PRODUCERS:
            batches = [batch for each, batch in self.stored if each == producer]
            assert batches == sorted(batches)
        assert self.queue.bytes_held() == 4096 * len(listed)
        assert len(self.disk.names()) == len(listed)


def test_a_crash_at_each_step_of_a_life() -> None:
    whole = World(Random(0), LossyDisk(Random(0)))
    whole.run(40)
    steps = whole.disk.steps
    whole.check()
    assert (whole.crashes, steps > 150, len(whole.stored) > 10, len(whole.refused) > 2) == (0, True, True, True)
    for step in range(1, steps + 1):
        # What of the last steps has reached the disk is another matter of chance.
        for outcome in range(2):
            world = World(Random(0), LossyDisk(Random(outcome)))
            world.disk.crash_in = step
            world.run(40)
            assert world.crashes == 1
            world.check()


@pytest.mark.parametrize("seed", range(60))
def test_many_crashes(seed: int) -> None:
    chance = Random(seed)
    world = World(chance, LossyDisk(Random(seed)))
    for _ in range(20):
        world.disk.crash_in = chance.randint(1, 30)
        world.run(8)
    world.disk.crash_in = None
    world.again()
    world.check()
